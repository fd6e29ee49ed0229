"""Comparing two models: one pass over the data, every activation consumed where it appears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from pyscale.comparison.agreement import described_call
from pyscale.comparison.batches import Forward, check_loader
from pyscale.comparison.driver import Run
from pyscale.comparison.features import Features
from pyscale.comparison.layers import Layers, Selection, select_layers
from pyscale.comparison.options import SIDES, Estimator, Metric, Mode, Pair, resolve_options
from pyscale.comparison.provenance import describe_run
from pyscale.comparison.result import Comparison
from pyscale.comparison.scores import Scores
from pyscale.comparison.sides import Side
from pyscale.comparison.state import check_initialised, left_as_found
from pyscale.distributed import check_sharding, gathered, local_device
from pyscale.distributed.dealing import Sharding
from pyscale.ops.devices import check_device
from pyscale.ops.gram import Kernel


def compare(
    model_x: nn.Module,
    model_y: nn.Module,
    loader: Iterable[Any],
    *,
    loader_y: Iterable[Any] | None = None,
    layers: Layers = None,
    layers_y: Layers = None,
    metric: Metric = "cka",
    mode: Mode | None = None,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
    features: Features = "flatten",
    forward: Forward | None = None,
    device: torch.device | str | None = None,
    max_batches: int | None = None,
    permutations: int = 0,
    memory: int | str | None = None,
    seed: int = 0,
    sharding: Sharding = "auto",
    progress: bool = True,
) -> Comparison:
    r"""Compare every chosen layer of one model with every chosen layer of another on the same data.

    Both models run in eval and inference mode; each activation is consumed inside its forward hook, so memory holds one
    activation and small state, and a later in-place operation can't change what was compared. Modes, hooks, gradients,
    random state and device are left as found. One model given twice runs once.

    Mode "minibatch" averages unbiased HSIC over minibatches,

    .. math::
        \mathrm{CKA}_{ij} = \frac{\sum_t \langle U(K_{it}), U(L_{jt}) \rangle}
        {\sqrt{\sum_t |U(K_{it})|^2 \sum_t |U(L_{jt})|^2}},

    whose expectation hardly depends on the batch size. Mode "exact" gives what all samples at once would give, from
    co-moments that take p x q numbers a pair of layers.

    Under torchrun, or in any ``torch.distributed`` process group, the processes share the minibatches, and every one
    returns what one process would have: to rounding where the data depend on the samples' indices alone
    (docs/distributed.md).

    Args:
        model_x: Its layers are the rows. Wrappers (``torch.compile``, ``DataParallel``, DDP) are seen through.
        model_y: Its layers are the columns.
        loader: Batches for both models, or for model_x alone. A tensor is passed as it is, of a tuple or list the first
            item, of a dict (Hugging Face) its items as keywords, but for sample ids the model doesn't ask for.
        loader_y: Batches for model_y: the same samples in the same order, seen in its own way (another resolution,
            another modality). Ids under the key "id", "ids", "sample_id", "sample_ids" or "index" of dict batches are
            checked.
        layers: Names, glob patterns or module types, one or several; None is every leaf that computes. A module called
            twice gives two rows, ``relu`` and ``relu#1``.
        layers_y: The same for model_y; None is the same selection.
        metric: "cka", "cca" (mean correlation), "cca_r2", "svcca", "pwcca" or "procrustes".
        mode: "minibatch", for unbiased CKA, or "exact". None is "minibatch" where it can be.
        kernel: "linear", or "rbf" in minibatch mode.
        estimator: "unbiased", or "biased" in exact mode; for CKA.
        bandwidth: The RBF width as a multiple of each minibatch's median distance.
        features: "flatten"; "pool", the mean over all but samples and channels (dimension 1 of four, the last of
            three); "positions", a row for each sample and position, in exact mode (z-scores then count every position
            as a sample). Layers with unequal grids of positions get NaN.
        forward: ``forward(model, batch)``, to be called instead of the rules above.
        device: Where the models run; None is where each of them is.
        max_batches: Stop after that many.
        permutations: Size of the permutation null for ``pvalues``, in minibatch mode.
        memory: What the co-moments of exact mode, or a minibatch's Grams and the sums, may take, in bytes or as "2GiB";
            None is half of what is free.
        seed: Seed of the permutations.
        sharding: How several processes share the loaders: "auto" has every process given loaders of all samples, of
            which it takes every so manieth minibatch; "own" that each is given its own share already; "none" that this
            process does all alone. ``max_batches`` counts those of all processes.
        progress: Show a progress bar, on rank 0.

    Returns:
        The similarities with their standard errors, chance levels, z-scores and provenance.

    Raises:
        TypeError: A model is no module, or a loader no iterable of batches.
        ValueError: Options exclude each other; a layer doesn't exist, never ran, or gave nothing to compare;
            activations hold NaN or infinity; the loaders don't give the same samples, or too few; models lie on two
            devices; co-moments or Grams wouldn't fit in memory; processes were given other models or minibatches.
        pyscale.distributed.PeerError: Another process failed or died.

    Example:
        >>> import torch
        >>> import pyscale as ps
        >>> narrow = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        >>> batches = [torch.randn(32, 8) for _ in range(4)]
        >>> result = ps.compare(narrow, narrow, batches, progress=False)
        >>> result.rows, result.values.diagonal().tolist()
        (['0', '1', '2'], [1.0, 1.0, 1.0])

    References:
        Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", 2021, eq. 2 and 3.
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
    check_sharding(sharding)
    for argument, model in zip(SIDES, (model_x, model_y), strict=True):
        check_model(model, argument)
    loaders = {"loader": loader} if loader_y is None or loader_y is loader else {"loader": loader, "loader_y": loader_y}
    for argument, given in loaders.items():
        check_loader(given, argument)
    if isinstance(layers, Iterator):
        layers = list(layers)  # it chooses twice
    x = Side("model_x", model_x, select_layers(model_x, layers, argument="layers"), forward)
    y = Side("model_y", model_y, _select_y(model_y, layers, layers_y), forward, loader=len(loaders) - 1)
    sides, pair = ([x], (0, 0)) if x.equals(y) else ([x, y], (0, 1))
    where = None if device is None else check_device(local_device(device))
    with gathered(alone=sharding == "none") as crew:
        if not crew.alone:
            crew.agree("compare", described_call(options, sides, loaders))
        with left_as_found(model_x, model_y, device=where):
            run = Run(options, sides, [pair], device=where, crew=crew)
            scores = run.over(loaders, sharding=sharding, progress=progress)
        state = None if scores is None else comparison_of(run, pair, scores[pair]).state()
        return Comparison.from_state(crew.broadcast(state))


def check_model(model: object, argument: str) -> None:
    """Raise TypeError unless it is a module, and ValueError where it has parameters not yet initialised."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{argument} is a {type(model).__name__}; expected a torch.nn.Module")
    check_initialised(model, argument)


def comparison_of(run: Run, pair: Pair, scores: Scores) -> Comparison:
    """Return what a run found about two of its models, with names and provenance."""
    x, y = (run.sides[place] for place in pair)
    return Comparison(
        values=scores.values,
        rows=run.tally.rows[pair[0]],
        columns=run.tally.rows[pair[1]],
        stderr=scores.stderr,
        chance=scores.chance,
        zscores=scores.zscores,
        pvalues=scores.pvalues,
        meta=describe_run(run, x, y),
    )


def _select_y(model: nn.Module, layers: Layers, layers_y: Layers) -> Selection:
    if layers_y is not None or layers is None:
        return select_layers(model, layers_y, argument="layers_y")
    try:
        return select_layers(model, layers, argument="layers")
    except ValueError as error:
        raise ValueError(f"{error} (in model_y, for which layers_y chooses others)") from None
