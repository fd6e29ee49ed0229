"""What travels between processes: plain states, byte for byte, on the device that the backend takes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyscale.distributed.messages import CHUNK, described, flattened, message_device, planned, rebuilt

STATE = {
    "n": 3,
    "big": 2**62,
    "eps": 1.1920928955078125e-07,
    "none": None,
    "nan": math.nan,
    "flag": True,
    "names": ["a", "ü"],
    "pairs": [[0, [1, 2], {"S": torch.randn(2, 3, dtype=torch.float64)}]],
    "empty": torch.empty(0, 4),
    "scalar": torch.tensor(2.5),
    "bits": torch.tensor([True, False]),
    "half": torch.randn(5).bfloat16(),
    "turned": torch.arange(6).reshape(2, 3).T,
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_a_state_arrives_as_it_was():
    header, tensors = flattened(STATE)
    skeleton, empty = described(header)
    assert [(t.shape, t.dtype) for t in empty] == [(t.shape, t.dtype) for t in tensors]
    assert same(rebuilt(skeleton, tensors), STATE)


@pytest.mark.parametrize(("state", "match"), [({1: 2}, "keys are \\[1\\]"), ({"a": object()}, "holds a object")])
def test_what_is_not_plain_is_refused(state, match):
    with pytest.raises(TypeError, match=match):
        flattened(state)


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 20))
def test_chunks_hold_every_byte_once_and_are_full_but_for_the_last(sizes, chunk):
    plan = planned(sizes, chunk)
    found = [(piece.tensor, byte) for pieces in plan for piece in pieces for byte in range(piece.start, piece.stop)]
    assert found == [(number, byte) for number, size in enumerate(sizes) for byte in range(size)]
    lengths = [sum(piece.stop - piece.start for piece in pieces) for pieces in plan]
    assert all(length == chunk for length in lengths[:-1])
    assert all(0 < length <= chunk for length in lengths)


def test_large_states_take_no_second_copy():
    assert CHUNK <= 2**25


@pytest.mark.parametrize(
    ("backends", "device"),
    [("cpu:gloo,cuda:nccl", "cpu"), ("cpu:gloo,cuda:gloo", "cpu"), ("cuda:nccl", "cuda:3"), ("xpu:xccl", "xpu:3")],
)
def test_messages_are_where_the_backend_takes_them(backends, device, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 3)  # NCCL takes no tensors of the CPU
    assert message_device(backends) == torch.device(device)


@pytest.mark.cuda
def test_a_group_of_nccl_takes_what_a_channel_would_send(tmp_path):
    import torch.distributed as dist

    from pyscale.distributed import gathered
    from pyscale.distributed.messages import Channel
    from pyscale.metrics import StreamingCKA, sync

    torch.cuda.set_device(0)
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        device = message_device(dist.get_backend_config())
        assert device == torch.device("cuda", 0)
        data = torch.arange(8, dtype=torch.uint8).to(device)
        dist.broadcast(data, 0)
        assert data.tolist() == list(range(8))
        assert Channel(None).sent == 0
        with gathered() as crew:
            assert crew.alone
        metric = StreamingCKA().update(torch.randn(8, 3, device=device), torch.randn(8, 2, device=device))
        assert sync(metric).device == device
    finally:
        dist.destroy_process_group()
