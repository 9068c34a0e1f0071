"""Questions to the readings in SQL: the historian's hours, the log that isn't moved yet, and the records beside them.

Theory of operation. DuckDB reads the hourly files where they are, so a question costs what it looks at. It runs on a
database in memory that may open those files and nothing else; one SELECT is run and anything else refused before; a
thread watches the clock and interrupts. While a server moves its log, a reading can stand in the log and in its hour:
the log is listed first, the hours after it, and what is in both is taken once.

Records that stand in a database server are asked here, too: they are read from it by a statement of ours, and no word
of a question goes there. What a server lets its user do is its administrator's choice; a read-only transaction alone
keeps nobody from `COPY ... TO PROGRAM`, or from ending the server's other sessions.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.resource.identity import Purpose
from tieline.resource.point import points
from tieline.store.asking import MOST_ROWS, Answer, no_table
from tieline.store.journal import SqlJournal
from tieline.store.segment import SCHEMA, Tell, aside_faults, damage_of, damage_says, look_at
from tieline.store.series import Historian
from tieline.times import HOUR_NS, SECOND_NS, Clock, iso

TABLES = frozenset({"readings", "resource"})
"""What only this module knows; a question that names neither goes to the journal's own database."""
_CONFIG: dict[str, Any] = {"memory_limit": "2GB", "autoinstall_known_extensions": "false"}
_RECORD = pa.schema(
    [
        ("seq", pa.int64()), ("id", pa.string()), ("kind", pa.string()), ("subject", pa.string()),
        ("recorded_at_ns", pa.int64()), ("caused_by", pa.binary()), ("body", pa.binary()), ("hash", pa.binary()),
    ]
)  # fmt: skip
"""As `SqlJournal.rows` gives them."""
LOOK_S = 0.02
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
_KEY = "row, point, taken_at_ns, received_at_ns"
_VIEW = """
CREATE VIEW readings AS
SELECT resource.id AS resource, point_name.name AS point, point_name.unit AS unit, value, quality,
       make_timestamp(taken_at_ns // 1000) AS taken_at, taken_at_ns, received_at_ns
FROM raw JOIN resource ON resource.row = raw.row JOIN point_name ON point_name.code = raw.point
"""

MOST_CHECKED_BYTES = 64 * 1024 * 1024
"""Up to this size of all hours their pages are held against their checksums before a question is answered."""


def names_readings(query: str) -> bool:
    """Return whether a question is about readings; one that can't be read is not."""
    return bool(TABLES & _tables(query))


def names_records(query: str) -> bool:
    """Return whether a question is about records; one that can't be read is not."""
    return "record" in _tables(query)


def _tables(query: str) -> set[str]:
    with duckdb.connect() as db:  # one that knows none of the views, as it would bind them
        try:
            return {name.lower() for name in db.get_table_names(query)}
        except duckdb.Error:
            pass  # to it `*` is one column, and ORDER BY 4 is out of its range
        try:
            (parsed,) = db.execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("{}",)
        except duckdb.Error:
            return set()
    made = set[str]()
    found = {name.lower() for name in _named(json.loads(parsed), made)}
    return found - {name.lower() for name in made}


def _named(parsed: Any, made: set[str]) -> Iterator[str]:
    """Yield the tables that a parsed question names; `made` gets those that it makes itself (WITH)."""
    if isinstance(parsed, list):
        for each in parsed:
            yield from _named(each, made)
    if isinstance(parsed, dict):
        if parsed.get("type") == "BASE_TABLE":
            yield str(parsed.get("table_name"))
        made.update(str(each["key"]) for each in (parsed.get("cte_map") or {}).get("map") or ())
        for each in parsed.values():
            yield from _named(each, made)


def look(
    folder: Path,
    fleet: Fleet,
    open_records: Callable[[], SqlJournal],
    query: str,
    timeout_ns: int,
    clock: Clock,
    tell: Tell,
    most_rows: int = MOST_ROWS,
) -> Answer:
    """Return the answer to one SELECT over `readings`, `resource` and `record`; `tell` hears what can't be read.

    Raises:
        ConfigError: The query is faulty, would write, or took longer than `timeout_ns`.
    """
    end_ns = clock.now_ns() + timeout_ns
    with _ground(folder, fleet, tell) as (db, files):
        return _answer(db, files, open_records, query, (end_ns, timeout_ns), clock, most_rows)


