"""What a pool declares to its market, and how far devices can move that tell their power and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from desk_stage import START_NS, Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.cycle import Cycle
from tieline.desk.facts import CapacityDerated, IntervalTracked, from_record
from tieline.desk.offering import what_it_gives
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Instruction
from tieline.fleet.able import able_w
from tieline.fleet.columns import KINDS, Fleet
from tieline.node.learnt import Learnt
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.store.learnt import About, names_of, save
from tieline.times import HOUR_NS, MINUTE_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
MAYBE = st.one_of(st.just(float("nan")), st.floats(0.0, 5_000.0))


class Market:
    """A market link that notes what it is told."""

    name = "market"

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []

    async def declare(self, pool: str, up_w: float, down_w: float, reason: str) -> None:
        self.told.append((up_w, reason))


class Pool(Stage1):
    """Ten batteries of 5 kW in one pool that owes 40 kW in the hour to come, seen by nobody yet."""

    def __init__(self) -> None:
        super().__init__(fleet_of([Kind.BATTERY] * 10))
        fleet = self.state.fleet
        fleet.taken_at_ns[:], fleet.power_w[:], fleet.quality[:] = 0, np.nan, int(Quality.NOT_TOPICAL)
        self.desk.market = self.market = Market()
        self.restart()
        self.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 40_000.0, 50.0)
        self.clock.ns = HOUR

    def restart(self) -> None:
        rows = self.state.fleet.leaves("pool-1")
        self.pool = PoolDesk("pool-1", rows, np.zeros(10), np.ones(10, np.bool_), np.zeros(10))
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})

    def heard(self, energy_wh: float = 20_000.0) -> None:
        fleet = self.state.fleet
        fleet.power_w[:], fleet.energy_available_wh[:] = (
            self.pool.share_w,
            energy_wh,
        )  # they do what they are called for
        fleet.quality[:], fleet.taken_at_ns[:] = 0, self.clock.ns

    async def beats(self, count: int, is_heard: bool = True, energy_wh: float = 20_000.0) -> None:
        for _ in range(count):
            if is_heard:
                self.heard(energy_wh)
            await self.cycle.beat(self.clock.ns)
            self.clock.ns += MINUTE_NS


def test_a_desk_that_was_just_started_declares_nothing_until_it_has_heard_a_device() -> None:
    async def play() -> None:
        stage = Pool()
        await stage.beats(1, is_heard=False)
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-45_000.0, high=45_000.0)
        stage.cycle.because((await stage.desk.ask(limit)).claim)
        await stage.beats(2, is_heard=False)
        assert stage.market.told == [], "0 W would be a word about telemetry, not about what the pool can do"
        await stage.beats(1)
        assert stage.market.told
        assert stage.market.told[-1][0] > 40_000.0

    asyncio.run(play())


def test_after_a_restart_of_eleven_minutes_what_was_kept_holds_until_devices_had_time_to_speak() -> None:
    """Their commands last for twenty: they go on, whether or not anybody hears it."""

    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        before = len(stage.journal.records)
        stage.restart()
        stage.clock.ns += 11 * MINUTE_NS
        await stage.beats(2, is_heard=False)
        kinds = [type(from_record(r)).__name__ for r in stage.journal.records[before:]]
        assert "ClaimsEnded" not in kinds
        assert stage.market.told == []
        assert stage.pool.available[0] > 40_000.0
        await stage.beats(4, is_heard=False)
        assert stage.market.told[-1][0] == 0.0, "who is silent after that is lost"

    asyncio.run(play())


def test_after_a_longer_restart_the_first_voice_does_not_stand_for_all() -> None:
    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        before = len(stage.journal.records)
        stage.restart()
        fleet = stage.state.fleet
        fleet.taken_at_ns[:], fleet.power_w[:], fleet.quality[:] = 0, np.nan, int(Quality.NOT_TOPICAL)
        stage.clock.ns += 17 * MINUTE_NS
        await stage.beats(1, is_heard=False)
        fleet.taken_at_ns[0], fleet.power_w[0], fleet.quality[0] = stage.clock.ns, 4_000.0, 0
        await stage.beats(1, is_heard=False)
        kinds = [type(from_record(r)).__name__ for r in stage.journal.records[before:]]
        assert "ClaimsEnded" not in kinds
        assert stage.market.told == []
        await stage.beats(3)
        assert stage.pool.available[0] > 40_000.0

    asyncio.run(play())


def test_what_telemetry_takes_or_gives_back_of_what_is_sold_is_declared_once_it_lasts() -> None:
    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        assert stage.market.told == [], "as much as was sold: there is nothing to tell"
        await stage.beats(1, energy_wh=500.0)
        await stage.beats(2)
        assert stage.market.told == [], "what moves back at the next beat is no news"
        await stage.beats(4, energy_wh=500.0)
        assert len(stage.market.told) == 1
        assert 1_000.0 < stage.market.told[0][0] < 10_000.0, "500 Wh in each of ten stores, for the hour that is left"
        await stage.beats(4)
        assert [round(up_w) for up_w, _ in stage.market.told][1:] == [50_000]
        await stage.beats(5)
        assert len(stage.market.told) == 2

    asyncio.run(play())


def test_what_the_iso_does_not_call_as_we_declared_no_more_is_ours_and_not_its_instruction() -> None:
    async def causes(declared_w: float) -> dict[str, float]:
        stage = Pool()
        stage.state.declared["pool-1"] = ((HOUR - HOUR_NS, (declared_w, 0.0)),)
        last = HOUR + 5 * MINUTE_NS
        stage.state.instructions["pool-1", "ENERGY"] = {
            HOUR: Instruction("i", "b", "pool-1", "ENERGY", HOUR, last, 10_000.0, 50.0, 1)
        }
        await stage.beats(7)
        facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
        return facts[0].withheld

    assert asyncio.run(causes(10_000.0)) == pytest.approx({"unavailable": 30_000.0})
    assert asyncio.run(causes(50_000.0)) == pytest.approx({"iso_instruction": 30_000.0})
    in_part = asyncio.run(causes(25_000.0))
    assert in_part == pytest.approx({"unavailable": 15_000.0, "iso_instruction": 15_000.0})


def test_a_lease_of_minutes_that_is_renewed_again_and_again_is_one_derating_a_while() -> None:
    async def play() -> int:
        stage = Pool()
        for turn in range(30):
            limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=0.0, high=0.0, version=turn + 1)
            stage.cycle.because((await stage.desk.ask(limit)).claim)
            await stage.beats(1)
        return sum(isinstance(from_record(r), CapacityDerated) for r in stage.journal.records)

    assert asyncio.run(play()) <= 3


def test_a_limit_that_lets_a_store_give_nothing_takes_all_that_it_promises_upward_and_nothing_downward() -> None:
    """One of ten. By the swing it would take half of it either way, and the other half would be sold on."""

    async def play() -> list[tuple[float, float]]:
        stage = Pool()
        await stage.beats(1)
        limit = stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-5e4, high=0.0)
        stage.cycle.because((await stage.desk.ask(limit)).claim)
        await stage.beats(1)
        facts = [from_record(record) for record in stage.journal.records]
        return [(fact.up_w, fact.down_w) for fact in facts if isinstance(fact, CapacityDerated)]

    assert asyncio.run(play()) == [(pytest.approx(0.9e6), 1e6)]


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.floats(-5_000.0, 5_000.0), MAYBE, MAYBE, MAYBE, MAYBE), min_size=1)
)
def test_what_a_device_says_stands_and_what_is_taken_from_its_rating_never_leads_beyond_it(drawn: list) -> None:
    fleet = fleet_of([kind for kind, *_ in drawn])
    power, up, down, soc, energy = (np.array(x) for x in list(zip(*drawn, strict=True))[1:])
    fleet.power_w[:] = np.clip(power, -fleet.max_absorb_w, fleet.max_inject_w)
    fleet.available_up_w[:], fleet.available_down_w[:], fleet.energy_available_wh[:] = up, down, energy
    fleet.column("soc_frac")[:] = soc / 5_000.0
    rises_w, falls_w = able_w(fleet, np.arange(len(drawn), dtype=np.int32))
    assert (rises_w[np.isfinite(up)] == up[np.isfinite(up)]).all()
    assert (falls_w[np.isfinite(down)] == down[np.isfinite(down)]).all()
    assert (rises_w >= 0).all() and (falls_w >= 0).all()
    assert (fleet.power_w + rises_w <= fleet.max_inject_w + 1e-6)[np.isnan(up)].all()
    assert (fleet.power_w - falls_w >= -fleet.max_absorb_w - 1e-6)[np.isnan(down)].all()


def _told(kind: Kind, power_w: float, soc_frac: float = float("nan")) -> Fleet:
    fleet = fleet_of([kind])
    fleet.power_w[:], fleet.column("soc_frac")[:] = power_w, soc_frac
    return fleet


@pytest.mark.parametrize(
    ("kind", "power_w", "soc_frac", "expected"),
    [
        (Kind.BATTERY, -1_000.0, 0.5, (6_000.0, 4_000.0)),
        (Kind.BATTERY, 0.0, 1.0, (5_000.0, 0.0)),
        (Kind.BATTERY, 0.0, 0.0, (0.0, 5_000.0)),
        (Kind.BATTERY, 0.0, float("nan"), (0.0, 0.0)),
        (Kind.INTERRUPTIBLE_LOAD, -4_000.0, float("nan"), (4_000.0, 0.0)),
        (Kind.THERMOSTAT, -4_000.0, float("nan"), (4_000.0, 0.0)),
        (Kind.EV_CHARGER, -4_000.0, float("nan"), (0.0, 0.0)),
        (Kind.PV, 3_000.0, float("nan"), (0.0, 3_000.0)),
        (Kind.CHP, 3_000.0, float("nan"), (0.0, 3_000.0)),
        (Kind.BATTERY, float("nan"), 0.5, (0.0, 0.0)),
    ],
)
def test_a_device_that_tells_its_power_alone_can_be_called_as_far_as_that_can_be_known(
    kind: Kind, power_w: float, soc_frac: float, expected: tuple[float, float]
) -> None:
    found = able_w(_told(kind, power_w, soc_frac), np.zeros(1, np.int32))
    assert (float(found[0][0]), float(found[1][0])) == pytest.approx(expected)


def test_a_store_that_never_says_how_full_it_is_is_neither_called_nor_sold() -> None:
    sold = [what_it_gives(_told(Kind.BATTERY, 0.0, soc), np.ones(1, np.bool_))[1][0] for soc in (0.5, float("nan"))]
    assert sold == [5_000.0, 0.0]
    assert what_it_gives(_told(Kind.BATTERY, float("nan")), np.ones(1, np.bool_))[1][0] == 8_000.0, "not heard of yet"


def test_who_was_lost_before_the_last_server_ended_is_lost_at_the_start_and_who_was_not_is_not(tmp_path: Path) -> None:
    state, now_ns = Stage1(fleet_of([Kind.BATTERY] * 3)).state, START_NS
    ids = state.fleet.ids
    save(tmp_path / "l", {"known": np.ones(3, np.bool_)}, About(now_ns - 2 * MINUTE_NS, 3, names_of(ids, 3)))
    learnt = Learnt(tmp_path / "l", state, print)
    assert learnt.take() == 3
    state.fleet.taken_at_ns[:] = [now_ns - 6 * MINUTE_NS, now_ns - 4 * MINUTE_NS, 0]
    state.fleet.quality[:] = 0
    learnt.note_lost()
    assert (state.fleet.quality != 0).tolist() == [True, False, False]
