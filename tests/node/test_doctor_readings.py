"""Damaged files of readings: what can be read stays, what can't is told, and nothing damaged is deleted."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tieline.node.cli import main
from tieline.resource.batch import Readings
from tieline.store.series import Historian, Wal, hour_faults
from tieline.times import HOUR_NS


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


def damaged(segment: Path, at: float = 0.5) -> None:
    raw = bytearray(segment.read_bytes())
    raw[int(len(raw) * at)] ^= 1
    segment.write_bytes(raw)


def test_what_doctor_says_remains_is_what_the_server_keeps_and_the_damaged_file_is_set_aside(folder: Path) -> None:
    segment = logged(folder, 4)
    damaged(segment)
    raw = segment.read_bytes()
    (fault,) = json.loads(run("doctor", "--data", str(folder), "--json", code=1))["readings"]["faults"]
    assert fault["value"].startswith("damaged at byte ")
    assert fault["limit"].startswith("30 readings around it remain, 792 of 3568 bytes are lost: stop the server")
    assert Historian(folder / "historian").compact(Wal(folder / "readings")) == 30
    (aside,) = (folder / "readings").iterdir()
    assert (aside.name, aside.read_bytes()) == ("00000001.damaged", raw)
    (fault,) = json.loads(run("doctor", "--data", str(folder), "--json", code=1))["readings"]["faults"]
    assert fault["value"] == "792 of 3568 bytes lost"
    assert fault["limit"].startswith("its other 30 readings are in the historian: stop the server and put the file")
    aside.unlink()
    assert json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]["ok"]


def test_a_segment_put_back_from_a_backup_completes_the_hours_without_doubles(folder: Path) -> None:
    segment = logged(folder, 4)
    backup = segment.read_bytes()
    damaged(segment)
    historian = Historian(folder / "historian")
    historian.compact(Wal(folder / "readings"))
    assert logged_again(folder).name == "00000002.arrows"  # the number of what was set aside isn't given again
    segment.write_bytes(backup)
    assert historian.compact(Wal(folder / "readings")) == 50


def logged_again(folder: Path) -> Path:
    wal = Wal(folder / "readings")
    wal.append([Readings(*(np.arange(10).astype(t) for t in "iHdIqq"), "x")])
    wal.close()
    return wal.segments()[-1]


def test_a_cut_segment_that_was_not_the_last_is_set_aside_too_and_a_torn_last_one_is_not(folder: Path) -> None:
    first, last = logged(folder, 2), logged_again(folder)
    for segment in (first, last):
        segment.write_bytes(segment.read_bytes()[:-1])
    told: list[str] = []
    assert Historian(folder / "historian", told.append).compact(Wal(folder / "readings")) == 10
    assert [path.name for path in (folder / "readings").iterdir()] == ["00000001.damaged"]
    assert [says.partition(" =")[0] for says in told] == ["readings/00000001.damaged"]


def test_a_server_says_and_records_damage_at_its_start_and_a_torn_end_is_a_note(folder: Path) -> None:
    damaged(logged(folder, 4))
    last = logged_again(folder)
    last.write_bytes(last.read_bytes()[:-1])
    said = run("serve", "--data", str(folder), "--port", "0", "--for", "2s")
    assert "warning: readings/00000001.arrows = 'damaged at byte " in said
    assert "note: readings/00000002.arrows = 'cut at byte " in said
    told = run("sql", "SELECT count(*) FROM record WHERE kind = 'Audited' AND subject = 'readings'",
               "--data", str(folder), "--json")  # fmt: skip
    assert json.loads(told)["rows"] == [[1]]


def test_sql_and_export_name_what_they_could_not_read_and_end_otherwise_than_with_a_whole_answer(folder: Path) -> None:
    (folder / "devices.csv").write_text("id,kind,max_inject_w,max_absorb_w\n" + "".join(
        f"battery-{k},battery,5000,5000\n" for k in range(10)))  # fmt: skip
    run("import", str(folder / "devices.csv"), "--data", str(folder))
    segment, target = logged(folder, 4), str(folder / "out.csv")
    verbs = (["sql", "SELECT count(*) FROM readings"], ["export", "readings", target])
    for words in verbs:
        assert json.loads(run(*words, "--data", str(folder), "--json"))["missing"] == []
    damaged(segment)
    for words in verbs:
        done = CliRunner().invoke(main, [*words, "--data", str(folder), "--json"])
        assert done.exit_code == 1, done.output
        (says,) = json.loads(done.stdout)["missing"]
        assert says.startswith("readings/00000001.arrows = 'damaged at byte ")
        assert done.stderr == f"warning: {says}\n"
        assert CliRunner().invoke(main, [*words, "--data", str(folder)]).exit_code == 1
    # A question that asks for no reading lacks none.
    run("sql", "SELECT count(*) FROM record", "--data", str(folder), "--json")


def test_an_hour_that_was_cut_is_told_left_out_and_set_aside_before_its_place_is_taken(folder: Path) -> None:
    logged(folder, 2)
    told: list[str] = []
    historian = Historian(folder / "historian", told.append)
    historian.compact(Wal(folder / "readings"))
    hour = folder / "historian" / "0.parquet"
    cut = hour.read_bytes()[:-9]
    hour.write_bytes(cut)
    (fault,) = json.loads(run("doctor", "--data", str(folder), "--json", code=1))["readings"]["faults"]
    assert fault["field"] == "historian/0.parquet"
    done = CliRunner().invoke(main, ["sql", "SELECT count(*) FROM readings", "--data", str(folder), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["rows"]) == (1, [[0]]), done.output
    assert json.loads(done.stdout)["missing"][0].startswith("historian/0.parquet = 'unreadable'")
    assert "warning: historian/0.parquet = 'unreadable'" in done.stderr
    assert historian.read([1], [1], 0, HOUR_NS).num_rows == 0
    logged_again(folder)
    assert historian.compact(Wal(folder / "readings")) == 10
    assert (folder / "historian" / "0.damaged").read_bytes() == cut
    assert historian.read([1], [1], 0, HOUR_NS).num_rows == 1
    assert len(told) == 1


def test_an_empty_segment_is_no_cut(folder: Path) -> None:
    (folder / "readings").mkdir()
    (folder / "readings" / "00000001.arrows").touch()
    assert json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]["ok"]


def test_a_changed_byte_in_an_hour_is_never_read_as_a_reading(folder: Path) -> None:
    """Footer whole, a page not: its checksum tells (Parquet's page header, `crc`)."""
    logged(folder, 2)
    told: list[str] = []
    historian = Historian(folder / "historian", told.append)
    historian.compact(Wal(folder / "readings"))
    hour = folder / "historian" / "0.parquet"
    raw = hour.read_bytes()
    before = historian.read(range(10), range(10), 0, HOUR_NS)
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    changed = 0
    for at in range(4, footer):
        hour.write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        found = historian.read(range(10), range(10), 0, HOUR_NS)
        changed += found.num_rows == 0
        assert found.num_rows == 0 or found.equals(before), at
        if at % 50 == 0:
            assert bool(hour_faults(folder / "historian", pages=True)) == (found.num_rows == 0), at
    assert changed > footer / 2
    assert told


def test_what_was_learnt_is_looked_at_and_a_damaged_file_is_told(folder: Path) -> None:
    assert json.loads(run("doctor", "--data", str(folder), "--json"))["learnt"]["says"] == "nothing yet"
    (folder / "learnt.bin").write_bytes(b"TLLEARN1" + bytes(200))
    found = json.loads(run("doctor", "--data", str(folder), "--json", code=1))
    assert "its checksum does not hold" in found["learnt"]["says"]
    assert "move it away" in found["learnt"]["says"]
