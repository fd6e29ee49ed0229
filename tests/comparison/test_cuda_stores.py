"""Stores made of models on a GPU, and many models there: the numbers of the same models compared two by two."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import pyscale as ps
from tests.comparison.killed import tree
from tests.comparison.networks import InPlaceNet, pictures

pytest.importorskip("numcodecs", reason="numcodecs is not installed: pip install 'pyscale[store]'")
pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("float32_convolutions")]


@pytest.fixture
def nets():
    return {
        "narrow": InPlaceNet(6, seed=1).cuda(),
        "wide": InPlaceNet(9, seed=2).cuda(),
        "third": InPlaceNet(6, seed=3).cuda(),
    }


def clones(model, batches, rows):
    """What each call of the layers returned, copied before anything overwrites it."""
    seen = {row: [] for row in rows}

    def hook(name):
        def copy(module, inputs, output):
            call = sum(len(seen[row]) for row in seen if row.split("#")[0] == name)
            of_batch = call % sum(row.split("#")[0] == name for row in seen)
            seen[name if of_batch == 0 else f"{name}#{of_batch}"].append(output.to("cpu", copy=True))

        return copy

    names = {row.split("#")[0] for row in rows}
    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name in names]
    with torch.inference_mode():
        for batch in batches:
            model.eval()(batch.cuda())
    for handle in handles:
        handle.remove()
    return {row: torch.cat(parts) for row, parts in seen.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_the_gpu_computed_is_kept_exactly(tmp_path, dtype):
    model, batches = InPlaceNet(6, seed=1).to("cuda", dtype), pictures(16, 16, 11, dtype=dtype)
    store = ps.extract(model, batches, tmp_path / "x.zarr", progress=False)
    truth = clones(model, batches, store.layers)
    for row, layer in store.layers.items():
        assert layer.dtype == dtype
        assert torch.equal(layer.rows(0, 43), truth[row]), row


def test_a_stopped_extraction_goes_on_to_the_same_bytes(tmp_path):
    model, batches = InPlaceNet(6, seed=1).cuda(), pictures(16, 16, 16, 11)

    def stopping():
        yield from batches[:3]
        raise KeyboardInterrupt

    ps.extract(model, batches, tmp_path / "whole.zarr", progress=False)
    with pytest.raises(KeyboardInterrupt):
        ps.extract(model, stopping(), tmp_path / "x.zarr", progress=False)
    ps.extract(model, batches, tmp_path / "x.zarr", progress=False)
    assert tree(tmp_path / "x.zarr") == tree(tmp_path / "whole.zarr")


def test_stores_of_a_gpu_compare_as_its_models_do(nets, tmp_path):
    batches = pictures(16, 16, 11)
    paths = {name: tmp_path / f"{name}.zarr" for name in nets}
    for name, net in nets.items():
        ps.extract(net, batches, paths[name], progress=False)
    for x, y in itertools.combinations(nets, 2):
        live = ps.compare(nets[x], nets[y], batches, progress=False)
        found = ps.compare_stores(paths[x], paths[y], batch_size=16, progress=False)
        assert (found.rows, found.columns) == (live.rows, live.columns)
        np.testing.assert_allclose(found.values, live.values, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"permutations": 9}, {"mode": "exact", "features": "pool"}])
@pytest.mark.filterwarnings("ignore:.*samples")
def test_many_models_on_a_gpu_are_as_two_by_two(nets, options):
    batches = pictures(16, 16, 11)
    many = ps.compare_many(nets, batches, progress=False, **options)
    for (x, y), found in many.items():
        two = ps.compare(nets[x], nets[y], batches, progress=False, **options)
        assert found.meta["device"].startswith("cuda")
        assert (found.rows, found.columns) == (two.rows, two.columns)
        np.testing.assert_allclose(found.values, two.values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"mode": "exact", "features": "pool"}])
@pytest.mark.filterwarnings("ignore:.*samples")
def test_stores_beside_models_on_a_gpu(nets, options, tmp_path):
    batches = pictures(16, 16, 11)
    ps.extract(nets["wide"], batches, tmp_path / "wide.zarr", progress=False)
    live = ps.compare_many(nets, batches, progress=False, **options)
    found = ps.compare_many({**nets, "wide": tmp_path / "wide.zarr"}, batches, progress=False, **options)
    assert list(found) == list(live)
    for key, c in found.items():
        np.testing.assert_allclose(c.values, live[key].values, atol=2e-5)
