"""How the cost of a decision grows: with candidates, features, rows of the journal and open episodes.

The real router decides in process, over a journal on disk: a request is checked, decided and committed. What is timed
is the CPU time of the deciding thread, the kernel's part included, so other work on the machine hardly matters. One
thing grows at a time and all else stays as in `latency.py` (6 candidates, 30 features); the sizes of a row take turns,
round after round. Old rows of the journal are an episode that the service wrote down, appended again and again under
other names by the service's own appends. Open episodes are real ones, as many as there are, and each decision picks
one of them. Of rows the time on the wall is given too, which waits for the disk where the journal outgrows memory.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from math import log10
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from benchmarks.arena.progress import progress_bar
from benchmarks.latency import TURNS_PER_EPISODE, set_work, where
from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import Config, JournalConfig, LearnerConfig, ServerConfig
from sojourn_server.journal.disk import JOURNAL
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.router import Call
from sojourn_server.rpc.validation import check_decide
from sojourn_server.telemetry import Telemetry

RESULT = Path(__file__).parent / "results" / "growth.json"
PLOT = Path(__file__).parents[1] / "docs" / "plots" / "growth.png"
CANDIDATES, FEATURES = (2, 8, 32), (10, 30, 60)
ROWS, EPISODES = (10_000, 100_000, 1_000_000, 10_000_000), (100, 1_000, 10_000, 100_000)
BLOCK = 400
"""Decisions that are timed together."""
WRITERS = 16
"""Threads that fill a journal."""
Decide = Callable[[int], object]


def main() -> None:
    """Measures, prints, writes the results file and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most-rows", type=int, default=ROWS[-1], help="10,000,000 rows take 25 GB and half an hour")
    parser.add_argument("--journals", type=Path, help="where they are filled and kept; else a temporary folder")
    given = parser.parse_args()
    configure_logs("warning", "json")
    place = where(" ".join(["python -m benchmarks.growth", *sys.argv[1:]]))
    by_rows = rows_of([n for n in ROWS if n <= given.most_rows], given.rounds, given.journals)
    rows = {
        "candidates": by_request(CANDIDATES, lambda n: offered(candidates=n), given.rounds),
        "features": by_request(FEATURES, lambda n: offered(features=n), given.rounds),
        "journal rows": by_rows["cpu_us"],
        "open episodes": by_episodes(EPISODES, given.rounds),
    }
    result = {"decide_cpu_us": rows, "decide_us_by_journal_rows": by_rows["us"], "journal_mb": by_rows["mb"]} | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    plot(rows)


@contextmanager
def routing(directory: Path, *, cached_episodes: int = 10_000) -> Iterator[App]:
    """The service over a journal in a directory, without a learner that wakes."""
    config = Config(
        server=ServerConfig(address="127.0.0.1:0", cached_episodes=cached_episodes),
        journal=JournalConfig(directory=directory),
        learner=LearnerConfig(publish_outcomes=10**9, publish_interval_ms=10**9),
    )
    with App.open(config, Telemetry.disabled()) as app:
        yield app


def offered(*, candidates: int = 0, features: int = 30) -> router_pb2.DecideRequest:
    """A request with so many features; with candidates of its own, or the registry's six."""
    request = router_pb2.DecideRequest(context=types_pb2.Context(task_type="benchmark", prompt_tokens=12_000))
    for i in range(features):
        request.context.features[f"feature_{i}"] = 0.1 * i
    for i in range(candidates):
        terms = types_pb2.Model(
            name=f"model-{i}", model_class="small", input_usd_per_mtok=0.1 * (i + 1), output_usd_per_mtok=1.0
        )
        request.candidates.add(model=terms.name, terms=terms)
    return request


def turn_by_turn(app: App, template: router_pb2.DecideRequest, name: str) -> Decide:
    """The nth decision of episodes of 25 turns, each turn of another phase."""

    def decide(number: int) -> None:
        episode, turn = divmod(number, TURNS_PER_EPISODE)
        ask(app, template, f"{name}-{episode}", turn)

    return decide


def ask(app: App, template: router_pb2.DecideRequest, episode_id: str, turn: int) -> None:
    """One decision, checked as at the edge."""
    request = router_pb2.DecideRequest()
    request.CopyFrom(template)
    request.episode_id, request.turn_index = episode_id, turn
    set_work(request.context, turn)
    check_decide(request)
    app.router.decide(request, Call(turn))


def in_turn(
    name: str, decides: Mapping[Any, Decide], rounds: int, clock: Callable[[], float] = time.thread_time
) -> dict[str, float]:
    """Median microseconds of a decision, of CPU unless another clock is given, by size or whatever tells them apart."""
    found: dict[Any, list[float]] = {size: [] for size in decides}
    with progress_bar(name) as bar:
        for round_ in range(-1, rounds):
            for size, decide in decides.items():
                started = clock()
                for number in range(BLOCK):
                    decide((round_ + 1) * BLOCK + number)
                if round_ >= 0:
                    found[size].append((clock() - started) / BLOCK * 1e6)
            bar(round_ + 1, rounds)
    return {str(size): round(median(times), 1) for size, times in found.items()}


