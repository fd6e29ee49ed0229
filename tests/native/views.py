"""NumPy memory as the kernels see it: any element type, any row pitch, and the float64 values it really holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyscale import _native

NAMES = ("float64", "float32", "float16", "bfloat16")
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
CODES = {
    "float64": _native.DType.f64,
    "float32": _native.DType.f32,
    "float16": _native.DType.f16,
    "bfloat16": _native.DType.bf16,
}


class View(NamedTuple):
    """A matrix in memory; ``storage`` is what owns it, with the columns that the pitch leaves over."""

    matrix: _native.Matrix
    storage: np.ndarray
    values: np.ndarray  # float64, exactly what is stored


def to_bits(values):
    """float64 to the bits of bfloat16, to nearest even by way of float32; NaN stays NaN."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def view(values, name="float64", spare=0, junk=np.nan):
    """Store ``values`` (rows, columns) as ``name``, rows ``spare`` elements further apart than they are long."""
    values = np.asarray(values, dtype=np.float64)
    rows, columns = values.shape
    wide = np.full((rows, columns + spare), junk)
    wide[:, :columns] = values
    with np.errstate(over="ignore"):
        storage = to_bits(wide) if name == "bfloat16" else wide.astype(name)
    held = (storage.astype(np.uint32) << 16).view(np.float32) if name == "bfloat16" else storage
    pitch = max(columns + spare, 1)
    matrix = _native.Matrix(storage.ctypes.data, rows, columns, pitch, CODES[name])
    return View(matrix, storage, held[:, :columns].astype(np.float64))


def output(rows, columns, name="float64", spare=0):
    """A matrix to be written, full of 7s; the spare columns must stay so."""
    out = view(np.full((rows, columns), 7.0), name, spare, junk=7.0)
    return View(out.matrix, out.storage, out.storage[:, :columns])


def kept_spare(out):
    """Whether nothing was written beside the output's columns."""
    return bool(np.all(out.storage[:, out.values.shape[1] :] == 7.0))


def error(got, expected, scale=0.0):
    """Frobenius error relative to what is expected or to ``scale``, the larger; infinite where the NaNs differ."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        return np.inf
    scale = max(scale, np.linalg.norm(np.nan_to_num(expected)))
    return np.linalg.norm(np.nan_to_num(got) - np.nan_to_num(expected)) / (scale if scale > 0 else 1.0)
