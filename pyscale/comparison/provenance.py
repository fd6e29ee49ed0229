"""Where a result came from: everything needed to judge it, or to compute it again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch

from pyscale.comparison.driver import Run
from pyscale.ops import build_info


def describe_run(run: Run) -> dict[str, Any]:
    """Return options, data, models, versions and machine of a finished run, as JSON types only."""
    tally = run.tally
    return {
        **asdict(run.options),
        "model_x": type(run.x.inner).__name__,
        "model_y": type(run.y.inner).__name__,
        "samples": tally.samples,
        "batches": tally.batches,
        "skipped_batches": tally.skipped,
        "skipped_layers": tally.skipped_layers,
        "dtype": tally.dtypes,
        "processes": run.crew.size,
        **describe_machine(run.device),
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return where and by what something was computed just now, as JSON types only."""
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "isa": build_info().isa,
        "pyscale": version("pyscale"),
        "torch": str(torch.__version__),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
