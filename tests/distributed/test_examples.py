"""The examples of docs/distributed.md run as they stand: alone, under torchrun, on Ray and on Dask."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import pyscale as ps
from tests.distributed.launching import ROOT, environment

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "distributed.md").read_text(), flags=re.DOTALL)
pytestmark = pytest.mark.slow


def example(word):
    """Return the example that imports a library."""
    return next(code for code in EXAMPLES if re.search(rf"^(import|from) {word}\b", code, flags=re.MULTILINE))


def output(code, tmp_path, *launcher):
    """Run code as a script and return what it prints."""
    script = tmp_path / "script.py"
    script.write_text(code)
    more = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, *launcher, str(script)]
    done = subprocess.run(
        command, env=environment(**more), cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_a_script_runs_as_it_stands_alone_and_under_torchrun(tmp_path):
    code = EXAMPLES[0]
    alone = output(code, tmp_path)
    together = output(code, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert (alone[:2], together[:2]) == ("1 ", "2 ")
    assert together[2:] == alone[2:]  # one rank prints


def test_the_first_example_of_all_runs_under_torchrun(tmp_path):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)[0]
    assert "ps.compare(" in code
    alone = output(code, tmp_path)
    together = output(code, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert sorted(together.splitlines()) == sorted(2 * alone.splitlines())  # each rank prints, and the same


@pytest.mark.parametrize("library", ["ray", "dask"])
def test_metrics_merge_on_clusters_to_those_of_one_process(library, tmp_path):
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install --group clusters")
    code = example(library)
    found = np.array(re.findall(r"-?\d+\.\d*", output(code, tmp_path)), dtype=np.float64)
    metric = ps.metrics.MinibatchCKA()
    for number in range(20):
        x = torch.randn(64, 32, generator=torch.Generator().manual_seed(number))
        metric.update({"input": x, "relu": x.relu()}, {"half": x[:, :16], "tanh": x.tanh()})
    expected = metric.compute()
    np.testing.assert_allclose(found, [*expected.values.ravel(), *expected.stderr.ravel()], atol=6e-4)
