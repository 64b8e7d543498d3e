"""Instructions of a decision and of a lesson, part by part: what a clock cannot tell on a machine that others use too.

The real router decides in process below Valgrind's callgrind, from a request's bytes to the answer's. Each part is then
called again with the very arguments that it had in a decision. A count is the difference between 2N calls and N in one
process, so that starting, warming up and counting itself cancel. Callgrind counts what runs outside of the kernel: of
SQLite's commit all but the writing. Needs a C compiler and Debian's valgrind.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer

from benchmarks.growth import routing
from benchmarks.latency import TURNS_PER_EPISODE, request, where
from benchmarks.memory import play_episode, turn_of
from sojourn.v1 import journal_pb2, router_pb2
from sojourn_server import records, router
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.hosts.home import now_ms
from sojourn_server.learner import credit, fold, statistics
from sojourn_server.learner.snapshot import Published
from sojourn_server.policy import learned
from sojourn_server.policy.bandit import Bandit
from sojourn_server.router import Call
from sojourn_server.rpc.validation import check_decide
from sojourn_server.world import read_world
from tests.packages import found_or_installed, on_path
from tests.pages import table, write_between

RESULT = Path(__file__).parent / "results" / "instructions.json"
PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
MARKS = ("<!-- instructions: python -m benchmarks.instructions -->", "<!-- end of instructions -->")
COMMAND = "python -m benchmarks.instructions"
WARM_EPISODES = 8
WHOLE, DECISION, LESSON = "all of it", "a decision", "a lesson"
_MARKS_C = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void zero(void) { CALLGRIND_ZERO_STATS; }
void dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""
Part = Callable[[], object]
"""Does its work once more."""


class Seen(NamedTuple):
    """One call that was seen: what was called, and with what."""

    function: Callable[..., Any]
    positional: tuple[Any, ...]
    named: Mapping[str, Any]

    def again(self) -> object:
        """Calls it once more."""
        return self.function(*self.positional, **self.named)


@contextmanager
def watched(*functions: tuple[Any, str]) -> Iterator[dict[str, list[Seen]]]:
    """Notes all calls of functions, given as (owner, name), meanwhile."""
    seen: dict[str, list[Seen]] = {}

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*positional: Any, **named: Any) -> Any:
            seen.setdefault(name, []).append(Seen(function, positional, named))
            return function(*positional, **named)

        return noted

    with ExitStack() as put_back:
        for owner, name in functions:
            function = getattr(owner, name)
            setattr(owner, name, noting(name, function))
            put_back.callback(setattr, owner, name, function)
        yield seen


def main(
    repeats: Annotated[int, typer.Option(help="How often each count is taken.")] = 5,
    calls: Annotated[int, typer.Option(help="N; each count is of 2N calls less that of N.")] = 50,
    inner: Annotated[Path | None, typer.Option(hidden=True, help="Where the marks are; runs below callgrind.")] = None,
) -> None:
    """Measures, prints, writes the results file and the table."""
    if inner is not None:
        count_all(inner, repeats, calls)
        return
    place = where(" ".join([COMMAND, *sys.argv[1:]]))
    counts = counted(repeats, calls)
    result = {subject: summed_up(subject, repeated) for subject, repeated in counts.items()}
    RESULT.write_text(json.dumps({"instructions": result, "calls": calls, "repeats": repeats} | place, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    write_between(PAGE, MARKS, table(rows(result)), place)


def summed_up(subject: str, repeated: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Median and spread over the repeats."""
    found = [shares(subject, counts) for counts in repeated.values()]
    by_part = {part: sorted(f[part] for f in found) for part in found[0]}
    return {part: {"median": round(median(c)), "least": c[0], "most": c[-1]} for part, c in by_part.items()}


def counted(repeats: int, calls: int) -> dict[str, dict[str, dict[str, int]]]:
    """Instructions of a call, by subject, repeat and part."""
    valgrind = found_or_installed(lambda: on_path("valgrind"), "valgrind")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "marks.c").write_text(_MARKS_C)
        library = ["cc", "-shared", "-fPIC", "-o", str(directory / "marks.so"), str(directory / "marks.c")]
        subprocess.run(library, check=True)
        command = [str(valgrind), "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory}/out"]
        again = ["-m", "benchmarks.instructions", "--inner", directory, "--repeats", repeats, "--calls", calls]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        subprocess.run([*command, sys.executable, *map(str, again)], check=True, env=environment)
        totals = dict(found for path in directory.glob("out*") if (found := _read(path)))
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for (subject, part, times, repeat), total in totals.items():
        if int(times) == calls:
            more = totals[subject, part, str(2 * calls), repeat]
            counts.setdefault(subject, {}).setdefault(repeat, {})[part] = (more - total) // calls
    return counts


def _read(path: Path) -> tuple[tuple[str, ...], int] | None:
    """What a dump is of (subject, part, calls, repeat), and its instructions; None for the last, without a name."""
    text = path.read_text()
    named = re.search(r"^desc: Trigger: Client Request: (.*)$", text, flags=re.MULTILINE)
    totals = re.search(r"^(?:totals|summary): (\d+)$", text, flags=re.MULTILINE)
    return (tuple(named[1].split("|")), int(totals[1])) if named and totals else None


