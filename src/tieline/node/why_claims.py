"""How `tieline why` tells a claim, and every limit that stands on a device with its holder."""

from __future__ import annotations

from typing import Any

from tieline.desk.facts import ClaimsPlaced
from tieline.desk.obligation import owed
from tieline.desk.redispatch import SOURCE as MARKET
from tieline.desk.scopes import live_ask
from tieline.desk.state import DeskState
from tieline.desk.unmet import unmet_says
from tieline.node.read_held import batch_of, limits_on, uncounted_by
from tieline.resource.arbitrate import Arbitration
from tieline.resource.claim import Claim
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, iso

Placed = dict[str, ClaimsPlaced]


def source_of(placed: Placed, claim: str) -> str | None:
    """Return who placed a claim and why, in words; None: no record has it."""
    fact = placed.get(batch_of(claim))
    return None if fact is None else f"{fact.source}: {fact.because}"


def claim_told(state: DeskState, fact: ClaimsPlaced | None) -> dict[str, Any] | None:
    """Return who placed claims, why, and from when until when they hold."""
    if fact is None:
        return None
    live = live_ask(state, fact)
    start_ns, asked_ns = (fact.start_ns, fact.created_ns) if live is None else (live.start_ns, live.asked_ns)
    return {
        "claim": fact.batch, "source": fact.source, "program": fact.program, "level": Level(fact.level).name,
        "because": fact.because, "from": iso(start_ns), "asked": iso(asked_ns),
        "until": None if fact.end_ns >= FOREVER_NS else iso(fact.end_ns), "version": fact.version,
    }  # fmt: skip


def asked_by_now(state: DeskState, fact: ClaimsPlaced | None, now_ns: int) -> str | None:
    """Return the record by which a pool is asked now, where a share of it stands as an earlier one placed it.

    What supersedes an instruction leaves a share as it is where it moves it by little. None: it is that one yet.
    """
    debt = owed(state, fact.program, now_ns) if fact is not None and fact.source == MARKET else None
    return debt.because if debt is not None and fact is not None and debt.because != fact.because else None


def asked_w(state: DeskState, row: int, told: Arbitration) -> float | None:
    """Return the power (W) that is named by the claim that decides about a device, before its limits; None: none is."""
    by = told.setpoint.by
    found = (claim.value for claim in state.claims.claims_on(row) if by and claim.id == by)
    return next(found, None)


def gate_told(state: DeskState, fact: ClaimsPlaced | None, resource: str) -> dict[str, Any] | None:
    """Return a gate as a claim, and on what it stands."""
    told = claim_told(state, fact)
    return None if told is None or fact is None else {**told, "on": fact.scope or resource}


def limits_told(state: DeskState, row: int, told: Arbitration, placed: Placed, now_ns: int) -> list[dict[str, Any]]:
    """Return every limit that stands on a device, the strongest level first; `why`: what leaves one no effect; `loads`:
    that it holds down what the device gives though loads of its group draw; `unmet`: that it contradicts another one.

    A device's own timer, and a gate that locks it out, are told as they were settled: no limit's claim stands for them.
    """
    resource, claims = state.fleet.id_of(row), limits_on(state, row, now_ns)
    names = {claim.id for claim in claims}
    found = [
        (level, bounds.low_w, bounds.high_w, name, "", "")
        for level, bounds, name in told.limits if name not in names
    ]  # fmt: skip
    lost = {one.claim for one in told.losers}  # of a device in LOCAL: told there
    found += [
        (claim.level, claim.low, claim.high, claim.id, why, "" if why else uncounted_by(state, row, claim, now_ns))
        for claim in claims if claim.id not in lost
        for why in (_yields(state, row, told, claim),)
    ]  # fmt: skip
    found.sort(key=lambda one: one[0])
    return [
        {
            "level": level.name, "low_w": low_w, "high_w": high_w, "claim": name, "why": why,
            "loads": loads, "by": claim_told(state, fact), "on": None if fact is None else fact.scope or resource,
            "unmet": "" if live is None else unmet_says(state, live, now_ns),
        }
        for level, low_w, high_w, name, why, loads in found
        for fact in (placed.get(batch_of(name)),)
        for live in (None if fact is None else live_ask(state, fact),)
    ]  # fmt: skip


def _yields(state: DeskState, row: int, told: Arbitration, claim: Claim) -> str:
    """Return what leaves a limit no effect on a device; empty: it holds an end of what the device may do."""
    ends = told.setpoint.bounds
    if any(claim.id in pair for pair in told.conflicts):
        return ""
    absorb_w, inject_w = float(state.fleet.max_absorb_w[row]), float(state.fleet.max_inject_w[row])
    if claim.low > inject_w <= ends.high_w or claim.high < -absorb_w >= ends.low_w:
        return "beyond the device's own rating: as near as that lets it come"
    if claim.low > ends.high_w or claim.high < ends.low_w:
        return "as near as a stronger one lets it come"
    if claim.low <= -absorb_w and claim.high >= inject_w:
        return "the device can do no more"
    return "" if claim.low >= ends.low_w or claim.high <= ends.high_w else "a tighter one holds"
