"""Readers given anything at all: they read it or say what is wrong with it, and take little memory."""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyscale as ps
from tests.stores.samples import (
    write_deflated_npz,
    write_hdf5,
    write_npy_folder,
    write_npz,
    write_safetensors,
    write_zarr,
)

MOST = 32 * 2**20
FILES = {"npz": write_npz, "deflated npz": write_deflated_npz, "safetensors": write_safetensors, "hdf5": write_hdf5}
SUFFIXES = (".npy", ".npz", ".safetensors", ".h5")
THOROUGH = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def try_reading(path):
    """Open a store and read all of it; errors that users are meant to see are fine."""
    tracemalloc.start()
    try:
        with ps.open_store(path) as store:
            for layer in store.layers.values():
                layer.rows(0, min(layer.samples, 8))
                layer.take([layer.samples - 1] if layer.samples else [])
            _ = store.ids
            store.check_unchanged()
    except (ValueError, OSError):
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.binary(max_size=300))
@THOROUGH
def test_any_bytes(suffix, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        magic = {".npy": b"\x93NUMPY\x01\0", ".npz": b"PK\x03\x04", ".h5": b"\x89HDF\r\n\x1a\n"}.get(suffix, b"")
        for beginning in (b"", magic):
            path.write_bytes(beginning + data)
            try_reading(path)


@st.composite
def mutations(draw):
    """Ways to damage a file: bytes replaced, put in or taken out, and its end cut off."""
    kind = draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
    return kind, draw(st.floats(0, 1)), draw(st.binary(min_size=1, max_size=8)), draw(st.integers(1, 64))


def mutated(data, mutation):
    kind, where, new, count = mutation
    at = int(where * max(len(data) - 1, 0))
    if kind == "replace":
        return data[:at] + new + data[at + len(new) :]
    if kind == "insert":
        return data[:at] + new + data[at:]
    return data[:at] + (data[at + count :] if kind == "delete" else b"")


@pytest.mark.parametrize("name", FILES)
@given(changes=st.lists(mutations(), min_size=1, max_size=4))
@THOROUGH
def test_damaged_files(name, changes):
    with tempfile.TemporaryDirectory() as folder:
        path = FILES[name](Path(folder))
        data = path.read_bytes()
        for change in changes:
            data = mutated(data, change)
        path.write_bytes(data)
        try_reading(path)


@pytest.mark.parametrize("write", [write_zarr, write_npy_folder])
@given(changes=st.lists(mutations(), min_size=1, max_size=3), which=st.integers(0, 2**16))
@THOROUGH
def test_damaged_folders(write, changes, which):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder))
        files = sorted(p for p in path.rglob("*") if p.is_file())
        victim = files[which % len(files)]
        data = victim.read_bytes()
        for change in changes:
            data = mutated(data, change)
        victim.write_bytes(data)
        try_reading(path)
