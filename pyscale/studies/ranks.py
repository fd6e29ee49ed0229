"""The networks of a study made on many processes, each network by one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyscale.distributed import apart, gathered
from pyscale.studies.equal_budget.contest import plan_contest
from pyscale.studies.pool import Job, make_apart
from pyscale.studies.running import Step, needs_clock, workshop
from pyscale.studies.study import Study


def make_networks(
    study: Study,
    out: str | Path = "outputs",
    *,
    resume: bool = True,
    device: str | None = None,
    cache: str | Path | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> bool:
    """Make the networks that :func:`run` then takes up, shared among the processes that torchrun started.

    Networks are independent of one another, so each is trained by one process as it would be anywhere: a study gives
    the same networks however many make them. First what is trained, then what is made of it.

    Args:
        study: What to do.
        out: As for :func:`run`: a folder that all processes see.
        resume: False trains anew.
        device: As for :func:`run`.
        cache: As for :func:`run`.
        on_step: Called on rank 0 as each part begins.

    Returns:
        Whether there were several processes; alone nothing is done.

    Raises:
        PeerError: Another process failed or died.
    """
    with gathered() as crew:
        if crew.alone:
            return False
        with apart():
            shop = workshop(study, out, resume=resume, progress=False, device=device, cache=cache)
            if crew.first and study.equal_budget is not None:
                plan_contest(study, shop)  # some of it is measured, and written down for the others
            crew.arrive("planned")
            plan = None if study.equal_budget is None else plan_contest(study, shop)
            jobs: list[Job] = [(study, variant) for variant in study.members]
            jobs += [(entry.study, entry.variant) for entry in (() if plan is None else plan.entries)]
            trained = [job for job in jobs if job[1].compression is None]
            made = [job for job in jobs if job[1].compression is not None and not needs_clock(job[1])]
            for number, (title, phase) in enumerate((("train", trained), ("compress", made)), start=1):
                if crew.first and on_step is not None and phase:
                    on_step(Step(number, 2, f"{title} {len(phase)} networks on {crew.size} processes"))
                for job in phase[crew.rank :: crew.size]:
                    crew.check()
                    make_apart(*job, shop)
                crew.arrive(title)
    return True
