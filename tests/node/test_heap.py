"""What is frozen for the run is freed at its end."""

import subprocess
import sys

_RUN = """
import duckdb
from tieline.rim import heap
with duckdb.connect() as db:
    assert db.execute("SELECT 41 + 1").fetchall() == [(42,)]
heap.settle()
heap.settle()
"""


def test_a_process_that_settled_its_heap_ends_without_a_word() -> None:
    ended = subprocess.run([sys.executable, "-c", _RUN], capture_output=True, text=True, check=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_demonstration_leaves_nothing_behind_at_its_end() -> None:
    words = ["demo", "--headless", "--for", "60m", "--devices", "60", "--json"]
    ended = subprocess.run([sys.executable, "-m", "tieline", *words], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "leak" not in ended.stderr
