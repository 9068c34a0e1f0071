"""A served pool's offers at a market that answers, refuses or is silent, and its stores filled for what it sold."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.charging import LEAST_W
from tieline.desk.facts import ScheduleMade, from_record
from tieline.desk.ports import Ask, Award, Granted, Offer
from tieline.desk.prices import SendPrices
from tieline.desk.trading import AskOffer, AskSegment
from tieline.errors import LinkDown
from tieline.node.config import load_config
from tieline.node.kept_readings import KeptReadings
from tieline.node.last_readings import take_last
from tieline.node.serve import node_of, trader_of
from tieline.node.trader import NodeTrader
from tieline.resource.batch import CommandReports, Readings
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.importing import read_fleet
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS, MINUTE_NS

NOON_NS = 1_660_737_600 * 10**9  # 2022-08-17T12:00:00Z
TABLE = """id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,pool
battery-1,battery,,500000,500000,1000000,pool-1
chp-1,chp,,300000,0,0,pool-1
"""


class Hands:
    at_ns = NOON_NS

    def now_ns(self) -> int:
        return self.at_ns


class Market:
    """A market link: it is silent, or says to each offer what it is told to."""

    name = "iso"

    def __init__(self) -> None:
        self.is_silent = False
        self.says: Refusal | None = None
        self.heard: list[str] = []

    async def submit(self, offers: Sequence[Offer]) -> list[Refusal | None]:
        if self.is_silent:
            raise LinkDown("no answer within 30 s")
        self.heard += [offer.id for offer in offers]
        return [self.says] * len(offers)

    async def declare(self, pool: str, available_up_w: float, available_down_w: float, reason: str) -> None:
        return None


def play(folder: Path, scene: Callable) -> None:
    (folder / "devices.csv").write_text(TABLE)
    (folder / "tieline.toml").write_text('zone = "UTC"\njurisdiction = "US-TX"\n')
    registry.save(read_fleet(folder / "devices.csv"), folder / "registry.bin")

    async def main() -> None:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            settings = load_config(folder / "tieline.toml")
            node = node_of(folder, settings, supervisor, None, Hands())
            kept = KeptReadings(Wal(folder / "readings"), Historian(folder / "historian"), None, node.state.fleet)
            trader = trader_of(node, settings, kept)
            market = node.desk.market = Market()
            await scene(trader, market)

    asyncio.run(main())


def asked(name: str, hour: int, power_w: float = 400_000.0) -> AskOffer:
    start_ns = NOON_NS + hour * HOUR_NS
    return AskOffer(name, "pool-1", start_ns, start_ns + HOUR_NS, [AskSegment(power_w, 40.0)])


def test_an_offer_that_a_silent_market_did_not_hear_is_held_and_sent_again_by_the_same_id(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        market.is_silent = True
        view, beyond = await trader.offer([asked("a", 2), asked("b", 3, 600_000.0)])
        assert (beyond.state, beyond.field) == ("refused", "up_w")
        assert view.state == "held"
        assert "the market did not answer, send it again: no answer within 30 s" in view.reason
        assert [o.state for o in trader.offers("pool-1")] == ["held"]
        market.is_silent = False
        (view,) = await trader.offer([asked("a", 2)])
        assert (view.state, view.reason) == ("offered", "")
        await trader.offer([asked("a", 2)])
        assert market.heard == ["a"], "once it was heard it is not submitted again"

    play(tmp_path, scene)


def test_what_the_market_refuses_is_free_again_and_the_id_stays_refused(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        market.says = Refusal("after the gate", "bidUID", "a")
        for _ in range(2):
            (view,) = await trader.offer([asked("a", 2, 500_000.0)])
            assert (view.state, view.reason) == ("refused", "after the gate")
        assert market.heard == ["a"]
        market.says = None
        (view,) = await trader.offer([asked("b", 2, 500_000.0)])
        assert view.state == "offered", "the whole pool is free to be sold again"

    play(tmp_path, scene)


def test_what_a_day_was_cleared_without_says_so_and_is_not_submitted_again(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        desk, noon = trader.node.desk, NOON_NS
        await trader.offer([asked("a", 2, 300_000.0)])
        market.is_silent = True
        await trader.offer([asked("b", 3)])
        await desk.cleared(await desk.unawarded(["pool-1"], noon, noon + 12 * HOUR_NS), "rows")
        market.is_silent = False
        assert [view.state for view in trader.offers("pool-1")] == ["unawarded", "unawarded"]
        again = await trader.offer([asked("a", 2, 300_000.0), asked("b", 3), asked("c", 2, 400_000.0)])
        assert [view.state for view in again] == ["unawarded", "unawarded", "offered"]
        assert again[0].reason == "the market cleared its day without it"
        assert market.heard == ["a", "c"], "nor what the market never heard of"

    play(tmp_path, scene)


def test_a_list_is_answered_row_by_row_and_a_second_sale_names_its_holder(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        reserve = asked("r", 2, 300_000.0)
        sold = AskOffer("s", "pool-1", reserve.start_ns, reserve.end_ns, reserve.segments, "SPIN")
        views = await trader.offer([reserve, asked("r", 3), sold, asked("t", 4)])
        assert [view.state for view in views] == ["offered", "refused", "refused", "offered"]
        assert (views[1].field, views[2].field) == ("id", "up_w")
        assert views[2].holder.startswith("ENERGY (reservation:")
        assert market.heard == ["r", "t"]

    play(tmp_path, scene)


def test_an_offer_that_stands_in_a_list_twice_is_answered_twice_and_made_once(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        other = AskOffer("a", "pool-1", asked("a", 2).start_ns, asked("a", 2).end_ns, [AskSegment(1.0, 1.0)])
        views = await trader.offer([asked("a", 2), asked("b", 3), asked("a", 2), other])
        assert [view.state for view in views] == ["offered", "offered", "offered", "refused"]
        assert views[0] == views[2]
        assert market.heard == ["a", "b"]
        one, again = await trader.offer([asked("c", 4, 9e9), asked("c", 4, 9e9)])
        assert one == again
        assert (one.state, one.field) == ("refused", "up_w")

    play(tmp_path, scene)


def test_an_offer_of_half_an_hour_is_refused_by_instants_that_a_person_can_read(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        start_ns = asked("a", 2).start_ns
        half = AskOffer("a", "pool-1", start_ns, start_ns + HOUR_NS // 2, [AskSegment(1e5, 40.0)])
        (view,) = await trader.offer([half])
        told = "2022-08-17T14:00:00Z to 2022-08-17T14:30:00Z"
        assert (view.field, view.value) == ("start_ns, end_ns", told)
        assert view.limit == "one hour from a five-minute mark on"

    play(tmp_path, scene)


@pytest.mark.parametrize("power_w", [5e-324, 1e-320, 0.5, 0.0, -1.0, math.nan, 2e12])
def test_a_step_of_less_than_a_watt_is_refused_at_the_door_and_no_market_hears_of_it(
    tmp_path: Path, power_w: float
) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        (view,) = await trader.offer([asked("a", 2, power_w)])
        told = view.state, view.field, view.value, view.limit
        assert told == ("refused", "segments[0].power_w", f"{power_w:g}", "1 to 1e+12 W")
        assert (market.heard, trader.node.state.offers) == ([], {})

    play(tmp_path, scene)


def test_no_more_is_sold_than_devices_that_the_rules_let_serve(tmp_path: Path) -> None:
    """The CHP unit's fuel is unknown: its 300 kW are not in what the pool gives from rest, the battery's 500 kW."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        (view,) = await trader.offer([asked("a", 2, 500_001.0)])
        assert (view.state, view.field) == ("refused", "up_w")
        assert "of 500000 W" in view.limit

    play(tmp_path, scene)


