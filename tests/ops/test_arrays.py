"""Foreign arrays in, results of the same kind out, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import ops
from pyscale.ops.arrays import as_matrix, restore_like


class Capsule:
    """The least an array of a foreign library offers."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


class StandardArray(Capsule):
    """An array that follows the array API standard, so results can go back to its library."""

    def __array_namespace__(self):
        class Namespace:
            @staticmethod
            def from_dlpack(tensor):
                return StandardArray(tensor)

        return Namespace


def test_kinds():
    x = torch.randn(6, 4)
    expected = ops.centered_gram(x)
    assert isinstance(ops.centered_gram(x.numpy()), np.ndarray)
    np.testing.assert_array_equal(ops.centered_gram(x.numpy()), expected)
    np.testing.assert_array_equal(ops.centered_gram(Capsule(x)), expected)
    standard = ops.centered_gram(StandardArray(x))
    assert isinstance(standard, StandardArray)
    assert torch.equal(standard.tensor, expected)
    assert restore_like(x.numpy())(torch.tensor(0.5)) == 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[::-1],
        lambda x: x[:, ::2],
        lambda x: np.asfortranarray(x),
        lambda x: x.astype(">f8"),
        lambda x: np.broadcast_to(x[:1], (7, 6)),
    ],
    ids=["reversed", "strided", "fortran", "big-endian", "broadcast"],
)
def test_numpy_layouts(change):
    x = change(np.random.default_rng(0).normal(size=(7, 6)))
    Z = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0)
    np.testing.assert_allclose(ops.centered_gram(x), Z @ Z.T, atol=1e-12)


def test_memory_is_shared_and_read_only_arrays_are_taken():
    x = np.zeros((3, 2), dtype=np.float32)
    assert as_matrix(x, "x").data_ptr() == x.ctypes.data
    x.flags.writeable = False
    assert as_matrix(x, "x").data_ptr() == x.ctypes.data


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((4, 3), dtype=np.int64), TypeError, "x has dtype int64; expected one of float64, float32"),
        (torch.zeros(4, 3, dtype=torch.bool), TypeError, "x has dtype bool"),
        (np.zeros((4, 3), dtype=complex), TypeError, "x has dtype complex128"),
        (np.array([["a"]]), TypeError, "x has dtype <U1"),
        (np.array([[None]]), TypeError, "x has dtype object"),
        ([[1.0, 2.0]], TypeError, "x is a list; expected a torch tensor, a NumPy array or a DLPack array"),
        (np.ma.masked_less(np.eye(4), 0.5), TypeError, "x is a masked array; expected a plain one"),
        (torch.eye(4).to_sparse(), TypeError, "x is a sparse_coo tensor; expected a dense one"),
        (torch.eye(4).to_mkldnn(), TypeError, "x is a mkldnn tensor; expected a dense one"),
        (torch.nested.nested_tensor([torch.ones(3)], layout=torch.jagged), TypeError, "x is a nested tensor"),
        (np.zeros(4), ValueError, r"x has shape \(4,\); expected two dimensions .*reshape"),
        (torch.zeros(4, 3, 2), ValueError, r"x has shape \(4, 3, 2\); expected two dimensions .*flatten or pool"),
    ],
)
def test_refusals(x, error, message):
    with pytest.raises(error, match=message):
        ops.centered_gram(x)