def by_request(
    sizes: tuple[int, ...], made: Callable[[int], router_pb2.DecideRequest], rounds: int
) -> dict[str, float]:
    """Requests of several sizes, on one service."""
    with tempfile.TemporaryDirectory() as directory, routing(Path(directory)) as app:
        return in_turn("requests", {n: turn_by_turn(app, made(n), f"size-{n}") for n in sizes}, rounds)


def rows_of(sizes: list[int], rounds: int, kept: Path | None) -> dict[str, dict[str, float]]:
    """A service over each of several journals: microseconds of CPU and on the wall, and the journals' megabytes."""
    with ExitStack() as opened:
        places = filled(kept or Path(opened.enter_context(tempfile.TemporaryDirectory())), sizes)
        apps = {size: opened.enter_context(routing(place)) for size, place in places.items()}
        measured = dict[str, dict[str, float]]()
        for unit, clock in (("cpu_us", time.thread_time), ("us", time.perf_counter)):
            name = f"fresh-{secrets.token_hex(4)}"
            decides = {size: turn_by_turn(app, offered(), name) for size, app in apps.items()}
            measured[unit] = in_turn("rows", decides, rounds, clock)
        sizes_mb: dict[str, float] = {
            str(n): round((place / JOURNAL).stat().st_size / 1e6) for n, place in places.items()
        }
        return measured | {"mb": sizes_mb}


def filled(directory: Path, sizes: list[int]) -> dict[int, Path]:
    """Journals of so many records: one grows by the service's own appends, and is copied at each size but the last."""
    played, growing = episode_records(), directory / "growing"
    places = {size: directory / str(size) for size in sizes[:-1]} | {sizes[-1]: growing}
    with closing(SqliteJournal.open(growing)) as journal:
        for size, place in places.items():
            append_old(journal, played, size)
            if place != growing and not place.exists():
                place.mkdir()
                journal.copy_to(place / JOURNAL)
    return places


def episode_records() -> list[journal_pb2.JournalRecord]:
    """What the service wrote down of one episode: 25 decisions and an outcome."""
    with tempfile.TemporaryDirectory() as directory, routing(Path(directory)) as app:
        for turn in range(TURNS_PER_EPISODE):
            ask(app, offered(), "old", turn)
        app.router.report_outcome(router_pb2.ReportOutcomeRequest(episode_id="old", score=1.0), Call(TURNS_PER_EPISODE))
        return app.journal.episode("default", "old")


def append_old(journal: SqliteJournal, played: list[journal_pb2.JournalRecord], rows: int) -> None:
    """Appends the episode again and again, under other names, until the journal has so many rows.

    The policy is one that is not configured, so nobody folds these. Several threads, so that commits come in groups.
    """

    def append_episode(name: str) -> None:
        for record in played:
            old = journal_pb2.JournalRecord.FromString(record.SerializeToString())
            old.policy, old.episode_id = "old", name
            journal.append(old)

    with ThreadPoolExecutor(WRITERS) as writers, progress_bar(f"{rows:,} rows") as bar:
        while (start := journal.position()) < rows:
            names = [secrets.token_hex(8) for _ in range(min(-(-(rows - start) // len(played)), 400))]
            list(writers.map(append_episode, names))
            bar(min(start, rows), rows)


def by_episodes(sizes: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Services that have so many open episodes, all of which they may cache."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
        decides: dict[int, Decide] = {}
        for size in sizes:
            place = Path(directory) / str(size)
            app = opened.enter_context(routing(place, cached_episodes=2 * size))
            decides[size] = among(app, size)
        return in_turn("open episodes", decides, rounds)


def among(app: App, size: int) -> Decide:
    """Decides a turn of one of so many open episodes, picked by chance."""
    template, random, turns = offered(), Random(size), [0] * size
    with progress_bar(f"{size:,} episodes") as bar:
        for episode in range(size):
            ask(app, template, f"open-{episode}", 0)
            if episode % 100 == 99:
                bar(episode + 1, size)

    def decide(_: int) -> None:
        episode = random.randrange(size)
        turns[episode] += 1
        ask(app, template, f"open-{episode}", turns[episode])

    return decide


def plot(rows: dict[str, dict[str, Any]]) -> None:
    """All four in one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(rows), figsize=(12, 3), sharey=True, layout="constrained")
    for axis, (name, costs) in zip(axes, rows.items(), strict=True):
        sizes = [int(size) for size in costs]
        axis.plot(sizes, list(costs.values()), marker="o")
        axis.set_xscale("log")
        axis.set_xticks(sizes, [str(n) if n < 100 else f"$10^{round(log10(n))}$" for n in sizes])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("CPU µs a decision")
    figure.savefig(PLOT, dpi=110)


if __name__ == "__main__":
    main()
