"""One decision by the client of the environment whose Python runs this file: `decide_once.py ADDRESS DEADLINE_MS`.

Prints the decision as JSON. Where the router answered, its episode is ended, and the outcome is durable by then.
"""

import json
import sys

import sojourn


def main() -> None:
    """Decides a turn, ends the episode and prints what came."""
    address, deadline_ms = sys.argv[1], float(sys.argv[2])
    table = sojourn.FallbackTable({"search": "gpt-oss-120b", "*": "gpt-5"})
    client = sojourn.Client(address, fallback=table, decide_deadline_ms=deadline_ms)
    episode = client.episode("packaged", task_type="bugfix")
    turn = episode.decide(tool_type="search", prompt_tokens=6_200)
    if turn.fallback is None:
        episode.report(output_tokens=180, cost_usd=0.0007)
        episode.succeed(wait=True)
    client.close()
    print(json.dumps({"model": turn.model, "reason": str(turn.reason), "fallback": turn.fallback}))


if __name__ == "__main__":
    main()
