"""An ISO that clears our bids with others' offers: its prices answer to what we offer, declare and give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from tieline.errors import ConfigError
from tieline.simulate.iso.cleared import Aside, ClearingMarket, at_once
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.prices import ZONE
from tieline.simulate.iso.region import Called, ClearedDay, Region
from tieline.times import MINUTE_NS, from_ns, to_ns
from tieline.wire.ads import messages as ads

DAY, HOURS = date(2022, 8, 17), (16.5, 17.5, 18.5, 19.5)
EVENING, STEP = 2, 2 * 12 + 6
"""The dearest of the four hours, from 0, and the five minutes in its middle."""


def bid(uid: str, hour_ending: int, *steps: tuple[float, float]) -> ads.Bid:
    return ads.Bid(uid, "TL_1", "ENERGY", DAY, hour_ending, False, tuple(ads.BidSegment(*step) for step in steps))


@cache
def evening() -> ClearedDay:
    """Return four hours with 300 MW of ours at 20 $/MWh in the dearest, and 100 MW more at 9,000."""
    return ClearedDay(Region(1.29), HOURS, [(bid("b1", 19, (300.0, 20.0), (100.0, 9_000.0)), EVENING)])


def called(sold_mw: float, declared_mw: float | None = None, missed_mw: float = 0.0) -> Called:
    most = {} if declared_mw is None else {"TL_1": declared_mw}
    return evening().step(STEP, {"b1": sold_mw}, most, missed_mw, 0.0)


def test_the_more_we_offer_the_lower_the_price_at_our_bus_or_it_stays() -> None:
    offered = [0.0, 25.0, 50.0, 100.0, 200.0, 300.0]
    made = [called(300.0, declared_mw=mw) for mw in offered]
    prices = [one.price for one in made]
    assert all(more <= less + 1e-6 for less, more in pairwise(prices)), prices
    assert prices[-1] < prices[0] - 1.0
    assert [one.mw["TL_1", "ENERGY"] for one in made] == pytest.approx(offered)
    assert [one.without for one in made] == pytest.approx([prices[0]] * len(made), abs=1e-6)


def test_the_day_ahead_is_no_dearer_with_us_than_by_the_same_plants_without_us() -> None:
    ((awarded_mw, price),) = evening().awarded()
    with_us, _, same = evening().prices(EVENING)
    assert awarded_mw == pytest.approx(300.0) and price == with_us > 20.0
    assert with_us < same - 1.0
    assert 0.0 <= evening().ahead.gap <= 5e-3


def test_what_is_offered_beyond_an_award_is_called_at_its_price_alone() -> None:
    assert called(100.0).mw["TL_1", "ENERGY"] == pytest.approx(300.0), "the rest at 20 $/MWh is worth it"
    assert called(300.0).mw["TL_1", "ENERGY"] == pytest.approx(300.0), "what asks 9,000 $/MWh is not"


def test_what_we_were_called_for_and_did_not_give_makes_the_next_five_minutes_dearer() -> None:
    kept, missed = called(300.0), called(300.0, missed_mw=250.0)
    assert missed.price > kept.price + 1.0
    assert missed.without == pytest.approx(kept.without, abs=1e-6), "without us nothing was missed"


class Later:
    """Work that is put aside until it is asked for."""

    def __init__(self) -> None:
        self.waits: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], ClearedDay], then: Callable[[ClearedDay], None]) -> None:
        self.waits.append(lambda: then(work()))


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.ns = to_ns(datetime(2022, 8, 16, 22, 30, tzinfo=ZONE))

    def now_ns(self) -> int:
        return self.ns


def lived(aside: Aside = at_once, gives_frac: float = 1.0) -> ClearingMarket:
    """Live a day's evening: 5 MW sold at six and seven, half of it declared from half past seven on."""
    clock, rng = Clock(), np.random.default_rng(1)
    market = ClearingMarket(
        clock, rng, Faults(FaultMenu(), rng), Region(1.29, 50.0), aside=aside, gate=time(23), clears_at=time(23, 30),
        seed_prices=3,
    )  # fmt: skip
    for hour_ending in (19, 20):
        assert market.submit(bid(f"b{hour_ending}", hour_ending, (5.0, 30.0))).status == "SUBMITTED"
    clock.ns += 70 * MINUTE_NS
    market.advance()
    if isinstance(aside, Later):
        assert DAY not in market.awards, "a day is not cleared before its work is done"
        market.advance()
        assert len(aside.waits) == 2, "each day is put aside once: the 16th without us, and the 17th"
        clock.ns += 10 * MINUTE_NS
        market.advance()
        assert not market.steps
        for one in aside.waits:
            one()
        late = {to_ns(datetime(2022, 8, 16, 23, minute, tzinfo=ZONE)) for minute in (45, 50)}
        assert set(market.steps) >= late, "what passed while the day was searched for has its prices"
    while clock.ns < to_ns(datetime(2022, 8, 17, 20, 0, tzinfo=ZONE)):
        clock.ns += MINUTE_NS
        now = from_ns(clock.ns)
        if now.astimezone(ZONE).time() == time(19, 30):
            market.declare(ads.RedeclareAvailability("TL_1", now, 2.5, 0.0, "tests"))
        told = market.trajectory("TL_1", clock.ns - 5 * MINUTE_NS, clock.ns)
        if told:
            market.seen.telemetry.setdefault("TL_1", []).append((clock.ns - 1, gives_frac * told[-1][1]))
        market.advance()
    return market


