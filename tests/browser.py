"""What pages are looked at with: Debian's Chromium, driven by Playwright, and questions that are asked of a page.

Contrast is WCAG 2.2's: 4.5 for text, 3 for what a chart is drawn with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

PHONE, DESK = 375, 1280
Theme = Literal["light", "dark"]

COLOURS = """
const luminance = ([r, g, b]) => [r, g, b]
  .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const parsed = text => text.match(/[\\d.]+/g).map(Number);
const ground = e => {
  for (; e; e = e.parentElement) {
    const colour = parsed(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const contrast = (one, two) => {
  const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
"""
TEXTS = f"""() => {{ {COLOURS}
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) {{
    const e = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && !e.closest("svg"))
      found.push([walker.currentNode.data, contrast(parsed(getComputedStyle(e).color), ground(e))]);
  }}
  return found;
}}"""


@contextmanager
def opened(chromium: Path) -> Iterator[Browser]:
    """A browser. As root, in a container, Chromium has no sandbox; it opens pages of ours."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()
