"""What was asked of a resource and holds no more: when each ended, and in whose words."""

from __future__ import annotations

from typing import Any

import numpy as np

from tieline.desk.called import SetAside
from tieline.desk.state import LAPSED, DeskState, EndedAsk
from tieline.times import DAY_NS, FOREVER_NS, HOUR_NS, iso

MOST_LAPSES = 5


def ended_on(state: DeskState, resource: str, now_ns: int) -> list[EndedAsk]:
    """Return the asks of all devices beneath a resource that ended in the last day, the newest first.

    One whose lease is over counts also in the moment before a beat notes it.
    """
    rows = state.fleet.leaves(resource)
    over = [
        EndedAsk(live.ask, live.start_ns, live.ask.end_ns, LAPSED, live.record)
        for live in state.asks.values() if live.ask.end_ns <= now_ns
    ]  # fmt: skip
    found = [
        ended for ended in (*state.ended.values(), *over)
        if now_ns - DAY_NS < ended.at_ns <= now_ns and np.isin(rows, state.fleet.leaves(ended.ask.resource)).all()
    ]  # fmt: skip
    return sorted(found, key=lambda ended: (-ended.at_ns, ended.record))


def lapses(state: DeskState, resource: str, now_ns: int) -> str:
    """Return in words which claims lapsed in the last hour: whose they were, and until when they were granted."""
    lapsed = [ended for ended in ended_on(state, resource, now_ns)[:MOST_LAPSES] if ended.why == LAPSED]
    return "".join(
        f"; lapsed at {iso(ended.at_ns)}: the {ended.ask.kind.value} of {ended.ask.source}"
        + ("" if ended.ask.resource == resource else f" on {ended.ask.resource}")
        for ended in lapsed if now_ns - ended.at_ns < HOUR_NS
    )  # fmt: skip


def told_ended(state: DeskState, resource: str, now_ns: int) -> list[dict[str, Any]]:
    """Return the same as `tieline why` tells it, and with it the claims that contracts ended, by their records."""
    rows = state.fleet.leaves(resource)
    asks = [(ended.at_ns, ended.record, _told_ask(ended)) for ended in ended_on(state, resource, now_ns)]
    aside = [
        (one.at_ns, one.record, _told_aside(one, resource)) for one in state.set_aside
        if now_ns - DAY_NS < one.at_ns <= now_ns and np.isin(rows, one.rows).all()
    ]  # fmt: skip
    found = sorted([*asks, *aside], key=lambda one: (-one[0], one[1]))
    return [told for _, _, told in found]


def _told_ask(ended: EndedAsk) -> dict[str, Any]:
    ask = ended.ask
    return {
        "source": ask.source, "program": ask.program, "level": ask.level.name, "resource": ask.resource,
        "kind": ask.kind.value, "quantity": ask.quantity.value, "because": ask.because, "from": iso(ended.start_ns),
        "until": None if ask.end_ns >= FOREVER_NS else iso(ask.end_ns),
        "ended": iso(ended.at_ns), "lapsed": ended.why == LAPSED, "why": ended.why, "record": ended.record,
    }  # fmt: skip


def _told_aside(one: SetAside, resource: str) -> dict[str, Any]:
    batch = one.batch
    return {
        "source": batch.source, "program": batch.program, "level": batch.level.name,
        "resource": batch.scope or resource, "kind": batch.kind.value, "quantity": batch.quantity.value,
        "because": batch.because, "from": iso(batch.start_ns),
        "until": None if batch.end_ns >= FOREVER_NS else iso(batch.end_ns),
        "ended": iso(one.at_ns), "lapsed": False, "why": one.why, "record": one.record,
    }  # fmt: skip
