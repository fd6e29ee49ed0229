"""Batches of any kind: how a model is called on one, how many samples it has, and two loaders side by side."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from pyscale.comparison.activations import first_tensor
from pyscale.distributed import Dealt
from pyscale.metrics.validity import warn

Forward = Callable[[nn.Module, Any], Any]

ID_KEYS = ("sample_id", "sample_ids", "id", "ids", "index")
_END = (None, None)


class Batch(NamedTuple):
    """The same samples as each of the loaders gives them."""

    number: int
    seen: tuple[Any, ...]


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


def check_forward(forward: Forward | None) -> None:
    """Raise TypeError unless it can be called, or is None."""
    if forward is not None and not callable(forward):
        raise TypeError(f"forward is {forward!r}; expected a function forward(model, batch), or None")


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


def aligned_batches(loaders: Mapping[str, Dealt]) -> Iterator[Batch]:
    """Yield what the loaders give this process side by side; what is checked against the first of them names both.

    Args:
        loaders: By what errors call them; at least one.

    Raises:
        ValueError: The loaders disagree in length, in the size of a batch, or in the samples' ids.
    """
    names = list(loaders)
    if len(loaders) == 1:
        for place, batch in loaders[names[0]]:
            yield Batch(place, (batch,))
        return
    counts = [count_batches(dealt.loader, dealt.most) for dealt in loaders.values()]
    for name, count in zip(names, counts, strict=True):
        if None not in (count, counts[0]) and count != counts[0]:
            raise ValueError(
                f"{names[0]} has {counts[0]} batches and {name} has {count}; both must give the same samples"
            )
    warned = False
    for found in zip_longest(*loaders.values(), fillvalue=_END):
        ended = [item is _END for item in found]
        number = next(place for place, _ in found if place is not None)
        seen = tuple(item[1] for item in found)
        if any(ended):
            raise ValueError(
                f"{names[ended.index(True)]} ended after {number} batches and {names[ended.index(False)]} has at "
                f"least {number + 1}; both must give the same samples"
            )
        identified = [_check_same(number, names[0], seen[0], *other) for other in zip(names[1:], seen[1:], strict=True)]
        if not warned and not all(identified):
            warned = True
            _warn_of_shuffling([dealt.loader for dealt in loaders.values()], names)
        yield Batch(number, seen)


def _check_same(number: int, name: str, batch: Any, name_y: str, batch_y: Any) -> bool:
    """Return whether ids show that the two batches hold the same samples; ValueError where they can't."""
    n, m = count_samples(batch), count_samples(batch_y)
    if n != m and n is not None and m is not None:
        raise ValueError(
            f"batch {number} of {name} has {n} samples and that of {name_y} has {m}; "
            f"both must give the same samples in the same order"
        )
    ids, ids_y = batch_ids(batch), batch_ids(batch_y)
    if ids is None or ids_y is None:
        return False
    if ids != ids_y:
        i = next((i for i, (a, b) in enumerate(zip(ids, ids_y, strict=False)) if a != b), min(len(ids), len(ids_y)))
        raise ValueError(
            f"batch {number} holds other samples in {name} than in {name_y}: at place {i} the ids are "
            f"{ids[i : i + 1]} and {ids_y[i : i + 1]}; both must give the same samples in the same order"
        )
    return True


def _warn_of_shuffling(loaders: Iterable[Any], names: Iterable[str]) -> None:
    """Warn where a loader draws its own order, which the others can't follow."""
    if any(shuffles(loader) for loader in loaders):
        warn(
            f"{' or '.join(names)} shuffles: unless all draw the same order, row i is another sample in each; "
            "use shuffle=False, or batches that are dicts with an 'id'"
        )
