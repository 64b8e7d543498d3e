"""`python -m docs.site`: builds the site into dist/docs, warnings as errors; `--reference` writes docs/reference."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx_build

from docs.site import reference
from docs.site.elements import ROOT


def main() -> None:
    """Builds the site, and ends with Sphinx's exit code; or writes the reference."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description=__doc__)
    parser.add_argument("output", nargs="?", type=Path, default=ROOT / "dist" / "docs", help="dist/docs unless given")
    parser.add_argument("--reference", action="store_true", help="write the pages below docs/reference instead")
    given = parser.parse_args()
    if given.reference:
        reference.write()
    else:
        sys.exit(build(given.output))


def build(output: Path) -> int:
    """Builds the site from nothing. 0 if no page has a mistake."""
    options = ["-b", "html", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "--write-all"]
    return sphinx_build([*options, "-c", str(ROOT / "docs" / "site"), str(ROOT / "docs"), str(output)])


if __name__ == "__main__":
    main()
