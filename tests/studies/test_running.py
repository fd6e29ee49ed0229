"""Cached, shared out among processes, estimated: a study's outcome is the same however it is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pyscale.models import Scaling
from pyscale.studies import Budget, Compression, EqualBudgets, Study, Variant, estimate, run
from pyscale.studies.networks import Workshop, make_member
from pyscale.studies.run_cache import RunCache
from tests.studies.miniature import miniature_study
from tests.studies.test_resume import ROOT, wait_for

SPARSE = Variant("sparse", compression=Compression(amount=0.5, epochs=1))


def small(**changes):
    return miniature_study(**{"metrics": ("cka",), "variants": (SPARSE,), "epochs": 1, **changes})


def states(result):
    return {member.name: member.network.state_dict() for member in result.members}


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(small(), tmp_path_factory.mktemp("alone"), progress=False, device="cpu")


def test_two_studies_train_the_same_network_once(alone, tmp_path):
    first = run(small(name="first"), tmp_path, progress=False, device="cpu")
    assert first.out == tmp_path / "first"
    assert first.provenance["taken_up"] == []
    second = small(name="second", variants=(SPARSE, Variant("wider", Scaling(width=1.5))))
    result = run(second, tmp_path, progress=False, device="cpu")
    assert result.provenance["taken_up"] == ["baseline", "baseline-seed1", "sparse"]
    assert all(same(states(result)[name], state) for name, state in states(alone).items())


@pytest.mark.parametrize(
    ("changes", "taken"),
    [({}, 1), ({"seed": 5}, 0), ({"threads": 2}, 0), ({"recipe": {"lr": 0.05}}, 0), ({"epochs": 2}, 0)],
)
def test_whatever_decides_the_outcome_is_in_the_key(tmp_path, changes, taken):
    cache = RunCache(tmp_path / "cache")
    for study, out in ((small(), "one"), (small(**changes), "other")):
        member = make_member(study, study.members[0], Workshop(tmp_path / out, device="cpu", cache=cache))
    assert member.trained.resumed_at == taken


def test_the_cache_keeps_what_is_there_and_takes_no_part_of_a_run(tmp_path):
    cache, run_ = RunCache(tmp_path / "cache"), tmp_path / "run"
    (run_ / "pruning").mkdir(parents=True)
    for name in ("weights.pt", "pruning/result.json", ".weights.pt.half"):
        (run_ / name).write_text(name)
    assert not cache.fetch("key", tmp_path / "got")
    cache.keep("key", run_)
    (run_ / "weights.pt").unlink()
    (run_ / "weights.pt").write_text("another")
    cache.keep("key", run_)
    assert cache.fetch("key", tmp_path / "got")
    found = {str(p.relative_to(tmp_path / "got")): p.read_text() for p in (tmp_path / "got").rglob("*") if p.is_file()}
    assert found == {"weights.pt": "weights.pt", "pruning/result.json": "pruning/result.json"}
    assert not list(cache.path.glob(".*"))


@pytest.mark.slow
def test_processes_make_the_same_networks(alone, tmp_path):
    said = []
    result = run(small(), tmp_path, workers=2, progress=False, device="cpu", on_step=said.append)
    assert all(same(states(result)[name], state) for name, state in states(alone).items())
    assert result.provenance["taken_up"] == ["baseline", "baseline-seed1", "sparse"]
    assert said[0].title == "train 2 networks in 2 processes"
    assert [step.number for step in said if step.title == "draw and write"] == [said[0].total]


def test_workers_must_be_some(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        run(small(), tmp_path, workers=0)


SCRIPT = """
import sys
from tests.studies.miniature import miniature_study
from pyscale.studies import run
if __name__ == "__main__":
    run(miniature_study(epochs=400), sys.argv[1], workers=2, progress=False, device="cpu")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads processes from /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True, env=env
    )
    wait_for(tmp_path / "runs" / "baseline-seed1" / "history.csv", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    deadline = time.monotonic() + 30
    while alive := [pid for pid in children if _runs(pid)]:
        assert time.monotonic() < deadline, f"{alive} go on"
        time.sleep(0.1)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_estimate_counts_pictures_and_passes():
    asked = EqualBudgets(shares=(0.5,), resources=("macs",), epochs=2, sharing_epochs=1)
    guess = estimate(small(epochs=3, equal_budget=asked), workers=2, device="cpu")
    base = guess.rows[0].macs
    table = [(row.name, row.networks, row.epochs) for row in guess.rows]
    assert table == [
        ("baseline", 1, 3),
        ("baseline-seed1", 1, 3),
        ("sparse", 1, 1),
        ("scaled-macs-0.5", 2, 6),
        ("channels-macs-0.5", 2, 3),
    ]
    assert [row.at_most for row in guess.rows] == [False] * 3 + [True] * 2
    assert guess.rows[3].macs == guess.rows[4].macs == base // 2
    assert guess.at_most
    assert guess.total == 3 * 120 * (base * (3 + 3 + 1) + base // 2 * (2 * 6 + 2 * 3))
    assert guess.seconds == pytest.approx(guess.total / guess.rate / 2)


def test_an_estimate_shows_networks_from_files_and_what_is_a_bound(tmp_path):
    variants = (
        Variant("given", weights=str(tmp_path / "w.pth")),
        Variant("thin", compression=Compression(granularity="channel", budget=Budget("bytes", 0.5))),
        Variant("slow", compression=Compression(amount=0.5, schedule="cubic", steps=3, epochs=2)),
    )
    rows = {row.name: row for row in estimate(small(variants=variants), device="cpu").rows}
    assert (rows["given"].epochs, rows["given"].total) == (0, 0)
    assert rows["given"].macs == rows["thin"].macs == rows["baseline"].macs
    assert {name for name, row in rows.items() if row.at_most} == {"thin"}
    assert rows["slow"].epochs == 6


def test_what_would_stop_a_study_later_stops_it_before_it_trains(tmp_path):
    for changes in ({"key_layers": ("nope",)}, {"variants": (Variant("given", weights="/nope.pth"),)}):
        with pytest.raises(ValueError, match="nope"):
            run(small(**changes), tmp_path, progress=False, device="cpu")
    assert not list(tmp_path.iterdir())


PUBLISHED = {  # parameters and MACs at 224 pixels of the networks that the sweeps start from
    "resnet": (11_689_512, 1_814_073_344),
    "mobilenet": (3_504_872, 300_774_272),
    "efficientnet": (5_288_548, 385_814_752),
}


@pytest.fixture(scope="module", params=sorted(PUBLISHED))
def shipped(request):
    return Study.from_yaml(ROOT / "studies" / f"{request.param}.yaml")


def test_the_studies_that_ship_can_be_estimated(shipped):
    guess = estimate(shipped, device="cpu")
    assert guess.rows[0].name == "baseline"
    assert all(row.total > 0 for row in guess.rows)
    sweeps = {sweep.name: sweep for sweep in shipped.costs.sweeps}
    assert sorted(sweeps) == ["compound", "depth", "resolution", "width"]
    for name in ("resolution", "width"):
        found = [getattr(scaling, name) for _, scaling in sweeps[name].scalings()]
        assert found == pytest.approx([2 ** (phi / 2) for phi in range(8)])
    assert [scaling.depth for _, scaling in sweeps["depth"].scalings()] == pytest.approx([1, 2, 4, 8])


@pytest.mark.slow
@pytest.mark.filterwarnings("default::UserWarning")  # after one pass over 60 pictures some layers are constant
def test_the_studies_that_ship_run(shipped, tmp_path):
    """Each as it is, on few pictures."""
    from dataclasses import replace

    contest = None if shipped.equal_budget is None else replace(shipped.equal_budget, shares=(0.5,), epochs=1)
    weights = shipped.compare_weights
    shrunk = replace(
        shipped,
        data=shipped.data.subset(60, test=90),
        epochs=1,
        equal_budget=contest,
        twin_seeds=(1,),
        compare_weights=None if weights is None else replace(weights, others=weights.others[:1]),
        metrics=("cka",),  # 90 pictures are too few for CCA
        recipe={"lr": 0.01},  # a single step at the whole rate leaves EfficientNet with activations that are not finite
    )
    result = run(shrunk, tmp_path, progress=False, device="cpu")
    assert (result.out / "report.html").exists()
    rows = [line.split(",") for line in (result.out / "costs.csv").read_text().splitlines()]
    assert len(rows) == 1 + 28
    first = dict(zip(rows[0], rows[1], strict=True))
    assert (int(first["parameters"]), int(first["macs"])) == PUBLISHED[shipped.name]
