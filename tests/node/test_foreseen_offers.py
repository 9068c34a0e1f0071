"""An offer is held against what its pool can be counted on to give then; what is told of an award is what can come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_trader import NOON_NS, Market, play

from tieline.desk.called import Called
from tieline.desk.ports import Award
from tieline.desk.prices import SendPrices
from tieline.desk.trading import AskOffer, AskSegment, offer_of
from tieline.node.reader import NodeReader
from tieline.node.sources import Sources
from tieline.node.trader import NodeTrader
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

SOON = 0.5
"""Hours to an hour of which this moment tells most."""


def asked(name: str, hour: float, power_w: float) -> AskOffer:
    start_ns = NOON_NS + int(hour * HOUR_NS)
    return AskOffer(name, "pool-1", start_ns, start_ns + HOUR_NS, [AskSegment(power_w, 40.0)])


def heard(trader: NodeTrader, held_wh: float) -> None:
    """Have the battery of half a megawatt tell that it rests, and what it holds."""
    points = np.array([code(name) for name in ("power_w", "energy_available_wh")], np.uint16)
    rows, good, at = np.zeros(2, np.int32), np.zeros(2, np.uint32), np.full(2, NOON_NS, np.int64)
    trader.node.desk.readings(Readings(rows, points, np.array([0.0, held_wh]), good, at, at, "test"))


def cheap_before(hour_ns: int) -> SendPrices:
    """Prices of a day that are low until an hour, and high then."""
    starts = [NOON_NS - 12 * HOUR_NS + k * HOUR_NS for k in range(24)]
    return SendPrices("system", "day_ahead", starts, [5.0 if at < hour_ns else 80.0 for at in starts])


def test_an_offer_beyond_what_a_store_holds_for_its_hour_is_refused_naming_field_value_and_limit(
    tmp_path: Path,
) -> None:
    """Its rating of 500 kW is free; it holds 100 kWh, and nothing fills it within half an hour."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        heard(trader, 100_000.0)
        beyond, within = await trader.offer([asked("a", SOON, 110_000.0), asked("b", SOON, 100_000.0)])
        assert (beyond.state, beyond.field, beyond.value) == ("refused", "up_w", "110000")
        assert beyond.reason == "that is beyond what it can be counted on to give then"
        assert beyond.limit.startswith("100000 W free of 100000 W that it can be counted on to give then at 2022-08-17")
        assert within.state == "offered"
        (twice,) = await trader.offer([asked("c", SOON, 1_000.0)])
        assert twice.state == "refused" and twice.holder.startswith("ENERGY (reservation:")
        assert market.heard == ["b"]

    play(tmp_path, scene)


def test_hours_in_a_row_share_what_a_store_holds_and_an_hour_after_cheap_ones_is_held_against_it_filled(
    tmp_path: Path,
) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        heard(trader, 300_000.0)
        await trader.node.beat()
        first, second = await trader.offer([asked("a", 2, 200_000.0), asked("b", 3, 200_000.0)])
        assert (first.state, second.state) == ("offered", "refused")
        assert second.limit.startswith("100000 W free of 100000 W"), "200 of its 300 kWh are sold for the hour before"
        (later,) = await trader.offer([asked("c", 8, 200_000.0)])
        assert later.state == "refused", "nothing fills it meanwhile that is known of"
        await trader.prices(cheap_before(NOON_NS + 8 * HOUR_NS), "ann")
        (later,) = await trader.offer([asked("d", 8, 500_000.0)])
        assert later.state == "offered", "half a megawatt fills it in two cheap hours"

    play(tmp_path, scene)


