"""What makes activations unfit to compare, and how the user is told: non-finite values, constant sets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor


def check_finite(x: Tensor, subject: str) -> None:
    """Raise ValueError if ``x`` holds NaN or infinity; ``subject`` begins the message, in the plural."""
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{subject} hold {describe_nonfinite(x)}")


def describe_nonfinite(x: Tensor) -> str:
    """Return what a non-finite ``x`` holds, and the remedy where float16 is the likely cause."""
    if bool(torch.isnan(x).any()):
        return "NaN"
    if x.dtype == torch.float16:
        return "infinity: float16 values overflowed to infinity; compute activations in float32 or bfloat16"
    return "infinity"


def warn_constant(subjects: Iterable[str], result: str, stacklevel: int = 2) -> None:
    """Warn that the named sets are constant to rounding, so ``result`` is NaN for them; silent if there are none."""
    names = list(subjects)
    if names:
        verb = "is" if len(names) == 1 else "are"
        warnings.warn(
            f"{', '.join(names)} {verb} constant to rounding over the samples: {result} is NaN",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def warn_degenerate(subjects: Iterable[str], result: str, stacklevel: int = 2) -> None:
    """Warn that all samples of the named sets are equally far apart, so ``result`` is NaN; silent if there are none."""
    names = list(subjects)
    if names:
        warnings.warn(
            f"all samples of {', '.join(names)} are equally far from one another to rounding, which leaves the "
            f"unbiased estimator nothing to compare: {result} is NaN",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
