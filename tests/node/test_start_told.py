"""A start that takes seconds says within one what it does, on standard error; answers stay on standard output."""

from __future__ import annotations

import re
import select
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_folder import folder_with

TABLE = "id,kind,pool,max_inject_w,max_absorb_w\nload-1,interruptible_load,pool-1,0,5000\n"
WITHIN_S = 1.0
SERVE = ["serve", "--data", "works", "--port", "0", "--for", "0.1s"]
DEMO = ["demo", "--devices", "200", "--port", "0"]
HEADLESS = ["demo", "--headless", "--for", "1h", "--devices", "200", "--json"]
FIRST = {
    "serve": (SERVE, "starting on works: loading the program, some seconds\n"),
    "demo": (DEMO, "opening a territory: loading the program, some seconds\n"),
    "headless demo": (HEADLESS, "opening a territory: loading the program, some seconds\n"),
}
TOLD = [FIRST["serve"][1], "loading compiled code: a first start makes it, some seconds more\n"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("told")
    folder_with(made, TABLE)
    return made


def first_line(words: list[str], base: Path) -> tuple[str, float]:
    """Return what a verb says first on standard error, and after how many seconds."""
    began_s, pipe = time.monotonic(), subprocess.PIPE
    command = [sys.executable, "-m", "tieline", *words]
    with subprocess.Popen(command, cwd=base, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as child:
        assert child.stderr is not None
        try:
            heard = select.select([child.stderr], [], [], 60.0)[0]
            took_s = time.monotonic() - began_s
            return child.stderr.readline() if heard else "", took_s
        finally:
            child.kill()


@pytest.mark.parametrize(("words", "first"), FIRST.values(), ids=FIRST)
def test_a_start_says_within_a_second_what_it_does(base: Path, words: list[str], first: str) -> None:
    tries = [first_line(words, base) for _ in range(3)]
    assert {line for line, _ in tries} == {first}
    assert min(took_s for _, took_s in tries) < WITHIN_S, "the machine may be busy with others, not thrice"


@pytest.mark.parametrize("words", [SERVE, DEMO, HEADLESS])
def test_nothing_that_takes_seconds_to_load_comes_before_the_first_words(base: Path, words: list[str]) -> None:
    """However slow a machine is: what makes a desk live, and all that needs, comes after."""
    script = "import sys; sys.modules['tieline.node.runtime'] = None\nfrom tieline.node.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=base, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.startswith(FIRST[words[0]][1]) and "tieline.node.runtime" in done.stderr
    assert done.stdout == ""


def test_a_server_says_each_step_of_its_start_and_its_answers_apart(base: Path) -> None:
    command = [sys.executable, "-m", "tieline", *SERVE]
    done = subprocess.run(command, cwd=base, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "".join(TOLD))
    assert done.stdout.startswith("1 devices, 0 records replayed\n") and "console at http" in done.stdout


def test_a_long_journal_is_told_before_it_is_replayed(tmp_path: Path) -> None:
    """Pages that hold nothing count as well: it is told by the length of the file."""
    folder_with(tmp_path, TABLE)
    run = [sys.executable, "-m", "tieline", *SERVE]
    subprocess.run(run, cwd=tmp_path, capture_output=True, timeout=120, check=True)
    with sqlite3.connect(tmp_path / "works" / "journal.db") as db:
        db.execute("CREATE TABLE filler AS SELECT zeroblob(40000000)")
        db.execute("DROP TABLE filler")
    db.close()
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert re.search(r"^replaying 4\d MB of records$", done.stderr, re.MULTILINE), done.stderr


def test_a_demos_words_leave_a_pipe_as_they_come(base: Path) -> None:
    command = [sys.executable, "-m", "tieline", *DEMO]
    with subprocess.Popen(command, cwd=base, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        try:
            assert select.select([child.stdout], [], [], 60.0)[0], "a pipe's buffer held them until its end"
            assert child.stdout.readline().startswith("raising 200 devices on ")
        finally:
            child.kill()
