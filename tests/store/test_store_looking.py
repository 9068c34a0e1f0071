"""SQL and exports over readings: the log, the historian and the records, each reading once, nothing written."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.resource.batch import Readings
from tieline.resource.point import points
from tieline.store.asking import ALL_TABLES
from tieline.store.importing import read_fleet
from tieline.store.journal import SqliteJournal
from tieline.store.looking import look, names_readings, names_records
from tieline.store.registry import load, save
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS, SECOND_NS, iso

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-1,pool-1
heater-1,water_heater,0,3000,0,feeder-2,site-2,
"""
START_NS = 1_660_000_000_000_000_000 // HOUR_NS * HOUR_NS


def some(first: int, count: int) -> Readings:
    """A reading every 20 minutes, of the three devices in turn; its value is its number."""
    numbers = np.arange(first, first + count)
    taken_ns = START_NS + numbers * (HOUR_NS // 3)
    return Readings(
        (numbers % 3).astype(np.int32), np.full(count, points()["power_w"].code, np.uint16), numbers.astype(np.float64),
        np.zeros(count, np.uint32), taken_ns, taken_ns + 5, "test",
    )  # fmt: skip


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine readings in the historian, three in the log, and three records."""
    made = tmp_path / "data"
    assert run("init", str(made)).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    save(read_fleet(tmp_path / "devices.csv"), made / "registry.bin")
    wal = Wal(made / "readings")
    wal.append([some(0, 9)])
    Historian(made / "historian").compact(wal)
    wal.append([some(9, 3)])
    wal.close()
    journal = SqliteJournal(made / "journal.db")
    journal.append([Record(f"r{n}", "Test", f"battery-{n}", START_NS, (), b"x") for n in range(3)])
    journal.close()
    return made


def asked(folder: Path, query: str) -> list:
    done = run("sql", query, "--json", "--data", str(folder))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["rows"]


def test_readings_of_log_and_historian_are_one_table(folder: Path) -> None:
    assert asked(folder, "SELECT value FROM readings ORDER BY value") == [[float(n)] for n in range(12)]
    found = asked(folder, "SELECT * FROM readings WHERE resource = 'heater-1' ORDER BY taken_at LIMIT 1")
    taken_ns = START_NS + 2 * (HOUR_NS // 3)
    at = iso(taken_ns).replace("T", " ").removesuffix("Z")
    assert found == [["heater-1", "power_w", "W", 2.0, 0, at, taken_ns, taken_ns + 5]]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM readings ORDER BY 4, 1 DESC, 7",
        "SELECT r.* FROM readings AS r ORDER BY 4, 1 DESC, 7 -- by place",
        "WITH r AS (SELECT * FROM readings) SELECT * FROM r ORDER BY 4, 1 DESC, 7",
        "SELECT * FROM readings WHERE resource IN (SELECT id FROM resource) ORDER BY 4, 1 DESC, 7",
    ],
)
def test_rows_of_all_columns_are_ordered_by_the_place_of_a_column(folder: Path, query: str) -> None:
    """Before, no table was found in such a question, and the journal's database, which has no readings, was asked."""
    assert names_readings(query) and not names_records(query)
    rows = asked(folder, query)
    named = asked(folder, "SELECT * FROM readings ORDER BY value, resource DESC, taken_at_ns")
    assert rows == named and len(rows) > 1
    assert names_records("SELECT * FROM record, resource ORDER BY 3") and not names_records(
        "SELECT * FROM x ORDER BY 3"
    )


def test_readings_are_summed_by_group_and_joined_with_records(folder: Path) -> None:
    by = "SELECT electrical, sum(value) FROM readings JOIN resource ON id = resource GROUP BY 1 ORDER BY 1"
    heater = 2 + 5 + 8 + 11
    assert asked(folder, by) == [["feeder-1", float(sum(range(12)) - heater)], ["feeder-2", float(heater)]]
    both = "SELECT kind, count(*) FROM record JOIN readings ON subject = resource GROUP BY 1"
    assert asked(folder, both) == [["Test", 8]]


def test_no_zero_is_negative(folder: Path) -> None:
    query = "SELECT -1.0::DOUBLE * value AS turned, -2.5::DOUBLE FROM readings WHERE value = 0"
    assert run("sql", query, "--data", str(folder)).stdout.splitlines()[1] == "0.0\t-2.5"
    assert str(asked(folder, query)) == "[[0.0, -2.5]]"


def test_a_server_that_moves_its_log_meanwhile_doubles_and_hides_nothing(folder: Path) -> None:
    segment = next((folder / "readings").glob("*.arrows"))
    kept = segment.read_bytes()
    Historian(folder / "historian").compact(Wal(folder / "readings"))
    segment.write_bytes(kept)  # moved already, and not deleted yet
    assert asked(folder, "SELECT count(*), sum(value) FROM readings") == [[12, float(sum(range(12)))]]


@pytest.mark.parametrize(
    "query", ["SELECT * FROM resources", "SELECT * FROM record, resources", "SELECT * FROM resource, resources"]
)
def test_a_table_that_is_none_is_answered_with_those_that_are(folder: Path, query: str) -> None:
    done = run("sql", query, "--data", str(folder))
    assert done.exit_code == 2
    says = "there is no table resources: the tables are record, readings, resource"
    assert done.output == f"tieline: {query!r}: {says}\n"
    for table in says.partition("are ")[2].split(", "):
        assert isinstance(asked(folder, f"SELECT count(*) FROM {table}")[0][0], int)


def test_the_help_names_every_table_and_column_that_is_there(folder: Path) -> None:
    words = set(re.findall(r"\w+", run("sql", "--help").output))
    for table in ALL_TABLES:
        done = run("sql", f"SELECT * FROM {table} LIMIT 1", "--json", "--data", str(folder))
        # What binds the records into a chain is no one's question.
        assert {table, *json.loads(done.stdout)["columns"]} - {"hash", "caused_by"} <= words
    assert "resources" not in words


def test_a_folder_without_readings_has_an_empty_table(folder: Path) -> None:
    shutil.rmtree(folder / "historian")
    shutil.rmtree(folder / "readings")
    assert asked(folder, "SELECT count(*) FROM readings") == [[0]]


def files(folder: Path) -> list[Path]:
    """All but what SQLite shares between readers while they read."""
    return sorted(path for path in folder.rglob("*") if path.suffix not in (".db-shm", ".db-wal"))


@pytest.mark.parametrize(
    "query",
    [
        "COPY readings TO '{other}'", "CREATE TABLE x AS FROM readings", "DELETE FROM readings", "DROP VIEW readings",
        "SELECT * FROM readings, read_csv('{secret}')", "SELECT * FROM readings, read_text('{secret}')",
        "SELECT * FROM readings; SELECT 1", "EXPORT DATABASE '{other}'; SELECT * FROM readings",
        "SELECT * FROM readings, glob('/*')", "SELECT * FROM readings, '{secret}'", "SELECT * FROM readings, fleet",
        "SELECT nope FROM readings", "SELECT * FROM readings) FROM (SELECT 1",
    ],
)  # fmt: skip
def test_whatever_writes_or_reads_elsewhere_is_refused_in_one_line(folder: Path, tmp_path: Path, query: str) -> None:
    secret, other = tmp_path / "secret.csv", tmp_path / "other"
    secret.write_text("a\nhidden\n")
    before = files(tmp_path)
    done = run("sql", query.format(secret=secret, other=other), "--data", str(folder))
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1
    assert "hidden" not in done.output
    assert files(tmp_path) == before


def test_a_question_without_end_is_ended_by_the_clock(folder: Path) -> None:
    class Ticks:
        looks = 0

        def now_ns(self) -> int:
            self.looks += 1
            return self.looks * SECOND_NS

    endless = "SELECT count(*) FROM readings, range(10000000000) a, range(10000000000) b WHERE a.range < b.range"
    fleet = load(folder / "registry.bin")
    with pytest.raises(ConfigError, match="ended after 10 s"):
        look(folder, fleet, lambda: SqliteJournal(folder / "journal.db"), endless, 10 * SECOND_NS, Ticks(), print)
    done = run("sql", endless, "--timeout", "0.2s", "--data", str(folder))
    assert "ended after 0.2 s: narrow it" in done.output


def test_rows_beyond_the_most_are_cut_and_said_to_be(folder: Path) -> None:
    fleet = load(folder / "registry.bin")

    class Still:
        def now_ns(self) -> int:
            return 0

    query = "SELECT value FROM readings ORDER BY value -- the last comment"
    answer = look(
        folder, fleet, lambda: SqliteJournal(folder / "journal.db"), query, SECOND_NS, Still(), print, most_rows=3
    )
    assert (answer.rows, answer.is_cut, answer.columns) == ([(0.0,), (1.0,), (2.0,)], True, ("value",))


@pytest.mark.long
@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_question_or_none(text: str) -> None:
    names_readings(text)
    assert names_readings("select 1 from READINGS")
    assert not names_readings("select * from record")


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_readings_are_exported_from_an_instant_to_another(folder: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"out'put{ending}"
    span = ("--since", iso(START_NS + HOUR_NS), "--until", iso(START_NS + 2 * HOUR_NS))
    done = run("export", "readings", str(target), *span, "--data", str(folder), "--json")
    assert json.loads(done.stdout) == {"readings": 3, "file": str(target), "missing": []}
    match ending:
        case ".csv":
            values = [float(row["value"]) for row in csv.DictReader(target.open())]
        case ".json":
            values = [row["value"] for row in json.loads(target.read_text())]
        case _:
            values = pq.read_table(target)["value"].to_pylist()
    assert values == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["readings", "out.txt"], "give a file that ends in .csv, .json or .parquet"),
        (["readings", "out.csv", "--since", "yesterday"], "--since 'yesterday': give ISO 8601 with an offset"),
        (["readings", "out.csv", "--since", "2022-01-02T00:00Z", "--until", "2022-01-01T00:00Z"], "after --since"),
        (["LineSettled", "out.csv", "--since", "2022-01-02T00:00Z"], "belong to `tieline export readings`"),
        (["readings", "/no/such/folder/out.csv"], "out.csv"),
        (["Nothing", "out.csv"], "give one of readings, "),
    ],
)
def test_an_export_that_is_none_is_refused_by_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("export", *words, "--data", str(folder))
    assert (done.exit_code, says in done.output) == (2, True), done.output
    assert not (tmp_path / "out.csv").exists()
