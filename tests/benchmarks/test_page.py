"""The tables of the pages are those of the rows."""

from __future__ import annotations

import pytest

from benchmarks import page

COLUMNS = "op,n,provider,version,median_ms,p20_ms,p80_ms,calls,times_ours,of_peak,error,commit,date,device,torch\n"
MEASURED = (
    "gram,8,pyscale,0.1,0.25,2,3,7,1.000,0.500,1e-7,aaa,2026-01-01,A,2.6\n"
    "gram,8,torch x @ x.T,2.6,5,4,6,7,20.00,0.025,2e-2,aaa,2026-01-01,A,2.6\n"
    "gram,8,forward passes,,0.1,0,0,7,0.400,,,aaa,2026-01-01,A,2.6\n"
    "gram,16,pyscale,0.1,1500,2,3,7,1.000,0.123,1e-7,aaa,2026-01-02,A,2.6\n"
    "gram,16,torch x @ x.T,2.6,1485,4,6,7,0.990,0.124,2e-5,aaa,2026-01-02,A,2.6\n"
    '"sum, of",16,pyscale,0.1,40,2,3,7,1.000,,,aaa,2026-01-02,A,2.6\n'
)


@pytest.fixture
def results(tmp_path):
    (tmp_path / "speed.csv").write_text(COLUMNS + MEASURED)
    return tmp_path


def written(marker, results):
    """Return the lines that the page has between the marker and the end."""
    text = page.updated(f"before\n{marker}\nold\n<!-- end -->\nafter", results)
    opening, _, rest = text.partition(marker + "\n")
    assert opening == "before\n"
    inside, _, closing = rest.partition("\n<!-- end -->")
    assert closing == "\nafter"
    return inside.splitlines()


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_the_pages_show_the_rows_there_are(path):
    text = path.read_text()
    assert page.updated(text) == text, "run `python -m benchmarks.page`"


def test_every_file_of_rows_is_on_a_page():
    named = {match[3] for path in page.PAGES for match in page._MARKED.finditer(path.read_text())}
    own_page = {path.stem for path in (page.ROOT / "docs").glob("*.md")}
    assert {path.stem for path in page.RESULTS.glob("*.csv")} <= named | own_page


def test_a_line_for_every_case(results):
    assert written("<!-- pivot: speed op=gram -->", results) == [
        "| n | pyscale | of peak | torch | forward passes |",
        "|---|---|---|---|---|",
        "| 8 | 250 µs | 50.0 % | 20.0×, error 0.02 | 0.40× |",
        "| 16 | 1.50 s | 12.3 % | **0.99×** ▼ |  |",
        "",
        "A, torch 2.6; pyscale 0.1; commit aaa.",
    ]


def test_contenders_of_one_package_have_columns_of_their_own(results):
    with (results / "speed.csv").open("a") as file:
        file.write("gram,32,pyscale,0.1,1,1,1,1,1.000,,,aaa,2026-01-03,A,2.6\n")
        file.write("gram,32,torch x @ x.T,2.6,1,1,1,1,1.000,,,aaa,2026-01-03,A,2.6\n")
        file.write("gram,32,torch compiled,2.6,1,1,1,1,1.000,,,aaa,2026-01-03,A,2.6\n")
    header, *_ = written("<!-- pivot: speed op=gram n=32 -->", results)
    assert header == "| n | pyscale | torch x @ x.T | torch compiled |"


def test_a_line_for_every_row(results):
    assert written("<!-- table: speed op=sum,_of -->", results) == [
        "| n | provider | ms | × ours |",
        "|---|---|---|---|",
        "| 16 | pyscale | 40 | 1.000 |",
        "",
        "A, torch 2.6; pyscale 0.1; commit aaa.",
    ]


