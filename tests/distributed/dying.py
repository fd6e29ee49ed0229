"""A comparison during which one rank dies; as a module, on every rank: prints how the others fail."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings

import torch
from torch import nn

import pyscale as ps

BATCHES, SECONDS = 100, 0.2  # far longer than a death may go unnoticed


def stream(how, victim):
    """Yield batches slowly; the victim, if any, is killed, or stops, before its second."""
    generator = torch.Generator().manual_seed(0)
    for number in range(BATCHES):
        if number == 4 and int(os.environ["RANK"]) == victim:
            say(f"dying {time.time()}")
            os.kill(os.getpid(), {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[how])
        if number == 4:
            say("working")
        time.sleep(SECONDS)
        yield torch.randn(8, 4, generator=generator)


def say(line):
    """Write a line that whoever started this process waits for."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(how, victim):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    try:
        ps.compare(model, model, stream(how, int(victim)), progress=False)
    except ps.distributed.PeerError as error:
        say(f"failed {time.time()} {error}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
