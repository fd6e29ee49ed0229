"""Finding the corresponding layer: the counting against a plain loop, on representations whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pyscale as ps
from pyscale.studies.matching.counting import count_matches, match_layers
from pyscale.studies.matching.plain_network import PlainNetwork
from pyscale.studies.matching.tables import BANDWIDTHS, CANONICAL, METRICS, similarity_tables
from pyscale.train import digits
from tests import oracles
from tests.tolerances import RELATIVE

CLOSE = RELATIVE["float64"]


# ---- Counting ----


def counted_by_loops(tables):
    """Found by layer, and ties, from the definition: for every layer of every ordered pair, look at all the others."""
    networks, depth = len(tables), tables.shape[2]
    found, ties = [0] * depth, 0
    for a in range(networks):
        for b in range(networks):
            if a == b:
                continue
            for i in range(depth):
                scores = [tables[a, b, i, j] + tables[b, a, j, i] for j in range(depth)]
                rivals = [s for j, s in enumerate(scores) if j != i and not math.isnan(s)]
                if math.isnan(scores[i]):
                    continue
                if all(scores[i] > s for s in rivals):
                    found[i] += 1
                elif scores[i] == max(rivals):
                    ties += 1
    return tuple(found), ties


@settings(deadline=None)
@given(st.integers(2, 4), st.integers(2, 5), st.integers(0, 999), st.booleans())
def test_counts_are_those_of_a_plain_loop(networks, depth, seed, ties):
    """Whole numbers tie often, and their sums are exact."""
    rng = np.random.default_rng(seed)
    shape = (networks, networks, depth, depth)
    tables = rng.integers(-3, 4, shape).astype(float) if ties else rng.standard_normal(shape)
    tables[rng.random(shape) < 0.05] = np.nan
    matches = count_matches(tables)
    assert (matches.found, matches.tied) == counted_by_loops(tables)
    assert matches.trials == networks * (networks - 1) * depth
    assert matches.accuracy.value == sum(matches.found) / matches.trials


def test_what_single_networks_have_of_their_own_cancels_in_the_mean():
    rng = np.random.default_rng(0)
    tables = np.eye(3) + 0.8 * rng.standard_normal((8, 8, 3, 3))
    tables[:, :, 2] = np.nan
    matches = count_matches(tables)
    assert matches.accuracy.value < 0.6
    assert matches.on_average == (True, True, False)


def test_what_differs_by_rounding_alone_is_a_tie():
    tables = np.ones((2, 2, 3, 3)) - 1e-13 * np.random.default_rng(0).random((2, 2, 3, 3))
    matches = count_matches(tables)
    assert (matches.found, matches.tied) == ((0, 0, 0), 6)


def test_similarities_that_are_not_symmetric_are_added_to_the_transpose_of_the_pair_turned_round():
    """Layer 1 of network 0 is nearer to layer 0 of network 1 one way, not the other, nor by their sum."""
    there, back = np.array([[9.0, 0.0], [5.0, 4.0]]), np.array([[9.0, 0.0], [0.0, 4.0]])
    tables = np.zeros((2, 2, 2, 2))
    tables[0, 1], tables[1, 0] = there, back
    assert count_matches(tables).found == (2, 2)
    tables[1, 0] = there.T
    assert count_matches(tables).found == (2, 1)  # only network 1 finds its own in network 0


# ---- Similarities ----


def chain(rng, networks, n=60, depth=4, features=6, noise=0.02):
    """Networks whose layer i is one signal, drifting from layer to layer, seen under a rotation of each network's."""
    signals = [rng.standard_normal((n, features))]
    for _ in range(depth - 1):
        signals.append(0.6 * signals[-1] + 0.8 * rng.standard_normal((n, features)))
    return [
        [
            torch.from_numpy(
                signal @ np.linalg.qr(rng.standard_normal((features, features)))[0]
                + noise * rng.standard_normal((n, features))
            )
            for signal in signals
        ]
        for _ in range(networks)
    ]


