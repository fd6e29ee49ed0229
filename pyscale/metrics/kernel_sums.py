"""Inner products of centred Gram matrices: through the Grams (n, n), or through features where those are fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pyscale.metrics.moments import centred_slices, gram_product, is_noise
from pyscale.metrics.validity import check_finite
from pyscale.ops import add_moments_, library, reference
from pyscale.ops.dtypes import accumulator_dtype, result_dtype
from pyscale.ops.gram import Precision

Estimator = Literal["unbiased", "biased"]

LEAST_SAMPLES = {"unbiased": 4, "biased": 2}

_NOISE = 64  # a U-centred Gram whose entries are below this many eps of the distances squared is rounding alone
_SPLIT_EPS = 2.0**-19  # of float32 products on a GPU, which drop up to 2**-16: the 64 above make it 2**-13
_PLACES, _RUN = 32, 2  # features enough to tell the size of a distance, in pairs: every place is a cache miss a row


class CentredGrams(NamedTuple):
    """Sets' centred Gram matrices as vectors whose inner products, times ``scale``, are those of the matrices."""

    vectors: Tensor  # (L, n (n - 1) / 2) packed U(K), or (L, n²) of H K H; float64
    scale: float
    squares: Tensor  # (L,): the products with themselves
    constant: Tensor  # (L,) bool: every feature constant to rounding
    degenerate: Tensor  # (L,) bool: not constant, and yet U(K) is 0, as where all samples are equally far apart

    @classmethod
    def of(
        cls, xs: Sequence[Tensor], subjects: Sequence[str], kernel: str, estimator: str, bandwidth: float
    ) -> CentredGrams:
        """Return the centred Grams of sets of n samples each, (n, p_i), all formed before one look is taken at them.

        What the default products can't hold, or leave nothing but rounding, is formed again in float64.

        Raises:
            ValueError: A set holds NaN or infinity (not looked for while compiling), has no RBF width, or leaves the
                range of float64 when squared twice.
        """
        grams = cls._computed(xs, kernel, estimator, bandwidth, "default")
        if torch.compiler.is_compiling():
            return grams
        sound = torch.isfinite(grams.squares) & (grams.squares > 0) & ~(grams.constant | grams.degenerate)
        for i, fine in enumerate(sound.tolist()):
            if not fine:
                grams = grams._mended(i, xs[i], subjects[i], kernel, estimator, bandwidth)
        return grams

    @classmethod
    def _computed(
        cls, xs: Sequence[Tensor], kernel: str, estimator: str, bandwidth: float, precision: Precision
    ) -> CentredGrams:
        wide, width = accumulator_dtype(xs[0].device), float(bandwidth)
        if estimator == "biased":
            Ks, constants = zip(
                *(library.gram(x, kernel, "double", width, wide, 0, precision) for x in xs), strict=True
            )
            v, constant = torch.stack([K.reshape(-1) for K in Ks]), torch.stack(constants)
            return cls(v, 1.0, _dots(v), constant, torch.zeros_like(constant))
        v, constant = library.packed_grams(list(xs), kernel, width, wide, 0, precision)
        floor = torch.stack([noise_floor(x, kernel, precision) for x in xs])
        return cls(v, 2.0, 2 * _dots(v), constant, (peaks(v) <= floor) & ~constant)

    def _mended(self, i: int, x: Tensor, subject: str, kernel: str, estimator: str, bandwidth: float) -> CentredGrams:
        """Return the Grams with the i-th, that of ``x``, formed in float64 where it was not."""
        check_finite(x, f"values of {subject}")
        if bool(self.constant[i]):
            return self
        grams = self
        if result_dtype(x.dtype) != torch.float64:
            grams = self._with(i, self._computed([x], kernel, estimator, bandwidth, "exact"))
        if kernel == "rbf" and not bool(torch.isfinite(grams.squares[i])):
            raise ValueError(
                f"more than half of the pairs of samples of {subject} are equal: their median distance is 0, "
                f"which leaves kernel='rbf' no width"
            )
        if not bool(grams.degenerate[i]):
            check_range(grams.squares[i], subject)
        return grams

    def _with(self, i: int, one: CentredGrams) -> CentredGrams:
        def put(all_: Tensor, new: Tensor) -> Tensor:
            return torch.cat([all_[:i], new, all_[i + 1 :]])

        return CentredGrams(
            put(self.vectors, one.vectors),
            self.scale,
            put(self.squares, one.squares),
            put(self.constant, one.constant),
            put(self.degenerate, one.degenerate),
        )


class CentredGram(NamedTuple):
    """One set's centred Gram matrix, as :class:`CentredGrams` has those of several."""

    vector: Tensor  # (n (n - 1) / 2,) or (n²,)
    scale: float
    square: Tensor  # 0-d
    constant: Tensor  # 0-d bool
    degenerate: Tensor  # 0-d bool

    @property
    def undefined(self) -> Tensor:
        """Whether no CKA with this set exists, 0-d bool."""
        return self.constant | self.degenerate

    @classmethod
    def of(cls, x: Tensor, subject: str, kernel: str, estimator: str, bandwidth: float) -> CentredGram:
        """Return the centred Gram of ``x`` (n, p); errors as for several."""
        grams = CentredGrams.of([x], [subject], kernel, estimator, bandwidth)
        return cls(grams.vectors[0], grams.scale, grams.squares[0], grams.constant[0], grams.degenerate[0])


