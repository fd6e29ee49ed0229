"""Talking: results on stdout, everything else on stderr, errors in one line with an exit code."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
PIPED_WIDTH = 200  # characters of a table nobody looks at in a terminal: nothing is folded

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass
class Settings:
    """What the options before the command say.

    Attributes:
        verbose: Whether errors come with their traceback and libraries' own warnings are shown.
    """

    verbose: bool = False


SETTINGS = Settings()


def command(function: Callable[Parameters, Result]) -> Callable[Parameters, Result | None]:
    """Make a command of a function: its errors become one line on stderr and an exit code.

    Wrong arguments and missing files are wrong usage; a missing library, a diverging training and whatever the system
    refuses are failures. What no one foresaw is a failure too, and says how to see where it happened.

    Of several processes that torchrun started, rank 0 does it alone.
    """

    @functools.wraps(function)
    def on_first(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | None:
        from pyscale.distributed import apart

        if not _is_first():
            return None
        with apart():
            return function(*args, **kwargs)

    return command_of_all(on_first)


def command_of_all(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a command as :func:`command` does that several processes carry out together; only rank 0 is heard."""

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            with _plain_warnings(), _unheard_but_first():
                return function(*args, **kwargs)
        except (ValueError, TypeError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise _leave(error, str(error), USAGE) from error
        except (ImportError, OSError) as error:
            raise _leave(error, str(error), FAILURE) from error
        except KeyboardInterrupt as error:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from error
        except (typer.Exit, typer.Abort):
            raise
        except RuntimeError as error:
            raise _leave(error, f"{type(error).__name__}: {error}", FAILURE) from error
        except Exception as error:
            hint = "" if SETTINGS.verbose else " (not foreseen: `pyscale --verbose ...` shows where)"
            raise _leave(error, f"{type(error).__name__}: {error}{hint}", FAILURE) from error

    return run


def say(message: str) -> None:
    """Write a line to stderr, for all processes on rank 0."""
    if not _is_first():
        return
    _stderr().print(message, highlight=False, markup=False, soft_wrap=True)


def show(*tables: Table) -> None:
    """Write tables to stdout."""
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for table in tables:
        console.print(table)


def show_json(value: Any) -> None:
    """Write a value to stdout as JSON; NaN and infinity become null."""
    typer.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def interactive() -> bool:
    """Whether someone watches stderr: progress bars are for them only."""
    return _is_first() and sys.stderr.isatty()


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """What libraries print (progress bars) goes to stderr, so that stdout holds the result only."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def table(*columns: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0, overflow="fold")
    return made


def _leave(error: Exception, message: str, code: int) -> typer.Exit:
    if SETTINGS.verbose:
        _stderr().print_exception(show_locals=False)
    say(f"pyscale: {message.replace('resume=False', '--fresh') or type(error).__name__}")
    return typer.Exit(code)


def _is_first() -> bool:
    """Whether this process is the one that is heard; asked late, since asking takes torch, which help does without."""
    from pyscale.distributed import is_first

    return is_first()


def _stderr() -> Console:
    return Console(stderr=True)


@contextlib.contextmanager
def _unheard_but_first() -> Iterator[None]:
    """Let what other ranks than 0 write go nowhere."""
    if _is_first():
        yield
        return
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Our warnings as one line; libraries' warnings to developers only when asked for."""

    def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if SETTINGS.verbose or issubclass(category, UserWarning):
            say(f"pyscale: warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        yield


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy arrays and numbers
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
