"""HTML and SVG by construction: what no element made is text and is escaped, so no name can become markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Markup that is safe to embed."""

    __slots__ = ()


Child = str | Iterable[str]
_VOID = {"meta"}


def el(name: str, /, *children: Child, **attributes: str | float) -> Html:
    """An element. `class_` is class, and `aria_label` is aria-label; what is no Html is text."""
    given = "".join(f' {_attribute(key)}="{escape(str(value))}"' for key, value in attributes.items())
    start = f"<{name}{given}>"
    return Html(start if name in _VOID else f"{start}{text(*children)}</{name}>")


def text(*children: Child) -> Html:
    """Texts and elements one after the other."""
    return Html("".join(_rendered(child) for child in children))


def _rendered(child: Child) -> str:
    if isinstance(child, Html):
        return child
    return escape(child.replace(" %", "\N{NO-BREAK SPACE}%"), quote=False) if isinstance(child, str) else text(*child)


def _attribute(key: str) -> str:
    exact = {"viewBox", "preserveAspectRatio"}
    return key if key in exact else key.rstrip("_").replace("_", "-")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Html:
    """A table that scrolls by itself where it is wide; the first cell heads its row, after `texts` come numbers."""
    sides = ["" if i < texts else "n" for i in range(len(columns))]
    head = [el("th", column, scope="col", class_=side) for column, side in zip(columns, sides, strict=True)]
    body = [
        el(
            "tr",
            el("th", row[0], scope="row"),
            [el("td", cell, class_=side) for cell, side in zip(row[1:], sides[1:], strict=True)],
        )
        for row in rows
    ]
    made = el("table", el("caption", caption), el("thead", el("tr", head)), el("tbody", body))
    return el("div", made, class_="wide", role="region", tabindex=0, aria_label=caption)
