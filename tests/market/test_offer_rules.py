"""The validator: every rule of every model with a case just inside and just outside, and the same over columns."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from offers_made import MODELS, NAMES, good

from tieline.errors import ConfigError
from tieline.market.gates import closes_ns, opens_ns
from tieline.market.offer import BIT, FIGURES, RULES, Behind, MarketOffer, Step
from tieline.market.offer_columns import OfferColumns, check_columns, rules_in
from tieline.market.offer_rules import check_offer, check_with
from tieline.times import HOUR_NS, iso, parse_iso

EACH_MODEL = pytest.mark.parametrize(("market", "model"), MODELS, ids=NAMES)


def faults(market, model, offer: MarketOffer, now_ns: int | None) -> list[str]:
    return [refusal.rule.rpartition("/")[2] for refusal in check_with(market, model, offer, now_ns).refusals]


def with_power(offer: MarketOffer, power_w: float) -> MarketOffer:
    """Return the offer with another power, and with as much more energy behind it."""
    held_wh = (offer.behind.energy_wh or 0.0) * power_w / offer.power_w
    return replace(offer, steps=(Step(power_w, offer.steps[0].price),), behind=replace(offer.behind, energy_wh=held_wh))


def with_price(offer: MarketOffer, price: float) -> MarketOffer:
    return replace(offer, steps=(Step(offer.steps[0].power_w, price),))


@EACH_MODEL
def test_an_offer_made_from_a_models_own_figures_is_taken(market, model) -> None:
    offer, now_ns = good(market, model)
    checked = check_offer(offer, now_ns)
    assert checked.refusals == ()
    open_rules = {rule for rule, key in FIGURES.items() if key != "gates" and getattr(model, key) is None}
    gates = set() if model.gates else {"gate", "opens"}
    if model.gates and market.gate_of(model.gates[0]).opens is None:
        gates = {"opens"}
    assert set(checked.untested) == open_rules | gates


@EACH_MODEL
def test_power_is_taken_down_to_the_least_and_up_to_the_most_in_the_markets_grain(market, model) -> None:
    offer, now_ns = good(market, model)
    unit_w, least_w, most_w = model.watts("step_mw"), model.watts("min_mw"), model.watts("max_mw")
    assert unit_w and least_w
    assert faults(market, model, with_power(offer, least_w), now_ns) == []
    # A unit less may be 0 W, which is no power at all: half the least is always below it.
    assert "minimum" in faults(market, model, with_power(offer, least_w - 0.5 * unit_w), now_ns)
    assert faults(market, model, with_power(offer, least_w + unit_w), now_ns) == []
    assert faults(market, model, with_power(offer, least_w + 0.5 * unit_w), now_ns) == ["increment"]
    assert faults(market, model, with_power(offer, least_w + unit_w + 1.0), now_ns) == ["increment"]
    if most_w is not None:
        assert faults(market, model, with_power(offer, most_w), now_ns) == []
        assert faults(market, model, with_power(offer, most_w + unit_w), now_ns) == ["maximum"]


@EACH_MODEL
def test_prices_are_taken_from_floor_to_cap_in_the_markets_grain(market, model) -> None:
    offer, now_ns = good(market, model)
    floor, cap, tick = model.number("price_floor"), model.number("price_cap"), model.number("price_tick")
    for end, outwards, rule in ((floor, -1.0, "floor"), (cap, 1.0, "cap")):
        if end is not None:
            assert faults(market, model, with_price(offer, end), now_ns) == []
            assert faults(market, model, with_price(offer, end + outwards * (tick or 0.01)), now_ns) == [rule]
    if tick is not None:
        price = offer.steps[0].price
        assert faults(market, model, with_price(offer, price + tick), now_ns) == []
        assert faults(market, model, with_price(offer, price + 0.5 * tick), now_ns) == ["tick"]


@EACH_MODEL
def test_a_curve_has_at_most_as_many_steps_as_the_model_says_and_its_prices_go_one_way(market, model) -> None:
    offer, now_ns = good(market, model)
    most, unit_w = int(model.number("points_most")), model.watts("min_mw")
    held = replace(offer.behind, energy_wh=1e12)
    base, tick = offer.steps[0].price, model.number("price_tick") or 1.0
    sign = -1.0 if offer.direction == "down" and model.sells == "energy" else 1.0
    rising = tuple(Step(unit_w, base + sign * at * tick) for at in range(most + 1))
    assert faults(market, model, replace(offer, steps=rising[:most], behind=held), now_ns) == []
    assert "points" in faults(market, model, replace(offer, steps=rising, behind=held), now_ns)
    assert faults(market, model, replace(offer, steps=()), now_ns) == ["points"]
    if model.prices is not None:
        falling = (rising[1], rising[0])
        assert faults(market, model, replace(offer, steps=falling, behind=held), now_ns) == ["rising"]
        level = (rising[0], rising[0])
        strict = "strictly-rising" in model.prices.value
        assert faults(market, model, replace(offer, steps=level, behind=held), now_ns) == ["rising"] * strict


@EACH_MODEL
def test_a_gate_is_open_until_the_instant_at_which_it_closes(market, model) -> None:
    offer, _ = good(market, model)
    for name in model.gates:
        gate = market.gate_of(name)
        until_ns = closes_ns(market, model, gate, offer.start_ns)
        asked = replace(offer, gate=name)
        assert faults(market, model, asked, until_ns - 1) == []
        assert faults(market, model, asked, until_ns) == ["gate"]
        if (from_ns := opens_ns(market, model, gate, offer.start_ns)) is not None:
            assert faults(market, model, asked, from_ns) == []
            assert faults(market, model, asked, from_ns - 1) == ["opens"]
    with pytest.raises(ConfigError, match="gate 'yesterday' of"):
        check_with(market, model, replace(offer, gate="yesterday"), 0)


@EACH_MODEL
def test_only_a_whole_interval_of_the_market_in_a_direction_and_form_of_the_product_is_taken(market, model) -> None:
    offer, _ = good(market, model)
    if model.interval_min is not None:
        for spoiled in (
            replace(offer, end_ns=offer.end_ns + 1), replace(offer, start_ns=offer.start_ns + 1),
            replace(offer, end_ns=2 * offer.end_ns - offer.start_ns),
        ):  # fmt: skip
            assert faults(market, model, spoiled, None) == ["interval"]
    known = model.directions.value
    assert [w for w in ("up", "down", "both") if faults(market, model, replace(offer, direction=w), None) == []] == [
        w for w in ("up", "down", "both") if w in known
    ]
    two = replace(offer, steps=(offer.steps[0],) * 2, curve="parabola", behind=replace(offer.behind, energy_wh=1e12))
    assert "form" in faults(market, model, two, None)


@EACH_MODEL
def test_who_stands_behind_an_offer_is_held_to_the_models_figures(market, model) -> None:
    offer, now_ns = good(market, model)

    def told(**behind) -> list[str]:
        return faults(market, model, replace(offer, behind=replace(offer.behind, **behind)), now_ns)

    if model.sustain_min is not None:
        needed = offer.power_w * model.sustain_min.value / 60.0
        assert (told(energy_wh=needed), told(energy_wh=needed - 1.0)) == ([], ["sustain"])
    if model.member_least_kw is not None:
        least_w = model.watts("member_least_kw")
        assert (told(least_w=least_w), told(least_w=least_w - 1.0)) == ([], ["member-least"])
    if model.member_most_kw is not None:
        most_w = model.watts("member_most_kw")
        assert (told(most_w=most_w), told(most_w=most_w + 1.0)) == ([], ["member-most"])
    if model.shared is not None:
        words = model.shared.value
        assert (told(shared=(*words, "more")), told(shared=words[1:])) == ([], ["shared"])
    if model.telemetry_s is not None:
        slow_s, from_w = model.telemetry_s.value + 1.0, model.watts("telemetry_from_mw")
        behind = replace(offer.behind, telemetry_s=slow_s)
        if from_w is None:
            assert faults(market, model, replace(offer, behind=behind), now_ns) == ["telemetry"]
        else:
            unit_w = model.watts("step_mw")
            small, large = (with_power(replace(offer, behind=behind), w) for w in (from_w - unit_w, from_w))
            assert (faults(market, model, small, now_ns), faults(market, model, large, now_ns)) == ([], ["telemetry"])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e13])
def test_what_is_no_power_is_told_once_and_not_by_its_echoes(bad: float) -> None:
    for market, model in MODELS:
        offer, now_ns = good(market, model)
        assert faults(market, model, replace(offer, steps=(Step(bad, offer.steps[0].price),)), now_ns)[0] == "power"
        assert {"increment", "minimum", "maximum", "sustain"}.isdisjoint(
            faults(market, model, replace(offer, steps=(Step(bad, offer.steps[0].price),)), now_ns)
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e10])
def test_what_is_no_price_is_told_once_and_not_by_its_echoes(bad: float) -> None:
    for market, model in MODELS:
        offer, now_ns = good(market, model)
        assert faults(market, model, with_price(offer, bad), now_ns) == ["price"]


# --- golden cases: figures from the sources, not from the tables -------------------------------------------------------

ADER = MarketOffer(
    "a", "ercot-ader", parse_iso("2025-07-02T17:00:00-05:00"), parse_iso("2025-07-02T18:00:00-05:00"),
    (Step(100_000.0, 40.0),), behind=Behind(most_w=1e6, shared=("load-zone", "lse", "dsp")),
)  # fmt: skip
EVE = parse_iso("2025-07-01T09:59:59-05:00")


def test_ercots_pilot_takes_a_tenth_of_a_megawatt_of_premises_of_one_megawatt_in_one_zone() -> None:
    """ERCOT ADER pilot, governing document of 2022: 100 kW in all, 1 MW a premise, one load zone, LSE and DSP."""
    assert check_offer(ADER, EVE).is_good
    told = check_offer(
        replace(ADER, steps=(Step(99_000.0, 40.0),), behind=Behind(most_w=1_000_001.0, shared=("load-zone", "lse"))),
        EVE,
    )
    assert [(one.rule, one.field, one.value, one.limit) for one in told.refusals] == [
        ("ercot-ader/increment", "steps[0].power_w", "99000", "whole multiples of 100000 W"),
        ("ercot-ader/minimum", "power_w", "99000", "100000 W or more"),
        ("ercot-ader/member-most", "behind.most_w", "1000001", "1000000 W at most"),
        ("ercot-ader/shared", "behind.shared", "load-zone, lse", "load-zone, lse, dsp"),
    ]


def test_the_fcr_cooperation_takes_whole_megawatts_both_ways_by_eight_on_the_day_before() -> None:
    """regelleistung.net: FCR from 11:00 seven days before to 8:00 the day before, six slices of four hours, 1 MW."""
    start, end = parse_iso("2025-03-30T04:00:00+02:00"), parse_iso("2025-03-30T08:00:00+02:00")
    fcr = MarketOffer("f", "eu-fcr", start, end, (Step(1e6, 12.0),), "both", "single", behind=Behind(energy_wh=250_000))
    assert check_offer(fcr, parse_iso("2025-03-29T07:59:59+01:00")).is_good
    assert check_offer(fcr, parse_iso("2025-03-23T11:00:00+01:00")).is_good
    late, early, one_way = (
        check_offer(fcr, parse_iso("2025-03-29T08:00:00+01:00")),
        check_offer(fcr, parse_iso("2025-03-23T10:59:59+01:00")),
        check_offer(replace(fcr, direction="up"), None),
    )
    assert [str(one) for one in (*late.refusals, *early.refusals)] == [
        "fcr has closed; now = 2025-03-29T07:00:00Z; limit before 2025-03-29T07:00:00Z",
        "fcr has not opened; now = 2025-03-23T09:59:59Z; limit from 2025-03-23T10:00:00Z",
    ]
    assert one_way.refusals[0].reason == "the product is symmetric: one power, both ways"


def test_the_slice_in_which_the_clock_is_set_is_offered_as_three_hours() -> None:
    start, end = parse_iso("2025-03-30T00:00:00+01:00"), parse_iso("2025-03-30T04:00:00+02:00")
    assert (end - start) / HOUR_NS == 3.0
    fcr = MarketOffer("f", "eu-fcr", start, end, (Step(1e6, 12.0),), "both", "single")
    assert check_offer(fcr, None).is_good
    four = check_offer(replace(fcr, end_ns=start + 4 * HOUR_NS), None)
    assert four.refusals[0].limit == f"{iso(start)}/{iso(end)}, an interval of 240 minutes"


def test_a_reliability_resource_bids_in_real_time_at_95_percent_of_the_cap_or_more() -> None:
    """CAISO Tariff 30.6.2: at least 95 % and at most 100 % of the maximum bid price, one segment."""
    market, model = next(pair for pair in MODELS if pair[1].id == "caiso-rdrr-real-time")
    offer, now_ns = good(market, model)
    assert [faults(market, model, with_price(offer, p), now_ns) for p in (949.99, 950.0, 1000.0, 1000.01)] == [
        ["floor"], [], [], ["cap"],
    ]  # fmt: skip


# --- columns ----------------------------------------------------------------------------------------------------------

powers = st.sampled_from([1e5, 5e5, 1e6, 2e6, 2e7, 1e8, 99_999.0, 123_456.0, 1e-9, 0.0, -1e6, math.nan, math.inf, 1e13])
prices = st.sampled_from(
    [0.0, 10.0, 10.01, 10.015, 950.0, 1000.01, -150.0, -1000.5, 17_501.0, 2e4, 1e6, math.nan, math.inf]
)
maybe = st.sampled_from([None, 0.0, 1.0, 4.0, 1e4, 1e6, 2e6, math.nan])
rows = st.tuples(st.lists(st.tuples(powers, prices), max_size=13), st.sampled_from([None, 0, 1, -1, 15, 240]), maybe)


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, len(MODELS) - 1), made=st.lists(rows, min_size=1, max_size=6), shift_h=st.integers(-60, 60),
    direction=st.sampled_from(["up", "down", "both"]), curve=st.sampled_from(["steps", "pairs", "single"]),
    told=st.tuples(maybe, maybe, maybe), shared=st.sampled_from([None, (), ("lse", "load-zone", "dsp"), ("region",)]),
    gate=st.integers(0, 2), now_h=st.one_of(st.none(), st.integers(-300, 30)),
)  # fmt: skip
def test_columns_find_the_faults_that_the_rules_find_one_by_one(
    at, made, shift_h, direction, curve, told, shared, gate, now_h
) -> None:
    market, model = MODELS[at]
    offer, _ = good(market, model)
    start_ns, length_ns = offer.start_ns + shift_h * HOUR_NS, offer.end_ns - offer.start_ns
    count = len(made)
    most = max(max((len(steps) for steps, _, _ in made)), 1)
    power_w, price = np.full((count, most), np.nan), np.full((count, most), np.nan)
    starts, ends, energy_wh = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
    has_energy = all(held is not None for _, _, held in made)
    for row, (steps, off, held) in enumerate(made):
        for k, (watts, cost) in enumerate(steps):
            power_w[row, k], price[row, k] = watts, cost
        starts[row] = start_ns + row * length_ns
        ends[row] = starts[row] + (length_ns if off is None else off * 60_000_000_000)
        energy_wh[row] = held if has_energy else 0.0
    behind = Behind(told[0], told[1], told[2], None, shared)
    columns = OfferColumns(
        starts, ends, power_w, price, np.array([len(steps) for steps, _, _ in made], np.int32),
        energy_wh if has_energy else None, direction, curve, model.gates[gate % len(model.gates)] if model.gates else "",
        behind,
    )  # fmt: skip
    now_ns = None if now_h is None else start_ns + now_h * HOUR_NS
    bits = check_columns(market, model, columns, now_ns)
    for row in range(count):
        alone = faults(market, model, columns.row(row, model.id), now_ns)
        assert list(rules_in(int(bits[row]))) == alone, (model.id, columns.row(row, model.id))


def test_every_rule_has_a_bit_of_its_own() -> None:
    assert sorted(BIT.values()) == [1 << at for at in range(len(RULES))]


@EACH_MODEL
def test_an_offer_that_is_taken_is_taken_at_twice_its_power_where_nothing_bounds_it(market, model) -> None:
    offer, now_ns = good(market, model)
    twice = with_power(offer, 2.0 * offer.power_w)
    most_w = model.watts("max_mw")
    assert faults(market, model, twice, now_ns) == ([] if most_w is None or twice.power_w <= most_w else ["maximum"])
