"""A program that writes behind an allocation on the GPU, for ``compute-sanitizer`` to find; never a test by itself."""

from __future__ import annotations

import torch

from pyscale import _native
from pyscale.ops.native import matrix


def main() -> None:
    x = torch.randn(8, 500, device="cuda")
    G, constant = torch.empty(8, 8, device="cuda"), torch.empty(1, dtype=torch.bool, device="cuda")
    options = (_native.Kernel.linear, _native.Centering.double, False)
    precision, stream = _native.Precision.exact, torch.cuda.current_stream().cuda_stream
    needed = _native.cuda_grams_workspace([matrix(x)], *options, precision, 0)
    workspace = torch.empty(needed // 2, dtype=torch.uint8, device="cuda")  # the fault: half of what is claimed
    _native.cuda_grams(
        [matrix(G)],
        [matrix(x)],
        constant.data_ptr(),
        *options,
        1.0,
        precision,
        workspace.data_ptr(),
        needed,
        0,
        stream,
        0,
    )
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
