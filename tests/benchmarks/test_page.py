"""The tables of docs/benchmarks.md are those of the rows."""

from __future__ import annotations

from benchmarks import page

HEADER = "op,n,provider,median_ms,p20_ms,p80_ms,times_ours,commit,date,device,torch\n"


def test_the_page_shows_the_rows_there_are():
    text = page.PAGE.read_text()
    assert page.updated(text) == text, "run `python -m benchmarks.page`"


def test_every_table_of_rows_is_on_the_page():
    named = page._TABLE.findall(page.PAGE.read_text())
    assert {path.stem for path in page.RESULTS.glob("*.csv")} <= {name for _, name, _ in named}


def test_the_newest_row_of_a_case_counts(tmp_path):
    (tmp_path / "speed.csv").write_text(
        HEADER
        + "gram,8,pyscale,2.5,2,3,1.000,aaa,2026-01-01,A,2.6\n"
        + "gram,8,torch,5,4,6,2.000,aaa,2026-01-01,A,2.6\n"
        + "gram,8,pyscale,1.5,1,2,1.000,bbb,2026-02-01,A,2.7\n"
    )
    text = page.updated("before\n<!-- table: speed -->\nold\n<!-- end -->\nafter", tmp_path)
    assert text == (
        "before\n<!-- table: speed -->\n"
        "| n | provider | ms | × ours |\n|---|---|---|---|\n| 8 | pyscale | 1.5 | 1.000 |\n| 8 | torch | 5 | 2.000 |\n"
        "\nA, torch 2.6; A, torch 2.7; commit aaa, bbb.\n<!-- end -->\nafter"
    )


def test_what_was_not_measured_is_said(tmp_path):
    assert page.updated("<!-- table: nothing -->\n<!-- end -->", tmp_path) == (
        "<!-- table: nothing -->\n*Not yet measured.*\n<!-- end -->"
    )
