"""``pyscale laws``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyscale.cli.console import command, show, show_json, table
from pyscale.cli.opening import FACTORS, parse_factors

if TYPE_CHECKING:
    from pyscale.studies.laws import CostLaw, ErrorLaw, Estimate, NetworkTable
    from pyscale.studies.laws.fitting import Form

FORMS: tuple[Form, ...] = ("sum", "product")
_FEW = 2  # networks for each parameter, below which a bootstrap of residuals is too sure of itself
_ANY = 4.0  # budget: where none can be tested, the answer says why
DOUBT = 0.05  # the p-value above which accuracies are called alike


@command
def laws(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE]...",
            help="Published tables, all of them by default, or folders of finished studies (outputs/resnet).",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Cost to be shared, relative to the base network; by default a quarter and four times, or halfway to "
            "the smallest and largest networks of a table."
        ),
    ] = None,
    at: Annotated[
        str, typer.Option(help="Network of which to say what to scale next: width=0.5,resolution=1; the base network.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit laws of error and cost to networks: what to scale next, and whether a budget is best shared equally."""
    from pyscale.studies.laws import PUBLISHED
    from pyscale.studies.laws.folklore import log_shared_budget

    if budget is not None:
        log_shared_budget(budget)
    factors = parse_factors(at)
    network = {name: factor for name in FACTORS if (factor := getattr(factors, name)) != 1}
    opened = {name: _open(name) for name in tables or PUBLISHED}
    found = [
        _fitted(name, networks, form, budget, network, seed) for name, networks in opened.items() for form in FORMS
    ]
    if as_json:
        show_json(found)
        return
    rows = table("networks", "of them", "form", "floor", "exponents", "AIC")
    for row in found:
        if row["exponents"]:
            exponents = ", ".join(f"{name} {_said(value)}" for name, value in row["exponents"].items())
            aic = "" if row["aic"] != row["aic"] else f"{row['aic']:.0f}"
            rows.add_row(row["table"], str(row["networks"]), row["form"], _said(row["floor"]), exponents, aic)
    if rows.row_count:
        show(rows)
    for row in found:
        typer.echo(f"\n{row['table']}, {row['form']}: {_text(row)}")


def _open(name: str) -> NetworkTable:
    """A published table by name, or the networks of a study by its folder."""
    from pyscale.studies.laws import PUBLISHED, study_table

    if name in PUBLISHED:
        return PUBLISHED[name]
    if not Path(name).exists():
        raise ValueError(
            f"table: unknown table {name!r}; expected the folder of a finished study, or some of {', '.join(PUBLISHED)}"
        )
    return study_table(name)


def _fitted(
    name: str, networks: NetworkTable, form: Form, budget: float | None, at: dict[str, float], seed: int
) -> dict[str, Any]:
    """A law of a table's errors, what it says is best to scale, and of equal shares; or why there is none."""
    from pyscale.studies.laws import fit_error_law

    row: dict[str, Any] = {"table": name, "source": networks.source, "networks": len(networks), "form": form}
    row |= {"floor": None, "exponents": {}, "aic": None, "at_bound": [], "cost_exponents": {}, "best_dimension": None}
    row |= {"equal_shares": [], "notes": [], "refused": ""}
    try:
        error = fit_error_law(networks.errors, networks.factors, form=form, seed=seed)
        row["floor"] = _plain(error.parameters["e_inf"])
        row["exponents"] = {dimension: _plain(value) for dimension, value in error.exponents.items()}
        row |= {"aic": error.aic, "at_bound": list(error.at_bound)}
        row["notes"] = _notes(networks, error)
        cost = networks.cost_law(seed=seed)
        row["cost_exponents"] = {dimension: _plain(value) for dimension, value in cost.exponents.items()}
        row |= _judged(error, cost, budget, at)
    except ValueError as reason:
        row["refused"] = str(reason)
    return row


def _judged(error: ErrorLaw, cost: CostLaw, budget: float | None, at: dict[str, float]) -> dict[str, Any]:
    """Which dimension is best for the network asked for, and how equal shares of budgets do."""
    from pyscale.studies.laws import best_dimension, equal_shares, usual_budgets

    best = best_dimension(error, cost, **at)
    budgets = (usual_budgets(error, cost) or (_ANY,)) if budget is None else (budget,)
    verdicts = [equal_shares(error, cost, one) for one in budgets]
    return {
        "best_dimension": {**asdict(best), "text": str(best)},
        "equal_shares": [{"tested": verdict.tested, **asdict(verdict)} for verdict in verdicts],
    }


def _notes(networks: NetworkTable, error: ErrorLaw) -> list[str]:
    """What keeps a law from being believed."""
    notes = []
    if len(error.theta) < error.points < _FEW * len(error.theta):
        notes.append(
            f"{error.points} networks are hardly more than the law's {len(error.theta)} parameters: its intervals, and "
            "all that rests on them, come out too narrow"
        )
    if error.at_bound:
        notes.append(f"of {', '.join(error.at_bound)} these points say no more than that they are at a bound")
    alike = networks.alike()
    if alike is not None and alike > DOUBT:
        notes.append(
            f"on {networks.pictures} test pictures these accuracies differ no more than those of networks that are "
            f"equally good (chi-square, p = {alike:.2f}): the law is one of their noise"
        )
    return notes


def _text(row: dict[str, Any]) -> str:
    parts = [f"{note}." for note in row["notes"]]
    if row["refused"]:
        parts.append(row["refused"])
    else:
        parts.append(f"{row['best_dimension']['text']}.")
        parts += [verdict["text"] for verdict in row["equal_shares"]]
    return "\n  ".join(parts)


def _plain(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _said(estimate: dict[str, float]) -> str:
    """A value and its interval to two digits, whatever an exponent that has come to nothing would print as."""
    if estimate["low"] != estimate["low"]:
        return f"{estimate['value']:.2f}"
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"
