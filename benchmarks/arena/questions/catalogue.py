"""The questions: what is asked, who plays, against whom each is held, and what is drawn.

A line is one row of an answer: a policy in an environment, valued at a cost weight, and perhaps another policy whose
utility is taken off seed by seed (common random numbers). Contestants are named as in `contestants.py` and
`ablations.py`; environments may be scaled ("babyai-x4-read0.5").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.arena.ablations import COST_WEIGHTS
from benchmarks.arena.environments import Environment, by_name
from benchmarks.arena.tables import COST_WEIGHT, LEVELS
from sojourn_server.demo.tokens import CACHEABLE_SHARE, spend

HERO = "sojourn-warm"
BABYAI = ("babyai-small", "babyai-large")
USUAL_TURNS = 25


class Between(NamedTuple):
    """Two policies that mark the ends of a scale: what share of the way from `low` to `high` does a line go?"""

    low: str
    high: str


class Line(NamedTuple):
    """A row of an answer.

    `cost_weight` values its utility; with `drawn_weight` only episodes for which the mixed policy drew that weight
    count. `at` is its place on a curve named `series`.
    """

    policy: str
    against: str | None = None
    cost_weight: float = COST_WEIGHT
    drawn_weight: bool = False
    between: Between | None = None
    series: str = ""
    at: float | None = None

    @property
    def label(self) -> str:
        """Unlike that of all other lines of a question in an environment."""
        return f"{self.policy} at {self.cost_weight:g}" if self.drawn_weight else self.policy


class Curve(NamedTuple):
    """How lines with a series are drawn: measures by name; `x` None = `Line.at`; one picture for all environments?"""

    y: Sequence[str]
    x_label: str
    x: str | None = None
    is_log: bool = True
    is_joint: bool = False


class Question(NamedTuple):
    """What is asked, where by default, and the lines in an environment."""

    asks: str
    environments: Sequence[str]
    lines: Callable[[Environment], Sequence[Line]]
    curve: Curve | None = None


FLAT_PENALTIES = (0.003, 0.01, 0.03, 0.1)  # score


def _staying(environment: Environment) -> list[Line]:
    variants = ("every-turn", "fresh-draws", "every-turn-fresh-draws", "no-switch-price", "free")
    names = [f"sojourn-{variant}" for variant in variants] + [f"sojourn-flat:{size:g}" for size in FLAT_PENALTIES]
    return [Line(HERO), *(Line(name, against=HERO) for name in names)]


def _tables(environment: Environment) -> list[Line]:
    ends = Between(f"never-switch:{environment.strongest}", HERO)
    tables = [
        line
        for level in LEVELS
        if level != "right-0"  # that is the article's, which plays without a level
        for line in (
            Line(f"heuristic@{level}", against="heuristic", between=ends),
            Line(f"sojourn-warm@{level}", against=f"heuristic@{level}", between=ends),
        )
    ]
    heuristic = Line("heuristic", against=ends.low, between=ends)
    cold = Line("sojourn-cold", against=HERO, between=ends)
    return [Line(ends.low), heuristic, Line(HERO, against="heuristic"), cold, *tables]


def _errors(environment: Environment) -> list[Line]:
    return [
        Line(HERO),
        Line("sojourn-no-errors", against=HERO),
        Line("heuristic", against=HERO),
        *(Line(name, against=f"random-matched:{name}") for name in ("escalation", "escalation-hysteresis")),
        *(Line(f"random-matched:{name}") for name in ("escalation", "escalation-hysteresis")),
    ]


def _weights(environment: Environment) -> list[Line]:
    lines = []
    for weight in COST_WEIGHTS:
        alone = f"{HERO}?cost_weight={weight:g}"
        lines.append(Line(alone, cost_weight=weight, series="one policy per weight", at=weight))
        lines.append(
            Line(
                "sojourn-mixed-weights",
                against=alone,
                cost_weight=weight,
                drawn_weight=True,
                series="mixed within one policy",
                at=weight,
            )
        )
    return lines


BUDGET_SHARES = (0.2, 0.4, 0.8, 1.6, 3.2)  # of `usual_usd`


def usual_usd(environment: Environment) -> float:
    """USD of an episode of USUAL_TURNS warm turns on the strongest model."""
    model = next(model for model in environment.models if model.name == environment.strongest)
    prompts = [environment.shape.prompt_tokens(turn) for turn in range(USUAL_TURNS)]
    warm = [0, *(int(CACHEABLE_SHARE * tokens) for tokens in prompts)]
    return sum(
        spend(model.prices, prompt_tokens=tokens, output_tokens=model.output_tokens, warm_tokens=before).usd
        for tokens, before in zip(prompts, warm, strict=False)
    )


def _budgets(environment: Environment) -> list[Line]:
    lines = [Line(HERO), Line("heuristic")]
    for share in BUDGET_SHARES:
        usd = float(f"{share * usual_usd(environment):.2g}")
        for name in ("sojourn", "heuristic"):
            unlimited = HERO if name == "sojourn" else name
            lines.append(Line(f"{name}-budget:{usd:g}", against=unlimited, series=name, at=usd))
    return lines


PROMPT_SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)  # times the small prompts
READ_MULTIPLIERS = (0.1, 0.5, 1.0)  # of the input price; at 1 a warm cache saves nothing


def _prompts(environment: Environment) -> list[Line]:
    _, _, scale = environment.name.partition("-x")
    times, _, read = scale.partition("-read")
    return [Line("sojourn-free", series=f"cache reads at {read} × input", at=float(times))]


QUESTIONS = {
    "staying": Question("Does staying pay, and by what?", BABYAI, _staying),
    "tables": Question(
        "How much of the learned gain does a heuristic capture, by how well it is written?", BABYAI, _tables
    ),
    "errors": Question("Is an error a switching signal?", BABYAI, _errors),
    "weights": Question(
        "What do cost weights buy, alone and mixed within one policy?",
        BABYAI,
        _weights,
        Curve(("score",), "USD per episode", x="usd"),
    ),
    "budgets": Question(
        "What does a budget per episode buy?", BABYAI, _budgets, Curve(("score", "usd"), "budget per episode in USD")
    ),
    "prompts": Question(
        "Does a policy that nothing is imposed on switch less as prompts grow and caches save more?",
        [f"babyai-x{times:g}-read{read:g}" for read in READ_MULTIPLIERS for times in PROMPT_SCALES],
        _prompts,
        Curve(("switches_per_25_turns", "stay_after_error"), "prompts, times the small ones", is_joint=True),
    ),
}
"""All questions by name."""


def asked(question: str, environment: str) -> Sequence[Line]:
    """The lines of a question in an environment. Raises KeyError."""
    return QUESTIONS[question].lines(by_name(environment))


def players(lines: Sequence[Line]) -> list[str]:
    """Everybody who has to play for these lines, once each."""
    ends = [end for line in lines if line.between for end in line.between]
    names = [line.policy for line in lines] + [line.against for line in lines if line.against] + ends
    return list(dict.fromkeys(names))
