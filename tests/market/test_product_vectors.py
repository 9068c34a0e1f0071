"""Products other than energy: vectors of 6-business.md section 4, and what holds whatever the numbers are."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from statistics import correlation

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.contract.eligibility import Case, judge, paid_performance
from tieline.errors import ConfigError
from tieline.market.baseline import firm_service_kw
from tieline.market.capacity import FirmLevel, Obligation, pay_for_performance, shortfall_charge, shortfall_rate
from tieline.market.ladders import Nomination, ladder_lines, pay_share
from tieline.market.netbenefits import Reduction, reduction_lines, threshold
from tieline.market.product import (
    BalancingRatio,
    FrequencyCurve,
    Ladder,
    NetCone,
    Regulation,
    SetPoint,
    parse_products,
    product_rules,
    rule_of,
    total_of,
)
from tieline.market.regulation import Hour, credit_lines, mileage, score, score_columns
from tieline.market.reserve import Block, afrr_delivery, block_lines, called_frac, fcr_delivery
from tieline.market.settlement import Basis, money, shortfall_causes

BASIS = Basis("s", "r", "1", "h", "d")
HOUR_NS = 3_600_000_000_000
MINUTE_NS = 60_000_000_000
D = Decimal
ISO_NE = rule_of("iso-ne-pay-for-performance", BalancingRatio, date(2025, 6, 24))
PJM = rule_of("pjm-capacity-shortfall", NetCone, date(2024, 7, 31))
LADDER = rule_of("us-ca-capacity-bidding", Ladder, date(2024, 7, 31))
REGULATION = rule_of("pjm-regulation-mileage", Regulation, date(2024, 7, 31))
FCR = rule_of("eu-fcr", FrequencyCurve, date(2024, 7, 31))
AFRR = rule_of("eu-afrr", SetPoint, date(2024, 7, 31))
causes = st.dictionaries(st.sampled_from(sorted(shortfall_causes())), st.floats(0, 50), max_size=4)
mw = st.decimals(0, 200, places=3)


def obligation(commitment: str, ratio: str, actual: str | None, minutes: int = 60, **known: float) -> Obligation:
    gave = None if actual is None else D(actual)
    return Obligation("r", 0, minutes * MINUTE_NS, D(commitment), D(ratio), gave, known)


def test_vector_s2_iso_new_england_charges_what_lacks_of_the_balancing_ratio() -> None:
    """Origin: S2: CSO 10, BR 0.72, actual 6.4, 55 min at 9337 -> -6,847.13."""
    lines = pay_for_performance(ISO_NE, BASIS, obligation("10", "0.72", "6.4", 55))
    assert total_of(lines) == D("-6847.13")
    assert [line.cause for line in lines] == ["underperformed"]


@pytest.mark.parametrize(
    ("day", "rate"),
    [
        (date(2018, 6, 1), 2000),
        (date(2021, 5, 31), 2000),
        (date(2021, 6, 1), 3500),
        (date(2024, 6, 1), 5455),
        (date(2025, 6, 1), 9337),
    ],
)
def test_the_day_that_is_settled_chooses_the_rate(day: date, rate: int) -> None:
    """Origin: ISO-NE Market Rule 1 III.13.7.2.5, rates by capacity commitment period (mark K)."""
    assert rule_of("iso-ne-pay-for-performance", BalancingRatio, day).rate_per_mwh == rate


def test_a_day_on_which_no_version_holds_is_refused_with_the_spans() -> None:
    with pytest.raises(ConfigError, match=r"not in force on 2018-05-31.*2018.1: 2018-06-01 to 2021-05-31"):
        rule_of("iso-ne-pay-for-performance", BalancingRatio, date(2018, 5, 31))
    assert rule_of("pjm-regulation-mileage", Regulation, date(2025, 9, 30)).version == "2012.1"
    with pytest.raises(ConfigError, match="not in force on 2025-10-01"):
        rule_of("pjm-regulation-mileage", Regulation, date(2025, 10, 1))


@given(mw, st.decimals(0, 1, places=3), mw, causes, st.integers(1, 600))
def test_pay_for_performance_is_exact_whatever_the_causes(commit, ratio, actual, known, minutes) -> None:
    lines = pay_for_performance(ISO_NE, BASIS, obligation(str(commit), str(ratio), str(actual), minutes, **known))
    assert total_of(lines) == money((actual - commit * ratio) * D(9337) * minutes / 60)
    assert len({line.id for line in lines}) == len(lines)


def test_pjm_charges_net_cone_by_365_over_30_and_a_twelfth_of_it_in_five_minutes() -> None:
    """Origin: 6-business.md section 4; by hand: 300 x 365 / 30 = 3650 $/MWh; 2 MW short over 5 min: 608.33."""
    assert shortfall_rate(PJM, D(300)) == 3650
    lines = shortfall_charge(PJM, BASIS, obligation("10", "0.8", "6", 5), D(300))
    assert total_of(lines) == D("-608.33")


@given(mw, st.decimals(0, 1, places=3), mw, causes)
def test_pjm_never_pays_and_charges_what_is_not_excused_alone(commit, ratio, actual, known) -> None:
    asked = obligation(str(commit), str(ratio), str(actual), **known)
    lines = shortfall_charge(PJM, BASIS, asked, D(300))
    lacking = max(commit * ratio - actual, D(0))
    excused = D(str(asked.lacking().get("iso_instruction", 0.0))) if lacking else D(0)
    assert float(-total_of(lines)) == pytest.approx(max(float(lacking - excused), 0.0) * 3650, abs=0.006)
    assert all(line.amount <= 0 for line in lines)
    assert sum(line.quantity for line in lines) == pytest.approx(actual - commit * ratio, abs=D("1e-8"))


def test_an_interval_that_no_meter_read_counts_as_nothing_and_says_so() -> None:
    lines = pay_for_performance(ISO_NE, BASIS, obligation("10", "0.72", None, 55, dno_limit=3.0))
    assert [line.cause for line in lines] == ["no_meter_data"]
    assert total_of(lines) == money(D("-7.2") * 9337 * 55 / 60)


def test_vector_g_a_firm_service_level_delivers_the_peak_less_the_load() -> None:
    """Origin: vector G: PLC 90, FSL 55, loss 1.031, load of HE17-20 of the synthetic site; nominated 33.295."""
    load = [48.0, 46.0, 40.0, 32.0]
    levels = [FirmLevel(D(90), D(55), D("1.031"), D(str(kw))) for kw in load]
    assert {level.nominated_mw for level in levels} == {D("0.033295")}
    assert [level.delivered_mw for level in levels] == [D("0.040512"), D("0.042574"), D("0.048760"), D("0.057008")]
    nominated, delivered = firm_service_kw(90.0, 55.0, 1.031, np.array(load))
    assert (nominated, *delivered) == pytest.approx([33.295, 40.512, 42.574, 48.76, 57.008])


@pytest.mark.parametrize(
    ("ratio", "paid"), [("1.2", 6300), ("1.0", 6000), ("0.8", 4800), ("0.7", 2100), ("0.55", -300)]
)
def test_vector_s4_a_ladder_pays_by_the_ratio(ratio: str, paid: int) -> None:
    """Origin: S4: 500 kW at 12 $/kW."""
    asked = Nomination("r", 0, HOUR_NS, D(500), D(500) * D(ratio), D(12))
    assert total_of(ladder_lines(LADDER, BASIS, asked)) == paid


def test_a_step_of_a_ladder_begins_at_its_ratio() -> None:
    assert [pay_share(LADDER, D(r)) for r in ("1.05", "0.75", "0.6", "0", "-3")] == [
        D("1.05"), D("0.75"), D("0.3"), D("-0.6"), D("-0.6"),
    ]  # fmt: skip


@given(st.decimals("0.001", 5000, places=3), st.decimals(-100, 6000, places=3), st.decimals(0, 99, places=4), causes)
def test_a_ladder_comes_to_its_share_to_the_cent_whatever_the_causes(nominated, delivered, price, known) -> None:
    lines = ladder_lines(LADDER, BASIS, Nomination("r", 0, HOUR_NS, nominated, delivered, price, known))
    assert total_of(lines) == money(nominated * pay_share(LADDER, delivered / nominated) * price)


def test_vector_s6_regulation_is_paid_with_mileage() -> None:
    """Origin: S6: 2 MW, score 0.91, 18.40 and 2.75, ratio 2.8 -> 47.502; to the cent 47.50."""
    hour = Hour("r", 0, HOUR_NS, D(2), D("18.40"), D("2.75"), D("2.8"), D("0.91"))
    assert hour.capability_mw * hour.score * hour.price == D("47.502")
    lines = credit_lines(BASIS, hour)
    assert total_of(lines) == D("47.50")
    assert [line.kind for line in lines] == ["credit", "shortfall"]


@given(st.decimals(0, 1, places=4), st.decimals(-20, 90, places=2), st.decimals(0, 9, places=2), causes)
def test_regulation_comes_to_its_score_to_the_cent(found, rmccp, ratio, known) -> None:
    hour = Hour("r", 0, HOUR_NS, D("2.345"), rmccp, D("1.13"), ratio, found, known)
    assert total_of(credit_lines(BASIS, hour)) == money(D("2.345") * found * (rmccp + ratio * D("1.13")))


def walk(seed: int, rows: int = 1, count: int = 360) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, count)).cumsum(axis=1)


def test_a_response_that_follows_exactly_scores_1_and_a_late_one_loses_by_its_lag() -> None:
    """By the formula: 60 s late: accuracy 1, delay |60 - 300| / 300 = 0.8."""
    signal = walk(1)[0]
    assert score(REGULATION, signal, signal).total == pytest.approx(1.0)
    for late, delay in ((1, 1.0), (6, 0.8), (30, 0.0)):
        found = score(REGULATION, signal[late:], signal[: len(signal) - late])
        assert (found.accuracy, found.delay, found.lag_s) == pytest.approx((1.0, delay, late * 10.0))


def test_half_of_the_signal_loses_half_of_the_precision_and_no_more() -> None:
    signal = walk(2)[0]
    found = score(REGULATION, signal, signal / 2)
    assert (found.accuracy, found.delay, found.precision) == pytest.approx((1.0, 1.0, 0.5))


def test_a_resource_that_does_nothing_scores_by_chance_alone_and_has_no_precision() -> None:
    """The design: a do-nothing resource still scores; its components give it away."""
    hum = np.random.default_rng(3).normal(size=(20, 360)) * 1e-3
    found = score_columns(REGULATION, walk(4, 20), hum)
    assert 0.2 < np.mean([each.total for each in found]) < 0.45
    assert max(each.precision for each in found) < 0.01
    still = score(REGULATION, walk(5)[0], np.full(360, 0.7))
    assert (still.accuracy, still.delay, still.still, math.isnan(still.lag_s)) == (0.0, 0.0, still.windows, True)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.integers(60, 90))
@settings(max_examples=15, deadline=None)
def test_the_columns_score_as_the_rule_reads(seed: int, scale: float, count: int) -> None:
    signal, noise = walk(seed, 3, count), walk(seed + 1, 3, count) * scale
    noise[2] = 1.5
    for row, found in enumerate(score_columns(REGULATION, signal, noise)):
        told = score(REGULATION, signal[row], noise[row])
        assert (found.accuracy, found.delay, found.precision) == pytest.approx(
            (told.accuracy, told.delay, told.precision), abs=1e-9
        )
        assert (found.still, found.windows) == (told.still, told.windows)


def test_the_correlation_is_pearsons_by_another_hand() -> None:
    """Origin: `statistics.correlation` of the standard library, over every window and lag."""
    signal, response = walk(6, count=70)[0], walk(7, count=70)[0]
    best = []
    for first in range(70 - 60 + 1):
        rs = [correlation(signal[first : first + 30], response[first + k : first + k + 30]) for k in range(31)]
        best.append(max(max(rs), 0.0))
    assert score(REGULATION, signal, response).accuracy == pytest.approx(np.mean(best))


def test_mileage_is_how_far_the_signal_moved() -> None:
    assert mileage(np.array([0.0, 0.5, -0.5, -0.5])) == 1.5


def test_vector_fcr_by_frequency() -> None:
    """Origin: 6-business.md section 4: 49.995 -> 0; 49.95 -> 0.25; 49.8 -> 1; 49.7 -> 1; 50.1 -> -0.5."""
    found = called_frac(FCR, np.array([49.995, 49.95, 49.8, 49.7, 50.1]))
    assert found.tolist() == pytest.approx([0.0, 0.25, 1.0, 1.0, -0.5])
    assert called_frac(FCR, np.array([50.01, 49.99, 50.0100001])).tolist() == pytest.approx([0.0, 0.0, -0.05], abs=1e-6)


@given(st.floats(49.0, 51.0), st.floats(0.0, 0.5))
def test_a_larger_deviation_never_calls_for_less_and_both_sides_are_alike(hertz: float, more: float) -> None:
    for rule in (each for each in product_rules() if isinstance(each, FrequencyCurve)):
        low, high = called_frac(rule, np.array([hertz - more, hertz]))
        assert low >= high
        assert called_frac(rule, np.array([100.0 - hertz]))[0] == pytest.approx(-high, abs=1e-6)


def test_fcr_counts_what_was_called_and_not_more() -> None:
    hertz, ones = np.array([49.8, 49.8, 50.1, 50.0, 49.8]), np.ones(5)
    found = fcr_delivery(FCR, ones, hertz, np.array([1.5, 0.4, 0.5, -3.0, np.nan]))
    assert found.given_mw.tolist() == pytest.approx([1.0, 0.4, 0.0, 0.0, 0.0])
    assert found.lacking_mw.tolist() == pytest.approx([0.0, 0.6, 0.5, 0.0, 1.0])
    assert found.frac == pytest.approx(1 - 2.1 / 3.5)
    assert found.causes({"offline": 0.5}) == pytest.approx(
        {"offline": 0.5, "no_meter_data": 1.0, "underperformed": 0.6}
    )


def test_afrr_gives_five_minutes_to_follow_and_no_more() -> None:
    """Origin: full activation time of 5 min (mark V): at 4-s samples 75 samples after the step the band closes."""
    point = np.array([0.0] * 10 + [4.0] * 100)
    found = afrr_delivery(AFRR, point, np.zeros(110), 4.0)
    assert found.lacking_mw[:85].tolist() == [0.0] * 85
    assert found.lacking_mw[85:].tolist() == [4.0] * 25
    followed = afrr_delivery(AFRR, point, np.concatenate([np.zeros(10), np.linspace(0, 4, 75), np.full(25, 5.0)]), 4.0)
    assert (followed.frac, float(followed.given_mw.max())) == (1.0, 4.0)
    turned = afrr_delivery(AFRR, np.array([4.0] * 50 + [-4.0] * 60), np.zeros(110), 4.0)
    assert turned.lacking_mw[60:].tolist() == [0.0] * 50  # called both ways within the time: nothing can lack
    unread = afrr_delivery(AFRR, np.full(100, 4.0), np.full(100, np.nan), 4.0)
    assert (unread.frac, float(unread.given_mw.sum())) == (0.0, 0.0)


@given(mw, st.decimals(0, 1, places=6), st.decimals(-9, 90, places=2), causes)
def test_a_block_is_paid_by_its_delivered_part_to_the_cent(sold, part, price, known) -> None:
    lines = block_lines(BASIS, Block("r", 0, 4 * HOUR_NS, sold, price, part, known))
    assert total_of(lines) == money(sold * 4 * part * price)


def test_the_threshold_is_where_the_supply_curves_elasticity_is_1() -> None:
    """By calculus: of `ln P = c + d Q` the elasticity is 1/(d Q), 1 at Q = 1/d, and there P = exp(c + 1)."""
    supply = np.linspace(20_000, 150_000, 80)
    found = threshold(np.exp(1.5 + supply / 70_000), supply)
    assert (found.price_per_mwh, found.supply_mw, found.fit) == pytest.approx((math.exp(2.5), 70_000, 1.0))
    for q, above in ((69_000.0, False), (71_000.0, True)):
        saved = q * (math.exp(1.5 + q / 70_000) - math.exp(1.5 + (q - 1) / 70_000))
        assert (saved > math.exp(1.5 + q / 70_000)) == above  # one MWh less: what load saves against what it is paid


def test_below_the_months_threshold_nothing_is_paid_and_the_line_says_why() -> None:
    def paid(lmp: str):
        return reduction_lines(BASIS, Reduction("r", 0, HOUR_NS, D(2), D(lmp), D("31.50")))

    assert total_of(paid("31.50")) == D("63.00")
    assert [(line.kind, line.cause, line.amount) for line in paid("31.49")] == [
        ("not_paid", "below_net_benefits", D("0.00"))
    ]


def test_vector_s8_by_verdict() -> None:
    """Origin: S8: 180 kW with 120 kW of diesel pays 60; test event 0; disadvantaged community without order 0."""
    p, g = np.array([180.0]), np.array([120.0])

    def paid(**where: str) -> float:
        case = Case("backup_generator", "diesel", "US-CA", "emergency_load_reduction", **where)
        return float(paid_performance(judge(case), p, g)[0])

    assert paid() == 60.0
    assert paid(event="test") == 0.0
    assert paid(event="emergency", location="disadvantaged_community") == 0.0
    assert paid(event="emergency", order="permits") == 180.0
    case = Case("backup_generator", "diesel", "US-CA", "emergency_load_reduction", event="test")
    assert paid_performance(judge(case), p, np.zeros(1))[0] == 180.0  # the engine stood still: all of it is load


ROW = '[[rule]]\nform = "{form}"\nid = "x"\nversion = "{v}"\nsource = "s"\ncertainty = "K"\nzone = "UTC"\n{more}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ROW.format(form="balancing-ratio", v=1, more='rate_per_mwh = "1"') * 2, "version 1 holds"),
        (ROW.format(form="ladder", v=1, more='least_ratio = "0"\nsteps = [{from = "1"}]'), "steps: give the lowest"),
        (ROW.format(form="frequency-curve", v=1, more="nominal_hz = 50.0\ndead_band_mhz = 1.0\ncurve = [[1.0, 0.0]]"), "curve: give two"),
        (ROW.format(form="balancing-ratio", v=1, more='rate_per_mwh = "1"\nspeed = 3'), "unknown field"),
        (ROW.format(form="balancing-ratio", v=1, more='rate_per_mwh = "1"\neffective_to = "2024-6-1"'), "effective_to = '2024-6-1': give a day"),
        (ROW.format(form="net-cone", v=1, more='days = 365\nhours = 30\nmeasured_by = "actual"\nexcuses = ["luck"]'), "excuses = 'luck'"),
    ],
)  # fmt: skip
def test_a_faulty_row_of_the_table_is_refused_by_its_name(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_products(text)


def test_every_rule_names_its_source_and_how_sure_it_is() -> None:
    for rule in product_rules():
        assert rule.source
        assert {"V", "K"} & set(rule.certainty.replace(";", " ").replace(",", " ").split())
