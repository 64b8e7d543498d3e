"""The page in a real browser, on a phone and on a desk, in light and in dark, by keyboard and on paper.

Debian's Chromium, driven by Playwright. Contrast is WCAG 2.2's: 4.5 for text, 3 for what a chart is drawn with.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from sojourn_server.exchange.episodes import Episode
from sojourn_server.reports.page import Facts, page
from tests.browser import COLOURS, DESK, PHONE, TEXTS, Theme
from tests.reports.episodes import history

NAMES = {"a": "provider/a-rather-long-model-name-2026-05-01", "b": "gpt-oss-120b", "": ""}

DRAWINGS = f"""() => {{ {COLOURS}
  const ink = e => {{ const s = getComputedStyle(e); return s.fill === "none" ? s.stroke : s.fill; }};
  return [...document.querySelectorAll("svg .line, svg .reach, svg .dot, svg rect")]
    .map(e => [e.getAttribute("class"), contrast(parsed(ink(e)), ground(e.closest("svg").parentElement))]);
}}"""
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(e => !e.closest(".wide, .skip"))
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 120))"""
FOCUSABLE = """() => [...document.querySelectorAll("a, summary, .wide")]
  .filter(e => e.checkVisibility()).map(e => e.outerHTML)"""
FOCUSED = """() => { const e = document.activeElement, box = e.getBoundingClientRect();
  const { outlineStyle, outlineWidth } = getComputedStyle(e);
  return { html: e.outerHTML, outline: outlineStyle === "none" ? 0 : parseFloat(outlineWidth),
           seen: box.width > 0 && box.left >= 0 && box.top < innerHeight && box.bottom > 0 }; }"""


def named(episode: Episode) -> Episode:
    """With names as long as real ones."""
    turns = (turn._replace(model=NAMES[turn.model], left=NAMES[turn.left]) for turn in episode.turns)
    return episode._replace(turns=tuple(turns))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    facts = Facts(policy="default", mode="LIVE", journal_position=99, made_at_ms=1_700_000_000_000, left_out=0)
    path.write_text(page([named(e) for e in history(400)], facts), "utf-8")
    return path


@pytest.fixture
def shown(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Page]:
    """The page at a width and in a theme; whatever it asks for, or complains about, fails the test."""
    width: int
    theme: Theme
    width, theme = getattr(request, "param", (DESK, "light"))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    opened, asked, complaints = context.new_page(), list[str](), list[str]()
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(file.as_uri())
    yield opened
    context.close()
    assert set(asked) == {file.as_uri()}
    assert complaints == []


everywhere = pytest.mark.parametrize(
    "shown", [(w, t) for w in (PHONE, DESK) for t in ("light", "dark")], indirect=True, ids=lambda p: f"{p[0]} {p[1]}"
)


def unfold(shown: Page) -> None:
    shown.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")


@everywhere
def test_nothing_is_wider_than_the_window(shown: Page):
    for _ in range(2):
        assert shown.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert shown.evaluate(OUTSIDE) == []
        unfold(shown)


@everywhere
def test_texts_and_drawings_stand_out(shown: Page):
    unfold(shown)
    texts, drawings = shown.evaluate(TEXTS), shown.evaluate(DRAWINGS)
    assert len(texts) > 200
    assert [found for found in texts if found[1] < 4.5] == []
    assert len(drawings) > 30
    assert [found for found in drawings if found[1] < 3.0] == []


def test_the_themes_differ(browser: Browser, file: Path):
    grounds = set()
    themes: tuple[Theme, ...] = ("light", "dark")
    for theme in themes:
        opened = browser.new_page(color_scheme=theme)
        opened.goto(file.as_uri())
        grounds.add(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
        opened.close()
    assert len(grounds) == 2


@everywhere
def test_the_keyboard_reaches_every_control_in_order_and_shows_where_it_is(shown: Page):
    shown.locator("details").first.evaluate("d => { d.open = true; }")
    controls, reached = shown.evaluate(FOCUSABLE), list[Any]()
    for _ in controls:
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate(FOCUSED))
    assert [focus["html"] for focus in reached] == controls
    assert all(focus["outline"] >= 2 and focus["seen"] for focus in reached)


def test_the_keyboard_unfolds_the_numbers(shown: Page):
    shown.locator("summary").first.focus()
    shown.keyboard.press("Enter")
    assert shown.get_by_role("region", name="Moving mean of the score").is_visible()


def test_the_first_stop_skips_to_the_figures(shown: Page):
    shown.keyboard.press("Tab")
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "figures"


def test_on_paper_everything_is_unfolded_and_nothing_is_there_to_click(shown: Page):
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not shown.locator("nav").is_visible()
    tables = shown.evaluate("() => [...document.querySelectorAll('details table')].map(t => t.checkVisibility())")
    assert tables == [True] * 7


def test_drawings_are_told_to_those_who_cannot_see_them(shown: Page):
    told = shown.get_by_role("img").all()
    assert len(told) == 1
    assert "Mean score of the last" in (told[0].get_attribute("aria-label") or "")
    assert shown.get_by_role("main").count() == 1
    assert shown.get_by_role("navigation", name="Figures").count() == 1
    assert shown.get_by_role("heading", level=2).count() == 7
