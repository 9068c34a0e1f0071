"""A served pool's offers are held by its participation model before they leave, whoever sends them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_trader import NOON_NS, Market, asked

from tieline.desk.ports import Award, Offer, Segment
from tieline.desk.prices import SendPrices
from tieline.desk.trading import AskOffer, AskSegment
from tieline.errors import ConfigError, LinkDown
from tieline.node.config import load_config
from tieline.node.kept_readings import KeptReadings
from tieline.node.serve import node_of, trader_of
from tieline.node.trader import NodeTrader
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.importing import read_fleet
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS

TABLE = """id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,site,pool
battery-1,battery,,250000,250000,1000000,site-1,pool-1
battery-2,battery,,250000,250000,1000000,site-1,pool-1
load-1,interruptible_load,,0,400000,0,,pool-1
"""
SETTINGS = """zone = "America/Chicago"
jurisdiction = "US-TX"
[pools.pool-1.participation]
model = "ercot-ader"
shared = ["load-zone", "lse", "dsp"]
"""
DAY_AHEAD = 24 + 8
"""Hours from 2022-08-17T12:00Z (seven in the morning there) to one of the next market day."""


class Hands:
    def __init__(self) -> None:
        self.at_ns = NOON_NS

    def now_ns(self) -> int:
        return self.at_ns


def play(folder: Path, scene: Callable, table: str = TABLE, settings: str = SETTINGS) -> None:
    (folder / "devices.csv").write_text(table)
    (folder / "tieline.toml").write_text(settings)
    registry.save(read_fleet(folder / "devices.csv"), folder / "registry.bin")

    async def main() -> None:
        clock = Hands()
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            loaded = load_config(folder / "tieline.toml")
            node = node_of(folder, loaded, supervisor, None, clock)
            kept = KeptReadings(Wal(folder / "readings"), Historian(folder / "historian"), None, node.state.fleet)
            trader = trader_of(node, loaded, kept)
            market = node.desk.market = Market()
            await scene(trader, market, clock)

    asyncio.run(main())


def test_what_the_market_would_not_take_is_refused_by_its_rule_and_never_leaves(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        views = await trader.offer([
            asked("grain", DAY_AHEAD, 420_000.0), asked("least", DAY_AHEAD + 1, 99_000.0),
            asked("good", DAY_AHEAD + 2, 400_000.0),
            AskOffer("cap", "pool-1", *span(DAY_AHEAD + 3), [AskSegment(400_000.0, 5_000.01)]),
            AskOffer("kind", "pool-1", *span(DAY_AHEAD + 4), [AskSegment(400_000.0, 40.0)], "SPIN"),
            AskOffer("off", "pool-1", span(DAY_AHEAD + 5)[0] + HOUR_NS // 2, span(DAY_AHEAD + 5)[1] + HOUR_NS // 2, [AskSegment(4e5, 40.0)]),
        ])  # fmt: skip
        assert [(view.id, view.state, view.rule) for view in views] == [
            ("grain", "refused", "ercot-ader/increment"), ("least", "refused", "ercot-ader/increment"),
            ("good", "offered", ""), ("cap", "refused", "ercot-ader/cap"), ("kind", "refused", "ercot-ader/product"),
            ("off", "refused", "ercot-ader/interval"),
        ]  # fmt: skip
        assert market.heard == ["good"]
        assert (views[3].field, views[3].value, views[3].limit) == ("steps[0].price", "5000.01", "5000 USD at most")
        assert list(trader.node.state.offers) == ["good"], "what is refused here is no offer of ours"

    play(tmp_path, scene)


def span(hour: int) -> tuple[int, int]:
    return NOON_NS + hour * HOUR_NS, NOON_NS + (hour + 1) * HOUR_NS


def test_the_gate_is_whichever_is_open_unless_the_pool_is_bound_to_one(tmp_path: Path) -> None:
    """At seven in the morning of 17 August the day-ahead gate of that day is closed, and that of its hours is not."""

    async def either(trader: NodeTrader, market: Market, clock: Hands) -> None:
        today, soon = await trader.offer([asked("today", 3), asked("soon", 1)])
        assert (today.state, soon.state, soon.rule) == ("offered", "refused", "ercot-ader/gate")
        assert soon.limit == "before 2022-08-17T12:00:00Z", "an hour before it begins"

    async def bound(trader: NodeTrader, market: Market, clock: Hands) -> None:
        today, tomorrow = await trader.offer([asked("today", 3), asked("tomorrow", DAY_AHEAD)])
        assert (today.state, today.rule, tomorrow.state) == ("refused", "ercot-ader/gate", "offered")

    play(tmp_path, either)
    (tmp_path / "bound").mkdir()
    play(tmp_path / "bound", bound, settings=SETTINGS + 'gate = "day-ahead"\n')


def test_an_offer_that_no_market_heard_before_its_gate_is_not_sent_after_it_and_what_it_held_is_free(
    tmp_path: Path,
) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        market.is_silent = True
        (view,) = await trader.offer([asked("a", 3, 700_000.0)])
        assert view.state == "held"
        market.is_silent, clock.at_ns = False, NOON_NS + 2 * HOUR_NS
        (view,) = await trader.offer([asked("a", 3, 700_000.0)])
        assert (view.state, view.rule, market.heard) == ("refused", "ercot-ader/gate", [])
        up_w, _ = trader.node.state.ledger.free_w("pool-1", NOON_NS + 3 * HOUR_NS, clock.at_ns)
        assert up_w == 900_000.0, "the batteries give half a megawatt from rest, the load leaves 0.4"

    play(tmp_path, scene)


def test_a_site_above_a_megawatt_keeps_its_pool_out_of_the_pilot(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        (view,) = await trader.offer([asked("a", DAY_AHEAD)])
        assert (view.rule, view.field, view.value) == ("ercot-ader/member-most", "behind.most_w", "1100000")

    play(tmp_path, scene, TABLE.replace("battery-1,battery,,250000,250000", "battery-1,battery,,300000,300000"))


def test_what_is_proposed_is_in_the_markets_grain_and_is_taken(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        starts = [NOON_NS - 7 * HOUR_NS + k * HOUR_NS for k in range(48)]
        sent = SendPrices("system", "day_ahead", starts, [30.0 + 4.0 * (k % 24) for k in range(48)])
        await trader.prices(sent, "ann")
        proposal = trader.proposal("pool-1", "", 4)
        assert not isinstance(proposal, str) and proposal.offers
        assert all(step.power_w % 100_000 == 0 for offer in proposal.offers for step in offer.segments)
        views = await trader.offer(list(proposal.offers))
        assert {view.state for view in views} == {"offered"}
        clock.at_ns = starts[-1]
        late = trader.proposal("pool-1", "2022-08-18", 4)
        assert late.offers == () and late.why

    play(tmp_path, scene)


def priced() -> SendPrices:
    starts = [NOON_NS - 7 * HOUR_NS + k * HOUR_NS for k in range(48)]
    return SendPrices("system", "day_ahead", starts, [30.0 + 4.0 * (k % 24) for k in range(48)])


def test_a_proposal_says_why_and_stays_within_what_can_be_counted_on(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        await trader.prices(priced(), "ann")
        proposal = trader.proposal("pool-1", "", 4)
        assert [why.id for why in proposal.reasons] == [offer.id for offer in proposal.offers] != []
        for offer, why in zip(proposal.offers, proposal.reasons, strict=True):
            whole_w = sum(step.power_w for step in offer.segments)
            hour = (offer.start_ns - NOON_NS) // HOUR_NS + 7
            assert why.expected_price == 30.0 + 4.0 * (hour % 24), "its day-ahead price is known"
            assert 0.0 < whole_w <= why.room_w + 1.0 and why.sold_w <= whole_w
            assert why.revenue == pytest.approx(why.sold_w * why.expected_price / 1e6)
            assert 0.0 < why.there_frac <= 1.0 and why.penalty >= 0.0 and why.marginal_cost >= 35.0
        assert trader.proposal("pool-1", "", 4) == proposal, "the same inputs, the same offer"

    play(tmp_path, scene)


def test_the_way_of_before_is_kept_as_plain_with_a_quarter_kept_back_and_no_reasons(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        await trader.prices(priced(), "ann")
        proposal = trader.proposal("pool-1", "", 4)
        assert proposal.offers and proposal.reasons == ()

    play(tmp_path, scene, settings=SETTINGS.replace("[pools", '[pools.pool-1]\noffers = "plain"\n[pools'))


def test_a_silent_market_is_not_asked_for_what_is_refused_anyway(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        market.is_silent = True
        bad, good = await trader.offer([asked("bad", DAY_AHEAD, 99_000.0), asked("good", DAY_AHEAD + 1)])
        assert (bad.state, good.state) == ("refused", "held")
        with pytest.raises(LinkDown):
            await trader.node.desk.offer([Offer("x", "pool-1", "ENERGY", *span(DAY_AHEAD + 2), (Segment(4e5, 40.0),))])
        (answer,) = await trader.node.desk.offer(
            [Offer("y", "pool-1", "ENERGY", *span(DAY_AHEAD + 2), (Segment(1.0, 40.0),))]
        )
        assert answer is not None and answer.rule == "ercot-ader/increment"

    play(tmp_path, scene)


def test_a_second_award_for_one_offer_owes_nothing_more(tmp_path: Path) -> None:
    async def scene(trader: NodeTrader, market: Market, clock: Hands) -> None:
        await trader.offer([asked("a", DAY_AHEAD, 400_000.0)])
        first = Award("w-1", "a", "pool-1", "ENERGY", *span(DAY_AHEAD), 400_000.0, 60.0)
        second = Award("w-2", "a", "pool-1", "ENERGY", *span(DAY_AHEAD), 300_000.0, 60.0)
        answers = await trader.node.desk.awards([first, second], "frame-1")
        assert answers[0] is None and answers[1] is not None and answers[1].holder == "w-1"
        assert list(trader.node.state.awards) == ["w-1"]
        (booking,) = trader.node.state.ledger.bookings.values()
        assert booking.up_w == 400_000.0
        assert await trader.node.desk.awards([first, second], "frame-2") == answers

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"ercot-ader"', '"ercot-adr"', r"model 'ercot-adr' at \$.pools.pool-1.participation.model: give one of"),
        ('"ercot-ader"', '"eu-fcr"', r"model 'eu-fcr' at .*model: give one that sells ENERGY"),
        ("shared", 'gate = "noon"\nshared', r"gate 'noon' at .*gate: give one of day-ahead, real-time"),
        ("shared", "telemetry_s = 0.0\nshared", r"telemetry_s 0 at .*telemetry_s: give over 0 to 3600"),
        ("shared", "colour = 1\nshared", r"unknown field `colour`"),
        ("[pools", '[pools.pool-1]\noffers = "best"\n[pools', r"'best' at \$.pools.pool-1.offers: give curve or plain"),
        ("[pools", "[pools.pool-1.risk]\naversion = 2.0\n[pools", r"aversion 2 at .*risk.aversion: give 0 to 1"),
        ("[pools", "[pools.pool-1.risk]\ntail_frac = 0.0\n[pools", r"tail_frac 0 at .*tail_frac: give over 0 to 1"),
        ("[pools", "[pools.pool-1.risk]\npenalty_per_mwh = -1.0\n[pools", r"-1 at .*penalty_per_mwh: give 0 to 20000"),
    ],
)
def test_settings_of_a_participation_that_there_is_not_are_refused_by_path(tmp_path: Path, old, new, says) -> None:
    (tmp_path / "tieline.toml").write_text(SETTINGS.replace(old, new))
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / "tieline.toml")
