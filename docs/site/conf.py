"""Sphinx's configuration: plain Markdown pages in, a site out that loads nothing from elsewhere.

Pages hold no directives, so that they read as well in a view of the repository. What a site needs beside is worked out
here: its navigation from the lists in index.md (`navigation`), and links out of docs/ lead to the repository's files.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from docs.site.navigation import with_navigation

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
FILES_URL = os.environ.get("SOJOURN_FILES_URL", "https://github.com/sojourn-router/sojourn/blob/main")
"""Where the repository's files are looked at."""
OUTWARD = re.compile(r"(?<=\]\()(?:\.\./)+[^)\s]*")

project = "Sojourn"
author = "The Sojourn maintainers"
release = version = installed_version("sojourn")

extensions = ["myst_parser"]
exclude_patterns = ["site", "plots", "reports/*"]
root_doc = "index"
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a record may begin its sections at any level
highlight_language = "none"

html_theme = "furo"
html_title = f"Sojourn {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_search_summary = False  # a page that was opened from a disk may not fetch others
html_show_copyright = False
html_last_updated_fmt = None
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def setup(app: Sphinx) -> None:
    """Lets pages be as they are in the repository."""
    app.connect("source-read", _prepare)


def _prepare(app: Sphinx, name: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(name))
    content[0] = with_navigation(PAGES, page, OUTWARD.sub(lambda link: _outward(page, link[0]), content[0]))


def _outward(page: Path, link: str) -> str:
    """A relative link as it is, or where it leaves docs/ the address of the file; warns if there is none."""
    path, hash_sign, anchor = link.partition("#")
    target = Path(os.path.normpath(page.parent / path))
    if target.is_relative_to(PAGES):
        return link
    if not target.exists():
        log.warning("%s leads nowhere", link, location=str(page))
    return f"{FILES_URL}/{target.relative_to(ROOT).as_posix()}{hash_sign}{anchor}"
