"""Stateless functions on tensors: checked here, dispatched to native kernels or their plain-torch twins."""

from pyscale.ops.gram import PackedGram, centered_gram, hsic_pairs, packed_gram, packed_grams
from pyscale.ops.installation import BuildInfo, build_info
from pyscale.ops.moments import add_moments_, merge_moments_

__all__ = [
    "BuildInfo",
    "PackedGram",
    "add_moments_",
    "build_info",
    "centered_gram",
    "hsic_pairs",
    "merge_moments_",
    "packed_gram",
    "packed_grams",
]
