"""Customers that were not called as the measure of those that were: vectors by hand, properties, and honest errors."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.baseline import Event, compute
from tieline.market.comparison import Group, group_mean, matched, nearest
from tieline.market.controls import controlled
from tieline.market.picking import LeftOut
from tieline.market.rule import baseline_rule
from tieline.node.cli import main

DAY = date(2024, 7, 31)
CALL = Event(DAY, 16, 20)
DAYS = [DAY - timedelta(days=back) for back in range(61)]
MATCHED, GROUP = baseline_rule("matched-controls"), baseline_rule("caiso-control-group")


def crowd(count: int, seed: int, noise: float = 0.2, cut: float = 0.0, heat: float = 0.8) -> dict:
    """Homes of different size and evening peak; on the event day all use `heat` of their size more from noon on."""
    rng = np.random.default_rng(seed)
    found = {}
    for k in range(count):
        size, peak = rng.uniform(0.6, 1.6), rng.choice([8, 18])
        shape = size * (1 + 0.6 * np.exp(-(((np.arange(24) - peak) / 3) ** 2)))
        found[f"{seed}-{k}"] = {
            day: (shape + (day == DAY) * heat * size * (np.arange(24) >= 12)) * rng.uniform(1 - noise, 1 + noise, 24)
            - cut * (day == DAY) * ((np.arange(24) >= 16) & (np.arange(24) < 20))
            for day in DAYS
        }
    return found


def test_a_vector_by_hand_of_difference_in_differences() -> None:
    """Two called of 2 and 4 kWh an hour; controls of 2, 4 and 9, up by 1, 2 and 100 on the day: 2+1 and 4+2."""
    before = np.ones((1, 3, 24))
    called = Group(np.full((2, 24), np.nan), np.concatenate([before * 2, before * 4]))
    controls = Group(np.outer([3.0, 6.0, 109.0], np.ones(24)), np.concatenate([before * 2, before * 4, before * 9]))
    made, found = matched(called, controls, 1, slice(16, 20))
    assert made[:, 16:20].tolist() == [[3.0] * 4, [6.0] * 4]
    assert (found.called, found.controls, found.days) == (2, 2, 3)
    assert found.placebo_error == pytest.approx(0.0, abs=1e-12)


def test_a_vector_by_hand_of_a_control_groups_mean_and_slope() -> None:
    """Controls of 1 and 3 kWh: a called one's baseline is 2; the called used 2.1 on like days, so the slope is 1.05."""
    past = np.ones((1, 4, 24))
    controls = Group(np.outer([1.0, 3.0], np.ones(24)), np.concatenate([past, past * 3]))
    made, found = group_mean(Group(np.ones((5, 24)), np.repeat(past * 2.1, 5, axis=0)), controls, slice(16, 20))
    assert made.tolist() == [2.0] * 24
    assert found.slope == pytest.approx(1.05)
    assert found.precision == pytest.approx(1.6448536 * 0.1 / 2.1)
    assert not found.is_valid, "two controls are no group"


def test_the_nearest_are_found_as_by_looking_at_each_pair() -> None:
    rng = np.random.default_rng(1)
    called, controls = rng.random((7, 24)), rng.random((40, 24))
    far = np.array([[((a - b) ** 2).sum() for b in controls] for a in called])
    assert nearest(called, controls, 3).tolist() == np.argsort(far, axis=1)[:, :3].tolist()
    twins = np.ones((4, 24))
    assert nearest(twins[:1], twins, 2).tolist() == [[0, 1]], "of two as near the first counts"


def test_matched_controls_find_what_was_cut_within_three_standard_errors() -> None:
    found = controlled(MATCHED, crowd(40, 1, cut=0.5), crowd(200, 2), CALL)
    assert found.comparison is not None
    assert found.performance.sum() == pytest.approx(40 * 0.5 * 4, abs=3 * found.comparison.error)
    assert found.comparison.error < 8


def test_the_standard_error_is_what_repeated_trials_scatter_by() -> None:
    """60 trials with nothing cut: what is found must scatter by the error that is told, within chance."""
    scores = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        sizes = rng.uniform(0.6, 1.6, 70)
        shape = np.outer(sizes, 1 + 0.5 * np.sin(np.arange(24) / 24 * 2 * np.pi))
        before = shape[:, None] * rng.uniform(0.7, 1.3, (70, 12, 24))
        today = shape * rng.uniform(0.7, 1.3, (70, 24)) + 0.4 * sizes[:, None]
        made, found = matched(Group(today[:20], before[:20]), Group(today[20:], before[20:]), 4, slice(16, 20))
        scores.append(float((made - today[:20])[:, 16:20].sum()) / found.error)
    assert abs(np.mean(scores)) < 0.5
    assert 0.7 < np.std(scores) < 1.4


