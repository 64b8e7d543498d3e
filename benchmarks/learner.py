"""The learner: outcomes a minute, replay, what a snapshot costs, and what its swap costs the decisions meanwhile.

Journals are filled by the real router: episodes of 25 turns, six candidates, 30 features. In one each turn is another
phase, so every turn is a lesson; in one, as is usual, the work goes to and fro between four kinds, each a lesson. Then
their folds are made anew from the prior, which is what the learner does with outcomes and what replay does with a
journal. Swaps are measured as in service: one thread decides, while another one publishes a version once a second,
which is the default; far more often; and not at all. To open a snapshot is two calls of Vowpal Wabbit, one a regressor,
each of which keeps all other threads waiting.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.arena.progress import progress_bar
from benchmarks.growth import routing
from benchmarks.latency import TURNS_PER_EPISODE, request, where
from benchmarks.memory import play_episode, turn_of
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.hosts.home import now_ms
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published, SnapshotStore
from sojourn_server.router import Call
from sojourn_server.world import read_world

RESULT = Path(__file__).parent / "results" / "learner.json"
POLICY = "default"
USUAL_PHASES = 4
SWAPS_PER_SECOND = (1, 20)
"""learner.publish_interval_ms asks for one; 32 outcomes make one too, which are 800 decisions of 25-turn episodes."""


def main() -> None:
    """Measures, prints, writes the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learner", description=__doc__)
    parser.add_argument("--episodes", type=int, default=400, help="of 25 turns")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--decisions", type=int, default=20_000, help="of a round, with swaps and without")
    given = parser.parse_args()
    configure_logs("warning", "json")
    place = where(" ".join(["python -m benchmarks.learner", *sys.argv[1:]]))
    with tempfile.TemporaryDirectory() as directory, routing(Path(directory) / "journal") as app:
        template = request(held=False).SerializeToString()
        fill(app, template, given.episodes, TURNS_PER_EPISODE)
        folds = [fold_anew(app, TURNS_PER_EPISODE) for _ in range(given.rounds)]
        snapshots = [snapshot_costs(app, Path(directory) / "again") for _ in range(given.rounds)]
        swaps = [swap_costs(app, template, round_, given.decisions) for round_ in range(given.rounds)]
    with tempfile.TemporaryDirectory() as directory, routing(Path(directory) / "journal") as app:
        fill(app, template, given.episodes, USUAL_PHASES)
        usual_s = median([fold_anew(app, USUAL_PHASES)[0] for _ in range(given.rounds)])
    seconds, cpu_s = (median(measured) for measured in zip(*folds, strict=True))
    turns = given.episodes * TURNS_PER_EPISODE
    result = {
        "outcomes_per_minute": round(given.episodes / seconds * 60),
        "lessons_per_second": round(turns / seconds),
        "replay_of_a_million_lessons_s": round(1e6 * seconds / turns),
        "replay_of_a_million_lessons_cpu_s": round(1e6 * cpu_s / turns),
        "usual_phases": {
            "outcomes_per_minute": round(given.episodes / usual_s * 60),
            "replay_of_a_million_decisions_s": round(1e6 * usual_s / turns),
        },
        "snapshot_ms": {name: round(median(s[name] for s in snapshots), 2) for name in snapshots[0]},
        "decide_p999_ms": {name: round(median(s[name] for s in swaps), 3) for name in swaps[0]},
        "swap_moves_decide_p999_by_ms": {
            name: round(median(s[name] - s["quiet"] for s in swaps), 3) for name in swaps[0] if name != "quiet"
        },
        "episodes": given.episodes,
    } | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def fill(app: App, template: bytes, episodes: int, phases: int) -> None:
    """Plays so many episodes of so many phases."""
    with progress_bar(f"filling a journal, {phases} phases an episode") as bar:
        for number in range(episodes):
            play_episode(app, template, number, now_ms(), phases)
            bar(number + 1, episodes)


def fold_anew(app: App, phases: int) -> tuple[float, float]:
    """Seconds to learn all episodes from the journal: on the wall, and of CPU.

    Raises RuntimeError if another number of lessons an episode was learned than it has phases.
    """
    world = read_world(app.journal)
    end = app.journal.position()
    fold = Fold.begin(POLICY, world, app.journal, until=end)
    started, worked = time.perf_counter(), time.thread_time()
    fold.catch_up(app.journal, end)
    seconds = time.perf_counter() - started, time.thread_time() - worked
    if fold.counts.decisions != fold.counts.episodes * phases or not fold.counts.episodes:
        raise RuntimeError(f"{fold.counts.decisions} decisions were learned of {fold.counts.episodes} episodes")
    return seconds


def snapshot_costs(app: App, directory: Path) -> dict[str, float]:
    """Milliseconds to make and open one, of CPU, and to store one."""
    fold = Fold.of(POLICY, read_world(app.journal), app.journal, until=app.journal.position())
    store, costs = SnapshotStore(directory, keep=5), dict[str, float]()

    def timed(name: str, clock: Callable[[], float], work: Callable[[], Any]) -> Any:
        started = clock()
        found = work()
        costs[name] = (clock() - started) * 1e3
        return found

    snapshot = timed("make", time.thread_time, lambda: fold.snapshot(created_at_ms=0))
    timed("open", time.thread_time, lambda: Published.of(snapshot, fold.state.settings.lesson))
    timed("store", time.perf_counter, lambda: store.save(snapshot))
    return costs


def swap_costs(app: App, template: bytes, round_: int, decisions: int) -> dict[str, float]:
    """The 99.9th percentile of a Decide in milliseconds, while versions are swapped and while they are not."""
    found = {"quiet": p999_ms(app, template, f"quiet-{round_}", decisions)}
    for rate in SWAPS_PER_SECOND:
        name = f"{rate}-a-second-{round_}"
        found[f"{rate} a second"] = with_swaps(app, rate, partial(p999_ms, app, template, name, decisions))
    return found


def with_swaps(app: App, per_second: int, work: Callable[[], float]) -> float:
    """Does something while a thread publishes again and again, as the learner's does."""
    fold = Fold.begin(POLICY, read_world(app.journal), app.journal, until=app.journal.position())
    done = threading.Event()

    def swap() -> None:
        while not done.wait(1 / per_second):
            snapshot = fold.snapshot(created_at_ms=0)
            app.router.use(POLICY, Published.of(snapshot, fold.state.settings.lesson))

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        return work()
    finally:
        done.set()
        thread.join()


def p999_ms(app: App, template: bytes, name: str, decisions: int) -> float:
    """The 99.9th percentile of Decides, in process."""
    times = []
    for number in range(decisions):
        episode, turn = divmod(number, TURNS_PER_EPISODE)
        decide = turn_of(template, f"{name}-{episode}", turn)
        started = time.perf_counter()
        app.router.decide(decide, Call(now_ms()))
        times.append((time.perf_counter() - started) * 1e3)
    return quantiles(times, n=1000)[998]


if __name__ == "__main__":
    main()
