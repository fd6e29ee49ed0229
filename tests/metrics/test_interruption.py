"""Where memory runs out in the middle, a metric is as it was, or refuses to go on until it begins anew."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from pyscale.metrics import cross_moments, moments, streaming
from tests.metrics.samples import correlated
from tests.metrics.test_contract import BATCHES, METRICS, assert_same_state, fed, numbers

OF_MOMENTS = [name for name in METRICS if "Streaming" in name or "AllPairs" in name]
REFUSAL = "was interrupted half way"


def failing(function, k, error):
    """Return the function, which raises at its k-th call."""
    calls = iter(range(1, 1000))

    def call(*args):
        if next(calls) == k:
            raise error
        return function(*args)

    return call


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["update", "merge"])
@pytest.mark.parametrize("name", OF_MOMENTS)
def test_every_matrix_that_is_not_written_is_noticed(name, kind, error, monkeypatch):
    x, y = correlated(3, 1100, 4, 3)  # too many to be held
    part, fresh = fed(name, BATCHES[:2]), fed(name, BATCHES)
    whole = fed(name, BATCHES)
    whole.state_dict(), part.state_dict()  # what is held is added now
    before, refused = whole.state_dict(), 0
    modules = (moments,) if kind == "update" else (moments, cross_moments)
    function = "add_moments_" if kind == "update" else "merge_moments_"
    for k in range(1, 10):
        metric = copy.deepcopy(whole)
        with monkeypatch.context() as patch:
            counted = failing(getattr(moments, function), k, error)
            for module in modules:
                patch.setattr(module, function, counted)
            try:
                METRICS[name][1](metric, x, y) if kind == "update" else metric.merge_state(part)
            except error:
                refused += 1
            else:
                break
        roads = [metric, copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]
        for torn in roads:
            for call in (
                torn.compute,
                torn.state_dict,
                lambda torn=torn: METRICS[name][1](torn, *BATCHES[0]),
                lambda torn=torn: torn.merge_state(part),
                lambda torn=torn: copy.deepcopy(part).merge_state(torn),
                lambda torn=torn: torn.to("cpu"),
            ):
                with pytest.raises(RuntimeError, match=REFUSAL):
                    call()
        assert_same_state(roads[1].load_state_dict(before).state_dict(), before)
        metric.reset()
        for batch in BATCHES:
            METRICS[name][1](metric, *batch)
        np.testing.assert_array_equal(numbers(metric.compute()), numbers(fresh.compute()))
    assert refused >= 2


@pytest.mark.parametrize("name", ["StreamingCKA", "StreamingCCA", "StreamingProcrustes"])
def test_samples_are_held_of_both_layers_or_of_neither(name, monkeypatch):
    metric = fed(name, BATCHES[:2])
    before = copy.deepcopy(metric).state_dict()
    monkeypatch.setattr(streaming, "copied", failing(streaming.copied, 2, MemoryError))
    with pytest.raises(MemoryError):
        METRICS[name][1](metric, *BATCHES[2])
    assert_same_state(metric.state_dict(), before)
