"""A rank that dies fails the others, with a message, within the time that was stated."""

from __future__ import annotations

import pytest

from tests.distributed.launching import ranks_apart

TIMEOUT = 3.0  # seconds
MARGIN = 5.0  # on machines with other things to do


def times_and_messages(how, victim, size=3):
    """Return when the victim died, and when and with which message each of the others failed."""
    processes = ranks_apart(size, "tests.distributed.dying", how, victim, PYSCALE_PEER_TIMEOUT=str(TIMEOUT))
    try:
        outputs = [process.communicate(timeout=100)[0] for r, process in enumerate(processes) if r != victim]
    finally:
        for process in processes:
            process.kill()
    died = processes[victim].communicate()[0].split()
    assert died[0] == "dying"
    failures = [output.strip().splitlines()[-1].split(maxsplit=2) for output in outputs]
    assert all(failure[0] == "failed" for failure in failures), outputs
    return float(died[1]), [(float(when), message) for _, when, message in failures]


@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.slow)])
def test_the_others_fail_within_the_timeout_and_say_who_died(how):
    died, failures = times_and_messages(how, 1)
    for when, message in failures:
        assert message == "rank 1 of 3 is dead: no sign of life for 3 s"
        assert TIMEOUT - 1 < when - died < TIMEOUT + MARGIN


@pytest.mark.slow
def test_where_the_one_that_keeps_the_store_dies_the_others_say_so():
    died, failures = times_and_messages("killed", 0)
    for when, message in failures:
        assert message.startswith("the store through which the processes meet is gone")
        assert when - died < TIMEOUT + MARGIN
