"""Awards: only the one answer to an offer of ours, within it, binds us."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.market.award import award_refusal
from tieline.times import HOUR_NS


@dataclass(frozen=True)
class Part:
    power_w: float


@dataclass(frozen=True)
class Offered:
    pool: str = "pool-1"
    product: str = "ENERGY"
    start_ns: int = HOUR_NS
    end_ns: int = 2 * HOUR_NS
    segments: tuple[Part, ...] = (Part(3e5), Part(5e5))


@dataclass(frozen=True)
class Awarded:
    id: str = "award-1"
    offer: str = "offer-1"
    pool: str = "pool-1"
    product: str = "ENERGY"
    start_ns: int = HOUR_NS
    end_ns: int = 2 * HOUR_NS
    power_w: float = 8e5
    price_per_mwh: float = 60.0


@given(power_w=st.floats(-2e6, 2e6), start=st.integers(-3, 3), length=st.integers(-2, 4))
def test_an_award_binds_only_within_the_power_and_the_time_that_was_offered(power_w, start, length) -> None:
    begin_ns = HOUR_NS + start * HOUR_NS // 4
    award = Awarded(power_w=power_w, start_ns=begin_ns, end_ns=begin_ns + length * HOUR_NS // 4)
    within = award.start_ns >= HOUR_NS and award.end_ns <= 2 * HOUR_NS and length > 0 and 0 <= power_w <= 8e5 + 1.0
    assert (award_refusal(award, Offered()) is None) == within


@pytest.mark.parametrize(
    ("award", "says"),
    [
        (Awarded(pool="pool-2"), "the award is for another pool or product; pool = pool-2/ENERGY; limit pool-1/ENERGY"),
        (Awarded(product="REG"), "the award is for another pool or product; pool = pool-1/REG; limit pool-1/ENERGY"),
        (Awarded(power_w=800_002.0), "more was awarded than offered; power_w = 800002; limit 800000"),
        (Awarded(power_w=float("nan")), "more was awarded than offered; power_w = nan; limit 800000"),
        (Awarded(power_w=-8e5), "the award is the other way than the offer; power_w = -800000; limit 0 to 800000"),
        (Awarded(price_per_mwh=float("inf")), "the award has no price; price_per_mwh = inf; limit a finite number"),
    ],
)
def test_an_award_that_is_no_answer_to_its_offer_is_refused_by_name(award: Awarded, says: str) -> None:
    assert str(award_refusal(award, Offered())) == says


def test_an_award_for_an_offer_that_was_never_made_is_refused() -> None:
    assert str(award_refusal(Awarded(), None)).startswith("an award for an offer that we never made; offer = offer-1")


def test_a_second_award_for_one_offer_is_refused_unless_it_is_of_another_part_of_its_time() -> None:
    """Two awards of 800 kW for one offer of 800 kW would owe 1.6 MW of a reservation of 0.8."""
    first, second = Awarded(), Awarded(id="award-2")
    refusal = award_refusal(second, Offered(), [first])
    assert refusal is not None and (refusal.reason, refusal.holder) == ("the offer has an award already", "award-1")
    assert award_refusal(first, Offered(), [first]) is None, "the same award again is the same award"
    halves = replace(first, end_ns=3 * HOUR_NS // 2), replace(second, start_ns=3 * HOUR_NS // 2)
    assert award_refusal(halves[1], Offered(), [halves[0]]) is None
    assert award_refusal(second, Offered(), [replace(first, offer="offer-2")]) is None
