"""Saved results: equal when loaded, whole or absent, and never trusted."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import zipfile

import numpy as np
import pytest

import pyscale as ps
from tests.comparison.networks import mlp, vectors


@pytest.fixture(scope="module")
def result():
    c = ps.compare(mlp(4, 8, 3, seed=1), mlp(4, 8, 6, 3, seed=2), vectors(16, 16), progress=False)
    values = c.values.copy()
    values[1] = np.nan
    return dataclasses.replace(c, values=values, rows=["a", "größe", "c#1"])


@pytest.mark.parametrize("permutations", [0, 9])
def test_a_loaded_result_equals_the_saved_one(result, permutations, tmp_path):
    pvalues = np.full((3, 5), 0.1) if permutations else None
    saved = dataclasses.replace(result, pvalues=pvalues)
    saved.save(tmp_path / "c.npz")
    loaded = ps.Comparison.load(str(tmp_path / "c.npz"))
    assert loaded == saved
    assert loaded.rows == saved.rows
    assert (loaded.pvalues is None) == (permutations == 0)
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_the_path_is_taken_as_it_is(result, tmp_path):
    result.save(tmp_path / "c")
    assert ps.Comparison.load(tmp_path / "c") == result


def test_a_failed_save_leaves_the_old_file(result, tmp_path):
    path = tmp_path / "c.npz"
    result.save(path)
    with pytest.raises(TypeError):
        dataclasses.replace(result, meta={"not json": object()}).save(path)
    assert ps.Comparison.load(path) == result
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_a_truncated_file_is_named_wherever_it_was_cut(result, tmp_path):
    path = tmp_path / "c.npz"
    result.save(path)
    data = path.read_bytes()
    cuts = random.Random(0).sample(range(len(data)), 60)
    for cut in [0, 1, len(data) - 1, *cuts]:
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r"c\.npz is damaged"):
            ps.Comparison.load(path)


def test_a_changed_byte_is_an_error_or_without_effect(result, tmp_path):
    path = tmp_path / "c.npz"
    result.save(path)
    data = path.read_bytes()
    refused = 0
    for place in random.Random(0).sample(range(len(data)), 200):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            assert ps.Comparison.load(path) == result  # bytes that nothing reads, such as a date
        except ValueError as error:
            assert "c.npz" in str(error)  # noqa: PT017
            refused += 1
    assert refused > 100


def test_a_member_that_lost_its_name_or_seems_encrypted_is_damage(tmp_path):
    """Both take one bit in the archive's directory, which no checksum covers."""
    matrix = np.zeros((1, 1))
    whole = ps.Comparison(matrix, ["a"], ["b"], matrix, matrix, matrix, pvalues=matrix, meta={})
    path = tmp_path / "c.npz"
    whole.save(path)
    data = path.read_bytes()
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"pvalues.npy"))
    for place in (entry + 8, data.rindex(b"pvalues.npy")):  # the entry's flags, its name
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ValueError, match=r"c\.npz is damaged"):
            ps.Comparison.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        ps.Comparison.load(tmp_path / "c.npz")


class Trap:
    """Would leave a file behind if it were ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def rewrite(path, **changes):
    """Replace or add members of a saved file; None removes one."""
    with np.load(path) as archive:
        members = dict(archive)
    for name, value in changes.items():
        members.pop(name, None)
        if value is not None:
            members[name] = value
    np.savez(path, **members, allow_pickle=True)


def header(**changes):
    fields = {
        "format": "pyscale comparison",
        "version": 1,
        "rows": ["a", "b", "c"],
        "columns": list("abcde"),
        "arrays": ["values", "stderr", "chance", "zscores"],
        "meta": {},
    }
    return np.frombuffer(json.dumps(fields | changes).encode(), dtype=np.uint8)


def test_nothing_is_unpickled(result, tmp_path):
    path, evidence = tmp_path / "c.npz", tmp_path / "evidence"
    result.save(path)
    rewrite(path, values=np.array([[Trap(evidence)]], dtype=object))
    with pytest.raises(ValueError, match=r"c\.npz is damaged"):
        ps.Comparison.load(path)
    path.write_bytes(pickle.dumps(Trap(evidence)))
    with pytest.raises(ValueError, match=r"c\.npz is damaged"):
        ps.Comparison.load(path)
    assert not evidence.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": None}, "values is missing"),
        ({"values": np.zeros((2, 2))}, r"values is float64 of shape \(2, 2\); expected float64 of shape \(3, 5\)"),
        ({"stderr": np.zeros((3, 5), dtype=np.int64)}, "stderr is int64"),
        ({"header": header(arrays=["values", "pvalues"])}, "pvalues is missing"),
        ({"header": header(arrays=None)}, "arrays are no list of names"),
        ({"header": None}, "header"),
        ({"header": np.frombuffer(b"[1]", dtype=np.uint8)}, "no object"),
        ({"header": header(format="something else")}, "is no comparison"),
        ({"header": header(version=2)}, "format version 2; this pyscale reads version 1"),
        ({"header": header(rows=["a"])}, "shape"),
        ({"header": header(rows=[1, 2, 3])}, "rows are no list of names"),
        ({"header": header(meta=[])}, "meta is no object"),
    ],
)
def test_what_is_inside_is_checked(result, changes, message, tmp_path):
    path = tmp_path / "c.npz"
    result.save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        ps.Comparison.load(path)
    assert "c.npz" in str(caught.value)


def test_other_files_are_no_comparisons(tmp_path):
    path = tmp_path / "c.npz"
    np.save(tmp_path / "array.npy", np.zeros(3))
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for data in (b"hello", (tmp_path / "array.npy").read_bytes(), (tmp_path / "empty.zip").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"c\.npz is damaged or no comparison") as caught:
            ps.Comparison.load(path)
        assert "pickle" not in str(caught.value)  # NumPy's advice for what it does not know


def test_paths_that_are_none_are_named(result, tmp_path):
    for wrong in (5, ""):
        with pytest.raises(TypeError, match=f"path is {wrong!r}; expected that of a file"):
            result.save(wrong)
        with pytest.raises(TypeError, match=f"path is {wrong!r}; expected that of a file"):
            ps.Comparison.load(wrong)
    with pytest.raises(FileNotFoundError, match=r"path is '.*nowhere/c\.npz', but there is no folder '.*nowhere'"):
        result.save(tmp_path / "nowhere" / "c.npz")