def test_stores_are_filled_in_the_cheapest_hours_before_what_was_sold(tmp_path: Path) -> None:
    """An empty battery, 0.4 MWh sold at six in the evening, power cheap at three in the afternoon alone."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        node = trader.node
        cheap = NOON_NS + 3 * HOUR_NS
        starts = [NOON_NS - (12 - k) * HOUR_NS for k in range(24)]
        prices = [5.0 if at == cheap else 80.0 for at in starts]
        assert (await trader.prices(SendPrices("system", "day_ahead", starts, prices), "ann")).new == 24
        for point, value in (("power_w", 0.0), ("soc_frac", 0.0), ("energy_available_wh", 0.0)):
            one = np.array([code(point)], np.uint16), np.array([value]), np.zeros(1, np.uint32)
            now = np.array([NOON_NS], np.int64)
            node.desk.readings(Readings(np.zeros(1, np.int32), *one, now, now, "test"))
        await trader.offer([asked("a", 6)])
        offer = node.state.offers["a"]
        award = Award("w", "a", "pool-1", "ENERGY", offer.start_ns, offer.end_ns, 400_000.0, 200.0)
        assert await node.desk.awards([award], "f") == [None]
        await node.beat()
        (made,) = [
            fact for r in node.journal.of_kind("ScheduleMade") if isinstance(fact := from_record(r), ScheduleMade)
        ]
        power_w = made.power_w.array().reshape(len(made.rows.array()), made.steps)[0]
        takes = {made.start_ns + k * made.step_ns for k in np.flatnonzero(power_w < -LEAST_W)}
        assert takes == {cheap, cheap + 30 * MINUTE_NS}
        assert -power_w.sum() * made.step_ns / HOUR_NS > 400_000.0  # and what is lost on the way in and out

    play(tmp_path, scene)


def test_two_beats_take_turns(tmp_path: Path) -> None:
    """What one beat has begun to count the other must not close."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        node, seen = trader.node, []

        async def ends() -> None:
            await asyncio.sleep(1.0)
            seen.append("ends")

        node.before_beat.append(lambda: seen.append("begins"))
        node.after_beat.append(ends)
        await asyncio.gather(node.beat(), node.beat())
        assert seen == ["begins", "ends"] * 2

    play(tmp_path, scene)


