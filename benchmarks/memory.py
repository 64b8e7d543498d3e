"""Resident memory over a million decisions: does it grow once everything is warm?

One process plays episodes of 25 turns through the real router, with the SQLite journal on disk and the learner at work:
the request is validated, decided, committed; every episode ends with an outcome that is learned. Without the wire, so
that a million take minutes. Memory comes and goes with each snapshot, so a tenth of the run is summed up by the median
of its samples; growth is from the first tenth after the warm-up to the last. The warm-up is longer than the 102,400
decisions (4,096 episodes of 25 turns) after which the caches of names are full.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.latency import TURNS_PER_EPISODE, request, set_work, where
from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import Config, JournalConfig, ServerConfig
from sojourn_server.hosts.home import now_ms
from sojourn_server.router import Call
from sojourn_server.rpc.validation import check_decide
from sojourn_server.telemetry import Telemetry

RESULT = Path(__file__).parent / "results" / "memory.json"
SAMPLE_EVERY = 1_000  # decisions
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid: int | str = "self") -> float:
    """Resident set of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20


def turn_of(template: bytes, episode_id: str, turn: int, phases: int = TURNS_PER_EPISODE) -> router_pb2.DecideRequest:
    """An episode's turn; see `set_work`."""
    decide = router_pb2.DecideRequest.FromString(template)
    decide.episode_id, decide.turn_index = episode_id, turn
    set_work(decide.context, turn, phases)
    if turn:
        decide.previous_turn.error = types_pb2.SEVERITY_NONE
    return decide


def play_episode(app: App, template: bytes, number: int, at_ms: int, phases: int = TURNS_PER_EPISODE) -> None:
    """25 decisions of fresh keys, the first of each phase a scored decision point, and an outcome."""
    episode_id = f"episode-{number}"
    for turn in range(TURNS_PER_EPISODE):
        decide = turn_of(template, episode_id, turn, phases)
        check_decide(decide)
        app.router.decide(decide, Call(at_ms + turn))
    outcome = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=(number % 10) / 10)
    app.router.report_outcome(outcome, Call(at_ms + TURNS_PER_EPISODE))


def main() -> None:
    """Plays, prints resident memory now and then, writes the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--warm-up", type=int, default=125_000)
    given = parser.parse_args()
    configure_logs("error", "json")
    place = where(f"python -m benchmarks.memory --decisions {given.decisions} --warm-up {given.warm_up}")
    template = request(held=False).SerializeToString()
    block, samples = list[float](), list[tuple[int, float]]()
    with tempfile.TemporaryDirectory() as directory:
        config = Config(server=ServerConfig(address="127.0.0.1:0"), journal=JournalConfig(directory=Path(directory)))
        with App.open(config, Telemetry.disabled()) as app:
            total = given.warm_up + given.decisions
            for number in range(total // TURNS_PER_EPISODE):
                play_episode(app, template, number, at_ms=now_ms())
                done = (number + 1) * TURNS_PER_EPISODE
                if done > given.warm_up and done % SAMPLE_EVERY == 0:
                    block.append(resident_mib())
                if block and (done - given.warm_up) % max(given.decisions // 10, SAMPLE_EVERY) == 0:
                    samples.append((done, round(median(block), 1)))
                    print(f"{done:>9} decisions, {samples[-1][1]} MiB resident", flush=True)
                    block.clear()
            version = app.router.knowledge("default").version
    result = {
        "decisions": given.decisions,
        "resident_mib": samples,
        "growth_mib": round(samples[-1][1] - samples[0][1], 1),
        "learned_up_to": version,
        **place,
    }
    print(json.dumps(result, indent=2))
    if given.decisions >= 1_000_000:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
