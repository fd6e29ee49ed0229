"""Every instruction set this machine has, each in a process of its own: the choice is made once."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from pyscale import _native
from tests.native.views import NAMES, error
from tests.tolerances import RELATIVE

PROGRAM = """
import sys
import numpy as np
from pyscale import _native
from tests.native.calls import gram, hsic_pairs, packed_gram
from tests.native.views import NAMES, view
values = np.random.default_rng(0).normal(size=(50, 700)) + 2
results = {"isa": _native.isa()}
for name in NAMES:
    x = view(values, name, spare=1)
    results[name] = packed_gram(x)[0].values
    results["raw " + name] = gram(x, centering="none")[0].values
v = view(values, "float32")
results["pairs"] = hsic_pairs(v, view(values[:20], "float32")).values
shift = view(values[:1])
for name in NAMES:
    S, x = view(np.zeros((700, 700))), view(values, name)
    _native.self_moments(S.matrix, x.matrix, shift.matrix, 1)
    results["moments " + name] = S.storage
    S, y = view(np.zeros((700, 90))), view(values[:, :90], name)
    _native.cross_moments(S.matrix, x.matrix, shift.matrix, y.matrix, view(values[1:2, :90]).matrix, 1)
    results["cross moments " + name] = S.storage
    results["rbf " + name] = gram(x, "rbf")[0].values
results["own pairs"] = hsic_pairs(v, v).values
np.savez(sys.argv[1], **results)
"""


def run(isa, program, *arguments):
    environment = {**os.environ, "PYSCALE_ISA": isa}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def refusal(isa):
    result = run(isa, "from pyscale import _native; _native.isa()")
    assert result.returncode != 0
    return result.stderr


def supported():
    """The instruction sets that the refusal of an unknown one offers."""
    return re.search(r"supports ([a-z0-9, ]+)", refusal("none-such")).group(1).strip().split(", ")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("isa")
    found = {}
    for isa in supported():
        path = folder / f"{isa}.npz"
        done = run(isa, PROGRAM, str(path))
        assert done.returncode == 0, done.stderr
        found[isa] = dict(np.load(path))
    return found


def test_the_forced_one_is_used(results):
    assert {isa: str(result["isa"]) for isa, result in results.items()} == {isa: isa for isa in results}


def test_the_default_is_the_fastest_supported(results):
    assert _native.isa() == os.environ.get("PYSCALE_ISA", next(iter(results)))
    assert set(results) <= set(_native.isas())


def test_all_agree(results):
    slowest = results[_native.isas()[-1]]
    for isa, result in results.items():
        for key, value in slowest.items():
            if key != "isa":
                name = next((name for name in NAMES if key.endswith(name) and "moments" not in key), "float64")
                assert error(result[key], value) <= RELATIVE[name], (isa, key)


def test_an_unknown_one_is_refused_with_those_there_are():
    message = refusal("sse9")
    assert "PYSCALE_ISA is 'sse9'" in message
    assert _native.isas()[-1] in message


def test_one_the_machine_lacks_is_refused():
    lacking = set(_native.isas()) - set(supported())
    if not lacking:
        pytest.skip("this machine has every instruction set compiled in")
    for isa in lacking:
        assert f"PYSCALE_ISA is '{isa}'" in refusal(isa)
