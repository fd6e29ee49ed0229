"""Inner products of centred Gram matrices: through the Grams (n, n), or through features where those are fewer."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pyscale.metrics.moments import centred_slices, gram_product, is_noise
from pyscale.metrics.validity import check_finite
from pyscale.ops import library, reference
from pyscale.ops.dtypes import accumulator_dtype, result_dtype

Estimator = Literal["unbiased", "biased"]

LEAST_SAMPLES = {"unbiased": 4, "biased": 2}

_NOISE = 64  # a U-centred Gram whose entries are below this many eps of the distances squared is rounding alone
_FEATURES = 128  # enough to tell the size of a distance


class CentredGram(NamedTuple):
    """A set's centred Gram matrix as a vector whose inner products, times ``scale``, are those of the matrices."""

    vector: Tensor  # (n (n - 1) / 2,) packed U(K), or (n²,) of H K H; float64
    scale: float
    square: Tensor  # 0-d: the product with itself
    constant: Tensor  # 0-d bool: every feature constant to rounding
    degenerate: Tensor  # 0-d bool: not constant, and yet U(K) is 0, as where all samples are equally far apart

    @property
    def undefined(self) -> Tensor:
        """Whether no CKA with this set exists, 0-d bool."""
        return self.constant | self.degenerate

    @classmethod
    def of(cls, x: Tensor, subject: str, kernel: str, estimator: str, bandwidth: float) -> CentredGram:
        """Return the centred Gram of ``x`` (n, p).

        What float32 products can't hold, or leaves them nothing but rounding, is formed again in float64.

        Raises:
            ValueError: ``x`` holds NaN or infinity (not looked for while compiling), has no RBF width, or leaves the
                range of float64 when squared twice.
        """
        gram = cls._computed(x, kernel, estimator, bandwidth)
        if torch.compiler.is_compiling() or gram._sound():
            return gram
        check_finite(x, f"values of {subject}")
        if result_dtype(x.dtype) != torch.float64 and not bool(gram.constant):
            gram = cls._computed(x.double(), kernel, estimator, bandwidth)
        if kernel == "rbf" and not bool(gram.constant) and not bool(torch.isfinite(gram.square)):
            raise ValueError(
                f"more than half of the pairs of samples of {subject} are equal: their median distance is 0, "
                f"which leaves kernel='rbf' no width"
            )
        if not bool(gram.undefined):
            check_range(gram.square, subject)
        return gram

    @classmethod
    def _computed(cls, x: Tensor, kernel: str, estimator: str, bandwidth: float) -> CentredGram:
        wide = accumulator_dtype(x.device)
        if estimator == "biased":
            K, constant = library.gram(x, kernel, "double", float(bandwidth), wide, 0, "default")
            v = K.reshape(-1)
            return cls(v, 1.0, v.dot(v), constant, torch.zeros_like(constant))
        v, constant = library.packed_gram(x, kernel, float(bandwidth), wide, 0, "default")
        square = 2 * v.dot(v)
        return cls(v, 2.0, square, constant, vanishes(v, x, kernel) & ~constant)

    def _sound(self) -> bool:
        return bool(torch.isfinite(self.square) & (self.square > 0) & ~self.undefined)


def vanishes(v: Tensor, x: Tensor, kernel: str) -> Tensor:
    """Return whether the packed U(K) of ``x`` (n, p) is 0 to rounding, 0-d bool, so that what was computed is noise.

    So it is where all samples are equally far apart, or all but one are equal. Its largest entry is held against the
    largest squared distance from the first sample, over enough of the features to know its size.
    """
    peak = v.detach().abs().max()
    if kernel == "rbf":
        distance2 = torch.ones_like(peak)
    else:
        some = x.detach()[:, :: max(1, x.shape[1] // _FEATURES)].to(v.dtype)
        distance2 = (some - some[:1]).square().sum(dim=1).max() * (x.shape[1] / max(some.shape[1], 1))
    return peak <= _NOISE * torch.finfo(result_dtype(x.dtype)).eps * distance2


def check_range(square: Tensor, subject: str) -> None:
    """Raise ValueError where the norm of a centred Gram of finite, varying values is infinite or 0."""
    if not bool(torch.isfinite(square)) or not bool(square > 0):
        size = "small" if bool(square == 0) else "large"
        raise ValueError(f"values of {subject} are too {size}: their fourth powers leave float64's range; scale them")


class FeatureSums(NamedTuple):
    """What the linear kernel needs of one set in feature space."""

    mean: Tensor  # (p,)
    trace: Tensor  # 0-d: Σ |x|² about the mean
    square: Tensor  # 0-d: the inner product of the centred Gram with itself
    constant: Tensor  # 0-d bool
    degenerate: Tensor  # 0-d bool: not constant, and yet U(K) is 0, as where all samples but one are equal

    @property
    def undefined(self) -> Tensor:
        """Whether no CKA with this set exists, 0-d bool."""
        return self.constant | self.degenerate

    @classmethod
    def of(cls, x: Tensor, subject: str, estimator: str) -> FeatureSums:
        """Return the sums of ``x`` (n, p).

        Raises:
            ValueError: ``x`` holds NaN or infinity, or leaves the range of float64 (not looked for while compiling).
        """
        mean = x.mean(dim=0, dtype=accumulator_dtype(x.device))
        S, w = mean.new_zeros((len(mean), len(mean))), mean.new_zeros(())
        for a, _ in centred_slices(x, mean):
            r = a.square().sum(dim=1)
            S, w = S + a.T @ a, w + r.dot(r)
        trace, biased = S.trace(), S.square().sum()
        square = gram_product(biased, w, trace, trace, x.shape[0], estimator)
        constant = reference.is_constant(x)
        degenerate = is_noise(square, biased) & ~constant
        if not torch.compiler.is_compiling() and not bool(torch.isfinite(square) & (biased > 0)):
            check_finite(x, f"values of {subject}")
            if not bool(constant):
                check_range(biased, subject)
        return cls(mean, trace, square, constant, degenerate)


def feature_product(x: Tensor, y: Tensor, a: FeatureSums, b: FeatureSums, estimator: str) -> Tensor:
    """Return the inner product of the centred linear Grams of ``x`` and ``y``, 0-d float64, given the sums of each."""
    S, w = a.mean.new_zeros((len(a.mean), len(b.mean))), a.mean.new_zeros(())
    for left, right in centred_slices(x, a.mean, y, b.mean):
        S, w = S + left.T @ right, w + left.square().sum(dim=1).dot(right.square().sum(dim=1))
    return gram_product(S.square().sum(), w, a.trace, b.trace, x.shape[0], estimator)
