"""What a search finds depends on the family and on the budget: measured, not supposed."""

from __future__ import annotations

import pytest
import torch

from tests.studies.search_families import BUDGETS, LABELS, search_all


@pytest.mark.slow
def test_two_families_and_two_budgets(tmp_path):
    threads = torch.get_num_threads()
    try:
        compared = search_all(tmp_path)
    finally:
        torch.set_num_threads(threads)
    results = compared.results
    for label, result in results.items():
        assert result.epochs <= BUDGETS[label.partition("-")[2]]
        assert result.best.candidate.growth == pytest.approx(2, rel=0.1)
    for family in {label.partition("-")[0] for label in LABELS}:
        short, long = (results[f"{family}-{length}"] for length in BUDGETS)
        assert long.best.accuracy(0.95).low > short.best.accuracy(0.95).high, "five times the training is seen"
    assert min(accuracy.value for accuracy in results["cifar_resnet8-long"].test) > 0.85
    assert len(compared.transfers) == 12
    assert compared.depends, "ResNet's and MobileNet's blocks don't round alike, so their best bases differ"
