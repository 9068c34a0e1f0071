"""The alarm of a program event that is not delivered."""

from __future__ import annotations

import asyncio

import numpy as np
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.event_tracking import EventTallies
from tieline.desk.programs import ProgramEvent
from tieline.node.read_alarms import AlarmBook
from tieline.node.read_short import event_short
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


class Told(Programs):
    """Ten batteries that do as they are told, and whom an operator is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.state.limiter.system_w = self.state.limiter.feeder_w[:] = np.inf
        self.clock.ns, self.tallies, self.book = START, EventTallies(), AlarmBook()

    async def minutes(self, count: int) -> list[str]:
        """Let minutes pass; return what an operator is told after the last."""
        told: list[str] = []
        for _ in range(count):
            self.state.fleet.taken_at_ns[:] = self.clock.ns
            self.state.claims.expire(self.clock.ns)
            await self.desk.commit(self.tallies.count(self.state, self.clock.ns))
            await self.desk.commit(events.due(self.state, self.clock.ns))
            self.tallies.note(self.state, self.clock.ns)
            await self.desk.settle()
            lives = self.devices.until_ns > self.clock.ns
            self.state.fleet.power_w[:] = np.where(lives, np.nan_to_num(self.devices.target_w), 0.0)
            found = event_short(self.state, self.book.standing(), self.clock.ns)
            told = [alarm.title for alarm in self.book.keep(found, self.clock.ns)]
            self.clock.ns += MINUTE_NS
        return told


def test_an_event_that_lacks_over_a_tenth_for_a_quarter_of_an_hour_is_told_with_its_cause_until_it_is_given() -> None:
    """All ten batteries give 40 kW; then feeder-1 may give nothing, and feeder-2 has 25 kW at most."""

    async def main() -> None:
        stage = Told()
        event = await stage.approved(40_000.0, start_ns=START, end_ns=START + 2 * HOUR_NS)
        assert isinstance(event, ProgramEvent)
        assert await stage.minutes(20) == []
        works = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-25_000.0, high=0.0,
                          start_ns=stage.clock.ns, end_ns=START + 2 * HOUR_NS)  # fmt: skip
        await stage.desk.ask(works)
        assert await stage.minutes(14) == [], "it may pass by itself"
        assert await stage.minutes(4) == [
            "Event peak got 62 % of what it asked over 15 min: a grid operator's limit 100%"
        ]
        (begun,) = stage.book.raised
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        assert await stage.minutes(11) == []
        assert list(stage.book.raised) == [begun]
        await stage.minutes(100)
        assert stage.state.event_counted[event.id].last == ()

    asyncio.run(main())
