"""Which layers are chosen, and what they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pyscale as ps
from pyscale.comparison.layers import select_layers
from tests.comparison.networks import InPlaceNet, mlp, vectors


def chosen(model, layers=None):
    return list(select_layers(model, layers).modules)


def foreign(name, **parameters):
    """An instance of a class of that name, as another library would define it."""
    module = type(name, (nn.Module,), {"forward": lambda self, x: x})()
    for key, value in parameters.items():
        setattr(module, key, value)
    return module


def test_by_default_every_leaf_that_computes():
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "norm": nn.BatchNorm2d(4),
            "act": nn.GELU(),
            "pool": nn.AvgPool2d(2),
            "drop": nn.Dropout(),
            "same": nn.Identity(),
            "flat": nn.Flatten(),
            "block": nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.LayerNorm(4), nn.Dropout())),
            "rnn": nn.GRU(4, 4),
            "attention": nn.MultiheadAttention(4, 1),
            "words": nn.Embedding(3, 4),
        }
    )
    leaves = ["conv", "norm", "act", "pool", "block.0", "block.1.0", "rnn", "attention", "words"]
    assert chosen(model) == leaves


def test_foreign_leaves_count_where_they_own_parameters_or_are_named_after_a_kind():
    model = nn.Sequential(
        foreign("Conv1D", weight=nn.Parameter(torch.ones(1))),
        foreign("NewGELUActivation"),
        foreign("LayerNorm2d"),
        foreign("StochasticDepth"),
        foreign("Permute"),
    )
    assert chosen(model) == ["0", "1", "2"]


def test_a_norm_that_holds_its_activation_is_represented_by_it():
    class NormAct(nn.BatchNorm2d):
        def __init__(self, act):
            super().__init__(4)
            self.act = act

    assert chosen(nn.Sequential(NormAct(nn.ReLU()), NormAct(nn.Identity()))) == ["0.act", "1"]


def test_parametrised_weights_stay_inside_their_layer():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    assert chosen(nn.Sequential(conv)) == ["0"]


def test_names_patterns_and_types():
    model = InPlaceNet()
    assert chosen(model, "conv") == ["conv"]
    assert chosen(model, ["fc", "bn"]) == ["bn", "fc"]
    assert chosen(model, "conv*") == ["conv", "conv2"]
    assert chosen(model, nn.Conv2d) == ["conv", "conv2"]
    assert chosen(model, [nn.Linear, "b?"]) == ["bn", "fc"]
    assert "" not in chosen(model, "*")


def test_a_generator_of_names_serves_both_models():
    c = ps.compare(mlp(4, 8, 3), mlp(4, 6, 3), vectors(8), layers=(n for n in ("0", "2")), progress=False)
    assert c.rows == c.columns == ["0", "2"]


def test_patterns_cross_dots():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    assert chosen(model, "0.*") == ["0.0", "0.1"]


def test_near_matches_are_listed():
    with pytest.raises(ValueError, match=r"layers asks for 'covn'.*near matches: 'conv'"):
        ps.compare(InPlaceNet(), InPlaceNet(), [], layers="covn")


def test_a_name_only_one_model_has_is_an_error_that_says_which_model():
    with pytest.raises(ValueError, match=r"'conv2'.*model_y.*layers_y"):
        ps.compare(InPlaceNet(), mlp(4, 4), [], layers="conv2")
    with pytest.raises(ValueError, match="layers_y asks for 'nowhere'"):
        ps.compare(InPlaceNet(), InPlaceNet(), [], layers="conv2", layers_y="nowhere")


def test_a_type_no_module_has_is_an_error():
    with pytest.raises(ValueError, match="asks for Conv3d"):
        select_layers(InPlaceNet(), nn.Conv3d)


@pytest.mark.parametrize("layers", [3, [3], [int]])
def test_anything_else_is_a_type_error(layers):
    with pytest.raises(TypeError):
        select_layers(InPlaceNet(), layers)


def test_nothing_asked_for_is_an_error():
    with pytest.raises(ValueError, match="layers is empty"):
        select_layers(InPlaceNet(), [])
    with pytest.raises(ValueError, match="name layers"):
        select_layers(nn.Sequential(nn.Identity()))


def test_wrappers_do_not_show_in_names():
    plain = InPlaceNet()
    wrapped = nn.DataParallel(InPlaceNet())
    assert chosen(wrapped) == chosen(plain)
    inner = InPlaceNet()
    inner.bn = nn.DataParallel(inner.bn)
    assert chosen(inner) == chosen(plain)


def test_containers_can_be_compared_and_rows_are_in_forward_order():
    """Containers finish after their children; a list in registration order would mislabel every row."""

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
            self.first = nn.Linear(4, 4)

        def forward(self, x):
            return self.second(self.first(x))

    c = ps.compare(Backwards(), Backwards(), vectors(8), layers="*", progress=False)
    assert c.rows == ["first", "second.0", "second.1", "second"]
    assert c.values[2, 2] == c.values[3, 3] == c.values[2, 3]


def test_a_row_names_given_back_chooses_the_same_call():
    c = ps.compare(InPlaceNet(), InPlaceNet(seed=1), [torch.randn(8, 3, 8, 8)], layers="relu#1", progress=False)
    assert c.rows == c.columns == ["relu#1"]
    everything = ps.compare(InPlaceNet(), InPlaceNet(seed=1), [torch.randn(8, 3, 8, 8)], progress=False)
    again = ps.compare(
        InPlaceNet(), InPlaceNet(seed=1), [torch.randn(8, 3, 8, 8)], layers=everything.rows, progress=False
    )
    assert again.rows == everything.rows


def test_a_module_under_two_names_bears_the_first():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model.append(model[0])
    c = ps.compare(model, model, vectors(8), layers=["2"], progress=False)
    assert c.rows == ["0", "0#1"]


def test_a_number_that_is_no_layer_is_no_call_of_the_whole_model():
    with pytest.raises(ValueError, match="layers asks for '9', but the model has no such layer"):
        select_layers(nn.Sequential(nn.Linear(4, 3)), "9")
