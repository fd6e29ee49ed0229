"""The Python of the README and of the pages on stores and studies runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
OF_PAGES = [
    example
    for page in ("stores", "studies")
    for example in re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), flags=re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES + OF_PAGES, ids=lambda code: code.splitlines()[0])
def test_example_runs(example, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    exec(compile(example, "example", "exec"), {})
    first = capsys.readouterr().out
    assert first
    if "manual_seed" in example:  # stores that are there already included
        exec(compile(example, "example", "exec"), {})
        assert capsys.readouterr().out == first


def test_there_is_an_import_example_of_about_ten_lines():
    assert any(len(example.splitlines()) <= 11 for example in EXAMPLES)


def test_pictures_and_links_are_there():
    targets = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", README)
    targets = [link or picture for link, picture in targets if not link.startswith("http")]
    assert any(target.endswith(".png") for target in targets)
    assert not [target for target in targets if not (ROOT / target).exists()]
