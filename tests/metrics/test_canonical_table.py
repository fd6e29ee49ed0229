"""CCA of all pairs of layers in memory: every entry is that of its pair, whichever way the sums are formed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale.metrics import canonical_table, cca_matrix, factors
from tests import oracles
from tests.metrics.samples import correlated
from tests.metrics.test_canonical_numerics import SETS

SUMMARIES = {"mean": np.mean, "r2": lambda rho: np.mean(rho**2)}


def layers():
    x, y = correlated(0, 60, 7, 5)
    wide = np.hstack([x, x[:, :2], y])  # rank-deficient
    return {"conv": x + 300, "relu": np.maximum(x, 0), "wide": wide}, {"head": y, "norm": y[:, :4] * x[:, :4]}


def expected(rows, columns, summary):
    function = SUMMARIES[summary]
    return [[function(oracles.canonical_correlations(x, y)) for y in columns.values()] for x in rows.values()]


@pytest.mark.parametrize("summary", SUMMARIES)
@pytest.mark.parametrize("projections", [False, True])
@pytest.mark.parametrize("at_once", [1, 1000, 1 << 25])
def test_every_entry_is_that_of_its_pair(monkeypatch, summary, projections, at_once):
    monkeypatch.setattr(canonical_table, "_by_projections_is_less", lambda *_: projections)
    monkeypatch.setattr(canonical_table, "_SLICE", at_once)
    monkeypatch.setattr(canonical_table, "_LEAST_ROWS", 1)
    rows, columns = layers()
    found = cca_matrix(rows, columns, summary=summary)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected(rows, columns, summary), rtol=0, atol=1e-11)
    own = cca_matrix(list(rows.values()), summary=summary)
    np.testing.assert_allclose(own, expected(rows, rows, summary), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(own, own.T)


@pytest.mark.parametrize("summary", SUMMARIES)
@pytest.mark.parametrize("projections", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_missing_nearly_missing_and_tied_directions(monkeypatch, name, projections, summary):
    monkeypatch.setattr(canonical_table, "_by_projections_is_less", lambda *_: projections)
    x, y = SETS[name]
    found = cca_matrix({"x": x}, {"y": y}, summary=summary)
    np.testing.assert_allclose(found, expected({"x": x}, {"y": y}, summary), rtol=0, atol=1e-9)


def test_the_way_of_fewer_operations_is_taken(monkeypatch):
    def fail(*_, **__):
        raise AssertionError

    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((40, 6)), {str(i): rng.standard_normal((40, 30))[:, :10] for i in range(9)}
    monkeypatch.setattr(canonical_table, "_projection_products", fail)
    cca_matrix([few], [few + 1], summary="r2")
    monkeypatch.undo()
    monkeypatch.setattr(canonical_table, "_correlation_sums", fail)
    cca_matrix({i: x[:15, :6] for i, x in many.items()} | {"few": few[:15]}, summary="r2")


@pytest.mark.filterwarnings("ignore:40 samples are too few")
@pytest.mark.parametrize("summary", SUMMARIES)
def test_sets_of_more_features_than_samples_go_without_their_moments(monkeypatch, summary):
    """Moments of a layer of 16 384 features would take 2 GiB, for 39 directions."""
    rng = np.random.default_rng(0)
    rows = {"wide": rng.standard_normal((40, 90)), "square": rng.standard_normal((40, 40)) @ rng.random((40, 40))}
    columns = {"narrow": rng.standard_normal((40, 5)) + rows["wide"][:, :5]}
    seen, original = [], factors.add_moments_

    def add(S, x, *others):
        seen.append(x.shape[1])
        return original(S, x, *others)

    monkeypatch.setattr(factors, "add_moments_", add)
    found = cca_matrix(rows, columns, summary=summary)
    np.testing.assert_allclose(found, expected(rows, columns, summary), rtol=0, atol=1e-11)
    assert seen == [5]
    flat = {"wide": rows["wide"], "flat": np.full((40, 50), 0.1)}
    with pytest.warns(UserWarning, match="^layer 'flat' is constant to rounding"):
        assert np.isnan(cca_matrix(flat, columns, summary=summary)).tolist() == [[False], [True]]


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_sets_keep_the_digits_that_float32_results_show(monkeypatch, dtype, long):
    """Where correlations are 1, as of a set with its own image, too."""
    monkeypatch.setattr(canonical_table, "_LONG", 0 if long else 1 << 30)
    x = torch.randn(1200, 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    noisy = (x + torch.randn(1200, 20, generator=torch.Generator().manual_seed(1))).to(dtype)
    rows = {"x": x, "half of x": x[:, :10].contiguous(), "noisy": noisy}
    found = cca_matrix(rows)
    assert found.dtype == torch.float32
    wide = {name: side.double().numpy() for name, side in rows.items()}
    np.testing.assert_allclose(found, expected(wide, wide, "mean"), rtol=0, atol=5e-7 if long else 6e-8)
    assert found.diagonal().tolist() == [1, 1, 1]


def test_results_come_in_kind_and_constant_layers_are_named():
    rows, columns = ({name: torch.from_numpy(x).float() for name, x in side.items()} for side in layers())
    rows["conv"].requires_grad_()
    rows["dead"] = torch.full((60, 3), 0.1)
    with pytest.warns(UserWarning, match="^layer 'dead' is constant to rounding") as caught:
        found = cca_matrix(rows, columns)
    assert caught[0].filename == __file__
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.isnan().any(dim=1).tolist() == [False, False, False, True]


def test_bad_arguments():
    x = np.random.default_rng(0).standard_normal((20, 4))
    bad = x.copy()
    bad[3, 1] = np.nan
    for arguments, message in (
        (([x], [bad]), "activations of layer '0' hold NaN"),
        (([x], [x[1:]]), "row i of all must be the same sample"),
        (([x[:1]],), "xs has 1 samples; CCA needs at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            cca_matrix(*arguments)
    with pytest.raises(ValueError, match="summary is 'sum'"):
        cca_matrix([x], summary="sum")
    with pytest.raises(ValueError, match="rtol is -1"):
        cca_matrix([x], rtol=-1)
    with pytest.warns(UserWarning, match=r"1 of 1 pairs .* '0' with '1': rank_x \+ rank_y = 4 \+ 4 > n - 1 = 5"):
        cca_matrix([x[:6], x[6:12]])
