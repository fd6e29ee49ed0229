"""Comparing many models: every model runs once a minibatch, and all pairs come of one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations_with_replacement, product
from typing import Any

from torch import nn

from pyscale.comparison.batches import Forward, check_loader
from pyscale.comparison.comparisons import Comparisons
from pyscale.comparison.driver import Run
from pyscale.comparison.engine import check_model, comparison_of
from pyscale.comparison.features import Features
from pyscale.comparison.layers import Layers, select_layers
from pyscale.comparison.options import Estimator, Metric, Mode, Pair, resolve_options
from pyscale.comparison.result import Comparison
from pyscale.comparison.scores import Scores
from pyscale.comparison.sides import Side
from pyscale.comparison.state import check_device, left_as_found
from pyscale.ops.gram import Kernel


def compare_many(
    models: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
    loader: Iterable[Any] | Mapping[str, Iterable[Any]],
    *,
    build: Callable[[Any], nn.Module] | None = None,
    layers: Layers | Mapping[str, Layers] = None,
    metric: Metric = "cka",
    mode: Mode | None = None,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
    features: Features = "flatten",
    forward: Forward | None = None,
    device: Any = None,
    max_batches: int | None = None,
    permutations: int = 0,
    memory: int | str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Comparisons:
    r"""Compare all pairs of models, each with itself too, every layer with every layer, in one pass over the data.

    Every model runs once a minibatch, each layer's Gram is formed once, and one symmetric product gives the HSIC of all
    pairs of layers of all models; each pair's numbers are those that :func:`pyscale.compare` gives, to rounding. Of n
    models of l layers and minibatches of b samples, "minibatch" mode holds n l b (b - 1) / 2 numbers of the Grams'
    type, twice, and for every pair of layers, of which there are about n² l² / 2, the sums of 64 blocks of minibatches
    for the standard errors: 520 bytes. Mode "exact" makes one set of the layers of all models, each of which is
    whitened once, and holds the features of one minibatch and the co-moments of all pairs.

    Checkpoints of a training are models too: in the order of their steps they are a sequence
    (:meth:`Comparisons.trajectory`), and ``build`` makes models of what is stored.

    Args:
        models: Models by name, in the order they are shown, or (name, model) pairs; names may be numbers, such as the
            steps of a training. With ``build``, a value that is no module is what to build one of.
        loader: Batches for all models, or one loader for each by name: the same samples in the same order, each seen in
            the model's own way (another resolution). Loaders that are one object are read once. Ids are checked as
            by :func:`pyscale.compare`.
        build: Makes a module of a value: of a checkpoint's path, ``lambda path: ps.models.build("resnet18",
            weights=path)``; of a state dict, a function that makes the model and loads it.
        layers: As for :func:`pyscale.compare`, for all models, or by name.
        metric: As for :func:`pyscale.compare`, as are the arguments below.
        mode: "minibatch" or "exact".
        kernel: "linear" or "rbf".
        estimator: "unbiased" or "biased".
        bandwidth: The RBF width as a multiple of each minibatch's median distance.
        features: "flatten", "pool" or "positions".
        forward: ``forward(model, batch)``, to be called instead of the usual rules.
        device: Where the models run; all of them are there at once.
        max_batches: Stop after that many.
        permutations: Size of the permutation null for ``pvalues``.
        memory: What Grams and sums, or co-moments, may take, in bytes or as "2GiB"; None is half of what is free.
        seed: Seed of the permutations.
        progress: Show a progress bar.

    Returns:
        A mapping from (name, name) to :class:`Comparison`, with models beside models in one number a pair.

    Raises:
        TypeError: A model is no module, and there is no ``build``; a loader is no iterable of batches.
        ValueError: There is no model, two bear one name, loaders or layers are not those of the models; or as for
            :func:`pyscale.compare`.

    Example:
        >>> import torch
        >>> import pyscale as ps
        >>> nets = {width: torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.ReLU()) for width in (4, 16, 64)}
        >>> found = ps.compare_many(nets, [torch.randn(32, 8) for _ in range(4)], progress=False)
        >>> found["4", "64"].values.shape, found.aligned.shape, len(found)
        ((2, 2), (3, 3), 9)
    """
    options = resolve_options(
        metric=metric,
        mode=mode,
        kernel=kernel,
        estimator=estimator,
        bandwidth=bandwidth,
        features=features,
        permutations=permutations,
        seed=seed,
        max_batches=max_batches,
        memory=memory,
    )
    modules = _named_modules(models, build)
    loaders, places = _loaders(loader, list(modules))
    chosen = _by_name(layers, list(modules), argument="layers")
    sides = [
        Side(name, model, select_layers(model, chosen[name], argument=f"layers of {name!r}"), forward, places[name])
        for name, model in modules.items()
    ]
    pairs = _pairs(len(sides), metric)
    where = None if device is None else check_device(device)
    with left_as_found(*dict.fromkeys(modules.values()), device=where):
        run = Run(options, sides, pairs, device=where)
        scores = run.over(loaders, progress=progress)
    names = list(modules)
    return Comparisons(names, {(names[i], names[j]): _named(run, (i, j), found) for (i, j), found in scores.items()})


def _pairs(models: int, metric: Metric) -> list[Pair]:
    """Return which models are compared: every two one way round, but PWCCA, which weighs by one of them, both."""
    if metric == "pwcca":
        return list(product(range(models), range(models)))
    return list(combinations_with_replacement(range(models), 2))


def _named(run: Run, pair: Pair, scores: Scores) -> Comparison:
    """Return what a run found about two models, by the names that the user gave them."""
    found = comparison_of(run, pair, scores)
    (x, y), kinds = (run.sides[place].tap.label for place in pair), (found.meta["model_x"], found.meta["model_y"])
    meta = {**found.meta, "model_x": x, "model_y": y, "class_x": kinds[0], "class_y": kinds[1]}
    return replace(found, meta=meta)


def _named_modules(
    models: Mapping[Any, Any] | Iterable[tuple[Any, Any]], build: Callable[[Any], nn.Module] | None
) -> dict[str, nn.Module]:
    """Return the modules by name, those built that are none yet."""
    pairs = list(models.items() if isinstance(models, Mapping) else models)
    if not pairs:
        raise ValueError("models is empty; expected at least one model")
    modules: dict[str, nn.Module] = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"models holds a {type(pair).__name__}; expected a mapping, or (name, model) pairs")
        name, model = str(pair[0]), pair[1]
        if name in modules:
            raise ValueError(f"models holds the name {name!r} twice; every model needs a name of its own")
        if build is not None and not isinstance(model, nn.Module):
            model = build(model)
        if build is None and not isinstance(model, nn.Module):
            raise TypeError(
                f"models[{name!r}] is a {type(model).__name__}; expected a torch.nn.Module, or build= to make one of it"
            )
        check_model(model, f"models[{name!r}]")
        modules[name] = model
    return modules


def _loaders(
    loader: Iterable[Any] | Mapping[Any, Iterable[Any]], names: list[str]
) -> tuple[dict[str, Iterable[Any]], dict[str, int]]:
    """Return the loaders by what errors call them, each once, and for every model the place of its own."""
    if not isinstance(loader, Mapping):
        check_loader(loader, "loader")
        return {"loader": loader}, dict.fromkeys(names, 0)
    given = _by_name(loader, names, argument="loader")
    loaders: dict[str, Iterable[Any]] = {}
    places: dict[str, int] = {}
    for name, own in given.items():
        check_loader(own, f"loader[{name!r}]")
        known = [place for place, other in enumerate(loaders.values()) if other is own]
        places[name] = known[0] if known else len(loaders)
        if not known:
            loaders[f"loader[{name!r}]"] = own
    return loaders, places


def _by_name(given: Any, names: list[str], *, argument: str) -> dict[str, Any]:
    """Return one value for each model: the one given for all, or those given by name."""
    if not isinstance(given, Mapping):
        if isinstance(given, Iterator):
            given = list(given)  # it is read once for each model
        return dict.fromkeys(names, given)
    by_name = {str(name): value for name, value in given.items()}
    if set(by_name) != set(names):
        raise ValueError(f"{argument} is given for {list(by_name)}; expected one for each model: {names}")
    return {name: by_name[name] for name in names}
