"""Comparing two stores: every layer read once, in batches, by the strategies that compare live models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.metadata import version
from numbers import Integral
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch

from pyscale.comparison.features import Features
from pyscale.comparison.memory import parse_size
from pyscale.comparison.options import Estimator, Metric, Mode, Options, Pair, resolve_options
from pyscale.comparison.provenance import describe_machine
from pyscale.comparison.result import Comparison
from pyscale.comparison.scores import Scores
from pyscale.comparison.stored.checkpoint import Checkpoint, is_final
from pyscale.comparison.stored.plan import Plan, left_for_comparison, plan_batches
from pyscale.comparison.stored.run import StoredRun
from pyscale.comparison.stored.sides import StoredNames, StoredSide, align, choose_layers
from pyscale.comparison.stored.tiles import Block, exact_blocks
from pyscale.distributed import Crew, gathered
from pyscale.metrics.row_buffer import ENOUGH_ROWS
from pyscale.ops.gram import Kernel, check_choice
from pyscale.stores.opening import open_store
from pyscale.stores.sample_ids import hash_ids
from pyscale.stores.store import Store

BATCH = 256

Address = str | PathLike[str] | Store


def compare_stores(
    a: Address,
    b: Address,
    *,
    layers: StoredNames = None,
    layers_y: StoredNames = None,
    metric: Metric = "cka",
    mode: Mode | None = None,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
    features: Features = "flatten",
    batch_size: int = BATCH,
    max_batches: int | None = None,
    permutations: int = 0,
    memory: int | str = "2GiB",
    seed: int = 0,
    cache: str | PathLike[str] | None = None,
    resume: bool = True,
    sharding: Literal["auto", "none"] = "auto",
    progress: bool = True,
) -> Comparison:
    """Compare every chosen layer of one store of activations with every chosen layer of another.

    The result is what :func:`pyscale.compare` gives for the same samples in the same batches: layers are read batch by
    batch and go through the same arithmetic, while a thread reads on. Every layer is read once. It is read more often
    only where it must be: some features at a time where a batch of a layer doesn't fit in ``memory``, by blocks of
    layers where the co-moments of mode "exact" don't, and its chunks where its samples lie in another order. How often
    stands in ``meta["reads"]``.

    Under torchrun, or in any ``torch.distributed`` process group, the processes share the batches, and each returns
    what one process would have, to rounding; the stores must be where all can read them (docs/distributed.md).

    Samples are matched by id where both stores have ids, whatever their order; otherwise sample i of one is sample i of
    the other, with a warning where one of them has ids.

    Args:
        a: Its layers are the rows: anything that :func:`pyscale.open_store` opens, or an open store.
        b: Its layers are the columns.
        layers: Names or glob patterns, one or several; None is all.
        layers_y: The same for b; None is the same selection.
        metric: "cka", "cca" (mean correlation), "cca_r2", "svcca", "pwcca" or "procrustes".
        mode: "minibatch", for unbiased CKA, or "exact". None is "minibatch" where it can be.
        kernel: "linear", or "rbf" in minibatch mode.
        estimator: "unbiased", or "biased" in exact mode; for CKA.
        bandwidth: The RBF width as a multiple of each minibatch's median distance.
        features: "flatten", "pool" or "positions", of activations that were stored with their shape.
        batch_size: Samples a minibatch.
        max_batches: Stop after that many.
        permutations: Size of the permutation null for ``pvalues``, in minibatch mode.
        memory: What the process may take, in bytes or as "2GiB": what it has already included, as long as that leaves
            half of it. Each of several processes takes as much.
        seed: Seed of the permutations.
        cache: Folder for the state of a comparison under way, written once a minute and removed at the end, or after 30
            days; None is ``pyscale/comparisons`` in the user's cache folder.
        resume: Go on where the same comparison was stopped, by as many processes. The result has the same bits.
        sharding: "none" compares on this process alone, whatever others there are.
        progress: Show a progress bar, on rank 0.

    Returns:
        The similarities with their standard errors, chance levels, z-scores and provenance.

    Raises:
        TypeError: A layer is chosen by something else than its name.
        ValueError: Options exclude each other; a store is unfinished, or holds other samples; a layer doesn't exist;
            activations hold NaN or infinity; ``memory`` is not enough.
        DamagedStoreError: A store is cut short, damaged, or was changed while it was read (a ValueError).
        pyscale.distributed.PeerError: Another process failed or died.

    Example:
        >>> import tempfile, numpy as np
        >>> import pyscale as ps
        >>> folder, x = tempfile.mkdtemp(), np.random.default_rng(0).standard_normal((600, 64))
        >>> np.savez(f"{folder}/x.npz", conv=x, relu=np.maximum(x, 0))
        >>> np.save(f"{folder}/y.npy", x @ np.diag(np.arange(64.0)))
        >>> result = ps.compare_stores(f"{folder}/x.npz", f"{folder}/y.npy", progress=False)
        >>> result.rows, result.columns, result.values.round(2).ravel()
        (['conv', 'relu'], ['y'], array([0.74, 0.55]))
    """
    for argument, given in (("a", a), ("b", b)):
        if not isinstance(given, str | os.PathLike | Store):
            raise TypeError(f"{argument} is {given!r}; expected the path or address of a store, or an open one")
    budget = left_for_comparison(parse_size(memory, "memory"))  # before anything is allocated
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
    batch_size = as_batch_size(batch_size)
    check_choice("sharding", sharding, ("auto", "none"))
    chosen = list(layers) if isinstance(layers, Iterator) else layers  # it chooses twice
    with ExitStack() as stack:
        crew = stack.enter_context(gathered(alone=sharding == "none"))
        x = _side(stack, a, chosen, "layers")
        again = x.store if not isinstance(b, Store) and os.fspath(b) == x.store.address else b
        named, chosen_y = ("layers", chosen) if layers_y is None else ("layers_y", layers_y)
        y = _side(stack, again, chosen_y, named)
        align([x, y])
        same = x.store is y.store and x.rows == y.rows
        for side in (x, y):
            check_features(side.store, options)
        if not crew.alone:
            crew.agree("compare_stores", _described_call(options, batch_size, x, y))
            budget = crew.on_first(lambda: budget) // (3 if options.mode == "exact" else 1)  # others' co-moments
        found = compare_pair(
            x,
            None if same else y,
            options,
            batch_size=batch_size,
            budget=budget,
            cache=cache,
            resume=resume,
            progress=progress,
            crew=crew,
        )
        for side in (x, y):
            side.store.check_unchanged()
        return found


def _described_call(options: Options, batch_size: int, *sides: StoredSide) -> dict[str, Any]:
    """Return what must be the same on all processes, as plain values; the stores' addresses may differ."""
    call: dict[str, Any] = {**asdict(replace(options, memory=None)), "batch_size": batch_size}
    for name, side in zip(("a", "b"), sides, strict=True):
        call[f"{name}'s layers"] = side.rows
        call[f"{name}'s samples"] = side.store.samples
        call[f"{name}'s ids"] = None if side.store.ids is None else hash_ids(side.store.ids)
    return call


