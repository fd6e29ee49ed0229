"""Where torch's dispatcher has something to do, the ops must not go past it."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pyscale import ops
from pyscale.ops.dispatch import passes_straight


class Watch(TorchDispatchMode):
    """Keeps the names of the ops that the dispatcher sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Wrapped(torch.Tensor):
    """A user's own kind of tensor."""


X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


def test_a_plain_tensor_goes_straight():
    assert passes_straight(X)
    assert passes_straight(X, X.double())
    with torch.inference_mode():
        assert passes_straight(X.clone())
    with torch.no_grad():
        assert passes_straight(X.clone().requires_grad_())


@pytest.mark.parametrize(
    "x",
    [X.clone().requires_grad_(), torch.nn.Parameter(X), X.as_subclass(Wrapped), X.to("meta"), torch._neg_view(X)],
    ids=["differentiated", "parameter", "subclass", "meta", "negated"],
)
def test_what_is_more_than_numbers_does_not(x):
    assert not passes_straight(x)
    assert not passes_straight(X, x)


@pytest.mark.parametrize(
    "context",
    [Watch, lambda: FlopCounterMode(display=False), torch.profiler.profile, lambda: torch.device("cpu")],
    ids=["mode", "counter", "profiler", "device"],
)
def test_nobody_who_watches_is_passed_by(context):
    with context():
        assert not passes_straight(X)
    assert passes_straight(X)


def test_a_dispatch_mode_sees_the_op():
    with Watch() as watch:
        ops.packed_gram(X)
        ops.centered_gram(X)
        ops.hsic_pairs(X, X)
    assert [name for name in watch.seen if name.startswith("pyscale")] == [
        "pyscale.packed_gram.default",
        "pyscale.gram.default",
        "pyscale.hsic_pairs.default",
    ]


def test_the_profiler_names_the_op():
    with torch.profiler.profile() as profile:
        ops.centered_gram(X)
    assert "pyscale::gram" in {event.key for event in profile.key_averages()}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_transform_is_applied():
    def gram(x):
        assert not passes_straight(x)
        return ops.centered_gram(x)

    several = torch.stack([X, X + 1, 2 * X])
    assert torch.equal(torch.vmap(gram)(several), torch.stack([ops.centered_gram(x) for x in several]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forward_mode_does_not():
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(X, torch.ones_like(X))
        assert not passes_straight(dual)


def test_traced_calls_are_in_the_trace():
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x: ops.centered_gram(x))(X)
    assert "torch.ops.pyscale.gram" in graph.code


def test_the_result_is_the_same_either_way():
    straight = ops.centered_gram(X)
    with Watch():
        dispatched = ops.centered_gram(X)
    assert torch.equal(straight, dispatched)
