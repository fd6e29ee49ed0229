"""What of a module's call becomes a row: structured outputs, repeated calls, wrapped and shared modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from tests import oracles
from tests.comparison.networks import INPLACE_ROWS, Fickle, InPlaceNet, Structured, mlp, pictures, vectors


def test_the_first_tensor_of_tuples_dicts_and_objects_is_the_activation():
    x, y = Structured(seed=1).double(), Structured(seed=2).double()
    batches = [torch.randn(12, 7, 4, dtype=torch.float64) for _ in range(2)]
    c = ps.compare(x, y, batches, progress=False)
    assert c.rows == ["a", "b", "c", "lstm", "turned"]

    def layers(model, batch):
        a = batch @ model.a.weight
        b = a @ model.b.weight
        hidden = b @ model.c.weight
        lstm = model.lstm(hidden)[0]
        turned = model.turned(lstm.transpose(0, 1))[0].transpose(0, 1)
        return [h.detach().flatten(1).numpy() for h in (a, b, hidden, lstm, turned)]

    expected = [
        [oracles.minibatch_cka([(layers(x, b)[i], layers(y, b)[j]) for b in batches]) for j in range(5)]
        for i in range(5)
    ]
    np.testing.assert_allclose(c.values, expected, atol=1e-10)


def test_transformer_layers_run_every_module_inside():
    """In inference nn.TransformerEncoderLayer would take a fused path that calls none of them."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    c = ps.compare(
        layer,
        layer,
        [torch.randn(10, 6, 8)],
        features="pool",
        progress=False,
    )
    assert c.rows == ["self_attn", "norm1", "linear1", "linear2", "norm2"]
    np.testing.assert_allclose(np.diag(c.values), 1)


def test_data_parallel_and_compiled_models_are_seen_through():
    plain, batches = InPlaceNet(), pictures(8, 8)
    expected = ps.compare(plain, plain, batches, progress=False)
    for wrapped in (nn.DataParallel(plain), torch.compile(plain, backend="eager")):
        c = ps.compare(plain, wrapped, batches, progress=False)
        assert c.columns == INPLACE_ROWS
        assert np.array_equal(c.values, expected.values)
        assert c.meta["model_y"] == "InPlaceNet"


def test_distributed_data_parallel_models_are_seen_through(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        plain = InPlaceNet()
        wrapped = nn.parallel.DistributedDataParallel(plain)
        c = ps.compare(plain, wrapped, pictures(8, 8), progress=False)
    finally:
        torch.distributed.destroy_process_group()
    assert c.columns == INPLACE_ROWS
    assert (np.diag(c.values) == 1).all()


def test_modules_compiled_inside_a_model_still_show_their_layers():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    model = nn.Sequential(inner, nn.Linear(6, 3))
    batches = vectors(8, 8)
    expected = ps.compare(model, model, batches, progress=False)
    compiled = nn.Sequential(torch.compile(inner, backend="eager"), model[1])
    compiled(batches[0])  # the compiled code is there before the hooks are
    c = ps.compare(compiled, model, batches, progress=False)
    assert c.rows == ["0.0", "0.1", "1"]
    np.testing.assert_allclose(c.values, expected.values, atol=1e-12)


def test_models_that_share_modules_do_not_fire_each_others_hooks():
    trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    x = nn.Sequential(trunk, nn.Linear(8, 3))
    y = nn.Sequential(trunk, nn.Linear(8, 5), nn.Tanh())
    c = ps.compare(x, y, vectors(8, 8), progress=False)
    assert c.rows == ["0.0", "0.1", "1"]
    assert c.columns == ["0.0", "0.1", "1", "2"]
    np.testing.assert_allclose([c.values[0, 0], c.values[1, 1]], 1)


def test_a_part_of_a_model_against_the_whole():
    whole = mlp(4, 8, 8, 3)
    part = whole[:3]
    c = ps.compare(whole, part, vectors(8, 8), progress=False)
    assert c.columns == c.rows[:3]
    np.testing.assert_allclose(np.diag(c.values), 1)


def test_a_layer_that_runs_in_some_batches_only_is_named():
    with pytest.raises(ValueError, match="'sometimes' of model_x ran before batch 1 but not in it"):
        ps.compare(Fickle(), Fickle(), vectors(16, 5), progress=False)
    with pytest.raises(ValueError, match="'sometimes' of model_x ran in batch 1 but not before it"):
        ps.compare(Fickle(), Fickle(), vectors(5, 16), progress=False)


def test_a_named_layer_that_never_ran_is_an_error_and_a_default_one_a_note():
    with pytest.raises(ValueError, match="layer 'never' of model_x never ran"):
        ps.compare(Fickle(), Fickle(), vectors(16), layers=["always", "never"], progress=False)
    with pytest.raises(ValueError, match="layer 'never' of model_y never ran"):
        ps.compare(Fickle(), Fickle(), vectors(16), layers="always", layers_y="never", progress=False)
    with pytest.raises(ValueError, match="layer 'relu#2' of model_x never ran"):
        ps.compare(InPlaceNet(), InPlaceNet(), pictures(8), layers="relu#2", progress=False)
    c = ps.compare(Fickle(), Fickle(), vectors(16), progress=False)
    assert c.rows == ["always", "sometimes"]
    assert c.meta["skipped_layers"]["model_x"] == {"never": "it never ran"}


class Odd(nn.Module):
    """Returns what can't be compared, beside something that can."""

    def __init__(self, output):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.softmax = nn.Softmax(-1)  # a stand-in whose output is replaced
        self.softmax.forward = lambda x: output
        self.output = output

    def forward(self, x):
        self.softmax(x)
        return self.fc(x)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("text", "holds no tensor"),
        (torch.zeros(16, 3, dtype=torch.int64), "dtype int64"),
        (torch.zeros(16, 3, dtype=torch.bool), "dtype bool"),
        (torch.zeros(3, 16), r"shape \(3, 16\), whose first dimension is not the batch of 16"),
        (torch.tensor(1.0), "whose first dimension is not the batch"),
        (torch.zeros(16, 0), "no features"),
        (torch.zeros(16, 3).to_sparse(), "sparse"),
    ],
)
def test_what_cannot_be_compared_is_an_error_when_named_and_a_note_otherwise(output, reason):
    model = Odd(output)
    with pytest.raises(ValueError, match=f"layer 'softmax' of model_x.*{reason}"):
        ps.compare(model, model, vectors(16), layers=["fc", "softmax"], progress=False)
    c = ps.compare(model, model, vectors(16), progress=False)
    assert c.rows == ["fc"]
    assert list(c.meta["skipped_layers"]["model_x"]) == ["softmax"]


def test_nothing_comparable_at_all_says_why():
    model = Odd(torch.zeros(3, 16))
    with pytest.raises(ValueError, match=r"no selected layer of model_x.*'softmax'.*first dimension"):
        ps.compare(model, model, vectors(16), layers=nn.Softmax, progress=False)
