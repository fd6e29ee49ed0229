"""The report: whole, safe, accessible, and true to the figures and tables beside it."""

from __future__ import annotations

import base64
import html
import re
from html.parser import HTMLParser

import pytest

from tests.studies.miniature import TITLE

VOID = {"meta", "img", "source", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and what was not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.stack, self.errors = [], [], [], []
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
        if self.stack and self.stack[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def source(miniature):
    return (miniature.out / "report.html").read_text()


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_the_page_is_well_formed(page):
    assert page.errors == []
    assert page.stack == []


def test_the_page_loads_nothing(source, page):
    loading = ("src", "srcset", "href", "data", "action", "poster", "background", "style")
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in loading]
    assert addresses
    for address in addresses:
        assert address.startswith(("data:image/png;base64,", "#", "--width:")), address[:80]
    assert not re.search(r"@import|url\(|https?:|<script|<iframe|<link", source)


def test_text_is_escaped(source, page):
    assert html.escape(TITLE) in source or html.escape(TITLE, quote=False) in source or "&#34;" in source
    assert "<deeper>" not in source
    assert TITLE in page.text


def test_every_figure_is_embedded_for_both_themes(miniature, page):
    files = {path.name: path.read_bytes() for path in (miniature.out / "figures").iterdir()}
    decoded = [base64.b64decode(image["src"].partition(",")[2]) for image in page.all("img")]
    dark = [base64.b64decode(image["srcset"].partition(",")[2]) for image in page.all("source")]
    assert sorted(decoded) == sorted(content for name, content in files.items() if not name.endswith("-dark.png"))
    assert sorted(dark) == sorted(content for name, content in files.items() if name.endswith("-dark.png"))


def test_every_picture_has_words(page):
    alts = [image["alt"] for image in page.all("img")]
    assert all(len(alt) > 40 and re.search(r"\d", alt) for alt in alts)
    assert len(set(alts)) == len(alts)
    assert all("chance" in alt for alt in alts if alt.startswith("Map of"))


def test_links_within_the_page_lead_somewhere(page):
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {link["href"].removeprefix("#") for link in page.all("a")}
    assert links
    assert links <= ids


def test_tables_scroll_and_have_headers(page):
    regions = [attributes for _, attributes in page.elements if attributes.get("class") == "scroll"]
    assert regions
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    assert all("scope" in header for header in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_the_numbers_are_those_of_the_study(miniature, page):
    for member in miniature.members:
        accuracy = member.trained.accuracy
        assert f"{100 * accuracy.value:.1f} %" in page.text
        assert f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}" in page.text
        assert f"{member.cost.parameters:,}".replace(",", " ") in page.text  # the text has plain spaces only
        assert f"{member.cost.macs / 1e6:.2f} M" in page.text


def test_chance_and_yardstick_are_explained_and_shown(page):
    for term in ("Chance", "Yardstick", "CKA", "CCA (R²)", "Corresponding layers"):
        assert term in page.text
    assert page.text.count("chance") > 8


def test_limits_say_what_resampled_pictures_are(page):
    assert "8 × 8 pixels" in page.text
    assert "no more detail" in page.text
