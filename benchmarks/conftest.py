"""Joins the race to pytest-benchmark: rivals have their turns between our timed calls, rows go to ``results/``.

pytest benchmarks                     measure everything, append the rows
pytest benchmarks -k gram --resume    what is named so, without the cases this commit has rows of
pytest benchmarks --quick             rehearse every line with tiny problems; nothing is written
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks import sizes
from benchmarks.ceilings import Ceilings, measured
from benchmarks.provenance import RESULTS, Others, append_rows, provenance, read_rows
from benchmarks.racing import Contender, Timing, Turns, rows
from benchmarks.rivals import distribution

OURS = "pyscale"
_NOT_MEASURED = pytest.StashKey[list[str]]()

Figures = Mapping[str, Mapping[str, object]]


def pytest_addoption(parser):
    group = parser.getgroup("pyscale")
    group.addoption("--quick", action="store_true", help="rehearse every line with tiny problems; writes no rows")
    group.addoption("--resume", action="store_true", help="skip cases that this commit and machine have rows of")
    group.addoption("--results", type=Path, help=f"folder for the rows ({RESULTS.name}/, or nowhere if --quick)")


def pytest_configure(config):
    sizes.quick = config.getoption("quick")
    config.stash[_NOT_MEASURED] = []


def pytest_terminal_summary(terminalreporter, config):
    for line in dict.fromkeys(config.stash[_NOT_MEASURED]):
        terminalreporter.line(f"not measured: {line}")


def folder_for_rows(config) -> Path | None:
    return config.getoption("results") or (None if config.getoption("quick") else RESULTS)


@pytest.fixture(scope="session")
def results(pytestconfig):
    """Return the folder that rows are appended to; None if they are not written."""
    return folder_for_rows(pytestconfig)


@pytest.fixture(scope="session")
def ceilings(results) -> Ceilings:
    """Return what this machine does at best, measured in this run."""
    found = measured(shrink=sizes.choose(1, 1000))
    if results is not None:
        append_rows("ceilings", found.rows(provenance()), results)
    return found


@pytest.fixture
def beside(benchmark, ceilings, results, pytestconfig):
    """Return a function that benchmarks a call, its rivals taking turns with it."""

    def run(
        table: str,
        case: Mapping[str, object],
        call: Contender,
        rivals: Mapping[str, Contender | None],
        rounds: int | None = None,
        *,
        operations: float = 0,
        peak: str = "float32",
        errors: Mapping[str, float] | None = None,
        figures: Figures | Callable[[Mapping[str, Timing]], Figures] | None = None,
    ) -> dict[str, Timing]:
        """Time ``call`` and its rivals in turns; append a row for each to ``<table>.csv``.

        Args:
            table: Name of the file.
            case: Columns that tell this case from the others of the table.
            call: Ours.
            rivals: What else to call, by provider: the distribution it is of, then what of it. One that is None is
                told of at the end of the run, as not installed.
            rounds: Turns of each; by default as many as fit in some seconds.
            operations: Floating-point operations that the case needs, for the share of the peak.
            peak: Which peak: "float32", "float64" or "bfloat16".
            errors: By provider ("pyscale" is ours), against float64.
            figures: Further columns by provider, or a function that makes them of the timings.

        Returns:
            The timings by provider, ours first.
        """
        origin = provenance()
        if pytestconfig.getoption("resume") and results is not None and has_rows(table, case, origin, results):
            pytest.skip("this commit has rows of it")
        absent = [name for name, rival in rivals.items() if rival is None]
        pytestconfig.stash[_NOT_MEASURED] += [f"{distribution(name)}, which is not installed" for name in absent]
        turns = Turns(
            call, {name: rival for name, rival in rivals.items() if rival is not None}, rounds or sizes.choose(None, 1)
        )
        others = Others()
        benchmark.pedantic(call, setup=turns.before_call, rounds=turns.rounds * turns.calls, warmup_rounds=0)
        timings = {OURS: Timing(tuple(benchmark.stats.stats.data))}
        timings |= {name: Timing(tuple(seconds)) for name, seconds in turns.seconds.items()}
        origin["others"] = others.share()
        further = (figures(timings) if callable(figures) else figures) or {}
        columns = list(dict.fromkeys(name for own in further.values() for name in own))
        rate = ceilings.peak(peak) if operations else 0
        found = []
        for row in rows(case, timings, OURS, {}):
            name = str(row["provider"])
            row["of_peak"] = f"{operations / timings[name].median / rate:.3f}" if operations else ""
            row["error"] = f"{errors[name]:.1e}" if errors and name in errors else ""
            found.append({**row, **{column: further.get(name, {}).get(column, "") for column in columns}, **origin})
        benchmark.extra_info |= {row["provider"]: f"{row['times_ours']}x ours" for row in found}
        if results is not None:
            append_rows(table, found, results)
        return timings

    return run


def has_rows(table: str, case: Mapping[str, object], origin: Mapping[str, str], folder: Path) -> bool:
    """Return whether the file has rows of the case from this machine and commit; changed trees are never the same."""
    path = folder / f"{table}.csv"
    if not path.exists() or "+" in origin["commit"]:
        return False
    same = {
        **{name: str(value) for name, value in case.items()},
        "commit": origin["commit"],
        "device": origin["device"],
    }
    return any(all(row.get(name) == value for name, value in same.items()) for row in read_rows(path)[1])
