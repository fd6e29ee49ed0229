"""The CUDA entries of the library, on a GPU; small cases also in the emulator, so that the tests themselves are tested.

Those named ``small`` run under compute-sanitizer too. Outputs have room around them that must stay as it was, and
workspaces begin as NaN: what a kernel reads, a kernel must have written.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from pyscale import _native
from pyscale.ops.native import matrix
from tests.ops import oracle
from tests.tolerances import RELATIVE

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SMALL = [(4, 1), (5, 33), (64, 64), (65, 130), (130, 1025), (200, 72), (257, 40)]
LARGE = [(64, 300_000), (128, 65_536), (200, 100_003), (256, 65_536), (513, 30_001), (1024, 20_000), (2050, 3_000)]
FAST = 1e-2  # one product of numbers rounded to 8 bits
UNTOUCHED = 7.0
MARGIN = 32  # float64 behind a workspace

EMULATED = pytest.mark.skipif(find_spec("pyscale._emulated") is None, reason="built without the emulator")
on_gpu = pytest.mark.cuda
anywhere = pytest.mark.parametrize(
    "device", [pytest.param("cuda", marks=on_gpu), pytest.param("cpu", marks=EMULATED, id="emulated")]
)


def library(device):
    if device == "cuda":
        return _native, torch.cuda.current_stream().cuda_stream
    from pyscale import _emulated

    _emulated.configure(capability=90, multiprocessors=4, seed=3, truncate=True)
    return _emulated, 0


def nan(device, *shape):
    return torch.full(shape, torch.nan, dtype=torch.float64, device=device)


def room_for(rows, columns, device, dtype=torch.float64):
    """An output with three columns to spare beside it, and what it is in."""
    room = torch.full((rows, columns + 3), UNTOUCHED, dtype=dtype, device=device)
    return room[:, :columns], room


def grams(xs, kernel="linear", centering="double", packed=False, precision="default", out_dtype=torch.float64):
    """The Grams of several sets, and which are constant; nothing around the outputs was written."""
    device, n = xs[0].device, len(xs[0])
    code, stream = library(device.type)
    outputs = [room_for(*((1, n * (n - 1) // 2) if packed else (n, n)), device, out_dtype) for _ in xs]
    constant = torch.ones(len(xs) + 1, dtype=torch.uint8, device=device) * 2
    options = (getattr(code.Kernel, kernel), getattr(code.Centering, centering), packed)
    X, accuracy = [matrix(x) for x in xs], getattr(code.Precision, precision)
    size = code.cuda_grams_workspace(X, *options, accuracy, 0)
    workspace = nan(device, size // 8 + MARGIN)  # sizes are multiples of 256 bytes
    outs = [matrix(out) for out, _ in outputs]
    code.cuda_grams(outs, X, constant.data_ptr(), *options, 0.7, accuracy, workspace.data_ptr(), size, 0, stream, 0)
    assert all((room[:, out.shape[1] :] == UNTOUCHED).all() for out, room in outputs)
    assert constant[-1] == 2
    assert workspace[-MARGIN:].isnan().all()
    return [out.cpu().numpy() for out, _ in outputs], constant[:-1].tolist()


def samples(n, p, dtype, device, mean=1.0, spare=0):
    values = torch.randn((n, p + spare), generator=torch.Generator().manual_seed(n + p), dtype=torch.float64) + mean
    return values.to(dtype).to(device)[:, :p]


def truth(x, centering="double"):
    return oracle.gram(x.double().cpu().numpy(), "linear", centering)


def constant_to_rounding(x):
    """Whether every feature stays within 4 eps of its mean, relative to its largest: bfloat16 does at 1000 sigma."""
    strays, largest = (x.double() - x.double().mean(dim=0)).abs().amax(dim=0), x.double().abs().amax(dim=0)
    return bool((strays <= 4 * torch.finfo(x.dtype).eps * largest).all())


def error(K, expected):
    return np.linalg.norm(K - expected) / max(np.linalg.norm(expected), 1e-300)


def tolerance(dtype, precision):
    if precision == "exact" or dtype == torch.float64:
        return RELATIVE["float64"]
    return FAST if precision == "fast" else RELATIVE[str(dtype).removeprefix("torch.")]


@anywhere
@pytest.mark.parametrize("precision", ["default", "exact", "fast"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_small_grams(dtype, precision, device):
    for n, p in SMALL[: None if device == "cuda" else 4]:
        for spare in (0, 3):
            x = samples(n, p, dtype, device, spare=spare)
            (K,), (constant,) = grams([x], precision=precision)
            assert error(K, truth(x)) <= tolerance(dtype, precision), (n, p, spare)
            assert np.array_equal(K, K.T)
            assert constant == 0


@anywhere
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_small_packed_groups(dtype, device):
    """More sets than a launch takes, of many widths, aligned and not, one of them constant."""
    xs = [samples(9, 8 * i, dtype, device, spare=i % 2) for i in range(40)]
    xs[3] = torch.full_like(xs[3], 0.3)
    packed, constant = grams(xs, centering="unbiased", packed=True)
    for i, (v, x) in enumerate(zip(packed, xs, strict=True)):
        if constant[i]:
            assert i in (0, 3)
        else:
            assert error(v[0], oracle.packed(truth(x, "unbiased"))) <= tolerance(dtype, "default")


@anywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_small_rbf(dtype, device):
    for n, p in ((5, 33), (65, 130)):
        x = samples(n, p, dtype, device)
        (K,), _ = grams([x], kernel="rbf")
        assert error(K, oracle.gram(x.double().cpu().numpy(), "rbf", "double", 0.7)) <= RELATIVE["float32"]


@anywhere
def test_small_sums_of_products(device):
    code, stream = library(device)
    v, w = samples(5, 700, torch.float32, device, mean=0), samples(70, 700, torch.float32, device, mean=0)
    for a, b in ((v, w), (w, w)):
        H, room = room_for(len(a), len(b), device)
        workspace = nan(device, 1, code.cuda_hsic_workspace(len(a), len(b), 700, 0))
        code.cuda_hsic_pairs(matrix(H), matrix(a), matrix(b), matrix(workspace), 0, stream)
        assert error(H.cpu().numpy(), (a.double() @ b.double().T).cpu().numpy()) <= 1e-14
        assert (room[:, len(b) :] == UNTOUCHED).all()


@anywhere
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_small_moments_are_added(dtype, device):
    code, stream = library(device)
    x, y = samples(37, 70, dtype, device, mean=30), samples(37, 90, dtype, device, spare=1)
    a, b = (z.double().mean(dim=0, keepdim=True) for z in (x, y))
    centred = [(z.double() - m).cpu().numpy() for z, m in ((x, a), (y, b))]
    S, room = room_for(70, 70, device)
    workspace = nan(device, 1, code.cuda_moments_workspace(70, 70, 37, 0))
    code.cuda_self_moments(matrix(S), matrix(x), matrix(a), matrix(workspace), 0, stream)
    assert error(S.cpu().numpy(), UNTOUCHED + centred[0].T @ centred[0]) <= 1e-13
    assert (room[:, 70:] == UNTOUCHED).all()
    S, room = room_for(70, 90, device)
    workspace = nan(device, 1, code.cuda_moments_workspace(70, 90, 37, 0))
    code.cuda_cross_moments(matrix(S), matrix(x), matrix(a), matrix(y), matrix(b), matrix(workspace), 0, stream)
    assert error(S.cpu().numpy(), UNTOUCHED + centred[0].T @ centred[1]) <= 1e-13
    assert (room[:, 90:] == UNTOUCHED).all()


@on_gpu
@pytest.mark.parametrize("precision", ["default", "exact"])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_large_grams(shape, dtype, mean, precision):
    """Chains of products far longer than an accumulator may gather, tiles and shares of every kind."""
    generator = torch.Generator("cuda").manual_seed(0)
    x = (torch.randn(shape, generator=generator, device="cuda", dtype=torch.float64) + mean).to(dtype)
    centred = x.double() - x.double().mean(dim=0)
    expected = (centred @ centred.T).cpu().numpy()
    (K,), (constant,) = grams([x], precision=precision)
    assert error(K, expected) <= tolerance(dtype, precision)
    assert np.array_equal(K, K.T)
    assert constant == constant_to_rounding(x)
    assert np.array_equal(K, grams([x], precision=precision)[0][0])


@on_gpu
def test_large_sums_of_products():
    code, stream = library("cuda")
    v = torch.randn(120, 130_816, device="cuda")
    H = torch.empty(120, 120, dtype=torch.float64, device="cuda")
    workspace = nan("cuda", 1, code.cuda_hsic_workspace(120, 120, v.shape[1], 0))
    code.cuda_hsic_pairs(matrix(H), matrix(v), matrix(v), matrix(workspace), 0, stream)
    assert error(H.cpu().numpy(), (v.double() @ v.double().T).cpu().numpy()) <= 1e-13
    assert torch.equal(H, H.T)


@on_gpu
def test_an_unknown_device_is_an_error():
    x = matrix(torch.ones(4, 4, device="cuda"))
    with pytest.raises(RuntimeError, match=r"CUDA: .*cudaErrorInvalidDevice"):
        _native.cuda_grams_workspace(
            [x], _native.Kernel.linear, _native.Centering.none, False, _native.Precision.exact, 99
        )


@anywhere
def test_a_short_workspace_is_refused(device):
    code, stream = library(device)
    x, G = samples(4, 4, torch.float32, device), torch.zeros(4, 4, device=device)
    options, accuracy = (code.Kernel.linear, code.Centering.double, False), code.Precision.exact
    with pytest.raises(RuntimeError, match="workspace has 5 bytes, expected"):
        code.cuda_grams([matrix(G)], [matrix(x)], 0, *options, 1.0, accuracy, G.data_ptr(), 5, 0, stream, 0)
