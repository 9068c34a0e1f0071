"""Loads behind a connection whose meters tell less often than a site's limit asks (R17): each beat counts them alike.

What is fresh at one beat and too old at the next would have roofs and stores go to and fro. How old a reading may be is
a setting: with a longer one than the time between two readings loads count, and nobody is cut for them.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from nest_stage import HOME, Nest
from strays_stage import OBEYS, One

from tieline.desk import base, groups
from tieline.resource.batch import SITE_STALE_NS, Readings
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.times import SECOND_NS

ROOF, HEATER = 0, 1
SUN_W, DRAWS_W, HIGH_W = 4_000.0, -3_000.0, 2_000.0


class Told(Nest):
    """A home whose meters tell every `every_s` seconds, whenever the beats are: each device's power, by its reading."""

    every_s = 20

    async def told(self, seconds: int, beat_s: int = 15) -> list[float]:
        """Let time pass second by second, and return what the roof may give (W) at each beat."""
        clock, fleet, found = self.stage.clock, self.state.fleet, list[float]()
        for second in range(seconds):
            if second % self.every_s == 0:
                rows = np.arange(len(fleet), dtype=np.int32)
                at_ns = np.full(len(rows), clock.ns)
                base.learn(
                    self.state,
                    Readings(
                        rows, np.full(len(rows), code("power_w"), np.int16), self.does_w.copy(),
                        np.zeros(len(rows), np.uint32), at_ns, at_ns.copy(), "meter", "",
                    ),
                    clock.ns,
                )  # fmt: skip
            if second % beat_s == 0:
                await self.desk.commit(groups.decide_regulation(self.state, clock.ns))
                await self.desk.settle()
                await self.desk.flush()
                found.append(float(self.state.claims.arbitrate(clock.ns, np.array([ROOF], np.int32)).high_w[0]))
            clock.ns += SECOND_NS
            self.moves()
        return found


async def home(every_s: int, stale_ns: int) -> Told:
    nest = Told([One(Kind.PV, OBEYS, SUN_W), One(Kind.INTERRUPTIBLE_LOAD, OBEYS, DRAWS_W)], [], [], ())
    nest.every_s, nest.state.site_stale_ns = every_s, stale_ns
    await nest.told(120)
    await nest.limits({HOME: (-np.inf, HIGH_W)})
    return nest


@pytest.mark.parametrize("beat_s", [7, 15, 60])
@pytest.mark.parametrize("every_s", [12, 15, 20, 60])
def test_a_load_that_tells_more_rarely_than_a_site_asks_counts_alike_at_every_beat(every_s: int, beat_s: int) -> None:
    async def play() -> None:
        may_w = (await (await home(every_s, SITE_STALE_NS)).told(600, beat_s))[2:]
        assert max(may_w) - min(may_w) <= 1.0 and max(may_w) <= HIGH_W, may_w

    asyncio.run(play())


@pytest.mark.parametrize("beat_s", [7, 15, 60])
@pytest.mark.parametrize(("every_s", "stale_s"), [(5, 10), (20, 30), (60, 90)])
def test_one_that_tells_often_enough_by_the_settings_makes_room_for_the_roof(
    every_s: int, stale_s: int, beat_s: int
) -> None:
    async def play() -> None:
        may_w = (await (await home(every_s, stale_s * SECOND_NS)).told(600, beat_s))[2:]
        assert min(may_w) >= SUN_W, may_w

    asyncio.run(play())
