"""The report: one HTML file that needs nothing else, readable offline, on a phone, on paper, in light and in dark.

Each section says first what to conclude, then shows it, and folds the numbers behind it away. The page runs no script
and may load nothing: its policy (Content-Security-Policy) says so to the browser, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import NamedTuple

from sojourn_server.evaluation.savings import CONTROLS, Difference, compare, sentence
from sojourn_server.exchange.episodes import Episode
from sojourn_server.reports import charts, figures, sentences
from sojourn_server.reports.figures import Interval
from sojourn_server.reports.markup import Html, el, table, text
from sojourn_server.reports.sentences import between, percent, score

_MOST_ROWS = 12
_ONE_LOOK = "Intervals are 95 %, over episodes, for one look."
_AT_ALL_TIMES = "Intervals are 95 % and hold however often one looks; docs/evaluation.md says how they are made."


class Facts(NamedTuple):
    """What the report is about."""

    policy: str
    mode: str
    journal_position: int
    made_at_ms: int
    left_out: int
    """Ended episodes that are older than those reported on."""


def page(episodes: Sequence[Episode], about: Facts) -> Html:
    """The report on a policy's episodes, which stand in the order of their ends."""
    sections = (_learning, _switching, _staying, _shares, _controls, _forfeited, _drift)
    bodies = [section(episodes) for section in sections]
    names = [(section.__name__.strip("_"), body.title) for section, body in zip(sections, bodies, strict=True)]
    return text(
        Html("<!doctype html>\n"),
        el(
            "html",
            _head(f"Sojourn: policy {about.policy}"),
            el(
                "body",
                el("a", "Skip to the figures", href="#figures", class_="skip"),
                el("header", el("h1", f"Policy {about.policy}"), _about(episodes, about), _tiles(episodes)),
                el("nav", el("ul", [el("li", el("a", t, href=f"#{i}")) for i, t in names]), aria_label="Figures"),
                el(
                    "main", [_section(i, b) for (i, _), b in zip(names, bodies, strict=True)], id="figures", tabindex=-1
                ),
                el("footer", el("p", f"Made by Sojourn at {_moment(about.made_at_ms)}.")),
            ),
            lang="en",
        ),
    )


def _head(title: str) -> Html:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Html(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))),
    )


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _about(episodes: Sequence[Episode], about: Facts) -> Html:
    own, imported = len(figures.own(episodes)), sum(e.imported for e in episodes)
    controls = sum(e.is_control and e.ended for e in episodes)
    ended = f"{own:,} ended episodes of its own, {controls:,} of its control cohorts"
    rest = f", {imported} imported ones (left out)" if imported else ""
    older = f" {about.left_out} older ones are left out." if about.left_out else ""
    since = f" Since {_moment(min(e.started_at_ms for e in episodes))}." if episodes else ""
    return el("p", f"{ended}{rest}.{older}{since} Mode {about.mode}; the journal is at {about.journal_position}.")


def _tiles(episodes: Sequence[Episode]) -> Html:
    own, stay = figures.own(episodes), figures.staying(episodes).after_error
    scored, paid = (figures.mean(v for e in own if (v := getattr(e, f)) is not None) for f in ("score", "cost_usd"))
    switches = figures.switching(episodes).own
    tiles = (
        ("score", score(scored.value) if scored else "unknown"),
        ("USD an episode", f"{paid.value:.4g}" if paid else "unknown"),
        ("switches an episode", f"{switches.value:.1f}" if switches else "unknown"),
        ("stays after an error", percent(stay.value) if stay else "unknown"),
    )
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in tiles], class_="tiles")


class Section(NamedTuple):
    """A heading, what to conclude, the drawing, the folded numbers, and how they were made."""

    title: str
    says: Sequence[str]
    shown: Html
    numbers: Html
    how: str


def _section(name: str, body: Section) -> Html:
    told = [el("p", line, class_="untold" if sentences.UNTOLD in line else "says") for line in body.says]
    folded = el("details", el("summary", f"Numbers: {body.title}"), body.numbers, el("p", body.how))
    return el("section", el("h2", body.title, id=f"{name}-title"), told, body.shown, folded, id=name)


