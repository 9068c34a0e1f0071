"""Settlement: vectors of 6-business.md sections 4, versions that never overwrite, and sums that are exact."""

from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.contract.pay import owner_shares
from tieline.desk.facts import IntervalTracked, LineSettled
from tieline.desk.packed import Packed
from tieline.desk.paid import Metered
from tieline.desk.ports import Award
from tieline.desk.settle import Former, Owners, Settlement, amend, entries_of, line_of, settle_day
from tieline.market.baseline import Event, compute
from tieline.market.calendar import holidays_around, nerc_holidays, on_the_clock_of
from tieline.market.rule import baseline_rule
from tieline.market.settlement import ClaimsLedger, is_excused, money, shortfall_causes, split_lack
from tieline.plan.apportion import apportion, apportion_rows
from tieline.times import HOUR_NS, MINUTE_NS, market_day

STEP = 5 * MINUTE_NS
PRICES = [58, 61, 64, 70, 95, 120, 240, 310, 180, 90, 72, 66]
DELIVERED = np.repeat([3.6e6, 4.1e6, 3.9e6], 4)
CHICAGO = ZoneInfo("America/Chicago")
START = 1_660_000_000 // 3600 * HOUR_NS


def base():
    """Any baseline: settlement only names it."""
    load = {date(2024, 7, 31) - timedelta(days=back): np.full(24, 50.0) for back in range(20)}
    return compute(baseline_rule("caiso-10-in-10"), load, Event(date(2024, 7, 31), 16, 20))


BASE = base()


def award(name: str = "a", start_ns: int = START, power_w: float = 4e6, price: float = 62.15) -> Award:
    return Award(name, f"o-{name}", "p", "ENERGY", start_ns, start_ns + HOUR_NS, power_w, price)


def tracked(causes: dict | None = None, withheld: dict | None = None, rows: int = 5) -> dict[int, IntervalTracked]:
    gave = Packed.of(np.arange(rows, dtype=np.int32))
    share = Packed.of(np.linspace(1.0, 2.0, rows))
    return {
        START + k * STEP: IntervalTracked(
            "p", START + k * STEP, START + (k + 1) * STEP, 4e6, 3.5e6, causes or {}, gave, share, 1, withheld or {}
        )
        for k in range(12)
    }


def metered(delivered=DELIVERED, prices=PRICES, **more) -> Metered:
    when = [START + k * STEP for k in range(12)]
    return Metered(
        dict(zip(when, map(float, delivered), strict=True)),
        dict(zip(when, map(float, prices), strict=True)),
        (BASE,),
        **more,
    )


def owners(rows: int = 5, count: int = 3, frac: str = "0.20") -> Owners:
    return Owners((np.arange(rows) % count).astype(np.int32), [f"s{n}" for n in range(count)], Decimal(frac))


def settled(facts=None, meters: Metered | None = None, awards=None) -> Settlement:
    return settle_day("p", awards or [award()], tracked() if facts is None else facts, meters or metered(), owners())


def recorded(*versions: Settlement) -> Former:
    """Return what a journal that holds these versions says was settled."""
    lines = []
    for made in versions:
        for entry in entries_of("p", made, [award()]):
            if isinstance(entry.fact, LineSettled):
                lines.append(line_of(entry.fact, entry.caused_by))
    last = versions[-1]
    return Former(last.statement, last.version, last.basis.input_hash, tuple(lines))


def test_vector_s1_each_interval_at_its_own_price() -> None:
    """Origin: 6-business.md S1: 248.60 - 5.4583 = 243.1417; averaging the hour's prices would give -15.844."""
    made = settled()
    by_kind = {
        kind: sum(x.amount for x in made.lines if x.kind == kind) for kind in ("day_ahead", "real_time", "shortfall")
    }
    assert by_kind["day_ahead"] == Decimal("248.60")
    assert float(by_kind["real_time"] + by_kind["shortfall"]) == pytest.approx(-5.4583, abs=12 * 0.005)
    assert made.revenue - sum(made.bought_back.values()) == made.total
    assert made.adds_up


