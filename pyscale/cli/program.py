"""The program: its commands and the options that come before them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from pyscale.cli.commands import (
    budgeting,
    comparing,
    comparing_many,
    comparing_searches,
    comparing_weights,
    compressing,
    demonstration,
    diagnosis,
    evaluating,
    fitting_laws,
    profiling,
    pruning,
    searching,
    storing,
    studying,
    training,
)
from pyscale.cli.console import SETTINGS

program = typer.Typer(
    name="pyscale",
    help="What scaling a CNN buys, and what it changes inside.",
    epilog="Results go to stdout, progress and errors to stderr. Exit codes: 0, 1 failure, 2 usage, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # tracebacks are shown on demand, and plain
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pyscale {version('pyscale')}")
        raise typer.Exit


@program.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", envvar="PYSCALE_DEBUG", help="Show tracebacks and every warning.")
    ] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What scaling a CNN buys, and what it changes inside."""
    SETTINGS.verbose = verbose


program.command("demo")(demonstration.demo)
program.command("study")(studying.study)
program.command("compare")(comparing.compare)
program.command("compare-many")(comparing_many.compare_many)
program.command("compare-weights")(comparing_weights.compare_weights)
program.command("evaluate")(evaluating.evaluate)
program.command("extract")(storing.extract)
program.command("compare-stores")(storing.compare_stores)
program.command("train")(training.train)
program.command("search")(searching.search)
program.command("compare-searches")(comparing_searches.compare_searches)
program.command("profile")(profiling.profile)
program.command("scale-to")(budgeting.scale_to)
program.command("prune")(pruning.prune)
program.command("deep-compress")(compressing.deep_compress)
program.command("laws")(fitting_laws.laws)
program.command("doctor")(diagnosis.doctor)
