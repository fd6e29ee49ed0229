"""The reference of the numerics page is right, its rows are measured again, and its tables are those of the rows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from benchmarks.numerics import canonical, emulated, grid, page, rows, truth
from tests import oracles
from tests.tolerances import RELATIVE

SECTIONS = {"grid", "long sums", "far sample", "narrow features", "sizes", "derivatives", "cca", "emulated"}


def exact_product(x):
    numbers = [[Fraction(float(value)) for value in row] for row in x]
    return [[sum((a * b for a, b in zip(r, s, strict=True)), Fraction(0)) for s in numbers] for r in numbers]


@pytest.mark.parametrize("spread", [1.0, 1e3, 1e-100])
def test_reference_products_are_rounded_once(spread):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 300)) * np.array([[spread], [1.0], [1.0], [1e-5], [1.0]])
    found = truth.product(x)
    for i, row in enumerate(exact_product(x)):
        for j, exact in enumerate(row):
            terms = sum(abs(Fraction(float(a)) * Fraction(float(b))) for a, b in zip(x[i], x[j], strict=True))
            assert abs(Fraction(float(found[i, j])) - exact) <= abs(exact) / 2**52 + terms / 2**57


def test_reference_products_of_more_terms_than_one_slice_adds():
    x = np.random.default_rng(0).integers(-1000, 1000, size=(3, 2 * truth._TERMS + 7)).astype(float)
    np.testing.assert_array_equal(truth.product(x), x @ x.T)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_reference_is_the_formula(estimator, kernel):
    x, y = np.random.default_rng(0).standard_normal((2, 12, 30)) + 3
    a, b = (
        truth.centred(truth.kernel_matrix(z, kernel), "double" if estimator == "biased" else "unbiased") for z in (x, y)
    )
    cka = np.sum(a * b) / math.sqrt(np.sum(a * a) * np.sum(b * b))
    assert cka == pytest.approx(oracles.cka(x, y, kernel, estimator), rel=1e-12)


def test_reference_constancy_is_the_designs():
    eps = float(np.finfo(np.float32).eps)
    x = np.full((8, 2), 1000.0)
    x[0, 0] += 1000 * 4 * eps
    assert truth.is_constant(x, eps)
    x[0, 0] += 1000 * 4 * eps
    assert not truth.is_constant(x, eps)


@pytest.mark.parametrize("case", list(canonical.cases()), ids=lambda case: case.name)
def test_cca_cases_are_what_they_are_said_to_be(case):
    assert np.linalg.matrix_rank(case.x - case.x.mean(axis=0), rtol=case.rtol) == case.ranks[0]
    found = oracles.canonical_correlations(case.x, case.y, case.rtol)
    np.testing.assert_allclose(found, case.correlations, atol=1e-14 * max(case.condition, 1e3))


# ---- The rows ----


def recorded():
    return {tuple(row[field] for field in ("case", "quantity", "dtype", "mean", "scale")): row for row in rows.read()}


def test_the_tolerances_are_the_tests():
    assert rows.TOLERANCE == RELATIVE


def test_every_cell_there_could_be_has_been_measured():
    found = rows.read()
    assert {row["section"] for row in found} == SECTIONS
    quantities = {"wide": 12, "tall": 4}
    expected = sum(
        quantities[case]
        for dtype in grid.DTYPES
        for mean in grid.MEANS
        for scale in grid.SCALES
        for case in grid.SHAPES
        if scale * (mean + 6) < torch.finfo(dtype).max
    )
    assert sum(row["section"] == "grid" for row in found) == expected


def test_every_cell_is_within_the_rule():
    beyond = {(row["section"], row["case"]) for row in rows.read() if row["within"] != "yes"}
    assert not beyond


@pytest.mark.parametrize("dtype", grid.DTYPES, ids=grid.name)
@pytest.mark.parametrize(("case", "mean", "scale"), [("wide", 100, 1.0), ("wide", 1000, 1e-3), ("tall", 1000, 1e1)])
def test_cells_measured_here_are_within_the_rule_and_near_the_recorded(case, mean, scale, dtype):
    for quantity, errors in grid.cell(grid.pair(case, dtype, mean, scale), case).items():
        row = rows.Row("grid", case, quantity, grid.name(dtype), *errors, mean=mean, scale=scale)
        assert row.within, row
        before = recorded()[case, quantity, grid.name(dtype), f"{mean:g}", f"{scale:g}"]
        assert math.isnan(row.ours) == (before["ours"] == "nan")
        # other instruction sets add in another order; what matters is that no digits are lost
        assert math.isnan(row.ours) or row.ours <= 100 * max(float(before["ours"]), float(torch.finfo(dtype).eps))


@pytest.mark.skipif(not emulated.available(), reason="only development builds have the emulated kernels")
def test_emulated_cells_measured_here_are_the_recorded():
    with emulated.gpu(80):
        found = {(row.case, row.quantity, row.mean): row for row in emulated._alignments("sm_80")}
    for row in rows.read():
        if row["section"] == "emulated" and row["case"].startswith("sm_80") and row["quantity"].startswith("cka"):
            here = found[row["case"], row["quantity"], float(row["mean"])]
            assert here.within
            assert here.ours == pytest.approx(float(row["ours"]), rel=0.05, abs=1e-9)


def test_a_row_is_held_to_the_rule():
    def row(ours, as_written=math.nan, **options):
        return rows.Row("grid", "wide", "gram", "float32", ours, as_written, **options)

    assert row(1e-5).within
    assert not row(1.1e-5).within
    assert row(1e-3, 6e-4).within  # at most twice torch's
    assert not row(1e-3, 4e-4).within
    assert not row(1e-3, math.inf).within  # that torch has no number allows nothing
    assert not row(math.inf).within
    assert row(math.nan).within  # constant, and said so
    assert row(1e-3, tolerance=1e-2).within


def test_a_constant_set_must_be_said_to_be_one():
    sets = grid.pair("tall", torch.bfloat16, 1000, 1.0)
    options = {"kernel": "linear", "estimator": "unbiased"}
    assert truth.is_constant(sets.x.double().numpy(), torch.finfo(torch.bfloat16).eps)
    assert math.isnan(grid.cka_error(sets, options, 0.5))


# ---- The page ----


def test_the_page_shows_the_rows_there_are():
    text = page.PAGE.read_text()
    assert page.updated(text) == text, "run `python -m benchmarks.numerics page`"


def test_every_table_is_on_the_page():
    assert {name for _, name, _ in page._TABLE.findall(page.PAGE.read_text())} == set(page._TABLES)


def test_sections_measured_again_replace_their_rows_alone(tmp_path):
    path = tmp_path / "numerics.csv"
    first = [rows.Row("grid", "wide", "gram", "float32", 1e-6), rows.Row("cca", "tied", "cca", "float64", 1e-16)]
    rows.write(first, {"commit": "aaa"}, path)
    rows.write([rows.Row("grid", "wide", "gram", "float32", 2e-6)], {"commit": "bbb"}, path)
    assert [(row["section"], row["ours"], row["commit"]) for row in rows.read(path)] == [
        ("grid", "2.0e-06", "bbb"),
        ("cca", "1.0e-16", "aaa"),
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["numerics.csv"]


def test_a_table_shows_the_worst_and_marks_what_is_no_number_or_beyond_the_rule():
    found = [
        rows.Row("sizes", "a", "cka", "float32", 1e-7, math.inf, 3e-4),
        rows.Row("sizes", "a", "cka", "float32", 3e-7, 2e-3, 1e-4),
        rows.Row("sizes", "b", "cka", "float32", 2e-5, math.inf, math.inf),
        rows.Row("sizes", "c", "cka", "float32", math.nan, 0.0, math.nan),
    ]
    table = page.compared("sizes", {"": "case"}, {"CKA": "cka"})([row.written() for row in found])
    assert table.splitlines() == [
        "|  | CKA ours | CKA torch | CKA with care |",
        "| --- | --- | --- | --- |",
        "| a | 3e-7 | 2e-3† | 3e-4 |",
        "| b | **2e-5** | no number | no number |",
        "| c | constant | 0 |  |",
    ]
