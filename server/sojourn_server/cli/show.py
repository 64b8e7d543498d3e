"""`sojourn show`: episodes, decisions, policies and models, from a running router or straight from a journal.

Each command asks a `Source` for the contract's messages and prints them, as tables for people or as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from sojourn.v1 import journal_pb2
from sojourn_server.cli.output import as_json, console, fail, print_json
from sojourn_server.cli.source import Address, Json, PlaceIfAny, Policy, Source, open_source
from sojourn_server.journal.journal import KEY_BYTES

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_DECISION_ID = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}\Z")


@app.callback()
def show() -> None:
    """Show what the router knows: episode, decision, policy, models.

    \b
    Examples:
      sojourn show episodes
      sojourn show episode ticket-4711 --address router.internal:50051
      sojourn show decision 9f86d081884c7d659a2feaa0c55ad015640000000300 --json
      sojourn show policy --journal sojourn-data      without a running router
    """


@app.command()
def episodes(
    *,
    policy: Policy = "default",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    address: Address = None,
    journal: PlaceIfAny = None,
    json: Json = False,
) -> None:
    """List the newest episodes, newest first.

    \b
    Example:
      sojourn show episodes --limit 5
    """
    from sojourn_server.cli.tables import episode_list

    with open_source(address, journal) as source:
        found = source.episodes(policy, limit)
    if json:
        print_json([as_json(episode) for episode in found])
    else:
        console().print(episode_list(policy, found))


@app.command()
def episode(
    episode_id: Annotated[str, typer.Argument(help="The caller's name for the episode.")],
    *,
    policy: Policy = "default",
    address: Address = None,
    journal: PlaceIfAny = None,
    json: Json = False,
) -> None:
    """Show an episode turn by turn: who served, why, with what probability, what it cost, how it ended.

    \b
    Examples:
      sojourn show episode ticket-4711
      sojourn show episode ticket-4711 --policy research --json
    """
    from sojourn_server.cli.tables import episode_views

    with open_source(address, journal) as source:
        found = source.episode(policy, episode_id)
    if json:
        print_json([as_json(record) for record in found.records])
    else:
        console().print(*episode_views(found), sep="\n")


@app.command()
def decision(
    name: Annotated[str, typer.Argument(metavar="ID", help="A decision_id, or an episode_id together with --turn.")],
    *,
    turn: Annotated[int | None, typer.Option(min=0, help="The episode's turn.")] = None,
    attempt: Annotated[int | None, typer.Option(min=0, help="Which attempt at it; the last unless given.")] = None,
    policy: Policy = "default",
    address: Address = None,
    journal: PlaceIfAny = None,
    json: Json = False,
) -> None:
    """Explain one decision: every candidate with its score, money, utility and probability.

    \b
    Examples:
      sojourn show decision 9f86d081884c7d659a2feaa0c55ad015640000000300
      sojourn show decision ticket-4711 --turn 3

    An episode's turn is found at once; to find a decision_id the journal is read from its start.
    """
    from sojourn_server.cli.tables import decision_views

    with open_source(address, journal) as source:
        record = _by_id(source, name) if turn is None else _by_turn(source.episode(policy, name).records, turn, attempt)
    if json:
        print_json(as_json(record))
    else:
        console().print(*decision_views(record), sep="\n")


def _by_id(source: Source, decision_id: str) -> journal_pb2.JournalRecord:
    if not _DECISION_ID.match(decision_id):
        raise fail(
            f"{decision_id!r} is no decision_id ({2 * KEY_BYTES} hexadecimal digits)",
            next_step="for an episode's turn add --turn N",
        )
    found = source.decision(decision_id)
    if found is None:
        raise fail(f"no decision {decision_id}", next_step="sojourn show episodes")
    return found


def _by_turn(records: Sequence[journal_pb2.JournalRecord], turn: int, attempt: int | None) -> journal_pb2.JournalRecord:
    decided = [r for r in records if r.HasField("decision") and r.decision.request.turn_index == turn]
    found = [r for r in decided if attempt is None or r.decision.request.attempt == attempt]
    if not found:
        turns = sorted({r.decision.request.turn_index for r in records if r.HasField("decision")})
        raise fail(f"no such decision; the episode has decisions at turns {turns}")
    return found[-1]


@app.command()
def policy(
    name: Annotated[str, typer.Argument(help="Name of the policy.")] = "default",
    address: Address = None,
    journal: PlaceIfAny = None,
    json: Json = False,
) -> None:
    """Show a policy: its mode, its version, what it has seen of each phase and how it shares out the turns.

    \b
    Examples:
      sojourn show policy
      sojourn show policy research --json
    """
    from sojourn_server.cli.tables import policy_views

    with open_source(address, journal) as source:
        found = source.policy(name)
    if json:
        print_json(as_json(found))
    else:
        console().print(*policy_views(found), sep="\n")


@app.command()
def models(address: Address = None, journal: PlaceIfAny = None, json: Json = False) -> None:
    """Show the registry: prices in USD per million tokens, cache terms, limits.

    \b
    Example:
      sojourn show models
    """
    from sojourn_server.cli.tables import model_table

    with open_source(address, journal) as source:
        found = source.models()
    if json:
        print_json([as_json(model) for model in found])
    else:
        console().print(model_table(found))
