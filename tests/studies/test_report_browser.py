"""The report in a real browser: by mouse and keyboard, narrow, dark, on paper, and without a network."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pyscale.studies.findings import findings
from pyscale.studies.report import render_report
from pyscale.studies.theme import THEMES
from tests.studies import browser
from tests.studies.invented_study import NASTY, TITLE, invented_study

pytestmark = pytest.mark.skipif(bool(browser.lacking()), reason=f"needs {' and '.join(browser.lacking())}")

NETWORK, ROW, COLUMN = "v0-wide", 6, 4  # the row that bears the name which breaks careless pages


@pytest.fixture(scope="module")
def result():
    """Five networks beside the baseline, one of them without a latency."""
    made = invented_study(4)
    *others, last = made.members
    last = replace(last, cost=replace(last.cost, latency=float("nan")))
    return replace(made, members=(*others, last))


@pytest.fixture(scope="module")
def address(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_report(result, findings(result)))
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser.chromium(), args=list(browser.ARGUMENTS))
        yield opened
        opened.close()


class Window:
    """The report in a window, with what the browser complained of and what the page asked for."""

    def __init__(self, chromium, address, **options):
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        self.context = chromium.new_context(**options)
        self.page, self.wrong = self.context.new_page(), []
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.note(request.url, address))
        self.page.goto(address)

    def note(self, url, address):
        if url != address and not url.startswith(("data:", "blob:")):
            self.wrong.append(url)


@pytest.fixture
def visit(chromium, address):
    """Opens the report in a window of its own; at the end nothing may be wrong."""
    windows = []

    def open_window(**options):
        windows.append(Window(chromium, address, **options))
        return windows[-1].page

    yield open_window
    for window in windows:
        window.context.close()
    assert [wrong for window in windows for wrong in window.wrong] == []


@pytest.fixture(scope="module")
def shared_window(chromium, address):
    window = Window(chromium, address)
    yield window
    window.context.close()


@pytest.fixture
def page(shared_window):
    """A wide, light window that tests share: opening one takes longer than what is done in it."""
    yield shared_window.page
    assert shared_window.wrong == []


def drawn(page):
    """The names of the charts that are drawn."""
    return page.eval_on_selector_all(".plot:has(.plotly)", "plots => plots.map(plot => plot.id.slice(5))")


def wait_until(page, expression, argument=None):
    """Playwright's own waiting for an expression evaluates strings in the page, which the page's policy refuses."""
    deadline = time.monotonic() + 30
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(30)


def show_chart(page, name):
    """Scroll to a chart and wait until it is drawn."""
    plot = page.locator(f"#plot-{name}")
    plot.scroll_into_view_if_needed()
    plot.locator(".xtick").first.wait_for(state="attached")
    return plot


def column(page, table, name):
    """The names of a table's rows from top to bottom, and what stands in a column."""
    return page.locator(table).evaluate(
        """(table, name) => {
            const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === name);
            return [...table.tBodies[0].rows].map((row) => [row.cells[0].dataset.value, row.cells[at].firstChild.data]);
        }""",
        name,
    )


def test_nothing_is_asked_for_and_nothing_complained_of(visit, result):
    page = visit()
    for select, options in (("#choose-cost", ["latency"]), ("#choose-network", [m.name for m in result.members[1:]])):
        for option in options:
            page.select_option(select, option)
            for plot in page.locator(".plot:visible").all():
                plot.scroll_into_view_if_needed()
    wait_until(page, "document.querySelectorAll('.plot:not(:has(.plotly))').length <= 4")  # costs not chosen
    assert page.title() == TITLE
    assert page.locator("img, [onerror]").count() == 0


def test_a_policy_refuses_the_network_even_if_a_script_would_ask(chromium, address):
    page = chromium.new_page()
    page.goto(address)
    refused = page.evaluate(
        """() => new Promise((resolve) => {
            addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
            fetch("https://example.org").catch(() => setTimeout(resolve, 2000, "by something else"));
        })"""
    )
    page.close()
    assert refused == "connect-src"


def test_charts_are_drawn_when_they_come_into_view_or_are_chosen(visit):
    page = visit()
    assert not any(name.startswith("map-") for name in drawn(page))
    show_chart(page, f"map-{NETWORK}-cka")
    assert not any(name.startswith("map-") and NETWORK not in name for name in drawn(page))
    articles = page.locator("article:visible h3")
    assert articles.all_text_contents() == [NETWORK]
    page.locator("#choose-network").focus()
    page.keyboard.press("ArrowDown")
    assert articles.all_text_contents() == ["v1-deep"]
    show_chart(page, "map-v1-deep-cca_r2")
    page.select_option("#choose-cost", "bytes")
    show_chart(page, "accuracy-bytes")
    assert page.locator("#plot-accuracy-macs").is_hidden()