def test_every_line_names_its_rule_inputs_data_and_causes_and_a_second_run_is_bit_identical() -> None:
    made, again = settled(), settled()
    assert entries_of("p", made, [award()]) == entries_of("p", again, [award()])
    for entry in entries_of("p", made, [award()]):
        if isinstance(entry.fact, LineSettled):
            assert (entry.fact.rule, entry.fact.rule_version) == ("caiso-10-in-10", "2024.1")
            assert entry.fact.input_hash == made.basis.input_hash
            assert entry.fact.data_version.startswith("data:")
            assert entry.caused_by[0].startswith("award:")
            assert entry.fact.kind == "day_ahead" or entry.caused_by[1].startswith("interval:")


@given(st.sets(st.integers(0, 4)))
def test_who_has_no_readings_of_the_day_has_no_part_and_the_others_have_all(without: set[int]) -> None:
    made = settled(meters=metered(unmetered=frozenset(without)))
    assert made.adds_up
    for row in range(5):
        assert (made.row_milli_wh[row] == 0) == (row in without)
    assert (made.loose_milli_wh == 0) == (len(without) < 5)  # nobody else can be named: then it is nobody's
    assert (made.basis.input_hash == settled().basis.input_hash) == (not without)


CHANGES = {
    "price": lambda: settled(meters=metered(prices=[57, *PRICES[1:]])),
    "performance": lambda: settled(meters=metered(DELIVERED + 1e5)),
    "cause": lambda: settled(tracked({"opt_out": 1e5})),
    "prohibited": lambda: settled(meters=metered(prohibited_w={START: 1e6})),
    "award": lambda: settled(awards=[award(price=62.16)]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changes_the_statement_and_its_lines_are_others(what: str) -> None:
    first, then = settled(), CHANGES[what]()
    assert first.statement != then.statement
    assert not {line.id for line in first.lines} & {line.id for line in then.lines}


@pytest.mark.parametrize("what", CHANGES)
def test_a_correction_becomes_adjustment_lines_and_all_lines_together_are_right(what: str) -> None:
    first, then = settled(), CHANGES[what]()
    second = amend(recorded(first), then)
    assert second is not None
    assert (second.version, second.former) == (2, first.statement)
    assert {line.kind for line in second.adjusting} <= {"adjustment"}
    assert first.total + sum(line.amount for line in second.adjusting) == then.total
    assert amend(recorded(first, second), then) is None
    back = amend(recorded(first, second), settled())
    assert back is not None
    assert sum(line.amount for line in recorded(first, second, back).lines) == first.total
    assert len({e.id for made in (first, second, back) for e in entries_of("p", made, [award()])}) == sum(
        len(entries_of("p", made, [award()])) for made in (first, second, back)
    )


@given(
    st.lists(st.floats(-1e6, 8e6), min_size=12, max_size=12), st.lists(st.floats(-1e6, 8e6), min_size=12, max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_adjusted_energy_and_money_are_exact_over_any_number_of_corrections(one: list, two: list) -> None:
    causes = {"opt_out": 3.3e5, "dno_limit": 7.7e5}
    versions = [settled(tracked(causes), metered(np.array(one)))]
    for values in (two, one, two):
        made = amend(recorded(*versions), settled(tracked(causes), metered(np.array(values))))
        if made is not None:
            versions.append(made)
    lines = recorded(*versions).lines
    assert sum(line.amount for line in lines) == versions[-1].total
    assert sum(round(line.energy_wh * 1e3) for line in lines) == sum(
        round(x.energy_wh * 1e3) for x in versions[-1].lines
    )


def test_a_shortfall_is_split_by_cause_to_the_last_cent_and_milliwatt_hour() -> None:
    made = settled(tracked({"opt_out": 1e5, "dno_limit": 1e5}, {"iso_instruction": 1e5}))
    first = [line for line in made.lines if line.start_ns == START and line.kind == "shortfall"]
    assert [line.cause for line in first] == ["baseline_error", "dno_limit", "iso_instruction", "opt_out"]
    assert sum(round(line.energy_wh * 1e3) for line in first) == round(-0.4e6 / 12 * 1e3)
    assert sum(line.amount for line in first) == money(-0.4 / 12 * 58)
    assert [line.excused for line in first] == [False, True, True, False]


@given(st.floats(0.1, 1e7), st.dictionaries(st.sampled_from(sorted(shortfall_causes())), st.floats(0, 1e7)))
def test_the_causes_of_a_lack_add_up_to_it(lacking_w: float, known: dict) -> None:
    found = split_lack(lacking_w, known, "baseline_error")
    assert sum(found.values()) == pytest.approx(lacking_w, rel=1e-9, abs=2e-3)
    assert all(watts >= 0 for watts in found.values())


def test_only_causes_that_the_table_excuses_are_excused() -> None:
    assert is_excused("dno_limit")
    assert not is_excused("opt_out")
    assert not is_excused("no such cause")


def test_excused_shortfall_is_paid_for_and_counts_as_delivered_in_what_the_pool_answers_for_alone() -> None:
    excused, not_so = settled(tracked({"dno_limit": 4e6})), settled(tracked({"opt_out": 4e6}))
    assert excused.total == not_so.total
    assert excused.bought_back["dno_limit"] == not_so.bought_back["opt_out"] > 0
    assert excused.excused_wh == {"dno_limit": pytest.approx(0.5e6 / 3)}  # a third of an hour each of 0.4 and 0.1 MW
    assert not_so.excused_wh == {}
    assert not_so.performance_excused_frac == not_so.performance_frac < 1.0
    assert excused.performance_frac == not_so.performance_frac
    assert excused.performance_excused_frac == pytest.approx(excused.performance_frac + 0.5 / 3 / 4)
    awarded_wh = sum(line.energy_wh for line in excused.lines if line.kind == "day_ahead")
    for made in (excused, not_so):
        assert made.performance_frac == pytest.approx(made.delivered_wh / awarded_wh)


def test_missing_meter_data_is_zero_performance_and_says_so() -> None:
    gaps = DELIVERED.copy()
    gaps[2] = np.nan
    made = settled(tracked({"opt_out": 1e5}), metered(gaps))
    third = [line for line in made.lines if line.start_ns == START + 2 * STEP]
    assert [line.cause for line in third] == ["no_meter_data"]
    assert third[0].energy_wh == pytest.approx(-4e6 / 12)
    assert made.adds_up
    del (left := metered()).performance_w[START]
    assert any(line.cause == "no_meter_data" for line in settled(meters=left).lines)


def test_a_baseline_with_gaps_in_the_event_counts_them_as_zero_and_flags_them() -> None:
    load = {date(2024, 7, 31) - timedelta(days=back): np.full(24, 50.0) for back in range(20)}
    load[date(2024, 7, 31)] = load[date(2024, 7, 31)] - 10.0
    load[date(2024, 7, 31)][17] = np.nan
    load[date(2024, 7, 31)][13] = np.nan
    load[date(2024, 7, 30)][3] = np.nan  # a gap far from event and adjustment does no harm
    found = compute(baseline_rule("caiso-10-in-10"), load, Event(date(2024, 7, 31), 16, 20))
    assert found.performance[1] == 0.0
    assert found.days[0] == date(2024, 7, 30)
    assert any("zero performance" in flag for flag in found.flags)
    assert any("adjustment window" in flag for flag in found.flags)


def test_an_interval_without_a_price_is_refused_never_averaged() -> None:
    with pytest.raises(ValueError, match="never an average"):
        settled(meters=metered(prices=[float("nan"), *PRICES[1:]]))


def test_vector_s7_no_watt_is_paid_twice_over_markets() -> None:
    """Origin: 6-business.md S7: baseline 100, metered 40, wholesale 35: retail may claim at most 25."""
    ledger = ClaimsLedger()
    assert ledger.claim("wholesale", "r", 0, 35.0, 60.0) == 35.0
    assert ledger.claim("retail", "r", 0, 60.0, 60.0) == 25.0
    assert ledger.claim("third", "r", 0, 60.0, 60.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=12), st.floats(0, 150))
def test_claims_on_an_interval_never_exceed_what_was_delivered(wishes: list, delivered: float) -> None:
    ledger, held = ClaimsLedger(), {}
    for market, wanted in wishes:
        held[market] = ledger.claim(market, "r", 0, wanted, delivered)
        assert sum(held.values()) <= delivered + 1e-9


def test_two_awards_of_one_hour_share_what_was_delivered_once() -> None:
    both = [award("a", power_w=3e6), award("b", power_w=2e6)]
    made = settled(meters=metered(np.full(12, 4e6)), awards=both)
    energy = sum(line.energy_wh for line in made.lines)
    assert energy == pytest.approx(4e6)
    assert {line.cause for line in made.lines if line.kind == "shortfall"} == {"baseline_error"}, "nobody else claimed"


@given(st.floats(0.0, 5e6), st.floats(0.0, 2e6), st.floats(0.0, 2e6), st.floats(0.0, 2e6))
def test_each_of_several_awards_bears_its_part_of_every_cause_and_all_parts_are_the_cause(
    gave_w: float, elsewhere_w: float, opted_w: float, limit_w: float
) -> None:
    """What another market was paid for is that, and what the first award of an hour took is no cause of the second's."""
    both = [award("a", power_w=3e6), award("b", power_w=2e6)]
    claimed = {START + at * STEP: elsewhere_w for at in range(12)}
    facts = tracked({"opt_out": opted_w, "dno_limit": limit_w})
    made = settled(facts, metered(np.full(12, gave_w), claimed_w=claimed), both)
    paid_w = max(gave_w - elsewhere_w, 0.0)
    lacks_w = 5e6 - paid_w
    found: dict[str, float] = {}
    for line in made.lines:
        if line.kind == "shortfall":
            found[line.cause] = found.get(line.cause, 0.0) - line.energy_wh
    assert sum(found.values()) == pytest.approx(lacks_w, abs=1.0)
    known = {"claimed_elsewhere": min(elsewhere_w, gave_w), "opt_out": opted_w, "dno_limit": limit_w}
    scale = min(1.0, lacks_w / sum(known.values())) if sum(known.values()) > 0 else 0.0
    for cause, watts in known.items():
        assert found.get(cause, 0.0) == pytest.approx(watts * scale, abs=1.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e5, 9e6), min_size=12, max_size=12))
def test_rows_sum_to_the_pool_exactly(values: list) -> None:
    made = settled(meters=metered(np.array(values)))
    pool = sum(round(line.energy_wh * 1e3) for line in made.lines)
    assert int(made.row_milli_wh.sum()) + made.loose_milli_wh == pool
    assert made.adds_up


def test_owner_shares_are_exact_at_a_hundred_thousand_owners() -> None:
    rng = np.random.default_rng(0)
    kwh = {f"o{n}": float(value) for n, value in enumerate(np.round(rng.gamma(2.0, 3.0, 100_000), 3))}
    made = owner_shares(Decimal("1234567.89"), Decimal("0.03"), Decimal("0.2"), kwh)
    assert made.total == Decimal("1234567.86")
    per_kwh = float(made.total - made.operator) / sum(kwh.values())
    worst = max(abs(float(made.owners[name]) - amount * per_kwh) for name, amount in kwh.items())
    assert worst <= 0.01


def test_nobody_delivered_leaves_the_owners_money_with_the_owners_and_a_loss_with_the_operator() -> None:
    idle = owner_shares(Decimal("100.00"), Decimal(0), Decimal("0.2"), {"a": 0, "b": -1})
    assert (idle.operator, idle.undistributed) == (Decimal("20.00"), Decimal("80.00"))
    loss = owner_shares(Decimal("10.00"), Decimal("25.00"), Decimal("0.2"), {"a": 5})
    assert (loss.operator, loss.owners) == (Decimal("-15.00"), {"a": Decimal("0.00")})
    for frac, kwh, says in ((Decimal(2), {}, "operator_frac"), (Decimal(0), {"a": float("nan")}, "kwh of a")):
        with pytest.raises(ValueError, match=says):
            owner_shares(Decimal(1), Decimal(0), frac, kwh)


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_apportioned_units_are_all_there_and_within_one_of_their_exact_share(total: int, weights: list) -> None:
    shares, rows = apportion(total, weights), apportion_rows(total, np.array(weights, float))
    mass = sum(weights)
    for found in (shares, rows.tolist()):
        assert sum(found) == (total if mass else 0)
        assert all(abs(s - total * w / mass) <= 1 + 1e-6 for s, w in zip(found, weights, strict=True) if mass)


def test_pjm_drops_low_use_days_where_the_window_ends_before_the_pool_is_full() -> None:
    day = date(2024, 7, 31)
    load = {day - timedelta(days=back): np.full(24, 100.0) for back in (0, 1, 2, 5, 6)}
    load[day - timedelta(days=6)] = np.full(24, 1.0)
    with pytest.raises(ValueError, match="3 like days"):
        compute(baseline_rule("pjm-3-day-types-saa"), load, Event(day, 16, 20))


def test_weekends_are_picked_by_their_own_counts() -> None:
    saturday = date(2024, 7, 27)
    load = {saturday - timedelta(days=7 * back): np.full(24, 10.0 * (back + 1)) for back in range(7)}
    found = compute(baseline_rule("pjm-3-day-types-saa"), load, Event(saturday, 16, 20))
    assert found.days == (date(2024, 7, 6), date(2024, 7, 13))
    residential = {**load, **{saturday - timedelta(days=7 * b + 1): np.full(24, 5.0) for b in range(7)}}
    del residential[date(2024, 7, 26)]
    found = compute(baseline_rule("caiso-residential-5-in-10"), load, Event(saturday, 12, 14))
    assert len(found.days) == 3


@pytest.mark.parametrize(("day", "hours"), [(date(2022, 3, 13), 23), (date(2022, 11, 6), 25)])
def test_a_day_of_23_or_25_hours_has_a_baseline_at_the_same_time_of_day(day: date, hours: int) -> None:
    begin, end = market_day(day - timedelta(days=70), CHICAGO).start_ns, market_day(day, CHICAGO).end_ns
    starts = np.arange(begin, end, STEP, dtype=np.int64)
    local = (starts - begin) // STEP % 288 / 12.0
    from tieline.times import from_ns

    clock = np.array([from_ns(int(at)).astimezone(CHICAGO).hour for at in starts[::12]], float).repeat(12)
    assert len(local) == len(clock)
    load = on_the_clock_of(day, CHICAGO, starts, clock + 1.0)
    assert len(load[day]) == hours * 12
    first = (hours - 7) * 12  # five in the afternoon, counted from midnight on this day
    event = Event(day, first, first + 24, 12)
    found = compute(baseline_rule("caiso-10-in-10"), load, event, holidays=holidays_around(day))
    assert set(found.baseline.tolist()) == {18.0, 19.0}
    assert found.performance == pytest.approx(np.zeros(24))
    assert len(found.days) == 10


def test_holidays_are_no_business_days_and_earlier_events_stay_out() -> None:
    assert date(2022, 7, 4) in nerc_holidays(2022)
    assert date(2022, 9, 5) in nerc_holidays(2022)
    assert date(2022, 11, 24) in nerc_holidays(2022)
    assert date(2023, 1, 2) in nerc_holidays(2023)
    assert date(2022, 5, 30) in nerc_holidays(2022)
    day = date(2022, 7, 6)
    load = {day - timedelta(days=back): np.full(24, 5.0) for back in range(20)}
    found = compute(
        baseline_rule("caiso-10-in-10"), load, Event(day, 16, 20), event_days=frozenset({date(2022, 7, 5)}),
        holidays=holidays_around(day),
    )  # fmt: skip
    assert date(2022, 7, 4) not in found.days
    assert dict(found.excluded)[date(2022, 7, 5)] == "an event day"
