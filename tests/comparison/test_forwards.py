"""`forward=` of a store: another function is told from the one that made it, whatever both are called."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from pyscale.comparison.extraction.forwards import describe_forward, forward_difference

SCALE = 1.0


def scaled(model, batch):
    return model(SCALE * batch)


def inner(model, batch):
    return model(batch)


def outer(model, batch):
    return inner(model, batch)


def two_edits(body):
    """Functions of one name from one place."""
    found = []
    for text in body:
        names = {"torch": torch}
        exec(text, names)
        found.append(names["call"])
    return found


def around(value):
    def call(model, batch):
        return model(batch), value

    return call


class Calling:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, model, batch):
        return self.run(model, batch)

    def run(self, model, batch):
        return model(batch * self.scale)


class Slotted(Calling):
    __slots__ = ("power",)

    def __init__(self, power):
        super().__init__(1.0)
        self.power = power


class Unreadable:
    def __array__(self, *args, **kwargs):
        raise KeyError("nothing")


@dataclass
class Config:
    size: int


def differ(one, other):
    return forward_difference(describe_forward(one), describe_forward(other))


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        (lambda model, batch: model(batch), lambda model, batch: model(2 * batch), "its code"),
        (lambda model, batch: model(batch), lambda model, batch: model.eval(batch), "its code"),
        (
            *two_edits(
                [
                    "def call(m, b):\n    return [x + 1 for x in b]",
                    "def call(m, b):\n    return [x + 2 for x in b]",
                ]
            ),
            "its code",
        ),
        (*two_edits(["def call(m, b, k=1): return m(b * k)", "def call(m, b, k=2): return m(b * k)"]), "its defaults"),
        (*two_edits(["K = 1\ndef call(m, b): return m(b * K)", "K = 2\ndef call(m, b): return m(b * K)"]), "K"),
        (
            *two_edits(
                [
                    "def g(b): return b\ndef f(b): return g(b)\ndef call(m, b): return m(f(b))",
                    "def g(b): return -b\ndef f(b): return g(b)\ndef call(m, b): return m(f(b))",
                ]
            ),
            "g",
        ),
        (around(1), around(2), "value"),
        (around(1), around(True), "value"),
        (around({"a": [1]}), around({"a": [2]}), "value"),
        (around(torch.zeros(2)), around(torch.ones(2)), "value"),
        (around(np.zeros(2)), around(np.ones(2)), "value"),
        (around(nn.Linear(2, 2)), around(nn.Linear(2, 2)), "value"),
        (around(inner), around(outer), "value"),
        (around(around(1)), around(around(2)), "value"),
        (around(Config(1)), around(Config(2)), "value"),
        (around({1, 2}), around({1, 3}), "value"),
        (around(torch.float16), around(torch.bfloat16), "value"),
        (partial(inner, k=1), partial(inner, k=2), "its arguments"),
        (Calling(1.0), Calling(2.0), r"\.scale"),
        (Calling(1.0).run, Calling(2.0).run, r"\.scale"),
        (lru_cache(inner), lru_cache(outer), "its code"),
        (torch.no_grad()(around(1)), torch.no_grad()(around(2)), "value"),
        (len, sum, "its code"),
        (Slotted(1), Slotted(2), r"\.power"),
        (around(Calling(1.0).run), around(torch.no_grad()(inner)), "value"),
        (around(partial(inner, 1)), around(partial(inner, 2)), "value"),
        (around([1].index), around([2].index), "value"),
        (around(torch.eye(3).to_sparse()), around(2 * torch.eye(3).to_sparse()), "value"),
        (around(torch.tensor([1j]).conj()), around(torch.tensor([2j]).conj()), "value"),
    ],
)
def test_what_computes_something_else_differs(one, other, where):
    import re

    assert differ(one, one) is None
    assert re.search(rf"which differ in .*{where}", differ(one, other))


def test_what_computes_the_same_does_not_differ():
    same = "def call(m, b):\n    'One.'\n    return m({text})"
    one, other = two_edits([same.format(text="b"), "\n\n" + same.format(text="b").replace("One", "Two")])
    assert differ(one, other) is None
    assert differ(around(frozenset("abc")), around(frozenset("cba"))) is None
    before = describe_forward(outer)
    for _ in range(2000):  # code that runs often is specialised
        outer(abs, -1)
    assert forward_difference(before, describe_forward(outer)) is None
    assert differ(None, None) is None
    assert differ(None, inner) == "None there, inner asked for"


@pytest.mark.parametrize(
    "value",
    [torch.zeros(3, device="meta"), nn.LazyLinear(3), Unreadable(), object()],
    ids=lambda value: type(value).__name__,
)
def test_what_can_not_be_looked_into_is_known_by_its_type(value):
    described = describe_forward(around([value]))
    assert described["opaque"] == [f"value (a {type(value).__name__})"]
    assert differ(around([value]), around([value])) is None
    assert "value" in differ(around([value]), around([3]))


def test_nests_are_looked_into_to_a_depth():
    nest = [1]
    for _ in range(5000):
        nest = [nest]
    assert describe_forward(around(nest))["opaque"] == ["value (a list)"]


def test_values_that_hold_themselves_end():
    loop = [1]
    loop.append(loop)
    assert differ(around(loop), around(loop)) is None

    def again(model, batch):
        return again if batch is None else model(batch)

    assert differ(again, again) is None


def test_another_run_of_python_describes_it_the_same():
    """Sets of strings lie in another order in each run, and objects at other places."""
    code = (
        "import json, torch\nfrom pyscale.comparison.extraction.forwards import describe_forward\n"
        "NAMES = {'a', 'b', 'c', 'd'}\n"
        "def call(model, batch, net=torch.nn.ReLU(), *, k={1: 'x'}):\n"
        "    return model(batch) if batch in {'x', 'y', 'z'} else NAMES\n"
        "print(json.dumps(describe_forward(call)))"
    )
    found = [
        json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0]["opaque"] == []


def extract(path, forward, at=None):
    """Extract three batches, of which one may fail."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3))

    def batches():
        for i in range(3):
            if i == at:
                raise RuntimeError("stopped")
            yield torch.full((8, 4), float(i))

    return ps.extract(model, batches(), path, forward=forward, progress=False)


@pytest.mark.parametrize("at", [2, None])
def test_a_store_is_not_taken_up_with_another_function_of_the_name(tmp_path, at, monkeypatch):
    path = tmp_path / "x.zarr"
    if at is None:
        extract(path, scaled)
    else:
        with pytest.raises(RuntimeError, match="stopped"):
            extract(path, scaled, at)
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    kind = "complete" if at is None else "unfinished"
    with pytest.raises(
        ValueError, match=rf"{kind} store with other forward: scaled there, scaled asked for, which differ in SCALE; "
    ):
        extract(path, scaled)
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    assert extract(path, scaled).samples == 24


def test_what_can_not_be_looked_into_is_said_where_it_matters(tmp_path):
    path, tokenizer = tmp_path / "x.zarr", object()
    extract(path, around(tokenizer))
    with pytest.warns(UserWarning, match=r"x\.zarr is there already, and forward holds value \(a object\)") as caught:
        extract(path, around(tokenizer))
    assert caught[0].filename == __file__


def test_a_store_of_another_version_of_python_says_so(tmp_path):
    described = describe_forward(inner)
    other = {**described, "python": "cpython 3.9", "parts": {**described["parts"], "its code": "0" * 32}}
    assert forward_difference(other, described).endswith("differ in its code; compiled by cpython 3.9 there")
