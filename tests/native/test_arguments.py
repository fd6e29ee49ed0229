"""What the kernels refuse. The floor above checks first; these guard against its mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale import _native
from pyscale._native import Centering, DType, Kernel, Matrix
from tests.native.calls import gram, hsic_pairs, packed_gram
from tests.native.views import output, view


def test_gram_output_has_the_samples_shape():
    K, x = output(4, 5), view(np.zeros((5, 2)))
    with pytest.raises(RuntimeError, match=r"K has shape \(4, 5\), expected \(5, 5\)"):
        _native.gram(K.matrix, x.matrix, Kernel.linear, Centering.none, 1.0, 1)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_outputs_are_wide(name):
    with pytest.raises(RuntimeError, match=f"K is {name}, expected float64 or float32"):
        gram(view(np.zeros((5, 2))), name=name)
    with pytest.raises(RuntimeError, match=f"v is {name}"):
        packed_gram(view(np.zeros((5, 2))), name=name)
    with pytest.raises(RuntimeError, match=f"V is {name}"):
        hsic_pairs(view(np.zeros((5, 2)), name), view(np.zeros((5, 2)), name))


def test_packed_output_has_the_triangles_length():
    v, x = output(1, 9), view(np.zeros((5, 2)))
    with pytest.raises(RuntimeError, match=r"v has shape \(1, 9\), expected \(1, 10\)"):
        _native.packed_gram(v.matrix, x.matrix, Kernel.linear, 1.0, 1)


def test_rows_may_not_overlap():
    x = view(np.zeros((5, 8)))
    overlapping = Matrix(x.storage.ctypes.data, 5, 8, 7, DType.f64)
    with pytest.raises(RuntimeError, match="X has pitch 7, less than its 8 columns"):
        gram(x._replace(matrix=overlapping))


def test_memory_must_be_somewhere():
    nowhere = Matrix(0, 5, 8, 8, DType.f64)
    with pytest.raises(RuntimeError, match="X has no address"):
        gram(view(np.zeros((5, 8)))._replace(matrix=nowhere))


def test_sizes_are_not_negative():
    x = view(np.zeros((5, 8)))
    negative = Matrix(x.storage.ctypes.data, 5, -8, 8, DType.f64)
    with pytest.raises(RuntimeError, match=r"X has shape \(5, -8\)"):
        gram(x._replace(matrix=negative))


@pytest.mark.parametrize("threads", [0, -1])
def test_at_least_one_thread(threads):
    x, shift, S = view(np.zeros((5, 2))), view(np.zeros((1, 2))), output(2, 2)
    calls = [
        lambda: gram(x, threads=threads),
        lambda: packed_gram(x, threads=threads),
        lambda: hsic_pairs(x, x, threads=threads),
        lambda: _native.self_moments(S.matrix, x.matrix, shift.matrix, threads),
        lambda: _native.cross_moments(S.matrix, x.matrix, shift.matrix, x.matrix, shift.matrix, threads),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=f"threads is {threads}, expected at least 1"):
            call()


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, np.nan, np.inf])
def test_bandwidth_is_positive_where_it_is_used(bandwidth):
    x = view(np.eye(5))
    with pytest.raises(RuntimeError, match="bandwidth is"):
        gram(x, "rbf", bandwidth=bandwidth)
    gram(x, "linear", bandwidth=bandwidth)


def test_hsic_pairs_need_rows_of_one_length_and_type():
    with pytest.raises(RuntimeError, match=r"W has shape \(3, 6\), expected \(3, 7\)"):
        hsic_pairs(view(np.zeros((2, 7))), view(np.zeros((3, 6))))
    with pytest.raises(RuntimeError, match="W is float32, expected float64"):
        hsic_pairs(view(np.zeros((2, 7))), view(np.zeros((3, 7)), "float32"))


def test_moments_need_matching_shifts_and_samples():
    x, y, S = view(np.zeros((5, 2))), view(np.zeros((4, 3))), output(2, 3)
    short, narrow = view(np.zeros((1, 1))), view(np.zeros((1, 2)), "float32")
    a, b, z = view(np.zeros((1, 2))), view(np.zeros((1, 3))), view(np.zeros((5, 3)))
    with pytest.raises(RuntimeError, match=r"Y has shape \(4, 3\), expected \(5, 3\)"):
        _native.cross_moments(S.matrix, x.matrix, a.matrix, y.matrix, b.matrix, 1)
    with pytest.raises(RuntimeError, match=r"shift_x has shape \(1, 1\), expected \(1, 2\)"):
        _native.cross_moments(S.matrix, x.matrix, short.matrix, z.matrix, b.matrix, 1)
    with pytest.raises(RuntimeError, match="shift is float32, expected float64"):
        _native.self_moments(S.matrix, x.matrix, narrow.matrix, 1)
    with pytest.raises(RuntimeError, match=r"T has shape \(5, 2\), expected \(2, 3\)"):
        _native.merge_moments(S.matrix, x.matrix, a.matrix, b.matrix, 1.0)


def test_messages_name_no_folder_of_the_build():
    with pytest.raises(RuntimeError, match=r"\(csrc/cpu/[a-z]+\.\w+:\d+\)$"):
        gram(view(np.zeros((5, 2))), threads=0)
