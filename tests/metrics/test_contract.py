"""What every metric with a state promises: any split and merge is one pass, and states travel."""

from __future__ import annotations

import copy
import io
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyscale.metrics import (
    AllPairsMoments,
    MinibatchCKA,
    PermutationNull,
    StreamingCCA,
    StreamingCKA,
    StreamingProcrustes,
    sync,
)
from pyscale.ops import packed_gram
from tests.metrics.samples import correlated, quick, seeds

N = 40


def feed_pair(metric, x, y):
    metric.update(x, y)


def feed_layers(metric, x, y):
    metric.update({"conv": x, "relu": np.maximum(x, 0)}, {"head": y})


def feed_packed(metric, x, y):
    v, w = (packed_gram(torch.from_numpy(np.ascontiguousarray(a))).values[None] for a in (x, y))
    metric.update_packed(v, w, len(x))


def numbers(result):
    """Return everything a result holds as one array."""
    if hasattr(result, "correlations"):
        return np.concatenate([result.correlations, [result.mean, result.r2, result.chance]])
    if hasattr(result, "values"):
        return np.concatenate([result.values.ravel(), result.zscores.ravel()])
    return np.asarray(result, dtype=np.float64).ravel()


METRICS = {
    "StreamingCKA": (StreamingCKA, feed_pair),
    "StreamingCKA biased": (lambda: StreamingCKA(estimator="biased"), feed_pair),
    "StreamingCCA": (StreamingCCA, feed_pair),
    "StreamingCCA ridge": (lambda: StreamingCCA(ridge=0.1), feed_pair),
    "StreamingProcrustes": (StreamingProcrustes, feed_pair),
    "AllPairsMoments": (AllPairsMoments, feed_layers),
    "MinibatchCKA": (MinibatchCKA, feed_layers),
    "MinibatchCKA rbf": (lambda: MinibatchCKA(kernel="rbf", bandwidth=0.5), feed_layers),
    "PermutationNull": (lambda: PermutationNull(5), feed_packed),
}
BY_MINIBATCH = ("MinibatchCKA", "MinibatchCKA rbf", "PermutationNull")  # their result depends on the minibatches

every_metric = pytest.mark.parametrize("name", METRICS)


def fed(name, batches):
    make, feed = METRICS[name]
    metric = make()
    for x, y in batches:
        feed(metric, x, y)
    return metric


def batches_of(seed, cuts, n=N):
    x, y = correlated(seed, n, 4, 3)
    bounds = [0, *sorted(cuts), n]
    return [(x[a:b] + 7, y[a:b] - 30) for a, b in pairwise(bounds) if b > a]


