"""EvaluatePolicy in a process of its own, at a low priority, so that no decision waits for it.

One at a time. It opens the journal by itself, for reading only, and is ended when its caller leaves. A journal in
memory is nobody else's to read: there the calling thread does the work.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from sojourn.v1 import admin_pb2
from sojourn_server.config import JournalConfig
from sojourn_server.errors import JournalUnavailable, Overloaded
from sojourn_server.evaluation.request import check
from sojourn_server.hosts.home import open_for_reading, place_of
from sojourn_server.journal.journal import Journal
from sojourn_server.security.carrier import Context
from sojourn_server.world import read_world

NICENESS = 10
SHOWN = 500  # of what a failed process said


class Evaluator:
    """Answers EvaluatePolicy."""

    def __init__(self, journal: Journal, config: JournalConfig) -> None:
        self._journal = journal
        self._config = config
        self._running = threading.Lock()

    def __call__(self, request: admin_pb2.EvaluatePolicyRequest, context: Context) -> admin_pb2.EvaluatePolicyResponse:
        """Raises what `answer` raises, and Overloaded while another evaluation runs."""
        check(request, read_world(self._journal), self._journal)
        if not self._running.acquire(blocking=False):
            raise Overloaded("another evaluation is running; there is one at a time")
        try:
            if self._config.kind == "memory":
                return _answer(self._journal, request)
            return self._in_another_process(request, context)
        finally:
            self._running.release()

    def _in_another_process(
        self, request: admin_pb2.EvaluatePolicyRequest, context: Context
    ) -> admin_pb2.EvaluatePolicyResponse:
        command = [sys.executable, "-m", "sojourn_server.upkeep.evaluator"]
        place = place_of(self._config).encode()  # not an argument: it may hold a password
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            context.add_done_callback(lambda _: process.kill())  # type: ignore[arg-type]  # its stubs want a class
            found, said = process.communicate(place + b"\n" + request.SerializeToString())
        if process.returncode:
            raise JournalUnavailable(f"the evaluation ended early: {said.decode(errors='replace')[-SHOWN:].strip()}")
        return admin_pb2.EvaluatePolicyResponse.FromString(found)


def serve_one() -> None:
    """What the other process does: a journal's place and a request on standard input, the answer on standard output."""
    os.nice(NICENESS)
    place = sys.stdin.buffer.readline().decode().rstrip("\n")
    request = admin_pb2.EvaluatePolicyRequest.FromString(sys.stdin.buffer.read())
    with open_for_reading(place) as (journal, _):
        sys.stdout.buffer.write(_answer(journal, request).SerializeToString())


def _answer(journal: Journal, request: admin_pb2.EvaluatePolicyRequest) -> admin_pb2.EvaluatePolicyResponse:
    from sojourn_server.evaluation.answer import answer

    return answer(journal, request)


if __name__ == "__main__":
    serve_one()