@cache
def whole() -> ClearingMarket:
    return lived()


@cache
def half() -> ClearingMarket:
    return lived(Later(), gives_frac=0.5)


@pytest.mark.long
def test_an_evening_through_the_market_is_awarded_called_declared_less_and_priced() -> None:
    market = half()
    assert [row.mw for row in market.awards[DAY]] == [5.0, 5.0]
    at = [to_ns(datetime(2022, 8, 17, *clock, tzinfo=ZONE)) for clock in ((18, 0), (19, 0), (19, 40), (20, 0))]
    called_mw = dict(market.trajectory("TL_1", at[0], at[3]))
    assert len(called_mw) == 24
    assert {mw for start, mw in called_mw.items() if start <= at[1] + 30 * MINUTE_NS} == {5.0}
    assert {mw for start, mw in called_mw.items() if start >= at[2]} == {2.5}
    prices = market.prices(DAY)
    assert len(prices) == 241 and set(called_mw) <= set(prices)
    shown = {one.price for made in market.batches.values() for one in made.batch.instructions}
    assert shown == {round(prices[start], 4) for start in called_mw}
    again = whole()
    before = {start: price for start, price in prices.items() if start < at[0]}
    assert again.awards == market.awards, "the same seed has the same day"
    assert {start: again.prices(DAY)[start] for start in before} == before and len(before) == 216


def test_a_pool_that_gives_half_of_what_it_is_called_for_makes_its_hours_dearer() -> None:
    less, full = half().steps, whole().steps
    sold = [start for start, step in full.items() if step.mw]
    assert max(less[start].missed_mw for start in sold) == pytest.approx(2.5, abs=0.01)
    assert all(less[start].price >= full[start].price - 1e-6 for start in sold)
    assert sum(less[start].price - full[start].price for start in sold) > 1.0


def test_what_is_foreseen_is_the_day_before_or_the_case_without_us() -> None:
    market = whole()
    before, after = market.foreseen(date(2022, 8, 16)), market.foreseen(date(2022, 8, 18))
    assert len(before) == len(after) == 24 and max(before.values()) > 100.0
    assert list(after.values()) == [float(hour.price[market.region.row]) for hour in market.days[DAY].ahead.hours]
    assert len(market.foreseen(date(2022, 11, 6))) == 25 and len(market.foreseen(date(2022, 3, 13))) == 23


@pytest.mark.parametrize(("bad", "says"), [((0.0, 1.0), "load_frac = 0.0"), ((1.2, -1.0), "counts_as = -1.0")])
def test_a_region_of_no_load_or_no_weight_is_refused_by_name(bad: tuple[float, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Region(*bad)


def test_a_small_pool_counts_as_a_twentieth_of_the_load_and_a_large_one_as_itself() -> None:
    assert 0.4 * Region.of(0.4, 6.0).counts_as == pytest.approx(0.05 * 4242.0)  # 4,242 MW are published
    assert Region.of(900.0, 0.0) == Region(1.2, 1.0)
