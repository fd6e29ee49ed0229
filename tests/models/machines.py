"""A machine that is not there: its clock moves only while networks compute, at a speed of our choosing."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

from torch.nn.modules.module import register_module_forward_hook

from pyscale.models import Network, timing


class Machine:
    """Passes take their work, times how slow the machine is at that moment.

    Args:
        slowness: Of the seconds on the clock.
    """

    def __init__(self, slowness=lambda seconds: 1.0):
        self.seconds = 0.0
        self.slowness = slowness

    def work(self, amount):
        self.seconds += amount * self.slowness(self.seconds)


def work_of(network):
    """What a pass takes on a machine at its best: 100 ns a parameter, so that fewer channels take less."""
    return 1e-7 * sum(parameter.numel() for parameter in network.parameters())


@contextmanager
def on(machine, monkeypatch):
    """Networks take this machine's time inside."""

    def passed(module, *_):
        if isinstance(module, Network):
            machine.work(work_of(module))

    with monkeypatch.context() as patch:
        patch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: machine.seconds))
        handle = register_module_forward_hook(passed)
        try:
            yield machine
        finally:
            handle.remove()
