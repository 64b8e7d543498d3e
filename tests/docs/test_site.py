"""The site builds without a warning, loads nothing from elsewhere, and reads on a phone as on a desk."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from docs.site.elements import ROOT
from docs.site.navigation import listed
from tests.browser import DESK, PHONE, TEXTS, Theme

pytestmark = pytest.mark.timeout(600)  # a build takes ten seconds of a core, on a loaded machine a minute

DOCS = ROOT / "docs"
PAGES = ["index", "tutorial", "operations", "reference/configuration", "arena/babyai-large"]
SHADES: list[tuple[int, Theme]] = [(PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark")]
WIDER = """() => [...document.querySelectorAll("article *")]
  .filter(e => !e.closest(".table-wrapper, .highlight, .headerlink, .toc-drawer"))
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 120))"""


def build(root: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Builds the site of a checkout."""
    command = [sys.executable, "-m", "docs.site", str(output)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site") / "html"
    ran = build(ROOT, output)
    assert ran.returncode == 0, ran.stderr
    return output


def test_every_page_is_in_the_site(site: Path):
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert pages <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}


def test_whatever_a_page_loads_comes_along(site: Path):
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        links = re.findall(r'<link rel="(?:stylesheet|icon|preload)[^>]*href="([^"]+)"', text)
        loaded = [*re.findall(r'<(?:script|img|source)[^>]* src="([^"]+)"', text), *links]
        assert loaded
        for source in loaded:
            assert (page.parent / source.partition("?")[0]).resolve().is_file(), f"{page.name}: {source}"


def test_mistakes_on_pages_are_found(tmp_path: Path):
    shutil.copytree(DOCS / "site", tmp_path / "docs" / "site")
    (tmp_path / "README.md").touch()
    pages = {
        "index": "# Map\n\n## Part\n\n- [Page](page.md)\n- [Folder](folder/README.md)\n",
        "page": "# Page\n\n[a](nowhere.md) [b](index.md#no-such-heading) [c](../no/file.py) [right](../README.md)\n",
        "folder/README": "# Folder\n",
        "folder/found-by-itself": "# Found\n",
        "stray": "# Stray\n",
    }
    for name, text in pages.items():
        path = tmp_path / "docs" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    ran = build(tmp_path, tmp_path / "html")
    assert ran.returncode != 0
    for mistake in ("stray.md", "nowhere.md", "no-such-heading", "../no/file.py leads nowhere"):
        assert mistake in ran.stderr
    assert ran.stderr.count("WARNING") == 4


def test_the_map_lists_pages_by_section():
    index = "# T\n\n## A\n\n- [x](x.md): said\n- [y](b/y.md)\n\n## B\n\nNo list, [z](z.md)\n\n## C\n\n- [u](https://u.org/u.md)\n"
    assert listed(index) == {"A": ["x", "b/y"]}


@pytest.fixture
def opened(browser: Browser, site: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of the site as a file, without a network; what it complains of, or asks others for, fails the test."""
    (width, theme), name = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme, offline=True)
    page, asked, complaints = context.new_page(), list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((site / f"{name}.html").as_uri())
    yield page
    context.close()
    assert [url for url in asked if not url.startswith((site.as_uri(), "data:"))] == []
    assert complaints == []


@pytest.mark.parametrize(
    "opened", [(shade, name) for shade in SHADES for name in PAGES], indirect=True, ids=lambda p: f"{p[1]} {p[0]}"
)
def test_a_page_reads_on_a_phone_as_on_a_desk(opened: Page):
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert opened.evaluate(WIDER) == []
    texts = opened.evaluate(TEXTS)
    assert len(texts) > 100
    assert [found for found in texts if found[1] < 4.5] == []


@pytest.mark.parametrize("opened", [((DESK, "light"), "search")], indirect=True)
def test_the_search_works_without_a_server(opened: Page):
    opened.goto(f"{opened.url}?q=propensity")
    found = opened.wait_for_selector("#search-results li a:has-text('The contract')")  # they come one by one
    assert found is not None