def count_all(directory: Path, repeats: int, calls: int) -> None:
    """Runs below callgrind: all parts, again and again, a dump after each count."""
    marks = ctypes.CDLL(str(directory / "marks.so"))
    configure_logs("error", "json")
    with routing(directory / "journal") as app:
        template = request(held=False).SerializeToString()
        for number in range(WARM_EPISODES):
            play_episode(app, template, number, now_ms())
        subjects = {LESSON: lesson_parts(app), DECISION: decision_parts(app, template)}
        marks.start()
        for repeat in range(-1, repeats):
            for subject, parts in subjects.items():
                for part, work in parts.items():
                    for times in (calls, 2 * calls):
                        marks.zero()
                        for _ in range(times):
                            work()
                        if repeat >= 0:
                            marks.dump("|".join([subject, part, str(times), str(repeat)]).encode())


def decision_parts(app: App, template: bytes) -> dict[str, Part]:
    """A decision and its parts, with what they were called with in an episode's last turn."""
    turns = count()

    def next_request() -> bytes:
        episode, turn = divmod(next(turns), TURNS_PER_EPISODE)
        return turn_of(template, f"counted-{episode}", turn).SerializeToString()

    def read(data: bytes) -> router_pb2.DecideRequest:
        asked = router_pb2.DecideRequest.FromString(data)
        check_decide(asked)
        return asked

    def whole() -> bytes:
        return app.router.decide(read(next_request()), Call(now_ms())).SerializeToString()

    parts = [(router, "decide"), (learned, "lines"), (Published, "predict"), (records, "answer")]
    with watched(*parts, (records, "write_decision")) as seen:
        for _ in range(TURNS_PER_EPISODE):
            whole()
    some, written = next_request(), seen["write_decision"][-1]
    answered = written.positional[3]
    kept = app.journal.episode("default", "counted-0")[-1].SerializeToString()
    names = count()

    def next_record() -> journal_pb2.JournalRecord:
        record = journal_pb2.JournalRecord.FromString(kept)
        record.episode_id = f"appended-{next(names)}"
        return record

    return {
        WHOLE: whole,
        "next request": next_request,
        "request": lambda: read(some),
        "text": seen["lines"][-1].again,
        "prediction": seen["predict"][-1].again,
        "choice": seen["decide"][-1].again,
        "answer": seen["answer"][-1].again,
        "record": lambda: written.function(journal_pb2.DecisionRecord(), *written.positional[1:], **written.named),
        "next record": next_record,
        "append": lambda: app.journal.append(next_record()),
        "response": answered.SerializeToString,
    }


def lesson_parts(app: App) -> dict[str, Part]:
    """The 25 lessons of an episode and their parts, with what they were called with in the last of some episodes."""
    learner = fold.Fold.prior("default", read_world(app.journal))
    outcomes = list(fold.ends(app.journal, "default"))
    following = cycle(outcomes)

    def whole() -> object:
        return learner.take(next(following), app.journal)

    for _ in outcomes[1:]:
        whole()
    texts = [(fold, "from_record"), (fold, "lines")]
    learning = [(Bandit, "learn_turns"), (Bandit, "learn_advantage")]
    parts = [(credit, "lessons"), *texts, (Bandit, "predict"), *learning, (statistics, "count_episode")]
    with watched(*parts) as seen:
        whole()
    candidates = len(seen["learn_advantage"]) // TURNS_PER_EPISODE
    learned = [seen["learn_turns"][0], *seen["learn_advantage"][:candidates]]
    return {
        WHOLE: whole,
        "reading": lambda: app.journal.episode("default", outcomes[0].episode_id),
        "credit": seen["lessons"][0].again,
        "text": lambda: [seen[name][0].again() for _, name in texts],
        "prediction": seen["predict"][0].again,
        "learning": lambda: [each.again() for each in learned],
        "counts": seen["count_episode"][0].again,
    }


def shares(subject: str, counts: Mapping[str, int]) -> dict[str, int]:
    """The parts of the whole, what the benchmark itself did taken off; they add up to it."""
    if subject == DECISION:
        whole = counts[WHOLE] - counts["next request"]
        parts = {
            "request read and checked": counts["request"],
            "features as text": counts["text"],
            "prediction": counts["prediction"],
            "money, utilities, distribution, draw": counts["choice"] - counts["text"] - counts["prediction"],
            "answer": counts["answer"],
            "record": counts["record"],
            "journal append": counts["append"] - counts["next record"],
            "response's bytes": counts["response"],
        }
        rest = "episode, gathering the turn, keys, locks"
    else:
        whole = counts[WHOLE] // TURNS_PER_EPISODE
        parts = {
            "records read": counts["reading"] // TURNS_PER_EPISODE,
            "credit": counts["credit"] // TURNS_PER_EPISODE,
            "features as text": counts["text"],
            "prediction": counts["prediction"],
            "learning, and what is predicted then": counts["learning"],
            "counts": counts["counts"] // TURNS_PER_EPISODE,
        }
        rest = "facts, targets, probes"
    return {WHOLE: whole, **parts, rest: whole - sum(parts.values())}


def rows(result: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[list[str]]:
    """The table: thousands of instructions, with the spread over repeats."""
    found = [["", "thousand instructions", "least – most"]]
    for subject, parts in result.items():
        for part, counts in parts.items():
            median_, least, most = (f"{counts[name] / 1e3:.0f}" for name in ("median", "least", "most"))
            found.append([f"{subject}: {part}", median_, f"{least} – {most}"])
    return found


if __name__ == "__main__":
    typer.run(main)
