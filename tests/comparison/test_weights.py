"""Weights against weights: which rows are paired, what is refused, and that values are the formulas' on those rows."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pyscale as ps
from tests import oracles
from tests.comparison.networks import InPlaceNet
from tests.tolerances import RELATIVE

CLOSE = RELATIVE["float32"]


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make()


def conv_pair(*shape, **options):
    return tuple(seeded(lambda: nn.Conv2d(*shape, **options), seed) for seed in (1, 2))


def by_loops(module, rows):
    """The matrix, filled element by element from the docstring's definition."""
    weight = module.weight.detach().numpy()
    out, inputs, kh, kw = weight.shape
    if rows == "outputs":
        return np.array(
            [[weight[o, c, i, j] for c in range(inputs) for i in range(kh) for j in range(kw)] for o in range(out)]
        )
    return np.array([weight[:, c, i, j] for c in range(inputs) for i in range(kh) for j in range(kw)])


METRICS = {
    "cka": oracles.cka,
    "cca": lambda x, y: oracles.canonical_correlations(x, y).mean(),
    "cca_r2": lambda x, y: (oracles.canonical_correlations(x, y) ** 2).mean(),
    "svcca": oracles.svcca,
    "pwcca": lambda x, y: oracles.pwcca(x, y, "x"),
    "procrustes": oracles.procrustes,
}


@pytest.mark.parametrize("rows", ["inputs", "outputs"])
@pytest.mark.parametrize("metric", METRICS)
def test_values_are_the_formulas_on_the_documented_rows(metric, rows):
    x, y = conv_pair(8, 5, 3) if rows == "inputs" else conv_pair(1, 40, 3)
    expected = METRICS[metric](by_loops(x, rows), by_loops(y, rows))
    value = ps.compare_weights(x, y, rows=rows, metric=metric).values
    np.testing.assert_allclose(value, [[expected]], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("options", [{"estimator": "biased"}, {"kernel": "rbf", "bandwidth": 0.7}])
def test_estimators_and_kernels(options):
    x, y = conv_pair(8, 5, 3)
    value = ps.compare_weights(x, y, **options).values
    np.testing.assert_allclose(
        value, [[oracles.cka(by_loops(x, "inputs"), by_loops(y, "inputs"), **options)]], rtol=CLOSE
    )


def test_a_linear_layer_is_a_convolution_of_one_position():
    linear, conv = nn.Linear(12, 7), nn.Conv2d(12, 7, 1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None, None])
    assert ps.compare_weights(linear, conv).values == pytest.approx(1, abs=CLOSE)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_transposed_convolution_has_the_rows_of_the_convolution_it_undoes(groups):
    """The same linear map from input channels to output channels, in torch's other layout."""
    conv = nn.Conv2d(6, 9, 3, groups=groups)
    back = nn.ConvTranspose2d(6, 9, 3, groups=groups)
    with torch.no_grad():
        for o in range(9):
            g = o // (9 // groups)
            for c in range(6 // groups):
                back.weight[g * (6 // groups) + c, o % (9 // groups)] = conv.weight[o, c]
    for rows in ("inputs", "outputs"):
        assert ps.compare_weights(conv, back, rows=rows).values == pytest.approx(1, abs=CLOSE)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (nn.Conv2d(64, 8, 3), nn.Conv2d(576, 8, 1), r"\(8, 64, 3, 3\), 576 rows.*\(8, 576, 1, 1\), 576 rows"),
        (nn.Conv2d(6, 8, 3), nn.Conv2d(6, 8, (1, 9)), "3 x 3 kernel positions.*1 x 9 kernel positions"),
        (nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=2), "4 input channels x.*4 input channels in each of 2 groups"),
        (nn.Linear(5, 4), nn.Linear(6, 4), r"'' of model_x with weight \(4, 5\).*'' of model_y with weight \(4, 6\)"),
    ],
)
def test_rows_that_stand_for_different_things_are_refused_even_where_their_numbers_agree(x, y, message):
    with pytest.raises(ValueError, match=message):
        ps.compare_weights(x, y)


def test_depthwise_kernels_of_any_width_are_paired_position_by_position():
    x, y = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(16, 16, 3, groups=16)
    assert np.isfinite(ps.compare_weights(x, y).values).all()


def two_layer(width=8, seed=0):
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 6, 3)), seed)


