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


@pytest.mark.parametrize(
    ("rows", "columns", "pitch"), [(2**60, 2, 2), (2**40, 2**40, 2**40), (2, 2**62, 2**62), (2, 2, 2**62)]
)
def test_sizes_fit_a_machines_memory(rows, columns, pitch):
    """Products of sizes would wrap around and pass for small ones."""
    x, S = view(np.zeros((5, 2))), output(2, 2)
    absurd = Matrix(x.storage.ctypes.data, rows, columns, pitch, DType.f64)
    calls = [
        lambda: gram(x._replace(matrix=absurd)),
        lambda: packed_gram(x._replace(matrix=absurd)),
        lambda: _native.gram(absurd, x.matrix, Kernel.linear, Centering.none, 1.0, 1),
        lambda: hsic_pairs(x._replace(matrix=absurd), x),
        lambda: hsic_pairs(x, x._replace(matrix=absurd)),
        lambda: _native.self_moments(S.matrix, absurd, x.matrix, 1),
        lambda: _native.merge_moments(absurd, x.matrix, x.matrix, x.matrix, 1.0),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=r"(has|is) .*(more than there is memory|expected)"):
            call()


def test_samples_without_features_are_still_counted():
    many = Matrix(0, 2**40, 0, 0, DType.f64)
    with pytest.raises(RuntimeError, match=f"X has {2**40} rows, expected fewer than {2**31}"):
        _native.packed_gram(output(1, 10).matrix, many, Kernel.linear, 1.0, 1)


def test_features_without_samples_take_no_time():
    """Nobody walks along 2^40 of them."""
    none, nothing = Matrix(0, 0, 2**40, 2**40, DType.f32), output(0, 0).matrix
    assert _native.gram(nothing, none, Kernel.linear, Centering.none, 1.0, 2)
    _native.hsic_pairs(nothing, none, none, 2)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.5, "3", None])
def test_sizes_are_whole_numbers_of_64_bits(value):
    for place in range(1, 4):
        arguments = [0, 1, 1, 1, DType.f64]
        arguments[place] = value
        with pytest.raises(TypeError, match="incompatible constructor arguments"):
            Matrix(*arguments)


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


@pytest.mark.parametrize("pitch", [0, -1, -(2**63), 2**63 - 1])
def test_the_pitch_of_a_single_row_is_never_used(pitch):
    row = view(np.random.default_rng(0).normal(size=(1, 300)))
    odd = row._replace(matrix=Matrix(row.storage.ctypes.data, 1, 300, pitch, DType.f64))
    assert hsic_pairs(odd, row).values == pytest.approx(np.sum(row.values**2), rel=1e-14)
    assert gram(odd, centering="none")[0].values == pytest.approx(np.sum(row.values**2), rel=1e-14)
    S, zero = view(np.zeros((300, 300))), view(np.zeros((1, 300)))
    _native.self_moments(S.matrix, odd.matrix, zero.matrix, 1)
    np.testing.assert_allclose(S.storage, row.values.T @ row.values, rtol=1e-14)


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