def test_a_click_sorts_and_another_reverses(page, result):
    by_macs = [member.name for member in sorted(result.members, key=lambda member: member.cost.macs)]
    header = page.locator("#networks th", has_text="MACs")
    header.get_by_role("button").click()
    assert [name for name, _ in column(page, "#networks table", "MACs")] == by_macs
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert [name for name, _ in column(page, "#networks table", "MACs")] == by_macs[::-1]
    assert header.get_attribute("aria-sort") == "descending"
    assert page.locator("#networks [role=status]").text_content() == "Sorted by MACs, descending."


def test_the_keyboard_sorts_with_what_is_missing_last(page, result):
    known = sorted(result.members[:-1], key=lambda member: member.cost.latency)
    header = page.locator("#networks th", has_text="Latency")
    header.get_by_role("button").focus()
    for key, order in (("Enter", known), ("Space", known[::-1]), ("Enter", known)):
        page.keyboard.press(key)
        cells = column(page, "#networks table", "Latency")
        assert [name for name, _ in cells] == [member.name for member in (*order, result.members[-1])]
        assert cells[-1][1] == "–"
    assert page.locator("#networks [aria-sort]").count() == 1


def test_every_column_sorts(page, result):
    wanted = {
        "Network": sorted(member.name for member in result.members),
        "Accuracy": [m.name for m in sorted(result.members, key=lambda m: m.trained.accuracy.value)],
        "Parameters": [m.name for m in sorted(result.members, key=lambda m: m.cost.parameters)],
        "Activations": [m.name for m in sorted(result.members, key=lambda m: m.cost.activations)],
        "Weights": [m.name for m in sorted(result.members, key=lambda m: m.cost.bytes)],
    }
    for name, order in wanted.items():
        page.locator("#networks thead").get_by_role("button", name=name, exact=True).click()
        assert [row for row, _ in column(page, "#networks table", name)] == order, name
    for button in page.locator("table.sortable thead button").all():
        button.click()
        assert button.locator("..").get_attribute("aria-sort") == "ascending"


def test_hover_says_all_of_a_pair_of_layers(page, result):
    plot = show_chart(page, f"map-{NETWORK}-cka")
    x, y = plot.evaluate(
        """(plot, [row, column]) => {
            const { xaxis, yaxis } = plot.firstElementChild._fullLayout;
            return [xaxis.l2p(column) + xaxis._offset, yaxis.l2p(row) + yaxis._offset];
        }""",
        [ROW, COLUMN],
    )
    plot.hover(position={"x": x, "y": y})
    label = plot.locator(".hoverlayer .hovertext", has_text=NASTY)
    label.wait_for()
    expect_pair(label.text_content(), result, ROW, COLUMN)
    expect_pair(page.locator(f"figure:has(#plot-map-{NETWORK}-cka) .readout").text_content(), result, ROW, COLUMN)


def expect_pair(said, result, row, column):
    similarity = result.similarities[NETWORK]["cka"]
    comparison = similarity.comparison
    for words in (
        f"{NETWORK}: {comparison.rows[row]}",
        f"baseline: {comparison.columns[column]}",
        f"CKA {comparison.values[row, column]:.3f}",
        f"standard error {comparison.stderr[row, column]:.3f}",
        f"chance {comparison.chance[row, column]:.3f}",
        f"z-score {comparison.zscores[row, column]:.1f}",
        f"seed to seed {result.yardstick(similarity)[0][row]:.3f}",
    ):
        assert words in said


def test_arrow_keys_walk_a_map(page, result):
    plot = show_chart(page, f"map-{NETWORK}-cka")
    readout = page.locator(f"figure:has(#plot-map-{NETWORK}-cka) .readout")
    plot.focus()
    page.keyboard.press("ArrowUp")
    expect_pair(readout.text_content(), result, 0, 0)
    for key in ("ArrowUp",) * ROW + ("ArrowRight",) * COLUMN:
        page.keyboard.press(key)
    expect_pair(readout.text_content(), result, ROW, COLUMN)
    assert NASTY in readout.text_content()
    plot.locator(".hoverlayer .hovertext", has_text=NASTY).wait_for()
    page.keyboard.press("End")
    expect_pair(readout.text_content(), result, 11, 11)
    page.keyboard.press("ArrowUp")
    expect_pair(readout.text_content(), result, 11, 11)


def test_arrow_keys_walk_every_curve(page, result):
    plot = show_chart(page, "training")
    plot.focus()
    said = []
    for _ in range(3 * len(result.members)):
        page.keyboard.press("ArrowRight")
        said.append(page.locator("figure:has(#plot-training) .readout").text_content())
    page.wait_for_selector("#plot-training .hoverlayer .hovertext")
    assert [text.partition(";")[0] for text in said] == [m.name for m in result.members for _ in range(3)]
    page.keyboard.press("ArrowUp")
    assert result.members[-2].name in page.locator("figure:has(#plot-training) .readout").text_content()


