"""Files load bit for bit, whatever the tensors; an independent reader of the format agrees."""

from __future__ import annotations

import json
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pyscale.compress import CorruptFileError, load, prune, save, share_weights
from pyscale.compress.relative_index import gaps_between, places_of, split_gaps
from tests.compress import oracle
from tests.compress.networks import convolutional, perceptron

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def bits(tensor):
    return b"".join(element.view(1).view(torch.uint8).numpy().tobytes() for element in tensor.detach().flatten())


def same(a, b):
    return (a.dtype, a.shape, bits(a)) == (b.dtype, b.shape, bits(b))


def round_trip(state, folder, **options):
    path = folder / "m.psz"
    report = save(state, path, **options)
    read = load(path)
    assert read.report == report
    assert report.bytes_file == path.stat().st_size
    assert list(read.state_dict) == list(state)
    assert all(same(read.state_dict[key], value) for key, value in state.items())
    assert oracle.raw_bytes(path.read_bytes()) == {key: bits(value) for key, value in state.items()}
    return report


@st.composite
def tensors(draw):
    """Few or many values, few or many zeros, negative zeros, infinities and NaN among them."""
    dtype = draw(st.sampled_from(FLOATS + INTEGERS))
    shape = draw(st.lists(st.integers(0, 7), max_size=4)) if draw(st.booleans()) else [draw(st.integers(0, 3000))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(st.sampled_from([1, 2, 3, 255, 256, 257, 10**6]))
    pool = rng.normal(size=kinds) * 100
    if draw(st.booleans()):
        pool[: min(kinds, 4)] = [-0.0, np.inf, np.nan, -np.inf][: min(kinds, 4)]
    values = pool[rng.integers(0, kinds, size=shape)]
    values = np.where(rng.random(shape) < draw(st.sampled_from([0.0, 0.5, 0.95, 0.999, 1.0])), 0.0, values)
    tensor = torch.from_numpy(np.asarray(values))
    return (tensor if dtype in FLOATS else torch.nan_to_num(tensor, 0, 1, 1)).to(dtype)


@given(st.lists(tensors(), min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_state_dict_loads_bit_for_bit(tmp_path_factory, drawn, huffman):
    state = {f"layer.{i}": tensor for i, tensor in enumerate(drawn)}
    round_trip(state, tmp_path_factory.mktemp("files"), huffman=huffman)


@given(st.sets(st.integers(0, 2000)), st.integers(0, 700), st.integers(1, 8))
@settings(deadline=None)
def test_gaps_with_fillers_lead_back_to_every_place(chosen, behind, width):
    places = np.array(sorted(chosen), dtype=np.int64)
    length = (int(places[-1]) + 1 if len(places) else 0) + behind
    entries, fillers = split_gaps(gaps_between(places, length), width)
    assert (entries < 2**width).all()
    assert np.array_equal(places_of(entries, width, length)[~fillers], places)
    assert length <= (len(entries) + 1) * 2**width


def test_the_paper_s_example_of_a_filler():
    """Figure 2: places 1, 4 and 15 in spans of at most 8 need one filler, at 12."""
    entries, fillers = split_gaps(gaps_between(np.array([1, 4, 15]), 16), bits=3)
    assert places_of(entries, 3, 16).tolist() == [1, 4, 12, 15]
    assert fillers.tolist() == [False, False, True, False]


def test_models_of_every_stage(tmp_path):
    model = convolutional(width=500)
    pruned = prune(model, 0.9)
    shared = share_weights(pruned, 4)
    sizes = [round_trip(net.state_dict(), tmp_path).bytes_file for net in (model, pruned, shared)]
    assert sizes[0] > sizes[1] > sizes[2]
    forms = {row.name: row.form for row in load(tmp_path / "m.psz").report.tensors}
    assert forms["6.weight"] in ("shared", "sparse shared")
    assert forms["1.running_mean"] == "plain"


def test_views_and_gradients_are_saved_as_their_values(tmp_path):
    state = {
        "t": torch.arange(12.0).reshape(3, 4).T,
        "p": nn.Parameter(torch.ones(3)),
        "e": torch.zeros(2).expand(5, 2),
        "one": torch.tensor(2.5).expand(1),
        "none": torch.empty(3, 0, 2),
    }
    save(state, tmp_path / "m.psz")
    read = load(tmp_path / "m.psz").state_dict
    assert all(torch.equal(read[key], value) for key, value in state.items())


def test_what_is_read_can_be_written_to(tmp_path):
    save({"w": torch.zeros(100), "v": torch.randn(4)}, tmp_path / "m.psz")
    for tensor in load(tmp_path / "m.psz").state_dict.values():
        tensor += 1


def test_configurations(tmp_path):
    path, model = tmp_path / "m.psz", perceptron()
    config = {"name": "ü", "widths": [1, 2.5, None], "deep": {"a": True}}
    save(model, path, config=config)
    assert load(path).config == config
    save(model, path)
    assert load(path).config is None
    model.recipe = SimpleNamespace(to_dict=lambda: {"name": "perceptron"})
    save(model, path)
    assert load(path).config == {"name": "perceptron"}
    for wrong in ({1: {2}}, object(), float("nan")):
        with pytest.raises((TypeError, ValueError), match="config must be plain JSON values"):
            save(model, path, config=wrong)


def test_into_a_model(tmp_path):
    save(perceptron(seed=1), tmp_path / "m.psz")
    model = perceptron(seed=2)
    read = load(tmp_path / "m.psz", into=model)
    assert all(torch.equal(value, read.state_dict[key]) for key, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"state_dict: missing: .*; not in the model: 0\.bias"):
        load(tmp_path / "m.psz", into=convolutional())


def test_the_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "m.psz"
    save(perceptron(), path)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        save(perceptron(seed=3), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.psz"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "model must be a torch.nn.Module or a state dict, got int"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "model: 'w' must be a dense tensor of float32.*complex64"),
        ({"w": torch.eye(3).to_sparse()}, "model: 'w' must be a dense tensor of .*sparse_coo"),
        ({"w": [1, 2]}, "model: 'w' must be a dense tensor of .*got list"),
    ],
)
def test_what_can_t_be_saved_is_explained(model, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        save(model, tmp_path / "m.psz")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: no such file"):
        load(tmp_path / "m.psz")


def test_the_same_model_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.psz", "b.psz")]
    for path in paths:
        save(share_weights(prune(perceptron(), 0.7), 4), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_huffman_codes_come_near_the_entropy(tmp_path):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(16) * 0.3)
    codes = rng.choice(16, size=40_000, p=shares)
    report = save({"w": torch.from_numpy(1.5 + codes).float()}, tmp_path / "m.psz")
    found = np.bincount(codes)[np.bincount(codes) > 0] / len(codes)
    entropy = -(found * np.log2(found)).sum()
    assert entropy <= report.tensors[0].weight_bits_stored < entropy + 0.1 + 1e-9 * math.pi
    assert report.tensors[0].weight_bits == 4


def test_errors_are_value_errors():
    assert issubclass(CorruptFileError, ValueError)
    assert json.dumps(str(CorruptFileError("x"))) == '"x"'


def test_paths_and_models_that_are_none_are_named(tmp_path):
    state = {"weight": torch.zeros(3)}
    for wrong in (5, ""):
        with pytest.raises(TypeError, match=f"path must be that of a file, got {wrong!r}"):
            save(state, wrong)
        with pytest.raises(TypeError, match=f"path must be that of a file, got {wrong!r}"):
            load(wrong)
    with pytest.raises(FileNotFoundError, match=r"path: no such folder: '.*nowhere'"):
        save(state, tmp_path / "nowhere" / "m.psz")
    save(state, tmp_path / "m.psz")
    with pytest.raises(TypeError, match=r"into must be a torch.nn.Module, got dict"):
        load(tmp_path / "m.psz", into=state)


def test_what_a_file_holds_is_said_in_a_line(tmp_path):
    report = save(convolutional(), tmp_path / "m.psz", config={"width": 3})
    text = repr(load(tmp_path / "m.psz"))
    assert text == f"Compressed({len(report.tensors)} tensors, {report.bytes_file} bytes, config={{'width': 3}})"