def _learning(episodes: Sequence[Episode]) -> Section:
    found = figures.learning_curve(episodes)
    title, shown = "Learning curve", Html("")
    if len(found.points) > 1:
        told = f"Mean score of the last {found.window} episodes, over the episodes of the policy in order"
        shown = charts.curve(found.points, title=told, description=sentences.learning(found))
        shown = el("figure", shown, el("figcaption", f"{told}, with its 95 % interval."))
    rows = [(str(p.episode), score(p.score.value), between(p.score)) for p in _some(found.points)]
    numbers = table("Moving mean of the score", ("until episode", "score", "interval"), rows)
    how = f"Episodes of the policy itself with a score; a window is {found.window} of them. {_ONE_LOOK}"
    return Section(title, [sentences.learning(found)], shown, numbers, how)


def _some(points: Sequence[figures.Point]) -> Sequence[figures.Point]:
    """At most `_MOST_ROWS` of them, the last one counted in."""
    return list(reversed(points[:: -max(1, -(-len(points) // _MOST_ROWS))]))


def _bars(rows: Sequence[tuple[str, Html, str]], caption: str) -> Html:
    """A drawing a row between its name and its number."""
    made = [
        el("tr", el("th", name, scope="row"), el("td", drawn), el("td", value, class_="n"))
        for name, drawn, value in rows
    ]
    return el("table", el("caption", caption), el("tbody", made), class_="bars") if rows else Html("")


def _switching(episodes: Sequence[Episode]) -> Section:
    found = figures.switching(episodes)
    counts = found.episodes_by_switches
    width = max(1, -(-(max(counts, default=0) + 1) // _MOST_ROWS))
    bins = [0] * (max(counts, default=-1) // width + 1)
    for switches, number in counts.items():
        bins[switches // width] += number
    names = [f"{i * width}" if width == 1 else f"{i * width}-{(i + 1) * width - 1}" for i in range(len(bins))]
    rows = [(name, charts.bar(n, max(bins)), f"{n:,}") for name, n in zip(names, bins, strict=True)]
    means = [("policy", found.own), ("control cohorts", found.controls)]
    numbers = table("Switches an episode", ("", "mean", "interval"), [_row(n, v, digits=1) for n, v in means])
    how = f"A switch is a turn that another model served than the turn before. {_ONE_LOOK}"
    shown = _bars(rows, "Episodes by their number of switches")
    return Section("Switches per episode", [sentences.switches(found)], shown, numbers, how)


def _row(name: str, found: Interval | None, *, digits: int = 2) -> tuple[str, ...]:
    return (name, f"{found.value:.{digits}f}" if found else "none", between(found, digits=digits))


def _staying(episodes: Sequence[Episode]) -> Section:
    found = figures.staying(episodes)
    named = [("after an error", found.after_error), ("after other turns", found.otherwise)]
    named += [(f"{severity} error", rate) for severity, rate in found.by_severity.items()]
    rows = [(n, charts.whiskers(rate, 0.0, 1.0), percent(rate.value)) for n, rate in named if rate is not None]
    numbers = table("Share of turns that stayed", ("", "share", "interval"), [_row(n, rate) for n, rate in named])
    how = f"Of the turns that follow such a turn, the share that the same model served. {_ONE_LOOK}"
    shown = _bars(rows, "Turns that stayed with their model: none at the left, all at the right")
    return Section("Staying after an error", [sentences.stays(found)], shown, numbers, how)


def _shares(episodes: Sequence[Episode]) -> Section:
    found = figures.shares(episodes)
    overall = [found.overall[model] for model in found.models]
    rows = [("all work", charts.stack(enumerate(overall)), f"{sum(found.turns.values()):,}")]
    for tool, share in found.share.items():
        drawn = charts.stack((i, share[model].value) for i, model in enumerate(found.models))
        rows.append((tool or "(none)", drawn, f"{found.turns[tool]:,}"))
    cells = [
        (tool or "(none)", *(f"{percent(share[m].value)} ×{found.lift[tool][m]:.1f}" for m in found.models))
        for tool, share in found.share.items()
    ]
    cells.append(("all work", *map(percent, overall)))
    numbers = table("Share of turns, and lift over the share of all work", ("tool type", *found.models), cells)
    how = "Lift (×) is a model's share of the tool type's turns over its share of all turns: above 1, it is preferred."
    drawn = _bars(rows, "Models by tool type; right: turns") if found.models else Html("")
    shown = text(charts.legend(found.models), drawn)
    return Section("Which model for which work", [sentences.specialists(found)], shown, numbers, how)


def _controls(episodes: Sequence[Episode]) -> Section:
    assigned = [e.assigned for e in episodes if e.assigned is not None]
    found = [compare(assigned, control) for control in CONTROLS]
    scores = [(c.control, Interval(*c.score)) for c in found if c.score is not None]
    money = [(c.control, Interval(*c.usd)) for c in found if c.usd is not None]
    shown = [
        _around_zero(scores, "Score, learned minus control"),
        _around_zero(money, "USD an episode, learned minus control"),
    ]
    columns = ("learned minus", "score", "interval", "USD an episode", "interval", "episodes")
    rows = [
        (c.control, *_shown(c.score, 3), *_shown(c.usd, 4), f"{c.learned_episodes} : {c.control_episodes}")
        for c in found
    ]
    numbers = table("Learned cohort minus control cohort", columns, rows)
    return Section("Spend and score against controls", [*map(sentence, found)], text(shown), numbers, _AT_ALL_TIMES)


def _shown(found: Difference | None, digits: int) -> tuple[str, str]:
    if found is None:
        return "none", "unknown"
    return f"{found.value:+.{digits}f}", between(Interval(*found), signed=True, digits=digits)


def _around_zero(found: Sequence[tuple[str, Interval]], caption: str) -> Html:
    """Differences with their intervals, on one scale."""
    ends = [abs(v) for _, i in found if i.tells for v in (i.low, i.high)] or [1.0]
    most = max(ends) or 1.0
    rows = [(n, charts.whiskers(i, -most, most, zero=0.0), f"{i.value:+.3f}") for n, i in found]
    return _bars(rows, f"{caption}; the upright line is 0")


def _forfeited(episodes: Sequence[Episode]) -> Section:
    found = figures.forfeited(episodes)
    pairs = found.by_pair[:_MOST_ROWS]
    most = max((money for *_, money in pairs), default=0.0)
    rows = [
        (f"{left} → {to}", charts.bar(money, most), f"{money:.4g}") for left, to, _, money in pairs[:6] if money > 0.0
    ]
    numbers = table(
        "Switches from model to model",
        ("from → to", "switches", "USD forfeited"),
        [(f"{left} → {to}", str(n), f"{money:.4g}") for left, to, n, money in pairs],
    )
    how = "What a switch adds to the bill because the new model's prompt cache is colder, as predicted at the choice."
    shown = _bars(rows, "Cache money forfeited in USD, dearest first")
    return Section("Cache money thrown away", [sentences.forfeits(found)], shown, numbers, how)


def _drift(episodes: Sequence[Episode]) -> Section:
    found = figures.drift(episodes)
    changes = [("score", found.score, 2), ("USD an episode", found.usd, 4)]
    rows = [(n, "", "", f"{i.value:+.{d}f}", between(i, signed=True, digits=d)) for n, i, d in changes if i]
    rows += [
        (f"share of {m}", percent(before), percent(now), f"{i.value:+.2f}", between(i, signed=True))
        for m, (before, now, i) in found.models.items()
    ]
    numbers = table("Now against before", ("", "before", "now", "change", "interval"), rows)
    drawn = [(model, change) for model, (_, _, change) in found.models.items()]
    shown = _around_zero(drawn, "Change in the share of turns")
    how = f"The intervals of shares hold for all models together. {_ONE_LOOK}"
    return Section("Drift", [sentences.drifts(found)], shown, numbers, how)
