"""Whether the best bases depend on family and budget: said where it is so, and not where it isn't."""

from __future__ import annotations

import json
import shutil
from functools import cache

import pytest
from typer.testing import CliRunner

from pyscale.cli.program import program
from pyscale.studies import compare_searches, open_search
from tests.studies.search_oracle import LONG, SHORT, all_alike, always_wide, searched, wide_first_then_deep

ASKED = {"short": ("cifar_resnet8", SHORT), "long": ("cifar_resnet8", LONG), "other": ("cifar_resnet14", LONG)}


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """The three searches, of a given truth, in folders of their labels."""

    @cache
    def made(truth):
        out = tmp_path_factory.mktemp(truth.__name__)
        with pytest.MonkeyPatch.context() as patched:
            return {label: searched(patched, *asked, truth, out / label) for label, asked in ASKED.items()}

    return made


def test_it_is_seen_that_the_best_bases_change_with_budget_and_with_family(searches):
    compared = compare_searches(searches(wide_first_then_deep))
    best = {label: result.best.name for label, result in compared.results.items()}
    assert best == {"short": "d1-w1.4-r1", "long": "d2-w1-r1", "other": "d1-w1-r1.4"}
    assert {pair.searches: (pair.differ, pair.outlook) for pair in compared.pairs} == {
        ("short", "long"): (("budget",), "reversed"),
        ("short", "other"): (("family", "budget"), "reversed"),
        ("long", "other"): (("family",), "reversed"),
    }
    assert compared.depends
    assert compared.depends_on == ("budget", "family")
    assert len(compared.worse) == 6
    assert not compared.missed
    assert "the best bases change between short and long, which differ in budget" in str(compared)


@pytest.mark.parametrize("truth", [always_wide, all_alike])
def test_where_one_set_of_bases_is_best_no_dependence_is_claimed(searches, truth):
    """Under ``always_wide`` the accuracies of the searches differ by far more than those within one."""
    compared = compare_searches(searches(truth))
    assert not compared.depends
    assert compared.depends_on == ()
    assert not compared.worse
    if truth is always_wide:
        assert {pair.outlook for pair in compared.pairs} == {"same"}
    assert "is not shown" in str(compared)


def test_a_finished_search_is_read_back_whole(searches):
    for result in searches(wide_first_then_deep).values():
        read = open_search(result.out)
        assert read.to_dict() == result.to_dict()
        assert read.skipped == result.skipped
        assert read.plan.candidates == result.plan.candidates
        assert read.compound(2) == result.compound(2)
        assert (read.differences, read.test) == (result.differences, result.test)


@pytest.mark.parametrize("options", [{"strategy": "halving", "reduction": 2}, {"strategy": "tpe", "trials": 3}])
def test_every_strategy_is_read_back(options, monkeypatch, tmp_path):
    result = searched(monkeypatch, "cifar_resnet8", LONG, always_wide, tmp_path, **options)
    read = open_search(tmp_path)
    assert read.to_dict() == result.to_dict()
    assert read.plan.candidates == result.plan.candidates
    assert [len(outcome.rungs) for outcome in read.outcomes] == [len(outcome.rungs) for outcome in result.outcomes]
    assert str(read.plan) == str(result.plan)


def test_the_command_compares_folders(searches):
    results = searches(wide_first_then_deep)
    folders = [str(result.out) for result in results.values()]
    printed = CliRunner().invoke(program, ["compare-searches", *folders, "--json"])
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout) == json.loads(json.dumps(compare_searches(results).to_dict()))
    text = CliRunner().invoke(program, ["compare-searches", *folders]).stdout
    assert "which differ in budget: each one's are worse in the other" in text
    assert "cifar_resnet14" in text


def test_what_is_no_finished_search_is_refused(searches, tmp_path):
    found = shutil.copytree(searches(all_alike)["short"].out, tmp_path / "found")
    with pytest.raises(FileNotFoundError, match=r"none has no search\.json"):
        open_search(tmp_path / "none")
    one = CliRunner().invoke(program, ["compare-searches", str(found)])
    assert one.exit_code == 2
    assert "at least two finished searches, got 1" in one.stderr
    assert "given more than once" in CliRunner().invoke(program, ["compare-searches", str(found), str(found)]).stderr
    asked = json.loads((found / "search.json").read_text())
    (found / "search.json").write_text(json.dumps({**asked, "budget": 99}))
    with pytest.raises(ValueError, match="begun anew and is not finished"):
        open_search(found)
    (found / "search.json").write_text(json.dumps(asked))
    (found / "candidates" / "d2-w1-r1" / "seed3-epochs1.json").write_text("{}")
    with pytest.raises(ValueError, match="not the record of a run"):
        open_search(found)
    (found / "result.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"is not finished \(no result\.json\)"):
        open_search(found)
