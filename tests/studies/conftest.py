"""One miniature study, run once for all tests that read its files."""

from __future__ import annotations

import pytest

from pyscale.studies import run
from tests.studies.miniature import miniature_study


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """A finished miniature study."""
    return run(miniature_study(), tmp_path_factory.mktemp("miniature"), progress=False)
