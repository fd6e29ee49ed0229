"""What trained networks show of how a search depends on its budget: measured, not supposed."""

from __future__ import annotations

import pytest
import torch

from tests.studies.search_families import SEARCHES, search_all


@pytest.mark.slow
def test_how_far_depth_is_behind_depends_on_the_budget(tmp_path):
    """After one epoch each twice the depth is far behind the best of the same cost; after five it has caught up."""
    threads = torch.get_num_threads()
    try:
        compared = search_all(tmp_path)
    finally:
        torch.set_num_threads(threads)
    for label, result in compared.results.items():
        assert result.epochs <= SEARCHES[label][1]
        assert result.best.candidate.growth == pytest.approx(2, rel=0.1)
        assert {outcome.name for outcome in result.outcomes} == {
            "d1-w1-r1.4",
            "d1-w1.1-r1.3",
            "d1-w1.4-r1",
            "d2-w1-r1",
        }
    behind = {
        label: next((d.gain for d in result.differences if d.name == "d2-w1-r1"), None)
        for label, result in compared.results.items()
    }
    assert behind["resnet8-24"].low > 0
    assert behind["resnet8-120"] is None or behind["resnet8-120"].high < behind["resnet8-24"].low
    assert not compared.missed, "the two families' blocks round alike"
    assert {pair.searches: pair.differ for pair in compared.pairs} == {
        ("resnet8-24", "resnet8-120"): ("budget",),
        ("resnet8-24", "resnet14-24"): ("family",),
        ("resnet8-120", "resnet14-24"): ("family", "budget"),
    }
    assert min(accuracy.value for accuracy in compared.results["resnet8-120"].test) > 0.9
