"""The price of an award against the offer that it answers: taken in any case, and disputed where the offer rules it out."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.market.award import award_refusal, offered_price, price_dispute
from tieline.times import HOUR_NS


@dataclass(frozen=True)
class Part:
    power_w: float
    price_per_mwh: float


@dataclass(frozen=True)
class Offered:
    segments: tuple[Part, ...] = (Part(3e5, 40.0), Part(1e5, 60.0))
    product: str = "ENERGY"
    pool: str = "pool-1"
    start_ns: int = HOUR_NS
    end_ns: int = 2 * HOUR_NS


@dataclass(frozen=True)
class Awarded:
    power_w: float
    price_per_mwh: float
    product: str = "ENERGY"
    id: str = "award-1"
    offer: str = "offer-1"
    pool: str = "pool-1"
    start_ns: int = HOUR_NS
    end_ns: int = 2 * HOUR_NS


DOWN = Offered((Part(-3e5, 60.0), Part(-1e5, 40.0)))  # a bid: the more is taken the less is paid
RESERVE_DOWN = Offered((Part(-3e5, 4.0), Part(-1e5, 6.0)), "REG")


@pytest.mark.parametrize(
    ("award", "offer", "says"),
    [
        (Awarded(4e5, 10.0), Offered((Part(4e5, 40.0),)),
         "the award is priced below the offer; price_per_mwh = 10.00; limit 40.00 $/MWh or more at 400.0 kW of offer offer-1"),
        (Awarded(4e5, 50.0), Offered(),
         "the award is priced below the offer; price_per_mwh = 50.00; limit 60.00 $/MWh or more at 400.0 kW of offer offer-1"),
        (Awarded(3e5, 50.0), Offered(), ""),  # its last kilowatt lies in the first step
        (Awarded(3e5 + 0.9, 50.0), Offered(), ""),  # a watt is rounding
        (Awarded(3e5 + 2.0, 50.0), Offered(),
         "the award is priced below the offer; price_per_mwh = 50.00; limit 60.00 $/MWh or more at 300.0 kW of offer offer-1"),
        (Awarded(3e5, 39.996), Offered(), ""),  # 40.00 in whole cents
        (Awarded(3e5, 39.99), Offered(),
         "the award is priced below the offer; price_per_mwh = 39.99; limit 40.00 $/MWh or more at 300.0 kW of offer offer-1"),
        (Awarded(0.0, -500.0), Offered(), ""),  # nothing was sold
        (Awarded(4e5, -25.0), Offered((Part(4e5, -30.0),)), ""),  # offered to give for a fee
        (Awarded(4e5, -35.0), Offered((Part(4e5, -30.0),)),
         "the award is priced below the offer; price_per_mwh = -35.00; limit -30.00 $/MWh or more at 400.0 kW of offer offer-1"),
        (Awarded(4e5, -1e3), Offered((Part(4e5, float("-inf")),)), ""),  # a schedule of our own: at any price
        (Awarded(4e5, -1e3), Offered((Part(4e5, float("nan")),)), ""),
        (Awarded(-4e5, 39.0), DOWN, ""),
        (Awarded(-4e5, 45.0), DOWN,
         "the award costs more than was bid; price_per_mwh = 45.00; limit 40.00 $/MWh or less at 400.0 kW of offer offer-1"),
        (Awarded(-3e5, 45.0), DOWN, ""),
        (Awarded(-4e5, 7.0, "REG"), RESERVE_DOWN, ""),  # kept ready downward: it is paid for
        (Awarded(-4e5, 5.0, "REG"), RESERVE_DOWN,
         "the award is priced below the offer; price_per_mwh = 5.00; limit 6.00 $/MWh or more at 400.0 kW of offer offer-1"),
    ],
)  # fmt: skip
def test_a_price_is_held_against_that_of_the_step_in_which_the_awarded_power_ends(
    award: Awarded, offer: Offered, says: str
) -> None:
    assert award_refusal(award, offer) is None, "it binds in any case"
    assert str(price_dispute(award, offer) or "") == says


steps = st.lists(st.tuples(st.integers(1, 500), st.integers(-5_000, 20_000)), min_size=1, max_size=10)


@given(steps, st.integers(1, 5_000), st.integers(-6_000, 21_000))
def test_whoever_is_cleared_where_his_curve_crosses_the_price_disputes_nothing(
    made: list[tuple[int, int]], most_kw: int, cents: int
) -> None:
    """A market that clears a curve at a price: all steps below it whole, none above it; all of it is right."""
    curve = tuple(Part(kw * 1e3, price / 100) for kw, price in sorted(made, key=lambda one: one[1]))
    offer, price = Offered(curve), cents / 100
    sold_w = min(sum(part.power_w for part in curve if part.price_per_mwh <= price), most_kw * 1e3)
    assert price_dispute(Awarded(sold_w, price), offer) is None
    dearer = [part.price_per_mwh for part in curve if part.price_per_mwh > price]
    if dearer and sold_w == sum(part.power_w for part in curve if part.price_per_mwh <= price):
        found = price_dispute(Awarded(sold_w + 500.0, price), offer)
        assert found is not None and offered_price(offer, sold_w + 500.0) == dearer[0]
