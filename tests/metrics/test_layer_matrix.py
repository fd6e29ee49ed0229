"""The CKA matrix of lists of layers: every entry is the CKA of its pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyscale as ps
from tests.metrics.samples import correlated

KERNELS = ("linear", "rbf")


def layers(n, seed=0):
    x, y = correlated(seed, n, 6, 8)
    return [x, np.maximum(x, 0), y], [y + 100, x @ x.T @ y / n]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("n", [12, 50])
def test_every_entry_is_the_cka_of_its_pair(kernel, estimator, n):
    xs, ys = layers(n)
    options = {"kernel": kernel, "estimator": estimator, "bandwidth": 0.8}
    matrix = ps.cka_matrix(xs, ys, **options)
    assert isinstance(matrix, np.ndarray)
    expected = [[ps.cka(x, y, **options) for y in ys] for x in xs]
    np.testing.assert_allclose(matrix, expected, rtol=1e-10)
    itself = ps.cka_matrix(dict(zip("abc", xs, strict=True)), **options)
    np.testing.assert_allclose(itself, [[ps.cka(x, y, **options) for y in xs] for x in xs], rtol=1e-10)
    assert (itself == itself.T).all()
    assert (np.diag(itself) == 1).all()


@pytest.mark.parametrize("n", [12, 50])
def test_torch_in_torch_out_with_gradients(n):
    xs, ys = layers(n)
    tensors = [torch.from_numpy(x).requires_grad_() for x in xs]
    matrix = ps.cka_matrix(tensors, [torch.from_numpy(y) for y in ys])
    matrix.sum().backward()
    again = torch.from_numpy(xs[0]).requires_grad_()
    sum(ps.cka(again, torch.from_numpy(y)) for y in ys).backward()
    torch.testing.assert_close(tensors[0].grad, again.grad)
    assert ps.cka_matrix([t.detach().float() for t in tensors]).dtype == torch.float32


@pytest.mark.parametrize("n", [12, 50])
def test_constant_layers_are_named(n):
    xs, ys = layers(n)
    given = {"conv": xs[0], "dead": np.zeros((n, 4)), "relu": xs[1]}
    with pytest.warns(UserWarning, match="^layer 'dead' is constant to rounding") as caught:
        matrix = ps.cka_matrix(given)
    assert caught[0].filename == __file__
    assert np.isnan(matrix[1]).all()
    assert np.isnan(matrix[:, 1]).all()
    assert matrix[0, 2] == pytest.approx(ps.cka(xs[0], xs[1]), rel=1e-10)
    with pytest.warns(UserWarning, match="^layer '1' is constant to rounding"):
        assert np.isnan(ps.cka_matrix(xs, [ys[0], np.ones((n, 2))])).tolist() == [[False, True]] * 3


def test_one_hot_layers_are_named():
    xs, _ = layers(9)
    with pytest.warns(UserWarning, match="all samples of layer 'labels' are equally far"):
        matrix = ps.cka_matrix({"labels": np.eye(9), "conv": xs[0]})
    assert np.isnan(matrix).tolist() == [[True, True], [True, False]]


def test_bad_input():
    xs, ys = layers(12)
    with pytest.raises(ValueError, match="layer '0' has 12 samples and layer '1' has 11"):
        ps.cka_matrix([xs[0], xs[1][:11]])
    with pytest.raises(ValueError, match="layer '0' has 12 samples and layer 'late' has 11"):
        ps.cka_matrix([xs[0]], {"late": xs[1][:11]})
    with pytest.raises(ValueError, match="xs is empty"):
        ps.cka_matrix([])
    with pytest.raises(TypeError, match="xs is a ndarray; expected a dict or a list"):
        ps.cka_matrix(xs[0])
    with pytest.raises(TypeError, match=r"ys\['a'\] has dtype int64"):
        ps.cka_matrix(xs, {"a": np.ones((12, 2), dtype=np.int64)})
    with pytest.raises(ValueError, match="xs has 3 samples; the unbiased estimator needs at least 4"):
        ps.cka_matrix([xs[0][:3]])
    bad = ys[0].copy()
    bad[2, 2] = np.nan
    with pytest.raises(ValueError, match="values of layer 'bn' hold NaN"):
        ps.cka_matrix(xs, {"conv": ys[1], "bn": bad})
