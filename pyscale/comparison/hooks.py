"""Tapping a model: every selected layer's activation is handed over the moment it exists, then let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pyscale.comparison.activations import batch_first, first_tensor, why_unusable
from pyscale.comparison.layers import Selection, row_name

_EVERY_BATCH = "only layers that run in every batch can be compared: choose them with layers="

Consume = Callable[[str, Tensor], None]


class Tap:
    """Forward hooks on the selected layers of one model.

    Inside the ``with`` block the hooks are in place but silent, so that another model which shares modules with this
    one can run; they speak only inside :meth:`recording`. Consumers get the live activation: whatever outlives the call
    must be computed or copied there and then, because the next layer may overwrite it in place.

    Attributes:
        label: What errors call the model.
        selection: The layers.
        rows: Names of the calls that are compared, in forward order; fixed by the first recorded pass.
        skipped: Layers that gave nothing comparable and were not spelled out by the user, with the reason.
        dtypes: Element types of the activations seen.
    """

    def __init__(self, label: str, selection: Selection) -> None:
        self.label = label
        self.selection = selection
        self.rows: list[str] = []
        self.skipped: dict[str, str] = {}
        self.dtypes: set[str] = set()
        self._consume: Consume | None = None
        self._batch = 0
        self._samples: int | None = None
        self._seen: list[str] = []
        self._calls: Counter[str] = Counter()
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Tap:
        try:
            for name, module in self.selection.modules.items():
                self._handles.append(module.register_forward_hook(self._hook(name)))
        except BaseException:  # a module that takes no hooks
            self._remove_hooks()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_hooks()

    @property
    def samples(self) -> int | None:
        """Number of samples in the last recorded pass; None where nothing has told it yet."""
        return self._samples

    @contextmanager
    def recording(self, consume: Consume, batch: int, samples: int | None) -> Iterator[None]:
        """Hand the activations of the forward pass inside the block to ``consume(row, activation)``, in forward order.

        Args:
            consume: Takes the row's name and the activation, samples along its first dimension.
            batch: The batch's number, for errors.
            samples: Number of samples in the batch; None takes the first activation's word for it.

        Raises:
            ValueError: A layer that the user spelled out gave nothing to compare, or the calls are not those of the
                first pass.
        """
        self._batch, self._samples, self._consume = batch, samples, consume
        self._seen = []
        self._calls.clear()
        try:
            yield
        finally:
            self._consume = None
        if self.rows:
            self._check_same_rows()
        else:
            self._fix_rows()

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hand_over_output(module: nn.Module, inputs: Any, output: Any) -> None:
            if self._consume is None:
                return
            call = self._calls[name]
            self._calls[name] += 1
            if self.selection.wants(name, call):
                self._hand_over(row_name(name, call), module, first_tensor(output), self._consume)

        return hand_over_output

    def _hand_over(self, row: str, module: nn.Module, activation: Tensor | None, consume: Consume) -> None:
        if activation is not None:
            activation = batch_first(module, activation)
        reason = why_unusable(activation, self._samples)
        if activation is None or reason is not None:
            if row in self.selection.required or row in self.rows:
                raise ValueError(f"layer {row!r} of {self.label} can't be compared in batch {self._batch}: {reason}")
            self.skipped[row] = str(reason)
            return
        if self.rows and row not in self.rows:
            raise ValueError(
                f"layer {row!r} of {self.label} ran in batch {self._batch} but not before it; {_EVERY_BATCH}"
            )
        self._samples = len(activation)
        self._seen.append(row)
        self.dtypes.add(str(activation.dtype).removeprefix("torch."))
        consume(row, activation)

    def _fix_rows(self) -> None:
        unseen = [row for row in sorted(self.selection.required) if row not in self._seen]
        if unseen:
            names = " and ".join(f"layer {row!r}" for row in unseen)
            raise ValueError(f"{names} of {self.label} never ran: the forward pass doesn't call what bears that name")
        if not self._seen:
            reasons = "; ".join(f"{row!r}: {reason}" for row, reason in list(self.skipped.items())[:5])
            raise ValueError(f"no selected layer of {self.label} can be compared: {reasons or 'none of them ran'}")
        self.rows = self._seen
        for name in self.selection.modules:
            if self._calls[name] == 0:
                self.skipped[name] = "it never ran"

    def _check_same_rows(self) -> None:
        missing = [row for row in self.rows if row not in self._seen]
        if missing:
            raise ValueError(
                f"layer {missing[0]!r} of {self.label} ran before batch {self._batch} but not in it; {_EVERY_BATCH}"
            )
