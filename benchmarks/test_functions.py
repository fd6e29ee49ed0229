"""CKA, HSIC and CCA of two arrays beside the packages that offer them, and beside the textbook in NumPy.

Everyone is given the same float32 arrays and timed with whatever it does to them. Everyone's error stands in its row:
the difference from float64 of the same definition. A rival that is wrong is timed all the same.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import pyscale as ps
from benchmarks import textbook
from benchmarks.rivals import module
from benchmarks.sizes import choose

SIZES = choose([(256, 50_176, 25_088), (1000, 2048, 512), (4000, 512, 256)], [(20, 30, 10)])
MEANS = choose([(1000, 2048, 512, mean) for mean in (10, 100)], [(20, 30, 10, 10)])
LINEAR = [(*size, 0) for size in SIZES] + MEANS
PAIRS = choose([(2000, 64, 32), (5000, 512, 256)], [(60, 8, 5)])
RIDGE = 0.1
MOST = {"cka": 1e-4, "hsic": 1e-4, "cca": 1e-6}  # ours, at the largest mean; relative for HSIC


def activations(n, p, q, mean=0):
    """Return two layers' float32 activations that have something in common, moved by ``mean`` standard deviations."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 16), dtype=np.float32)
    sides = [
        np.maximum(shared @ rng.standard_normal((16, k), dtype=np.float32) / 4 + rng.standard_normal((n, k), "f"), 0)
        for k in (p, q)
    ]
    return [x + np.float32(mean) * x.std() for x in sides]


def wide(*arrays):
    return [textbook.centred(x.astype(np.float64)) for x in arrays]


def quietly(call):
    """Return the call without its warnings: what a rival says of itself or its dependencies is not measured."""

    def silent():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()

    return silent


def of(name, call):
    """Return a call of a rival's module; None where the rival is not installed."""
    package = module(name)
    return None if package is None else quietly(lambda: call(package))


def checked(kind, contenders, truths):
    """Return everyone's error against the truth of its own definition, ours held to a bound."""
    errors = {}
    for name, call in contenders.items():
        if call is not None:
            truth = truths.get(name, truths["pyscale"])
            errors[name] = abs(float(call()) - truth) / (abs(truth) if kind == "hsic" else 1)
    assert errors["pyscale"] < MOST[kind]
    return errors


def race(beside, kind, case, contenders, truths):
    errors = checked(kind, contenders, truths)
    rivals = {name: call for name, call in contenders.items() if name != "pyscale"}
    beside("functions", case, contenders["pyscale"], rivals, errors=errors)


def columns(op, n, p, q, mean=0):
    return {"op": op, "n": n, "p": p, "q": q, "mean": f"{mean}σ"}


@pytest.mark.parametrize(("n", "p", "q", "mean"), LINEAR)
def test_unbiased_cka(beside, n, p, q, mean):
    x, y = activations(n, p, q, mean)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    contenders = {
        "pyscale": lambda: ps.cka(x, y),
        "pytorch-cka cka_from_features": of("pytorch-cka", lambda cka: cka.cka_from_features(a, b)),
        "ckatorch cka_base": of("ckatorch", lambda cka: cka.cka_base(a, b, unbiased=True)),
        "numpy textbook": quietly(lambda: textbook.cka(x, y)),
    }
    race(beside, "cka", columns("CKA", n, p, q, mean), contenders, {"pyscale": textbook.cka(*wide(x, y))})


@pytest.mark.parametrize(("n", "p", "q"), SIZES)
def test_biased_cka(beside, n, p, q):
    x, y = activations(n, p, q)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    narrow = textbook.cka_of_features if n > p else lambda x, y: textbook.cka(x, y, estimator="biased")
    contenders = {
        "pyscale": lambda: ps.cka(x, y, estimator="biased"),
        "ckatorch cka_base": of("ckatorch", lambda cka: cka.cka_base(a, b)),
        "numpy textbook": lambda: narrow(x, y),
    }
    race(beside, "cka", columns("biased CKA", n, p, q), contenders, {"pyscale": narrow(*wide(x, y))})


