"""The report as a file: whole, safe, accessible, and true to the study; test_report_browser.py opens it."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from plotly import graph_objects
from plotly.offline import get_plotlyjs

from pyscale.studies.findings import findings
from pyscale.studies.report import SECTIONS, Section, render_report
from pyscale.studies.report.overview import compared_pairs, overview, summarize
from pyscale.studies.report.parts import embed
from pyscale.studies.theme import THEMES
from tests.studies import invented
from tests.studies.invented_study import NASTY, NOTE, invented_study
from tests.studies.miniature import TITLE

VOID = {"meta", "img", "source", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and what was not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.scripts, self.stack, self.errors = [], [], [], [], []
        self.source = text
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.words.append(data)
        elif self.stack and self.stack[-1] == "script":
            self.scripts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def charts(self):
        """What the charts are drawn from, by their name."""
        names = [plot["id"].removeprefix("plot-") for plot in self.all("div") if plot.get("role") == "application"]
        drawn = [chart for script in self.scripts if script.startswith("{") and "data" in (chart := json.loads(script))]
        return dict(zip(names, drawn, strict=True))

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def source(miniature):
    return (miniature.out / "report.html").read_text()


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


@pytest.fixture(scope="module")
def invented_page():
    result = invented_study()
    return Page(render_report(result, findings(result)))


def test_the_page_is_well_formed(page):
    assert page.errors == []
    assert page.stack == []


def test_the_page_loads_nothing(source, page):
    own = source.replace(get_plotlyjs(), "")
    assert len(source) - len(own) == len(get_plotlyjs()), "Plotly's script is there, once"
    loading = ("src", "srcset", "href", "data", "action", "poster", "background")
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in loading]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert not re.search(r"@import|url\(|https?:|<iframe|<link|<img", own)
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_text_is_escaped(source, page):
    assert html.escape(TITLE) in source or html.escape(TITLE, quote=False) in source or "&#34;" in source
    assert "<deeper>" not in source
    assert TITLE in page.text


def test_names_that_end_scripts_are_only_text(invented_page):
    assert invented_page.errors == []
    assert not invented_page.all("img")
    assert NOTE in invented_page.text
    assert NASTY in invented_page.text
    pairs = invented_page.charts["map-v0-wide-cka"]["pairs"]
    assert NASTY in pairs["rows"], "the page escapes these for Plotly: test_report_browser.py"
    said = [text for text in invented_page.charts["profile-v0-wide-cka"]["data"][0]["text"] if "onerror" in text]
    assert said
    assert not any(re.search(r"<(?!br>)", text) for text in said)


def test_json_in_a_page_cannot_end_its_script():
    text = str(embed({"</script><!--": ["&lt;\u2028", np.nan, np.float32(1.5), np.array([[1.0, np.nan]])]}))
    assert not re.search("[<>&\u2028]", text)
    (values,) = json.loads(text).values()
    assert values[:3] == ["&lt;\u2028", None, 1.5]
    assert values[3]["shape"] == "1, 2"


def test_every_chart_is_one_that_plotly_knows(invented_page):
    """Plotly.py refuses options that do not exist; the page's script would pass over them in silence."""
    assert len(invented_page.charts) == 5 + 2 + 2 + 2 + 5 * 4
    for chart in invented_page.charts.values():
        graph_objects.Figure({"data": chart["data"], "layout": chart["layout"]})


def test_every_chart_has_words(page):
    texts = {p["id"].removeprefix("alt-"): p for p in page.all("p") if p.get("id", "").startswith("alt-")}
    assert texts.keys() == page.charts.keys()
    plots = [plot for plot in page.all("div") if plot.get("role") == "application"]
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for plot in plots:
        assert plot["tabindex"] == "0"
        assert {plot["aria-labelledby"], *plot["aria-describedby"].split()} <= ids
    alts = re.findall(r'<p class="unseen" id="alt-[^"]*">(.*?)</p>', page.source, flags=re.S)
    assert len(set(alts)) == len(texts)
    assert all(len(alt) > 40 and re.search(r"\d", alt) for alt in alts)
    assert all("chance" in alt for alt in alts if alt.startswith("Map of"))


def test_links_within_the_page_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = {link["href"].removeprefix("#") for link in page.all("a")}
    assert links >= {"main", "networks", "costs", "overview", "inside", "limits", "provenance"}
    assert links <= set(ids)
    assert len(ids) == len(set(ids))


