"""What a program event asked and got is counted from its first second to its last, wherever beats lie between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.facts import EventChanged, EventTracked, from_record
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.stage import Stage, raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.timing import living
from tieline.resource.batch import Readings
from tieline.resource.claim import Refusal
from tieline.resource.point import code
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

POWER_W = 20_000.0


class Desk:
    """A desk of 40 devices whose people compose events of its pool from instants on, in seconds after a minute's mark."""

    def __init__(self, stage: Stage, clock: VirtualClock) -> None:
        self.stage, self.clock = stage, clock
        self.operator = NodeOperator(stage.node, NodeReader(stage.node, stage_sources(stage)))
        self.pool = stage.node.state.fleet.groups[0].id
        self.mark_ns = 0

    async def metered(self) -> None:
        """Have each device that was told a target do it and say so each second; the stage's own meters tell the minute.

        Half a second off the marks, so that what is read at an event's end was measured within it.
        """
        state, told = self.stage.node.state, np.zeros(len(self.stage.node.state.fleet), np.bool_)
        await asyncio.sleep((self.mark_ns - self.clock.now_ns()) / SECOND_NS % 1 + 0.5)
        while True:
            await asyncio.sleep(1)
            now_ns, last = self.clock.now_ns(), state.commands
            lives = (last.valid_until_ns > now_ns) & np.isfinite(last.target_w)
            told |= lives
            rows = np.flatnonzero(told).astype(np.int32)
            at_ns, codes = np.full(len(rows), now_ns, np.int64), np.full(len(rows), code("power_w"), np.uint16)
            values = np.where(lives, last.target_w, state.base_w)[rows]
            good = np.zeros(len(rows), np.uint32)
            self.stage.node.desk.readings(Readings(rows, codes, values, good, at_ns, at_ns, "meters"))

    async def until(self, second: float) -> None:
        await asyncio.sleep((self.mark_ns - self.clock.now_ns()) / SECOND_NS + second)

    async def approved(self, first: float, last: float, group: str = "", power_w: float = POWER_W) -> str:
        span = (self.mark_ns + int(first * SECOND_NS), self.mark_ns + int(last * SECOND_NS))
        made = await self.operator.compose(ComposeEvent("demand_response", group or self.pool, *span, power_w), "ann")
        assert not isinstance(made, Refusal), str(made)
        for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
            assert not isinstance(await self.operator.advance(made.id, to.value, by), Refusal)
        return made.id

    async def cancelled(self, event: str) -> None:
        assert not isinstance(await self.operator.advance(event, EventState.CANCELED.value, "bob"), Refusal)

    def told(self, event: str) -> list[EventTracked]:
        facts = (from_record(record) for record in self.stage.node.journal.of_kind("EventTracked"))
        return [fact for fact in facts if isinstance(fact, EventTracked) and fact.event == event]

    def spans(self, event: str) -> list[tuple[float, float]]:
        ends = [(fact.start_ns, fact.end_ns) for fact in self.told(event)]
        return [((a - self.mark_ns) / SECOND_NS, (b - self.mark_ns) / SECOND_NS) for a, b in ends]