def compare_pair(
    x: StoredSide,
    y: StoredSide | None,
    options: Options,
    *,
    batch_size: int,
    budget: int,
    cache: str | PathLike[str] | None,
    resume: bool,
    progress: bool,
    crew: Crew | None = None,
) -> Comparison:
    """Compare two aligned stores, or one with itself where ``y`` is None; ``budget`` bytes may be taken."""
    crew = crew or Crew()
    blocks = [Block(x.layers, None if y is None else y.layers)]
    if options.mode == "exact":
        blocks = exact_plan(x, y, options, batch_size, budget)
        if options.max_batches is None:  # which counts batches of the size that was asked for
            batch_size = _held(x, batch_size)
    description = {**describe_stores([x] if y is None else [x, y]), "options": asdict(replace(options, memory=None))}
    if not crew.alone:
        description["process"] = [crew.rank, crew.size]
    finished: list[tuple[Block, Scores | None, StoredRun]] = []
    for block in blocks:
        sides = [x.of(block.rows)] + ([] if block.columns is None else [(y or x).of(block.columns)])
        pair = 0, len(sides) - 1
        checkpoint = Checkpoint(
            cache, {**description, "batch_size": batch_size, "block": [side.rows for side in sides]}, resume=resume
        )
        run = run_stores(sides, [pair], options, batch_size=batch_size, budget=budget, checkpoint=checkpoint, crew=crew)
        try:
            found = run.over(progress=progress)
        except ValueError as error:
            for _, _, done in finished if is_final(error) else ():
                done.checkpoint.remove()
            raise
        finished.append((block, None if found is None else found[pair], run))
    parts = [(block, scores) for block, scores, _ in finished if scores is not None]
    state = None
    if crew.first:
        scores = _joined(x, y or x, parts)
        state = stored_comparison(x, y or x, options, scores, finished[0][2], batch_size, len(blocks)).state()
    result = Comparison.from_state(crew.broadcast(state))
    for _, _, done in finished:
        done.checkpoint.remove()
    return result


