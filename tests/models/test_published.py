"""Parameters, MACs, activations and resolutions are exactly the published ones; on the meta device, so it is quick."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from pyscale.models import Scaling, build, compound, names, profile
from tests.models.published import (
    CIFAR_PARAMETERS,
    COMPOUND_B0,
    MOBILENET_V1_SIDES,
    MOBILENET_V1_WIDTHS,
    MOBILENET_V2_SIDES,
    MOBILENET_V2_WIDTHS,
    NETWORKS,
    PRINTED_OPERATIONS,
    PRINTED_SIDES,
    SCALED_MACS,
)


@cache
def cost(name, scaling=None):
    with torch.device("meta"):
        return profile(build(name, scaling=scaling))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    side, parameters, macs, activations = NETWORKS[name]
    found = cost(name)
    assert (found.image_size, found.parameters) == (side, parameters)
    if macs is not None:
        assert found.macs == macs
    if activations is not None:
        assert f"{found.activations / 1e6:.2f}" == activations


@pytest.mark.parametrize("depth", CIFAR_PARAMETERS)
def test_cifar_resnets(depth):
    found = cost(f"cifar_resnet{depth}")
    assert (found.image_size, found.parameters) == (32, CIFAR_PARAMETERS[depth])


def test_cifar_resnet110_is_printed_as_1_7_million():
    assert round(cost("cifar_resnet110").parameters / 1e6, 1) == 1.7


@pytest.mark.parametrize("width", MOBILENET_V1_WIDTHS)
def test_mobilenet_v1_by_width(width):
    found = cost("mobilenet_v1", Scaling(width=width))
    assert (found.parameters, found.macs) == MOBILENET_V1_WIDTHS[width]


@pytest.mark.parametrize("side", MOBILENET_V1_SIDES)
def test_mobilenet_v1_by_resolution(side):
    found = cost("mobilenet_v1", Scaling(resolution=side / 224))
    assert (found.image_size, found.macs) == (side, MOBILENET_V1_SIDES[side])


@pytest.mark.parametrize("width", MOBILENET_V2_WIDTHS)
def test_mobilenet_v2_by_width(width):
    found = cost("mobilenet_v2", Scaling(width=width))
    assert (found.parameters, found.macs) == MOBILENET_V2_WIDTHS[width]


@pytest.mark.parametrize("side", MOBILENET_V2_SIDES)
def test_mobilenet_v2_by_resolution(side):
    found = cost("mobilenet_v2", Scaling(resolution=side / 224))
    assert (found.image_size, found.macs) == (side, MOBILENET_V2_SIDES[side])


@pytest.mark.parametrize("phi", COMPOUND_B0)
def test_efficientnet_by_the_compound_formula(phi):
    found = cost("efficientnet_b0", compound(phi))
    assert (found.image_size, found.parameters, found.macs) == COMPOUND_B0[phi]


@pytest.mark.parametrize(
    "case", SCALED_MACS, ids=lambda case: "-".join(f"{part:.4g}" if part != case[0] else part for part in case)
)
def test_scaled_networks(case):
    name, *factors = case
    assert cost(name, Scaling(*factors)).macs == SCALED_MACS[case]


@pytest.mark.parametrize("name", PRINTED_OPERATIONS)
def test_large_images_are_counted_without_computing(name):
    """At 2535 pixels a pass would take gigabytes and a minute."""
    with torch.device("meta"):
        model = build(name)
        counted = [profile(model, side).macs for side in PRINTED_SIDES]
    shares = [macs / printed for macs, printed in zip(counted, PRINTED_OPERATIONS[name], strict=True)]
    assert max(shares) < 1
    assert max(shares) - min(shares) < 0.01  # what else was printed grows with the pixels, as the convolutions do
    assert min(shares) > 0.95


def test_every_listed_name_builds():
    published = {*NETWORKS, *(f"cifar_resnet{depth}" for depth in (*CIFAR_PARAMETERS, 110))}
    assert published <= set(names())
    assert len(set(names())) == len(names())
    for name in set(names()) - published:
        assert cost(name).parameters > 0


def test_bigger_efficientnets_cost_more_because_each_is_counted_at_its_own_resolution():
    costs = [cost(f"efficientnet_b{index}") for index in range(8)]
    assert [found.image_size for found in costs] == [224, 240, 260, 300, 380, 456, 528, 600]
    assert 97 < costs[7].macs / costs[0].macs < 98  # all at 224 pixels it would be 13
