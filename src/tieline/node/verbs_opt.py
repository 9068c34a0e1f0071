"""`tieline opt-out` and `tieline opt-in`: an owner's word on a folder whose server is stopped.

A server that runs takes the same words over its API and on its owner's page; one journal has one writer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tieline.node.cli import main, show
from tieline.node.verb_words import BY, JSON, granted, instant
from tieline.node.verbs import DATA, warn


@main.command(name="opt-out")
@click.argument("resource")
@BY
@DATA
@JSON
def opt_out(resource: str, by: str, data: Path, as_json: bool) -> None:
    """Take RESOURCE out for its owner: a device, or all devices behind a site of one owner, with one record.

    Nobody calls it until it is taken back in; limits of the grid hold on. The folder's server has to be stopped first;
    one that runs takes this over its API, at once.
    """
    _say(resource, by, data, as_json, is_out=True)


@main.command(name="opt-in")
@click.argument("resource")
@BY
@DATA
@JSON
def opt_in(resource: str, by: str, data: Path, as_json: bool) -> None:
    """Take RESOURCE back in: a device, or all devices behind a site that was taken out as one."""
    _say(resource, by, data, as_json, is_out=False)


def _say(resource: str, by: str, data: Path, as_json: bool, *, is_out: bool) -> None:
    from tieline.desk import opting
    from tieline.desk.asks import decide_ask, decide_withdraw
    from tieline.desk.entry import Entry
    from tieline.ids import derive
    from tieline.node.stopped import record, state_in, writing
    from tieline.resource.admission import Principal
    from tieline.resource.level import Level
    from tieline.rim.clock import SystemClock

    now_ns = instant(None)
    with writing(data, warn, SystemClock()) as journal:
        state = state_in(data, journal, now_ns)
        stands = opting.standing_out(state, resource) if is_out else None
        entries: list[Entry] = []
        if stands is None and is_out:
            ask = granted(opting.ask_out(state, resource, by, now_ns))
            entries, answer = decide_ask(state, ask, Principal(ask.principal, Level.OWNER_NEED), now_ns)
            granted(answer)
        elif stands is None:
            frame, why = derive("opt", by, now_ns), f"the owner opted in ({by})"
            entries = decide_withdraw(state, opting.key_of_out(resource), frame, why, now_ns)
            if not entries:
                granted(opting.refusal_of_in(state, resource))
        record(state, journal, entries, now_ns)
        rows = state.fleet.leaves(resource)
        out = [state.fleet.id_of(int(row)) for row in rows[state.opted_out[rows]][:20]]
        by_record = entries[0].id if entries else state.asks[opting.key_of_out(resource)].record
        told: dict[str, Any] = {"resource": resource, "record": by_record, "devices": len(rows), "out": out}
        if stands is not None:
            told["says"] = stands.stands
    show(told, as_json)
