"""The kernels, called on arrays."""

from __future__ import annotations

from pyscale import _native
from tests.native.views import output


def gram(x, kernel="linear", centering="double", bandwidth=1.0, threads=1, name="float64", spare=0):
    """Return the output's view and the constant flag."""
    n = len(x.values)
    K = output(n, n, name, spare)
    flag = _native.gram(
        K.matrix, x.matrix, getattr(_native.Kernel, kernel), getattr(_native.Centering, centering), bandwidth, threads
    )
    return K, flag


def packed_gram(x, kernel="linear", bandwidth=1.0, threads=1, name="float64"):
    n = len(x.values)
    v = output(1, n * (n - 1) // 2, name)
    flag = _native.packed_gram(v.matrix, x.matrix, getattr(_native.Kernel, kernel), bandwidth, threads)
    return v, flag


def hsic_pairs(v, w, threads=1):
    H = output(len(v.values), len(w.values))
    _native.hsic_pairs(H.matrix, v.matrix, w.matrix, threads)
    return H
