"""Behind a limit on what a home gives, whoever the desk calls there, loads that it stops take no room that stores use."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from site_stage import ANSWERS_S, Drawn, Homes, stretches

from sampled import some
from tieline.desk.ports import Granted
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS, SECOND_NS

SETTLES_S, QUIET_S, END = 8, 130, 1_500
"""A limit that has just come takes a beat and an answer; of what happens nothing is left to do after two beats."""


class Street:
    """Homes of which two thirds get limits of their own, then a feeder gets one, and what the award asks changes."""

    def __init__(self, seed: int, homes: int, *, both_feeders: bool) -> None:
        rng = np.random.default_rng(seed)
        self.drawn = Drawn.of(rng, homes)
        self.it = Homes(self.drawn, rng)
        self.limits: list[tuple[int, float, np.ndarray]] = []
        self.happened: list[int] = [0]
        asyncio.run(self._play(rng, homes, both_feeders))

    async def _limit(self, group: str, mine: np.ndarray, least_frac: float, high_w: float) -> None:
        self.limits.append((len(self.it.powers_w), high_w, mine))
        self.happened.append(len(self.it.powers_w))
        await self.it.limit(group, -least_frac * float(self.drawn.size_w[mine].sum()), high_w)

    async def _play(self, rng: np.random.Generator, homes: int, both_feeders: bool) -> None:
        it, site_of = self.it, self.drawn.site_of
        await it.until(30)
        for home in (home for home in range(homes) if home % 3 < 2):
            await it.until(len(it.powers_w) + int(rng.integers(1, 40)))
            high_w = float(rng.choice([-500.0, 0.0, 500.0]))
            await self._limit(f"site-{home}", site_of == home, float(rng.uniform(0.5, 1.2)), high_w)
        for at, feeder in enumerate((1, 2) if both_feeders else (int(rng.integers(1, 3)),)):
            await it.until(450 + 200 * at)
            mine = (site_of >= homes // 2) == (feeder == 2)
            await self._limit(f"feeder-{feeder}", mine, float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.0, 4_000.0)))
        for second, frac in ((850, rng.uniform(0.2, 1.0)), (1_150, 1.0)):
            await it.until(second)
            self.happened.append(second)
            await it.instruct(float(frac) * self.drawn.award_w)
        await it.until(END)

    @property
    def worst_s(self) -> int:
        """For how long a group was above its limit at most, once it had time to get there (s)."""
        found = [0]
        for since, high_w, mine in self.limits:
            above = np.array(self.it.powers_w)[:, mine].sum(axis=1) > high_w + 1.0
            found += stretches(above[since + SETTLES_S :])
        return max(found)

    @property
    def restless(self) -> int:
        """How often one load was called or let go at most while nothing had happened for two beats."""
        called = np.isfinite(np.array(self.it.targets_w)[:, ~self.it.stores])
        quiet = np.ones(len(called) - 1, np.bool_)
        for second in self.happened:
            quiet[max(second - 1, 0) : second + QUIET_S] = False
        return int((called[1:] != called[:-1])[quiet].sum(axis=0).max(initial=0))


SEEDS = some(range(12), 6)


@pytest.mark.parametrize("both_feeders", [False, True])
@pytest.mark.parametrize("homes", some([4, 8]))
@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_called_no_group_is_above_its_limit_for_longer_than_devices_take_to_answer(
    seed: int, homes: int, both_feeders: bool
) -> None:
    street = Street(seed, homes, both_feeders=both_feeders)
    assert street.worst_s <= ANSWERS_S, [(since, high_w) for since, high_w, _ in street.limits]
    targets_w, size_w = np.array(street.it.targets_w)[:, ~street.it.stores], street.it.size_w[~street.it.stores]
    called = np.isfinite(targets_w)
    assert ((targets_w == 0.0) | (targets_w == -size_w) | ~called).all(), "on or off, and nothing between"
    assert street.restless <= 1, street.it.switchings


STOPS_AT, LIMITED_AT = 200, 100


def home_w(level: Level, value_w: float, high_w: float) -> np.ndarray:
    """Return what a home gives whose store an award calls up to a limit, while somebody else stops its plug at a time."""
    drawn = Drawn(
        [Kind.BATTERY, Kind.INTERRUPTIBLE_LOAD, Kind.BATTERY], np.array([0, 0, 1]),
        np.array([5_000.0, 2_000.0, 5_000.0]), 0.9, 8_000.0,
    )  # fmt: skip
    it = Homes(drawn, np.random.default_rng(1))

    async def play() -> None:
        await it.until(LIMITED_AT)
        await it.limit("site-0", -5_000.0, high_w)
        await it.until(STOPS_AT)
        who = {Level.MARKET: "market", Level.RELIABILITY: "iso", Level.OWNER_NEED: "owner"}[level]
        ask = it.stage.ask(who, level, "r1", value=value_w, end_ns=it.clock.ns + 5 * MINUTE_NS)
        assert isinstance(await it.desk.ask(ask), Granted)
        await it.until(STOPS_AT + 400)

    asyncio.run(play())
    assert it.clock.ns % SECOND_NS == 0
    return it.site_w(0)


@pytest.mark.parametrize("level", [Level.MARKET, Level.RELIABILITY])
@pytest.mark.parametrize("high_w", [0.0, 700.0])
def test_whoever_stops_a_load_the_store_beside_it_is_told_in_the_same_beat(level: Level, high_w: float) -> None:
    site_w = home_w(level, 0.0, high_w)
    assert site_w[STOPS_AT - 1] == pytest.approx(high_w, abs=60.0), "the store gives what the plug draws, and the limit"
    assert max([0, *stretches(site_w[LIMITED_AT + SETTLES_S :] > high_w + 1.0)]) <= ANSWERS_S, site_w
    assert site_w[STOPS_AT + 20] == pytest.approx(high_w, abs=60.0), "and goes on with what the limit leaves"
    assert site_w[-1] == pytest.approx(high_w, abs=60.0), "once the plug is back it gives as before"
