"""The verbs of the command line that work on a data folder: init, import, doctor, why, replay, sql, export."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from tieline.errors import ConfigError
from tieline.node.cli import PORT, main, show, tell, tell_loading

DATA = click.option(
    "--data",
    "data",
    type=click.Path(path_type=Path),
    default=Path("tieline-data"),
    show_default=True,
    help="Data folder.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--journal", "url", default="", help="postgresql://user@host:port/database; left out: SQLite in FOLDER.")
@JSON
def init(folder: Path, url: str, as_json: bool) -> None:
    """Make a data folder: settings, an empty registry and a journal."""
    from tieline.node.config import load_config, write_example
    from tieline.store.importing import read_nothing
    from tieline.store.journal import SqliteJournal
    from tieline.store.registry import save

    if (folder / "tieline.toml").exists():
        raise ConfigError(f"{folder}: is a data folder already; nothing was changed")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    write_example(folder / "tieline.toml", url)
    try:
        load_config(folder / "tieline.toml")
    except ConfigError:
        (folder / "tieline.toml").unlink()
        for path in made:  # a refusal leaves nothing behind, neither here nor above
            path.rmdir()
        raise
    if not url:  # a database gets its journal by the first server, which knows the password
        SqliteJournal(folder / "journal.db").close()
    save(read_nothing(), folder / "registry.bin")
    then = [f"tieline import DEVICES.csv --data {folder}", f"tieline serve --data {folder}"]
    show({"made": str(folder), "settings": str(folder / "tieline.toml"), "next": then}, as_json)


@main.command(name="import")
@click.argument("table", type=click.Path(path_type=Path))
@DATA
@JSON
def import_(table: Path, data: Path, as_json: bool) -> None:
    """Import devices from a CSV or Parquet table (id, kind, ratings, and the groups that each stands under).

    Devices that are there already take the table's values; those that it doesn't name stay. A server that holds the
    folder has to be stopped first.
    """
    from tieline.store.importing import read_fleet
    from tieline.store.lock import FolderLock
    from tieline.store.merging import Merged, merge
    from tieline.store.registry import load, save

    fleet = read_fleet(table)
    if not (data / "tieline.toml").exists():
        raise ConfigError(f"--data {data}: is no data folder, nothing was imported: run `tieline init {data}` first")
    path = data / "registry.bin"
    lock = FolderLock(data)
    try:
        made = merge(load(path), fleet) if path.exists() else Merged(fleet, len(fleet), 0, 0)
        digest = save(made.fleet, path)
    finally:
        lock.release()
    kinds: dict[str, int] = {}
    for name in made.fleet.ids:
        kind = made.fleet.kind_of(name).value
        kinds[kind] = kinds.get(kind, 0) + 1
    counts = {"added": made.added, "changed": made.changed, "unchanged": made.kept}
    groups = len(made.fleet.groups)
    show({"devices": len(made.fleet), **counts, "groups": groups, "kinds": kinds, "digest": digest}, as_json)


@main.command()
@DATA
@JSON
@click.pass_context
def doctor(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Check a data folder: all that a server's start needs, and every link of the journal's chain."""
    from tieline.node.doctor import examine
    from tieline.rim.clock import SystemClock

    healthy, found = examine(data, SystemClock())
    show({"healthy": healthy, **found}, as_json)
    if not healthy:
        ctx.exit(1)


@main.command()
@click.argument("resource")
@click.option("--at", "at", help="An instant, ISO 8601 with an offset; left out: the last record.")
@DATA
@JSON
@click.pass_context
def why(ctx: click.Context, resource: str, at: str | None, data: Path, as_json: bool) -> None:
    """Say who controls a resource (a device, feeder, pool, ...) at an instant, and why.

    Where a record was changed or is missing that is said (with --json in `missing`), and the exit code is 1.
    """
    from tieline.node.journals import tell_cut
    from tieline.node.why import why as ask
    from tieline.node.why_words import tell
    from tieline.store.registry import load
    from tieline.times import parse_iso

    try:
        at_ns = None if at is None else parse_iso(at)
    except ValueError as error:
        raise ConfigError(
            f"--at {at!r}: give ISO 8601 with an offset, such as 2022-08-17T21:00:00Z ({error})"
        ) from None
    missing = Missing()
    fleet = load(data / "registry.bin")
    tell_cut(data, missing)
    answer = ask(data, fleet, resource, at_ns, missing)
    if as_json:
        show({**answer, "missing": missing.told}, True)
    else:
        tell(answer)
    missing.end(ctx)


