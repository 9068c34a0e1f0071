"""What Tieline promises, each checked against what happened, with its evidence."""

from __future__ import annotations

from typing import Any

import numpy as np

from tieline.desk.facts import BatchTaken, CommandsIssued, from_record
from tieline.desk.settle import Settlement
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.flow.record import Record
from tieline.node.fallback import Fallback
from tieline.node.promise import Promise, promise, untested
from tieline.node.promises_grid import of_grid
from tieline.node.promises_replay import Again, ReadsAlong, read_again, within_bounds
from tieline.node.relief import Dno
from tieline.node.settling import DAY_NOT_OVER
from tieline.node.stage import Stage
from tieline.node.story import Told
from tieline.resource.claim import Refusal
from tieline.resource.command import TERMINAL
from tieline.times import MINUTE_NS, iso

FALLS_BACK = "devices fall back when a command runs out"
OF_MONEY = ("money adds up to the cent", "all settled energy can be followed both ways")


def promises(
    stage: Stage,
    told: Told,
    dno: Dno,
    settled: Settlement | Refusal | None,
    records: list[Record],
    traced: float,
    override: dict[str, Any],
) -> list[Promise]:
    """Return each promise of the day with whether it held; `tested` is false where nothing could have broken it."""
    return [
        _commands_end(stage),
        _devices_fall_back(stage, dno.fallback),
        _refused(told, "second sale", "holder"),
        _refused(told, "backup generator", "rule"),
        *of_grid(stage, told, dno, records, override),
        *_of_money(settled, traced),
    ]


def of_journal(stage: Stage, along: ReadsAlong | None = None) -> list[Promise]:
    """Return each promise on the journal as a whole; to be asked once nothing is recorded any more."""
    records, again = list(stage.node.journal.replay()), read_again(stage, along)
    return [
        _one_effect(stage, records),
        within_bounds(stage, records, again),
        _never_prohibited(stage, records),
        _claims_end_once(stage, again.state),
        _replay_is_equal(stage, again),
        _journal_is_whole(stage),
    ]


def _of_money(settled: Settlement | Refusal | None, traced: float) -> list[Promise]:
    if settled is None:
        return [untested(name) for name in OF_MONEY]
    if isinstance(settled, Refusal):
        if settled.reason == DAY_NOT_OVER:
            return [untested(name) for name in OF_MONEY]
        return [promise(name, False, f"not settled: {settled}") for name in OF_MONEY]
    shares = settled.shares
    evidence = f"{settled.total} = {shares.operator} + {len(shares.owners)} owners + {shares.undistributed}"
    return [
        promise(OF_MONEY[0], settled.adds_up, evidence),
        promise(OF_MONEY[1], traced == 1.0, f"share {traced:.6f}"),
    ]


def _one_effect(stage: Stage, records: list[Record]) -> Promise:
    uids = [f.batch.uid for r in records if isinstance(f := from_record(r), BatchTaken)]
    revisions: dict[int, list[int]] = {}
    for record in records:
        fact = from_record(record)
        if isinstance(fact, BatchTaken):
            good = set(fact.answer.accepted)
            for one in fact.batch.instructions:
                if one.id in good:
                    revisions.setdefault(one.start_ns, []).append(one.revision)
    rising = all(seen == sorted(set(seen)) for seen in revisions.values())
    twice = sum(made.twice for made in stage.iso.batches.values())
    evidence = f"{len(uids)} batches taken, {len(set(uids))} different; the ISO published {twice} twice"
    return promise(
        "a dispatch batch has exactly one effect", len(uids) == len(set(uids)) and rising, evidence, bool(uids)
    )


def _never_prohibited(stage: Stage, records: list[Record]) -> Promise:
    called = count = 0
    for record in records:
        fact = from_record(record)
        if isinstance(fact, CommandsIssued):
            rows = fact.rows.array()
            count += len(rows)
            called += int((np.isfinite(fact.target_w.array()) & ~stage.eligible[rows]).sum())
    rules = ", ".join(f"{rule}: {count}" for rule, count in stage.refused_rows.items())
    evidence = f"{called} of {count} calls; left out by rule: {rules}"
    return promise("no ineligible resource was called", called == 0, evidence, count > 0)


