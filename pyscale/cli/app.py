"""Where the ``pyscale`` command starts: it says what to install where its libraries are missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 failure, 2 usage, 130 Ctrl-C."""
    try:
        from pyscale.cli.program import program
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.exit(f"pyscale: the command line needs {error.name}; install it with: pip install 'pyscale[cli]'")
    program()