def test_a_whole_model_gives_what_can_be_compared_and_one_warning_for_the_rest():
    with pytest.warns(UserWarning, match=r"2 of 4 pairs .* layer '0' of model_x with weight \(8, 3, 3, 3\)") as caught:
        c = ps.compare_weights(two_layer(seed=1), two_layer(seed=2))
    assert len(caught) == 1
    assert c.rows == c.columns == ["0", "2"]
    assert np.isfinite(c.values).tolist() == [[True, False], [False, True]]
    for array in (c.chance, c.zscores):
        assert np.isfinite(array).tolist() == [[True, False], [False, True]]


def test_layers_the_user_named_must_fit():
    x, y = two_layer(8), two_layer(16)
    with pytest.raises(
        ValueError, match=r"layer '2' of model_x with weight \(6, 8, 3, 3\).*'2' of model_y with weight \(6, 16"
    ):
        ps.compare_weights(x, y, layers="2")
    with pytest.raises(ValueError, match="unequal='nan'"):
        ps.compare_weights(x, x, layers=["0", "2"])
    with pytest.warns(UserWarning, match="2 of 4 pairs"):
        c = ps.compare_weights(x, x, layers=["0", "2"], unequal="nan")
    np.testing.assert_allclose(c.values.diagonal(), 1)
    with pytest.raises(ValueError, match="never padded"):
        ps.compare_weights(x, x, unequal="error")


@pytest.mark.parametrize("unequal", [None, "nan", "error"])
def test_nothing_in_common_is_an_error_however_it_was_asked_for(unequal):
    with pytest.raises(ValueError, match="rows are never padded"):
        ps.compare_weights(nn.Linear(5, 4), nn.Linear(6, 4), unequal=unequal)


def test_patterns_and_types_pass_over_what_has_no_weight():
    model = InPlaceNet()
    with pytest.warns(UserWarning, match="pairs of layers"):
        assert ps.compare_weights(model, model, layers="*").rows == ["conv", "conv2", "fc"]
    assert ps.compare_weights(model, model, layers=nn.Linear).rows == ["fc"]
    assert ps.compare_weights(model, model, layers=(name for name in ["conv"])).rows == ["conv"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("bn", "layers asks for 'bn' of model_x, a BatchNorm2d"),
        ("b*", "layers chooses no convolution or linear layer of model_x"),
        ("conv#1", "asks for 'conv#1', a single call"),
        ("covn", "no such layer; near matches: 'conv'.*model_x"),
    ],
)
def test_layers_without_weights(layers, message):
    with pytest.raises(ValueError, match=message):
        ps.compare_weights(InPlaceNet(), InPlaceNet(), layers=layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "filters"}, "rows is 'filters'"),
        ({"metric": "rsa"}, "metric is 'rsa'"),
        ({"metric": "cca", "kernel": "rbf"}, "has no kernel"),
        ({"metric": "cca", "estimator": "biased"}, "has no estimators"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"unequal": "pad"}, "unequal is 'pad'"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        ps.compare_weights(InPlaceNet(), InPlaceNet(), layers="conv", **options)


def test_what_is_no_model_or_has_no_numbers():
    with pytest.raises(TypeError, match="model_y is a dict"):
        ps.compare_weights(nn.Linear(4, 4), {})
    with pytest.raises(ValueError, match="model_x has no convolution or linear layer"):
        ps.compare_weights(nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match="meta device"):
        ps.compare_weights(nn.Linear(4, 4, device="meta"), nn.Linear(4, 4))
    with pytest.raises(ValueError, match="model_x has the uninitialised lazy parameter"):
        ps.compare_weights(nn.LazyLinear(4), nn.Linear(4, 4))
    broken = nn.Linear(4, 4)
    with torch.no_grad():
        broken.weight[1, 2] = math.nan
    with pytest.raises(ValueError, match="weights of layer '' of model_y hold NaN"):
        ps.compare_weights(nn.Linear(4, 4), broken)


def test_constant_and_short_layers_are_named_and_nan():
    flat = nn.Linear(8, 4)
    nn.init.constant_(flat.weight, 0.5)
    with pytest.warns(UserWarning, match="layer '' of model_y is constant"):
        assert np.isnan(ps.compare_weights(nn.Linear(8, 4), flat).values).all()
    with pytest.warns(UserWarning, match="layer '' of model_x, layer '' of model_y: fewer than the 4 rows"):
        assert np.isnan(ps.compare_weights(nn.Linear(3, 4), nn.Linear(3, 4)).values).all()


