"""Variants made of the trained baseline: what is in their files, what they cost, and a killed run taken up."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch

from pyscale.compress import load, prune
from pyscale.models import Scaling, build, profile
from pyscale.studies import Budget, BudgetError, Compression, Variant, run
from pyscale.studies.amounts import least_amount, limit_of
from pyscale.studies.trained_networks import open_trained
from tests.studies.miniature import miniature_study

SPARSE = Compression(amount=0.7, epochs=1)
THIN = Compression(granularity="channel", budget=Budget("macs", 0.6), epochs=1)
SMALL = Compression(granularity="channel", budget=Budget("bytes", 0.6), epochs=1)
DEEP = Compression(budget=Budget("bytes", 0.2), bits=4, epochs=1)


def study(**changes):
    variants = (
        Variant("sparse", compression=SPARSE),
        Variant("thin", compression=THIN),
        Variant("small", seed=1, compression=SMALL),
        Variant("deep", compression=DEEP),
    )
    return miniature_study(**{"metrics": ("cka",), "variants": variants, "epochs": 2, **changes})


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    return run(study(), tmp_path_factory.mktemp("compressed"), progress=False, device="cpu")


@pytest.fixture(scope="module")
def rows(compressed):
    with (compressed.out / "networks.csv").open(newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def opened(compressed, name):
    return open_trained(compressed.out / "runs" / name)


def torch_bytes(network):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return len(file.getvalue())


def weights(network):
    return torch.cat([p.flatten() for name, p in network.named_parameters() if p.ndim > 1])


def macs(network):
    return profile(network, repeats=0).macs


def test_they_have_their_place(compressed, rows):
    assert [compressed.role(m) for m in compressed.members] == ["baseline", "twin"] + ["variant"] * 4
    assert [row["kind"] for row in rows.values()] == ["scaled", "scaled", "weights", "channels", "channels", "deep"]
    document = json.loads((compressed.out / "study.json").read_text())
    assert document["networks"][3]["compression"]["budget"] == {"resource": "macs", "limit": 0.6}
    assert all(name in (compressed.out / "report.html").read_text() for name in rows)


def test_pruned_weights_are_zero_and_cost_the_same(compressed, rows):
    pruned, base = opened(compressed, "sparse"), opened(compressed, "baseline")
    assert int((weights(pruned) == 0).sum()) == round(0.7 * len(weights(base)))
    assert rows["sparse"]["macs"] == rows["baseline"]["macs"]
    assert int(rows["sparse"]["file_bytes"]) == (compressed.out / "runs" / "sparse" / "network.psz").stat().st_size
    assert int(rows["sparse"]["nonzero_parameters"]) == sum(int((p != 0).sum()) for p in pruned.parameters())


def test_pruned_channels_keep_the_budget_closely(compressed, rows):
    base = opened(compressed, "baseline")
    thin = opened(compressed, "thin")
    assert 0.5 * macs(base) < macs(thin) <= 0.6 * macs(base)
    assert int(rows["thin"]["macs"]) == macs(thin)
    small, twin = opened(compressed, "small"), opened(compressed, "baseline-seed1")
    assert 0.5 * torch_bytes(twin) < torch_bytes(small) <= 0.6 * torch_bytes(twin)
    assert int(rows["small"]["file_bytes"]) == torch_bytes(small)


def test_a_deeply_compressed_file_is_small_and_shares_values(compressed, rows):
    path = compressed.out / "runs" / "deep" / "network.psz"
    assert 0.12 * torch_bytes(opened(compressed, "baseline")) < path.stat().st_size
    assert path.stat().st_size <= 0.2 * torch_bytes(opened(compressed, "baseline"))
    assert path.stat().st_size == int(rows["deep"]["file_bytes"])
    state = load(path).state_dict
    assert all(len(tensor.unique()) <= 16 for name, tensor in state.items() if tensor.ndim == 4)


@pytest.mark.parametrize("name", ["sparse", "thin", "small", "deep"])
def test_accuracy_is_that_of_the_file(compressed, rows, name):
    network = opened(compressed, name)
    data = compressed.study.data
    images = (data.test.images - data.mean[0]) / data.std[0]
    with torch.no_grad():
        right = (network(images).argmax(1) == data.test.labels).float().mean()
    assert float(rows[name]["accuracy"]) == pytest.approx(float(right), abs=1e-6)


def test_a_killed_compression_goes_on_to_the_same_weights(compressed, tmp_path):
    """Killed between the two trainings of deep compression: what is there is taken up, and the end is the same."""
    only_deep = study(variants=(Variant("deep", compression=DEEP),))
    whole = opened(compressed, "deep").state_dict()
    runs = tmp_path / "runs"
    for name in ("baseline", "baseline-seed1", "deep/pruning"):
        (runs / name).mkdir(parents=True)
        for file in (compressed.out / "runs" / name).iterdir():
            (runs / name / file.name).write_bytes(file.read_bytes())
    asked = (compressed.out / "runs" / "deep" / "compression.json").read_bytes()
    (runs / "deep" / "compression.json").write_bytes(asked)
    before = (runs / "deep" / "pruning" / "weights.pt").stat().st_mtime_ns
    result = run(only_deep, tmp_path, progress=False, device="cpu")
    assert (runs / "deep" / "pruning" / "weights.pt").stat().st_mtime_ns == before
    again = result.variants[0].network.state_dict()
    assert all(torch.equal(again[key], value) for key, value in whole.items())


def test_another_compression_in_the_same_folder_is_refused(compressed):
    other = study(variants=(Variant("sparse", compression=Compression(amount=0.5, epochs=1)),))
    with pytest.raises(ValueError, match=r"holds another compression \(other compression\)"):
        run(other, compressed.out, progress=False, device="cpu")


def test_a_budget_out_of_reach_is_told_and_written_down(compressed, monkeypatch):
    """What was found by a clock must not be found otherwise when a study is taken up again."""
    tiny = Compression(granularity="channel", budget=Budget("macs", 0.01))
    asked = study(variants=(Variant("tiny", compression=tiny),))
    told = r"variants: tiny cannot be made: even without 99\.5 % of its channels it costs more than 1 % of the baseline"
    with pytest.raises(BudgetError, match=told):
        run(asked, compressed.out, progress=False, device="cpu")
    monkeypatch.setattr("pyscale.studies.compressed_networks.least_amount", lambda *_: 0.5)
    with pytest.raises(BudgetError, match=told):
        run(asked, compressed.out, progress=False, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of amount and budget"),
        ({"amount": 0.5, "budget": Budget("bytes", 0.5)}, "exactly one of amount and budget"),
        ({"amount": 1.0}, "amount must be at least 0 and below 1"),
        ({"amount": 0.5, "bits": 9}, "bits must be from 1 to 8"),
        ({"amount": 0.5, "epochs": 0}, "epochs must be at least 1"),
        ({"budget": Budget("latency", 0.5)}, "weights set to zero leave the latency"),
        ({"amount": 0.5, "granularity": "layer"}, "granularity must be one of"),
    ],
)
def test_a_compression_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Compression(**options)


@pytest.mark.parametrize(("resource", "limit"), [("joules", 0.5), ("macs", 0), ("macs", float("inf")), ("latency", 2)])
def test_a_budget_that_makes_no_sense_is_refused(resource, limit):
    with pytest.raises(ValueError, match=r"resource must|limit"):
        Budget(resource, limit)


def test_what_it_is_made_of_must_be_trained():
    with pytest.raises(ValueError, match="small is made of the baseline from seed 3, which is not trained"):
        study(variants=(Variant("small", seed=3, compression=SPARSE),))
    with pytest.raises(ValueError, match="scaling: a compressed network has the baseline's"):
        Variant("wide", Scaling(width=2), compression=SPARSE)


def test_a_scaled_baseline_is_what_is_compressed(tmp_path):
    wide = study(baseline=Scaling(width=1.5), variants=(Variant("sparse", compression=SPARSE),), epochs=1)
    result = run(wide, tmp_path, progress=False, device="cpu")
    expected = build("cifar_resnet8", scaling=Scaling(width=1.5), in_channels=1, image_size=8)
    assert [len(weights(member.network)) for member in result.members] == [len(weights(expected))] * 3


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_amount_that_meets_a_budget_is_found_for_either_scope(scope):
    torch.manual_seed(0)
    network = build("cifar_resnet8")
    asked = Compression(granularity="channel", scope=scope, budget=Budget("macs", 0.5))
    amount = least_amount(network, asked, limit_of(Budget("macs", 0.5), network))
    assert 0.4 * macs(network) < macs(prune(network, amount, granularity="channel", scope=scope)) <= 0.5 * macs(network)
    other = {"global": "layer", "layer": "global"}[scope]
    assert macs(prune(network, amount, granularity="channel", scope=other)) != macs(
        prune(network, amount, granularity="channel", scope=scope)
    )