def test_of_a_device_that_is_often_out_of_reach_less_is_offered(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        trader.node.state.reach_frac[0] = 0.5
        (view,) = await trader.offer([asked("a", 2, 1_000.0)])
        assert (view.state, view.field) == ("refused", "up_w")

    play(tmp_path, scene)


def test_what_can_be_offered_sinks_as_more_owners_left_calls_than_the_prior_has(tmp_path: Path) -> None:
    """A call that nobody left tells nothing against them; calls that most left do."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        state, offer = trader.node.state, offer_of(asked("a", 2, 1_000.0))
        before_w, both = trader.node.offerable.most_w(offer, NOON_NS), np.packbits(np.ones(2, np.bool_)).tobytes()
        assert before_w > 0.0
        for at in range(40):
            state.called[f"e{at}"] = Called("peak", NOON_NS - HOUR_NS, NOON_NS, NOON_NS - DAY_NS, both)
        assert trader.node.offerable.most_w(offer, NOON_NS) == before_w
        for event in state.called.values():
            event.outs = both
        assert trader.node.offerable.most_w(offer, NOON_NS) < before_w

    play(tmp_path, scene)


def test_what_is_proposed_obeys_the_same_and_is_taken_as_it_is(tmp_path: Path) -> None:
    """A part of the evening is sold: what is proposed beside it is cut to what is left, and is all offered."""

    async def scene(trader: NodeTrader, market: Market) -> None:
        await trader.prices(cheap_before(NOON_NS + 4 * HOUR_NS), "ann")
        alone = trader.proposal("pool-1", "2022-08-17", 2)
        await trader.offer([asked("sold", 6, 350_000.0)])
        beside = trader.proposal("pool-1", "2022-08-17", 2)
        whole_w, left_w = (
            {one.start_ns: sum(step.power_w for step in one.segments) for one in each.offers} for each in (alone, beside)
        )  # fmt: skip
        sold_ns = NOON_NS + 6 * HOUR_NS
        assert whole_w and left_w.get(sold_ns, 0.0) <= 150_000.0
        views = await trader.offer(list(beside.offers))
        assert views and {view.state for view in views} == {"offered"}, views

    play(tmp_path, scene)


def overview(trader: NodeTrader, award_w: float) -> NodeReader:
    """A screen of a pool that owes so much for half an hour yet."""
    start_ns = NOON_NS - HOUR_NS // 2
    trader.node.state.awards["w"] = Award("w", "o", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, award_w, 50.0)
    return NodeReader(trader.node, Sources())


@pytest.mark.parametrize("held_wh", [0.0, 50_000.0, 150_000.0])
def test_no_more_is_likely_of_an_award_than_stores_hold_for_the_rest_of_it_and_why_is_told(
    tmp_path: Path, held_wh: float
) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        heard(trader, held_wh)
        (told,) = overview(trader, 400_000.0).overview().commitments
        most_w = 2.0 * held_wh
        assert told.low_w <= told.likely_w <= told.high_w <= 1.1 * most_w + 1.0
        assert abs(told.likely_w - most_w) < 1.0
        assert abs(told.lacks_w["stored_energy" if held_wh else "unavailable"] - (400_000.0 - most_w)) < 1.0

    play(tmp_path, scene)


def silent(trader: NodeTrader) -> None:
    trader.node.state.fleet.mark_stale(NOON_NS + 10 * MINUTE_NS, 180 * SECOND_NS)


def out(trader: NodeTrader) -> None:
    trader.node.state.opted_out[0] = True


def killed(trader: NodeTrader) -> None:
    trader.node.state.authority["kill"] = "on"


@pytest.mark.parametrize(("act", "cause"), [(silent, "offline"), (out, "opt_out"), (killed, "kill_switch")])
def test_of_a_device_that_nobody_can_call_nothing_is_likely_and_the_cause_is_named(
    tmp_path: Path, act: Callable[[NodeTrader], None], cause: str
) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        heard(trader, 900_000.0)
        act(trader)
        (told,) = overview(trader, 400_000.0).overview().commitments
        assert (told.likely_w, told.low_w) == (0.0, 0.0)
        assert told.lacks_w == {cause: 400_000.0}
        assert (told.high_w > 300_000.0) == (cause != "opt_out"), "it may come back, but not against its owner's will"

    play(tmp_path, scene)


def test_a_pool_that_can_do_far_more_is_likely_to_give_what_it_owes(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market) -> None:
        heard(trader, 900_000.0)
        (told,) = overview(trader, 400_000.0).overview().commitments
        assert abs(told.likely_w - 400_000.0) < 1.0 and told.lacks_w == {}
        assert 300_000.0 < told.low_w < 400_000.0 < told.high_w < 440_000.0

    play(tmp_path, scene)
