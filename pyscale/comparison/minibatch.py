"""CKA from minibatches: every activation becomes a packed Gram matrix inside its hook and is let go."""

from __future__ import annotations

import torch
from torch import Tensor

from pyscale.comparison.features import flatten_for_gram, pool
from pyscale.comparison.options import Options
from pyscale.comparison.scores import Scores
from pyscale.metrics import MinibatchCKA, PermutationNull
from pyscale.metrics.packing import pack
from pyscale.ops import PackedGram


class MinibatchStrategy:
    """Sums the HSIC of all pairs of layers over minibatches; holds b (b - 1) / 2 numbers a layer between hooks."""

    least_samples = 4

    def __init__(self, options: Options, *, same: bool) -> None:
        self._options = options
        self._same = same
        self._x, self._y = _Grams("model_x", options), _Grams("model_y", options)
        self._metric: MinibatchCKA | None = None
        permutations = options.permutations
        self._null = PermutationNull(permutations, options.seed) if permutations else None

    def begin(self, batch: int) -> None:
        """Forget the previous batch's Grams."""
        self._x.begin(batch)
        self._y.begin(batch)

    def take_x(self, row: str, activation: Tensor) -> None:
        """Take an activation of model_x."""
        self._x.take(row, activation)

    def take_y(self, row: str, activation: Tensor) -> None:
        """Take an activation of model_y."""
        self._y.take(row, activation)

    def finish(self, rows: list[str], columns: list[str], samples: int) -> None:
        """Add the batch, all of whose activations have been taken."""
        if self._metric is None:
            self._metric = MinibatchCKA(rows, columns, kernel=self._options.kernel, bandwidth=self._options.bandwidth)
        v, constant_v = self._x.stacked(rows)
        w, constant_w = (v, constant_v) if self._same else self._y.stacked(columns)
        self._metric.update_packed(v, w, samples, constant_v, constant_w)
        if self._null is not None:
            self._null.update_packed(v, w, samples, constant_v, constant_w)

    def scores(self) -> Scores:
        """Return the similarities of everything taken."""
        if self._metric is None:
            raise ValueError("no batch has been taken")
        result = self._metric.compute()
        pvalues = None if self._null is None else self._null.pvalues(result.values, *self._metric.self_sums())
        return Scores(result.values, result.stderr, result.chance, result.zscores, pvalues)


class _Grams:
    """The packed Gram matrices of one model's layers for one batch."""

    def __init__(self, label: str, options: Options) -> None:
        self._label = label
        self._options = options
        self._batch = 0
        self._packed: dict[str, PackedGram] = {}

    def begin(self, batch: int) -> None:
        self._batch = batch
        self._packed.clear()

    def take(self, row: str, activation: Tensor) -> None:
        if len(activation) < MinibatchStrategy.least_samples:
            return  # a batch whose size only its activations could tell; the driver skips it
        x = flatten_for_gram(activation) if self._options.features == "flatten" else pool(activation)
        subject = f"activations of layer {row!r} of {self._label} in batch {self._batch}"
        self._packed[row] = pack(x, subject, kernel=self._options.kernel, bandwidth=self._options.bandwidth)

    def stacked(self, rows: list[str]) -> tuple[Tensor, Tensor]:
        """Return the packed Grams (rows, n (n - 1) / 2) in the order of ``rows``, and which layers are constant.

        The Gram matrix of a constant layer is zero; what was computed is noise.
        """
        packed = [self._packed[row] for row in rows]
        wide = any(gram.values.dtype == torch.float64 for gram in packed)
        values = torch.stack([gram.values.double() if wide else gram.values for gram in packed])
        constant = torch.stack([gram.constant for gram in packed])
        self._packed.clear()
        values[constant] = 0
        return values, constant
