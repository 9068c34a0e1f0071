"""Doctor looks at the readings' log: a cut is named, with what remains."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tieline.node.cli import main
from tieline.resource.batch import Readings
from tieline.store.series import Historian, Wal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert CliRunner().invoke(main, ["init", str(tmp_path / "works")]).exit_code == 0
    return tmp_path / "works"


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, done.output
    return done.stdout


def logged(folder: Path, batches: int) -> Path:
    """Write batches of ten readings to a folder's log and return its one segment."""
    wal = Wal(folder / "readings")
    count = np.arange(10)
    for _ in range(batches):
        wal.append(
            [
                Readings(
                    count.astype(np.int32),
                    count.astype(np.uint16),
                    count * 1.0,
                    count.astype(np.uint32),
                    count,
                    count,
                    "x",
                )
            ]
        )
    wal.close()
    (segment,) = wal.segments()
    return segment


def test_doctor_names_the_segment_that_is_cut_what_remains_and_what_to_do(folder: Path) -> None:
    segment = logged(folder, 4)
    assert json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]["ok"]
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5])
    found = json.loads(run("doctor", "--data", str(folder), "--json", code=1))
    assert (found["healthy"], found["readings"]["ok"]) == (False, False)
    (fault,) = found["readings"]["faults"]
    assert fault["field"] == "readings/00000001.arrows"
    assert fault["value"].startswith("cut at byte ")
    assert fault["value"].endswith(f" of {len(whole) - 5}")
    assert fault["limit"].startswith("30 readings before it remain: stop the server and put the file back")


def test_what_doctor_says_remains_is_what_the_server_keeps(folder: Path) -> None:
    segment = logged(folder, 4)
    whole = bytearray(segment.read_bytes())
    whole[len(whole) // 2] ^= 1  # a bit of the second batch or its frame: what follows can't be trusted
    segment.write_bytes(whole)
    found = json.loads(run("doctor", "--data", str(folder), "--json", code=1))["readings"]
    remain = int(found["faults"][0]["limit"].split()[0])
    assert remain in (10, 20)
    assert Historian(folder / "historian").compact(Wal(folder / "readings")) == remain
    assert json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]["ok"]


def test_an_empty_segment_is_no_cut(folder: Path) -> None:
    (folder / "readings").mkdir()
    (folder / "readings" / "00000001.arrows").touch()
    assert json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]["ok"]