def test_tab_reaches_everything_and_shows_where_it_is(visit):
    page = visit()
    page.evaluate(
        """() => {
            const all = document.querySelectorAll("a[href], button, select, summary, input, [tabindex='0']");
            [...all].filter((element) => element.checkVisibility()).forEach((element) => element.dataset.stop = "");
        }"""
    )
    stops = page.locator("[data-stop]").count()
    visible = 0
    for _ in range(stops):
        page.keyboard.press("Tab")
        visible += page.evaluate(
            """() => {
                const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                delete document.activeElement.dataset.stop;
                return outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
            }"""
        )
    left = page.eval_on_selector_all("[data-stop]", "left => left.map((element) => element.outerHTML.slice(0, 80))")
    assert left == []
    assert stops > 40
    assert visible == stops


def test_the_first_tab_skips_to_the_findings(visit):
    page = visit()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_narrow_screens_scroll_tables_and_not_the_page(visit):
    page = visit(viewport={"width": 360, "height": 740})
    for plot in page.locator(".plot:visible").all():
        plot.scroll_into_view_if_needed()
    for summary in page.locator("summary:visible").all():
        summary.click()
    show_chart(page, f"map-{NETWORK}-cka")
    assert page.locator("#networks .scroll").evaluate("box => box.scrollWidth > box.clientWidth")
    for width in (360, 1280, 768, 360):  # charts that were drawn follow
        page.set_viewport_size({"width": width, "height": 740})
        wait_until(
            page,
            """(name) => {
                const plot = document.querySelector(`#plot-${name}`);
                return Math.abs(plot.querySelector(".main-svg").clientWidth - plot.clientWidth) <= 1;
            }""",
            f"profile-{NETWORK}-cka",
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def rgb(colour):
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_the_dark_theme_applies_and_comes_back(visit):
    page = visit(color_scheme="dark")
    for scheme in ("dark", "light", "dark"):
        page.emulate_media(color_scheme=scheme)
        theme = THEMES[scheme]
        plot = show_chart(page, f"profile-{NETWORK}-cka")
        wait_until(
            page,
            "([name, colour]) => document.querySelector(`#plot-${name} .main-svg`).style.background === colour",
            [f"profile-{NETWORK}-cka", rgb(theme.paper)],
        )
        colours = plot.evaluate("plot => plot.firstElementChild.data.map((trace) => trace.line?.color)")
        assert theme.networks[0] in colours
        assert plot.locator(".xtick text").first.evaluate("text => getComputedStyle(text).fill") == rgb(theme.ink)
        assert page.locator(".card").first.evaluate("card => getComputedStyle(card).color") == rgb(theme.ink)


def test_maps_have_the_colours_of_the_static_ones(page):
    from matplotlib import colormaps

    plot = show_chart(page, f"map-{NETWORK}-cka")
    scale = plot.evaluate("plot => plot.firstElementChild._fullData[0].colorscale")
    for place, colour in scale:
        channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert channels == pytest.approx([255 * part for part in colormaps["magma"](float(place))[:3]], abs=3)


def test_motion_is_only_for_those_who_want_it(visit):
    page = visit()
    for preference, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        page.emulate_media(reduced_motion=preference)
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_paper_gets_all_networks_and_the_window_comes_back(visit, result):
    page = visit(color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    wait_until(page, "document.querySelectorAll('.plot:not(:has(.xtick))').length === 0")
    assert page.locator("article:visible h3").all_text_contents() == [member.name for member in result.members[1:]]
    backgrounds = page.eval_on_selector_all(".main-svg:first-child", "all => all.map((one) => one.style.background)")
    assert set(backgrounds) == {rgb(THEMES["light"].paper)}
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("article:visible h3").all_text_contents() == [NETWORK]


def test_without_scripts_all_tables_are_there(visit, result):
    page = visit(java_script_enabled=False)
    assert page.locator("article:visible h3").all_text_contents() == [member.name for member in result.members[1:]]
    assert page.locator("noscript").is_visible()


def test_large_maps_stay_light(chromium, tmp_path):
    """Ten comparisons of 100 x 100 layers by two metrics: what is not looked at is not drawn."""
    large = invented_study(9, 100)
    path = tmp_path / "report.html"
    path.write_text(render_report(large, findings(large)))
    assert path.stat().st_size < 12e6
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    assert len(drawn(page)) <= 2
    page.select_option("#choose-network", "v5-fine")
    show_chart(page, "map-v5-fine-cka")
    assert {name for name in drawn(page) if name.startswith("map-")} <= {"map-v5-fine-cka", "map-v5-fine-cca_r2"}
    page.close()
