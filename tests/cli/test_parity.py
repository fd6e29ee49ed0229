"""Commands offer what their functions do: the same options, and the same defaults."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import pyscale as ps
from pyscale.cli.commands import comparing, comparing_many, storing
from pyscale.comparison.stored.checkpoint import Checkpoint
from tests.cli.test_commands import SMALL, one_thread, run  # noqa: F401  # one_thread is for these tests too

NOT_TYPED = {"forward", "build", "sample_ids", "loader", "loader_y", "sharding"}  # what no option can say
CALLED_OTHERWISE = {"resume": "fresh", "progress": "as_json"}


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (comparing.compare, ps.compare),
        (comparing_many.compare_many, ps.compare_many),
        (storing.compare_stores, ps.compare_stores),
        (storing.extract, ps.extract),
    ],
)
def test_options_are_those_of_the_function(command, function):
    offered, taken = inspect.signature(command).parameters, inspect.signature(function).parameters
    wanted = {name: p.default for name, p in taken.items() if p.kind is p.KEYWORD_ONLY and name not in NOT_TYPED}
    assert not {name for name in wanted if CALLED_OTHERWISE.get(name, name) not in offered}
    own = {name for name in wanted if name in offered and offered[name].default != wanted[name]}
    assert own <= {"batch_size"}


def test_batches_have_the_size_that_the_function_and_the_sibling_have(tmp_path, monkeypatch):
    default = inspect.signature(ps.compare_stores).parameters["batch_size"].default
    assert storing.STORES_BATCH == default == inspect.signature(ps.compare_many).parameters["batch_size"].default
    x = np.random.default_rng(0).standard_normal((300, 4))
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", x)
    out = tmp_path / "all.npz"
    run("compare-many", tmp_path / "a.npy", tmp_path / "b.npy", "--names", "a,b", "-o", out)
    assert ps.Comparisons.load(out)["a", "b"].meta["batch_size"] == default
    run("compare-many", "cifar_resnet8", "cifar_resnet8", "--names", "a,b", *SMALL, "--layers", "conv1", "-o", out)
    assert ps.Comparisons.load(out)["a", "b"].meta["batches"] == 6  # of 359 pictures, 64 each


@pytest.mark.parametrize("command", ["compare-stores", "compare-many"])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_comparison_of_stores_goes_on_or_begins_anew(tmp_path, monkeypatch, command, fresh):
    asked = []
    load = Checkpoint.load

    def noted(self):
        asked.append((self._resume, self.path.parent))
        return load(self)

    monkeypatch.setattr(Checkpoint, "load", noted)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).standard_normal((30, 4)))
    run(command, tmp_path / "a.npy", tmp_path / "b.npy", "--cache", tmp_path / "kept", *["--fresh"] * fresh)
    assert asked == [(not fresh, tmp_path / "kept")]


def test_folders_and_files_that_are_stores_are_known_for_stores(tmp_path):
    import h5py

    x = np.random.default_rng(0).standard_normal((30, 4))
    (tmp_path / "plain").mkdir()
    np.save(tmp_path / "plain/conv.npy", x)
    (tmp_path / "things/conv").mkdir(parents=True)
    np.save(tmp_path / "things/conv/features.npy", x)
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file["conv"] = x
    out = tmp_path / "all.npz"
    paths = [tmp_path / name for name in ("plain", "things", "x.hdf")]
    run("compare-many", *paths, "--names", "a,b,c", "-o", out)
    np.testing.assert_allclose(ps.Comparisons.load(out).aligned, 1, atol=1e-9)


def test_the_width_of_the_kernel_is_an_option(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((30, 4)))
    np.save(tmp_path / "y.npy", np.random.default_rng(1).standard_normal((30, 4)))
    out, pair = tmp_path / "c.npz", [tmp_path / "x.npy", tmp_path / "y.npy"]
    run("compare-stores", *pair, "--kernel", "rbf", "--bandwidth", "0.3", "-o", out)
    expected = ps.compare_stores(*pair, kernel="rbf", bandwidth=0.3, progress=False)
    assert np.array_equal(ps.Comparison.load(out).values, expected.values)
