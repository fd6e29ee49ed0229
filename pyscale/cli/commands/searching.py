"""``pyscale search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyscale.cli.console import command, interactive, say, show, show_json, stdout_kept_clean, table
from pyscale.cli.opening import DATA_HELP, open_data, parse_factors

if TYPE_CHECKING:
    from pyscale.studies import SearchPlan, SearchResult, Step
    from pyscale.studies.coefficients.space import Candidate


@command
def search(
    family: Annotated[str, typer.Argument(help="A name, such as cifar_resnet20; `pyscale train x` lists them.")],
    budget: Annotated[float, typer.Option(help="To spend at most: passes over the training pictures, all together.")],
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    strategy: Annotated[str, typer.Option(help="grid, halving or tpe.")] = "grid",
    unit: Annotated[str, typer.Option(help="Of the budget: epochs, or macs (forward, of all pictures).")] = "epochs",
    baseline: Annotated[str, typer.Option(help="Factors on the family: depth=1,width=0.25.")] = "",
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures before scaling; the data's own.")] = None,
    subset: Annotated[int | None, typer.Option(min=1, help="Train on this many pictures, stratified.")] = None,
    growth: Annotated[float, typer.Option(help="Cost of a candidate, in baselines.")] = 2.0,
    tolerance: Annotated[float, typer.Option(help="On α β² γ² of the grid, relative.")] = 0.05,
    step: Annotated[float, typer.Option(help="Of the grid, in each base.")] = 0.1,
    cost_tolerance: Annotated[float, typer.Option(help="On the counted cost, relative.")] = 0.1,
    held_out: Annotated[float, typer.Option(help="Share of the training pictures to rank by.")] = 0.2,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings of each candidate: seeds 0, 1, ...")] = 3,
    reduction: Annotated[int, typer.Option(min=2, help="halving keeps one of so many.")] = 3,
    trials: Annotated[int, typer.Option(min=2, help="Networks that tpe trains.")] = 20,
    search_seed: Annotated[int, typer.Option(min=0, help="Of tpe's draws.")] = 0,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate; the data's recipe.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures a step; the data's recipe.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="onecycle, cosine or constant, which lets halving go on from checkpoints.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; searches/FAMILY by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Take up the search in OUT, or start anew.")] = True,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU where there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; its own choice by default.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Forward MACs a second in training, to estimate the time; a search prints it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and what it costs; train nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search the bases of compound scaling, α β² γ² ≈ 2, for a family on your data."""
    from pyscale.studies import search as search_bases
    from pyscale.studies import search_plan

    pictures = open_data(data)
    if subset is not None:
        pictures = pictures.subset(subset)
    if image_size is None and isinstance(pictures.image_size, int):
        image_size = pictures.image_size
    recipe: dict[str, Any] = {"lr": lr, "batch_size": batch_size, "schedule": schedule}
    if schedule == "constant":
        recipe["warmup"] = 0.0  # so that no step depends on the number of epochs
    options: dict[str, Any] = {
        "budget": budget,
        "strategy": strategy,
        "unit": unit,
        "baseline": parse_factors(baseline),
        "image_size": image_size,
        "growth": growth,
        "tolerance": tolerance,
        "step": step,
        "cost_tolerance": cost_tolerance,
        "held_out": held_out,
        "seeds": range(seeds),
        "reduction": reduction,
        "trials": trials,
        "search_seed": search_seed,
        "rate": rate,
        **{name: value for name, value in recipe.items() if value is not None},
    }
    if dry_run:
        _show_plan(search_plan(family, pictures, **options), as_json)
        return
    folder = Path("searches") / family if out is None else out
    with stdout_kept_clean():
        result = search_bases(
            family,
            pictures,
            out=folder,
            resume=resume,
            device=device,
            threads=threads,
            progress=interactive(),
            on_step=_announce,
            **options,
        )
    if as_json:
        show_json({"out": str(folder), **result.to_dict()})
    else:
        _show_result(result, folder)


def _announce(step: Step) -> None:
    say(f"[{step.number}/{step.total}] {step.title}")


def _show_plan(plan: SearchPlan, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                **plan.to_dict(),
                "candidates": [candidate.to_dict() for candidate in plan.candidates],
                "continues": plan.continues,
                "trainings": plan.trainings,
                "epochs": plan.epochs,
                "macs": plan.macs,
                "seconds": plan.seconds,
            }
        )
        return
    rows = table("candidate", "nominal", "true", "MACs", "pixels", "")
    for candidate in plan.candidates:
        rows.add_row(*_cost_cells(candidate), candidate.skipped or "trained")
    show(rows)
    typer.echo(str(plan))


def _show_result(result: SearchResult, folder: Path) -> None:
    rows = table("candidate", "nominal", "true", "MACs", "pixels", "epochs", "accuracy", "best is better by")
    gains = {difference.name: difference for difference in result.differences}
    for outcome in result.outcomes:
        gain = gains.get(outcome.name)
        better = "" if gain is None or gain.diverged else str(gain.gain)
        accuracy = "diverged" if outcome.diverged else str(outcome.accuracy(result.confidence))
        rows.add_row(*_cost_cells(outcome.candidate), str(outcome.epochs), accuracy, better)
    show(rows)
    if result.skipped:
        typer.echo(f"{len(result.skipped)} points were not trained; {folder / 'candidates.csv'} says why of each")
    typer.echo(str(result))
    typer.echo(f"on the test pictures: {', '.join(map(str, result.test))}, from each seed")
    typer.echo(f"{result.epochs} epochs in {result.seconds:.1f} s, {result.rate:.3g} MACs/s; in {folder}")


def _cost_cells(candidate: Candidate) -> tuple[str, ...]:
    numbers = f"{candidate.nominal:.2f}", f"{candidate.growth:.2f}", f"{candidate.macs:,}", str(candidate.image_size)
    return candidate.name, *numbers
