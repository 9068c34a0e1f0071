"""What an offer is expected to come to, held against all cases counted one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.curve import Cases
from tieline.market.offer import Step
from tieline.market.offer_value import Members, PriceCases, best_single, lacking_w, outlook

members = st.lists(st.tuples(st.integers(1, 900), st.floats(0.0, 1.0)), min_size=1, max_size=7)
prices = st.lists(st.integers(-20, 900), min_size=1, max_size=6)


def cases_of(values: list[int]) -> PriceCases:
    price = np.array(values, np.float64)
    return PriceCases(price, price, np.full(len(values), 1.0 / len(values)))


def counted(power_w: np.ndarray, there: np.ndarray) -> list[tuple[float, float]]:
    """Return (power, probability) of each way in which members are there or not."""
    return [
        (float(sum(np.compress(who, power_w))), float(np.prod(np.where(who, there, 1.0 - there))))
        for who in product([False, True], repeat=len(power_w))
    ]


@settings(max_examples=100, deadline=None)
@given(rows=members, at_w=st.integers(0, 5_000))
def test_how_often_a_few_members_lack_is_the_sum_of_the_cases_in_which_they_do(rows, at_w: int) -> None:
    power_w, there = np.array([row[0] for row in rows], np.float64), np.array([row[1] for row in rows])
    told = Members.of(power_w, there).short_frac(np.array([at_w + 0.5]))[0]
    assert told == pytest.approx(sum(chance for watts, chance in counted(power_w, there) if watts <= at_w), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(rows=members, at_w=st.integers(1, 5_000))
def test_what_lacks_is_the_mean_of_what_lacks_in_all_cases(rows, at_w: int) -> None:
    power_w, there = np.array([row[0] for row in rows], np.float64), np.array([row[1] for row in rows])
    told = lacking_w(Members.of(power_w, there), np.array([float(at_w)]))[0]
    assert told == pytest.approx(sum(c * max(at_w - w, 0.0) for w, c in counted(power_w, there)), abs=at_w / 100)


def test_many_members_are_spread_as_drawn_ones_are() -> None:
    rng = np.random.default_rng(3)
    power_w, there = rng.uniform(1e3, 9e3, 60), rng.uniform(0.8, 1.0, 60)
    drawn = (rng.random((40_000, 60)) < there) @ power_w + 12e3 * rng.standard_normal(40_000)
    at_w = np.quantile(drawn, [0.05, 0.25, 0.5, 0.75, 0.95])
    told = Members.of(power_w, there, 12e3).short_frac(at_w)
    assert told == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95], abs=0.02)


@settings(max_examples=100, deadline=None)
@given(
    blocks=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 300)), min_size=1, max_size=8), values=prices,
    least=st.integers(0, 900),
)  # fmt: skip
def test_no_other_single_segment_is_expected_to_bring_more(blocks, values, least: int) -> None:
    power_w = np.array([kw * 1e3 for kw, _ in blocks])
    price = np.sort(np.array([float(asked) for _, asked in blocks]))
    cases = cases_of(values)

    def brings(count: int) -> float:
        mine, asked = power_w[:count], price[:count]
        return float(np.mean([sum(mine * (p - asked)) if p >= asked[-1] else 0.0 for p in values]))

    enough = [k for k in range(1, len(blocks) + 1) if power_w[:k].sum() >= least * 1e3]
    found = best_single(power_w, price, least * 1e3, cases)
    assert found == 0 if not enough else brings(found) >= max(map(brings, enough)) - 1e-3
    assert not enough or found in enough


def test_of_a_dear_block_that_rarely_clears_the_one_segment_leaves_it_out() -> None:
    power_w, price = np.array([100e3, 100e3]), np.array([40.0, 400.0])
    assert best_single(power_w, price, 0.0, cases_of([100, 100, 100, 100, 450])) == 1
    assert best_single(power_w, price, 0.0, cases_of([5_000, 5_000])) == 2
    assert best_single(power_w, price, 150e3, cases_of([100])) == 2, "the market takes no less"
    assert best_single(power_w, price, 250e3, cases_of([100])) == 0


def test_what_is_expected_of_an_offer_is_the_mean_over_prices_and_power() -> None:
    """A megawatt at 50 and one at 200, of which half the time 1.5 MW is there: figures by hand."""
    steps, prices = [Step(1e6, 50.0), Step(1e6, 200.0)], cases_of([20, 100, 300, 300])
    told = outlook(steps, Cases(np.array([1.5e6, 2e6])), prices, 50.0, 60.0)
    assert told.price == pytest.approx(180.0)
    assert told.sold_w == pytest.approx((0 + 1e6 + 2e6 + 2e6) / 4)
    assert told.revenue == pytest.approx((0 + 100 + 600 + 600) / 4)
    assert told.lacks_w == pytest.approx(0.25e6 / 2, rel=0.01)
    assert told.penalty == pytest.approx(0.25 * 350 / 2, rel=0.01)
    assert (told.clears_frac, told.there_frac, told.marginal_cost) == (0.75, 0.5, 60.0)


def test_buying_back_is_dearer_the_more_one_is_averse_and_never_beyond_the_dearest_case() -> None:
    cases = PriceCases(np.zeros(3), np.array([30.0, 90.0, 600.0]), np.array([0.5, 0.4, 0.1]))
    told = [cases.bought_back(aversion, 0.2) for aversion in (0.0, 0.5, 1.0)]
    assert told == pytest.approx([111.0, 228.0, 345.0])
