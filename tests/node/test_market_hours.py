"""The hours of the market desk: what several offers, awards and instructions of one hour come to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_trader import NOON_NS, Market, asked, play

from tieline.desk.desk_views import MarketHour
from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.ports import Award, DispatchBatch, Instruction
from tieline.desk.trading import AskOffer, AskSegment
from tieline.node.reader import NodeReader, Sources
from tieline.node.trader import NodeTrader
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, MINUTE_NS

HOUR = NOON_NS + 2 * HOUR_NS


def hours(trader: NodeTrader) -> dict[int, MarketHour]:
    reader = NodeReader(trader.node, Sources(utility="works", setting="LIVE", zone="UTC"))
    return {hour.start_ns: hour for hour in reader.market().hours}


async def award(trader: NodeTrader, offer: str, power_w: float, price: float) -> None:
    made = Award(f"w-{offer}", offer, "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, power_w, price)
    assert await trader.node.desk.awards([made], "f") == [None]


async def told(trader: NodeTrader, *parts: tuple[float, float, float], revision: int = 1) -> None:
    """Instruct powers (W) from and to so many minutes of the hour, each in a batch of its own."""
    for n, (power_w, since, until) in enumerate(parts, start=10 * revision):
        start_ns, end_ns = HOUR + int(since * MINUTE_NS), HOUR + int(until * MINUTE_NS)
        one = Instruction(f"i{n}", str(n), "pool-1", "ENERGY", start_ns, end_ns, power_w, 60.0, revision)
        batch = DispatchBatch(str(n), NOON_NS, NOON_NS, HOUR + HOUR_NS, (one,), "f")
        assert (await trader.node.desk.dispatch(batch)).declined == ()


def test_offers_and_awards_of_one_hour_add_up_and_their_price_is_the_mean_by_power(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        await trader.offer([asked("a", 2, 60_000.0), asked("b", 2, 20_000.0)])
        dear = AskOffer("c", "pool-1", HOUR, HOUR + HOUR_NS, [AskSegment(50_000.0, 20.0), AskSegment(50_000.0, 90.0)])
        await trader.offer([dear, asked("next", 3, 10_000.0)])
        assert (hours(trader)[HOUR].offered_w, hours(trader)[HOUR].awarded_w) == (180_000.0, None)
        await award(trader, "a", 60_000.0, 50.0)
        await award(trader, "b", 20_000.0, 90.0)
        hour = hours(trader)[HOUR]
        assert (hour.offered_w, hour.offer_price_per_mwh) == (180_000.0, 90.0)
        assert (hour.awarded_w, hour.price_per_mwh) == (80_000.0, 60.0)  # (60 x 50 + 20 x 90) / 80
        assert hours(trader)[HOUR + HOUR_NS].offered_w == 10_000.0

    play(tmp_path, scene)


def test_what_was_instructed_counts_by_how_long_it_holds_and_a_revision_takes_its_own_part(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        await trader.offer([asked("a", 2, 60_000.0)])
        await award(trader, "a", 60_000.0, 50.0)
        await told(trader, (30_000.0, 0, 1), (50_000.0, 1, 2.5), (10_000.0, 2.5, 5), (40_000.0, 5, 10))
        assert hours(trader)[HOUR].instructed_w == pytest.approx(33_000.0)
        await told(trader, (20_000.0, 6, 7), (0.0, 50, 60), revision=2)
        assert hours(trader)[HOUR].instructed_w == pytest.approx((330_000.0 - 20_000.0) / 20.0)

    play(tmp_path, scene)


def test_a_refused_offer_has_no_hour_and_counts_in_none(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        await trader.offer([asked("a", 2, 60_000.0)])
        await award(trader, "a", 60_000.0, 50.0)
        await told(trader, (30_000.0, 15, 20))
        market.says = Refusal("not an hour of the market day", "bidUID", "b")
        start_ns = HOUR + 15 * MINUTE_NS
        odd = AskOffer("b", "pool-1", start_ns, start_ns + HOUR_NS, [AskSegment(1_000.0, 20.0)])
        views = await trader.offer([odd, asked("c", 2, 5_000.0)])
        assert [view.state for view in views] == ["refused", "refused"]
        assert start_ns not in hours(trader) and hours(trader)[HOUR].offered_w == 60_000.0

    play(tmp_path, scene)


def test_an_hour_that_is_cleared_without_us_has_nothing_awarded_and_one_that_is_not_is_unknown(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        await trader.offer([asked("a", 2, 60_000.0), asked("b", 3, 60_000.0)])
        await trader.node.desk.cleared(["a"], "rows")
        assert [hours(trader)[HOUR + n * HOUR_NS].awarded_w for n in (0, 1)] == [0.0, None]
        assert hours(trader)[HOUR].price_per_mwh is None
        hour, other = hours(trader)[HOUR], hours(trader)[HOUR + HOUR_NS]
        assert (hour.offered_w, hour.offer_price_per_mwh) == (0.0, None)
        assert (other.offered_w, other.offer_price_per_mwh) == (60_000.0, 40.0), "not cleared, and offered as before"

    play(tmp_path, scene)


def test_of_an_hour_that_is_cleared_only_what_was_awarded_is_still_offered(tmp_path: Path) -> None:
    """One offer is awarded in part, one not at all; of the first the rest may be called in real time."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        dear = AskOffer("dear", "pool-1", HOUR, HOUR + HOUR_NS, [AskSegment(20_000.0, 90.0)])
        await trader.offer([asked("a", 2, 60_000.0), dear])
        assert (hours(trader)[HOUR].offered_w, hours(trader)[HOUR].offer_price_per_mwh) == (80_000.0, 90.0)
        await award(trader, "a", 40_000.0, 50.0)
        await trader.node.desk.cleared(["dear"], "rows")
        hour = hours(trader)[HOUR]
        assert (hour.offered_w, hour.offer_price_per_mwh, hour.awarded_w) == (60_000.0, 40.0, 40_000.0)

    play(tmp_path, scene)


def test_an_hour_and_its_intervals_say_what_of_them_was_not_counted(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        node, at_ns = trader.node, trader.node.clock.now_ns() // HOUR_NS * HOUR_NS
        rows, gap = Packed.of(np.zeros(1, np.int32)), (at_ns, at_ns + 2 * MINUTE_NS)
        for n, gaps in enumerate(((gap,), ())):
            start_ns = at_ns + n * 5 * MINUTE_NS
            fact = IntervalTracked(
                "pool-1", start_ns, start_ns + 5 * MINUTE_NS, 1e3, 1e3, {}, rows, Packed.of(np.array([1e3])), 1,
                uncounted=gaps,
            )  # fmt: skip
            await node.desk.commit([Entry(f"interval:{n}", fact, "pool-1")])
        award = Award("w", "o", "pool-1", "ENERGY", at_ns, at_ns + HOUR_NS, 1e3, 50.0)
        node.state.awards["w"] = award
        reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
        assert {hour.start_ns: hour.uncounted for hour in reader.market().hours}[at_ns] == (gap,)
        assert [each.uncounted for each in reader.settlement().intervals] == [(gap,), ()]

    play(tmp_path, scene)