def test_what_devices_answer_is_recorded_without_waiting_for_the_next_beat(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        node, beats = trader.node, []
        node.before_beat.append(lambda: beats.append("beat"))
        granted = await node.desk.ask(
            Ask("test:desk", "dispatcher", "p", Level.UTILITY, "battery-1", Quantity.P, ClaimKind.SET, 1, NOON_NS,
                NOON_NS + 10 * MINUTE_NS, value=1_000.0)
        )  # fmt: skip
        assert isinstance(granted, Granted)
        await node.beat()
        (issued,) = [fact for r in node.journal.of_kind("CommandsIssued") if (fact := from_record(r))]
        node.start()
        beats.clear()
        one = np.zeros(1, np.int32)
        done = np.array([Stage.DONE], np.uint8), np.array([NOON_NS], np.int64), np.zeros(1, np.uint8)
        node.desk.reports(CommandReports(issued.batch, "test", one, *done, np.array([1_000.0]), (), ()))
        assert node.state.commands.stage[0] != Stage.DONE
        async with asyncio.timeout(20):
            while node.state.commands.stage[0] != Stage.DONE:  # noqa: ASYNC110  it comes by another task
                await asyncio.sleep(0.1)
        await node.group.drained()
        assert len(list(node.journal.of_kind("CommandsReported"))) == 1
        assert beats == []

    play(tmp_path, scene)


def test_a_store_that_is_called_stays_called_while_nobody_is_heard_and_once_what_was_kept_is_taken_up(
    tmp_path: Path,
) -> None:
    """A battery serves an award; then nothing is known of it, as after a start. (A load's base is not kept: limits.md.)"""

    async def life(trader: NodeTrader, first: bool) -> float:
        node = trader.node
        now_ns = node.clock.now_ns()
        if first:
            start_ns = now_ns - HOUR_NS // 2
            node.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, 300_000.0, 50.0)
            wal = trader.days._kept.wal
            codes = np.array([code("power_w"), code("soc_frac")], np.uint16)
            rows, good, at = np.zeros(2, np.int32), np.zeros(2, np.uint32), np.full(2, now_ns)
            wal.append([Readings(rows, codes, np.array([0.0, 0.9]), good, at, at, "test")])
            wal.close()
        taken = take_last(node.state, trader.days._kept.wal, trader.days._kept.historian, now_ns)
        assert taken == 2
        await node.cycle.beat(now_ns)
        return node.state.claims.target_of(np.zeros(1, np.int32), "desk.market", "pool-1", Quantity.P)[0][0]

    called = []

    async def scene(trader: NodeTrader, market: Market) -> None:
        called.append(await life(trader, True))
        node = trader.node
        fresh = node.state.fleet
        fresh.taken_at_ns[:], fresh.power_w[:] = 0, np.nan
        fresh.quality[:] = int(Quality.NOT_TOPICAL)
        before = node.journal.last_seq
        await node.cycle.beat(node.clock.now_ns())
        assert (
            node.state.claims.target_of(np.zeros(1, np.int32), "desk.market", "pool-1", Quantity.P)[0][0] == called[0]
        )
        called.append(await life(trader, False))
        kinds = [record.kind for record in node.journal.replay() if record.seq > before]
        assert "ClaimsEnded" not in kinds

    play(tmp_path, scene)
    assert called == [300_000.0, 300_000.0]


def test_a_kept_power_beyond_the_rating_is_taken_up_as_one_that_nobody_trusts(tmp_path: Path) -> None:
    """It was kept as good by a server that did not look at ratings."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        now_ns, fleet, wal = trader.node.clock.now_ns(), trader.node.state.fleet, trader.days._kept.wal
        rows, at = np.zeros(1, np.int32), np.full(1, now_ns)
        codes, good = np.array([code("power_w")], np.uint16), np.zeros(1, np.uint32)
        wal.append([Readings(rows, codes, np.array([9e9]), good, at, at, "test")])
        wal.close()
        assert take_last(trader.node.state, wal, trader.days._kept.historian, now_ns) == 1
        assert int(fleet.quality[0]) & int(Quality.OUT_OF_RANGE)
        assert trader.node.state.base_w[0] == 0.0

    play(tmp_path, scene)
