"""Several networks made at once, each by a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from pyscale.studies.budgets import BudgetError
from pyscale.studies.networks import Workshop, make_member, using_threads
from pyscale.studies.study import Study, Variant

Job = tuple[Study, Variant]


def make_together(jobs: Sequence[Job], shop: Workshop, workers: int, announce: Callable[[str], None]) -> None:
    """Make networks in processes of their own; each is left in its folder, where its finished run is taken up.

    What a network is does not depend on who makes it, so the outcome is that of one process. Workers end with the
    process that started them, also where that is killed. A budget that cannot be met is left for the one who takes up
    the run to meet again.

    Args:
        jobs: Studies and their variants, none made of another in the list.
        shop: Where and how.
        workers: Processes; each computes on the study's threads.
        announce: Called with the name of every network that is done.

    Raises:
        Exception: What a worker raised; the others finish what they are at.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_end_with_parent) as pool:
        running = {pool.submit(make_apart, study, variant, shop): variant.name for study, variant in jobs}
        try:
            for done in as_completed(running):
                done.result()
                announce(f"made {running[done]}")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def make_apart(study: Study, variant: Variant, shop: Workshop) -> None:
    """Make one network and leave it in its folder; a budget that cannot be met is left for who takes up the run."""
    with using_threads(study.threads):
        try:
            make_member(study, variant, shop)
        except BudgetError:
            return


def _end_with_parent() -> None:
    """Watch the process that started this one, and end when it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
