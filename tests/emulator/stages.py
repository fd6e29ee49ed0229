"""The small stages of the CUDA engine, called by themselves on the emulated GPU; memory beside outputs is held."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyscale import _emulated
from tests.native.views import CODES

BLOCK = 64
GUARD = 64  # numbers before and after an output, which must stay 7
SEEDS = (1, 2, 3)  # of the order in which threads and thread blocks run


class Room(NamedTuple):
    """A matrix to be written, full of NaN, between guards; ``spare`` columns of each row are guards too."""

    memory: np.ndarray
    values: np.ndarray
    matrix: _emulated.Matrix

    def kept(self):
        marked = self.memory.copy()
        inside = marked[GUARD:-GUARD].reshape(len(self.values), -1)
        inside[:, : self.values.shape[1]] = 7.0
        return bool(np.all(marked == 7.0))


def room(rows, columns, name="float64", spare=0):
    memory = np.full(rows * (columns + spare) + 2 * GUARD, 7.0, dtype=name)
    values = memory[GUARD:-GUARD].reshape(rows, columns + spare)[:, :columns]
    values[...] = np.nan
    address = memory.ctypes.data + GUARD * memory.itemsize
    return Room(memory, values, _emulated.Matrix(address, rows, columns, max(columns + spare, 1), CODES[name]))


def holding(values):
    """Room that holds float64 values already."""
    values = np.asarray(values, dtype=np.float64)
    out = room(*values.shape)
    out.values[...] = values
    return out


class Sampled(NamedTuple):
    shift: np.ndarray | None
    varies: bool
    plain: bool


def sample(views, exact=False, shifted=True):
    """Return what `sample` says of each set of features."""
    exact = exact or views[0].storage.dtype == np.float64
    shifts = [room(1, x.values.shape[1], "float64" if exact else "float32") for x in views]
    sums = [room(1, _emulated.sampled_size(x.values.shape[1])) for x in views]
    answers = _emulated.sample(
        [x.matrix for x in views],
        [s.matrix if shifted else None for s in shifts],
        [s.matrix for s in sums],
        exact,
    )
    assert all(r.kept() for r in shifts + sums)
    return [Sampled(s.values[0] if shifted else None, *a) for s, a in zip(shifts, answers, strict=True)]


def reduce(n, partials):
    """Return G for each (splits, blocks, BLOCK, BLOCK) of partial sums, all float32 or all float64."""
    grams = [room(n, n) for _ in partials]
    name = str(partials[0].dtype)
    matrices = [_emulated.Matrix(p.ctypes.data, 1, p.size, p.size, CODES[name]) for p in partials]
    _emulated.reduce([G.matrix for G in grams], matrices, [len(p) for p in partials], name == "float64")
    assert all(G.kept() for G in grams)
    return [G.values for G in grams]


def exponentiate(grams, bandwidth=1.0):
    """Return the Gaussian kernels of Gram matrices of one size."""
    n = len(grams[0])
    inputs = [holding(G) for G in grams]
    rows = [room(1, _emulated.rows_size(n)) for _ in grams]
    counts = [room(1, _emulated.histogram_size(), "float32") for _ in grams]  # words, whatever they hold
    _emulated.exponentiate([r.matrix for r in inputs], [r.matrix for r in rows], [r.matrix for r in counts], bandwidth)
    assert all(r.kept() for r in inputs + rows + counts)
    return [r.values for r in inputs]


def center(grams, centering, packed=False, name="float64", spare=0, varies=None, noise=0.0, least=0.0):
    """Return the centred matrices, or packed triangles, the answers whether X is constant, and the floors."""
    n = len(grams[0])
    shape = (1, n * (n - 1) // 2) if packed else (n, n)
    inputs = [holding(G) for G in grams]
    outputs = [room(*shape, name, spare) for _ in grams]
    rows = [room(1, _emulated.rows_size(n)) for _ in grams]
    answers = _emulated.center(
        [r.matrix for r in outputs],
        [r.matrix for r in inputs],
        [r.matrix for r in rows],
        varies or [True] * len(grams),
        getattr(_emulated.Centering, centering),
        packed,
        noise,
        least,
    )
    assert all(r.kept() for r in inputs + outputs + rows)
    return [r.values for r in outputs], [constant for constant, _ in answers], [floor for _, floor in answers]
