"""Golden vectors of baselines, settlement and pay; each names its origin."""

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.contract.pay import owner_shares
from tieline.errors import ConfigError
from tieline.market.baseline import Event, compute, firm_service_kw, meter_before, rrmse
from tieline.market.rule import baseline_rule, baseline_rules
from tieline.market.settlement import claimable_kw, two_settlement

HOURS = [20, 20, 20, 20, 20, 22, 26, 30, 34, 38, 42, 46, 50, 56, 60, 64, 66, 64, 58, 50, 42, 34, 28, 24]
EVENT = date(2024, 7, 31)
HOLIDAYS = frozenset({date(2024, 7, 4), date(2024, 9, 2)})
EARLIER = frozenset({date(2024, 7, 24), date(2024, 7, 11)})
CALL = Event(EVENT, 16, 20)
WARMEST = {EVENT - timedelta(days=back): 20.0 + (3 * back) % 17 for back in range(60)}


def site() -> dict:
    """The synthetic site of the design: load(d, HE) = base[HE] + (7 ordinal(d)) mod 11 + 4 on weekends."""
    loads = {}
    for back in range(60):
        day = EVENT - timedelta(days=back)
        loads[day] = np.array(HOURS, float) + (7 * day.toordinal()) % 11 + (4 if day.weekday() >= 5 else 0)
    actual = loads[EVENT] + 6
    actual[16:20] -= 25
    actual[20:23] += 5
    loads[EVENT] = actual
    return loads


def july(*days: int) -> tuple:
    return tuple(date(2024, 7, day) for day in days)


def answer(rule: str):
    return compute(baseline_rule(rule), site(), CALL, event_days=EARLIER, holidays=HOLIDAYS, warmest=WARMEST)


def test_vector_a_caiso_10_in_10_with_ratio() -> None:
    found = answer("caiso-10-in-10")
    assert found.days == july(30, 29, 26, 25, 23, 22, 19, 18, 17, 16)
    assert found.factor == pytest.approx(187 / 181.9)
    assert found.baseline / found.factor == pytest.approx([71.3, 69.3, 63.3, 55.3])
    assert found.performance == pytest.approx([25.2991, 25.2430, 25.0748, 24.8505], abs=5e-5)
    assert found.performance.sum() == pytest.approx(100.4673, abs=5e-5)


def test_vector_b_highest_5_of_10_with_cap() -> None:
    found = answer("caiso-residential-5-in-10")
    assert found.days == july(26, 29, 18, 16, 30)
    assert found.factor == pytest.approx(1.0095137, abs=5e-8)
    assert found.performance.sum() == pytest.approx(105.7611, abs=5e-5)


def test_vector_d_pjm_4_of_5_with_symmetric_additive_adjustment() -> None:
    found = answer("pjm-3-day-types-saa")
    assert date(2024, 7, 23) in dict(found.excluded)
    assert found.addend == pytest.approx(0.25)
    assert found.baseline == pytest.approx([73, 71, 65, 57])
    assert found.performance == pytest.approx([25, 25, 25, 25])


def test_vector_e_nyiso_average_day() -> None:
    found = answer("nyiso-average-day")
    assert found.days == july(26, 15, 29, 18, 16)
    assert found.factor == pytest.approx(0.9708738, abs=5e-8)
    assert found.performance.sum() == pytest.approx(99.2427, abs=5e-5)


def test_vector_i_rrmse() -> None:
    cbl, load = np.array([95, 115, 118, 140, 120, 110.0]), np.array([100, 110, 120, 130, 125, 115.0])
    assert rrmse(cbl, load) == pytest.approx(0.04998, abs=5e-6)


@pytest.mark.parametrize("rule", ["caiso-10-in-10", "caiso-residential-5-in-10", "ercot-middle-8-of-10"])
@given(scale=st.floats(0.1, 50))
def test_scaling_the_load_scales_performance_under_ratio_rules(rule: str, scale: float) -> None:
    big = {day: values * scale for day, values in site().items()}
    found = compute(baseline_rule(rule), big, CALL, event_days=EARLIER, holidays=HOLIDAYS)
    assert found.performance == pytest.approx(answer(rule).performance * scale, rel=1e-9)


