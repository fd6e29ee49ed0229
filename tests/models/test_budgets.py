"""The budget solver against brute force, published networks and a made-up clock."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.models import RULES, Scaling, Shares, budgets, build, fast_compound, profile, scale_to
from tests.models.published import MOBILENET_V1_SIDES, MOBILENET_V1_WIDTHS, NETWORKS


def cost(name, scaling, **arguments):
    with torch.device("meta"):
        return profile(build(name, scaling=scaling, **arguments))


def cifar_integers(scaling, side):
    """Blocks, planes and side of a CIFAR ResNet-20 by the rounding rules, written anew."""
    planes = []
    for base in (16, 32, 64):
        exact = base * scaling.width
        nearest = max(8, math.floor(exact / 8 + 0.5) * 8)
        planes.append(nearest + 8 if nearest < 0.9 * exact else nearest)
    return math.ceil(3 * scaling.depth - 1e-9), planes, math.floor(side * scaling.resolution + 0.5)


def cifar_cost(blocks, planes, side):
    """Parameters and MACs of a CIFAR ResNet for ten classes, in closed form."""
    parameters = 27 * planes[0] + 2 * planes[0] + 10 * planes[2] + 10
    macs = 27 * planes[0] * side**2 + 10 * planes[2]
    into = planes[0]
    for stage, out in enumerate(planes):
        side = side if stage == 0 else math.ceil(side / 2)
        weights = 9 * out * (into + out) + (blocks - 1) * 18 * out**2
        parameters += weights + 4 * blocks * out
        macs += weights * side**2
        into = out
    return {"parameters": parameters, "macs": macs}


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["parameters", "macs"]),
    st.floats(0.2, 6),
    st.sampled_from([*RULES.values(), Shares(1, 3, 0), Shares(0, 1, 2)]),
)
def test_nothing_larger_along_the_family_is_within_the_budget(quantity, times, rule):
    side = 12
    base = cifar_cost(*cifar_integers(Scaling(), side))[quantity]
    budget = times * base
    if quantity == "parameters" and rule == RULES["r"]:
        return
    along = [
        cifar_cost(*cifar_integers(fast_compound(1.001**power, rule), side))[quantity] for power in range(-7000, 3500)
    ]
    if min(along) > budget:  # depth alone cannot go below a block a stage
        with pytest.raises(ValueError, match=f"{quantity}: expected at least {min(along)}, .* got "):
            scale_to("cifar_resnet20", image_size=side, rule=rule, **{quantity: budget})
        return
    scaling = scale_to("cifar_resnet20", image_size=side, rule=rule, **{quantity: budget})
    found = getattr(cost("cifar_resnet20", scaling, image_size=side), quantity)
    assert max(value for value in along if value <= budget) <= found <= budget
    assert cifar_cost(*cifar_integers(scaling, side))[quantity] == found


@pytest.mark.parametrize("width", MOBILENET_V1_WIDTHS)
def test_a_published_networks_macs_by_width_give_that_network(width):
    parameters, macs = MOBILENET_V1_WIDTHS[width]
    found = cost("mobilenet_v1", scale_to("mobilenet_v1", macs=macs, rule="w"))
    assert (found.macs, found.parameters) == (macs, parameters)


@pytest.mark.parametrize("side", MOBILENET_V1_SIDES)
def test_a_published_networks_macs_by_resolution_give_that_network(side):
    found = cost("mobilenet_v1", scale_to("mobilenet_v1", macs=MOBILENET_V1_SIDES[side], rule="r"))
    assert (found.image_size, found.macs) == (side, MOBILENET_V1_SIDES[side])


@pytest.mark.parametrize("rule", RULES)
def test_the_bases_own_cost_gives_the_base_and_one_less_does_not(rule):
    macs = NETWORKS["mobilenet_v1"][2]
    assert scale_to("mobilenet_v1", macs=macs, rule=rule) == Scaling()
    smaller = scale_to("mobilenet_v1", macs=macs - 1, rule=rule)
    assert 0.6 * macs < cost("mobilenet_v1", smaller).macs < macs


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
@pytest.mark.parametrize("times", [0.3, 3])
def test_activations_are_a_budget_too(name, times):
    budget = times * cost(name, Scaling()).activations
    assert 0.85 * budget < cost(name, scale_to(name, activations=budget)).activations <= budget


def test_a_step_is_met_in_its_middle():
    """Near the end of a step, a factor printed with a few digits would already be another network."""
    scaling = scale_to("cifar_resnet20", macs=100e6, rule="w")
    printed = Scaling(width=float(f"{scaling.width:.3g}"))
    assert printed != scaling
    assert (
        build("cifar_resnet20", scaling=printed).architecture == build("cifar_resnet20", scaling=scaling).architecture
    )


@pytest.mark.parametrize(("name", "rule", "dimension"), [("resnet18", "d", "depth"), ("cifar_resnet20", "w", "width")])
def test_the_smallest_network_has_factors_of_its_own_size(name, rule, dimension):
    """Its step has no beginning, and so no middle: any factor below builds it."""
    smallest = cost(name, Scaling(**{dimension: 1e-6}))
    scaling = scale_to(name, macs=smallest.macs, rule=rule)
    assert cost(name, scaling) == smallest
    assert cost(name, Scaling(**{dimension: 2.1 * getattr(scaling, dimension)})).macs > smallest.macs


def test_the_users_classes_channels_and_images_count():
    own = {"num_classes": 7, "in_channels": 1, "image_size": 64}
    budget = 60e6
    scaling = scale_to("resnet18", macs=budget, rule="w", **own)
    assert 0.8 * budget < cost("resnet18", scaling, **own).macs <= budget
    assert scaling != scale_to("resnet18", macs=budget, rule="w")


def test_images_stop_at_their_largest_side_and_the_rest_of_the_budget_is_used():
    scaling = scale_to("mobilenet_v1", macs=5e9, rule="uniform", max_image_size=256)
    free = scale_to("mobilenet_v1", macs=5e9, rule="uniform")
    found = cost("mobilenet_v1", scaling)
    assert found.image_size == 256 < cost("mobilenet_v1", free).image_size
    assert 4e9 < found.macs <= 5e9
    assert scaling.depth > free.depth
    assert scaling.width > free.width
    assert cost("mobilenet_v1", scale_to("mobilenet_v1", macs=4e8, max_image_size=160)).image_size == 160


def made_up(monkeypatch, seconds):
    """Latency as a function of the true MACs; returns what was timed."""
    timed = []

    def clock(network, **arguments):
        counted = profile(network, repeats=0, in_channels=arguments["in_channels"])
        timed.append(network.architecture)
        return replace(counted, latency=seconds(counted.macs, arguments["batch_size"], len(timed)))

    monkeypatch.setattr(budgets, "profile", clock)
    return timed


def test_latency_is_measured_once_for_each_network(monkeypatch):
    timed = made_up(monkeypatch, lambda macs, batch_size, _: batch_size * macs * 1e-9)
    scaling = scale_to("cifar_resnet8", latency=2 * 5e-3, batch_size=2, image_size=16, rule="w")
    assert len(timed) == len(set(timed)) > 3
    assert timed[0].image_size == 16
    monkeypatch.undo()
    assert scaling == scale_to("cifar_resnet8", macs=5e6, image_size=16, rule="w")


def test_noisy_latency_ends_at_a_network_that_was_measured_within_the_budget(monkeypatch):
    noise = [0.7, 1.4, 1.0, 0.8, 1.3]
    kept = {}

    def seconds(macs, _, turn):
        kept[macs] = macs * 1e-9 * noise[turn % len(noise)]
        return kept[macs]

    made_up(monkeypatch, seconds)
    scaling = scale_to("cifar_resnet8", latency=4e-3, image_size=16)
    monkeypatch.undo()
    assert kept[cost("cifar_resnet8", scaling, image_size=16).macs] <= 4e-3


def test_measuring_leaves_random_state_as_it_was_and_runs_on_the_device_asked_for():
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match=r"latency: expected at least .*, the smallest network's .* got 1e-09"):
        scale_to("cifar_resnet8", latency=1e-9, image_size=8, rule="w")
    assert torch.equal(before, torch.random.get_rng_state())
    with pytest.raises(ValueError, match=r"device: expected one that computes, .* got meta"):
        scale_to("cifar_resnet8", latency=1.0, image_size=8, device="meta")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "budget: expected exactly one of macs, parameters, activations, latency, got none"),
        ({"macs": 1e6, "latency": 1}, ValueError, "budget: expected exactly one of .* got macs and latency"),
        ({"macs": 0}, ValueError, "macs: expected a positive number, got 0"),
        ({"macs": math.inf}, ValueError, "macs: expected a finite number, got inf"),
        ({"macs": "1e6"}, TypeError, "macs: expected a number, got '1e6'"),
        ({"macs": 10}, ValueError, r"macs: expected at least \d+, the smallest network's .* got 10"),
        ({"macs": 1e30}, ValueError, r"macs: expected at most 1024 times the cost at s = 1, which is \d+; got 1e\+30"),
        (
            {"activations": 1e7, "rule": "w"},
            ValueError,
            "activations: expected less than 2359296, what .* at s = 1024; got",
        ),
        (
            {"macs": 1e9, "rule": "r", "max_image_size": 40},
            ValueError,
            "macs: expected less than .* at s = 1024, because max_image_size is 40 and",
        ),
        ({"parameters": 1e6, "rule": "r"}, ValueError, "parameters: the rule scales nothing but resolution"),
        ({"macs": 1e6, "rule": "x"}, ValueError, "rule: unknown rule 'x'"),
        ({"macs": 1e6, "num_classes": 0}, ValueError, "num_classes: expected at least 1, got 0"),
        ({"macs": 1e6, "max_image_size": 0}, ValueError, "max_image_size: expected at least 1, got 0"),
        ({"macs": 1e6, "batch_size": 0.5}, TypeError, "batch_size: expected an integer, got 0.5"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        scale_to("cifar_resnet8", **arguments)


def test_unknown_names_are_refused_as_by_build():
    with pytest.raises(ValueError, match=r"name: unknown model 'resnet19'\. Did you mean"):
        scale_to("resnet19", macs=1e9)