def warn(says: str) -> None:
    """Say on standard error what is wrong."""
    click.echo(f"warning: {says}", err=True)


class Missing:
    """Hears what an answer lacks: said at once, kept for the answer's JSON, and told by the exit code."""

    def __init__(self) -> None:
        """Begin with nothing missing."""
        self.says: list[str] = []
        self.doubts: list[str] = []

    def __call__(self, says: str) -> None:
        """Say on standard error what is missing; the same thing once."""
        if says not in self.says:
            self.says.append(says)
            warn(says)

    def doubt(self, says: str) -> None:
        """Say what may be missing, and keep it for the JSON; the code stays 0, as nothing is known to be."""
        if says not in (*self.says, *self.doubts):
            self.doubts.append(says)
            warn(says)

    @property
    def told(self) -> list[str]:
        """What is missing, or may be."""
        return [*self.says, *self.doubts]

    def end(self, ctx: click.Context) -> None:
        """End with code 1 where something is missing: a script that reads only the answer would take it for whole."""
        if self.says:
            ctx.exit(1)


@main.command()
@DATA
@JSON
def move(data: Path, as_json: bool) -> None:
    """Move the records of the folder's journal.db into the database of [journal] url; the chain stays the same."""
    from tieline.node.config import load_config
    from tieline.node.journals import move_journal

    count, where = move_journal(data, load_config(data / "tieline.toml").journal)
    show({"records": count, "journal": where, "left": str(data / "journal.db.moved")}, as_json)


