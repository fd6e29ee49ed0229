"""Whatever a user passes: the right result, or a ValueError or TypeError that names the argument. Never a crash."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pyscale import ops
from tests.ops import oracle
from tests.tolerances import RELATIVE

FLOATS = ("float16", "float32", "float64", ">f4", "longdouble")
OTHERS = ("bool", "int8", "uint16", "int64", "complex64", "complex128", "O", "U3", "M8[s]", "f4,i4")
TORCH = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.complex64)
FITTING = {"float16", "float32", "float64", ">f4"}
LEAST = {"double": 2, "unbiased": 4, "none": 0}

sizes = st.one_of(st.integers(0, 5), st.integers(0, 40))
fuzzed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def numbers(draw, shape, spoiled):
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape)
    values = np.asarray(values + draw(st.sampled_from([0.0, 1.0, 30.0])))
    if spoiled and values.size:
        values.flat[draw(st.integers(0, values.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return values


@st.composite
def shapes(draw):
    dimensions = draw(st.sampled_from([2, 2, 2, 2, 2, 0, 1, 3]))
    return tuple(draw(st.lists(sizes, min_size=dimensions, max_size=dimensions)))


def misaligned(x):
    """The same array, one byte away from where its type may lie."""
    room = np.zeros(x.nbytes + 1, dtype=np.uint8)
    moved = np.ndarray(x.shape, x.dtype, room, offset=1)
    moved[...] = x
    return moved


LAYOUTS = (
    lambda x: x,
    lambda x: x[::-1],
    lambda x: x[..., ::-2] if x.ndim else x,
    lambda x: x[::3],
    lambda x: x.T,
    np.asfortranarray,
    lambda x: np.broadcast_to(x[:1], x.shape) if x.ndim else x,
    lambda x: np.broadcast_to(x[..., :1], x.shape) if x.ndim else x,
    # rows that overlap
    lambda x: np.lib.stride_tricks.sliding_window_view(x.ravel(), 3) if x.size > 3 else x,
    misaligned,
)


@st.composite
def arrays(draw, spoiled=True):
    """A NumPy array of any type, shape and layout, perhaps not to be written to."""
    name = draw(st.sampled_from(FLOATS * 3 + OTHERS))
    values = numbers(draw, draw(shapes()), spoiled and name in FLOATS and draw(st.integers(0, 5)) == 0)
    with np.errstate(over="ignore"):
        x = np.zeros(values.shape, name) if name in OTHERS else values.astype(name)
    if not (name == "O" and x.size):  # references must stay aligned
        x = draw(st.sampled_from(LAYOUTS if x.ndim and name != "O" else LAYOUTS[:1]))(x)
    if draw(st.booleans()):
        x = x.view()
        x.flags.writeable = False
    return name, x


@st.composite
def tensors(draw):
    """A torch tensor of any type, shape and layout."""
    dtype = draw(st.sampled_from(TORCH[:4] * 3 + TORCH))
    x = torch.from_numpy(np.array(numbers(draw, draw(shapes()), draw(st.integers(0, 5)) == 0))).to(dtype)
    if x.ndim == 2 and x.numel():
        x = draw(
            st.sampled_from(
                [
                    lambda t: t,
                    lambda t: t.T,
                    lambda t: t[:, ::2],
                    lambda t: t[:1].expand(7, -1),
                    lambda t: t[:, :1].expand(-1, 7),
                    lambda t: t.reshape(-1).unfold(0, min(3, t.numel()), 1),
                    lambda t: t.t().contiguous().t(),
                    lambda t: t.requires_grad_() if t.dtype.is_floating_point else t,
                ]
            )
        )(x)
    return x


def attempt(call, *arguments, **options):
    """Return the result and what was refused, one of them None."""
    try:
        return call(*arguments, **options), None
    except (TypeError, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"


def check(got, x, centering):
    """Compare with the oracle where everything is finite; what is not must show."""
    got, X = np.asarray(got, dtype=np.float64), np.asarray(x, dtype=np.float64)
    assert got.shape == (len(X), len(X))
    if not np.isfinite(X).all():
        assert not np.isfinite(got).all()
        return
    truth = oracle.gram(X, "linear", centering)
    scale = max(np.linalg.norm(truth), 1e-9 * np.linalg.norm(X) ** 2, 1e-300)
    assert np.linalg.norm(got - truth) <= RELATIVE["float32"] * scale


@given(array=arrays(), centering=st.sampled_from(list(LEAST)))
@fuzzed
def test_gram_of_any_array(array, centering):
    name, x = array
    got, refused = attempt(ops.centered_gram, x, centering=centering)
    if name not in FITTING:
        assert refused.startswith("TypeError: x has dtype")
    elif x.ndim != 2:
        assert refused.startswith("ValueError: x has shape")
    elif len(x) < LEAST[centering]:
        assert refused.startswith(f"ValueError: x has {len(x)} samples")
    else:
        assert refused is None
        assert isinstance(got, np.ndarray)
        check(got, x, centering)


@given(x=tensors(), centering=st.sampled_from(list(LEAST)))
@fuzzed
def test_gram_of_any_tensor(x, centering):
    before = x.detach().clone()
    got, refused = attempt(ops.centered_gram, x, centering=centering)
    if x.dtype not in TORCH[:4]:
        assert refused.startswith("TypeError: x has dtype")
    elif x.ndim != 2:
        assert refused.startswith("ValueError: x has shape")
    elif len(x) < LEAST[centering]:
        assert refused.startswith(f"ValueError: x has {len(x)} samples")
    else:
        assert refused is None
        assert got.requires_grad == x.requires_grad
        check(got.detach().numpy(), x.detach().double().numpy(), centering)
    assert torch.equal(x.detach().nan_to_num(), before.nan_to_num())


@given(x=tensors())
@fuzzed
def test_packed_gram_is_the_grams_triangle(x):
    packed, refused = attempt(ops.packed_gram, x)
    if x.dtype not in TORCH[:4] or x.ndim != 2 or len(x) < 4:
        assert re.match(r"(TypeError: x has dtype|ValueError: x has (shape|\d samples))", refused)
        return
    U = ops.centered_gram(x, centering="unbiased")
    i, j = torch.tril_indices(len(x), len(x), -1)
    np.testing.assert_array_equal(packed.values.detach(), U[i, j].detach())
    assert packed.constant.dtype == torch.bool


WRONG = {
    "kernel": ("cosine", None, 3, b"linear", np.array(["linear", "rbf"]), ["linear"]),
    "centering": ("single", None, 0, {}, float("nan")),
    "bandwidth": (0, -1.0, float("nan"), float("inf"), 10**400, "1", None, 1j, torch.tensor(1.0), [1.0]),
    "out_dtype": (torch.float16, torch.int32, "float32", np.float64, 7),
    "precision": ("high", None, 1, ("exact",)),
    "threads": (0, -3, 1 << 70, 2.0, "2", float("nan"), [1], torch.tensor(2.5)),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_an_option_of_the_wrong_kind_is_named(name, value):
    x = torch.randn(6, 3)
    if name == "out_dtype" and value is None:
        return
    with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
        ops.centered_gram(x, **{"kernel": "rbf", name: value})
    if name != "centering":
        with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
            ops.packed_gram(x, **{"kernel": "rbf", name: value})
        with pytest.raises((TypeError, ValueError), match=f"^{name} is "):
            ops.packed_grams([x, x], **{"kernel": "rbf", name: value})


@pytest.mark.parametrize("xs", [None, 3, {"a": 1}, iter([])], ids=str)
def test_packed_grams_need_a_sequence(xs):
    with pytest.raises(TypeError, match=r"^xs is a "):
        ops.packed_grams(xs)


@given(data=st.data())
@fuzzed
def test_hsic_pairs_of_anything(data):
    v, w = data.draw(tensors()), data.draw(tensors())
    if data.draw(st.booleans()) and v.ndim == 2 and w.ndim == 2:
        n = min(v.shape[1], w.shape[1])
        v, w = v[:, :n], w[:, :n]
    got, refused = attempt(ops.hsic_pairs, v, w)
    if any(t.dtype not in TORCH[:4] for t in (v, w)):
        assert re.match("TypeError: [vw] has dtype", refused)
        return
    if v.ndim != 2 or w.ndim != 2 or v.shape[1] != w.shape[1]:
        assert refused.startswith("ValueError: v has shape")
        return
    a, b, got = v.detach().double().numpy(), w.detach().double().numpy(), got.detach().numpy()
    finite = np.isfinite(a).all(axis=1)[:, None] & np.isfinite(b).all(axis=1)
    scale = max(np.linalg.norm(a[np.isfinite(a)]), 1) * max(np.linalg.norm(b[np.isfinite(b)]), 1)
    with np.errstate(invalid="ignore"):
        truth = a @ b.T
    assert np.abs(got[finite] - truth[finite]).max(initial=0) <= RELATIVE["float64"] * scale
    assert not np.isfinite(got[~finite]).any()


def sums(draw, shape, dtype):
    """Sums so far in any layout that can be written to, and their values."""
    p, q = shape
    room = torch.from_numpy(np.random.default_rng(draw(st.integers(0, 99))).normal(size=(2 * p + 1, 2 * q + 1))).to(
        dtype
    )
    view = draw(st.sampled_from(["plain", "inside", "strided", "transposed"]))
    if view == "plain":
        out = room[:p, :q].clone()
    elif view == "transposed":
        out = room[:p, :q].T.contiguous().T
    else:
        out = room[1 : p + 1, 1 : q + 1] if view == "inside" else room[1::2, 1::2]
    return room, out


@given(data=st.data())
@fuzzed
def test_moments_are_added_to_any_layout(data):
    n, p, q = data.draw(sizes), data.draw(sizes), data.draw(sizes)
    x = torch.from_numpy(numbers(data.draw, (n, p), False)).to(data.draw(st.sampled_from(TORCH[:4])))
    y = torch.from_numpy(numbers(data.draw, (q, n), False)).to(data.draw(st.sampled_from(TORCH[:4]))).T
    a, b = (torch.from_numpy(numbers(data.draw, (size,), False)) for size in (p, q))
    threads = data.draw(st.sampled_from([None, 1, 3]))
    room, out = sums(data.draw, (p, q), torch.float64)
    before, around = out.clone(), room.clone()
    assert ops.add_moments_(out, x, a, y, b, threads=threads) is out
    X, Y = x.double().numpy() - a.numpy(), y.double().numpy() - b.numpy()
    scale = max(np.linalg.norm(X) * np.linalg.norm(Y), np.linalg.norm(before), 1e-300)
    assert np.linalg.norm(out.numpy() - before.numpy() - X.T @ Y) <= RELATIVE["float64"] * scale
    if out.numel() and out.untyped_storage().data_ptr() == room.untyped_storage().data_ptr():
        out.copy_(before)
        assert torch.equal(room, around)  # nothing beside it was written


def moments_arguments(**changes):
    x, y = torch.randn(5, 2), torch.randn(5, 3)
    one = {"out": torch.zeros(2, 3, dtype=torch.float64), "x": x, "shift_x": torch.zeros(2, dtype=torch.float64)}
    return {**one, "y": y, "shift_y": torch.zeros(3, dtype=torch.float64), **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"out": torch.zeros(2, 2, dtype=torch.float64)}, ValueError, r"out has shape \(2, 2\); expected \(2, 3\)"),
        ({"out": torch.zeros(6, dtype=torch.float64)}, ValueError, r"out has shape \(6,\)"),
        ({"out": torch.zeros(1, 3, dtype=torch.float64).expand(2, 3)}, ValueError, "out is an expanded view"),
        ({"out": torch.zeros(2, 3)}, TypeError, "out is a tensor of torch.float32"),
        ({"out": np.zeros((2, 3))}, TypeError, "out is a ndarray"),
        ({"shift_x": torch.zeros(3, dtype=torch.float64)}, ValueError, r"shift_x has shape \(3,\); expected \(2,\)"),
        ({"shift_x": torch.zeros(2)}, TypeError, "shift_x is a tensor of torch.float32"),
        ({"shift_x": None}, TypeError, "shift_x is a NoneType"),
        ({"shift_y": None}, ValueError, "shift_y is None and y is given"),
        ({"y": None}, ValueError, "y is None and shift_y is given"),
        ({"y": torch.randn(4, 3)}, ValueError, "x has 5 samples and y has 4"),
        ({"x": torch.ones(5, 2, dtype=torch.int64)}, TypeError, "x has dtype int64"),
        ({"x": torch.ones(5)}, ValueError, r"x has shape \(5,\)"),
        ({"threads": 1.5}, TypeError, "threads is 1.5"),
    ],
)
def test_moments_refuse_what_does_not_fit(changes, error, message):
    arguments = moments_arguments(**changes)
    with pytest.raises(error, match=f"^{message}"):
        ops.add_moments_(**arguments)
    if isinstance(arguments["out"], torch.Tensor):
        assert not arguments["out"].any()


@given(data=st.data())
@fuzzed
def test_merged_moments_of_any_layout(data):
    p, q = data.draw(sizes), data.draw(sizes)
    room, S = sums(data.draw, (p, q), torch.float64)
    _, T = sums(data.draw, (p, q), torch.float64)
    dx, dy = (torch.from_numpy(numbers(data.draw, (2 * size,), False))[::2] for size in (p, q))
    before, around = S.clone(), room.clone()
    assert ops.merge_moments_(S, T, dx, dy, 2.5) is S
    np.testing.assert_allclose(S, before.numpy() + T.numpy() + 2.5 * np.outer(dx, dy), rtol=1e-12, atol=1e-9)
    assume(S.untyped_storage().data_ptr() == room.untyped_storage().data_ptr())
    S.copy_(before)
    assert torch.equal(room, around)


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, torch.zeros(2, 3), TypeError, "S is a tensor of torch.float32"),
        (0, [[0.0]], TypeError, "S is a list"),
        (0, torch.zeros(3, dtype=torch.float64), ValueError, r"S has shape \(3,\)"),
        (0, torch.zeros(1, 3, dtype=torch.float64).expand(2, 3), ValueError, "S is an expanded view"),
        (1, torch.zeros(3, 2, dtype=torch.float64), ValueError, r"T has shape \(3, 2\); expected \(2, 3\)"),
        (1, torch.zeros(1, 3, dtype=torch.float64), ValueError, r"T has shape \(1, 3\)"),
        (1, torch.zeros(2, 3), TypeError, "T is a tensor of torch.float32"),
        (2, torch.zeros(3, dtype=torch.float64), ValueError, r"dx has shape \(3,\); expected \(2,\)"),
        (3, torch.zeros(1, 3, dtype=torch.float64), ValueError, r"dy has shape \(1, 3\)"),
        (3, torch.zeros(3), TypeError, "dy is a tensor of torch.float32"),
        (4, "2", TypeError, "weight is '2'"),
    ],
)
def test_merging_refuses_what_does_not_fit(place, value, error, message):
    f64 = torch.float64
    arguments = [
        torch.ones(2, 3, dtype=f64),
        torch.ones(2, 3, dtype=f64),
        torch.ones(2, dtype=f64),
        torch.ones(3, dtype=f64),
        1.0,
    ]
    arguments[place] = value
    with pytest.raises(error, match=f"^{message}"):
        ops.merge_moments_(*arguments)


def test_tensors_over_misaligned_bytes():
    x = torch.randn(12, 5, dtype=torch.float64)
    odd = torch.frombuffer(bytearray(b"\0" + x.numpy().tobytes()), dtype=torch.float64, offset=1).view(12, 5)
    assert odd.data_ptr() % 8
    assert torch.equal(ops.centered_gram(odd), ops.centered_gram(x))


def test_lazily_negated_tensors():
    x = torch.randn(9, 4, dtype=torch.float64)
    negated = torch._neg_view(x)
    zero = torch.ones(4, dtype=torch.float64)
    out, expected = torch.zeros(4, 4, dtype=torch.float64), (-x - 1).T @ (-x - 1)
    np.testing.assert_allclose(ops.add_moments_(out, negated, zero, threads=1), expected, rtol=1e-12, atol=1e-12)