def look_at_records(
    open_records: Callable[[], SqlJournal], query: str, timeout_ns: int, clock: Clock, most_rows: int = MOST_ROWS
) -> Answer:
    """Return the answer to one SELECT over `record` alone, wherever that stands: its database sees no word of it.

    Raises:
        ConfigError: As `look`.
    """
    end_ns = clock.now_ns() + timeout_ns
    with duckdb.connect(config=_CONFIG) as db:
        return _answer(db, [], open_records, query, (end_ns, timeout_ns), clock, most_rows)


def _answer(
    db: Any,
    files: list[str],
    open_records: Callable[[], SqlJournal],
    query: str,
    within_ns: tuple[int, int],
    clock: Clock,
    most_rows: int,
) -> Answer:
    end_ns, timeout_ns = within_ns
    late = f"{query!r}: ended after {timeout_ns / SECOND_NS:g} s: narrow it, or give a longer --timeout"
    statements = _statements(db, query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConfigError(f"{query!r}: is refused: the records are read-only here: give one SELECT")
    if names_records(query):
        db.register("record", _record_table(open_records(), lambda: clock.now_ns() > end_ns, late))
    _lock(db, files)
    with _watched(db, lambda: clock.now_ns() > end_ns):
        try:
            # The newline ends a comment that the query may end with.
            db.execute(f"SELECT * FROM (\n{statements[0].query.strip().rstrip(';')}\n) LIMIT {most_rows + 1}")
            rows = db.fetchall()
        except duckdb.InterruptException:
            raise ConfigError(late) from None
        except duckdb.Error as error:
            missing = _NO_TABLE.search(str(error))
            says = no_table(query, missing[1]) if missing else f"{query!r}: {' '.join(str(error).split())}"
            raise ConfigError(says) from None
    names = tuple(column[0] for column in db.description or ())
    return Answer(names, rows[:most_rows], len(rows) > most_rows)


def write_readings(folder: Path, fleet: Fleet, since_ns: int, until_ns: int, target: Path, tell: Tell) -> int:
    """Write the readings of [since, until) to a .csv, .json or .parquet file, and return how many.

    `tell` hears what can't be read.

    Raises:
        ConfigError: Another kind of file, or one that can't be written.
    """
    kinds = {
        ".csv": "FORMAT csv, HEADER",
        ".json": "FORMAT json, ARRAY true",
        ".parquet": "FORMAT parquet, COMPRESSION zstd",
    }
    if target.suffix not in kinds:
        raise ConfigError(f"{target}: give a file that ends in .csv, .json or .parquet")
    if not since_ns < until_ns:
        raise ConfigError(f"--until {iso(until_ns)}: give an instant after --since {iso(since_ns)}")
    part = target.with_name(f".{target.name}.part")
    text = str(part).replace("'", "''")
    with _ground(folder, fleet, tell) as (db, _):
        wanted = f"SELECT * FROM readings WHERE taken_at_ns >= {since_ns} AND taken_at_ns < {until_ns}"
        sql = f"COPY ({wanted} ORDER BY taken_at_ns, resource, point) TO '{text}' ({kinds[target.suffix]})"
        try:
            count = db.execute(sql).fetchone()
            part.replace(target)
        except duckdb.Error as error:
            part.unlink(missing_ok=True)
            raise ConfigError(f"{target}: {' '.join(str(error).split())}") from None
    return int(count[0]) if count else 0


@contextmanager
def _ground(folder: Path, fleet: Fleet, tell: Tell) -> Iterator[tuple[Any, list[str]]]:
    """Yield a database in memory with the views, and the files that they read."""
    log = _log(folder / "readings", tell)  # before the hours: what is moved meanwhile is then in these
    historian = folder / "historian"
    hours = _hours(historian, tell)
    files = [str(historian / f"{hour}.parquet") for hour in hours]
    fresh = {int(at) // HOUR_NS for at in log["taken_at_ns"].to_numpy()}
    both = [str(historian / f"{hour}.parquet") for hour in hours if hour in fresh]
    db = duckdb.connect(config=_CONFIG)
    try:
        db.register("resource", _resource_table(fleet))
        known = points().values()
        db.register(
            "point_name",
            pa.table(
                {
                    "code": pa.array([p.code for p in known], pa.uint16()),
                    "name": [p.key for p in known],
                    "unit": [p.unit for p in known],
                }
            ),
        )
        db.register("log", log)
        moved = f"SELECT * FROM read_parquet({_listed(files)})" if files else "SELECT * FROM log WHERE false"
        twice = f" ANTI JOIN (SELECT {_KEY} FROM read_parquet({_listed(both)})) USING ({_KEY})" if both else ""
        db.execute(f"CREATE VIEW raw AS {moved} UNION ALL SELECT log.* FROM log{twice}")
        db.execute(_VIEW)
        yield db, files
    finally:
        db.close()


def _lock(db: Any, files: list[str]) -> None:
    """Let a question open the hours and nothing else: no other file, no network, no variable of ours."""
    settings = (
        f"allowed_paths = {_listed(files)}",
        "enable_external_access = false",
        "python_enable_replacements = false",
        "lock_configuration = true",
    )
    for setting in settings:
        db.execute(f"SET {setting}")


def _listed(files: list[str]) -> str:
    return "[" + ",".join("'" + file.replace("'", "''") + "'" for file in files) + "]"


def _log(folder: Path, tell: Tell) -> pa.Table:
    """Return what the log holds; a segment that is moved while we look is in the historian by then."""
    found = [SCHEMA.empty_table()]
    for path in sorted(folder.glob("*.arrows")):
        try:
            segment = look_at(path)
            found.append(segment.table)
            damaged = damage_of(path) if segment.lost else None
        except FileNotFoundError:
            continue
        if damaged is not None:
            tell(damage_says(path, damaged))
    for says in aside_faults(folder):
        tell(says)
    return pa.concat_tables(found)


def _hours(folder: Path, tell: Tell) -> list[int]:
    """Return the hours that can be read."""
    if not folder.is_dir():
        return []
    historian = Historian(folder)
    # Whoever asks waits for it: of a long history the footers alone are looked at; `doctor` has time for the rest.
    size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    damaged = historian.damaged(pages=size <= MOST_CHECKED_BYTES)
    for says in historian.faults(damaged):
        tell(says)
    return [hour for hour in historian.hours() if hour not in damaged]


def _resource_table(fleet: Fleet) -> pa.Table:
    """Return a row for each device: what it is, and the group of each purpose that it stands under."""
    columns: dict[str, Any] = {
        "row": pa.array(range(len(fleet)), pa.int32()),
        "id": pa.array(list(fleet.ids), pa.string()),
        "kind": pa.array([fleet.kind_of(name).value for name in fleet.ids], pa.string()),
        "max_inject_w": fleet.max_inject_w,
        "max_absorb_w": fleet.max_absorb_w,
        "energy_wh": fleet.energy_wh,
    }
    for purpose in Purpose:
        rows = fleet.parents.get(purpose, ())
        groups = [fleet.groups[at].id if at >= 0 else None for at in rows]
        columns[purpose.value] = pa.array(groups or [None] * len(fleet), pa.string())
    return pa.table(columns)


def _record_table(journal: SqlJournal, is_late: Callable[[], bool], late: str) -> pa.Table:
    batches = []
    with closing(journal):
        for rows in journal.rows():
            columns = [pa.array(each, kind) for each, kind in zip(zip(*rows, strict=True), _RECORD.types, strict=True)]
            batches.append(pa.RecordBatch.from_arrays(columns, schema=_RECORD))
            if is_late():
                raise ConfigError(late)
    return pa.Table.from_batches(batches, _RECORD)


def _statements(db: Any, query: str) -> list[Any]:
    try:
        return list(db.extract_statements(query))
    except duckdb.Error as error:
        raise ConfigError(f"{query!r}: {' '.join(str(error).split())}") from None


@contextmanager
def _watched(db: Any, is_late: Callable[[], bool]) -> Iterator[None]:
    """Interrupt what the database does once it is late."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if is_late():
                db.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
