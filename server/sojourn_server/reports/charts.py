"""Charts as inline SVG without a word in it: words are HTML beside it, so they stay readable at any width.

Drawings fill their box (`preserveAspectRatio="none"`), and strokes keep their width (`non-scaling-stroke`). Colours
come from the page's classes, so both themes and print have their own. Coordinates run from 0 to 100.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from sojourn_server.reports.figures import Interval, Point
from sojourn_server.reports.markup import Html, el

COLOURS = 8
REST = "c8"


def colour(place: int) -> str:
    """The class of the nth thing of a chart; all beyond the palette share one."""
    return f"c{place}" if place < COLOURS else REST


def curve(points: Sequence[Point], *, title: str, description: str) -> Html:
    """Scores in [0, 1] over episodes: the mean as a line, its interval as a band. At least two points."""
    first, last = points[0].episode, points[-1].episode
    xs = [100.0 * (p.episode - first) / max(last - first, 1) for p in points]
    upper = [(x, _height(p.score.high)) for x, p in zip(xs, points, strict=True)]
    lower = [(x, _height(p.score.low)) for x, p in zip(xs, points, strict=True)]
    line = [(x, _height(p.score.value)) for x, p in zip(xs, points, strict=True)]
    grid = [el("path", d=f"M0 {y}H100", class_="grid") for y in (0, 25, 50, 75, 100)]
    band = el("polygon", points=_path([*upper, *reversed(lower)]), class_="band")
    mean = el("polyline", points=_path(line), class_="line")
    drawn = _svg(grid, band, mean, title=title, description=description, class_="curve")
    scale = el("div", [el("span", label) for label in ("1", "0.5", "0")], class_="y", aria_hidden="true")
    names = el("div", el("span", f"episode {first}"), el("span", f"episode {last}"), class_="x")
    return el("div", scale, drawn, names, class_="plot")


def bar(value: float, most: float) -> Html:
    """A bar from 0; the number belongs beside it."""
    return _silent(el("rect", x=0, y=0, height=100, width=f"{100.0 * value / most if most else 0.0:.2f}", class_="c0"))


def whiskers(found: Interval, low: float, high: float, *, zero: float | None = None) -> Html:
    """A dot with its interval on the scale low .. high, and a line at `zero`; what is infinite goes to the ends."""
    ends = [_clip(_place(v, low, high) if isfinite(v) else (0.0 if v < 0 else 100.0)) for v in (found.low, found.high)]
    at = _clip(_place(found.value, low, high))
    origin = "M0 50H100" if zero is None else f"M0 50H100M{_place(zero, low, high):.2f} 0V100"
    reach = el("path", d=f"M{ends[0]:.2f} 50H{ends[1]:.2f}", class_="reach")
    return _silent(el("path", d=origin, class_="grid"), reach, el("path", d=f"M{at:.2f} 50h0", class_="dot"))


def stack(parts: Iterable[tuple[int, float]]) -> Html:
    """Shares side by side: (place in the palette, share)."""
    drawn, at = list[Html](), 0.0
    for place, share in parts:
        drawn.append(el("rect", x=f"{at:.2f}", y=0, height=100, width=f"{100.0 * share:.2f}", class_=colour(place)))
        at += 100.0 * share
    return _silent(drawn)


def legend(names: Sequence[str]) -> Html:
    """Names with their colours, in the palette's order; those that share the last colour share an entry."""
    shown = [(colour(i), name) for i, name in enumerate(names[:COLOURS])]
    shown += [(REST, f"{len(names) - COLOURS} others")] if len(names) > COLOURS else []
    return el(
        "ul", [el("li", el("span", class_=f"swatch {c}", aria_hidden="true"), name) for c, name in shown], class_="key"
    )


def _svg(*children: Html | Iterable[Html], title: str, description: str, class_: str) -> Html:
    told = (el("title", title), el("desc", description))
    return el(
        "svg",
        *told,
        *children,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{title}. {description}",
        class_=class_,
    )


def _silent(*children: Html | Iterable[Html]) -> Html:
    """A drawing of numbers that stand beside it."""
    return el("svg", *children, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true", class_="mark")


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _height(value: float) -> float:
    return _clip(100.0 - 100.0 * value)


def _place(value: float, low: float, high: float) -> float:
    return 100.0 * (value - low) / (high - low) if high > low else 50.0


def _clip(value: float) -> float:
    return min(max(value, 0.0), 100.0)
