"""The verbs of the command line that work on a data folder: init, import, doctor, why, replay, sql, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import PORT, main, show

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
@JSON
def init(folder: Path, as_json: bool) -> None:
    """Make a data folder: settings, an empty registry and a journal."""
    from tieline.node.config import write_example
    from tieline.store.journal import SqliteJournal

    if (folder / "tieline.toml").exists():
        raise ConfigError(f"{folder}: is a data folder already; nothing was changed")
    folder.mkdir(parents=True, exist_ok=True)
    write_example(folder / "tieline.toml")
    SqliteJournal(folder / "journal.db").close()
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
    from tieline.store.journal import FolderLock
    from tieline.store.merging import Merged, merge
    from tieline.store.registry import load, save

    fleet = read_fleet(table)
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
    """Check a data folder: settings, registry, and every link of the journal's chain."""
    from tieline.node.config import load_config
    from tieline.store import registry
    from tieline.store.journal import SqliteJournal

    found: dict[str, Any] = {}
    healthy = True
    checks: dict[str, Callable[[], str]] = {
        "settings": lambda: load_config(data / "tieline.toml").name,
        "registry": lambda: f"{len(registry.load(data / 'registry.bin'))} devices",
        "links": lambda: _links(data),
    }
    for name, check in checks.items():
        try:
            found[name] = {"ok": True, "says": check()}
        except ConfigError as error:
            found[name], healthy = {"ok": False, "says": str(error)}, False
    if (data / "journal.db").exists():
        journal = SqliteJournal(data / "journal.db")
        broken = journal.verify()
        says = f"{journal.last_seq} records, chain whole" if broken is None else f"record {broken} was changed"
        found["journal"] = {"ok": broken is None, "says": says}
        healthy &= broken is None
        journal.close()
    else:
        found["journal"], healthy = {"ok": False, "says": f"{data}: no journal.db: run `tieline init {data}`"}, False
    show({"healthy": healthy, **found}, as_json)
    if not healthy:
        ctx.exit(1)


def _links(data: Path) -> str:
    """Say what links the settings hold; every device, table and certificate they name was found."""
    from tieline.node.config import load_config
    from tieline.node.link_settings import check_links, count_links
    from tieline.node.links import check_files, with_tables
    from tieline.store import registry

    settings = load_config(data / "tieline.toml")
    links = with_tables(settings.links, data)
    check_links(links, registry.load(data / "registry.bin"), {peer.name: peer for peer in settings.peers})
    check_files(links, data)
    return count_links(links)


@main.command()
@click.argument("resource")
@click.option("--at", "at", help="An instant, ISO 8601 with an offset; left out: the last record.")
@DATA
@JSON
def why(resource: str, at: str | None, data: Path, as_json: bool) -> None:
    """Say who controls a resource (a device, feeder, pool, ...) at an instant, and why."""
    from tieline.node.why import why as ask
    from tieline.store.registry import load
    from tieline.times import parse_iso

    try:
        at_ns = parse_iso(at) if at else None
    except ValueError as error:
        raise ConfigError(
            f"--at {at!r}: give ISO 8601 with an offset, such as 2022-08-17T21:00:00Z ({error})"
        ) from None
    answer = ask(data, load(data / "registry.bin"), resource, at_ns)
    if as_json:
        show(answer, True)
        return
    _tell(answer)


def _tell(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['resource']} ({answer['kind']}) at {answer['at']}, revision {answer['revision']}")
    if "resources" in answer:
        _tell_group(answer)
        return
    winner = answer["winner"]
    if winner is None:
        click.echo("  nobody controls it: it runs by itself")
    else:
        click.echo(f"  controlled by {winner['source']} ({winner['level']}): {answer['target_w']:.0f} W")
        click.echo(f"  because of {winner['because']}, since {winner['from']}")
    click.echo(f"  allowed: {answer['low_w']:.0f} W to {answer['high_w']:.0f} W")
    for limit in answer["limits"]:
        ends = f"{limit['low_w']:.0f} W to {limit['high_w']:.0f} W"
        click.echo(f"  limit {limit['level']}: {ends} {_by(limit['by']) or 'by ' + limit['claim']}")
    for lost in answer["losers"]:
        click.echo(f"  not {lost['by'] or lost['claim']} ({lost['level']}): {lost['why']}")
    for gate in answer["gates"]:
        click.echo(f"  its owner has opted out {_by(gate)}")
    for key in ("command", "delivered"):
        if answer[key]:
            told = (f"{name} {'free' if value is None else value}" for name, value in answer[key].items())
            click.echo(f"  {key}: " + ", ".join(told))
    _tell_chain("", answer["chain"])
    for batch, chain in answer["chains"].items():
        _tell_chain(batch, chain)


def _tell_group(answer: dict[str, Any]) -> None:
    for who, count in answer["controlled_by"].items():
        click.echo(f"  {count} of {answer['resources']} devices controlled by {who}")
    click.echo(f"  {answer['free']} run by themselves, {answer['opted_out']} opted out")
    click.echo(
        f"  asked of those {answer['target_w']:.0f} W; all may do {answer['low_w']:.0f} W to {answer['high_w']:.0f} W"
    )
    for limit in answer["limits"]:
        ends = " to ".join("open" if limit[end] is None else f"{limit[end]:.0f} W" for end in ("low_w", "high_w"))
        click.echo(f"  limit on {limit['resources']} of them: {ends} {_by(limit['by'])}")
    called = answer["instruction"]
    if called:
        click.echo(
            f"  instructed {called['power_w']:.0f} W of {called['product']} until {called['to']} ({called['id']})"
        )
    for batch, chain in answer["chains"].items():
        _tell_chain(batch, chain)


def _by(claim: dict[str, Any] | None) -> str:
    if claim is None:
        return ""
    until = f" until {claim['until']}" if claim["until"] else ""
    return f"by {claim['source']} ({claim['level']}) since {claim['from']}{until}: {claim['because']}"


def _tell_chain(batch: str, chain: list[dict[str, Any]]) -> None:
    if batch and chain:
        click.echo(f"  {batch}:")
    for step in chain:
        click.echo(f"  <- {step['at']} {step['kind']} {step['id']}")


@main.command()
@DATA
@JSON
def replay(data: Path, as_json: bool) -> None:
    """Rebuild the state from the journal and print its digest; two replays give the same."""
    from tieline.fleet.ledger import Ledger
    from tieline.node.runtime import replayed
    from tieline.store.journal import SqliteJournal
    from tieline.store.registry import load

    journal = SqliteJournal(data / "journal.db")
    state = replayed(load(data / "registry.bin"), Ledger(), journal)
    answer = {"records": journal.last_seq, "claims": state.claims.count(), "digest": state.digest()}
    show({**answer, "journal": journal.last_hash.hex()}, as_json)


@main.command()
@click.argument("query")
@DATA
@JSON
def sql(query: str, data: Path, as_json: bool) -> None:
    """Ask the records (table `record`: seq, id, kind, subject, recorded_at_ns) in SQL, read-only."""
    import sqlite3

    path = data / "journal.db"
    if not path.exists():
        raise ConfigError(f"{path}: no journal: give --data the folder of a server or demo")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        cursor = db.execute(query)
        names = [column[0] for column in cursor.description or ()]
        rows = [[_plain(value) for value in row] for row in cursor.fetchmany(100_000)]
    except sqlite3.Error as error:
        raise ConfigError(f"{query!r}: {error}") from None
    if as_json:
        click.echo(json.dumps({"columns": names, "rows": rows}))
        return
    click.echo("\t".join(names))
    for row in rows:
        click.echo("\t".join(str(value) for value in row))


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


@main.command()
@click.argument("kind")
@click.argument("target", type=click.Path(path_type=Path))
@DATA
@JSON
def export(kind: str, target: Path, data: Path, as_json: bool) -> None:
    """Export the records of a KIND (such as LineSettled) to a .csv, .json or .parquet file."""
    from tieline.node.exporting import export_records

    count = export_records(data, kind, target)
    show({"records": count, "file": str(target)}, as_json)


@main.command()
@click.argument("name")
@JSON
def credential(name: str, as_json: bool) -> None:
    """Make a secret for a machine (a VEN): shown once, of which the settings keep only the digest."""
    import secrets

    from tieline.links.endpoint.openadr.access import secret_digest

    secret = secrets.token_urlsafe(32)
    digest = secret_digest(secret)
    then = f'clients = [{{ id = "{name}", secret_sha256 = "{digest}" }}]'
    show({"id": name, "secret": secret, "secret_sha256": digest, "next": f"[[links.openadr]] {then}"}, as_json)


@main.command()
@DATA
@click.option("--port", type=PORT, help="Port of the console; left out: as the settings say.")
@click.option("--for", "duration", help="End by itself after so long, such as 10s; left out: at Ctrl-C.")
def serve(data: Path, port: int | None, duration: str | None) -> None:
    """Serve a data folder: its links, API, live stream and console."""
    import uvloop

    from tieline.node.demo import parse_duration, quiet
    from tieline.node.serve import serve as run
    from tieline.times import SECOND_NS

    quiet()
    wall_s = None if duration is None else parse_duration(duration) / SECOND_NS
    try:
        uvloop.run(run(data, port, click.echo, wall_s))
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror or error}: give a free port") from None
