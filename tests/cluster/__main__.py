"""`python -m tests.cluster`: the long run behind docs/hosts.md; writes benchmarks/results/cluster.json."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.latency import where
from tests.cluster.cluster import cluster
from tests.cluster.run import run

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "cluster.json"


def main() -> None:
    """Runs and writes."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each fault happens")
    parser.add_argument("--seed", type=int, default=1, help="what chance begins with")
    given = parser.parse_args()
    place = where(" ".join(["python -m tests.cluster", *sys.argv[1:]]))
    with cluster() as running:
        report = run(running, rounds=given.rounds, seed=given.seed, told=lambda fault: print(fault, file=sys.stderr))
    for violation in report.violations[:20]:
        print(violation, file=sys.stderr)
    result = {
        "faults": report.faults.total(),
        "violations": len(report.violations),
        "faults_by_kind": dict(report.faults),
        "outcomes_acknowledged": report.outcomes,
        "decisions_acknowledged": report.decisions,
        "answers_compared_between_hosts": report.asked_of_all,
        "decided_without_journal": report.without_journal,
        "terms": report.terms,
    } | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
