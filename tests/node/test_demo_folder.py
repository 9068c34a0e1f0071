"""The folder of a demonstration that lives is read like any other, while it runs and after it was killed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tieline.node.cli import main

TIELINE = [sys.executable, "-m", "tieline"]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_why_replay_and_doctor_read_a_living_demonstration_and_what_a_killed_one_left(tmp_path: Path) -> None:
    demo = subprocess.Popen([*TIELINE, "demo", "--devices", "40", "--port", "0"], stdout=subprocess.PIPE, text=True)
    folder = None
    try:
        for line in demo.stdout:
            if told := re.search(r"tieline why pool-1 --data (\S+)", line):
                folder = Path(told[1])
                break
        assert folder is not None
        for is_alive in (True, False):
            if not is_alive:
                demo.kill()
                demo.wait()
            why = run("why", "pool-1", "--data", str(folder), "--json")
            assert why.exit_code == 0, why.output
            assert json.loads(why.stdout)["resources"] == 40
            assert run("replay", "--data", str(folder)).exit_code == 0
            doctor = run("doctor", "--data", str(folder), "--json")
            assert json.loads(doctor.stdout)["healthy"], doctor.output
            if is_alive:
                refused = run("opt-out", "battery-000001", "--data", str(folder))
                assert refused.exit_code == 2 and "in use by process" in refused.output
    finally:
        demo.kill()
        demo.wait()
        if folder is not None and folder.name.startswith("tieline-"):
            shutil.rmtree(folder, ignore_errors=True)


def test_of_a_demonstration_that_ended_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    demo = subprocess.Popen([*TIELINE, "demo", "--devices", "40", "--port", "0"], stdout=subprocess.PIPE, text=True)
    for line in demo.stdout:
        if "--data" in line:
            break
    assert list(tmp_path.glob("tieline-*/registry.bin"))
    demo.terminate()
    assert demo.wait(60) == 0
    assert not list(tmp_path.glob("tieline-*"))
