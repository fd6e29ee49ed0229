"""What makes activations unfit to compare, and how the user is told: non-finite values, constant sets."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

_PASSED_OVER = ("pyscale", "contextlib")  # contextlib's decorators stand between a method and its caller


def check_finite(x: Tensor, subject: str) -> None:
    """Raise ValueError if ``x`` holds NaN or infinity; ``subject`` begins the message, in the plural."""
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{subject} hold {describe_nonfinite(x)}")


def describe_nonfinite(x: Tensor) -> str:
    """Return what a non-finite ``x`` holds, and the remedy where float16 is the likely cause."""
    value = "NaN" if bool(torch.isnan(x).any()) else "infinity"
    if x.dtype == torch.float16:  # where infinities arise, and become NaN within the same layer
        value += ": float16 overflows beyond 65504; compute activations in float32 or bfloat16"
    return value


def warn(message: str) -> None:
    """Issue a UserWarning that points at the caller's line outside this package, however deep it arose."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED_OVER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def warn_constant(subjects: Iterable[str], result: str) -> None:
    """Warn that the named sets are constant to rounding, so ``result`` is NaN for them; silent if there are none."""
    names = list(subjects)
    if names:
        verb = "is" if len(names) == 1 else "are"
        warn(f"{', '.join(names)} {verb} constant to rounding over the samples: {result} is NaN")


def warn_degenerate(subjects: Iterable[str], result: str) -> None:
    """Warn that the named sets vary and yet their U-centred Grams are 0, so ``result`` is NaN; silent if none do."""
    names = list(subjects)
    if names:
        warn(
            f"all samples of {', '.join(names)} are equally far from one another to rounding, or all but one equal, "
            f"which leaves the unbiased estimator nothing to compare: {result} is NaN"
        )
