"""Exact CKA, CCA and Procrustes similarity of two layers, from samples seen once and in pieces."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.base import Metric, check_shapes, plain_tensors
from pyscale.metrics.canonical import (
    CCAResult,
    WeightBy,
    check_ridge,
    check_rtol,
    check_variance,
    correlate,
    projection_weighted,
    warn_few_samples,
)
from pyscale.metrics.cross_moments import Column, CrossMoments, add_together
from pyscale.metrics.inputs import as_pair
from pyscale.metrics.kernel_sums import LEAST_SAMPLES, Estimator
from pyscale.metrics.moments import Addition, Moments, gram_product
from pyscale.metrics.row_buffer import ENOUGH_ROWS, RowBuffer, copied
from pyscale.metrics.spectra import nuclear_norms
from pyscale.metrics.validity import check_finite, warn_constant, warn_degenerate
from pyscale.metrics.whitening import WhitenedMoments, whiten_moments
from pyscale.ops.gram import check_choice
from pyscale.ops.memory import MemoryErrors


class PairMoments(NamedTuple):
    """Everything remembered of two layers."""

    x: Moments
    y: Moments
    xy: CrossMoments

    @classmethod
    def empty(cls, p: int, q: int, device: torch.device) -> PairMoments:
        """Return the moments of no samples of two layers of p and q features."""
        x, y = Moments.empty(p, device), Moments.empty(q, device)
        return cls(x, y, CrossMoments.empty([p], y.mean))

    def to(self, device: torch.device | str) -> PairMoments:
        """Return a copy on ``device``."""
        return PairMoments(self.x.to(device), self.y.to(device), self.xy.to(device))

    def join_(self, x: Addition, y: Addition) -> None:
        """Add samples, of which the additions to the moments of both layers were made."""
        self.x.join_(x)
        self.y.join_(y)
        add_together([x.x], [x.move], [Column(self.xy, 1, y.x, y.move)])

    def merge_(self, other: PairMoments) -> None:
        """Add the samples of ``other``, which is only read."""
        self.xy.merge_(other.xy, self.x.moves(other.x), self.y.moves(other.y))
        self.x.merge_(other.x)
        self.y.merge_(other.y)


class StreamingPair(Metric):
    """A metric of two layers computed from their centred co-moments, in O(p² + q² + pq) float64 numbers.

    The samples of small updates are held until an update finds 1024 of them, or 256 MiB, or until somebody asks: many
    small updates cost little more than one. When that is changes the result by rounding alone.
    """

    def __init__(self) -> None:
        self._moments: PairMoments | None = None
        self._held = RowBuffer()  # x is 0, y is 1
        self._numpy = False  # whether results are NumPy's, as the activations are

    @property
    def n(self) -> int:
        """Samples seen so far."""
        self._check_whole()
        return 0 if self._moments is None else self._moments.x.n + self._held.rows(0)

    @plain_tensors()
    def update(self, x: Any, y: Any) -> Self:
        """Add samples.

        Args:
            x: Activations of one layer, shape (n, p): any n, and the same p each time.
            y: Activations of the other on the same samples, shape (n, q).

        Returns:
            The metric itself.

        Raises:
            TypeError: An argument is no floating-point array.
            ValueError: Shapes or devices do not fit one another or earlier updates, or there is NaN or infinity.
            MemoryError: The co-moments of so many features don't fit into memory.
        """
        self._check_whole()
        tx, ty = as_pair(x, y)
        self._check_sizes(tx, ty)
        if len(tx) == 0:
            return self
        if not bool(torch.isfinite(tx).all() & torch.isfinite(ty).all()):
            check_finite(tx, "values of x")
            check_finite(ty, "values of y")
        with MemoryErrors(type(self).__name__):
            self._add(tx, ty, not isinstance(x, Tensor))
        return self

    def _forget(self) -> None:
        self._moments = None
        self._held.clear()

    @abstractmethod
    def _options(self) -> dict[str, Any]: ...

    def _seen(self, least: int = 2) -> PairMoments:
        """Return the moments of at least ``least`` samples, or raise ValueError."""
        self._check_whole()
        if self._moments is None:
            raise ValueError("no samples were seen; call update first")
        if self.n < least:
            raise ValueError(f"{self.n} samples were seen; at least {least} are needed")
        with MemoryErrors(type(self).__name__):
            self._flush()
        return self._moments

    def _restore(self, result: Tensor) -> Any:
        if not self._numpy:
            return result
        return result.item() if result.ndim == 0 else np.asarray(result.cpu())

    def _warn_constant(self, moments: PairMoments, result: str) -> bool:
        """Warn of sides that are constant to rounding; return whether there are any."""
        constant = [name for name, side in (("x", moments.x), ("y", moments.y)) if bool(side.constant)]
        warn_constant(constant, result)
        return bool(constant)

    def _check_sizes(self, x: Tensor, y: Tensor) -> None:
        if self._device is not None and x.device != self._device:
            raise ValueError(f"x and y are on {x.device} and the metric on {self._device}; move one of them")
        if self._moments is not None:
            for name, t, seen in (("x", x, self._moments.x), ("y", y, self._moments.y)):
                if t.shape[1] != len(seen.mean):
                    raise ValueError(f"{name} has {t.shape[1]} features; earlier updates had {len(seen.mean)}")

    def _add(self, x: Tensor, y: Tensor, numpy: bool) -> None:
        """Hold samples, or add them where there are enough."""
        few = len(x) < ENOUGH_ROWS
        if self._held.full or not few:
            self._flush()  # a step of its own: whether it fails or not, nothing of this update has been seen
        moments = self._moments or PairMoments.empty(x.shape[1], y.shape[1], x.device)
        pieces = (copied(x), copied(y)) if few else ()
        additions = () if few else (moments.x.adding(x), moments.y.adding(y))
        with self._whole():
            self._device, self._moments, self._numpy = x.device, moments, numpy
            for place, piece in enumerate(pieces):
                self._held.hold(place, piece)
            if additions:
                moments.join_(*additions)

    @plain_tensors()
    def _flush(self) -> None:
        """Add the samples held to the moments."""
        if self._moments is not None and self._held.rows(0):
            x, y = (m.adding(*self._held.samples(i)) for i, m in enumerate((self._moments.x, self._moments.y)))
            with self._whole():
                self._moments.join_(x, y)
                self._held.clear()

    def _layout(self) -> dict[str, Any] | None:
        if self._moments is None:
            return None
        sizes = {"features of x": len(self._moments.x.mean), "features of y": len(self._moments.y.mean)}
        return {**sizes, "device": str(self._device)}

    def _move(self, device: torch.device) -> None:
        self._flush()
        self._moments = None if self._moments is None else self._moments.to(device)

    def _state(self) -> dict[str, Any]:
        self._flush()
        moments = {} if self._moments is None else {k: v.state() for k, v in self._moments._asdict().items()}
        return {"numpy": self._numpy, **moments}

    def _load(self, state: dict[str, Any]) -> None:
        numpy, loaded = bool(state["numpy"]), None
        if "x" in state:
            sides = Moments.from_state(state["x"]), Moments.from_state(state["y"])
            loaded = PairMoments(*sides, CrossMoments.from_state(state["xy"]))
            sizes = {"x": loaded.x.mean, "y": loaded.y.mean, "xy": loaded.xy.S}
            check_shapes(sizes, {"x": "p", "y": "q", "xy": "pq"})
        loaded = None if loaded is None else loaded.to(self._device or loaded.x.mean.device)
        with self._whole():
            self._forget()
            self._adopt(loaded, numpy)

    def _merge(self, other: Self) -> None:
        other._flush()
        if other._moments is None:
            return
        if self._moments is None:
            copies = other._moments.to(self._device or other._moments.x.mean.device)
            with self._whole():
                self._adopt(copies, other._numpy)
            return
        self._flush()
        with self._whole():
            self._moments.merge_(other._moments)

    def _adopt(self, moments: PairMoments | None, numpy: bool) -> None:
        """Take for its own what another has seen, having seen nothing."""
        self._moments, self._numpy = moments, numpy
        if moments is not None:
            self._device = moments.x.mean.device


class StreamingCKA(StreamingPair):
    r"""Exact linear CKA of two layers over all samples seen, in one pass.

    No minibatch approximation: the result is :func:`pyscale.cka` of everything at once.

    Args:
        estimator: "unbiased" or "biased".

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 5))
        >>> y = x[:, :3] + rng.standard_normal((100, 3))
        >>> metric = ps.metrics.StreamingCKA().update(x[:70], y[:70]).update(x[70:], y[70:])
        >>> abs(metric.compute() - ps.cka(x, y)) < 1e-12
        True
    """

    def __init__(self, *, estimator: Estimator = "unbiased") -> None:
        check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
        super().__init__()
        self.estimator: Estimator = estimator

    def compute(self) -> Any:
        """Return the CKA: a float where the activations were NumPy's, else a 0-d tensor.

        Raises:
            ValueError: Fewer samples were seen than the estimator needs: 4, or 2 for the biased one.
        """
        moments = self._seen(LEAST_SAMPLES[self.estimator])
        if self._warn_constant(moments, "CKA"):
            return self._restore(torch.full_like(moments.x.w, torch.nan))
        x, y, xy = moments
        xx, yy = x.gram_square(self.estimator), y.gram_square(self.estimator)
        degenerate = [name for name, square in (("x", xx), ("y", yy)) if bool(square == 0)]
        warn_degenerate(degenerate, "CKA")
        if degenerate:
            return self._restore(torch.full_like(x.w, torch.nan))
        product = gram_product(xy.S.square().sum(), xy.w[0], x.trace, y.trace, self.n, self.estimator)
        return self._restore(product / (xx.sqrt() * yy.sqrt()))

    def _options(self) -> dict[str, Any]:
        return {"estimator": self.estimator}


class StreamingCCA(StreamingPair):
    """Canonical correlations of two layers over all samples seen, in one pass; also SVCCA and PWCCA.

    Directions come from the eigenvectors of the covariances, which hold the squares of singular values: where σ is
    below about 1e-5 σ_max, correlations have fewer digits than those of :func:`pyscale.cca`.

    Args:
        ridge: As in :func:`pyscale.cca`.
        rtol: As in :func:`pyscale.cca`.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 5))
        >>> y = x[:, :3] + rng.standard_normal((100, 3))
        >>> metric = ps.metrics.StreamingCCA().update(x[:70], y[:70]).update(x[70:], y[70:])
        >>> abs(metric.compute().mean - ps.cca(x, y).mean) < 1e-12
        True
        >>> abs(metric.pwcca() - ps.pwcca(x, y)) < 1e-12
        True
    """

    def __init__(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> None:
        check_ridge(ridge)
        check_rtol(rtol)
        super().__init__()
        self.ridge = float(ridge)
        self.rtol = float(rtol)

    def compute(self) -> CCAResult:
        """Return the canonical correlations, as :func:`pyscale.cca` does.

        Raises:
            ValueError: Fewer than 2 samples were seen.
        """
        x, y, C = self._whitened(ridge=self.ridge)
        warn_few_samples(x, y, self.n)
        return correlate(C, x, y, self.n, self._restore)

    def svcca(self, variance: float = 0.99) -> CCAResult:
        """Return the correlations of the directions that hold ``variance``, as :func:`pyscale.svcca` does."""
        check_variance(variance)
        x, y, C = self._whitened(variance=variance)
        warn_few_samples(x, y, self.n)
        return correlate(C, x, y, self.n, self._restore)

    def pwcca(self, weight_by: WeightBy = "narrower") -> Any:
        """Return the projection-weighted mean of the correlations, as :func:`pyscale.pwcca` does."""
        check_choice("weight_by", weight_by, ("narrower", "x", "y"))
        x, y, C = self._whitened()
        warn_few_samples(x, y, self.n)
        return self._restore(projection_weighted(C, x, y, weight_by))

    def _whitened(
        self, *, variance: float = 1.0, ridge: float = 0.0
    ) -> tuple[WhitenedMoments, WhitenedMoments, Tensor]:
        moments = self._seen()
        self._warn_constant(moments, "CCA")
        with MemoryErrors(type(self).__name__):
            x, y = (whiten_moments(m, rtol=self.rtol, variance=variance, ridge=ridge) for m in (moments.x, moments.y))
            return x, y, x.cross(y, moments.xy.S)

    def _options(self) -> dict[str, Any]:
        return {"ridge": self.ridge, "rtol": self.rtol}


class StreamingProcrustes(StreamingPair):
    """Procrustes similarity of two layers over all samples seen, in one pass.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 5))
        >>> y = x[:, :3] + rng.standard_normal((100, 3))
        >>> metric = ps.metrics.StreamingProcrustes().update(x[:70], y[:70]).update(x[70:], y[70:])
        >>> abs(metric.compute() - ps.procrustes(x, y)) < 1e-12
        True
    """

    def compute(self) -> Any:
        """Return the similarity: a float where the activations were NumPy's, else a 0-d tensor.

        Raises:
            ValueError: Fewer than 2 samples were seen.
        """
        moments = self._seen()
        if self._warn_constant(moments, "Procrustes similarity"):
            return self._restore(torch.full_like(moments.x.w, torch.nan))
        norms = moments.x.trace.sqrt() * moments.y.trace.sqrt()
        return self._restore((nuclear_norms(moments.xy.S[None])[0] / norms).clamp(max=1))

    def _options(self) -> dict[str, Any]:
        return {}
