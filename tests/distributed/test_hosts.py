"""Separate hosts, as network namespaces: torchrun on each, and a host that is cut off in the middle."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

import pyscale as ps
from tests.distributed.hosts import INTERFACE, hosts, why_not
from tests.distributed.launching import ROOT, environment
from tests.distributed.scenarios import SCENARIOS

reason = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(reason is not None, reason=f"network namespaces: {reason}"),
    pytest.mark.filterwarnings("ignore"),
]
PORT = 29555  # of a network of its own
TIMEOUT = 3.0


def start(machines, each, module, *arguments, **more):
    """Start torchrun on every host, and return the processes."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={len(machines)}", f"--nproc-per-node={each}"),
        *(f"--master-addr={machines[0].address}", f"--master-port={PORT}"),
    ]
    return [
        subprocess.Popen(
            host.command(*command, f"--node-rank={k}", "-m", module, *map(str, arguments)),
            env=environment(**{"GLOO_SOCKET_IFNAME": INTERFACE, **more}),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for k, host in enumerate(machines)
    ]


def test_two_hosts_with_two_processes_each_agree_with_one_process(tmp_path):
    with hosts(2) as machines:
        running = start(machines, 2, "tests.distributed.scenarios", tmp_path)
        outputs = [process.communicate(timeout=170)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0], outputs
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(4)]
    for name in ("map-style", "cca_r2", "permutations"):
        found = [ps.Comparison.from_state(rank[name]) for rank in ranks]
        assert all(other == found[0] for other in found)
        assert abs(found[0].values - SCENARIOS[name](0, 1).values).max() < 1e-6


def test_a_host_that_is_cut_off_fails_the_others_within_the_timeout():
    with hosts(3) as machines:
        running = start(machines, 1, "tests.distributed.dying", "slow", -1, PYSCALE_PEER_TIMEOUT=str(TIMEOUT))
        try:
            line_of(running[0], "working")
            machines[1].unplug()
            cut = time.time()
            failures = {k: line_of(process, "failed").split(maxsplit=2) for k, process in enumerate(running)}
        finally:
            for process in running:
                process.kill()
                process.communicate()
    for k, (_, when, message) in failures.items():
        if k == 1:  # it has lost the store, which is on host 0, and can't tell whether others live
            assert message.startswith("the store through which the processes meet")
        else:
            assert message == "rank 1 of 3 is dead: no sign of life for 3 s"
        assert TIMEOUT - 1 < float(when) - cut < 2 * TIMEOUT + 5


def line_of(process, beginning):
    """Return the next line that a process prints that begins so."""
    return next(line.strip() for line in process.stdout if line.startswith(beginning))