@given(scale=st.floats(0.01, 100))
@settings(max_examples=8, deadline=None)
def test_scaling_all_loads_scales_what_was_gained_under_both_rules(scale: float) -> None:
    one, two = crowd(6, 1, cut=0.3), crowd(160, 2)
    big = [{name: {day: v * scale for day, v in days.items()} for name, days in side.items()} for side in (one, two)]
    for rule in (MATCHED, GROUP):
        plain = controlled(rule, one, two, CALL).performance
        assert controlled(rule, big[0], big[1], CALL).performance == pytest.approx(plain * scale, rel=1e-9)


def test_the_called_customers_event_day_never_enters_their_baseline() -> None:
    one, two = crowd(6, 1), crowd(160, 2)
    other = {name: {**days, DAY: days[DAY] * 9} for name, days in one.items()}
    for rule in (MATCHED, GROUP):
        assert np.array_equal(controlled(rule, one, two, CALL).baseline, controlled(rule, other, two, CALL).baseline)


def test_a_group_of_the_same_people_is_valid_and_one_of_larger_homes_is_not() -> None:
    # The sizes of 160 and 60 homes differ by chance: that their means agree is made, not hoped for.
    two = crowd(160, 2, noise=0.05)
    one = {f"c{k}": days for k, days in enumerate(two.values())}
    found = controlled(GROUP, one, two, CALL)
    assert found.comparison is not None
    assert found.comparison.is_valid
    assert found.flags == ()
    big = {name: {day: v * 1.2 for day, v in days.items()} for name, days in one.items()}
    odd = controlled(GROUP, big, two, CALL)
    assert odd.comparison is not None
    assert not odd.comparison.is_valid
    assert "control group not valid: slope 1.2" in odd.flags[0]


def test_who_has_gaps_is_left_out_by_name_and_event_days_are_not_compared_on() -> None:
    one, two = crowd(3, 1), crowd(30, 2)
    two["2-0"][DAY] = np.where(np.arange(24) == 17, np.nan, two["2-0"][DAY])
    two["2-1"] = {DAY: two["2-1"][DAY]}
    found = controlled(MATCHED, one, two, CALL, LeftOut(frozenset({DAYS[1]})))
    assert "control 2-0 left out: gaps in the event" in found.flags
    assert "control 2-1 left out: 0 whole days, needs 5" in found.flags
    assert DAYS[1] not in found.days
    assert dict(found.excluded)[DAYS[1]] == "an event day"


def test_who_stands_on_both_sides_or_has_nobody_beside_is_refused() -> None:
    one, two = crowd(3, 1), crowd(30, 2)
    with pytest.raises(ValueError, match="2-0 was called and stands among the controls"):
        controlled(MATCHED, {**one, "2-0": two["2-0"]}, two, CALL)
    with pytest.raises(ValueError, match="3 called and 3 controls with readings, needs 1 and 4"):
        controlled(MATCHED, one, dict(list(two.items())[:3]), CALL)
    with pytest.raises(ValueError, match="goes by customers that were not called"):
        compute(MATCHED, one["1-0"], CALL)


def write(path: Path, meters: dict) -> None:
    zone = ZoneInfo("America/Phoenix")
    rows = [
        f"{datetime(day.year, day.month, day.day, hour, tzinfo=zone).isoformat()},{value},{name}\n"
        for name, days in meters.items()
        for day, values in days.items()
        for hour, value in enumerate(values)
    ]
    path.write_text("start,kwh,meter\n" + "".join(rows))


def test_from_files_the_answer_says_who_was_compared_and_with_what_error(tmp_path: Path) -> None:
    write(tmp_path / "called.csv", crowd(4, 1, cut=0.5))
    write(tmp_path / "controls.csv", crowd(12, 2))
    event = 'timezone = "America/Phoenix"\nstart = 2024-07-31T16:00:00-07:00\nend = 2024-07-31T20:00:00-07:00\n'
    (tmp_path / "event.toml").write_text(event + 'controls = "controls.csv"\n')
    words = ["baseline", "matched-controls", str(tmp_path / "called.csv"), "--event", str(tmp_path / "event.toml")]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["level"] == "registration"
    assert found["comparison"]["called"] == 4
    assert found["comparison"]["slope"] is None
    assert found["total_kwh"] == pytest.approx(8.0, abs=3 * found["comparison"]["error"])
    (tmp_path / "event.toml").write_text(event)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert 'controls is missing: matched-controls goes by it: give controls = "FILE.csv"' in done.stderr
    done = CliRunner().invoke(main, [*words, "--level", "meter"])
    assert "compares all who were called with who was not: registration" in done.stderr
