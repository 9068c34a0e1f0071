"""A server that is told to end, or loses its terminal, ends in order or goes on as it was asked to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_start_checked import asked, works

from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.store.head import Head
from tieline.store.journal import SqliteJournal

__all__ = ["works"]


def started(works: Path, *before: str) -> subprocess.Popen[str]:
    """Return a server that serves a folder, once it does."""
    (works / "tieline.toml").write_text("port = 0\n")
    command = [*before, sys.executable, "-m", "tieline", "serve", "--data", str(works)]

    # As from a terminal, whatever the tests themselves were started by: what nohup starts ignores SIGHUP.
    def as_from_a_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=as_from_a_terminal)
    while "one-time link" not in (line := child.stdout.readline()):
        assert line, child.stderr.read()
    return child


def told(works: Path) -> str:
    """Return what a start says on standard error of what it does, and no more."""
    return (
        f"starting on {works}: loading the program, some seconds\n"
        "loading compiled code: a first start makes it, some seconds more\n"
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_a_terminal_that_goes_end_a_server_in_order_with_code_0(works: Path, how: signal.Signals) -> None:
    child = started(works)
    try:
        os.kill(child.pid, how)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (child.returncode, err) == (0, told(works))
    code, found = asked("doctor", "--data", str(works), "--json")
    assert (code, found["healthy"]) == (0, True)
    again = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert again.exit_code == 0, again.output


def test_a_server_under_nohup_outlives_its_terminal(works: Path) -> None:
    """Who starts it so has SIGHUP ignored, and means it."""
    child = started(works, "nohup")
    try:
        os.kill(child.pid, signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=2)
        child.terminate()
        child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 0


def test_an_output_that_is_closed_during_the_start_is_no_fault_of_a_port(works: Path) -> None:
    (works / "tieline.toml").write_text("port = 0\n")
    command = [sys.executable, "-m", "tieline", "serve", "--data", str(works), "--for", "1s"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "records replayed" in child.stdout.readline()
    child.stdout.close()
    err = child.stderr.read()
    child.wait(timeout=60)
    assert "port" not in err, err
    assert "address of ours" not in err, err


def test_a_head_that_a_kill_left_behind_is_moved_on_by_the_next_start(works: Path) -> None:
    """Between a commit and its note beside it lies an instant; what was committed then could be cut off unseen."""
    journal = SqliteJournal(works / "journal.db")
    journal.append([Record("r1", "Test", "s", 1, (), b"x")])
    head = works / "journal.head"
    before = head.read_bytes()
    journal.append([Record("r2", "Test", "s", 2, (), b"x")])
    journal.close()
    head.write_bytes(before)
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert done.exit_code == 0, done.output
    assert (Head(head).read() or (0, b""))[0] == 2
