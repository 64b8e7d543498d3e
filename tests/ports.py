"""Ports for servers that are started on a port of their own."""

from __future__ import annotations

import contextlib
import random
import socket


def find_unused_port() -> int:
    """A port on loopback that was free a moment ago.

    It lies below the ports that systems give to outgoing connections (from 32,768 on Linux): a client that keeps
    trying a dead address there sooner or later gets that very port as its own, and is connected to itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):  # taken: try another
            probe.bind(("127.0.0.1", port))
            return port
