"""``pyscale laws``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pyscale.cli.console import command, show, show_json, table


@command
def laws(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="Published tables; all of them by default.")
    ] = None,
    budget: Annotated[float, typer.Option(help="Cost to be shared, relative to the base network.")] = 0.25,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit laws of error and cost to published accuracies, and hold equal shares of a budget to them."""
    from pyscale.studies.laws import PUBLISHED

    unknown = [name for name in tables or () if name not in PUBLISHED]
    if unknown:
        raise ValueError(f"table: unknown table {unknown[0]!r}; expected some of {', '.join(PUBLISHED)}")
    found = [_fitted(name, form, budget, seed) for name in tables or PUBLISHED for form in ("sum", "product")]
    if as_json:
        show_json([_plain(row) for row in found])
        return
    rows = table("published networks", "form", "floor", "exponents", "AIC")
    for row in found:
        if row["law"] is not None:
            exponents = ", ".join(f"{name} {_said(value)}" for name, value in row["exponents"].items())
            rows.add_row(row["table"], row["form"], _said(row["floor"]), exponents, f"{row['aic']:.0f}")
    show(rows)
    for row in found:
        typer.echo(f"\n{row['table']}, {row['form']}: {row['verdict'] or row['refused']}")


def _fitted(name: str, form: Any, budget: float, seed: int) -> dict[str, Any]:
    """A law of a table's errors and what it says of equal shares, or why there is none."""
    from pyscale.studies.laws import PUBLISHED, equal_shares, fit_cost_law, fit_error_law

    published = PUBLISHED[name]
    row: dict[str, Any] = {"table": name, "networks": len(published), "form": form, "budget": budget}
    row |= {"law": None, "verdict": "", "refused": ""}
    try:
        row["law"] = error = fit_error_law(published.errors, published.factors, form=form, seed=seed)
        row["verdict"] = equal_shares(error, fit_cost_law(published.macs, published.factors, seed=seed), budget).text
    except ValueError as reason:
        row["refused"] = str(reason)
    if (law := row["law"]) is not None:
        exponents = {dimension: law.parameters[f"b_{dimension}"] for dimension in law.dimensions}
        row |= {"floor": law.parameters["e_inf"], "exponents": exponents, "aic": law.aic}
    return row


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Plain values, for JSON."""
    law = row.pop("law")
    if law is None:
        return row
    intervals = {name: _interval(estimate) for name, estimate in row["exponents"].items()}
    return {**row, "floor": _interval(row["floor"]), "exponents": intervals}


def _interval(estimate: Any) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _said(estimate: Any) -> str:
    """A value and its interval to two digits, whatever an exponent that has come to nothing would print as."""
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