@pytest.mark.parametrize(("n", "p", "q"), choose(SIZES[:2], SIZES))
def test_rbf_cka(beside, n, p, q):
    """ckatorch takes the median over all distances, the n zero ones included: it is held to that definition."""
    x, y = activations(n, p, q)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    options = {"kernel": "rbf", "estimator": "biased"}
    contenders = {
        "pyscale": lambda: ps.cka(x, y, **options),
        "ckatorch cka_base": of("ckatorch", lambda cka: cka.cka_base(a, b, kernel="rbf")),
        "numpy textbook": lambda: textbook.cka(x, y, **options),
    }
    truths = {
        "pyscale": textbook.cka(*wide(x, y), **options),
        "ckatorch cka_base": textbook.cka(*wide(x, y), **options, diagonal=True),
    }
    race(beside, "cka", columns("RBF CKA", n, p, q), contenders, truths)


@pytest.mark.parametrize(("n", "p", "q"), choose(SIZES[1:2], SIZES))
def test_hsic(beside, n, p, q):
    x, y = activations(n, p, q)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    contenders = {
        "pyscale": lambda: ps.hsic(x, y),
        "pytorch-cka hsic": of("pytorch-cka", lambda cka: cka.hsic((a @ a.T)[None], (b @ b.T)[None])[0]),
        "ckatorch hsic1": of("ckatorch", lambda cka: cka.hsic1((a @ a.T)[None], (b @ b.T)[None])),
        "numpy textbook": lambda: textbook.hsic(x @ x.T, y @ y.T),
    }
    x_, y_ = wide(x, y)
    race(beside, "hsic", columns("HSIC", n, p, q), contenders, {"pyscale": textbook.hsic(x_ @ x_.T, y_ @ y_.T)})


@pytest.mark.parametrize(("n", "p", "q"), PAIRS)
def test_mean_cca(beside, n, p, q):
    """The mean of all canonical correlations, of float64 arrays: what everyone computes in."""
    x, y = (a.astype(np.float64) for a in activations(n, p, q))
    k = min(p, q)
    contenders = {
        "pyscale": lambda: ps.cca(x, y).mean,
        "cca-zoo CCA": of("cca-zoo", lambda zoo: zoo.CCA(n_components=k).fit([x, y]).score([x, y])),
        "scikit-learn CCA": of("scikit-learn", lambda sk: mean_correlation(sk.CCA(k).fit_transform(x, y))),
        "numpy textbook": lambda: textbook.canonical_correlations(x, y).mean(),
    }
    if p > 100:
        del contenders["scikit-learn CCA"]  # minutes
    truth = np.linalg.svd(basis(x).T @ basis(y), compute_uv=False).mean()
    race(beside, "cca", columns("mean CCA", n, p, q), contenders, {"pyscale": truth})


@pytest.mark.parametrize(("n", "p", "q"), PAIRS)
def test_ridge_cca(beside, n, p, q):
    """cca-zoo blends (1 - c) S + c I: of sets scaled to mean variance 1 that is ours with ridge = c / (1 - c)."""
    x, y = (textbook.centred(a.astype(np.float64)) for a in activations(n, p, q))
    x, y = (a * np.sqrt((n - 1) * a.shape[1]) / np.linalg.norm(a) for a in (x, y))
    k, c = min(p, q), RIDGE / (1 + RIDGE)
    cross = x.T @ y / (n - 1)

    def theirs(zoo):
        wx, wy = zoo.RidgeCCA(n_components=k, shrinkage=c).fit([x, y]).weights_
        return np.einsum("ik,ij,jk->k", wx, cross, wy, optimize=True).mean() * (1 - c)

    contenders = {
        "pyscale": lambda: ps.cca(x, y, ridge=RIDGE).mean,
        "cca-zoo RidgeCCA": of("cca-zoo", theirs),
        "numpy textbook": lambda: textbook.canonical_correlations(x, y, RIDGE).mean(),
    }
    truth = textbook.canonical_correlations(x, y, RIDGE).mean()
    race(beside, "cca", columns(f"ridge CCA, {RIDGE}", n, p, q), contenders, {"pyscale": truth})


def basis(x):
    return np.linalg.qr(textbook.centred(x))[0]


def mean_correlation(variates):
    a, b = (textbook.centred(v) / np.linalg.norm(textbook.centred(v), axis=0) for v in variates)
    return (a * b).sum(axis=0).mean()