@main.command()
@DATA
@JSON
@click.pass_context
def replay(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Rebuild the state from the journal; print the digests of both, the same at each replay.

    Every record is held against the chain of hashes; one that was changed or is missing at the end is named, and the
    exit code is 1.
    """
    from tieline.node.journals import aside_says, journal_to_read
    from tieline.node.rebuilt import law_in, state_of
    from tieline.store.opening import changed_says
    from tieline.store.registry import load

    fleet = load(data / "registry.bin")
    journal = journal_to_read(data)
    changed, fault = journal.verify(), journal.end_fault()
    if changed is not None and changed != journal.lost():
        fault = changed_says(changed) + (f"; {fault}" if fault else "")
    for says in (fault, aside_says(data)):
        if says:
            warn(says)
    state = state_of(fleet, law_in(data, fleet), journal)
    # Both as a demonstration's report has them: the journal's is the hash of its last record, which stands for all.
    answer = {"records": journal.last_seq, "digest": journal.last_hash.hex(), "claims": state.claims.count()}
    show({**answer, "state": state.digest(), "end": fault or "whole"}, as_json)
    if changed is not None:
        ctx.exit(1)


@main.command()
@click.argument("query")
@click.option("--timeout", "timeout", default="10s", show_default=True, help="End the query after so long, such as 2m.")
@DATA
@JSON
@click.pass_context
def sql(ctx: click.Context, query: str, timeout: str, data: Path, as_json: bool) -> None:
    """Ask the tables `record`, `readings` and `resource` in SQL, read-only.

    `record` has seq, id, kind, subject, recorded_at_ns and body, which is shown as JSON; `readings` resource,
    point, unit, value, quality, taken_at, taken_at_ns and received_at_ns; `resource` row, id, kind, max_inject_w,
    max_absorb_w, energy_wh, and its group of each purpose (electrical, site, owner, pool, program, curtailment). A
    query that names `readings` or `resource` is in the SQL of DuckDB, and so is any of a journal in PostgreSQL;
    others are in that of SQLite.

    Where a damaged file of readings is left out, or a record was changed or is gone, that is said (with --json in
    `missing`), and the exit code is 1; the answer stands for what remains.
    """
    from tieline.node.asked import parse_duration
    from tieline.node.journals import ask_folder
    from tieline.rim.clock import SystemClock

    missing = Missing()
    answer = ask_folder(data, query, parse_duration(timeout, "--timeout"), SystemClock(), missing)
    if as_json:
        rows = [[_plain(value) for value in row] for row in answer.rows]
        show({"columns": answer.columns, "rows": rows, "is_cut": answer.is_cut, "missing": missing.told}, True)
        missing.end(ctx)
        return
    click.echo("\t".join(answer.columns))
    for row in answer.rows:
        click.echo("\t".join(_cell(value) for value in row))
    if answer.is_cut:
        click.echo(f"only the first {len(answer.rows):,} rows are shown", err=True)
    missing.end(ctx)


def _plain(value: object) -> object:
    from tieline.node.exporting import text_of

    if isinstance(value, float):
        return value + 0.0  # nothing is less than zero by no amount
    return text_of(value) if isinstance(value, bytes) else value


def _cell(value: object) -> str:
    """Return a value as one cell of one line."""
    if value is None:
        return "NULL"
    return str(_plain(value)).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


@main.command()
@click.argument("kind")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--since", help="Of readings: from this instant, ISO 8601 with an offset; left out: from the first.")
@click.option("--until", help="Of readings: up to this instant; left out: to the last.")
@DATA
@JSON
@click.pass_context
def export(
    ctx: click.Context, kind: str, target: Path, since: str | None, until: str | None, data: Path, as_json: bool
) -> None:
    """Export the records of a KIND (such as LineSettled), or `readings`, to a .csv, .json or .parquet file.

    Where a damaged file of readings is left out, or a record was changed or is gone, that is said (--json: `missing`),
    and the exit code is 1; the file holds what remains.
    """
    from tieline.node.exporting import export_readings, export_records
    from tieline.node.journals import tell_cut

    missing = Missing()
    if kind == "readings":
        made = {"readings": export_readings(data, since, until, target, missing)}
    elif since is not None or until is not None:
        raise ConfigError("--since, --until: belong to `tieline export readings`")
    else:
        made = {"records": export_records(data, kind, target)}
        tell_cut(data, missing)
    show({**made, "file": str(target), **({"missing": missing.told} if as_json else {})}, as_json)
    missing.end(ctx)


@main.command()
@click.argument("name")
@JSON
def credential(name: str, as_json: bool) -> None:
    """Make a secret for a machine (a VEN): shown once, of which the settings keep only the digest."""
    import secrets

    from tieline.ids import NAME, is_name
    from tieline.links.endpoint.openadr.access import secret_digest

    if not is_name(name):
        raise ConfigError(f"NAME = {name!r}: give {NAME}")
    secret = secrets.token_urlsafe(32)
    digest = secret_digest(secret)
    then = f'[[links.openadr]]\nclients = [{{ id = "{name}", secret_sha256 = "{digest}" }}]'
    show({"id": name, "secret": secret, "secret_sha256": digest, "next": then if as_json else f"\n{then}"}, as_json)


@main.command()
@DATA
@click.option("--port", type=PORT, help="Port of the console; left out: as the settings say.")
@click.option("--for", "duration", help="End by itself after so long, such as 10s; left out: at Ctrl-C.")
def serve(data: Path, port: int | None, duration: str | None) -> None:
    """Serve a data folder: its links, API, live stream and console; what it does meanwhile is on standard error."""
    tell_loading(f"starting on {data}", "tieline.node.serve")
    import logging

    import uvloop

    from tieline.node.asked import parse_duration
    from tieline.node.demo import quiet
    from tieline.node.serve import serve as run
    from tieline.node.serve import until_told
    from tieline.times import SECOND_NS

    quiet(logging.WARNING)
    wall_s = None if duration is None else parse_duration(duration) / SECOND_NS
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(until_told(run(data, port, click.echo, wall_s, tell=tell)))
