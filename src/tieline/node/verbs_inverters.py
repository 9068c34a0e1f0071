"""`tieline settings`: volt-var, volt-watt and droop of inverters on a folder whose server is stopped.

A server that runs takes the same document over its API; one journal has one writer. Devices are told by the server,
with its next beat or its next start.
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
def settings() -> None:
    """Inverter settings of feeders: send curves, see which devices adopted them, take them back."""


@settings.command()
@click.argument("document", type=FILE)
@BY
@DATA
@JSON
def send(document: Path, by: str, data: Path, as_json: bool) -> None:
    """Send the inverter settings in DOCUMENT, all or nothing: devices follow them by themselves from then on.

    A newer version of the same feeder takes the place of the one before; the same document twice has one effect. The
    folder's server has to be stopped first, and tells devices as it starts; one that runs takes this over its API.
    """
    from tieline.desk.inverters import decide_send
    from tieline.grid.inverter_settings import read_settings
    from tieline.node.stopped import record, state_in, writing
    from tieline.rim.clock import SystemClock

    try:
        made = read_settings(document.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{document}: can't be read: {error}") from error
    now_ns = instant(None)
    with writing(data, warn, SystemClock()) as journal:
        state = state_in(data, journal, now_ns)
        entries, answer = decide_send(state, made, by)
        granted(answer)
        record(state, journal, entries, now_ns)
        told = _told(state, made.feeder)
    show(told[0], as_json)


@settings.command()
@click.argument("feeder")
@BY
@DATA
@JSON
def withdraw(feeder: str, by: str, data: Path, as_json: bool) -> None:
    """Take the inverter settings of FEEDER back: devices get what their owners had."""
    from tieline.desk.inverters import decide_withdraw_settings
    from tieline.node.stopped import record, state_in, writing
    from tieline.rim.clock import SystemClock

    now_ns = instant(None)
    with writing(data, warn, SystemClock()) as journal:
        state = state_in(data, journal, now_ns)
        entries, found = decide_withdraw_settings(state, feeder, by)
        if not found:
            raise ConfigError(f"feeder {feeder!r}: no settings of it stand: see `tieline settings list`")
        record(state, journal, entries, now_ns)
        told = _told(state, feeder)
    show(told[0], as_json)


@settings.command(name="list")
@DATA
@AT
@JSON
@click.pass_context
def list_settings(ctx: click.Context, data: Path, at: str | None, as_json: bool) -> None:
    """List the newest inverter settings of each feeder, and how each device stands: asked, adopted, refused and why.

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
    show({"settings": _told(state), **({"missing": missing.told} if as_json else {})}, as_json)
    missing.end(ctx)


def _told(state: DeskState, feeder: str = "") -> list[dict[str, Any]]:
    import msgspec

    from tieline.desk.inverters import views_of

    return [msgspec.to_builtins(view) for view in views_of(state) if feeder in ("", view.feeder)]
