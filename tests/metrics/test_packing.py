"""Packed Grams that can be trusted, decided on layer by layer or for many at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyscale.metrics.kernel_sums import noise_floor
from pyscale.metrics.packing import Attempts, attempt, attempt_exactly, pack, pack_layers
from tests import oracles
from tests.metrics.samples import correlated

LINEAR = {"kernel": "linear", "bandwidth": 1.0}
N = 12


def truth(x, kernel="linear"):
    U = oracles.u_centred(oracles.kernel_matrix(np.asarray(x, dtype=np.float64), kernel))
    return U[np.tril_indices(len(U), k=-1)]


def alone(sample):
    """All samples are equal but the given one, so U(K) is 0 and what is computed is rounding."""
    x = torch.full((N, 5), 0.3)
    x[sample] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    return x


def varied():
    return torch.from_numpy(correlated(0, N, 5, 4)[0]).float()


LAYERS = {
    "varied": (varied(), True),
    "constant": (torch.full((N, 5), 0.1), True),
    "large": (varied() * 1e25, False),
    "faint": (varied() * 1e-25, False),
    "alone": (alone(4), False),
    "one-hot": (0.3 * torch.eye(N), False),
    "NaN": (varied().index_fill(0, torch.tensor(3), torch.nan), False),
    "infinity": (varied().index_fill(0, torch.tensor(3), torch.inf), False),
}
FIT = [name for name in LAYERS if name not in ("NaN", "infinity")]


def test_what_the_default_products_do_not_hold_is_not_trusted():
    attempts = Attempts.stacked(attempt(x, **LINEAR) for x, _ in LAYERS.values())
    assert dict(zip(LAYERS, attempts.trusted().tolist(), strict=True)) == {
        name: fine for name, (_, fine) in LAYERS.items()
    }
    for i, (x, fine) in enumerate(LAYERS.values()):
        assert bool(attempt(x, **LINEAR).trusted()) == fine == bool(attempts.trusted()[i])


@pytest.mark.parametrize("name", FIT)
def test_exact_attempts_are_the_definition_or_zero(name):
    x, _ = LAYERS[name]
    found = attempt_exactly(x, **LINEAR)
    assert found.trusted()
    assert found.values.dtype == torch.float64
    if name in ("alone", "one-hot"):
        assert (found.values == 0).all()
        assert not found.constant
    elif name == "constant":
        assert found.constant
    else:
        expected = truth(x)
        np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["NaN", "infinity"])
def test_what_is_not_finite_is_never_trusted(name):
    assert not attempt_exactly(LAYERS[name][0], **LINEAR).trusted()


def test_many_layers_are_packed_as_each_of_them():
    layers = [LAYERS[name][0] for name in FIT]
    rows = pack_layers(layers, FIT, **LINEAR)
    for i, x in enumerate(layers):
        one = pack(x, "values", **LINEAR)
        assert torch.equal(rows.values[i], one.values.to(rows.values.dtype))
        assert rows.constant[i] == one.constant
    sound = pack_layers([varied(), 2 * varied()], ["a", "b"], **LINEAR)
    assert sound.values.dtype == torch.float32


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_types_of_layers_may_differ(kernel):
    x, y = correlated(1, N, 6, 3)
    rows = pack_layers([torch.from_numpy(x), torch.from_numpy(y).float()], ["x", "y"], kernel=kernel, bandwidth=1.0)
    np.testing.assert_allclose(rows.values[0], truth(x, kernel), rtol=1e-9, atol=1e-12)
    expected = truth(y.astype(np.float32), kernel)
    np.testing.assert_allclose(rows.values[1], expected, atol=1e-5 * np.abs(expected).max())


LOOKS = {getattr(torch.ops.aten, name).default for name in ("_local_scalar_dense", "item", "is_nonzero", "nonzero")}


class Looks(TorchDispatchMode):
    """Counts how often a tensor's value is asked for, which on a GPU waits for all that was queued."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in LOOKS
        return func(*args, **(kwargs or {}))


def test_an_attempt_takes_no_look():
    with Looks() as looks:
        attempts = Attempts.stacked(attempt(x, **LINEAR) for x, _ in LAYERS.values())
        attempts.trusted()
        attempt_exactly(varied(), **LINEAR)
        assert looks.count == 0
        assert not attempts.trusted().all()
    assert looks.count == 1


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (LAYERS["NaN"][0], "^values of x hold NaN$"),
        (LAYERS["infinity"][0], "^values of x hold infinity$"),
        (varied().double() * 1e80, "^values of x are too large: their fourth powers leave float64's range"),
        (varied().double() * 1e200, "^values of x are too large"),
    ],
)
def test_what_cannot_be_packed_is_named(x, message):
    with pytest.raises(ValueError, match=message):
        pack(x, "values of x", **LINEAR)
    with pytest.raises(ValueError, match=message):
        pack_layers([varied().double(), x.double()], ["values of a", "values of x"], **LINEAR)


def test_a_median_of_zero_leaves_no_kernel():
    x = torch.zeros(N, 2)
    x[0] = 1
    with pytest.raises(ValueError, match="values of x have no finite rbf kernel: more than half of the pairs"):
        pack(x, "values of x", kernel="rbf", bandwidth=1.0)


def test_errors_tell_what_the_values_were_made_of():
    source = torch.full((N, 5, 3), 7.0, dtype=torch.float16)
    source[2, 1, 1] = torch.inf
    with pytest.raises(ValueError, match="hold infinity: float16 overflows beyond 65504"):
        pack(source.float().mean(2), "values of x", **LINEAR, source=source)


@pytest.mark.parametrize("p", [1, 3, 64, 65, 100, 4000])
def test_the_floor_of_noise_is_in_proportion_to_the_largest_distance(p):
    x = torch.randn(40, p, generator=torch.Generator().manual_seed(p))
    x[7] *= 30
    largest = (x - x[0]).double().square().sum(dim=1).max()
    floor = noise_floor(x, "linear", "default") / (64 * torch.finfo(torch.float32).eps)
    share = float(floor / largest)
    assert share == pytest.approx(1, rel=1e-5 if p <= 64 else 0.6), "of all features, or of enough of them"