ORACLES = {
    "cka": oracles.cka,
    "cka_biased": lambda x, y: oracles.cka(x, y, estimator="biased"),
    **{f"cka_rbf_{b:g}": lambda x, y, b=b: oracles.cka(x, y, "rbf", "biased", b) for b in BANDWIDTHS},
    "hsic": oracles.hsic,
    "cca": lambda x, y: oracles.canonical_correlations(x, y).mean(),
    "cca_r2": lambda x, y: (oracles.canonical_correlations(x, y) ** 2).mean(),
    "svcca": oracles.svcca,
    "svcca_r2": lambda x, y: (
        oracles.canonical_correlations(oracles.truncated(x, 0.99), oracles.truncated(y, 0.99)) ** 2
    ).mean(),
    "pwcca": oracles.pwcca,
    "procrustes": oracles.procrustes,
}


def test_every_entry_is_the_formula_on_its_pair():
    networks = chain(np.random.default_rng(1), 2, n=30, depth=3)
    networks[1][2] = networks[1][2][:, :4]  # a layer need not be as wide as the others
    tables, notes = similarity_tables(networks)
    assert tuple(tables) == METRICS == tuple(ORACLES)
    assert not notes
    for name, oracle in ORACLES.items():
        for a, b in ((0, 1), (1, 0)):
            expected = [[oracle(x.numpy(), y.numpy()) for y in networks[b]] for x in networks[a]]
            np.testing.assert_allclose(tables[name][a, b], expected, rtol=1e-9, atol=CLOSE, err_msg=name)
        assert np.isnan(tables[name][0, 0]).all() == (name in CANONICAL)


def test_layers_of_more_features_than_samples_beside_one_of_fewer():
    """Pairs of the former have correlations of 1 alone; with the latter there is something to weight."""
    rng = np.random.default_rng(5)
    networks = chain(rng, 2, n=12, depth=2, features=20)
    for network in networks:
        network.append(torch.from_numpy(rng.standard_normal((12, 4))))
    tables, _ = similarity_tables(networks)
    for name in CANONICAL:
        for a, b in ((0, 1), (1, 0)):
            expected = [[ORACLES[name](x.numpy(), y.numpy()) for y in networks[b]] for x in networks[a]]
            np.testing.assert_allclose(tables[name][a, b], expected, rtol=1e-9, atol=CLOSE, err_msg=name)


def test_the_measures_asked_for_alone_are_computed_and_are_the_same():
    networks = chain(np.random.default_rng(6), 2)
    whole, _ = similarity_tables(networks)
    for measures in (["hsic"], ["pwcca", "cka"], ["cka_rbf_0.4"]):
        tables, _ = similarity_tables(iter(networks), measures)
        assert set(tables) == set(measures)
        for name in measures:
            np.testing.assert_array_equal(tables[name], whole[name])


@pytest.mark.parametrize("measures", [[], ["cka", "ccc"]])
def test_measures_that_are_none(measures):
    with pytest.raises(ValueError, match="measures: expected some of"):
        similarity_tables(chain(np.random.default_rng(7), 2), measures)


@pytest.mark.cuda
def test_a_gpu_finds_what_the_cpu_finds():
    data, nets = digits().subset(20, test=40), networks(2)
    found = {}
    for device in ("cpu", "cuda"):
        for net in nets:
            net.to(device)
        found[device] = match_layers(nets, data, layers=nets[0].layers, features="pool")
    for name, matches in found["cpu"].matches.items():
        assert abs(sum(matches.found) - sum(found["cuda"].matches[name].found)) <= 1, name


def test_a_chain_of_rotated_signals_is_found_by_all_but_what_scale_decides():
    networks = chain(np.random.default_rng(2), 3)
    loud = [[x * (10 if i == 1 else 1) for i, x in enumerate(network)] for network in networks]
    tables, _ = similarity_tables(loud)
    for name, table in tables.items():
        found = count_matches(table).found
        assert found == ((0, 6, 0, 0) if name == "hsic" else (6, 6, 6, 6)), name