def played(folder: Path, play: Callable[[Desk], Awaitable[None]]) -> Desk:
    """Return a desk after a play on it that began at a mark of five minutes."""
    what = scenario("cloud")
    found: list[Desk] = []

    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, living(date.fromisoformat(what.day), 2 * HOUR_NS).opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            desk = Desk(await raise_stage(what, 40, 1, clock, supervisor, folder, 1), clock)
            desk.stage.node.start()
            await asyncio.sleep(300)
            desk.mark_ns = (clock.now_ns() // (5 * MINUTE_NS) + 1) * 5 * MINUTE_NS
            supervisor.spawn(desk.metered(), "meters")
            await play(desk)
            await asyncio.sleep(90)
            await desk.stage.node.group.drained()
            found.append(desk)

    run_virtual(main)
    return found[0]


def wh(facts: list[EventTracked]) -> tuple[float, float]:
    """Return what was asked and delivered (Wh)."""
    hours = [(fact.end_ns - fact.start_ns) / HOUR_NS for fact in facts]
    asked = sum(fact.asked_w * each for fact, each in zip(facts, hours, strict=True))
    return asked, sum(fact.delivered_w * each for fact, each in zip(facts, hours, strict=True))


@pytest.mark.parametrize(("first", "last"), [(10.0, 52.0), (0.0, 59.0), (30.0, 330.0), (275.0, 342.0)])
def test_an_event_that_is_cancelled_is_counted_to_that_instant(tmp_path: Path, first: float, last: float) -> None:
    event: list[str] = []

    async def play(desk: Desk) -> None:
        event.append(await desk.approved(first, first + 1800))
        await desk.until(last)
        await desk.cancelled(event[0])

    desk = played(tmp_path, play)
    spans = desk.spans(event[0])
    assert (spans[0][0], spans[-1][1]) == pytest.approx((first, last), abs=0.05)
    asked_wh, delivered_wh = wh(desk.told(event[0]))
    assert asked_wh == pytest.approx(POWER_W * (last - first) / 3600, rel=2e-3)
    # Of the interval that it ended in, which holds no minute's mark: the stage's own meters lag there.
    fact = desk.told(event[0])[-1]
    assert fact.delivered_w == pytest.approx(POWER_W, rel=0.05), fact
    view = next(e for e in desk.operator._reader.events() if e.id == event[0])
    assert (view.asked_wh, view.delivered_wh) == pytest.approx((asked_wh, delivered_wh))


@pytest.mark.parametrize(("first", "last"), [(10.0, 30.0), (20.0, 45.0), (1.0, 59.0)])
def test_an_event_between_two_beats_is_credited_what_its_devices_gave(
    tmp_path: Path, first: float, last: float
) -> None:
    event: list[str] = []

    async def play(desk: Desk) -> None:
        event.append(await desk.approved(first, last))
        await desk.until(last)

    desk = played(tmp_path, play)
    (fact,) = desk.told(event[0])
    assert desk.spans(event[0])[0] == pytest.approx((first, last), abs=0.05)
    assert fact.delivered_w == pytest.approx(POWER_W, rel=0.05), fact
    assert "outranked" not in fact.causes
    assert "offline" not in fact.causes


@pytest.mark.parametrize(("first", "last"), [(10.0, 30.0), (30.0, 330.0), (275.0, 300.0), (0.0, 300.0)])
def test_an_event_never_reads_as_completed_without_what_it_asked_and_got(
    tmp_path: Path, first: float, last: float
) -> None:
    """Also where it ends at a mark of five minutes; and no part of the journal has its end without its sums."""
    event: list[str] = []
    seen: list[tuple[float, float]] = []

    async def play(desk: Desk) -> None:
        event.append(await desk.approved(first, last))
        for hundredth in range(100):  # the first second after its end
            await desk.until(last + hundredth / 100)
            view = next(e for e in desk.operator._reader.events() if e.id == event[0])
            if view.state == EventState.COMPLETED.value:
                seen.append((view.asked_wh, view.delivered_wh))

    desk = played(tmp_path, play)
    assert len(seen) >= 90
    ((asked_wh, delivered_wh),) = set(seen)
    assert asked_wh == pytest.approx(POWER_W * (last - first) / 3600, rel=2e-3)
    assert (asked_wh, delivered_wh) == pytest.approx(wh(desk.told(event[0])))
    assert desk.spans(event[0])[-1][1] == pytest.approx(last, abs=0.05)
    assert len(desk.told(event[0])) == (2 if first < 300.0 < last else 1), "one fact an interval"
    facts = [from_record(record) for record in desk.stage.node.journal.replay()]
    steps = [fact for fact in facts if isinstance(fact, EventTracked | EventChanged) and fact.event == event[0]]
    assert isinstance(steps[-1], EventChanged)
    assert steps[-1].state == EventState.COMPLETED.value


@pytest.mark.parametrize("others", [(15.0, 45.0), (15.0, 20.0), (15.0, 25.0), (5.0, 45.0)])
def test_a_second_event_of_a_group_that_overlaps_a_first_is_credited_its_own_part(
    tmp_path: Path, others: tuple[float, float]
) -> None:
    """Whichever of the two ends first, and though another ends what it stood upon."""
    events: list[str] = []

    async def play(desk: Desk) -> None:
        events.append(await desk.approved(5.0, 25.0))
        events.append(await desk.approved(*others, power_w=8_000.0))
        await desk.until(60)

    desk = played(tmp_path, play)
    for event, power_w, span in ((events[0], POWER_W, (5.0, 25.0)), (events[1], 8_000.0, others)):
        assert desk.spans(event)[0] == pytest.approx(span, abs=0.05)
        (fact,) = desk.told(event)
        assert fact.delivered_w == pytest.approx(power_w, rel=0.05), fact


def test_what_owners_take_from_an_event_is_theirs_from_the_instant_on_and_called_so(tmp_path: Path) -> None:
    """All devices of a running event opt out 40 s after it began; until then they gave, and no beat had counted it."""
    event: list[str] = []

    async def play(desk: Desk) -> None:
        event.append(await desk.approved(305.0, 365.0))
        await desk.until(345.0)
        (batch,) = [b for b, _ in desk.stage.node.state.claims.batches() if b.program == event[0]]
        for row in batch.rows.tolist():
            device = desk.stage.node.state.fleet.id_of(row)
            assert not isinstance(await desk.operator.opt(device, True, "ann"), Refusal)
        await desk.until(365.0)

    desk = played(tmp_path, play)
    (fact,) = desk.told(event[0])
    assert fact.delivered_w == pytest.approx(POWER_W * 40 / 60, rel=0.05), fact
    assert fact.causes["opt_out"] == pytest.approx(POWER_W - fact.delivered_w, rel=1e-3), fact
    assert "outranked" not in fact.causes
