"""Laws of a finished study's own networks: which take part, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale.studies import laws
from pyscale.studies.tables import as_csv

ROW = {"kind": "scaled", "seed": 0, "test_pictures": 10_000, "latency_seconds": 0.1}
TRUTH = {"depth": 0.3, "width": 0.8, "resolution": 1.1}


def network(name, role="variant", *, base=(1, 0.5, 1), **changes):
    """A row of networks.csv whose accuracy and MACs follow known laws of factors relative to the baseline."""
    times = {name: changes.pop(name, 1) for name in TRUTH}
    accuracy = 0.9 - sum(0.04 * times[n] ** -TRUTH[n] for n in TRUTH)
    macs = 1e6 * times["depth"] * times["width"] ** 2 * times["resolution"] ** 2
    factors = {n: b * times[n] for n, b in zip(TRUTH, base, strict=True)}
    return {"network": name, "role": role, **factors, "accuracy": accuracy, "macs": macs, **ROW, **changes}


ROWS = [
    network("baseline", "baseline"),
    network("baseline-seed1", "twin"),
    *(network(f"{name}-{factor}", **{name: factor}) for name in TRUTH for factor in (0.5, 2, 4)),
    network("sparse", kind="weights", accuracy=0.1),
    network("thin", kind="channels", macs=1),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "networks.csv").write_text(as_csv(ROWS))
    return tmp_path / "mine"


def test_scaled_networks_take_part_relative_to_the_baseline(folder):
    table = laws.study_table(folder)
    assert table == laws.study_table(folder / "networks.csv")
    assert (table.name, len(table), table.pictures) == ("mine", 11, 10_000)
    assert table.width[:2] == (1, 1)
    assert sorted(set(table.width)) == [0.5, 1, 2, 4]
    assert min(table.macs) > 1


def test_the_laws_are_those_that_made_the_rows(folder):
    table = laws.study_table(folder)
    error, cost = laws.fit_error_law(table.errors, table.factors, draws=20), table.cost_law()
    assert {n: e.value for n, e in error.exponents.items()} == pytest.approx(TRUTH, rel=1e-3)
    assert {n: k.value for n, k in cost.exponents.items()} == pytest.approx({"depth": 1, "width": 2, "resolution": 2})
    gains = {n: 0.04 * b / k for (n, b), k in zip(TRUTH.items(), (1, 2, 2), strict=True)}
    assert laws.best_dimension(error, cost).best == max(gains, key=gains.get)


def test_too_few_networks_are_refused(folder):
    (folder / "networks.csv").write_text(as_csv(ROWS[:6]))
    table = laws.study_table(folder)
    with pytest.raises(ValueError, match=r"factors\['width'\] takes 2 different values"):
        laws.fit_error_law(table.errors, table.factors)


def test_accuracies_that_are_all_noise_are_known_as_such(folder):
    """Twenty networks that are equally good: as often as not alike; those of ROWS, on 10 000 pictures: never."""
    assert laws.study_table(folder).alike() < 1e-6
    rng = np.random.default_rng(0)
    found = [
        laws.NetworkTable(
            "", "", (1,) * 8, (1,) * 8, (1,) * 8, tuple(rng.binomial(359, 0.98, 8) / 359), (1.0,) * 8, pictures=359
        ).alike()
        for _ in range(200)
    ]
    assert np.mean(np.array(found) < 0.05) < 0.1
    assert laws.PUBLISHED["mobilenet_v1"].alike() is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([network("a")], "has no baseline"),
        ([network("baseline", "baseline", accuracy="")], "network baseline: accuracy is ''"),
        ([network("baseline", "baseline", macs=-1)], "network baseline: macs is '-1'"),
        ([{"network": "a"}], "has no column 'role'"),
    ],
)
def test_damaged_tables_are_refused(folder, rows, message):
    (folder / "networks.csv").write_text(as_csv(rows))
    with pytest.raises(ValueError, match=message):
        laws.study_table(folder)


def test_a_folder_without_a_study_is_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a finished study's folder or its networks\.csv"):
        laws.study_table(tmp_path)
    with pytest.raises(TypeError, match="study: expected a finished study's result or folder, got int"):
        laws.study_table(5)
