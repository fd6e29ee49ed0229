"""A workspace that is not to be had: a MemoryError that says its size, outputs as they were, nothing kept.

That no single allocation can fail otherwise, in any thread, is checked without Python (csrc/checks).
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="limits on memory are set as on Unix")

# Runs a call again and again under a limit on the address space that leaves no room for its workspace.
PROGRAM = """
import resource
import sys
import numpy as np
from tests.native.calls import _native
from tests.native.views import output, view

MARGIN = 32 << 20


def pages(field):
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[field]) * resource.getpagesize()


def gram(kernel):
    x, K = view(np.random.default_rng(0).normal(size=(6000, 2)), "float32"), output(6000, 6000, "float32")
    options = (getattr(_native.Kernel, kernel), _native.Centering.double, 1.0, 3)
    return K, lambda: _native.gram(K.matrix, x.matrix, *options)


def packed_gram():
    x, v = view(np.random.default_rng(0).normal(size=(6000, 2)), "float32"), output(1, 3000 * 5999, "float32")
    return v, lambda: _native.packed_gram(v.matrix, x.matrix, _native.Kernel.linear, 1.0, 3)


def hsic_pairs():
    v, H = view(np.ones((4000, 2))), output(4000, 4000)
    return H, lambda: _native.hsic_pairs(H.matrix, v.matrix, view(np.ones((4000, 2))).matrix, 3)


out, call = {"gram": lambda: gram("linear"), "rbf": lambda: gram("rbf"), "packed_gram": packed_gram,
             "hsic_pairs": hsic_pairs}[sys.argv[1]]()
_native.isa()
unlimited = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages(0) + MARGIN, unlimited[1]))
resident = None
for _ in range(101):
    try:
        call()
    except MemoryError as error:
        message = str(error)
    else:
        sys.exit("the call succeeded")
    resident = resident or pages(1)  # what the first failure touched is there to stay
grown = pages(1) - resident
resource.setrlimit(resource.RLIMIT_AS, unlimited)
assert grown < 1 << 20, f"{grown} bytes more after 100 failures"
assert (out.storage == 7).all()
call()  # and now it succeeds
assert (out.values != 7).all()
print(message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory a process has")
@pytest.mark.parametrize("name", ["gram", "rbf", "packed_gram", "hsic_pairs"])
def test_the_error_says_how_much_and_nothing_is_kept(name):
    done = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"could not allocate (\d+) bytes \(([\d.]+) GiB\) for .+", done.stdout.strip())
    assert found, done.stdout
    assert int(found.group(1)) > 32 << 20
    assert float(found.group(2)) == pytest.approx(int(found.group(1)) / 2**30, rel=1e-2)