def test_few_rows_for_cca_are_said_once():
    """Weights have often as many columns as rows: then every correlation is 1 whatever they are."""
    x, y = (seeded(lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), seed) for seed in (1, 2))
    with pytest.warns(UserWarning, match="correlations of 1 whatever the data") as caught:
        values = ps.compare_weights(x, y, metric="cca").values
    assert len(caught) == 1
    np.testing.assert_allclose(values, 1)
    with pytest.warns(UserWarning, match="the first of 4 such warnings") as caught:
        ps.compare_weights(x, y, metric="svcca")
    assert len(caught) == 1


def test_chance_and_zscores_are_where_they_exist():
    x, y = conv_pair(8, 5, 3)
    X, Y = by_loops(x, "inputs"), by_loops(y, "inputs")
    n = len(X)
    for estimator, chance in (("unbiased", 0.0), ("biased", oracles.permutation_mean_cka(X, Y))):
        c = ps.compare_weights(x, y, estimator=estimator)
        np.testing.assert_allclose(c.chance, [[chance]], rtol=CLOSE)
        np.testing.assert_allclose(c.zscores, [[oracles.cka(X, Y) * math.sqrt(n * (n - 3) / 2)]], rtol=CLOSE)
        assert np.isnan(c.stderr).all()
    r2 = ps.compare_weights(x, y, metric="cca_r2")
    np.testing.assert_allclose(r2.chance, [[5 / (n - 1)]])
    assert np.isnan(r2.zscores).all()
    for options in ({"metric": "procrustes"}, {"kernel": "rbf", "estimator": "biased"}):
        assert np.isnan(ps.compare_weights(x, y, **options).chance).all()


@pytest.mark.parametrize("options", [{"estimator": "biased"}, {"metric": "cca_r2"}, {"metric": "cca"}, {}], ids=str)
def test_chance_levels_of_whole_models_are_those_of_every_pair(options):
    """Layers of one width, some of more columns than rows, and one that fits nothing."""
    x, y = (
        seeded(lambda: nn.Sequential(nn.Conv2d(3, 12, 3), nn.Conv2d(12, 12, 1), nn.Linear(4, 12), nn.Linear(4, 9)), k)
        for k in (1, 2)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows and of pairs that do not fit: tested above
        c = ps.compare_weights(x, y, rows="outputs", **options)
    for i, row in enumerate(c.rows):
        for j, column in enumerate(c.columns):
            one, other = (m.get_submodule(name).weight.detach().flatten(1) for m, name in ((x, row), (y, column)))
            expected = float(ps.chance(one, other, **options)) if len(one) == len(other) else math.nan
            assert c.chance[i, j] == pytest.approx(expected, rel=CLOSE, nan_ok=True)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.integers(1, 4), st.sampled_from([1, 3]), st.integers(0, 99))
def test_what_a_network_became_is_compared_with_it_filter_by_filter(inputs, outputs, kernel, seed):
    """CKA does not see scale, nor a new order of the columns; it does see a new order of the rows."""
    conv = seeded(lambda: nn.Conv2d(4 * inputs, 4 * outputs, kernel), seed)
    order = torch.randperm(4 * outputs, generator=torch.Generator().manual_seed(seed))
    other = copy.deepcopy(conv)
    with torch.no_grad():
        other.weight.copy_(-3 * conv.weight[order])
    same = ps.compare_weights(conv, other, rows="inputs").values.item()
    moved = ps.compare_weights(conv, other, rows="outputs", estimator="biased").values.item()
    assert same == pytest.approx(1, abs=CLOSE)
    W = conv.weight.detach().flatten(1).numpy()
    assert moved == pytest.approx(oracles.cka(W, W[order.numpy()], estimator="biased"), abs=CLOSE)


def test_models_are_left_alone_and_types_may_differ():
    x, y = two_layer(seed=1), two_layer(seed=1).half().eval()
    before = {name: tensor.clone() for name, tensor in x.state_dict().items()}
    c = ps.compare_weights(x, y, layers="2")
    assert c.values.item() == pytest.approx(1, abs=1e-3)
    assert all(torch.equal(before[name], tensor) for name, tensor in x.state_dict().items())
    assert x.training
    assert not y.training


def test_the_result_is_a_comparison_that_says_what_it_compared(tmp_path):
    x, y = conv_pair(8, 5, 3)
    c = ps.compare_weights(nn.DataParallel(x), y, estimator="biased")
    assert repr(c).startswith("Comparison(biased linear CKA, Conv2d 1 x 1 Conv2d")
    assert repr(c).endswith("weights, rows are inputs)")
    c.save(tmp_path / "weights.npz")
    assert ps.Comparison.load(tmp_path / "weights.npz") == c
    c.to_html(tmp_path / "weights.html")
    assert "weights, rows are inputs; chance 0." in (tmp_path / "weights.html").read_text()
