"""When a broken limit needs a person: by how much a line, a transformer or a voltage can bear, and for how long."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tieline.desk.views import AlarmView, LinkView
from tieline.grid.powerflow import Flow, Violation
from tieline.node.read_alarms import DOWN_NS, LEAK, AlarmBook, behind, limit_alarms, link_alarms
from tieline.node.read_exposure import GRAVE_FRAC, Exposure
from tieline.node.read_fleet import NORMAL, OUT, SLOW, STALE, GridReading

SECOND = 10**9
MINUTE = 60 * SECOND
STEP_S = 20


def _reading(line: float = 0.3, trafo: float = 0.3, bus_pu: float = 1.0) -> GridReading:
    """A feeder of two lines, a transformer and two buses; what is over its limit is broken."""
    found = [Violation(0, "line 1", "loading", line, 1.0)] if line > 1.0 else []
    found += [Violation(0, "transformer", "loading", trafo, 1.0)] if trafo > 1.0 else []
    found += [Violation(0, "bus 1", "voltage low", bus_pu, 0.95)] if bus_pu < 0.95 else []
    found += [Violation(0, "bus 1", "voltage high", bus_pu, 1.05)] if bus_pu > 1.05 else []
    flow = Flow(np.array([[1.0, bus_pu]]), np.array([[0.2, line]]), np.array([trafo]), np.zeros(1))
    return GridReading(flow, found, np.zeros(0, np.int32), np.zeros(0))


def _told_after_s(before: GridReading, after: GridReading, most_s: int) -> int | None:
    """How long after a step from one state to another its feeder is told; None: not in that time."""
    exposure = Exposure()
    assert exposure.see({"f": before}, 0) == {}
    for at_s in range(0, most_s + 1, STEP_S):
        if exposure.see({"f": after}, at_s * SECOND):
            return at_s
    return None


@settings(max_examples=80)
@given(st.floats(0.0, 0.99), st.floats(1.01, GRAVE_FRAC - 0.001), st.booleans())
def test_an_overload_is_told_when_a_thermal_relay_would_have_tripped(before: float, over: float, is_line: bool) -> None:
    """t = tau ln((k2 - p2) / (k2 - 1)): the dependent-time characteristic of IEC 60255-149, with tau of 10 minutes."""
    due_s = 600.0 * math.log((over**2 - before**2) / (over**2 - 1.0))
    first, then = (_reading(before), _reading(over)) if is_line else (_reading(0.1, before), _reading(0.1, over))
    told_s = _told_after_s(first, then, int(due_s) + 2 * STEP_S)
    assert told_s is not None
    assert due_s - 1e-6 <= told_s <= due_s + STEP_S + 1e-6


@pytest.mark.parametrize("grave", [_reading(1.5), _reading(0.1, 1.8), _reading(bus_pu=0.84), _reading(bus_pu=1.11)])
def test_what_is_grave_is_told_at_once(grave: GridReading) -> None:
    assert _told_after_s(_reading(), grave, 0) == 0


def test_a_limit_that_is_broken_is_a_told_alarm_or_one_held_back_with_how_warm_its_feeder_is() -> None:
    exposure = Exposure()
    exposure.see({"f": _reading(0.8)}, 0)
    warmest = 0.8**2
    for at_s in range(0, 1_200, STEP_S):
        told = exposure.see({"f": _reading(1.05)}, at_s * SECOND)
        assert set(told) | set(exposure.passing) == {"f"} and not set(told) & set(exposure.passing)
        if exposure.passing:
            (violations, heat) = exposure.passing["f"]
            assert [v.place for v in violations] == ["line 1"]
            assert warmest <= heat < 1.0, "it warms, and is told at 1"
            warmest = heat
    assert told and warmest > 0.97
    exposure.see({"f": _reading(0.8)}, 1_220 * SECOND)
    assert not exposure.passing, "what is within its limits is on no list"


def test_what_was_broken_before_anybody_looked_is_told_at_once() -> None:
    assert list(Exposure().see({"f": _reading(1.02)}, 0)) == ["f"]


@given(st.floats(0.80, 0.9499))
def test_a_low_voltage_is_told_once_its_mean_is_low_and_within_twice_the_ten_minutes_of_the_standard(pu: float) -> None:
    assume(abs(pu - 0.85) > 1e-6)
    told_s = _told_after_s(_reading(), _reading(bus_pu=pu), 3_600)
    if pu < 0.85:
        assert told_s == 0
    elif pu <= 0.94:
        assert told_s is not None
        assert 0 < told_s <= 1_200
    else:
        assert told_s is None or told_s > 300


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_what_never_passes_its_rating_is_never_told(loads: list[float]) -> None:
    exposure = Exposure()
    for minute, load in enumerate(loads):
        assert exposure.see({"f": _reading(load, load)}, minute * MINUTE) == {}


def test_an_overload_of_four_minutes_by_a_few_per_cent_is_no_alarm_though_it_comes_every_hour() -> None:
    exposure = Exposure()
    for minute in range(360):
        over = minute % 60 < 4 and minute >= 60
        assert exposure.see({"f": _reading(1.05 if over else 0.8)}, minute * MINUTE) == {}, minute


def test_a_feeder_that_sways_about_its_rating_all_night_is_one_alarm() -> None:
    book, exposure, rng = AlarmBook(), Exposure(), np.random.default_rng(3)
    for minute in range(360):
        reading = _reading(0.8) if minute < 5 else _reading(1.0 + 0.04 * float(rng.standard_normal()) + 0.02)
        told = exposure.see({"f": reading}, minute * MINUTE)
        book.keep([(alarm, 0) for alarm in limit_alarms(told, "sub", book.since, minute * MINUTE)], minute * MINUTE)
    assert len(book.raised) == 1


def _raised(book: AlarmBook, feeders: int, minute: int) -> list[AlarmView]:
    broken = {f"feeder-{n}": [Violation(0, "line 1", "loading", 1.1 + n / 100, 1.0)] for n in range(feeders)}
    return book.keep([(a, 0) for a in limit_alarms(broken, "sub", book.since, minute * MINUTE)], minute * MINUTE)


def test_one_cause_on_many_feeders_is_one_alarm_that_names_the_worst_and_leads_to_all() -> None:
    book = AlarmBook()
    for minute, feeders in enumerate((6, 9, 4, 2, 6, 2)):
        (alarm,) = _raised(book, feeders, minute)
        assert (alarm.subject, alarm.priority, alarm.link, alarm.count) == ("sub", 1, "/feeders", feeders)
        assert f"feeder-{feeders - 1}" in alarm.title
    assert len(book.raised) == 1
    assert [alarm.subject for alarm in _raised(book, 1, 6)] == ["feeder-0"]
    assert len(book.raised) == 2


def _warm(value: float, place: str) -> list[Violation]:
    """What `Exposure` tells of a feeder that was above its rating and is below it again."""
    return [Violation(0, place, "loading", value, 1.0)]


@pytest.mark.parametrize(
    "over", [Violation(0, "line 2", "loading", 1.01, 1.0), Violation(0, "bus 1", "voltage low", 0.94, 0.95)]
)
def test_the_worst_of_many_feeders_is_one_beyond_its_limit_though_another_is_farther_within(over: Violation) -> None:
    broken = {f"feeder-{n}": _warm(0.853, "line 5") for n in range(3)} | {"feeder-3": [over]}
    (alarm,) = limit_alarms(broken, "sub", {}, 0)
    assert alarm.priority == 1
    assert alarm.title == (
        f"Limits broken on 4 feeders; worst: feeder-3, {over.what} {over.value:.3f} against {over.limit:.3f} at {over.place}"
    )


def test_feeders_that_only_have_to_cool_say_that_heat_is_why_they_are_told() -> None:
    exposure, hot = Exposure(), {f"feeder-{n}": _reading(1.3) for n in range(4)}
    assert len(exposure.see(hot, 0)) == 4
    told = exposure.see({name: _reading(0.853 + int(name[-1]) / 1_000) for name in hot}, MINUTE)
    (alarm,) = limit_alarms(told, "sub", {}, 0)
    assert alarm.title == (
        "4 feeders within their limits again; most loaded: feeder-3, "
        "line 1 is warm from an overload: told until it has cooled, loading 0.856 against 1.000 now"
    )
    (one,) = limit_alarms({"feeder-0": told["feeder-0"]}, "sub", {}, 0)
    assert one.title == "line 1 is warm from an overload: told until it has cooled, loading 0.853 against 1.000 now"
    assert {(each.priority, each.consequence, each.action) for each in (alarm, one)} == {
        (3, "Its equipment is warm from an overload", "Keep it below its rating meanwhile")
    }


def test_three_feeders_with_causes_of_their_own_are_three_alarms() -> None:
    assert {alarm.link for alarm in _raised(AlarmBook(), 3, 0)} == {f"/feeder/feeder-{n}" for n in range(3)}


# --- links ------------------------------------------------------------------------------------------------------------


def _links(*down: str) -> list[LinkView]:
    names = ("iso", "dnp3", "modbus", "mqtt", "openadr")
    return [LinkView(name, name, "down" if name in down else "live", 1, 0, 0, 0, 5) for name in names]


def _look(book: AlarmBook, at_ns: int, *down: str) -> list[str]:
    return [alarm.subject for alarm in book.keep(link_alarms(_links(*down), book.since), at_ns)]


def test_a_link_that_dials_again_within_a_minute_is_no_alarm_and_one_that_stays_away_is_one() -> None:
    book = AlarmBook()
    for minute in range(60):
        for second in (0, 20, 40):
            assert (
                _look(book, minute * MINUTE + second * SECOND, *(("iso",) if (minute, second) == (30, 0) else ())) == []
            )
    assert book.raised == type(book.raised)()
    for second in range(0, 7_200, 20):
        assert _look(book, 60 * MINUTE + second * SECOND, "iso") == (["iso"] if second >= 60 else []), second
    assert len(book.raised) == 1


@given(st.integers(20, 50))
def test_a_link_that_flaps_is_told_once_if_it_is_away_for_a_third_of_the_time(away_s: int) -> None:
    """A plain on-delay of a minute would never hear of it."""
    book = AlarmBook()
    for second in range(0, 3_600, 5):
        _look(book, second * SECOND, *(("iso",) if second % 60 < away_s else ()))
    assert len(book.raised) == 1
    assert book.raised[0] <= 60 * SECOND * (60 // (away_s - (60 - away_s) // LEAK) + 2)


def test_where_more_than_three_links_are_down_it_is_our_network_and_one_alarm() -> None:
    book = AlarmBook()
    for second in range(0, 600, 20):
        told = _look(book, second * SECOND, "iso", "dnp3", "modbus", "mqtt")
        assert told == (["links"] if second * SECOND >= DOWN_NS else [])
    assert len(book.raised) == 1


def test_devices_behind_a_link_that_is_down_are_counted_by_its_alarm_and_by_no_other() -> None:
    cells = np.array([STALE, SLOW, NORMAL, OUT, STALE, STALE], np.uint8)
    link_of = np.array([0, 0, 0, 0, 1, -1], np.int16)
    left, silent = behind(cells, link_of, {0: "modbus"})
    assert left.tolist() == [NORMAL, NORMAL, NORMAL, OUT, STALE, STALE]
    assert cells[0] == STALE
    assert silent == {"modbus": 2}
    ((alarm, _),) = link_alarms(_links("modbus"), {}, silent)
    assert (alarm.count, alarm.title) == (2, "Link modbus (modbus) is down: 2 devices behind it are out of reach")