@pytest.mark.parametrize("name", [name for name in METRICS if name not in BY_MINIBATCH])
@quick
@given(seeds, st.lists(st.integers(0, N), max_size=4), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_any_split_over_merged_metrics_is_one_pass(name, seed, cuts, shares):
    batches = batches_of(seed, cuts)
    whole = fed(name, batches_of(seed, []))
    parts = [fed(name, [b for b, share in zip(batches, shares, strict=False) if share == k]) for k in range(4)]
    states = [part.state_dict() for part in parts]
    merged = METRICS[name][0]().merge_state(parts)
    np.testing.assert_allclose(numbers(merged.compute()), numbers(whole.compute()), rtol=1e-7, atol=1e-9)
    backwards = METRICS[name][0]()
    for part in reversed(parts):
        backwards.merge_state(part)
    np.testing.assert_allclose(numbers(backwards.compute()), numbers(whole.compute()), rtol=1e-7, atol=1e-9)
    for part, state in zip(parts, states, strict=True):
        assert_same_state(part.state_dict(), state)


@pytest.mark.parametrize("name", [name for name in BY_MINIBATCH if name != "PermutationNull"])
@quick
@given(seeds, st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_minibatches_merge_in_any_share(name, seed, shares):
    batches = batches_of(seed, [8, 12, 20, 35])
    parts = [fed(name, [b for b, share in zip(batches, shares, strict=True) if share == k]) for k in range(3)]
    merged = METRICS[name][0]().merge_state(parts)
    np.testing.assert_allclose(numbers(merged.compute()), numbers(fed(name, batches).compute()), rtol=1e-10)
    assert merged.batches == 5


def assert_same_state(found, expected):
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same_state(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_same_state(a, b)
    else:
        assert found == expected


BATCHES = batches_of(0, [10, 24])


def assert_same_numbers(name, metric, expected):
    """To the bit; to rounding where samples are held until they are enough or, as on the way here, asked for."""
    rtol = 0 if name in BY_MINIBATCH else 1e-11
    np.testing.assert_allclose(numbers(metric.compute()), numbers(expected.compute()), rtol=rtol)


@every_metric
def test_compute_is_repeatable_and_update_goes_on_after_it(name):
    metric = fed(name, BATCHES[:2])
    first = numbers(metric.compute())
    np.testing.assert_array_equal(numbers(metric.compute()), first)
    METRICS[name][1](metric, *BATCHES[2])
    assert_same_numbers(name, metric, fed(name, BATCHES))


@every_metric
def test_update_after_merge(name):
    metric = METRICS[name][0]().merge_state([fed(name, BATCHES[:1]), METRICS[name][0]()])
    METRICS[name][1](metric, *BATCHES[1])
    np.testing.assert_allclose(numbers(metric.compute()), numbers(fed(name, BATCHES[:2]).compute()), rtol=1e-12)


@every_metric
def test_a_metric_can_be_merged_with_itself(name):
    metric = fed(name, BATCHES[:2])
    if name == "PermutationNull":
        np.testing.assert_allclose(metric.merge_state(metric).compute(), 2 * fed(name, BATCHES[:2]).compute())
        return
    twice = fed(name, BATCHES[:2] * 2)
    np.testing.assert_allclose(numbers(metric.merge_state(metric).compute()), numbers(twice.compute()), rtol=1e-10)


@every_metric
def test_merging_into_an_empty_metric_shares_no_memory(name):
    part = fed(name, BATCHES[:1])
    before = part.state_dict()
    merged = METRICS[name][0]().merge_state(part)
    METRICS[name][1](merged, *BATCHES[1])
    merged.merge_state(part)
    assert_same_state(part.state_dict(), before)


@every_metric
def test_reset_forgets(name):
    metric = fed(name, BATCHES).reset()
    with pytest.raises(ValueError, match="call update"):
        metric.compute()
    for batch in BATCHES[:2]:
        METRICS[name][1](metric, *batch)
    np.testing.assert_array_equal(numbers(metric.compute()), numbers(fed(name, BATCHES[:2]).compute()))


@every_metric
def test_empty_metrics_say_so(name):
    with pytest.raises(ValueError, match=r"no .* (was|were) seen.*; call update"):
        METRICS[name][0]().compute()


@every_metric
def test_states_travel_by_every_road(name):
    metric = fed(name, BATCHES[:2])
    copies = [copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]  # with what it holds, if anything
    buffer = io.BytesIO()
    torch.save(metric.state_dict(), buffer)
    buffer.seek(0)
    loaded = METRICS[name][0]().load_state_dict(torch.load(buffer, weights_only=True))
    roads = [loaded, *copies, sync(metric), metric.to("cpu")]
    METRICS[name][1](metric, *BATCHES[2])
    expected = fed(name, BATCHES)
    for road in roads:
        if road is not metric:
            METRICS[name][1](road, *BATCHES[2])  # independent of the metric it came from
        assert_same_numbers(name, road, expected)


@every_metric
def test_a_state_dict_is_a_snapshot(name):
    metric = fed(name, BATCHES[:1])
    state = metric.state_dict()
    kept = copy.deepcopy(state)
    other = METRICS[name][0]().load_state_dict(state)
    METRICS[name][1](metric, *BATCHES[1])
    METRICS[name][1](other, *BATCHES[1])
    assert_same_state(state, kept)


@every_metric
def test_an_empty_state_loads_over_a_full_one(name):
    metric = fed(name, BATCHES).load_state_dict(METRICS[name][0]().state_dict())
    with pytest.raises(ValueError, match="call update"):
        metric.compute()


@every_metric
def test_wrong_states_are_refused_and_change_nothing(name):
    metric = fed(name, BATCHES)
    before = metric.state_dict()
    with pytest.raises(ValueError, match="state_dict lacks 'metric', 'options', 'state'"):
        metric.load_state_dict({})
    with pytest.raises(ValueError, match="state_dict is of a Accuracy; expected"):
        metric.load_state_dict({**before, "metric": "Accuracy"})
    with pytest.raises(ValueError, match=r"state_dict has extra=1; this one has extra=None"):
        metric.load_state_dict({**before, "options": {**before["options"], "extra": 1}})
    for key in before["state"]:
        broken = {k: v for k, v in before["state"].items() if k != key}
        if key not in ("sums", "x"):  # without these a state is that of an empty metric
            with pytest.raises(ValueError, match=f"lacks '{key}'"):
                metric.load_state_dict({**before, "state": broken})
    assert_same_state(metric.state_dict(), before)


def tensors_in(state, path=()):
    """Yield the path of every tensor of at least one dimension in a nest of dicts and lists."""
    if isinstance(state, torch.Tensor):
        if state.ndim:
            yield path
    elif isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from tensors_in(value, (*path, key))


@every_metric
def test_states_whose_parts_do_not_fit_are_refused_and_change_nothing(name):
    metric = fed(name, BATCHES)
    before = metric.state_dict()
    paths = list(tensors_in(before["state"]))
    assert paths
    for path in paths:
        broken = copy.deepcopy(before)
        parent = broken["state"]
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = torch.cat([parent[path[-1]]] * 2)
        with pytest.raises(ValueError, match="state"):
            metric.load_state_dict(broken)
        assert_same_state(metric.state_dict(), before)


@every_metric
def test_what_is_no_metric_is_not_merged(name):
    with pytest.raises(TypeError, match="others is a int; expected a"):
        fed(name, BATCHES).merge_state(3)


@every_metric
def test_strangers_are_not_merged(name):
    metric = fed(name, BATCHES)
    before = metric.state_dict()
    stranger = StreamingProcrustes() if name != "StreamingProcrustes" else StreamingCCA()
    with pytest.raises(TypeError, match=f"others holds a {type(stranger).__name__}; expected {type(metric).__name__}"):
        metric.merge_state([fed(name, BATCHES[:1]), stranger])
    assert_same_state(metric.state_dict(), before)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (StreamingCKA(), StreamingCKA(estimator="biased"), "has estimator='biased'; this one has estimator='unbiased'"),
        (StreamingCCA(), StreamingCCA(ridge=1), "has ridge=1.0; this one has ridge=0.0"),
        (MinibatchCKA(), MinibatchCKA(bandwidth=2), "has bandwidth=2.0; this one has bandwidth=1.0"),
        (PermutationNull(5), PermutationNull(6), "has permutations=6; this one has permutations=5"),
        (AllPairsMoments(), AllPairsMoments(unequal="nan"), "has unequal='nan'; this one has unequal='error'"),
    ],
)
def test_other_options_are_not_merged_nor_loaded(one, other, message):
    with pytest.raises(ValueError, match=message):
        one.merge_state(other)
    with pytest.raises(ValueError, match=message):
        one.load_state_dict(other.state_dict())


def test_other_layers_are_not_merged():
    x, y = BATCHES[0]
    metric = MinibatchCKA().update({"a": x}, {"b": y})
    with pytest.raises(ValueError, match=r"has rows=\['c'\]; this one has rows=\['a'\]"):
        metric.merge_state([MinibatchCKA(), MinibatchCKA().update({"c": x}, {"b": y})])
    # two that fit the empty metric, but not one another
    with pytest.raises(ValueError, match="has features of x=2; this one has features of x=4"):
        StreamingCKA().merge_state([StreamingCKA().update(x, y), StreamingCKA().update(x[:, :2], y)])
    with pytest.raises(ValueError, match=r"state has rows=\['a'\]; this metric has rows=\['z'\]"):
        MinibatchCKA(["z"]).load_state_dict(metric.state_dict())


@pytest.mark.parametrize("name", [name for name in METRICS if name != "PermutationNull"])
def test_updates_on_another_device_are_refused(name):
    metric = fed(name, BATCHES[:1])
    meta = torch.ones(8, 4, device="meta", dtype=torch.float64)
    arguments = (
        ({"conv": meta, "relu": meta}, {"head": meta[:, :3]}) if "Streaming" not in name else (meta, meta[:, :3])
    )
    with pytest.raises(ValueError, match="on meta and the metric on cpu"):
        metric.update(*arguments)


@pytest.mark.parametrize("name", METRICS)
def test_states_and_devices_that_are_none_are_named(name):
    metric = METRICS[name][0]()
    with pytest.raises(TypeError, match=r"state_dict is a int; expected what state_dict.. returned"):
        metric.load_state_dict(5)
    with pytest.raises(ValueError, match="device is 'gpu0', which can't be used"):
        metric.to("gpu0")