def test_fewer_samples_than_features_leave_cca_nothing_to_say_and_cka_all_of_it():
    networks = chain(np.random.default_rng(3), 2, n=20, features=40)
    tables, notes = similarity_tables(networks)
    for name in ("cca", "cca_r2", "pwcca"):
        matches = count_matches(tables[name])
        assert (sum(matches.found), matches.tied) == (0, matches.trials)
    assert count_matches(tables["cka"]).accuracy.value == 1
    assert ["20 samples are too few for CCA of 16 of 16 pairs" in note for note in notes] == [True]


def test_a_constant_layer_is_not_found_and_named():
    networks = chain(np.random.default_rng(4), 2)
    networks[1][2] = torch.full_like(networks[1][2], 0.3)
    tables, notes = similarity_tables(networks)
    for name, table in tables.items():
        if name != "hsic":
            assert count_matches(table).found == (2, 2, 0, 2), name
    assert any("layer 2 of network 1" in note for note in notes)


# ---- Networks ----


class Counted(PlainNetwork):
    """Counts its pictures."""

    pictures = 0

    def forward(self, x):
        self.pictures += len(x)
        return super().forward(x)


def networks(count, **options):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(Counted(width=2, in_channels=1, image_size=9, **options))
    return made


def test_networks_are_run_once_on_the_held_out_pictures_and_left_as_found():
    data, nets = digits().subset(20, test=30), networks(2)
    nets[0].train()
    result = match_layers(nets, data, layers=nets[0].layers)
    assert [net.pictures for net in nets] == [30, 30]
    assert nets[0].training
    assert result.layers == nets[0].layers
    assert (result.networks, result.samples, result.features, result.chance) == (2, 30, "flatten", 1 / 9)
    assert result.notes


@pytest.mark.parametrize("features", ["flatten", "pool"])
def test_the_search_is_that_of_the_comparison_of_the_networks(features):
    data, nets = digits().subset(20, test=40), networks(2)
    result = match_layers(nets, data, layers=nets[0].layers, features=features)
    loader = data.resized(9).loader("test", 40)
    options = {"layers": nets[0].layers, "features": features, "progress": False, "estimator": "biased"}
    one, other = (ps.compare(x, y, loader, **options).values for x, y in (nets, nets[::-1]))
    found = sum(int((values.argmax(axis=1) == np.arange(9)).sum()) for values in (one, other))
    assert sum(result.matches["cka_biased"].found) == found


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (1, {}, "networks: expected at least two, got 1"),
        (2, {"features": "positions"}, "features: expected .* got 'positions'"),
        (2, {"layers": "pool"}, r"layers: expected at least two to tell apart, got \['pool'\]"),
    ],
)
def test_what_cannot_be_searched(count, options, message):
    with pytest.raises(ValueError, match=message):
        match_layers(networks(count), digits().subset(20, test=20), **options)


def test_networks_of_two_kinds():
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ValueError, match=r"networks\[1\] has the layers \['1'\]; networks\[0\] has"):
        match_layers([*networks(1), other], digits().subset(20, test=20))


def test_the_plain_network_is_the_published_shape():
    net = PlainNetwork(width=16)
    convolutions = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in net.modules() if type(m) is nn.Conv2d]
    assert convolutions == [
        *((3, 16, 3), (16, 16, 3)),
        *((16, 32, 3), (32, 32, 3), (32, 32, 3)),
        *((32, 64, 3), (64, 64, 3), (64, 64, 1)),
    ]
    shapes = {}
    for name in net.layers:
        net.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: shapes.update({name: y.shape[1:]}))
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert [shape[-1] for shape in shapes.values()] == [32, 32, 16, 16, 16, 8, 6, 6, 1]


@pytest.mark.parametrize(("options", "message"), [({"width": 0}, "width must be"), ({"image_size": 8}, "image_size")])
def test_plain_networks_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        PlainNetwork(**options)