@given(added=st.floats(-15, 100))
def test_adding_a_constant_leaves_performance_unchanged_under_the_additive_rule(added: float) -> None:
    moved = {day: values + added for day, values in site().items()}
    found = compute(baseline_rule("pjm-3-day-types-saa"), moved, CALL, event_days=EARLIER, holidays=HOLIDAYS)
    assert found.performance == pytest.approx([25] * 4)


@pytest.mark.parametrize(
    "rule", sorted(n for n, r in baseline_rules().items() if r.needs in ("", "daily temperatures"))
)
def test_the_load_of_event_days_never_enters_the_pool(rule: str) -> None:
    load = site()
    for day in EARLIER:
        load[day] = load[day] * 1e6
    found = compute(baseline_rule(rule), load, CALL, event_days=EARLIER, holidays=HOLIDAYS, warmest=WARMEST)
    assert found.performance == pytest.approx(answer(rule).performance)


def test_gaps_are_left_out_by_name_and_too_few_days_are_refused() -> None:
    load = site()
    load[date(2024, 7, 30)] = np.full(24, np.nan)
    found = compute(baseline_rule("caiso-10-in-10"), load, CALL, event_days=EARLIER, holidays=HOLIDAYS)
    assert dict(found.excluded)[date(2024, 7, 30)] == "meter data with gaps"
    with pytest.raises(ValueError, match="needs 5"):
        compute(baseline_rule("caiso-10-in-10"), {EVENT: load[EVENT]}, CALL)
    with pytest.raises(ConfigError, match="give one of aemo-wdr-10-of-10, aemo-wdr-10-of-10-all-days, caiso-10-in-10"):
        baseline_rule("no-such")


def test_vector_s1_two_settlement_with_each_interval_at_its_own_price() -> None:
    prices = np.array([58, 61, 64, 70, 95, 120, 240, 310, 180, 90, 72, 66.0])
    delivered = np.repeat([3.6, 4.1, 3.9], 4)
    day_ahead, real_time = two_settlement(4.0, 62.15, delivered, prices, 1 / 12)
    assert (day_ahead, real_time) == (pytest.approx(248.60), pytest.approx(-5.4583, abs=5e-5))
    assert real_time != pytest.approx(-15.844, abs=1.0)


def test_vector_s5_owner_shares_are_exact_to_the_cent() -> None:
    kwh = {"a": 3.217, "b": 0.004, "c": 11.5, "d": -1.2, "e": 7.333}
    made = owner_shares(Decimal("1234.57"), Decimal(0), Decimal("0.20"), kwh)
    assert made.operator == Decimal("246.91")
    assert [str(made.owners[o]) for o in "abcde"] == ["144.07", "0.18", "515.01", "0.00", "328.40"]
    three = owner_shares(Decimal("100.00"), Decimal(0), Decimal(0), {"a": 1, "b": 1, "c": 1})
    assert [str(v) for v in three.owners.values()] == ["33.34", "33.33", "33.33"]


@given(
    st.integers(-10_000_000, 10_000_000),
    st.lists(st.floats(-5, 500), min_size=1, max_size=60),
    st.integers(0, 100),
)
def test_shares_and_the_operators_add_up_to_the_cent(cents: int, kwh: list, percent: int) -> None:
    total = Decimal(cents) / 100
    owners = {f"o{n}": amount for n, amount in enumerate(kwh)}
    made = owner_shares(total, Decimal(0), Decimal(percent) / 100, owners)
    assert made.total == total
    assert all(share >= 0 for share in made.owners.values())
    if total <= 0:
        assert made.operator == total
    elif not any(amount > 0 for amount in kwh):
        assert made.undistributed == total - made.operator


def test_vector_s7_no_kw_is_claimed_twice() -> None:
    assert claimable_kw(100, 40, [35]) == 25
    assert claimable_kw(100, 40, [35, 25]) == 0


def test_vector_g_pjm_capacity_by_firm_service_level() -> None:
    nominated, delivered = firm_service_kw(90, 55, 1.031, site()[EVENT][16:20])
    assert nominated == pytest.approx(33.295)
    assert delivered == pytest.approx([40.512, 42.574, 48.76, 57.008])


def test_vector_h_meter_before() -> None:
    load = site()[EVENT]
    assert load[15] == 71
    assert meter_before(load[15], load[16:20]).tolist() == [23, 25, 31, 39]
