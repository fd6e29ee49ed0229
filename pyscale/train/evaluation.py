"""Accuracy of a classifier on held-out pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pyscale.distributed import Crew
from pyscale.train.accuracy import Accuracy, ClassCount
from pyscale.train.data import Data, Split
from pyscale.train.datasets import DataLike, as_data
from pyscale.train.seeding import preserved_global_state


def evaluate(
    model: nn.Module,
    data: DataLike,
    *,
    split: Split = "test",
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> Accuracy:
    """Count how many pictures a classifier names rightly.

    The model runs in eval and inference mode, in its own precision, and is left as it was found. Pictures are served
    at the model's own resolution (``model.image_size``) where it has one.

    Args:
        model: Maps (b, channels, height, width) to (b, classes) scores; the highest wins.
        data: A :class:`Data`, or what :func:`from_datasets` takes.
        split: Which pictures.
        batch_size: The largest batch.
        device: Where to run; None is where the model's parameters are.

    Returns:
        The accuracy with its 95 % Wilson interval and the counts of every class.

    Raises:
        TypeError: If ``model`` is no module, or ``data`` no data.
        ValueError: If the split does not exist, the model's output does not fit the classes, or there is no such
            device.

    Example:
        >>> from pyscale.train import digits
        >>> data = digits()
        >>> untrained = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> evaluate(untrained, data).total
        359
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if device is not None:
        device = as_device(device)
    with preserved_global_state():  # a dataset may draw from the global generators
        return evaluate_together(model, at_model_resolution(model, as_data(data)), Crew(), split, batch_size, device)


def evaluate_together(
    model: nn.Module,
    data: Data,
    crew: Crew,
    split: Split = "test",
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> Accuracy:
    """Count as :func:`evaluate` does, with other processes: each picture is counted by one of them, for all."""
    original = model_device(model)
    target = torch.device(device) if device is not None else original
    correct = torch.zeros(data.num_classes, dtype=torch.int64)
    total = torch.zeros_like(correct)
    with evaluating(model), torch.inference_mode():
        model.to(target)
        try:
            for images, labels in data.loader(split, batch_size, share=(crew.rank, crew.size)):
                if len(labels) == 0:
                    continue
                predictions = check_scores(model(images.to(target)), data).argmax(1).cpu()
                total += labels.bincount(minlength=data.num_classes)
                correct += labels[predictions == labels].bincount(minlength=data.num_classes)
        finally:
            model.to(original)
    counts = crew.reduce(torch.stack([correct, total]), lambda mine, theirs: mine + theirs)
    correct, total = crew.broadcast(counts)
    per_class = tuple(map(ClassCount, data.class_names, correct.tolist(), total.tolist()))
    return Accuracy(int(correct.sum()), int(total.sum()), per_class)


def as_device(device: torch.device | str) -> torch.device:
    """The device with its number, or ValueError where there is no such device here."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ValueError(f"device is {str(device)!r}, which can't be used: {str(error).splitlines()[0]}") from error


def at_model_resolution(model: nn.Module, data: Data) -> Data:
    """The data at ``model.image_size``, or as it is where the model has no resolution of its own."""
    image_size = getattr(model, "image_size", None)
    return data if image_size is None else data.resized(image_size)


def model_device(model: nn.Module) -> torch.device:
    """Where the first parameter or buffer is; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def check_scores(scores: object, data: Data) -> Tensor:
    """The model's output, checked to be (b, at least num_classes) scores."""
    if not isinstance(scores, Tensor):
        raise TypeError(f"model must return a tensor of class scores, got {type(scores).__name__}")
    if scores.ndim != 2 or scores.shape[1] < data.num_classes:
        raise ValueError(
            f"model must return (batch, at least {data.num_classes}) scores for {data!r}, got {tuple(scores.shape)}"
        )
    return scores


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; every module's own mode restored after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
