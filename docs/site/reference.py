"""The generated pages below docs/reference, which are checked in so that they read in a view of the repository too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from docs.site import client, command_line, configuration, contract, telemetry
from docs.site.elements import ROOT, Element, head

FOLDER = ROOT / "docs" / "reference"


def elements() -> Iterator[Element]:
    """Everything public."""
    for source in (contract, configuration, command_line, telemetry, client):
        yield from source.elements()


def overview() -> str:
    """What there is, and how much of it is documented."""
    about = (
        "Written from the contract, the configuration's models, the command line and the telemetry themselves. A test "
        "fails when a page is stale or something public has no word."
    )
    every, told = (Counter(e.kind for e in elements() if e.said.strip() or not only) for only in (False, True))
    rows = [f"| {kind} | {told[kind]} | {count} |" for kind, count in every.items()]
    total = f"| **all** | {told.total()} | {every.total()} |"
    return "\n".join(
        [
            head("Reference", about),
            "- [The contract](contract.md): services, messages, enums",
            "- [Errors](errors.md): what is refused, with which status, and whether to try again",
            "- [Configuration](configuration.md): every key with its limits and default",
            "- [Command line](command-line.md): every command and option",
            "- [Metrics, spans, logs](telemetry.md): what a router tells of itself",
            "- [Python client](python-client.md): what `import sojourn` offers",
            "",
            "| what | documented | of |",
            "| --- | --- | --- |",
            *rows,
            total,
            "",
        ]
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "README.md": overview,
    "contract.md": contract.page,
    "errors.md": contract.errors_page,
    "configuration.md": configuration.page,
    "command-line.md": command_line.page,
    "telemetry.md": telemetry.page,
    "python-client.md": client.page,
}


def stale() -> list[str]:
    """Pages that are not as they would be written now, and files that nobody writes."""
    written = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")}
    return sorted(
        name for name in written.keys() | PAGES.keys() if name not in PAGES or written.get(name) != PAGES[name]()
    )


def write() -> None:
    """Writes all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")
