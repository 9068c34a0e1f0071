"""The emulated ISO rejects by a participation model what the desk's own validator would not have let leave."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.offer import MarketOffer, Step
from tieline.market.offer_rules import check_offer
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.times import to_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.hours import hour_ns

ZONE, DAY = ZoneInfo("America/Chicago"), date(2022, 8, 17)


class Morning:
    def now_ns(self) -> int:
        return to_ns(datetime(2022, 8, 16, 9, 0, tzinfo=ZONE))


def market(participation: str) -> IsoMarket:
    rng = np.random.default_rng(1)
    return IsoMarket(Morning(), rng, Faults(FaultMenu(), rng), gate=time(10), participation=participation)


def bid(*segments: tuple[float, float], product: str = "ENERGY") -> ads.Bid:
    steps = tuple(ads.BidSegment(mw, price) for mw, price in segments)
    return ads.Bid("bid-1", "TL_NORTH", product, DAY, 18, False, steps)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (bid((0.42, 40.0)), "ercot-ader/increment: not a power of the market's grain; steps[0].power_w = 420000"),
        (bid((0.4, 5000.01)), "ercot-ader/cap: above the price cap"),
        (bid((0.4, 40.0), product="SPIN"), "ercot-ader/product: not the product; product = SPIN; limit ENERGY"),
    ],
)
def test_a_bid_that_breaks_a_rule_is_rejected_in_its_words_and_is_not_in_the_auction(asked: ads.Bid, says: str) -> None:
    iso = market("ercot-ader")
    answer = iso.submit(asked)
    assert answer.status == "REJECTED" and answer.reason.startswith(says) and not iso.bids
    assert market("").submit(asked).status == "SUBMITTED", "without a model it takes what it took before"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.15, 0.4, 1.0, 0.05]),
            st.sampled_from([-250.0, -300.0, 40.0, 40.005, 5000.0, 6000.0]),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_the_iso_takes_exactly_what_the_desks_validator_lets_leave(segments) -> None:
    segments = sorted(segments, key=lambda one: one[1])
    start_ns, end_ns = hour_ns(DAY, 18, False, ZONE)
    steps = tuple(Step(round(mw * 1e6, 3), price) for mw, price in segments)
    good = check_offer(MarketOffer("bid-1", "ercot-ader", start_ns, end_ns, steps), None).is_good
    assert (market("ercot-ader").submit(bid(*segments)).status == "SUBMITTED") == good