def test_headings_are_in_order(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_scroll_and_have_headers(page):
    regions = [attributes for _, attributes in page.elements if attributes.get("class") == "scroll"]
    assert regions
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    assert all("scope" in header for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_the_numbers_are_those_of_the_study(miniature, page):
    for member in miniature.members:
        accuracy = member.trained.accuracy
        assert f"{100 * accuracy.value:.1f} %" in page.text
        assert f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}" in page.text
        assert f"{member.cost.parameters:,}".replace(",", " ") in page.text  # the text has plain spaces only
        assert f"{member.cost.macs / 1e6:.2f} M" in page.text


def test_maps_hold_the_study(miniature, page):
    for name, by_metric in miniature.similarities.items():
        for metric, similarity in by_metric.items():
            pairs = page.charts[f"map-{name}-{metric}"]["pairs"]
            comparison = similarity.comparison
            assert (pairs["rows"], pairs["columns"]) == (list(comparison.rows), list(comparison.columns))
            for field in ("values", "stderr", "chance", "zscores"):
                packed, matrix = pairs[field], getattr(comparison, field)
                if isinstance(packed, dict):
                    held = np.frombuffer(base64.b64decode(packed["bdata"]), "<f4").reshape(matrix.shape)
                else:
                    held = np.full(matrix.shape, np.nan if packed is None else packed)
                np.testing.assert_allclose(held, matrix, rtol=1e-6)


def test_chance_and_yardstick_are_explained_and_shown(page):
    for term in ("Chance", "Yardstick", "CKA", "CCA (R²)", "Corresponding layers"):
        assert term in page.text
    assert page.text.count("chance") > 8
    for name, chart in page.charts.items():
        if name.startswith(("profile-", "overview-", "curves-")):
            assert any(trace["name"] == "chance" for trace in chart["data"]), name
        if name.startswith(("map-wider", "profile-wider")):
            assert chart["pairs"]["yardstick"] if chart["pairs"] else "seed to seed" in str(chart["data"])


def test_limits_say_what_resampled_pictures_are(page):
    assert "8 × 8 pixels" in page.text
    assert "no more detail" in page.text


def test_what_a_network_lacks_is_a_dash():
    """A figure that is missing, or a comparison, takes nothing else from the page."""
    result = invented_study(4)
    base, twin, *variants = result.members
    variants[0] = replace(variants[0], cost=replace(variants[0].cost, latency=float("nan")))
    variants[1] = replace(variants[1], trained=None, right=None, cost=None)
    found = result.similarities["v3-wide"]["cka"]
    undefined = replace(
        found, comparison=replace(found.comparison, values=np.full_like(found.comparison.values, np.nan))
    )
    similarities = {"baseline-seed1": result.similarities["baseline-seed1"], "v3-wide": {"cka": undefined}}
    page = Page(render_report(replace(result, members=(base, twin, *variants), similarities=similarities), []))
    assert page.errors == []
    assert "accuracy-latency" in page.charts
    assert len(page.charts["accuracy-latency"]["data"]) == 4  # of six: one has no latency, one nothing
    assert {"map-v3-wide-cka", "map-baseline-seed1-cka"} <= page.charts.keys()
    assert not any("v0-wide" in name for name in page.charts)
    assert page.text.count("–") > 8
    assert "nan" not in re.sub(r"[^a-z ]", " ", page.text.lower()).split()


def test_a_study_compared_with_nothing_has_a_page():
    page = Page(render_report(replace(invented_study(2), similarities={}), []))
    assert page.errors == []
    assert "The networks" in page.text
    assert "What changed inside" not in page.text


def test_a_further_section_is_one_more_entry():
    def budget(result, found):
        return Section("budget", "At <equal> budgets", "Budgets", f"{len(result.members)} & more")

    page = Page(render_report(invented_study(1), [], sections=(*SECTIONS, budget, lambda result, found: None)))
    assert "At <equal> budgets" in page.text
    assert "3 & more" in page.text
    assert {"href": "#budget"} in page.all("a")


def test_the_overview_of_two_networks_is_counted_by_hand():
    values = np.array([[0.9, 0.1, 0.2, 0.3], [0.95, 0.5, 0.1, 0.1], [0.1, 0.1, np.nan, 0.2], [0.1, 0.2, 0.3, 0.4]])
    similarity = invented.similarity(0, chance=0.05)
    similarity = replace(similarity, comparison=replace(similarity.comparison, values=values))
    net = [invented.member(name, [True, False]) for name in ("baseline", "twin", "wide")]
    twin = invented.similarity([0.8, 0.7, 0.6, 0.5])
    result = invented.result(net, {"twin": {"cka": twin}, "wide": {"cka": similarity}})
    one = summarize(result, ("wide", "baseline"), similarity)
    assert one.aligned == pytest.approx((0.9 + 0.5 + 0.4) / 3)
    assert one.best == pytest.approx((0.9 + 0.95 + 0.2 + 0.4) / 4)
    assert (one.found, one.layers) == (2, 4)
    assert one.chance == pytest.approx(0.05)
    assert one.yardstick == pytest.approx(0.65)


def test_networks_compared_with_each_other_become_a_map():
    result = invented_study(3)
    pairs = dict(compared_pairs(result)) | {("v1-deep", "v0-wide"): result.similarities["v2-fine"]}
    page = Page(str(overview(result, pairs).html))
    (trace,) = page.charts["overview-cka"]["data"]
    assert trace["x"] == ["baseline", "v0-wide"]
    assert trace["y"] == ["v2-fine", "v1-deep", "v0-wide", "baseline-seed1"]  # upward
    assert trace["z"][1][1] == trace["z"][0][0]
    assert trace["z"][3][1] is None
    assert trace["text"][3][1] == "not compared"


def test_the_themes_can_be_exchanged_colour_by_colour():
    light, dark = THEMES["light"], THEMES["dark"]
    colours = [light.paper, light.ink, light.muted, light.grid, *light.networks]
    assert len(set(colours)) == len(colours)
    assert len(light.networks) == len(dark.networks)
