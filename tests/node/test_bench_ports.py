"""A bench talks to the server that it started itself, whoever else listens on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TAKEN = (18_080, 18_081, 18_082, 18_083, 18_090)
"""Ports that benches once took for their own."""


class Stranger(BaseHTTPRequestHandler):
    """Answers whatever it is asked with an empty document, and counts."""

    asked = 0

    def do_GET(self) -> None:
        Stranger.asked += 1
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def strangers() -> Iterator[None]:
    servers = []
    for port in TAKEN:
        try:
            servers.append(ThreadingHTTPServer(("127.0.0.1", port), Stranger))
        except OSError:  # taken already: so much the better
            continue
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize("name", ["ingest", "start"])
def test_a_bench_measures_its_own_server_though_others_listen(name: str) -> None:
    Stranger.asked = 0
    words = [sys.executable, "-m", "tieline", "bench", name, "--quick", "--json"]
    env = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2] / "src"))
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=240, check=False)
    found = json.loads(done.stdout)
    assert 0 < found["value"] < float("inf"), done.stderr
    assert Stranger.asked == 0
