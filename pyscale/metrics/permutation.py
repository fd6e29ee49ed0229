"""The permutation null of minibatch CKA: what all pairs of layers get once the samples of one model are shuffled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.base import Metric, plain_tensors
from pyscale.metrics.pair_sums import without_constant
from pyscale.ops import hsic_pairs

_TIE = 1e-12  # CKAs this close are one value: a permutation that changes nothing adds the same numbers in another order


class PermutationNull(Metric):
    """Sums of <U(K), P U(L) Pᵀ> over minibatches, for random permutations P of each minibatch's samples.

    Each of the ``permutations`` draws takes one permutation a minibatch, shared by all layers. Norms of U do not change
    under permutations, so the self-terms of the metric itself serve.

    Args:
        permutations: Draws.
        seed: Of the permutations. Processes that share the data should number their minibatches, or take different
            seeds: otherwise their minibatches are permuted alike, which correlates what should be independent.

    Example:
        >>> import torch
        >>> from pyscale import ops
        >>> from pyscale.metrics import MinibatchCKA, PermutationNull
        >>> metric, null = MinibatchCKA(["x"], ["y"]), PermutationNull(99)
        >>> for _ in range(4):
        ...     x = torch.randn(16, 8)
        ...     v, constant = ops.packed_gram(x)
        ...     w, _ = ops.packed_gram(x + 0.1 * torch.randn(16, 8))
        ...     _ = metric.update_packed(v[None], w[None], 16, constant[None], constant[None])
        ...     _ = null.update_packed(v[None], w[None], 16)
        >>> null.pvalues(metric.compute().values, *metric.self_sums())
        array([[0.01]])

    References:
        Phipson and Smyth, "Permutation p-values should never be zero", 2010.
    """

    def __init__(self, permutations: int, seed: int = 0) -> None:
        if permutations < 1:
            raise ValueError(f"permutations is {permutations}; expected at least 1")
        self.permutations = int(permutations)
        self.seed = int(seed)
        self.batches = 0
        self._sums: Tensor | None = None  # (P, L, M)

    @plain_tensors()
    def update_packed(
        self,
        v: Tensor,
        w: Tensor,
        n: int,
        constant_v: Tensor | None = None,
        constant_w: Tensor | None = None,
        *,
        number: int | None = None,
    ) -> Self:
        """Add one minibatch of packed U-centred Grams, as :meth:`MinibatchCKA.update_packed` takes them.

        Args:
            v: Those of the first set's layers, (L, n (n - 1) / 2).
            w: Those of the second set's layers, (M, n (n - 1) / 2).
            n: Samples; below 4 the minibatch carries no information and is skipped.
            constant_v: Which of the first set's activations are constant to rounding, (L,); none of them by default.
            constant_w: The same of the second set, (M,).
            number: Of the minibatch, which with the seed decides its permutations; None is how many came before it.

        Returns:
            The null itself.

        Raises:
            ValueError: The shapes do not fit.
        """
        self._check_whole()
        if n < 4:
            return self
        seen = None if self._sums is None else tuple(self._sums.shape[1:])
        if seen not in (None, (len(v), len(w))):
            raise ValueError(f"v and w are of {len(v)} and {len(w)} layers; earlier ones were of {seen}")
        if self._device is not None and v.device != self._device:
            raise ValueError(f"v is on {v.device} and the null on {self._device}; move one of them")
        pairs = n * (n - 1) // 2
        if v.shape[1] != pairs or w.shape[1] != pairs:
            raise ValueError(
                f"v has shape {tuple(v.shape)} and w {tuple(w.shape)}; expected rows of {pairs} for {n} samples"
            )
        v = v if constant_v is None else without_constant(v, constant_v)
        w = w if constant_w is None else without_constant(w, constant_w)
        i, j = torch.tril_indices(n, n, offset=-1, device=w.device)
        sums = []
        for order in self._orders(n, w.device, self.batches if number is None else number):
            a, b = order[i], order[j]
            high, low = torch.maximum(a, b), torch.minimum(a, b)
            sums.append(2 * hsic_pairs(v, w[:, high * (high - 1) // 2 + low]))
        self._join(torch.stack(sums), 1)
        return self

    def compute(self) -> NDArray[np.float64]:
        """Return the sums of all draws, (permutations, rows, columns).

        Raises:
            ValueError: No minibatch of at least 4 samples was seen.
        """
        self._check_whole()
        if self._sums is None:
            raise ValueError("no minibatch of at least 4 samples was seen; call update_packed first")
        sums: NDArray[np.float64] = self._sums.cpu().numpy().copy()
        return sums

    def pvalues(
        self, values: NDArray[np.float64], xx: NDArray[np.float64], yy: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return one-sided p-values (rows, columns): (1 + hits) / (1 + permutations), hits being null >= value.

        Args:
            values: The CKAs of the data, (rows, columns).
            xx: Sums of |U(K)|² over the same minibatches, (rows,): from :meth:`MinibatchCKA.self_sums`.
            yy: Sums of |U(L)|², (columns,).

        Returns:
            The p-values, NaN where the value is.
        """
        with np.errstate(divide="ignore", invalid="ignore"):  # constant layers: 0 / 0
            null = self.compute() / (np.sqrt(xx)[:, None] * np.sqrt(yy)[None, :])
        hits = (null >= values - _TIE).sum(axis=0)
        pvalues: NDArray[np.float64] = np.where(np.isnan(values), np.nan, (1 + hits) / (1 + self.permutations))
        return pvalues

    def _forget(self) -> None:
        self._sums = None
        self.batches = 0  # the permutations begin anew

    def _batch_seed(self, number: int) -> int:
        """Return a seed that differs for every minibatch and does not depend on how many draws others took."""
        return int(np.random.SeedSequence((self.seed % 2**64, number)).generate_state(1, np.uint64)[0] >> 1)

    def _orders(self, n: int, device: torch.device, number: int) -> Tensor:
        """Return a minibatch's permutations (P, n), the same for every device, which is not waited for."""
        generator = torch.Generator().manual_seed(self._batch_seed(number))
        orders = torch.stack([torch.randperm(n, generator=generator) for _ in range(self.permutations)])
        return orders.to(device, non_blocking=True)

    def _join(self, sums: Tensor, batches: int) -> None:
        device = self._device or sums.device
        joined = sums.to(device, copy=True) if self._sums is None else self._sums + sums
        with self._whole():
            self._device, self._sums, self.batches = device, joined, self.batches + batches

    def _options(self) -> dict[str, Any]:
        return {"permutations": self.permutations}

    def _layout(self) -> dict[str, Any] | None:
        return None if self._sums is None else {"layers": list(self._sums.shape[1:]), "device": str(self._device)}

    def _move(self, device: torch.device) -> None:
        self._sums = None if self._sums is None else self._sums.to(device)

    def _state(self) -> dict[str, Any]:
        sums = {} if self._sums is None else {"sums": self._sums.clone()}
        return {"seed": self.seed, "batches": self.batches, **sums}

    def _load(self, state: dict[str, Any]) -> None:
        seed, batches, sums = int(state["seed"]), int(state["batches"]), state.get("sums")
        if sums is not None and (sums.ndim != 3 or len(sums) != self.permutations):
            raise ValueError(f"'sums' of the state has shape {tuple(sums.shape)}; expected {self.permutations} draws")
        with self._whole():
            self._sums, self.seed, self.batches = None, seed, batches
            if sums is not None:
                self._join(sums, 0)

    def _merge(self, other: Self) -> None:
        if other._sums is not None:
            self._join(other._sums, other.batches)
