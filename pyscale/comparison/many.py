"""Comparing many models: every model runs once a minibatch, and all pairs come of one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import combinations_with_replacement, product
from os import PathLike
from typing import Any, Literal

import torch
from torch import nn

from pyscale.comparison.agreement import described_call
from pyscale.comparison.batches import Forward
from pyscale.comparison.comparisons import Comparisons
from pyscale.comparison.driver import AnySide, Run
from pyscale.comparison.engine import comparison_of
from pyscale.comparison.features import Features
from pyscale.comparison.layers import Layers, select_layers
from pyscale.comparison.many_inputs import Models, Subject, by_name, chosen_loaders, named_subjects
from pyscale.comparison.memory import free_memory
from pyscale.comparison.options import Estimator, Metric, Mode, Options, Pair, resolve_options
from pyscale.comparison.replaying import ReplayedSide
from pyscale.comparison.result import Comparison
from pyscale.comparison.sides import Side
from pyscale.comparison.state import left_as_found
from pyscale.comparison.stored.checkpoint import Checkpoint
from pyscale.comparison.stored.engine import (
    BATCH,
    as_batch_size,
    check_features,
    describe_stores,
    run_stores,
    stored_comparison,
)
from pyscale.comparison.stored.pair_by_pair import compare_pair_by_pair, fit_at_once
from pyscale.comparison.stored.plan import left_for_comparison
from pyscale.comparison.stored.sides import StoredSide, align, choose_layers
from pyscale.distributed import Crew, gathered, local_device
from pyscale.ops.devices import check_device
from pyscale.ops.gram import Kernel, check_choice
from pyscale.stores.store import Store


def compare_many(
    models: Models,
    loader: Iterable[Any] | Mapping[Any, Iterable[Any]] | None = None,
    *,
    build: Callable[[Any], nn.Module] | None = None,
    layers: Layers | Mapping[Any, Layers] = None,
    metric: Metric = "cka",
    mode: Mode | None = None,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
    features: Features = "flatten",
    forward: Forward | None = None,
    device: torch.device | str | None = None,
    batch_size: int = BATCH,
    max_batches: int | None = None,
    permutations: int = 0,
    memory: int | str | None = None,
    seed: int = 0,
    cache: str | PathLike[str] | None = None,
    resume: bool = True,
    sharding: Literal["auto", "none"] = "auto",
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
            steps of a training. A store of activations (:func:`pyscale.open_store`), or the path of one, is compared
            like the model it came of. With ``build``, a value that is neither module nor store is what to build one of.
        loader: Batches for all models that run, or one loader for each by name: the same samples in the same order,
            each seen in the model's own way (another resolution). Loaders that are one object are read once. Ids are
            checked as by :func:`pyscale.compare`; stores find a batch's samples by id, or by their order where there
            are no ids. None where there are stores only.
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
        batch_size: Samples a minibatch, where there are stores only.
        max_batches: Stop after that many.
        permutations: Size of the permutation null for ``pvalues``.
        memory: What Grams and sums, or co-moments, may take, in bytes or as "2GiB"; None is half of what is free. Where
            the co-moments of stores alone don't fit, two stores after two are compared, each read more than once.
        seed: Seed of the permutations.
        cache: As for :func:`pyscale.compare_stores`, as is ``resume``; where there are stores only.
        resume: Go on where the same comparison was stopped.
        sharding: "none" compares on this process alone, whatever others there are. Otherwise they share the batches, as
            for :func:`pyscale.compare`, unless there are models beside stores: then each does all of it.
        progress: Show a progress bar, on rank 0.

    Returns:
        A mapping from (name, name) to :class:`Comparison`, with models beside models in one number a pair.

    Raises:
        TypeError: A model is neither module nor store, and there is no ``build``; a loader is no iterable of batches.
        ValueError: There is no model, two bear one name, loaders or layers are not those of the models, a store has
            other samples than the others; or as for :func:`pyscale.compare` and :func:`pyscale.compare_stores`.

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
    check_choice("sharding", sharding, ("auto", "none"))
    batch_size = as_batch_size(batch_size)
    with ExitStack() as stack:
        subjects = named_subjects(models, build, stack)
        chosen = by_name(layers, list(subjects), argument="layers")
        pairs = _pairs(len(subjects), metric)
        if all(isinstance(subject, Store) for subject in subjects.values()):
            if loader is not None:
                raise ValueError("loader is given, but no model runs: stores hold activations already")
            stores = {name: store for name, store in subjects.items() if isinstance(store, Store)}
            crew = stack.enter_context(gathered(alone=sharding == "none"))
            found = _of_stores(
                stores,
                chosen,
                options,
                pairs,
                crew,
                batch_size=batch_size,
                cache=cache,
                resume=resume,
                progress=progress,
            )
        else:
            mixed = any(isinstance(subject, Store) for subject in subjects.values())
            crew = stack.enter_context(gathered(alone=mixed or sharding == "none"))
            found = _of_models(subjects, chosen, loader, options, pairs, crew, forward, device, progress=progress)
        found = _on_all(crew, found)
    names = list(subjects)
    return Comparisons(names, {(names[i], names[j]): _named(names[i], names[j], c) for (i, j), c in found.items()})


def _of_models(
    subjects: Mapping[str, Subject],
    chosen: Mapping[str, Any],
    loader: Iterable[Any] | Mapping[Any, Iterable[Any]] | None,
    options: Options,
    pairs: list[Pair],
    crew: Crew,
    forward: Forward | None,
    device: torch.device | str | None,
    *,
    progress: bool,
) -> dict[Pair, Comparison]:
    """Return the comparisons of models, and stores beside them; of several processes on rank 0 alone."""
    modules = {name: subject for name, subject in subjects.items() if isinstance(subject, nn.Module)}
    loaders, places = chosen_loaders(loader, list(modules))
    sides: list[AnySide] = []
    for name, subject in subjects.items():
        argument = f"layers of {name!r}"
        if isinstance(subject, nn.Module):
            selection = select_layers(subject, chosen[name], argument=argument)
            sides.append(Side(name, subject, selection, forward, places[name]))
        else:
            sides.append(ReplayedSide(name, subject, choose_layers(subject, chosen[name], argument)))
            check_features(subject, options)
    where = None if device is None else check_device(local_device(device))
    if not crew.alone:
        live = [side for side in sides if isinstance(side, Side)]
        crew.agree("compare_many", described_call(options, live, loaders))
    with left_as_found(*dict.fromkeys(modules.values()), device=where):
        run = Run(options, sides, pairs, device=where, crew=crew)
        scores = run.over(loaders, progress=progress)
    return {pair: comparison_of(run, pair, found) for pair, found in (scores or {}).items()}


def _on_all(crew: Crew, found: dict[Pair, Comparison]) -> dict[Pair, Comparison]:
    """Return on every process the comparisons that rank 0 has."""
    if crew.alone:
        return found
    states = crew.broadcast([[*pair, comparison.state()] for pair, comparison in found.items()])
    return {(i, j): Comparison.from_state(state) for i, j, state in states}


def _of_stores(
    stores: Mapping[str, Store],
    chosen: Mapping[str, Any],
    options: Options,
    pairs: list[Pair],
    crew: Crew,
    *,
    batch_size: int,
    cache: str | PathLike[str] | None,
    resume: bool,
    progress: bool,
) -> dict[Pair, Comparison]:
    """Return the comparisons of stores; of several processes on rank 0 alone."""
    sides = [
        StoredSide(name, store, choose_layers(store, chosen[name], f"layers of {name!r}"))
        for name, store in stores.items()
    ]
    align(sides)
    for side in sides:
        check_features(side.store, options)
    budget = free_memory(torch.device("cpu")) if options.memory is None else left_for_comparison(options.memory)
    description = {"many": list(stores), **describe_stores(sides), "options": asdict(options), "batch_size": batch_size}
    if not crew.alone:
        described = {side.label: [side.rows, side.store.samples] for side in sides}
        crew.agree("compare_many", {**described, "options": asdict(options), "batch_size": batch_size})
        budget = crew.on_first(lambda: budget) // (3 if options.mode == "exact" else 1)  # others' co-moments
        description["process"] = [crew.rank, crew.size]
    if options.mode == "exact" and not fit_at_once(sides, options, batch_size, budget):
        compared = compare_pair_by_pair(
            sides,
            pairs,
            options,
            batch_size=batch_size,
            budget=budget,
            cache=cache,
            resume=resume,
            progress=progress,
            crew=crew,
        )
        for side in sides:
            side.store.check_unchanged()
        return compared
    checkpoint = Checkpoint(cache, description, resume=resume)
    run = run_stores(sides, pairs, options, batch_size=batch_size, budget=budget, checkpoint=checkpoint, crew=crew)
    scores = run.over(progress=progress)
    checkpoint.remove()
    for side in sides:
        side.store.check_unchanged()
    return {
        (i, j): stored_comparison(sides[i], sides[j], options, found, run, batch_size)
        for (i, j), found in (scores or {}).items()
    }


def _pairs(models: int, metric: Metric) -> list[Pair]:
    """Return which models are compared: every two one way round, but PWCCA, which weighs by one of them, both."""
    if metric == "pwcca":
        return list(product(range(models), range(models)))
    return list(combinations_with_replacement(range(models), 2))


def _named(x: str, y: str, found: Comparison) -> Comparison:
    """Return a comparison of two models by the names that the user gave them."""
    kinds = {"class_x": found.meta["model_x"], "class_y": found.meta["model_y"]}
    return replace(found, meta={**found.meta, "model_x": x, "model_y": y, **kinds})
