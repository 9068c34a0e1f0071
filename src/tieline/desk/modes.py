"""A feeder's mode: who may move its devices.

Theory of operation. Automatic lets every level through. Manual lets people and the grid's operator through: levels 1 to
6, and program events, which two people made. Disabled lets levels 1 to 6 through alone. What a mode bars is *targets*:
a limit only ever takes power away from what others ask, so it stays.

Disabled places a closed gate at level UTILITY on the feeder's devices: arbitration holds out what is weaker, `why`
names the gate, and what was held out holds again once the mode is Automatic. Manual must let events through, which
stand at level PROGRAM, so it ends what machines had asked at the weaker levels and lets nothing new of theirs in. In
both the market's split leaves the feeder's devices out, and asks that would move only barred devices are refused.

A mode reaches all the feeder's devices at once, whichever way it goes: on a large feeder two people set it.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import AuthorityChanged, ClaimsEnded, ClaimsPlaced
from tieline.desk.packed import Packed
from tieline.desk.people import lacks_second, names_in
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.resource.claim import ClaimEnd, ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import FOREVER_NS

Mask = NDArray[np.bool_]
Rows = NDArray[np.int32]
SOURCE = "desk.mode"
EVENTS = "program"
"""The source of program events that people composed and approved."""


class FeederMode(StrEnum):
    """Who may move a feeder's devices."""

    DISABLED = "Disabled"
    MANUAL = "Manual"
    AUTOMATIC = "Automatic"


def mode_of(state: DeskState, feeder: str) -> FeederMode:
    """Return the mode of a feeder; Automatic where nobody set one."""
    return FeederMode(state.authority.get(f"mode:{feeder}", FeederMode.AUTOMATIC))


def barred(state: DeskState, source: str = "") -> Mask:
    """Return which rows a source at a level below the grid operator's may not move (empty: a machine); shape (n,)."""
    mask = np.zeros(len(state.fleet), np.bool_)
    for key, value in state.authority.items():
        feeder = key.removeprefix("mode:")
        if feeder == key or value == FeederMode.AUTOMATIC or not state.fleet.holds(feeder):
            continue
        if value == FeederMode.DISABLED or source != EVENTS:
            mask[state.fleet.leaves(feeder)] = True
    return mask


def feeder_of(state: DeskState, row: int) -> str:
    """Return the feeder that a row hangs on; empty where it hangs on none."""
    if Purpose.ELECTRICAL not in state.fleet.parents:
        return ""
    above = state.fleet.ancestors(row, Purpose.ELECTRICAL)
    return next((group.id for group in above if group.kind is Kind.FEEDER), "")


def refusal_by_mode(state: DeskState, rows: Rows, level: Level, kind: ClaimKind, source: str = "") -> Refusal | None:
    """Return why an ask can't move any of its devices: the mode of their feeder bars its level; None where it can."""
    if level <= Level.UTILITY or kind is ClaimKind.LIMIT or not len(rows) or not barred(state, source)[rows].all():
        return None
    feeder = feeder_of(state, int(rows[0]))
    mode = mode_of(state, feeder)
    return Refusal(f"the feeder is {mode}", "level", str(int(level)), "levels 1 to 6 there", feeder, "feeder mode")


def decide_mode(
    state: DeskState, feeder: str, mode: str, because: str, by: str, now_ns: int
) -> tuple[list[Entry], Refusal | None]:
    """Return the facts of setting a feeder's mode, or why it can't be; none where it is so already.

    Args:
        state: The desk's.
        feeder: Which feeder.
        mode: Disabled, Manual or Automatic.
        because: Why, in the words of who sets it.
        by: Who sets it; two people of a feeder so large that an act on it needs two.
        now_ns: Now.
    """
    if not state.fleet.holds(feeder) or state.fleet.kind_of(feeder) is not Kind.FEEDER:
        return [], Refusal("no such feeder", "feeder", feeder, "a feeder of the registry")
    if mode not in set(FeederMode):
        return [], Refusal("not a mode", "mode", mode[:40], ", ".join(FeederMode))
    if not 0 < len(because.strip()) <= 400:
        return [], Refusal("a mode is set with a reason", "because", because[:40], "1 to 400 characters")
    before, after = mode_of(state, feeder), FeederMode(mode)
    if before is after:
        return [], None
    rows = state.fleet.leaves(feeder)
    refusal = lacks_second(names_in(by), Level.UTILITY, len(rows), len(state.fleet), state.two_people)
    if refusal is not None:
        return [], refusal
    record = derive("mode", feeder, mode, by, now_ns)
    entries = [Entry(record, AuthorityChanged(f"mode:{feeder}", after, by), feeder)]
    if before is FeederMode.DISABLED:
        ended = ClaimsEnded(
            SOURCE, feeder, Quantity.CONNECT.value, ClaimEnd.CANCELLED.value, record, Packed.of(rows), feeder
        )
        entries.append(Entry(derive("ended", record), ended, feeder, (record,)))
    if after is FeederMode.DISABLED:
        entries.append(_gate(feeder, rows, f"{feeder} is Disabled: {because.strip()} ({by})", by, record, now_ns))
    elif after is FeederMode.MANUAL:
        entries += _machines_ended(state, feeder, rows, record)
    return entries, None


def _gate(feeder: str, rows: Rows, because: str, by: str, record: str, now_ns: int) -> Entry:
    count = len(rows)
    open_w, batch = np.full(count, np.inf), derive("claims", SOURCE, feeder, record)
    fact = ClaimsPlaced(
        batch, SOURCE, by, feeder, int(Level.UTILITY), 0, Quantity.CONNECT.value, ClaimKind.GATE.value, because,
        now_ns, now_ns, now_ns, FOREVER_NS, Packed.of(rows), Packed.of(-open_w), Packed.of(open_w),
        Packed.of(np.zeros(count)), scope=feeder,
    )  # fmt: skip
    return Entry(batch, fact, feeder, (record,))


def _machines_ended(state: DeskState, feeder: str, rows: Rows, record: str) -> list[Entry]:
    """Return the end of what machines want of a feeder's devices below the grid operator's level."""
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    keys = dict.fromkeys(
        (batch.source, batch.program, batch.quantity, batch.scope)
        for batch, alive in state.claims.batches()
        if batch.level > Level.UTILITY and batch.kind is not ClaimKind.LIMIT and batch.source != EVENTS
        and mine[batch.rows[alive]].any()
    )  # fmt: skip
    return [
        Entry(
            derive("ended", record, source, program, quantity.value, scope),
            ClaimsEnded(source, program, quantity.value, ClaimEnd.CANCELLED.value, record, Packed.of(rows), scope),
            feeder,
            (record,),
        )
        for source, program, quantity, scope in keys
    ]
