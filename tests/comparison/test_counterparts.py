"""Corresponding layers: the same kind, the nearest relative depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscale.comparison.counterparts import counterparts


def residual(*blocks):
    names = ["conv1", "bn1", "relu"]
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            names += [f"layer{stage}.{block}.{part}" for part in ("conv1", "bn1", "relu", "conv2", "bn2", "relu#1")]
    return [*names, "avgpool", "linear"]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_equal_architectures_match_layer_by_layer(blocks):
    names = residual(*blocks)
    assert counterparts(names, names).tolist() == list(range(len(names)))


@given(st.integers(1, 6), st.integers(1, 6))
def test_kinds_match_and_order_is_kept(deep, shallow):
    rows, columns = residual(deep, deep, deep), residual(shallow, shallow, shallow)
    matched = counterparts(rows, columns)
    for kind in ("conv2", "relu#1", "linear"):
        own = [i for i, name in enumerate(rows) if name.rpartition(".")[2] == kind]
        assert {columns[j].rpartition(".")[2] for j in matched[own]} == {kind}
        assert (np.diff(matched[own]) >= 0).all()


def test_twice_the_blocks_stand_two_for_one_within_their_stage():
    rows, columns = residual(4, 4, 4), residual(2, 2, 2)
    matched = dict(zip(rows, (columns[j] for j in counterparts(rows, columns)), strict=True))
    for stage in (1, 2, 3):
        for block in range(4):
            assert matched[f"layer{stage}.{block}.relu#1"] == f"layer{stage}.{block // 2}.relu#1"


def test_a_kind_the_other_network_lacks_gets_the_nearest_in_depth():
    assert counterparts(["a.x", "b.y", "c.x", "d.y"], ["one.x", "two.x"]).tolist() == [0, 0, 1, 1]


def test_nothing_can_stand_for_a_layer_of_an_empty_network():
    with pytest.raises(ValueError, match="columns is empty"):
        counterparts(["a"], [])
