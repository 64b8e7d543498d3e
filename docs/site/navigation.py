"""The site's navigation, from what the pages say anyhow.

index.md is the map: each of its sections that lists pages becomes a part of the navigation, in that order. Pages in a
folder belong to the page that introduces the folder: its README.md, or the page beside it that bears its name. So a
record among the decisions is found by itself, and a page that stands nowhere is a warning of Sphinx, which is an error.
"""

from __future__ import annotations

import re
from pathlib import Path

LISTED = re.compile(r"^- \[[^\]]+\]\(([^)#:]+)\.md\)", re.MULTILINE)


def with_navigation(pages: Path, page: Path, text: str) -> str:
    """The page's text with the lists of pages below it that Sphinx needs."""
    if page == pages / "index.md":
        return text + "".join(_tree(title, found) for title, found in listed(text).items())
    folder = page.parent if page.name == "README.md" else page.with_suffix("")
    below = sorted(p for p in folder.glob("*.md") if p != page) if folder.is_dir() else []
    names = [p.relative_to(page.parent).with_suffix("").as_posix() for p in below]
    return text + _tree("", names) if names else text


def listed(index: str) -> dict[str, list[str]]:
    """Pages by section of the map, without their ending."""
    sections = [section.partition("\n") for section in index.split("\n## ")[1:]]
    return {title: found for title, _, body in sections if (found := LISTED.findall(body))}


def _tree(title: str, names: list[str]) -> str:
    return "\n\n```{toctree}\n:hidden:\n" + f":caption: {title}\n\n" * bool(title) + "\n".join(["", *names]) + "\n```\n"
