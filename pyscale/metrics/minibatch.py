"""Minibatch CKA of all pairs of layers of two models: HSIC sums over minibatches, one ratio at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.base import Metric, plain_tensors
from pyscale.metrics.kernel_sums import LEAST_SAMPLES
from pyscale.metrics.layers import LayerNames, Layers, as_layers, same_everywhere
from pyscale.metrics.packing import pack_layers
from pyscale.metrics.pair_sums import PairSums, squared_norms, without_constant
from pyscale.metrics.validity import warn, warn_constant, warn_degenerate
from pyscale.ops import hsic_pairs
from pyscale.ops.gram import Kernel, check_bandwidth, check_choice

_LEAST = LEAST_SAMPLES["unbiased"]


@dataclass(frozen=True)
class Similarities:
    """Similarities of all pairs of layers; every array is float64 of shape (rows, columns)."""

    values: NDArray[np.float64]
    stderr: NDArray[np.float64]  # delete-one jackknife over blocks of minibatches; NaN below two blocks
    chance: NDArray[np.float64]  # what unrelated data would get
    zscores: NDArray[np.float64]  # standard deviations above chance, from the exact permutation variance


class MinibatchCKA(Metric):
    r"""Unbiased CKA of all pairs of layers, from minibatches.

    With U the U-centred Gram matrices of minibatch t,

    .. math::
        \mathrm{CKA} = \frac{\sum_t \langle U(K_t), U(L_t) \rangle}
        {\sqrt{\sum_t |U(K_t)|^2 \sum_t |U(L_t)|^2}},

    so each minibatch weighs n (n - 3), and unequal ones are right. Minibatches of fewer than 4 samples carry no
    information: they are skipped, counted in ``skipped``, and warned about once. Each layer's Gram is formed once, and
    all pairs are then one small matrix product.

    Args:
        rows: Names of the first set's layers; those of the first update by default ("0", "1", ... for lists).
        columns: Names of the second set's layers, likewise.
        kernel: "linear", or "rbf" of width ``bandwidth`` times each minibatch's median distance.
        bandwidth: The RBF width as a multiple of the median distance.
        sets: What errors and warnings call the two sets, such as two models' names; by default layers go by their own
            names alone.

    Example:
        >>> import torch
        >>> from pyscale.metrics import MinibatchCKA
        >>> metric = MinibatchCKA()
        >>> for _ in range(3):
        ...     x = torch.randn(32, 8)
        ...     _ = metric.update({"conv": x}, {"scaled": 2 * x, "noise": torch.randn(32, 8)})
        >>> result = metric.compute()
        >>> result.values.shape, f"{result.values[0, 0]:.5f}"
        ((1, 2), '1.00000')

    References:
        Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", 2021, eq. 2 and 3.
    """

    def __init__(
        self,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        kernel: Kernel = "linear",
        bandwidth: float = 1.0,
        sets: tuple[str, str] | None = None,
    ) -> None:
        check_choice("kernel", kernel, ("linear", "rbf"))
        check_bandwidth(bandwidth)
        self._sets = sets
        self.kernel: Kernel = kernel
        self.bandwidth = float(bandwidth)
        self._names = LayerNames.given(rows, columns)
        self._sums: PairSums | None = None
        self.batches = 0  # seen so far, the skipped ones included
        self.skipped = 0  # of fewer than 4 samples
        self._numbered = True  # whether every minibatch came with its number

    @property
    def rows(self) -> list[str] | None:
        """Names of the first set's layers; None before they are known."""
        return self._names.rows

    @property
    def columns(self) -> list[str] | None:
        """Names of the second set's layers; None before they are known."""
        return self._names.columns

    @plain_tensors()
    def update(self, xs: Layers, ys: Layers | None = None, *, number: int | None = None) -> Self:
        """Add one minibatch.

        Args:
            xs: Activations of the first set's layers, a dict by name or a list, each of shape (n, p).
            ys: Activations of the second set's layers on the same samples; None compares the first set with itself.
            number: Of the minibatch among those that several metrics share: once all are merged, each number having
                been given once, errors are those of one metric that has seen all. None counts on from the last.

        Returns:
            The metric itself.

        Raises:
            TypeError: A value is no floating-point array.
            ValueError: Names, shapes or devices do not fit, or activations hold NaN or infinity.
        """
        self._check_whole()
        rows = as_layers(xs, "xs", self._names.rows)
        columns = rows if ys is None or ys is xs else as_layers(ys, "ys", self._names.columns)
        same = columns is rows
        n = same_everywhere(rows, columns)
        names = self._names.agreed(list(rows), list(columns), same)
        self._check_device(next(iter(rows.values())))
        if n < _LEAST:
            self._skip(names)
            return self
        xs = [*rows.values(), *(() if same else columns.values())]
        subjects = [f"activations of {layer} in batch {self.batches}" for layer in names.described(self._sets)]
        v, constant_v = pack_layers(xs, subjects, kernel=self.kernel, bandwidth=self.bandwidth)
        w, constant_w = v, constant_v
        if not same:
            (v, w), (constant_v, constant_w) = (t.split([len(rows), len(columns)]) for t in (v, constant_v))
        self._add(names, v, w, n, constant_v, constant_w, number=number)
        return self

    @plain_tensors()
    def update_packed(
        self,
        v: Tensor,
        w: Tensor,
        n: int,
        constant_v: Tensor,
        constant_w: Tensor,
        *,
        number: int | None = None,
        check: bool = True,
    ) -> Self:
        """Add one minibatch whose Grams are packed already: for those who see one activation at a time.

        ``rows`` and ``columns`` must have been given to the constructor.

        Args:
            v: Packed U-centred Grams (:func:`pyscale.ops.packed_gram`) of the first set's layers, (L, n (n - 1) / 2).
            w: Those of the second set, (M, n (n - 1) / 2); ``v`` itself for a set with itself.
            n: Samples in the minibatch; below 4 it is skipped and ``v`` and ``w`` are not looked at.
            constant_v: Which of the first set's activations are constant to rounding, bool, shape (L,).
            constant_w: The same of the second set, shape (M,).
            number: As for :meth:`update`.
            check: Look for sums that are not finite, for which a GPU is waited for; False for those who know that
                there are none.

        Returns:
            The metric itself.

        Raises:
            ValueError: The shapes do not fit, or a layer that is not constant has non-finite values.
        """
        self._check_whole()
        rows, columns = self._names.rows, self._names.columns
        if rows is None or columns is None:
            raise ValueError("update_packed needs the names of the layers: give rows and columns to MinibatchCKA")
        names = self._names.agreed(rows, columns, w is v)
        if n < _LEAST:
            self._skip(names)
            return self
        for name, packed, layers in (("v", v, rows), ("w", w, columns)):
            expected = (len(layers), n * (n - 1) // 2)
            if packed.shape != expected:
                raise ValueError(
                    f"{name} has shape {tuple(packed.shape)}; expected {expected}, "
                    f"for {len(layers)} layers and {n} samples"
                )
        self._add(names, v, w, n, constant_v, constant_w, number=number, check=check)
        return self

    @plain_tensors()
    def update_products(
        self,
        products: Tensor,
        xx: Tensor,
        yy: Tensor,
        n: int,
        constant_v: Tensor,
        constant_w: Tensor,
        *,
        same: bool,
        number: int | None = None,
    ) -> Self:
        """Add one minibatch whose products are known: for those who form them for many sets of layers at once.

        ``rows`` and ``columns`` must have been given to the constructor.

        Args:
            products: <U(K), U(L)> of all pairs of layers, (L, M), float64, 0 where one is constant to rounding.
            xx: |U(K)|² of the first set's layers, (L,).
            yy: |U(L)|² of the second's, (M,).
            n: Samples in the minibatch; below 4 it is skipped and the products are not looked at.
            constant_v: Which of the first set's activations are constant to rounding, bool, shape (L,).
            constant_w: The same of the second set, shape (M,).
            same: Whether it is a set with itself.
            number: As for :meth:`update`.

        Returns:
            The metric itself.

        Raises:
            ValueError: The shapes do not fit.
        """
        self._check_whole()
        rows, columns = self._names.rows, self._names.columns
        if rows is None or columns is None:
            raise ValueError("update_products needs the names of the layers: give rows and columns to MinibatchCKA")
        names = self._names.agreed(rows, columns, same)
        if n < _LEAST:
            self._skip(names)
            return self
        found = tuple(products.shape), tuple(xx.shape), tuple(yy.shape)
        expected = (len(rows), len(columns)), (len(rows),), (len(columns),)
        if found != expected:
            raise ValueError(f"products, xx and yy have shapes {found}; expected {expected}")
        self._add_products(names, products, xx, yy, n, constant_v, constant_w, number=number)
        return self

    def self_sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums of |U|² over minibatches of both sets, (L,) and (M,): what a permutation null divides by."""
        _, xx, yy = self._seen().totals()
        return xx.cpu().numpy(), yy.cpu().numpy()

    def compute(self) -> Similarities:
        """Return similarities, jackknife errors, chance levels and z-scores of everything seen so far.

        Layers that were constant to rounding in every minibatch get NaN, with a warning that names them.

        Raises:
            ValueError: No minibatch of at least 4 samples was seen.
        """
        sums = self._seen()
        _, xx, yy = (t.cpu().numpy() for t in sums.totals())
        dead_rows, dead_columns = ~sums.varies_x.cpu().numpy(), ~sums.varies_y.cpu().numpy()
        warn_constant(self._names.flagged(dead_rows, dead_columns, self._sets), "CKA")
        degenerate_rows, degenerate_columns = (xx == 0) & ~dead_rows, (yy == 0) & ~dead_columns
        warn_degenerate(self._names.flagged(degenerate_rows, degenerate_columns, self._sets), "CKA")
        ratios = sums.values()
        if self._names.same:
            ratios.diagonal()[sums.totals()[1] > 0] = 1.0
        undefined = (dead_rows | (xx == 0))[:, None] | (dead_columns | (yy == 0))[None, :]
        values, stderr, zscores = (
            np.where(undefined, np.nan, t.cpu().numpy()) for t in (ratios, sums.stderr(), sums.zscores())
        )
        return Similarities(values, stderr, np.zeros_like(values), zscores)

    def _forget(self) -> None:
        self._names = self._names.forgotten()
        self._sums = None
        self._numbered = True
        self.batches = self.skipped = 0

    def _add(
        self,
        names: LayerNames,
        v: Tensor,
        w: Tensor,
        n: int,
        constant_v: Tensor,
        constant_w: Tensor,
        *,
        number: int | None = None,
        check: bool = False,
    ) -> None:
        same = w is v
        self._check_device(v)
        v = without_constant(v, constant_v)
        w, constant_w = (v, constant_v) if same else (without_constant(w, constant_w), constant_w)
        numerator = 2 * hsic_pairs(v, w)
        xx = numerator.diagonal().clone() if same else 2 * squared_norms(v)
        yy = xx if same else 2 * squared_norms(w)
        if check:
            self._check_sums(names, xx, yy)
        self._add_products(names, numerator, xx, yy, n, constant_v, constant_w, number=number)

    def _add_products(
        self,
        names: LayerNames,
        numerator: Tensor,
        xx: Tensor,
        yy: Tensor,
        n: int,
        constant_v: Tensor,
        constant_w: Tensor,
        *,
        number: int | None = None,
    ) -> None:
        place = number if number is not None else 0 if self._sums is None else self._sums.end
        sums = PairSums.of_minibatch(numerator, xx, yy, n, (~constant_v, ~constant_w), place)
        with self._whole():
            self._join(sums)
            self._numbered = self._numbered and number is not None
            self._names = names
            self.batches += 1

    def _join(self, sums: PairSums, *, append: bool = False) -> None:
        if self._sums is None:
            self._device = self._device or sums.variance.device
            self._sums = sums.to(self._device)
        elif append:
            self._sums.append_(sums)
        else:
            self._sums.join_(sums)

    def _check_device(self, x: Tensor) -> None:
        if self._device is not None and x.device != self._device:
            raise ValueError(f"activations are on {x.device} and the metric on {self._device}; move one of them")

    def _check_sums(self, names: LayerNames, xx: Tensor, yy: Tensor) -> None:
        """Raise ValueError where a layer's self-term is not finite: one look for the whole minibatch."""
        if bool(torch.isfinite(xx.sum() + yy.sum())):
            return
        sums = xx if names.same else torch.cat([xx, yy])
        for layer, finite in zip(names.described(self._sets), torch.isfinite(sums).tolist(), strict=True):
            if not finite:
                raise ValueError(
                    f"activations of {layer} in batch {self.batches} hold NaN or infinity, or are so large that "
                    f"their fourth powers leave float64's range"
                )

    def _skip(self, names: LayerNames) -> None:
        if self.skipped == 0:
            warn(
                f"batch {self.batches} has fewer than {_LEAST} samples, which carry no information on the "
                f"unbiased CKA: it is skipped, as later ones will be"
            )
        with self._whole():
            self._names = names
            self.batches += 1
            self.skipped += 1

    def _seen(self) -> PairSums:
        self._check_whole()
        if self._sums is None:
            raise ValueError(
                f"no minibatch of at least {_LEAST} samples was seen, and {self.skipped} smaller ones were "
                f"skipped; call update first"
            )
        return self._sums

    def _options(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "bandwidth": self.bandwidth}

    def _layout(self) -> dict[str, Any] | None:
        return None if self._sums is None else {**self._names.state(), "device": str(self._device)}

    def _move(self, device: torch.device) -> None:
        self._sums = self._sums.to(device) if self._sums is not None else None

    def _state(self) -> dict[str, Any]:
        sums = {} if self._sums is None else {"sums": self._sums.state(), "numbered": self._numbered}
        return {"batches": self.batches, "skipped": self.skipped, "names": self._names.state(), **sums}

    def _load(self, state: dict[str, Any]) -> None:
        names, batches, skipped = self._names.loaded(state["names"]), state["batches"], state["skipped"]
        sums = PairSums.from_state(state["sums"]) if "sums" in state else None
        numbered = sums is None or bool(state["numbered"])
        if sums is not None and sums.variance.shape != (len(names.rows or []), len(names.columns or [])):
            raise ValueError(f"the state names {names.rows} and {names.columns}, and has sums of {sums.variance.shape}")
        with self._whole():
            self._sums, self._numbered = None, numbered
            if sums is not None:
                self._join(sums)
            self._names, self.batches, self.skipped = names, batches, skipped

    def _check_fit(self, other: Self) -> None:
        self._names.loaded(other._names.state())

    def _merge(self, other: Self) -> None:
        with self._whole():
            if other._sums is not None:
                self._names = self._names.loaded(other._names.state())
                together = self._numbered and other._numbered
                self._join(other._sums, append=not together)
                self._numbered = together
            self.batches += other.batches
            self.skipped += other.skipped
