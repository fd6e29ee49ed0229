"""Whether processes that compare together compare the same models in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from pyscale.comparison.options import Options
from pyscale.comparison.sides import Side

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def described_call(options: Options, sides: Sequence[Side], loaders: Iterable[str]) -> dict[str, Any]:
    """Return what must be the same on all processes, as plain values: options, layers and every weight's sum of bits.

    A script that builds its models from unseeded random numbers has others on every process, and what these found would
    merge into the similarity of nothing.
    """
    call: dict[str, Any] = {name: value for name, value in asdict(options).items() if name != "memory"}
    call["loaders"] = ", ".join(loaders)
    for label, side in ((side.tap.label, side) for side in sides):
        call[f"{label}'s type"] = type(side.inner).__name__
        call[f"{label}'s layers"] = list(side.tap.selection.modules)
        call.update({f"the sum of bits of {label}'s {name}": total for name, total in bit_sums(side.inner).items()})
    return call


def bit_sums(model: nn.Module) -> dict[str, int]:
    """Return for each parameter and buffer the sum of its numbers' bits read as integers, whatever its device."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    sums: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        t = tensor.detach()
        if t.layout == torch.strided and not t.is_meta and not t.is_quantized and not t.is_complex():
            sums[name] = (t if t.dtype == torch.bool else t.view(_BITS[t.element_size()])).sum(dtype=torch.int64)
    if not sums:
        return {}
    totals = torch.stack([total.to(next(iter(sums.values())).device) for total in sums.values()]).tolist()
    return dict(zip(sums, totals, strict=True))
