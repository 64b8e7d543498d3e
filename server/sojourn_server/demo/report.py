"""What the demo prints: whose work is what, the table of blocks, one decision explained, where to look next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table

from sojourn import RankedCandidate
from sojourn_server.demo.compare import Row
from sojourn_server.demo.models import MODELS
from sojourn_server.demo.routed import Switch

PROVENANCE = (
    "Third-party: the BabyAI levels and their expert bot (minigrid, from PyPI). "
    "Ours: the six scripted models that play. They ask the expert and slip; how often, by the hidden phase of the "
    "work, we made up, as we did their token counts. Only their price tags are list prices of real models ("
    + ", ".join(f"{model.name}: {model.priced_like}" for model in MODELS)
    + "). Nothing here says anything about the real models."
)

CAPTION = (
    "Scripted models on third-party BabyAI levels; all rows of a block play the same episodes with the same luck. "
    "Sojourn learns online, so its rows change from block to block; it starts from the heuristic's table. "
    "Utility = score - {cost_weight:g} x USD, ± 95 % over episodes. "
    "Forfeited: the part of USD that cold caches cost after switches."
)

_COLUMNS = ("episodes", "policy", "score", "USD", "utility", "switches", "stays after error", "forfeited USD")


def block_table(rows: Sequence[Row], *, cost_weight: float) -> Table:
    """One line per block and policy, all means per episode; a rule after each block."""
    table = Table(caption=CAPTION.format(cost_weight=cost_weight), caption_justify="left")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "policy" else "right")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        is_last = following is None or (row.first_episode, row.episodes) != (
            following.first_episode,
            following.episodes,
        )
        table.add_row(*_cells(row), end_section=is_last)
    return table


def _cells(row: Row) -> tuple[str, ...]:
    stay = "-" if row.stay_after_error is None else f"{row.stay_after_error:.0%}"
    return (
        f"{row.first_episode + 1}-{row.first_episode + row.episodes}",
        row.contestant,
        f"{row.score:.3f}",
        f"{row.usd:.4f}",
        _with_interval(row.utility, row.utility_half_width),
        f"{row.switches:.1f}",
        stay,
        f"{row.forfeited_usd:.4f}",
    )


def _with_interval(mean: float, half_width: float | None) -> str:
    return f"{mean:.3f}" if half_width is None else f"{mean:.3f} ± {half_width:.3f}"


def explanation(switch: Switch) -> Group:
    """One decision: what was known, who was ranked how, why."""
    decision, view = switch.decision, switch.view
    table = Table(title=f"One decision: turn {view.turn_index} of {decision.episode_id} ({view.task_type})")
    for name in ("candidate", "score", "USD to go", "switching USD", "utility", "probability"):
        table.add_column(name, justify="left" if name == "candidate" else "right")
    for candidate in decision.ranked:
        table.add_row(*_ranked_cells(candidate))
    return Group(
        table,
        f"Reason {decision.reason}: the work became {view.tool_type!r}, so the policy was free to leave "
        f"{decision.incumbent}. {decision.model} has the highest utility (predicted score less money, its cold "
        f"cache included, less friction) and was drawn with propensity {decision.propensity:.3f}. "
        f"Known at that time: {view.prompt_tokens} prompt tokens, {view.error_count} errors so far.",
    )


def _ranked_cells(candidate: RankedCandidate) -> tuple[str, ...]:
    if candidate.excluded_because:
        return (candidate.model, f"excluded: {candidate.excluded_because}", "", "", "", "")
    numbers = (candidate.score, candidate.cost_usd, candidate.switching_cost_usd, candidate.utility)
    shown = ("-" if n is None else f"{n:.4f}" for n in numbers)
    return (candidate.model, *shown, f"{candidate.probability:.3f}")


def where_next(directory: Path, switch: Switch | None) -> str:
    """Commands that show more, for a journal that is kept in `directory`."""
    commands = ["show policy", "replay"]
    if switch is not None:
        episode_id = switch.decision.episode_id
        shows = (f"show decision {episode_id} --turn {switch.view.turn_index}", f"show episode {episode_id}")
        commands = [*shows, *commands]
    return "\n".join(["Where to look next:", *(f"  sojourn {command} --journal {directory}" for command in commands)])
