"""Ports for servers that must be told theirs before they start."""

from __future__ import annotations

import itertools
import os
import socket

# Below 32768, where Linux and below 49152, where RFC 6335 (6) has the ports of outgoing connections begin: one that the
# kernel names as free there can be given to any client before the server takes it.
FIRST, COUNT = 20_000, 12_000
_next = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """Return a port that nobody listens on, another at each call."""
    for number in _next:
        port = FIRST + number % COUNT
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError
