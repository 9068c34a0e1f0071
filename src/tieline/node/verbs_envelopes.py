"""`tieline envelopes`: operating envelopes of feeders on a folder whose server is stopped.

A server that runs takes the same document over its API; one journal has one writer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import AT, BY, FILE, JSON, granted, instant
from tieline.node.verbs import DATA, Missing, warn

if TYPE_CHECKING:
    from tieline.desk.state import DeskState


@main.group()
def envelopes() -> None:
    """Operating envelopes of feeders: take a computed set, see what stands, take it back."""


@envelopes.command()
@click.argument("document", type=FILE)
@BY
@DATA
@JSON
def take(document: Path, by: str, data: Path, as_json: bool) -> None:
    """Take the operating envelopes in DOCUMENT, all or nothing; each interval bounds its customers as it begins.

    A newer version of the same feeder takes the place of the one before; the same document twice has one effect. The
    folder's server has to be stopped first; one that runs takes this over its API, at once.
    """
    from tieline.desk.operating import decide_take
    from tieline.grid.envelope_file import read_envelopes
    from tieline.node.principals import PEOPLE
    from tieline.node.stopped import record, state_in, writing
    from tieline.rim.clock import SystemClock

    try:
        made = read_envelopes(document.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{document}: can't be read: {error}") from error
    now_ns = instant(None)
    with writing(data, warn, SystemClock()) as journal:
        state = state_in(data, journal, now_ns)
        entries, answer = decide_take(state, made, PEOPLE["operator"], by, now_ns)
        granted(answer)
        record(state, journal, entries, now_ns)
        told = _told(state, now_ns, made.feeder)
    show(told[0], as_json)


@envelopes.command()
@click.argument("feeder")
@BY
@DATA
@JSON
def withdraw(feeder: str, by: str, data: Path, as_json: bool) -> None:
    """Take the operating envelopes of FEEDER back: they bound nobody any more."""
    from tieline.desk.operating import decide_withdraw_envelopes
    from tieline.node.stopped import record, state_in, writing
    from tieline.rim.clock import SystemClock

    now_ns = instant(None)
    with writing(data, warn, SystemClock()) as journal:
        state = state_in(data, journal, now_ns)
        entries, found = decide_withdraw_envelopes(state, feeder, by, now_ns)
        if not found:
            raise ConfigError(f"feeder {feeder!r}: no envelopes of it stand: see `tieline envelopes list`")
        record(state, journal, entries, now_ns)
        told = _told(state, now_ns, feeder)
    show(told[0], as_json)


@envelopes.command(name="list")
@DATA
@AT
@JSON
@click.pass_context
def list_envelopes(ctx: click.Context, data: Path, at: str | None, as_json: bool) -> None:
    """List the newest operating envelopes of each feeder, and whether they bound anybody.

    Where a record was changed or is gone that is said (with --json in `missing`), and the exit code is 1.
    """
    from tieline.node.journals import journal_to_read, tell_cut
    from tieline.node.stopped import state_in

    now_ns, missing = instant(at), Missing()
    tell_cut(data, missing)
    journal = journal_to_read(data)
    try:
        state = state_in(data, journal, now_ns)
    finally:
        journal.close()
    show({"envelopes": _told(state, now_ns), **({"missing": missing.told} if as_json else {})}, as_json)
    missing.end(ctx)


def _told(state: DeskState, now_ns: int, feeder: str = "") -> list[dict[str, Any]]:
    import msgspec

    from tieline.desk.operating import views_of
    from tieline.times import iso

    found = list[dict[str, Any]]()
    for view in views_of(state, now_ns):
        if feeder in ("", view.feeder):
            told = msgspec.to_builtins(view)
            instants = {name: told.pop(f"{name}_ns") for name in ("made", "start", "end", "until")}
            found.append({**told, **{name: None if ns is None else iso(ns) for name, ns in instants.items()}})
    return found
