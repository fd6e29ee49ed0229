"""Batches of any kind: how a model is called on one, how many samples it has, and two loaders side by side."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from pyscale.comparison.activations import first_tensor

Forward = Callable[[nn.Module, Any], Any]

ID_KEYS = ("sample_id", "sample_ids", "id", "ids", "index")
_END = object()


class Pair(NamedTuple):
    """The same samples as the two models see them."""

    number: int
    x: Any
    y: Any


def forward_batch(model: nn.Module, batch: Any) -> Any:
    """Run a model on a batch: a tuple or list passes its first item, a mapping its items as keywords.

    Sample ids (``ID_KEYS``) are passed only to a model that takes them by name.

    Raises:
        TypeError: The model doesn't take a mapping's keys.
    """
    item = batch[0] if isinstance(batch, tuple | list) and len(batch) else batch
    if not isinstance(item, Mapping):
        return model(item)
    signature = inspect.signature(model.forward)
    keywords = {key: value for key, value in item.items() if key not in ID_KEYS or key in signature.parameters}
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise TypeError(
            f"the batch has the keys {', '.join(map(repr, item))}, which {type(model).__name__}.forward doesn't take "
            f"as keywords ({error}); pass forward=, for instance forward=lambda model, batch: model(batch['image'])"
        ) from error
    return model(**keywords)


def count_samples(batch: Any) -> int | None:
    """Return the length of the first tensor in what a model would be given, or None where there is none."""
    item = batch[0] if isinstance(batch, tuple | list) and len(batch) else batch
    if isinstance(item, Mapping):
        item = {key: value for key, value in item.items() if key not in ID_KEYS}
    tensor = first_tensor(item)
    return len(tensor) if tensor is not None and tensor.ndim else None


def batch_ids(batch: Any) -> list[Any] | None:
    """Return the ids of a batch's samples, where it is a mapping that has them under one of ``ID_KEYS``."""
    item = batch[0] if isinstance(batch, tuple | list) and len(batch) else batch
    if not isinstance(item, Mapping):
        return None
    for key in ID_KEYS:
        if key in item:
            ids = item[key]
            return ids.tolist() if hasattr(ids, "tolist") else list(ids)
    return None


def move(batch: Any, device: torch.device) -> Any:
    """Return the batch with copies of all its tensors on ``device``; what holds none is passed through.

    Copies, because a model whose first layer works in place would otherwise change what the next model, or the next
    reader of the loader's memory, sees.
    """
    if isinstance(batch, Tensor):
        return batch.to(device, copy=True)
    if callable(getattr(batch, "to", None)):
        return copy.deepcopy(batch).to(device)
    if isinstance(batch, Mapping):
        return {key: move(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move(item, device) for item in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(move(item, device) for item in batch)
    return batch


def check_loader(loader: Any, argument: str) -> None:
    """Raise TypeError unless ``loader`` is an iterable of batches."""
    if isinstance(loader, Tensor) or (isinstance(loader, Dataset) and not isinstance(loader, IterableDataset)):
        raise TypeError(
            f"{argument} is a {type(loader).__name__}, whose items are samples; expected an iterable of batches, "
            f"such as DataLoader({'TensorDataset(x)' if isinstance(loader, Tensor) else 'dataset'}, batch_size=256)"
        )
    if not isinstance(loader, Iterable):
        raise TypeError(f"{argument} is a {type(loader).__name__}; expected an iterable of batches")


def shuffles(loader: Any) -> bool:
    """Return whether a loader is known to draw an order of its own."""
    return isinstance(loader, DataLoader) and isinstance(loader.sampler, RandomSampler)


def count_batches(loader: Iterable[Any], max_batches: int | None) -> int | None:
    """Return how many batches will be seen, or None where the loader doesn't know its length."""
    try:
        length = len(loader)  # type: ignore[arg-type]
    except TypeError:  # generators have no length, and loaders over streams say so by this error
        return None
    return length if max_batches is None else min(length, max_batches)


def paired_batches(loader: Iterable[Any], loader_y: Iterable[Any] | None, max_batches: int | None) -> Iterator[Pair]:
    """Yield the batches that the two models see; without ``loader_y`` both see the very same object.

    Raises:
        ValueError: The loaders disagree in length, in the size of a batch, or in the samples' ids.
    """
    if loader_y is None:
        for number, batch in enumerate(islice(loader, max_batches)):
            yield Pair(number, batch, batch)
        return
    counts = count_batches(loader, max_batches), count_batches(loader_y, max_batches)
    if None not in counts and counts[0] != counts[1]:
        raise ValueError(
            f"loader has {counts[0]} batches and loader_y has {counts[1]}; both must give the same samples"
        )
    iterator_x, iterator_y = islice(loader, max_batches), islice(loader_y, max_batches)
    number = 0
    while True:
        pair = Pair(number, next(iterator_x, _END), next(iterator_y, _END))
        ended = pair.x is _END, pair.y is _END
        if all(ended):
            return
        if any(ended):
            short, long = ("loader", "loader_y") if ended[0] else ("loader_y", "loader")
            raise ValueError(
                f"{short} ended after {number} batches and {long} has at least {number + 1}; "
                f"both must give the same samples"
            )
        identified = _check_pair(pair)
        if number == 0 and not identified:
            _warn_of_shuffling(loader, loader_y)
        yield pair
        number += 1


def _check_pair(pair: Pair) -> bool:
    """Return whether ids show that the two batches hold the same samples; ValueError where they can't."""
    n, m = count_samples(pair.x), count_samples(pair.y)
    if n != m and n is not None and m is not None:
        raise ValueError(
            f"batch {pair.number} of loader has {n} samples and that of loader_y has {m}; "
            f"both must give the same samples in the same order"
        )
    ids, ids_y = batch_ids(pair.x), batch_ids(pair.y)
    if ids is None or ids_y is None:
        return False
    if ids != ids_y:
        i = next((i for i, (a, b) in enumerate(zip(ids, ids_y, strict=False)) if a != b), min(len(ids), len(ids_y)))
        raise ValueError(
            f"batch {pair.number} holds other samples in loader than in loader_y: at place {i} the ids are "
            f"{ids[i : i + 1]} and {ids_y[i : i + 1]}; both must give the same samples in the same order"
        )
    return True


def _warn_of_shuffling(*loaders: Iterable[Any]) -> None:
    """Warn where a loader draws its own order, which the other can't follow."""
    if any(shuffles(loader) for loader in loaders):
        warnings.warn(
            "loader or loader_y shuffles: unless both draw the same order, row i is another sample in each; "
            "use shuffle=False, or batches that are dicts with an 'id'",
            UserWarning,
            stacklevel=5,
        )
