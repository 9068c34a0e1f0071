"""The pure parts: OpenADR's time and payloads, and what an end-point makes of its plans."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openadr_room import START_NS

from tieline.errors import PeerError
from tieline.links.endpoint.openadr.payloads import (
    LEAST_PRIORITY,
    read_plan,
    read_values,
    report_payloads,
    spread_ns,
    stamp_of,
    told,
)
from tieline.resource.quality import Quality
from tieline.resource.setpoint import Bounds
from tieline.site.plan import EndPoint, FailSafe, Owner, Plan, Step
from tieline.times import SECOND_NS, iso
from tieline.wire.openadr3.objects import TYPES, ObjectError, read_object
from tieline.wire.openadr3.times import LAST_NS, TimeError, ends_ns, instant_ns, randomize_s, seconds_of, timeline

FREE = Bounds(-math.inf, math.inf)
OWNER = Owner(Bounds(-5_000.0, 5_000.0))
MINUTE = 60 * SECOND_NS


# --- time --------------------------------------------------------------------------------------------------------------


def test_durations_and_instants_of_the_standard() -> None:
    """OpenADR 3.1: 0001-01-01 means now, P9999Y without end."""
    assert seconds_of("PT15M") == 900
    assert seconds_of("P1DT2H3.5S") == 86_400 + 7_200 + 3.5
    assert seconds_of("P2W") == 14 * 86_400
    assert seconds_of("P9999Y") == 9999 * 365 * 86_400
    assert instant_ns("0001-01-01T00:00:00Z") is None
    assert instant_ns("2026-01-01T01:00:00+01:00") == instant_ns("2026-01-01T00:00:00Z")
    for bad in ("15M", "P", "PT", "", "P-1D", "P1DT", "-PT5M", "P1Y1Y", "PT1.5M", "PT" + "9" * 30 + "S", "P١D"):
        with pytest.raises(TimeError):
            seconds_of(bad)
    with pytest.raises(TimeError, match="offset"):
        instant_ns("2026-01-01T00:00:00")


def test_now_is_said_in_the_two_ways_of_the_standard_and_in_no_other() -> None:
    """User Guide 3.1.0, intervalPeriod.start; its changelog, 339: 0000-00-00 is no RFC 3339 date and went out of it."""
    for text in ("0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000+00:00"):
        assert instant_ns(text) is None
    for text in ("0000-00-00", "0000-00-00T00:00:00Z", "0001-01-01T00:00:01Z", "0001-01-01banana", "0001-01-010"):
        with pytest.raises(TimeError, match="0001-01-01 for now") as caught:
            instant_ns(text, "$.intervalPeriod.start")
        assert (caught.value.field, caught.value.value) == ("$.intervalPeriod.start", text)


@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=200))
def test_any_body_is_an_object_or_the_declared_error(kind: str, body: bytes) -> None:
    try:
        read_object(kind, body)
    except ObjectError:
        pass


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_the_declared_error_and_an_instant_or_the_same(text: str) -> None:
    for read in (seconds_of, instant_ns):
        try:
            read(text)
        except TimeError:
            pass


def event(*intervals: dict, **more: Any) -> dict:
    return {"id": "e", "programID": "p", "intervals": list(intervals), **more}


def interval(value: Any = 1.0, kind: str = "DISPATCH_SETPOINT", **period: str) -> dict:
    made: dict = {"id": 0, "payloads": [{"type": kind, "values": value if isinstance(value, list) else [value]}]}
    return made | ({"intervalPeriod": period} if period else {})


START = "2023-11-14T22:13:20Z"  # START_NS


def spans(event_: dict, now_ns: int = START_NS, shift_ns: int = 0) -> list[tuple[float, float]]:
    return [
        ((s.start_ns - START_NS) / MINUTE, (s.end_ns - START_NS) / MINUTE) for s in timeline(event_, now_ns, shift_ns)
    ]


def test_intervals_follow_each_other_and_may_have_a_duration_or_a_start_of_their_own() -> None:
    """User Guide 3.1.0, 7.4: variable duration intervals, overlaps and gaps."""
    period = {"start": START, "duration": "PT10M"}
    assert spans(event(interval(), interval(), intervalPeriod=period)) == [(0, 10), (10, 20)]
    assert spans(event(interval(), interval(duration="PT5M"), interval(), intervalPeriod=period)) == [(0, 10), (10, 15), (15, 25)]  # fmt: skip
    later = interval(start="2023-11-14T23:13:20Z")
    assert spans(event(interval(), later, interval(), intervalPeriod=period)) == [(0, 10), (60, 70), (70, 80)]
    now = {"start": "0001-01-01T00:00:00Z", "duration": "P9999Y"}
    assert timeline(event(interval(), intervalPeriod=now), START_NS)[0].start_ns == START_NS
    assert timeline(event(interval(), intervalPeriod=now), START_NS)[0].end_ns == LAST_NS


def test_an_event_s_duration_cuts_its_intervals_short_or_repeats_them() -> None:
    """User Guide 3.1.0, 7.3, event.duration."""
    period = {"start": START, "duration": "PT10M"}
    two = (interval(), interval())
    assert spans(event(*two, intervalPeriod=period, duration="PT15M")) == [(0, 10), (10, 15)]
    assert spans(event(*two, intervalPeriod=period, duration="PT45M")) == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 45)]  # fmt: skip
    forever = event(*two, intervalPeriod=period, duration="P9999Y")
    late = START_NS + 500 * 86_400 * SECOND_NS
    running = [s for s in timeline(forever, late) if s.start_ns <= late < s.end_ns]
    assert len(running) == 1 and len(timeline(forever, late)) <= 5_000


@given(st.floats(-1.0, 1.0))
def test_randomize_start_moves_all_intervals_alike_and_never_beyond_its_bound(at: float) -> None:
    """User Guide 3.1.0, 7.3: positive or negative, within the absolute value, the following shifted by the same."""
    period = {"start": START, "duration": "PT10M", "randomizeStart": "PT5M"}
    one = event(interval(), interval(), intervalPeriod=period)
    assert randomize_s(one) == 300
    shift_ns = spread_ns(one, at)
    assert abs(shift_ns) <= 300 * SECOND_NS
    moved = timeline(one, START_NS, shift_ns)
    assert [s.start_ns - shift_ns for s in moved] == [START_NS, START_NS + 10 * MINUTE]


def test_an_event_is_over_when_its_last_interval_is_and_one_without_any_never_is() -> None:
    period = {"start": START, "duration": "PT10M"}
    assert ends_ns(event(interval(), interval(), intervalPeriod=period), 0) == START_NS + 20 * MINUTE
    assert ends_ns(event(), 0) == LAST_NS


# --- payloads ----------------------------------------------------------------------------------------------------------

POWERS = st.integers(-(10**12), 10**12).map(lambda mw: mw / 1_000)


@given(POWERS, POWERS, POWERS)
def test_what_is_told_and_read_again_is_the_same_number(target_w: float, one_w: float, other_w: float) -> None:
    low_w, high_w = sorted((one_w, other_w))
    payloads, units = told(target_w, low_w, high_w)
    sent = event({"id": 0, "payloads": payloads}, payloadDescriptors=units, intervalPeriod={"start": START})
    step = read_plan(sent, OWNER, START_NS).steps[0]
    assert (step.target_w, step.bounds) == (target_w, Bounds(low_w, high_w))


def test_consumption_is_negative_and_limits_are_of_the_site() -> None:
    """Definition 3.1.0, table 1: DISPATCH_SETPOINT is an amount of consumption; golden numbers by hand."""
    assert told(-2_500.0, -8_000.0, 6_000.0)[0] == [
        {"type": "DISPATCH_SETPOINT", "values": [2.5]},
        {"type": "IMPORT_CAPACITY_LIMIT", "values": [8.0]},
        {"type": "EXPORT_CAPACITY_LIMIT", "values": [6.0]},
    ]
    assert told(math.nan, -math.inf, math.inf) == ([], [])


@pytest.mark.parametrize(("units", "watts"), [(None, -2_500.0), ("KW", -2_500.0), ("W", -2.5), ("MW", -2_500_000.0)])
def test_units_of_the_descriptor_count(units: str | None, watts: float) -> None:
    described = [{"payloadType": "DISPATCH_SETPOINT", "units": units}]
    assert read_plan(event(interval(2.5), payloadDescriptors=described), OWNER, 0).steps[0].target_w == watts


@pytest.mark.parametrize(("level", "low_w"), [(0, -5_000.0), (1, -3_350.0), (2, -1_650.0), (3, 0.0)])
def test_a_simple_level_leaves_the_share_of_consumption_that_the_owner_set(level: int, low_w: float) -> None:
    step = read_plan(event(interval(level, "SIMPLE")), OWNER, 0).steps[0]
    assert math.isnan(step.target_w) and step.bounds.low_w == pytest.approx(low_w)


def test_several_values_of_one_interval_divide_it_evenly() -> None:
    """User Guide 3.1.0, 7.3, multi-value payloads."""
    plan = read_plan(event(interval([1.0, 2.0, 3.0], start=START, duration="PT15M")), OWNER, 0)
    assert [((s.start_ns - START_NS) / MINUTE, s.target_w) for s in plan.steps] == [(0, -1e3), (5, -2e3), (10, -3e3)]


@pytest.mark.parametrize(
    "bad",
    [
        interval("much"),
        interval(True),
        interval(4, "SIMPLE"),
        interval(1.5, "SIMPLE"),
        {"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [1, 2]}, {"type": "SIMPLE", "values": [1, 2, 3]}]},
        {"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": []}]},
        {"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [-5]}, {"type": "EXPORT_CAPACITY_LIMIT", "values": [1]}]},
    ],
)  # fmt: skip
def test_a_payload_that_can_t_be_is_refused_and_not_followed_by_half(bad: dict) -> None:
    with pytest.raises(PeerError):
        read_plan(event(bad), OWNER, 0)


def test_prices_and_alerts_ask_nothing_of_power_and_an_empty_interval_lets_go() -> None:
    assert read_plan(event(interval(0.2, "PRICE")), OWNER, 0).steps == ()
    empty = read_plan(event({"id": 0, "payloads": []}), OWNER, 0)
    assert math.isnan(empty.steps[0].target_w) and empty.steps[0].bounds == FREE


def test_only_our_own_name_is_a_fence() -> None:
    assert stamp_of({"eventName": "dispatch 3.7"}) == (3, 7)
    for name in (None, "3.7", "dispatch 3", "dispatch x.y", "dispatch ٣.٧", "dispatch " + "9" * 50 + ".1", "price 3.7"):
        assert stamp_of({"eventName": name}) == (0, 0)


MEASURED = {
    "power_w": -1_234.5, "target_w": -1_000.0, "available_up_w": 500.0, "available_down_w": 0.0, "soc_frac": 0.5,
    "energy_imported_wh": 12_345.0,
}  # fmt: skip


def test_what_is_measured_and_read_again_is_the_same_with_its_quality() -> None:
    payloads, descriptors = report_payloads(MEASURED, Quality.GOOD)
    units = {d["payloadType"]: d["units"] for d in descriptors}
    assert read_values(payloads, units) == (MEASURED, Quality.GOOD)
    assert {"type": "DEMAND", "values": [1.2345]} in payloads
    assert read_values(report_payloads(MEASURED, Quality.COMM_LOST)[0], units)[1] is Quality.NOT_TOPICAL


# --- the end-point -----------------------------------------------------------------------------------------------------


def plan(
    target_w: float = 1_000.0, low_w: float = -math.inf, high_w: float = math.inf, start_ns: int = 0, end_ns: int = 10**15, **more: Any
) -> Plan:  # fmt: skip
    steps = (Step(start_ns, end_ns, target_w, Bounds(low_w, high_w)),)
    return Plan(more.pop("id", "e"), more.pop("program", "p"), steps, **more)


def end_point(*plans: Plan, owner: Owner = OWNER, safe: FailSafe = FailSafe()) -> EndPoint:  # noqa: B008  frozen
    end = EndPoint(owner, safe, 0)
    end.show(list(plans))
    return end


@given(st.floats(-1e5, 1e5), st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_no_plan_crosses_the_owner_s_bounds(target: float, low: float, width: float) -> None:
    hold = end_point(plan(target, low, low + width)).hold(50)
    assert -5_000 <= hold.target_w <= 5_000


def test_priority_0_is_the_strongest_and_none_is_the_weakest() -> None:
    """OpenADR 3.1.0 User Guide, 7.1: "Lower numbers have a higher priority, and the highest priority is zero"."""
    ranked = [plan(1_000.0 + n, id=f"e{n}", priority=n) for n in (2, 0, 7)]
    none = plan(9.0, id="none")
    assert none.priority == LEAST_PRIORITY
    assert end_point(*ranked, none).hold(50).target_w == 1_000.0
    assert end_point(plan(1.0, id="a", priority=2**31 - 1), none).hold(50).target_w == 1.0
    assert (
        end_point(plan(1.0, id="a", priority=3, made_ns=1), plan(2.0, id="b", priority=3, made_ns=2)).hold(50).target_w
        == 2.0
    )


def test_limits_of_all_plans_hold_whoever_names_the_target() -> None:
    weak_limit = plan(math.nan, -math.inf, 300.0, id="limit", priority=9)
    assert end_point(plan(1_000.0, id="strong", priority=0), weak_limit).hold(50).target_w == 300.0


def test_only_a_newer_plan_replaces_the_last_and_the_fence_outlives_a_deleted_one() -> None:
    end = end_point(plan(1.0, id="a", epoch=2, seq=5))
    assert end.show([plan(9.0, id="b", epoch=2, seq=4)]) == []
    assert math.isnan(end.hold(50).target_w)  # what is shown no more is over, and the older one does not come back
    end.show([])
    for epoch, seq in ((2, 5), (1, 9), (2, 1)):
        assert end.show([plan(9.0, id="c", epoch=epoch, seq=seq)]) == []
    assert len(end.show([plan(3.0, id="d", epoch=2, seq=6)])) == 1
    assert len(end.show([plan(4.0, id="e", epoch=3, seq=1), plan(3.0, id="d", epoch=2, seq=6)])) == 1
    assert end.hold(50).target_w == 4.0
    assert len(end.show([plan(5.0, id="f", program="other", epoch=1, seq=1)])) == 1  # a fence is its program's


@given(st.permutations([(1, 1), (1, 2), (1, 3), (2, 1)]))
def test_in_whatever_order_plans_come_the_last_fence_wins(order: list[tuple[int, int]]) -> None:
    end, best = EndPoint(OWNER, FailSafe(), 0), (0, 0)
    for epoch, seq in order:
        fresh = end.show([plan(10.0 * epoch + seq, id=f"{epoch}.{seq}", epoch=epoch, seq=seq)])
        assert bool(fresh) == ((epoch, seq) > best)
        best = max(best, (epoch, seq))
        running = end.hold(50)
        assert math.isnan(running.target_w) or running.target_w == 10.0 * best[0] + best[1]


def test_a_plan_holds_from_its_start_to_its_end_and_an_opted_out_owner_holds_nothing() -> None:
    end = end_point(plan(start_ns=100, end_ns=200))
    assert [math.isnan(end.hold(at).target_w) for at in (99, 100, 199, 200)] == [True, False, False, True]
    assert (end.due_ns(50), end.due_ns(100)) == (100, 200)
    end.owner = Owner(OWNER.bounds, takes_part=False)
    assert (end.hold(150).why, math.isnan(end.hold(150).target_w)) == ("the owner opted out", True)


@given(st.floats(-1e5, 1e5), st.floats(-5e3, 5e3), st.floats(0.0, 1e4))
def test_no_fail_safe_crosses_the_owner_s_bounds_while_contact_is_lost_nor_as_it_comes_back(
    power_w: float, low_w: float, width_w: float
) -> None:
    end = end_point(owner=Owner(Bounds(low_w, low_w + width_w)), safe=FailSafe(power_w, hold_s=600.0))
    late = 200 * SECOND_NS
    for why in ("contact is lost", "contact came back just now"):
        held = end.hold(late)
        assert held.why == why
        assert low_w <= held.target_w <= low_w + width_w
        end.hear(late)


def test_contact_lost_past_the_trip_time_falls_back_and_stays_for_a_while_after_it_returns() -> None:
    end = end_point(plan(end_ns=10 * SECOND_NS), safe=FailSafe(-100.0))
    assert end.hold(5 * SECOND_NS).target_w == 1_000.0
    assert math.isnan(end.hold(120 * SECOND_NS).target_w)
    assert end.due_ns(20 * SECOND_NS) == 120 * SECOND_NS + 1
    late = 200 * SECOND_NS
    assert (end.hold(late).why, end.hold(late).target_w) == ("contact is lost", -100.0)
    end.hear(late)
    assert end.hold(late).why == "contact came back just now"
    assert end.due_ns(late) == late + 120 * SECOND_NS
    assert end.hold(late + 120 * SECOND_NS).why == "nothing is asked"


def test_the_fallback_ends_after_its_time_and_a_valid_plan_ends_it_at_once() -> None:
    end = end_point(safe=FailSafe(-100.0, hold_s=600.0))
    assert end.hold(720 * SECOND_NS).target_w == -100.0
    assert math.isnan(end.hold(721 * SECOND_NS).target_w)
    end.hear(500 * SECOND_NS)
    end.show([plan(5.0, id="n")])
    assert end.hold(501 * SECOND_NS).target_w == 5.0


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 10**12)), max_size=5), st.integers(0, 10**12))
def test_between_now_and_the_next_due_instant_nothing_changes(edges: list[tuple[int, int]], now_ns: int) -> None:
    plans = [plan(float(n), start_ns=a, end_ns=a + b, id=f"e{n}", priority=n) for n, (a, b) in enumerate(edges)]
    end = end_point(*plans, safe=FailSafe(-100.0))
    due_ns = end.due_ns(now_ns)
    middle = end.hold((now_ns + due_ns) // 2)
    assert repr(middle) == repr(end.hold(now_ns)) == repr(end.hold(due_ns - 1))


def test_iso_of_our_instants_is_read_back_as_the_same() -> None:
    assert instant_ns(iso(START_NS + 123_456_000)) == START_NS + 123_456_000