def test_memory_stands_beside_time_and_unequal_work_is_made_equal(tmp_path):
    (tmp_path / "speed.csv").write_text(
        "op,provider,version,median_ms,times_ours,error,peak_gib,a_pair_times_ours,commit,date,device,torch\n"
        "a,pyscale,0.1,2000,1.000,0,1.25,,aaa,2026-01-01,A,2.6\n"
        "a,torch kept,2.6,4000,2.000,nan,4.06,,aaa,2026-01-01,A,2.6\n"
        "b,pyscale,0.1,2000,1.000,,,1,aaa,2026-01-01,A,2.6\n"
        "b,torch kept,2.6,1000,0.500,,,25,aaa,2026-01-01,A,2.6\n"
    )
    assert written("<!-- pivot: speed -->", tmp_path)[2:4] == [
        "| a | 2.00 s, 1.25 GiB | 2.00×, 4.06 GiB, no number |",
        "| b | 2.00 s | 25.0× |",
    ]


def test_the_newest_measurement_of_a_case_counts_whole(results):
    """A contender that was given up is not shown with a time of another day."""
    with (results / "speed.csv").open("a") as file:
        file.write("gram,8,pyscale,0.2,0.5,2,3,7,1.000,0.250,1e-7,bbb,2026-02-01,A,2.7\n")
        file.write("gram,8,torch x @ x.T,2.7,0.75,4,6,7,1.500,0.200,2e-5,bbb,2026-02-01,A,2.7\n")
    lines = written("<!-- pivot: speed op=gram n=8 -->", results)
    assert lines[2] == "| 8 | 500 µs | 25.0 % | 1.50× |"
    assert lines[-1] == "A, torch 2.7; pyscale 0.2; commit bbb."


def test_another_machine_is_another_measurement(results):
    with (results / "speed.csv").open("a") as file:
        file.write("gram,8,pyscale,0.1,0.125,2,3,7,1.000,0.250,1e-7,aaa,2026-02-01,B,2.6\n")
    assert [line for line in written("<!-- pivot: speed op=gram n=8 -->", results) if "µs" in line] == [
        "| A | 250 µs | 50.0 % | 20.0×, error 0.02 | 0.40× |",
        "| B | 125 µs | 25.0 % |  |  |",
    ]


def test_a_busy_machine_is_told_of(tmp_path):
    header = "op,provider,median_ms,times_ours,commit,date,device,torch,others\n"
    (tmp_path / "speed.csv").write_text(header + "a,pyscale,2,1.000,aaa,2026-01-01,A,2.6,0.345\n")
    footnote = "A, torch 2.6; commit aaa. Other processes took up to 34 % of the machine meanwhile."
    assert written("<!-- pivot: speed -->", tmp_path)[-1] == footnote
    assert written("<!-- table: speed -->", tmp_path)[-1] == footnote
    (tmp_path / "speed.csv").write_text(header + "a,pyscale,2,1.000,aaa,2026-01-01,A,2.6,0.045\n")
    assert written("<!-- table: speed -->", tmp_path)[-1] == "A, torch 2.6; commit aaa."


def test_headlines_are_rows(results, monkeypatch):
    first = ("Small", "speed", {"op": "gram", "n": "8"})
    monkeypatch.setattr(page, "HEADLINES", [first, ("Never", "speed", {"n": "9"}), ("Nowhere", "other", {})])
    assert written("<!-- headlines -->", results)[2:] == [
        "| Small | 250 µs, 50.0 % of peak | torch x @ x.T: 20.0×, error 0.02; forward passes: 0.40× |",
        "",
        "A, torch 2.6; pyscale 0.1; commit aaa.",
    ]


def test_headlines_name_one_case_each():
    for label, name, wanted in page.HEADLINES:
        path = page.RESULTS / f"{name}.csv"
        rows = [row for row in page.newest(path) if page.fits(row, wanted)] if path.exists() else []
        assert len({tuple(page.case(row).values()) for row in rows}) <= 1, label


@pytest.mark.parametrize("kind", ["table: nothing", "pivot: nothing", "headlines"])
def test_what_was_not_measured_is_said(kind, tmp_path):
    assert written(f"<!-- {kind} -->", tmp_path) == ["*Not yet measured.*"]