def noise_floor(x: Tensor, kernel: str, precision: Precision) -> Tensor:
    """Return how large the entries of the packed U(K) of ``x`` (n, p) may be and yet be rounding alone, 0-d.

    They are where all samples are equally far apart, or all but one are equal: U(K) is 0, and what was computed is
    noise. It is held against the largest squared distance from the first sample, over enough of the features to know
    its size. Nothing is waited for.
    """
    dtype = accumulator_dtype(x.device) if precision == "exact" else result_dtype(x.dtype)
    noise = rounding(x, dtype)
    if kernel == "rbf":
        return x.new_full((), noise, dtype=dtype)
    some = _some_features(x.detach()).to(dtype)
    distance2 = (some - some[:1]).square().sum(dim=(1, 2)).max()
    return distance2 * (noise * x.shape[1] / max(some.shape[1] * some.shape[2], 1))


def rounding(x: Tensor, dtype: torch.dtype) -> float:
    """Return what rounding leaves of a U-centred Gram in ``dtype``, at most, as a share of the squared distances."""
    return float(_NOISE * (_SPLIT_EPS if splits(x, dtype) else torch.finfo(dtype).eps))


def _some_features(x: Tensor) -> Tensor:
    """Return a view (n, places, run) of all features of ``x`` (n, p), or of evenly spaced runs of them."""
    p = x.shape[1]
    return x[:, None] if p <= _PLACES * _RUN else x.unfold(1, _RUN, p // _PLACES)


def splits(x: Tensor, dtype: torch.dtype) -> bool:
    """Return whether products of that type are formed of parts of the numbers, as on a GPU's tensor cores."""
    return x.is_cuda and dtype == torch.float32


def peaks(v: Tensor) -> Tensor:
    """Return the largest magnitude of every row (L, N) -> (L,)."""
    v = v.detach()
    return torch.maximum(v.amax(dim=1), -v.amin(dim=1))


def _dots(v: Tensor) -> Tensor:
    """Return the squared norm of every row (L, N) -> (L,)."""
    return torch.stack([row.dot(row) for row in v])


def check_range(square: Tensor, subject: str) -> None:
    """Raise ValueError where the norm of a centred Gram of finite, varying values is infinite or 0."""
    if not bool(torch.isfinite(square)) or not bool(square > 0):
        size = "small" if bool(square == 0) else "large"
        raise ValueError(f"values of {subject} are too {size}: their fourth powers leave float64's range; scale them")


class FeatureSums(NamedTuple):
    """What the linear kernel needs of one set in feature space."""

    mean: Tensor  # (p,)
    radii: Tensor  # |x|² about the mean, (n,); (0,) where the estimator has no use for them
    trace: Tensor  # 0-d: Σ |x|² about the mean
    square: Tensor  # 0-d: the inner product of the centred Gram with itself
    biased: Tensor  # 0-d: that of H K H, whatever the estimator
    constant: Tensor  # 0-d bool
    degenerate: Tensor  # 0-d bool: not constant, and yet U(K) is 0, as where all samples but one are equal

    @property
    def undefined(self) -> Tensor:
        """Whether no CKA with this set exists, 0-d bool."""
        return self.constant | self.degenerate

    @classmethod
    def of(cls, x: Tensor, subject: str, estimator: str) -> FeatureSums:
        """Return the sums of ``x`` (n, p); errors as for several."""
        return feature_sums([x], [subject], estimator)[0]

    @classmethod
    def computed(cls, x: Tensor, estimator: str) -> FeatureSums:
        """Return the sums of ``x`` (n, p), at which nobody has looked yet."""
        mean = x.mean(dim=0, dtype=accumulator_dtype(x.device))
        S, radii = _co_moments(x, mean, x, mean), _radii(x, mean, estimator)
        trace, biased = S.trace(), S.square().sum()
        square = gram_product(biased, radii.dot(radii), trace, trace, x.shape[0], estimator)
        constant = reference.is_constant(x, mean.detach())
        return cls(mean, radii, trace, square, biased, constant, is_noise(square, biased) & ~constant)


def feature_sums(xs: Sequence[Tensor], subjects: Sequence[str], estimator: str) -> list[FeatureSums]:
    """Return the sums of several sets, all formed before one look is taken at them.

    Raises:
        ValueError: A set holds NaN or infinity, or leaves the range of float64 (not looked for while compiling).
    """
    parts = [FeatureSums.computed(x, estimator) for x in xs]
    if torch.compiler.is_compiling():
        return parts
    sound = torch.stack([torch.isfinite(part.square) & (part.biased > 0) for part in parts])
    for x, subject, part, fine in zip(xs, subjects, parts, sound.tolist(), strict=True):
        if not fine:
            check_finite(x, f"values of {subject}")
            if not bool(part.constant):
                check_range(part.biased, subject)
    return parts


def feature_product(x: Tensor, y: Tensor, a: FeatureSums, b: FeatureSums, estimator: str) -> Tensor:
    """Return the inner product of the centred linear Grams of ``x`` and ``y``, 0-d float64, given the sums of each."""
    S = _co_moments(x, a.mean, y, b.mean)
    return gram_product(S.square().sum(), a.radii.dot(b.radii), a.trace, b.trace, x.shape[0], estimator)


def _co_moments(x: Tensor, mean_x: Tensor, y: Tensor, mean_y: Tensor) -> Tensor:
    """Return S_xy (p, q) about the means."""
    S = mean_x.new_zeros((len(mean_x), len(mean_y)))
    others = () if y is x else (y, mean_y)
    differentiable = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    if x.is_cpu and not differentiable and not torch.compiler.is_compiling():  # torch's products are slower there
        return add_moments_(S, x, mean_x, *others)
    for a, b in centred_slices(x, mean_x, *others):
        S = S + a.T @ b
    return S


def _radii(x: Tensor, mean: Tensor, estimator: str) -> Tensor:
    """Return |x|² of every sample about the mean (n,), or (0,) for the biased estimator, which has no use for it."""
    if estimator == "biased":
        return mean.new_zeros(0)
    return torch.cat([a.square().sum(dim=1) for a, _ in centred_slices(x, mean)])
