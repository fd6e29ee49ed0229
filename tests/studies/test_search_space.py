"""The surface that a search looks on: which points, what they really cost, and which are the same network."""

from __future__ import annotations

import time
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyscale.models import Scaling, build, profile
from pyscale.studies.coefficients.space import Counting, SearchSpace, on_surface


def space(family="cifar_resnet8", **changes):
    return SearchSpace(**{"family": family, "num_classes": 10, "in_channels": 1, "image_size": 8, **changes})


@pytest.mark.parametrize(("step", "tolerance", "growth"), [(10, 5, 2), (5, 5, 2), (10, 20, 2), (10, 5, 4), (25, 8, 3)])
def test_the_grid_is_every_point_near_the_surface(step, tolerance, growth):
    """Against integers: hundredths of the bases, so that no rounding decides what is near."""
    bases = range(100, 100 * growth * 2, step)
    wanted = {
        (a, b, c)
        for a, b, c in product(bases, repeat=3)
        if abs(a * b * b * c * c - growth * 100**5) * 100 <= tolerance * growth * 100**5
    }
    found = space(step=step / 100, tolerance=tolerance / 100, growth=growth).grid()
    as_integers = [tuple(round(100 * base) for base in (p.depth, p.width, p.resolution)) for p in found]
    assert len(as_integers) == len(set(as_integers))
    assert set(as_integers) == wanted


def test_the_published_bases_are_on_the_finer_grid_and_cost_what_is_published():
    """EfficientNet-B0 grown by the paper's own bases: 993 million of 386, not 1.92 times as many."""
    published = Scaling(1.2, 1.1, 1.15)
    b0 = SearchSpace("efficientnet_b0", 1000, 3, step=0.05)
    assert published in b0.grid()
    (candidate,) = b0.candidates([published])
    assert candidate.macs == 992_629_472
    assert candidate.parameters == 9_109_994
    assert candidate.image_size == 258
    assert candidate.nominal == pytest.approx(1.920270)
    assert candidate.growth == pytest.approx(992_629_472 / 385_814_752)
    assert candidate.skipped == "costs 2.57 times the baseline, not 2 ± 10 %".replace(" %", "%")


def test_costs_are_those_of_the_network_that_is_built():
    for candidate in space(baseline=Scaling(width=2)).candidates([Scaling(1, 1.3, 1.1), Scaling(2)]):
        bases = candidate.bases
        assert candidate.scaling == Scaling(bases.depth, 2 * bases.width, bases.resolution)
        network = build("cifar_resnet8", scaling=candidate.scaling, num_classes=10, in_channels=1, image_size=8)
        cost = profile(network, repeats=0)
        assert (candidate.macs, candidate.parameters) == (cost.macs, cost.parameters)
        base = build("cifar_resnet8", scaling=Scaling(width=2), num_classes=10, in_channels=1, image_size=8)
        assert candidate.growth == cost.macs / profile(base, repeats=0).macs


def shape(candidate):
    with torch.device("meta"):
        network = build(
            "cifar_resnet8", scaling=candidate.scaling, num_classes=10, in_channels=1, image_size=8
        ).state_dict()
    return candidate.image_size, tuple((name, tuple(tensor.shape)) for name, tensor in network.items())


def test_of_points_with_the_same_network_one_stands_for_all():
    candidates = space().candidates(space().grid())
    by_name = {candidate.name: candidate for candidate in candidates}
    standing = [candidate for candidate in candidates if candidate.same_as is None]
    assert len({shape(candidate) for candidate in standing}) == len(standing)
    copies = [candidate for candidate in candidates if candidate.same_as is not None]
    assert copies
    for candidate in copies:
        original = by_name[candidate.same_as]
        assert shape(candidate) == shape(original)
        assert abs(original.nominal - 2) <= abs(candidate.nominal - 2) + 1e-9
        assert candidate.skipped == f"rounds to the same network as {original.name}"


def test_only_what_really_costs_about_twice_is_trained():
    candidates = space(cost_tolerance=0.12).candidates(space().grid())
    trained = [candidate for candidate in candidates if not candidate.skipped]
    assert trained
    for candidate in candidates:
        near = abs(candidate.macs - 2 * space().baseline_macs()) <= 0.12 * 2 * space().baseline_macs()
        assert (candidate in trained) == (near and candidate.same_as is None)


@given(growth=st.floats(1.1, 16), depth=st.floats(0, 1), split=st.floats(0, 1))
def test_shares_are_points_of_the_surface(growth, depth, split):
    bases = on_surface(growth, depth, split)
    assert min(bases.depth, bases.width, bases.resolution) >= 1
    assert bases.depth * bases.width**2 * bases.resolution**2 == pytest.approx(growth, rel=5e-4)
    assert bases.depth == pytest.approx(growth**depth, abs=1e-4)


def test_counting_the_same_point_twice_gives_the_same_candidate():
    counting = Counting(space())
    assert counting.candidate(Scaling(2)) == counting.candidate(Scaling(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"growth": 1.0}, "growth must be above 1"),
        ({"growth": float("nan")}, "growth: expected a finite number"),
        ({"step": 0}, "step: expected a positive number"),
        ({"tolerance": 1.5}, "tolerance must be a share below 1"),
        ({"cost_tolerance": -0.1}, "cost_tolerance: expected a positive number"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        space(**changes)


@given(
    step=st.sampled_from([0.05, 0.1, 0.25]),
    tolerance=st.floats(0.01, 0.4),
    growth=st.floats(1.1, 5),
)
def test_a_grid_is_as_large_as_expected(step, tolerance, growth):
    made = space(step=step, tolerance=tolerance, growth=growth)
    assert len(made.grid()) == pytest.approx(made._expected_points(), abs=4)  # points within rounding of a surface


@pytest.mark.parametrize("changes", [{"step": 1e-5}, {"step": 1e-9}, {"growth": 1e6}, {"step": 1e-3, "tolerance": 0.1}])
def test_a_grid_too_fine_to_list_is_refused_at_once(changes):
    started = time.process_time()
    with pytest.raises(ValueError, match=r"step: .* makes a grid of about .* candidates .*; expected at most 20000"):
        space(**changes).grid()
    assert time.process_time() - started < 2


def test_a_baseline_wants_a_scaling():
    with pytest.raises(TypeError, match="baseline must be a Scaling, got float"):
        space(baseline=0.5)
