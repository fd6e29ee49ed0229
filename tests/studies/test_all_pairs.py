"""A study that compares all pairs: the numbers of pairs alone, a full matrix in the report, and its table."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

import pyscale as ps
from pyscale.models import Scaling
from pyscale.studies import Variant, run
from pyscale.studies.documents.reading import parse_study
from pyscale.studies.report.overview import compared_pairs, overview_section
from pyscale.studies.similarity import compare_layers
from pyscale.train import digits
from tests.studies.miniature import miniature_study
from tests.studies.test_report import Page


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    variants = (Variant("wider", Scaling(width=1.5)), Variant("finer", Scaling(resolution=1.5)))
    data = digits().subset(60, test=240)  # more than the 192 channels of two layers, or CCA says so
    study = miniature_study(variants=variants, epochs=1, pairs="all", data=data)
    return run(study, tmp_path_factory.mktemp("pairs"), progress=False)


@pytest.mark.parametrize("metric", ["cka", "cca_r2"])
def test_every_pair_is_as_the_two_alone(result, metric):
    members = {member.name: member for member in result.members}
    comparisons = result.all_pairs[metric]
    assert comparisons.names == ["baseline", "baseline-seed1", "wider", "finer"]
    for x, y in (("wider", "finer"), ("finer", "baseline"), ("baseline", "wider")):
        alone = compare_layers(
            members[x].network, members[y].network, result.study.data, metric, batch_size=result.study.batch_size
        )
        np.testing.assert_allclose(comparisons[x, y].values, alone.comparison.values, atol=1e-6)
    found = result.similarities["finer"][metric]
    np.testing.assert_array_equal(found.comparison.values, comparisons["finer", "baseline"].values)
    assert found.key_rows.size < len(found.comparison.rows)


def test_the_overview_is_a_full_matrix(result):
    pairs = compared_pairs(result)
    names = [member.name for member in result.members]
    assert set(pairs) == {(x, y) for x in names for y in names if x != y}
    page = Page(str(overview_section(result, ()).html))
    (trace,) = page.charts["overview-cka"]["data"]
    assert trace["x"] == names
    assert trace["y"] == names[::-1]  # upward
    values = np.array(trace["z"], dtype=float)[::-1]
    assert np.isnan(np.diag(values)).all()
    assert np.isfinite(values[~np.eye(4, dtype=bool)]).all()
    assert trace["text"][0][3] == "itself"
    found = pairs["wider", "finer"]["cka"]
    assert values[2, 3] == pytest.approx(np.mean(found.at_counterpart()[found.key_rows]))


def test_the_files_hold_all_pairs(result):
    lines = list(csv.DictReader(io.StringIO((result.out / "pairs.csv").read_text())))
    assert len(lines) == 2 * 12
    (line,) = [one for one in lines if (one["network"], one["other"], one["metric"]) == ("wider", "finer", "cka")]
    assert float(line["best_match"]) == result.all_pairs["cka"].best_match[2, 3]
    assert ps.Comparisons.load(result.out / "comparisons" / "all.cka.npz") == result.all_pairs["cka"]
    assert json.loads((result.out / "study.json").read_text())["study"]["pairs"] == "all"


def test_by_default_the_baseline_alone_is_compared(miniature):
    assert miniature.all_pairs == {}
    assert {other for _, other in compared_pairs(miniature)} == {"baseline"}
    assert not (miniature.out / "pairs.csv").exists()


def test_other_pairs_are_refused_with_line_and_key():
    text = "title: t\nfamily: cifar_resnet8\nimage_size: 8\ndata: {train: 120, test: 180}\npairs: every\n"
    with pytest.raises(ValueError, match=r"study, line 5: pairs: input should be 'baseline' or 'all', got 'every'"):
        parse_study(text)
    study = parse_study(text.replace("every", "all"))
    assert study.pairs == "all"
    assert parse_study(study.to_yaml()).pairs == "all"
    with pytest.raises(ValueError, match="pairs must be one of"):
        miniature_study(pairs="every")
