"""Where a result came from: everything needed to judge it, or to compute it again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch

from pyscale.comparison.driver import AnySide, Run
from pyscale.ops import build_info


def describe_run(run: Run, x: AnySide, y: AnySide) -> dict[str, Any]:
    """Return options, data, two models, versions and machine of a finished run, as JSON types only."""
    tally, places = run.tally, [run.sides.index(side) for side in (x, y)]
    skipped = {run.sides[k].label: tally.skipped_layers[k] for k in places}
    return {
        **asdict(run.options),
        "model_x": x.kind,
        "model_y": y.kind,
        "samples": tally.samples,
        "batches": tally.batches,
        "skipped_batches": tally.skipped,
        "skipped_layers": {label: layers for label, layers in skipped.items() if layers},
        "dtype": sorted({kind for k in places for kind in tally.dtypes[k]}),
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
