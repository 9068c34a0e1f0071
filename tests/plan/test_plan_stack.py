"""The stack: who is called first, exact sums, no limit crossed, and what lacks named by its cause."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.plan.realtime import Devices
from tieline.plan.stack import FREE_W_S, Ranks, Stack, tiers
from tieline.plan.stack_rule import One, Within, after, level, margin, shares, within

WATTS = st.integers(0, 5_000)
KINDS = ("plain", "plain", "store", "engine", "charger", "on or off", "never")


@st.composite
def ones(draw: st.DrawFn) -> One:
    """A device of any kind, as it may stand before a first step: at rest, or off."""
    kind, down, up = draw(st.sampled_from(KINDS)), draw(WATTS), draw(WATTS)
    weight, ramp = draw(st.integers(1, 500)), draw(st.sampled_from([math.inf, math.inf, 50.0, 700.0]))
    rest = draw(st.integers(-5_000, 5_000))
    tier = {"up": draw(st.integers(0, 3)), "down": draw(st.integers(0, 3))}
    times = {"least_s": draw(st.sampled_from([0.0, 60.0])), "off_s": draw(st.sampled_from([0.0, 30.0]))}
    match kind:
        case "store":
            most = draw(st.integers(1, 4_000))
            held = most * draw(st.integers(0, 100)) / 100
            return One(-down, up, weight, **tier, rest_w=0, ramp_w_s=ramp, most_wh=most, stored_wh=held,
                       charge_frac=0.875, discharge_frac=0.9375)  # fmt: skip
        case "engine":
            least = draw(st.integers(0, up))
            return One(0, up, weight, **tier, rest_w=rest, ramp_w_s=ramp, on_w=least, **times)
        case "charger":
            least = draw(st.integers(0, down))
            return One(-down, 0, weight, **tier, rest_w=rest, ramp_w_s=ramp, on_w=least, **times)
        case "on or off":
            return One(-down, 0, weight, **tier, rest_w=draw(st.sampled_from([0, -down])), on_w=down, **times)
        case "never":
            return One(-down, up, 0, **tier, rest_w=rest, ramp_w_s=ramp)
    return One(-down, up, weight, **tier, rest_w=rest, ramp_w_s=ramp)


FLEETS = st.lists(ones(), min_size=1, max_size=24)
TARGETS = st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=6)


def made(devices: list[One], band_frac: float = 0.0) -> Stack:
    def column(name: str, kind: type = np.float32) -> np.ndarray:
        found = np.array([getattr(one, name) for one in devices])
        return np.where(np.isinf(found), FREE_W_S, found).astype(kind)

    size = np.maximum(-column("low_w"), column("high_w"))
    on_w, count = column("on_w"), len(devices)
    columns = Devices(
        column("low_w"), column("high_w"), column("weight"), np.float32(band_frac) * size, column("stored_wh"),
        column("most_wh"), column("charge_frac"), column("discharge_frac"), np.zeros(count, np.bool_), column("least_s"),
    )  # fmt: skip
    ranks = Ranks(
        column("up", np.uint16), column("down", np.uint16), column("rest_w"), column("ramp_w_s"), on_w, column("off_s")
    )
    return Stack(columns, ranks)


def as_it_stands(devices: list[One], stack: Stack) -> list[One]:
    d = stack.devices
    return [
        replace(one, told_w=float(d.told_w[at]), age_s=float(d.age_s[at]), stored_wh=float(d.stored_wh[at]))
        for at, one in enumerate(devices)
    ]


def may_of(devices: list[One], seconds: float) -> list[Within]:
    return [within(one, *after(one, seconds), seconds, 300.0) for one in devices]


@given(FLEETS, TARGETS, st.sampled_from([4.0, 20.0]))
def test_columns_tell_what_the_specification_does_device_by_device(
    drawn: list[One], targets: list, seconds: float
) -> None:
    stack, turn = made(drawn), 0
    for target in targets:
        before = as_it_stands(drawn, stack)
        expected, _, turn = shares(before, float(target), seconds, turn=turn)
        told = stack.step(float(target), seconds)
        assert stack.devices.told_w == pytest.approx(np.array(expected), abs=1.5)
        assert told.sum_w == pytest.approx(math.fsum(expected), abs=1.0)
        turn = stack.turn


@given(FLEETS, TARGETS, st.sampled_from([0.0, 0.05]))
def test_the_sum_is_the_target_to_a_watt_or_the_shortfall_is_named_to_a_watt(
    drawn: list[One], targets: list, band: float
) -> None:
    stack = made(drawn, band)
    for target in targets:
        before = as_it_stands(drawn, stack)
        told = stack.step(float(target), 4.0)
        assert told.sum_w == pytest.approx(math.fsum(stack.devices.told_w.tolist()), abs=0.01)
        assert told.lacks_w == pytest.approx(target - told.sum_w, abs=0.01)
        parts = told.lacks
        assert math.fsum((parts.whole_w, parts.timer_w, parts.ramp_w, parts.energy_w, parts.rating_w)) == pytest.approx(
            told.lacks_w, abs=0.01
        )
        if abs(told.lacks_w) <= 1.0:
            continue
        # What lacks is beyond all that may be called: whoever is on, or not switched, stands at its end.
        up = told.lacks_w > 0
        for one, may, now in zip(before, may_of(before, 4.0), stack.devices.told_w.tolist(), strict=True):
            if one.weight and not (one.on_w and now == 0):
                assert now == pytest.approx(may.high_w if up else may.low_w, abs=0.1)


@given(FLEETS, TARGETS, st.sampled_from([0.0, 0.05]))
def test_no_device_leaves_its_power_its_ramp_its_store_or_its_least_power(
    drawn: list[One], targets: list, band: float
) -> None:
    stack = made(drawn, band)
    for target in targets:
        before = as_it_stands(drawn, stack)
        stack.step(float(target), 4.0)
        for one, may, now in zip(before, may_of(before, 4.0), stack.devices.told_w.tolist(), strict=True):
            assert one.low_w - 0.01 <= now <= one.high_w + 0.01
            off = one.on_w > 0 and now == 0
            assert off or may.low_w - 0.05 <= now <= may.high_w + 0.05
            assert off or abs(now) >= one.on_w - 0.01, "on, it runs at its least power or more"
            assert not off or may.may_be_off or one.told_w == 0 or may.high_w == may.low_w == 0


@given(FLEETS, TARGETS, st.sampled_from([4.0, 20.0]))
def test_what_is_switched_stays_so_for_its_least_time_but_where_nothing_is_left_to_run_on(
    drawn: list[One], targets: list, seconds: float
) -> None:
    stack = made(drawn, 0.05)
    since = np.full(len(drawn), np.inf)
    for target in targets:
        was = stack.devices.told_w != 0
        stack.step(float(target), seconds)
        since += seconds
        for at, one in enumerate(drawn):
            if one.on_w and (stack.devices.told_w[at] != 0) != was[at]:
                assert since[at] >= (one.least_s if was[at] else one.off_s)
                since[at] = 0.0


@given(FLEETS, TARGETS)
def test_no_tier_is_called_before_all_that_can_be_called_of_those_before_it_is(drawn: list[One], targets: list) -> None:
    stack = made(drawn, 0.05)
    for target in targets:
        before = as_it_stands(drawn, stack)
        _, may, _ = shares(before, float(target), 4.0, turn=stack.turn)
        told = stack.step(float(target), 4.0)
        up, last, _ = margin(before, may, float(target))
        assert told.is_up == up or abs(target - told.sum_w) < 1.0
        for at, one in enumerate(before):
            tier, now = (one.up if up else one.down), float(stack.devices.told_w[at])
            rest = min(max(one.rest_w, may[at].low_w), may[at].high_w)
            if tier > last and one.on_w == 0:
                assert now == pytest.approx(rest, abs=0.05), "who is not called stands at rest, whatever his band"
            elif tier < last and one.weight:
                end = may[at].high_w if up else may[at].low_w
                assert now == pytest.approx(end, abs=0.05 + 0.05 * max(-one.low_w, one.high_w))


def fleet(count: int, **columns: float) -> Stack:
    given = [One(**({"low_w": 0, "high_w": 1_000, "weight": 1, "up": 0, "down": 0} | columns)) for _ in range(count)]
    return made(given)


def test_the_cheap_are_called_first_within_a_class_and_a_class_before_the_next() -> None:
    classes, costs = np.array([1, 0, 0, 0]), np.array([1.0, 80.0, 20.0, 20.0])
    up = tiers(classes, costs)
    drawn = [One(-1_000, 1_000, 1, int(tier), 0) for tier in up]
    stack = made(drawn)
    assert stack.step(1_000.0, 4.0).tier == 0
    assert stack.devices.told_w.tolist() == [0, 0, 500, 500], "those of one cost share by weight"
    stack.step(2_600.0, 4.0)
    assert stack.devices.told_w.tolist() == [0, 600, 1_000, 1_000]
    stack.step(3_300.0, 4.0)
    assert stack.devices.told_w.tolist() == [300, 1_000, 1_000, 1_000], "the cheapest of all, as its class is last"


def test_of_a_thousand_alike_as_many_are_switched_as_the_part_needs_and_they_stay() -> None:
    stack = fleet(1_000, on_w=1_000, least_s=60)
    told = stack.step(400_300.0, 4.0)
    assert told.sum_w == 400_000 and told.lacks.whole_w == pytest.approx(300)
    first = stack.devices.told_w.copy()
    assert len(stack.step(400_200.0, 4.0).rows) == 0, "nobody is switched for less than half a device"
    stack.step(410_000.0, 4.0)
    assert (stack.devices.told_w[first > 0] > 0).all() and np.count_nonzero(stack.devices.told_w) == 410


def test_who_is_let_go_and_called_again_is_so_in_turn() -> None:
    stack = fleet(100, on_w=1_000)
    seen = set()
    for turn in range(20):
        stack.step(10_000.0 if turn % 2 else 20_000.0, 4.0)
        seen |= set(np.flatnonzero(stack.devices.told_w).tolist())
    assert len(seen) == 100, "the same twenty would be switched each time"


def test_who_has_no_weight_is_never_called_and_stands_at_rest_however_wide_his_band() -> None:
    never, other = One(-60, 0, 0, 0, 0, rest_w=-3), One(-20, 3, 1, 0, 0)
    stack = made([never, other], 0.05)
    told = stack.step(0.0, 4.0)
    assert stack.devices.told_w.tolist() == [-3, 3] and told.lacks_w == 0.0
    stack.step(-15.0, 4.0)
    assert stack.devices.told_w.tolist() == [-3, -12]


def test_an_engine_is_not_asked_for_less_than_its_least_power_and_others_make_room() -> None:
    engine = One(0, 1_000, 1, 0, 0, on_w=600)
    store = One(-1_000, 1_000, 1, 1, 1, most_wh=2_000, stored_wh=1_000)
    stack = made([engine, store])
    told = stack.step(550.0, 4.0)
    assert stack.devices.told_w.tolist() == pytest.approx([600, -50], abs=0.1) and abs(told.lacks_w) < 1
    stack.step(200.0, 4.0)
    assert stack.devices.told_w.tolist() == pytest.approx([0, 200], abs=0.1)


@pytest.mark.parametrize(
    ("columns", "target", "cause", "lacks"),
    [
        ({"ramp_w_s": 50}, 900.0, "ramp_w", 700.0),
        ({"most_wh": 100, "stored_wh": 10}, 900.0, "energy_w", 780.0),
        ({}, 1_400.0, "rating_w", 400.0),
        ({"on_w": 1_000}, 400.0, "whole_w", 400.0),
        ({"on_w": 1_000, "off_s": 60, "age_s": 0.0}, 900.0, "timer_w", 900.0),
    ],
)
def test_what_lacks_is_named_by_what_holds_it_back(columns: dict, target: float, cause: str, lacks: float) -> None:
    stack = fleet(1, **columns)
    stack.devices.age_s[:] = columns.get("age_s", np.inf)
    told = stack.step(target, 4.0)
    assert getattr(told.lacks, cause) == pytest.approx(lacks, abs=0.1), told.lacks
    assert told.lacks_w == pytest.approx(lacks, abs=0.1)
    assert f"{lacks / 1e3:.1f} kW by" in str(told.lacks)


def test_the_bits_are_the_same_on_one_thread_and_on_two() -> None:
    rng = np.random.default_rng(4)
    drawn = [
        One(-int(rng.integers(5_000)), int(rng.integers(5_000)), int(rng.integers(1, 99)), *rng.integers(0, 40, 2).tolist(), ramp_w_s=100)
        for _ in range(600)
    ] + [One(0, 3_000, 1, *rng.integers(0, 40, 2).tolist(), on_w=900, least_s=30) for _ in range(300)]  # fmt: skip
    with ThreadPoolExecutor(2) as threads:
        alone, shared = made(drawn, 0.02), made(drawn, 0.02)
        shared._threads = threads
        for target in rng.integers(-900_000, 900_000, 20).tolist():
            one, two = alone.step(target, 4.0), shared.step(target, 4.0)
            assert (one.level, one.sum_w, one.tier) == (two.level, two.sum_w, two.tier)
            assert alone.devices.told_w.tobytes() == shared.devices.told_w.tobytes()


def test_the_level_is_where_its_breakpoints_add_up_to_the_part() -> None:
    assert level([(1.0, 100.0), (3.0, 30.0), (2.0, 0.0)], 60.0) == pytest.approx(30.0)
    assert level([(1.0, 5.0)], 9.0) == 5.0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rest_w", np.nan, r"rest_w\[1\] = nan: give a finite number"),
        ("ramp_w_s", 0.0, r"ramp_w_s\[1\] = 0.0: give a finite number above 0"),
        ("on_w", 1_001.0, r"on_w\[1\] = 1001.0: give 0 to its power"),
        ("off_s", -1.0, r"off_s\[1\] = -1.0"),
        ("up", 5_000, r"up\[1\] = 5000: give below 4096"),
    ],
)
def test_crooked_ranks_are_refused_by_their_name_and_row(name: str, value: float, says: str) -> None:
    sound = fleet(3)
    getattr(sound.ranks, name)[1] = value
    with pytest.raises(ConfigError, match=says):
        Stack(sound.devices, sound.ranks)


def test_what_both_gives_and_takes_is_not_switched_and_too_many_costs_are_refused() -> None:
    both = fleet(2, low_w=-1_000)
    both.ranks.on_w[0] = 10
    with pytest.raises(ConfigError, match=r"on_w\[0\] = 10.0: give 0 to what may give and take"):
        Stack(both.devices, both.ranks)
    with pytest.raises(ConfigError, match="5000 tiers of level and cost: give 4096 at most"):
        tiers(np.zeros(5_000, int), np.arange(5_000.0))
    with pytest.raises(ConfigError, match=r"cost\[1\] = nan"):
        tiers(np.zeros(2, int), np.array([1.0, np.nan]))
    with pytest.raises(ConfigError, match="give finite numbers"):
        fleet(1).step(math.nan, 4.0)
