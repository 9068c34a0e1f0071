"""A limit on both ends of a feeder where some take no command: those that obey hold it, by what the others' meters say."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import PEOPLE, Devices, Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.desk.desk import Desk
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.batch import CommandBatch
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

OBEYS, MUTE, NO_LINK = "obeys", "mute", "no link"
"""Who takes what it is told; who never polls; and who has no link."""
BEAT_S, FOLLOWS_S = 15, 300
"""A beat comes so often, and within so long a limit is to be held (docs/reference/limits.md)."""


STEPS_W = 3.0
"""A group is beyond its limit, its caps move and a command is sent from a watt on, each."""


class Unpolled(Devices):
    """A command link whose devices never ask for what they are told."""

    async def send(self, batch: CommandBatch) -> None:
        self.batches.append(batch)


class Street:
    """Batteries of 5 kW and plants on one feeder; who takes no command does what it does, whatever it is told."""

    def __init__(self, who: list[tuple[Kind, str, float]]) -> None:
        ledger, count = Ledger(), len(who)
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        self.stage = Stage1(fleet_of([kind for kind, _, _ in who]), ledger)
        self.state = self.stage.state
        self.state.carries.clear()
        self.desk = Desk(self.state, self.stage.journal, self.stage.clock, PEOPLE)
        self.obeys = np.array([how == OBEYS for _, how, _ in who])
        self.does_w = np.array([power_w for _, _, power_w in who])
        self.devices, mute = Devices(count, self.stage.clock), Unpolled(count, self.stage.clock)
        self.devices.desk, mute.name = self.desk, "mute"
        for link, how in ((self.devices, OBEYS), (mute, MUTE)):
            rows = [row for row, (_, is_so, _) in enumerate(who) if is_so == how]
            self.desk.bind(link, how, {row: f"r{row}" for row in rows})
        self.state.fleet.power_w[:] = self.state.base_w[:] = self.does_w
        self.net_w: list[float] = []

    async def play(self, low_w: float, high_w: float, seconds: int) -> list[float]:
        """Limit the feeder, and return its power beat by beat (W)."""
        clock, fleet, told = self.stage.clock, self.state.fleet, self.devices
        ask = self.stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=high_w,
                             end_ns=clock.ns + HOUR_NS)  # fmt: skip
        await self.desk.ask(ask)
        for _ in range(seconds // BEAT_S):
            await self.desk.commit(groups.decide_regulation(self.state, clock.ns))
            await self.desk.settle()
            await self.desk.flush()
            clock.ns += BEAT_S * SECOND_NS
            fleet.power_w[:] = np.where(self.obeys, np.clip(self.does_w, told.low_w, told.high_w), self.does_w)
            fleet.taken_at_ns[:] = clock.ns
            self.net_w.append(float(fleet.power_w.sum()))
        return self.net_w


@pytest.mark.parametrize("low_w", [-15_000.0, -4_000.0, -2_700.0])
def test_the_one_that_obeys_gets_what_both_ends_leave_however_near_the_lower_one_is(low_w: float) -> None:
    """The feeder stood at 1.1 kW for good: of a lower end of -4 kW parts were kept for two that never draw."""
    street = Street(
        [
            (Kind.BATTERY, MUTE, 1_500.0), (Kind.BATTERY, OBEYS, 0.0), (Kind.BATTERY, NO_LINK, 0.0),
            (Kind.PV, NO_LINK, 1_500.0),
        ]
    )  # fmt: skip
    street.state.opted_out[2] = True
    net_w = asyncio.run(street.play(low_w, 500.0, FOLLOWS_S))
    assert max(net_w[60 // BEAT_S :]) <= 500.0
    assert min(net_w) >= low_w


WHO = st.one_of(
    st.tuples(st.just(Kind.BATTERY), st.just(NO_LINK), st.integers(-50, 50).map(lambda n: 100.0 * n)),
    st.tuples(st.just(Kind.PV), st.sampled_from([NO_LINK, OBEYS]), st.integers(0, 50).map(lambda n: 100.0 * n)),
    st.tuples(st.just(Kind.INTERRUPTIBLE_LOAD), st.just(NO_LINK), st.integers(-50, 0).map(lambda n: 100.0 * n)),
    st.tuples(st.just(Kind.BATTERY), st.just(OBEYS), st.just(0.0)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(WHO, min_size=1, max_size=7), st.integers(-30, 30), st.integers(3, 60))
def test_a_limit_on_both_ends_is_held_wherever_those_that_obey_could_hold_it(
    others: list[tuple[Kind, str, float]], middle: int, half: int
) -> None:
    hold(others, 500.0 * middle, 200.0 * half, STEPS_W)


def hold(others: list[tuple[Kind, str, float]], middle_w: float, half_w: float, slack_w: float) -> None:
    """Limit a street of one battery that obeys, and others, to a band, and look at where it stands."""
    street = Street([(Kind.BATTERY, OBEYS, 0.0), *others])
    low_w, high_w = middle_w - half_w, middle_w + half_w
    net_w = np.array(asyncio.run(street.play(low_w, high_w, 2 * FOLLOWS_S)))
    stores, fleet = street.obeys & (street.state.fleet.energy_wh > 0), street.state.fleet
    fixed_w = float(street.does_w[~street.obeys].sum())
    suns_w = street.does_w[street.obeys & ~stores].sum()
    can_w = 5_000.0 * int(stores.sum())
    spare_w = 0.01 * float((fleet.max_inject_w + fleet.max_absorb_w).sum())
    slack_w += 0.5 * spare_w  # caps move for no less (`worth.MOVES_FRAC`)
    if fixed_w - can_w <= high_w - spare_w and fixed_w + suns_w + can_w >= low_w + spare_w:
        late_w = net_w[FOLLOWS_S // BEAT_S :]
        assert late_w.max() <= high_w + slack_w
        assert late_w.min() >= low_w - slack_w
    # It was in the band at first, or came from one side: it is never beyond the other.
    before_w = float(street.does_w.sum())
    assert net_w.max() <= max(high_w, before_w) + slack_w
    assert net_w.min() >= min(low_w, before_w) - slack_w
