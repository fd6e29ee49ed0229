"""The core on a team of threads that is somebody else's: same bits, whoever runs the parts."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pyscale import _native, ops
from pyscale.ops.team import use_own_threads, use_torch_threads

RUN = ctypes.CFUNCTYPE(None, ctypes.CFUNCTYPE(None, ctypes.c_void_p), ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
SIZE = ctypes.CFUNCTYPE(ctypes.c_int)


@pytest.fixture(autouse=True)
def afterwards_as_before():
    yield
    use_torch_threads()


@pytest.fixture
def x():
    return torch.randn(70, 30_000, generator=torch.Generator().manual_seed(0))


class Team:
    """A team that does all of its work in the caller's thread, and remembers what it was asked for."""

    def __init__(self, size):
        self.asked = []
        self._run = RUN(self._work)
        self._size = SIZE(lambda: size)

    def _work(self, task, data, threads, flags):
        self.asked.append((threads, flags))
        task(data)

    def use(self):
        _native.use_team(*(ctypes.cast(function, ctypes.c_void_p).value for function in (self._run, self._size)))


def results(x):
    v = ops.packed_gram(x, threads=2).values
    K = ops.centered_gram(x, kernel="rbf", threads=2)
    return [v, K, ops.hsic_pairs(x[:, :9999], x[:, 9999:19998], threads=2)]


def test_bits_do_not_depend_on_who_runs_the_parts(x):
    use_own_threads()
    expected = results(x)
    team = Team(size=2)
    team.use()
    assert all(map(torch.equal, results(x), expected))
    assert set(team.asked) == {(0, 0)}, "a team that is asked for some of its threads lets the others end"
    if use_torch_threads():
        assert all(map(torch.equal, results(x), expected))


def test_more_threads_than_the_team_has_are_our_own(x):
    use_own_threads()
    expected = ops.centered_gram(x, threads=3)
    team = Team(size=2)
    team.use()
    assert torch.equal(ops.centered_gram(x, threads=3), expected)
    assert not team.asked


def test_one_thread_asks_nobody(x):
    team = Team(size=2)
    team.use()
    ops.centered_gram(x, threads=1)
    assert not team.asked


def test_half_a_team_is_none(x):
    team = Team(size=2)
    team.use()
    _native.use_team(ctypes.cast(team._run, ctypes.c_void_p).value, 0)
    ops.centered_gram(x, threads=2)
    assert not team.asked


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems' OpenMP need not have GNU's interface")
def test_torch_has_a_team_where_it_has_openmp():
    assert use_torch_threads() == torch.backends.openmp.is_available()


def test_callers_in_several_threads(x):
    expected = ops.centered_gram(x, threads=2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: ops.centered_gram(x, threads=2), range(16)))
    assert all(torch.equal(K, expected) for K in found)


CHILD = """
import os, signal, sys, torch
from pyscale import ops
torch.set_num_threads(2)
x = torch.randn(70, 30_000)
K = ops.centered_gram(x, threads=2)  # starts the team's threads, which the child won't have
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(0 if torch.equal(ops.centered_gram(x, threads=2), K) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_forked_children_start_threads_of_their_own():
    subprocess.run([sys.executable, "-W", "ignore", "-c", CHILD], check=True, timeout=60)