def exact_plan(x: StoredSide, y: StoredSide | None, options: Options, batch_size: int, budget: int) -> list[Block]:
    """Return which layers of two aligned stores, or of one where ``y`` is None, are compared in one pass.

    Raises:
        ValueError: Two layers alone don't fit in ``budget`` bytes.
    """
    columns, labels = None if y is None else y.layers, (x.label, (y or x).label)
    return exact_blocks(x.layers, columns, options, _held(x, batch_size), budget, labels)


def _held(side: StoredSide, batch_size: int) -> int:
    """Return how many samples are read at once in exact mode: fewer would be held until they are as many."""
    return max(batch_size, min(ENOUGH_ROWS, side.store.samples))


def run_stores(
    sides: Sequence[StoredSide],
    pairs: Sequence[Pair],
    options: Options,
    *,
    batch_size: int,
    budget: int,
    checkpoint: Checkpoint,
    crew: Crew | None = None,
) -> StoredRun:
    """Return the comparison of aligned stores, any number of them, in which every layer is read once.

    Args:
        sides: The stores.
        pairs: Which of them are compared.
        options: What is computed.
        batch_size: Samples in a batch.
        budget: Bytes that may be taken: :func:`pyscale.comparison.stored.plan.left_for_comparison`.
        checkpoint: Where the state goes.
        crew: The processes that share the batches.
    """
    options = replace(options, memory=budget)
    if options.mode == "minibatch":
        plan = plan_batches(sides, options, batch_size, budget)
    else:
        widest = max(layer.row_bytes for side in sides for layer in side.layers)
        plan = Plan(batch_size * widest if options.features == "pool" else 0, 2, 1)
    return StoredRun(options, sides, pairs, batch_size=batch_size, plan=plan, checkpoint=checkpoint, crew=crew)


def as_batch_size(batch_size: Any) -> int:
    """Return a batch size as Python's integer; ValueError unless a batch can have so many samples."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a positive whole number")
    return int(batch_size)


def check_features(store: Store, options: Options) -> None:
    """Raise ValueError where positions are asked for that a store no longer has."""
    if options.features == "positions" and store.attributes.get("features") == "pool":
        raise ValueError(f"features is 'positions', but {store.address} was extracted with features='pool'")


def describe_stores(sides: Sequence[StoredSide]) -> dict[str, Any]:
    """Return which stores are compared, and in which state they are, as JSON types."""
    return {
        "stores": [[side.store.address, side.rows, side.store.stamp] for side in sides],
        "versions": [version("pyscale"), torch.__version__, torch.get_num_threads()],
    }


def _side(stack: ExitStack, address: Address, names: StoredNames, argument: str) -> StoredSide:
    if isinstance(address, Store):
        store = address
    else:
        store = open_store(address)
        stack.callback(store.close)
    return StoredSide(store.address, store, choose_layers(store, names, argument))


def _joined(x: StoredSide, y: StoredSide, parts: list[tuple[Block, Scores]]) -> Scores:
    """Return the tables of all layers, of tables of blocks of them."""
    if len(parts) == 1:
        return parts[0][1]
    places_x = {name: i for i, name in enumerate(x.rows)}
    places_y = {name: j for j, name in enumerate(y.rows)}
    tables = [np.full((len(places_x), len(places_y)), np.nan) for _ in range(4)]
    for (rows, columns), scores in parts:
        at = np.ix_([places_x[layer.name] for layer in rows], [places_y[layer.name] for layer in columns or rows])
        found = scores.values, scores.stderr, scores.chance, scores.zscores
        for table, part in zip(tables, found, strict=True):
            table[at] = part
    return Scores(*tables)


def stored_comparison(
    x: StoredSide, y: StoredSide, options: Options, scores: Scores, run: StoredRun, batch_size: int, blocks: int = 1
) -> Comparison:
    """Return what a run found about two of its stores, with names and provenance."""
    kinds = {str(layer.dtype).removeprefix("torch.") for side in (x, y) for layer in side.layers}
    return Comparison(
        values=scores.values,
        rows=x.rows,
        columns=y.rows,
        stderr=scores.stderr,
        chance=scores.chance,
        zscores=scores.zscores,
        pvalues=scores.pvalues,
        meta={
            "compared": "stores",
            **asdict(options),
            "model_x": x.model,
            "model_y": y.model,
            "store_x": x.store.address,
            "store_y": y.store.address,
            "samples": run.samples,
            "batch_size": batch_size,
            "batches": run.batches,
            "skipped_batches": run.skipped,
            "skipped_layers": {},
            "processes": run.crew.size,
            "matched_by": "sample ids" if x.store.ids is not None and y.store.ids is not None else "position",
            "reads": run.plan.reads * blocks,
            "dtype": sorted(kinds),
            **describe_machine(torch.device("cpu")),
        },
    )
