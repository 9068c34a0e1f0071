"""Days by the wall clock, and forecasts as they were known then."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.forecast.clock import DayClock
from tieline.forecast.known import Issue, newest
from tieline.store.forecast_files import as_known, keep
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, parse_iso

PACIFIC, LONDON, LORD_HOWE = ZoneInfo("America/Los_Angeles"), ZoneInfo("Europe/London"), ZoneInfo("Australia/Lord_Howe")


@pytest.mark.parametrize(
    ("zone", "first", "step_minutes", "lengths"),
    [
        (PACIFIC, date(2024, 3, 9), 60, [24, 23, 24]),
        (PACIFIC, date(2024, 11, 2), 15, [96, 100, 96]),
        (LONDON, date(2024, 10, 26), 30, [48, 50, 48]),
        (LORD_HOWE, date(2024, 10, 5), 30, [48, 47, 48]),  # its clock moves by half an hour
    ],
)
def test_readings_stand_at_their_hour_of_the_wall_clock_and_come_back(
    zone: ZoneInfo, first: date, step_minutes: int, lengths: list[int]
) -> None:
    clock = DayClock(zone, first, 3, step_minutes * MINUTE_NS)
    starts = np.concatenate([clock.instants(at)[0] for at in range(3)])
    assert [len(clock.instants(at)[0]) for at in range(3)] == lengths
    assert (np.diff(starts) == clock.step_ns).all()
    walls = [from_ns(int(ns)).astimezone(zone) for ns in starts]
    minute = np.array([float(wall.hour * 60 + wall.minute) for wall in walls])
    (laid,) = clock.laid_out([(starts, minute)])
    plain = np.arange(clock.steps) * step_minutes
    for day in range(3):
        there = np.isfinite(laid[day])
        assert (laid[day][there] == plain[there]).all()
        assert (laid[day][clock.instants(day)[1]] == minute[[wall.date() == clock.day(day) for wall in walls]]).all()
    assert np.isnan(laid).sum() == max(0, 3 * clock.steps - len(starts))


def test_the_repeated_hour_is_the_mean_of_its_two_passes() -> None:
    clock = DayClock(PACIFIC, date(2024, 11, 3), 1, HOUR_NS)
    starts, steps = clock.instants(0)
    (laid,) = clock.laid_out([(starts, np.arange(25.0))])
    assert list(steps[:4]) == [0, 1, 1, 2] and laid[0, 1] == 1.5 and laid[0, 2] == 3.0


def test_readings_off_the_grid_of_midnight_are_refused_and_others_left_out() -> None:
    clock = DayClock(PACIFIC, date(2024, 7, 1), 1, HOUR_NS)
    with pytest.raises(
        ConfigError, match=r"start = 2024-07-01T07:30:00Z: it is no whole number of 60 minute intervals"
    ):
        clock.laid_out([(np.array([clock.start_ns + 30 * MINUTE_NS]), np.ones(1))])
    (laid,) = clock.laid_out([(np.array([clock.start_ns - HOUR_NS, clock.start_ns]), np.array([5.0, np.nan]))])
    assert np.isnan(laid).all()


def test_weather_is_straight_between_readings_and_missing_beyond_three_hours() -> None:
    clock = DayClock(PACIFIC, date(2024, 3, 10), 1, 30 * MINUTE_NS)
    at = clock.start_ns + np.array([0, 1, 2, 3, 12, 13, 23], np.int64) * HOUR_NS
    found = clock.interpolated(at, np.array([10.0, 12.0, np.nan, 16.0, 20.0, 22.0, 9.0]))[0]
    assert list(found[:4]) == [10.0, 11.0, 12.0, 13.0]  # 3 h apart is near enough
    assert found[4] == found[5] == found[3]  # two o'clock was skipped
    assert found[6] == 14.0
    assert np.isnan(found[10:24]).all()
    assert np.isnan(clock.interpolated(at[:0], np.empty(0))).all()


def issue(known_at: str, kwh: float, series: tuple[str, ...] = ("a", "b"), start: str = "2024-07-01T00:00Z") -> Issue:
    starts = parse_iso(start) + np.arange(3, dtype=np.int64) * HOUR_NS
    mean = np.full((len(series), 3), kwh)
    levels = np.array([0.1, 0.9])
    return Issue(
        series, "kWh", parse_iso(known_at), parse_iso("2024-06-29T00:00Z"), starts, HOUR_NS, ("ridge",) * len(series), mean,
        levels, mean[..., None] + np.array([-1.0, 1.0]),
    )  # fmt: skip


def test_any_instant_is_told_what_was_known_then(tmp_path: Path) -> None:
    keep(tmp_path, issue("2024-06-30T12:00Z", 2.0))
    keep(tmp_path, issue("2024-06-30T10:00Z", 1.0))
    keep(tmp_path, issue("2024-06-30T14:00Z", 3.0, ("b",), "2024-07-01T01:00Z"))
    assert as_known(tmp_path, parse_iso("2024-06-30T09:59Z")).num_rows == 0
    assert set(as_known(tmp_path, parse_iso("2024-06-30T10:00Z"))["mean"].to_pylist()) == {1.0}
    assert set(as_known(tmp_path, parse_iso("2024-06-30T13:59Z"))["mean"].to_pylist()) == {2.0}
    late = as_known(tmp_path, parse_iso("2024-07-09T00:00Z"))
    assert late.filter(np.array(late["series"].to_pylist()) == "b")["mean"].to_pylist() == [2.0, 3.0, 3.0, 3.0]
    part = as_known(tmp_path, parse_iso("2024-07-09T00:00Z"), "a", parse_iso("2024-07-01T01:00Z"))
    assert part["mean"].to_pylist() == [2.0, 2.0] and part["quantiles"].to_pylist() == [[1.0, 3.0]] * 2


def test_what_was_known_is_never_overwritten(tmp_path: Path) -> None:
    one = keep(tmp_path, issue("2024-06-30T10:00Z", 1.0))
    before = one.read_bytes()
    assert keep(tmp_path, issue("2024-06-30T10:00Z", 1.0)) == one and one.read_bytes() == before
    with pytest.raises(ConfigError, match=r"known_at = 2024-06-30T10:00:00Z: holds another forecast of 'a'"):
        keep(tmp_path, issue("2024-06-30T10:00Z", 1.1))
    keep(tmp_path, issue("2024-06-30T10:00Z", 5.0, ("c",)))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_is_named_and_nothing_is_told(tmp_path: Path) -> None:
    path = keep(tmp_path, issue("2024-06-30T10:00Z", 1.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=path.name):
        as_known(tmp_path, parse_iso("2025-01-01T00:00Z"))
    with pytest.raises(ConfigError, match="holds no forecast"):
        as_known(tmp_path / "none", 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)), unique=True), st.integers(-1, 10))
def test_the_newest_row_then_is_found_as_by_looking_at_each(rows: list[tuple[int, int, int]], at: int) -> None:
    series, starts, known = (np.array([row[k] for row in rows], np.int64) for k in range(3))
    found = [rows[k] for k in newest(series, starts, known, at)]
    best: dict[tuple[int, int], int] = {}
    for one, start, when in rows:
        if when <= at:
            best[one, start] = max(best.get((one, start), -1), when)
    assert found == [(*key, when) for key, when in sorted(best.items())]


def test_an_issue_that_claims_what_cant_be_is_refused() -> None:
    good = issue("2024-06-30T10:00Z", 1.0)
    with pytest.raises(ConfigError, match="known_at = 2024-06-28T00:00:00Z: it was made from readings until"):
        replace(good, known_at_ns=parse_iso("2024-06-28T00:00Z"))
    with pytest.raises(ConfigError, match="mean of series 'b' = nan"):
        replace(good, mean=np.array([[1.0, 1, 1], [1, np.nan, 1]]))
    with pytest.raises(ConfigError, match=r"series = 2"):
        replace(good, series=("a", "a"))
    with pytest.raises(ConfigError, match=r"mean = \(1, 3\)"):
        replace(good, mean=good.mean[:1])
