"""What trained networks show of how the best bases depend on the budget: measured, not supposed."""

from __future__ import annotations

import pytest
import torch

from tests.studies.search_families import BUDGETS, search_all

WIDER, FINER = "d1-w2-r1", "d1-w1-r2"


@pytest.mark.slow
def test_the_best_bases_depend_on_the_budget(tmp_path):
    """At 4 pixels wider networks learn faster; what pictures of 8 pixels show more of takes longer, and ends higher."""
    threads = torch.get_num_threads()
    try:
        compared = search_all(BUDGETS, tmp_path)
    finally:
        torch.set_num_threads(threads)
    for label, result in compared.results.items():
        assert result.epochs == BUDGETS[label]["budget"]
        assert {outcome.name for outcome in result.outcomes} == {WIDER, FINER, "d4-w1-r1"}
    assert {label: result.best.name for label, result in compared.results.items()} == {"short": WIDER, "long": FINER}
    (pair,) = compared.pairs
    assert (pair.differ, pair.outlook, pair.shared) == (("budget",), "reversed", ())
    assert compared.depends_on == ("budget",)
    assert {transfer.standing for transfer in compared.transfers} == {"worse"}
    assert min(accuracy.value for accuracy in compared.results["long"].test) > 0.95
