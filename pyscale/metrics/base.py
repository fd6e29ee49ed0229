"""The contract of metrics that see their data in pieces: update, merge_state, compute, reset, and a plain state."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from typing_extensions import Self

from pyscale.ops.devices import check_device
from pyscale.ops.memory import MemoryErrors


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Make state of ordinary tensors without history, whatever mode the caller is in.

    Tensors made in inference mode could not be added to outside it.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


class Metric(ABC):
    """A metric that remembers what it needs of the data seen so far, and not the data.

    ``update`` adds data, ``merge_state`` adds what other metrics have seen, ``compute`` returns the result as often as
    it is asked, ``reset`` forgets. Any split of the data over metrics and merges gives the result of one pass. State
    never shares memory with inputs, other metrics or state dicts.

    A call that raises leaves the metric as it was. Where that cannot be, because memory ran out or somebody interrupted
    when one of several matrices was written, everything but ``reset`` and ``load_state_dict`` raises RuntimeError from
    then on: a state that is neither the old one nor the new is never computed with.
    """

    _device: torch.device | None = None  # of the state, where updates must be; None until the first of them
    _torn: bool = False  # whether writes to the state stopped half way

    @property
    def device(self) -> torch.device | None:
        """Where the state is and updates must be; None before the first."""
        return self._device

    @abstractmethod
    def compute(self) -> Any:
        """Return the result for all data seen so far; the state is unchanged."""

    def reset(self) -> Self:
        """Forget all data and what was learnt from them; options, device and names given to the constructor remain.

        Returns:
            The metric itself.
        """
        with self._whole():
            self._forget()
        self._torn = False
        return self

    @plain_tensors()
    def to(self, device: torch.device | str) -> Self:
        """Move the state to ``device``, where later updates must then be.

        Returns:
            The metric itself.

        Raises:
            ValueError: There is no such device here.
        """
        self._check_whole()
        device = check_device(device)  # "cuda" becomes "cuda:0"
        self._move(device)
        self._device = device
        return self

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Write to the state: whatever is raised inside makes it unusable until it is reset.

        What may fail without harm goes before: checks, and of what needs memory all that can.
        """
        try:
            yield
        except BaseException:  # KeyboardInterrupt tears as well
            self._torn = True
            raise

    def _check_whole(self) -> None:
        """Raise RuntimeError where writes to the state stopped half way: all that uses it asks first."""
        if self._torn:
            raise RuntimeError(
                f"an update or merge of this {type(self).__name__} was interrupted half way, and what it holds is "
                f"neither the old state nor the new; reset() or load_state_dict() starts anew"
            )

    @abstractmethod
    def _forget(self) -> None:
        """Drop the state."""

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """Return the options that metrics must share to be merged: plain numbers, strings, lists."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return the state as plain numbers, strings, lists, dicts and tensors of their own memory."""

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None:
        """Take the state from what ``_state`` returned, copying tensors; raise ValueError before writing anything."""

    @abstractmethod
    def _layout(self) -> dict[str, Any] | None:
        """Return what metrics that have seen data must share to be merged (names, sizes, device); None while empty."""

    @abstractmethod
    def _move(self, device: torch.device) -> None:
        """Move the state to ``device``."""

    def _check_fit(self, other: Self) -> None:  # noqa: B027 (there may be nothing to check)
        """Raise ValueError unless what ``other`` has seen fits what the constructor was given."""

    @abstractmethod
    def _merge(self, other: Self) -> None:
        """Add the state of ``other``, which is checked and only read."""

    @plain_tensors()
    def merge_state(self, others: Self | Iterable[Self]) -> Self:
        """Add what other metrics have seen; they are unchanged.

        Args:
            others: A metric of the same type and options, or several of them, merged in their order.

        Returns:
            The metric itself.

        Raises:
            TypeError: One of them is of another type.
            ValueError: One of them has other options or has seen other layers or feature counts.
        """
        self._check_whole()
        if not isinstance(others, Metric | Iterable):
            raise TypeError(f"others is a {type(others).__name__}; expected a {type(self).__name__} or several")
        metrics = [others] if isinstance(others, Metric) else list(others)
        layout = self._layout()
        for other in metrics:
            if type(other) is not type(self):
                raise TypeError(f"others holds a {type(other).__name__}; expected {type(self).__name__}")
            other._check_whole()
            _check_equal(self._options(), other._options(), "the metric to merge")
            theirs = other._layout()
            if theirs is not None:
                self._check_fit(other)
                layout = layout or theirs
                _check_equal(layout, theirs, "the metric to merge")
        metrics = [copy.deepcopy(other) if other is self else other for other in metrics]
        with MemoryErrors(type(self).__name__):
            if metrics:
                self._merge(metrics[0])
            with self._whole():  # what has been merged stays
                for other in metrics[1:]:
                    self._merge(other)
        return self

    @plain_tensors()
    def state_dict(self) -> dict[str, Any]:
        """Return options and state as plain tensors, numbers, strings, lists and dicts.

        ``torch.save`` writes it, and ``torch.load(..., weights_only=True)`` reads it.
        """
        self._check_whole()
        return {"metric": type(self).__name__, "options": self._options(), "state": self._state()}

    @plain_tensors()
    def load_state_dict(self, state_dict: dict[str, Any]) -> Self:
        """Replace the state by a saved one.

        Args:
            state_dict: What :meth:`state_dict` of a metric with the same options returned.

        Returns:
            The metric itself.

        Raises:
            TypeError: It is no mapping.
            ValueError: It is of another metric, has other options, or lacks entries.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict is a {type(state_dict).__name__}; expected what state_dict() returned")
        missing = {"metric", "options", "state"} - set(state_dict)
        if missing:
            raise ValueError(f"state_dict lacks {', '.join(map(repr, sorted(missing)))}; is it a metric's?")
        if state_dict["metric"] != type(self).__name__:
            raise ValueError(f"state_dict is of a {state_dict['metric']}; expected {type(self).__name__}")
        _check_equal(self._options(), state_dict["options"], "state_dict")
        try:
            self._load(state_dict["state"])
        except KeyError as error:
            raise ValueError(f"state_dict of {type(self).__name__} lacks {error}") from error
        self._torn = False
        return self


def check_shapes(state: Mapping[str, Any], shapes: Mapping[str, str]) -> None:
    """Raise ValueError unless the tensors of a state have the dimensions named: one letter, one size everywhere.

    Example:
        >>> check_shapes({"mean": torch.zeros(3), "S": torch.zeros(3, 3)}, {"mean": "p", "S": "pp"})
    """
    sizes: dict[str, int] = {}
    for name, dimensions in shapes.items():
        shape = tuple(state[name].shape) if isinstance(state[name], torch.Tensor) else None
        if shape is None or len(shape) != len(dimensions):
            raise ValueError(f"{name!r} of the state is no tensor of {len(dimensions)} dimensions")
        expected = tuple(sizes.setdefault(letter, size) for letter, size in zip(dimensions, shape, strict=True))
        if shape != expected:
            raise ValueError(f"{name!r} of the state has shape {shape}; the rest of it asks for {expected}")


def _check_equal(ours: dict[str, Any], theirs: dict[str, Any], whose: str) -> None:
    """Raise ValueError naming the first entry in which two descriptions of metrics differ."""
    for name in [*ours, *(theirs.keys() - ours.keys())]:
        if ours.get(name) != theirs.get(name):
            raise ValueError(f"{whose} has {name}={theirs.get(name)!r}; this one has {name}={ours.get(name)!r}")