def _claims_end_once(stage: Stage, again: DeskState) -> Promise:
    """Each claim that was placed lives or has one end; and as many live, and were placed, by the journal alone."""
    book, read, now_ns = stage.node.state.claims, again.claims, stage.node.clock.now_ns()
    book.expire(now_ns)
    read.expire(now_ns)
    ended = sum(book.ends.values())
    by_end = ", ".join(f"{end}: {count}" for end, count in book.ends.items() if count)
    held = book.count() + ended == book.placed and (read.count(), read.placed) == (book.count(), book.placed)
    evidence = (
        f"{book.placed} placed, {book.count()} live; {by_end}; by the journal {read.placed} placed, {read.count()} live"
    )
    return promise("every claim lives or ended exactly once", held, evidence, book.placed > 0)


def _commands_end(stage: Stage) -> Promise:
    """Every command that is over five minutes old has a terminal stage; one that was not answered is UNCONFIRMED."""
    commands, now_ns = stage.node.state.commands, stage.node.clock.now_ns()
    old = (commands.batch >= 0) & (now_ns - commands.at_ns > 5 * MINUTE_NS)
    open_rows = old & ~np.isin(commands.stage, [int(stage_) for stage_ in TERMINAL])
    evidence = f"{int(old.sum())} resources, {int(open_rows.sum())} without an end"
    return promise("every command has an end", not open_rows.any(), evidence, bool(old.any()))


def _devices_fall_back(stage: Stage, seen: Fallback) -> Promise:
    """Where a command ran out the device is free, or the watchdog released it: at every look of the DNO, and now."""
    seen.look(stage)
    lying = f"{len(seen.liars)} devices whose timer lies, {len(seen.timeless)} without one"
    ids = ", ".join(stage.territory.fleet.id_of(row) for row in sorted(seen.harm)[:3])
    evidence = (
        f"commands ran out on {len(seen.over)} devices, {lying}; {len(seen.harm)} held on at one of {seen.looks} looks"
    )
    return promise(FALLS_BACK, not seen.harm, evidence + (f": {ids}" if ids else ""), bool(seen.over))


def _replay_is_equal(stage: Stage, read: Again) -> Promise:
    """The live state is the one that the journal tells; its hash is shown as at the last record, as a replay has it."""
    live, again = stage.node.state, read.state
    now_ns = stage.node.clock.now_ns()  # one instant for both: over sockets the clock runs on meanwhile
    again.claims.expire(now_ns)
    live.claims.expire(now_ns)
    one, two = live.digest(), again.digest()
    evidence = f"{read.digest} by the journal, and the live state is the same"
    if one != two:  # name the part, as two hashes tell nobody where to look
        parts = [name for name in ("claims", "ledger") if getattr(live, name).digest() != getattr(again, name).digest()]
        for name in ("target_w", "low_w", "high_w", "valid_until_ns"):
            pair = getattr(live.commands, name), getattr(again.commands, name)
            rows = np.flatnonzero(~np.isclose(*pair, rtol=0.0, atol=0.0, equal_nan=True))
            parts += [f"{name} of {len(rows)} rows, first {live.fleet.id_of(int(rows[0]))}"] if len(rows) else []
        parts += claims_apart(live.claims, again.claims)
        evidence = f"{one} live and {two} by the journal; apart in {', '.join(parts) or 'what is decided besides'}"
    return promise("replay of the journal gives the same state", one == two, evidence)


def claims_apart(live: ClaimBook, again: ClaimBook) -> list[str]:
    """Return the first batch whose living claims differ, with how many live by the state and by the replay."""
    found = [{batch.id: (batch, alive) for batch, alive in book.batches()} for book in (live, again)]
    for name in dict.fromkeys([*found[0], *found[1]]):
        held = [at.get(name) for at in found]
        counts = [0 if pair is None else int(pair[1].sum()) for pair in held]
        batch = next(pair[0] for pair in held if pair is not None)
        one, two = held
        if one is None or two is None or not np.array_equal(one[1], two[1]):
            who = f"{batch.source} {batch.program} {batch.scope} version {batch.source_version}".replace("  ", " ")
            return [f"{name} by {who}: {counts[0]} and {counts[1]} of {len(batch.rows)} live, till {iso(batch.end_ns)}"]
    return []


def _journal_is_whole(stage: Stage) -> Promise:
    broken = stage.node.journal.verify()
    evidence = f"{stage.node.journal.last_seq} records" if broken is None else f"record {broken} was changed"
    return promise("the journal's chain is whole", broken is None, evidence)


def _refused(told: Told, what: str, names: str) -> Promise:
    if not told.offers:
        return untested(f"a {what} is refused naming the {names}")
    refusal = next((r for r in told.refusals if r["what"] == what), None)
    named = str(refusal[names]) if refusal else ""
    return promise(f"a {what} is refused naming the {names}", bool(named), named or "it was not refused")
