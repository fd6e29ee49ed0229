"""The browser that opens reports in the tests: the system's Chromium, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from shutil import which

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium():
    """Its path, or None."""
    return which("chromium") or which("chromium-browser")


def lacking():
    """What must be installed before a report can be opened; empty where all is there."""
    needs = {
        "chromium (apt-get install chromium)": chromium(),
        "playwright (pip install playwright)": find_spec("playwright"),
    }
    return [name for name, there in needs.items() if not there]
