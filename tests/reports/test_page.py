"""The page by itself: well-formed, self-contained, small, safe; what it says of much, little and nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sojourn_server.exchange.episodes import Episode
from sojourn_server.reports import charts
from sojourn_server.reports.figures import Interval
from sojourn_server.reports.markup import el, text
from sojourn_server.reports.page import Facts, page
from tests.reports.episodes import episode, history

FACTS = Facts(policy="default", mode="LIVE", journal_position=99, made_at_ms=1_700_000_000_000, left_out=0)
VOID = {"meta"}
HOSTILE = "</style><script>alert(1)</script>\"'&"


class Outline(HTMLParser):
    """Refuses tags that are not closed in order; remembers every element with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outlined(episodes: list[Episode], **changes: Any) -> Outline:
    outline = Outline()
    outline.feed(page(episodes, FACTS._replace(**changes)))
    outline.close()
    assert outline._open == []
    return outline


HISTORIES = [history(300), history(30), [episode("ab")], [episode(is_control=True)], [episode(imported=True)], []]


@pytest.mark.parametrize("episodes", HISTORIES, ids=["many", "some", "one", "a control", "an import", "none"])
def test_whatever_the_history_the_page_is_whole(episodes: list[Episode]):
    outline = outlined(episodes)
    assert len(outline.all("section")) == 7
    assert not re.search(r"\b(nan|inf|None)\b", outline.text)
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "").removeprefix("#") for a in outline.all("a")} <= set(ids)


def test_it_loads_nothing_and_runs_nothing():
    html = page(history(300), FACTS)
    assert "default-src &#x27;none&#x27;" in html
    assert not re.search(r"(?i)(https?:)?//|url\(|@import|<script|<link|<img|<iframe|\bsrc=|\bon\w+=", html)


def test_it_is_small_however_long_the_history():
    assert len(page(history(5_000), FACTS).encode()) < 80_000


def test_names_from_outside_stay_text():
    outline = outlined([episode("ab", tools=[HOSTILE, HOSTILE])] * 30, policy=HOSTILE)
    assert outline.all("script") == []
    assert outline.text.count(HOSTILE) >= 3


def test_it_has_a_language_a_title_one_heading_and_described_drawings():
    outline = outlined(history(300))
    assert outline.all("html") == [{"lang": "en"}]
    assert "Sojourn: policy default" in outline.text
    assert len(outline.all("h1")) == 1
    pictures = [svg for svg in outline.all("svg") if svg.get("role") == "img"]
    assert len(pictures) == 1
    assert all(svg["aria-label"] for svg in pictures)
    assert all(svg.get("aria-hidden") == "true" for svg in outline.all("svg") if svg not in pictures)
    assert len(outline.all("caption")) == len(outline.all("table"))


def test_it_says_what_it_is_about_and_what_it_leaves_out():
    said = outlined([*history(30), episode(imported=True)], left_out=7).text
    assert "1 imported ones (left out)" in said
    assert "7 older ones are left out" in said
    assert "2023-11-14 22:13 UTC" in said


def test_conclusions_come_from_the_data():
    told = outlined(history(600)).text
    assert "The score rises" in told
    assert "Against never-switch: the learned policy saves" in told
    assert "Models specialise: search goes to a" in told
    little = outlined(history(10)).text
    assert little.count("cannot tell yet") >= 4
    assert "saves" not in little


def test_text_is_escaped_once_and_elements_are_not():
    made = el("p", "a < b & c", el("b", '"'), title='"<')
    assert made == '<p title="&quot;&lt;">a &lt; b &amp; c<b>"</b></p>'
    assert text(made, "<") == made + "&lt;"


def test_drawings_stay_in_their_box():
    wide = Interval(5.0, float("-inf"), float("inf"), 3)
    drawn = charts.whiskers(wide, -1.0, 1.0, zero=0.0)
    assert all(0.0 <= float(number) <= 100.0 for number in re.findall(r"[MHV ](-?[\d.]+)", drawn))


def test_more_models_than_colours_share_the_last_one():
    names = [f"model {i}" for i in range(12)]
    assert "4 others" in charts.legend(names)
    assert charts.stack((i, 1 / 12) for i in range(12)).count('class="c8"') == 4
