"""An event whose devices a limit holds meanwhile: others are called for what it takes, and nobody free is let go."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.event_stack import newest
from tieline.desk.programs import ProgramEvent
from tieline.node.why_ended import told_ended
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

TEN_NS = 10 * MINUTE_NS


class Held(Programs):
    """Ten batteries at rest that do within the minute what they are told, five on each of two feeders."""

    def __init__(self) -> None:
        super().__init__()
        self.state.limiter.system_w = self.state.limiter.feeder_w[:] = np.inf
        self.clock.ns = START

    async def begun(self, power_w: float, end_ns: int = START + HOUR_NS) -> ProgramEvent:
        event = await self.approved(power_w, start_ns=START, end_ns=end_ns)
        assert isinstance(event, ProgramEvent)
        return event

    async def limit(self, low_w: float, high_w: float) -> None:
        limit = self.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=high_w,
                         start_ns=self.clock.ns, end_ns=START + HOUR_NS)  # fmt: skip
        await self.desk.ask(limit)

    async def minute(self) -> np.ndarray:
        """Let a minute pass; return what each feeder's devices give then (W)."""
        self.state.fleet.taken_at_ns[:] = self.clock.ns
        self.state.claims.expire(self.clock.ns)
        await self.desk.commit(events.due(self.state, self.clock.ns))
        await self.desk.settle()
        lives = self.devices.until_ns > self.clock.ns
        self.state.fleet.power_w[:] = np.where(lives, np.nan_to_num(self.devices.target_w), 0.0)
        self.clock.ns += MINUTE_NS
        return self.state.fleet.power_w.reshape(2, 5).sum(axis=1)


@pytest.mark.parametrize(("low_w", "high_w"), [(-25_000.0, -15_000.0), (-25_000.0, 0.0), (-25_000.0, 5_000.0)])
def test_a_limit_that_takes_what_an_event_was_given_has_others_called_at_once(low_w: float, high_w: float) -> None:
    async def main() -> None:
        stage = Held()
        await stage.begun(20_000.0)
        assert (await stage.minute()).tolist() == pytest.approx([10_000.0, 10_000.0])
        await stage.limit(low_w, high_w)
        for _ in range(3):
            one_w, other_w = await stage.minute()
            assert one_w <= high_w + 1.0
        assert other_w == pytest.approx(20_000.0 - max(high_w, 0.0), rel=0.05)
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        for _ in range(3):
            gives = await stage.minute()
        assert gives.sum() == pytest.approx(20_000.0, rel=0.05), "and nobody too many once the limit is gone"

    asyncio.run(main())


def test_what_stands_upon_an_event_that_ends_behind_a_limit_sinks_by_what_that_had_asked() -> None:
    """Each battery gives 1 kW to each of two events; feeder-1 has to charge as the first of them ends."""

    async def main() -> None:
        stage = Held()
        await stage.begun(10_000.0, START + TEN_NS)
        await stage.minute()
        second = await stage.approved(10_000.0, start_ns=stage.clock.ns + MINUTE_NS)
        assert isinstance(second, ProgramEvent)
        for _ in range(3):
            gives = await stage.minute()
        assert gives.tolist() == pytest.approx([10_000.0, 10_000.0])
        await stage.limit(-25_000.0, -15_000.0)
        while stage.clock.ns < START + TEN_NS + 2 * MINUTE_NS:
            gives = await stage.minute()
            assert gives[0] <= -15_000.0 + 1.0
        assert gives[1] == pytest.approx(10_000.0, rel=0.05), "the second event goes on, with feeder-2 alone"
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        for _ in range(3):
            gives = await stage.minute()
        assert gives.sum() == pytest.approx(10_000.0, rel=0.05)

    asyncio.run(main())


def test_why_tells_who_an_event_let_go_and_that_it_is_over() -> None:
    """Feeder-1 is held for some minutes: feeder-2 gives all of it, and is too much as the limit goes."""

    async def main() -> None:
        stage = Held()
        event = await stage.begun(20_000.0, START + TEN_NS)
        await stage.minute()
        await stage.limit(-25_000.0, 0.0)
        await stage.minute()
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        for _ in range(3):
            await stage.minute()
        held = newest(stage.state, event.id)
        assert held is not None
        (gone, *_) = set(range(5, 10)).difference(held.rows.tolist())
        (told,) = told_ended(stage.state, f"r{gone}", stage.clock.ns)
        assert (told["source"], told["program"]) == ("program", event.id)
        assert told["why"] == "the event let go of it, as it had too much"
        while stage.clock.ns < START + TEN_NS + 2 * MINUTE_NS:
            await stage.minute()
        stays = f"r{held.rows[-1]}"
        assert told_ended(stage.state, stays, stage.clock.ns)[0]["why"] == "the event is over"

    asyncio.run(main())
