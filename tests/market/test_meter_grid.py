"""The length of a meter's interval is what most readings say; a row that doesn't fit is named, in every way in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.store.meter_files import read_meters

FIRST = datetime(2024, 6, 1, 7, tzinfo=UTC)
EVENT = """timezone = "America/Los_Angeles"
start = 2024-07-31T16:00:00-07:00
end = 2024-07-31T20:00:00-07:00
holidays = [2024-07-04]
peak_load_kw = 60
firm_service_kw = 80
"""
STRAY = "2024-07-15T23:30:00+00:00"


def rows(minutes: int, days: int, since: datetime = FIRST) -> list[tuple[str, float]]:
    """One meter's readings of so many days: a shape of the day, kWh of each interval."""
    every = (since + timedelta(minutes=minutes * k) for k in range(days * 24 * 60 // minutes))
    return [(at.isoformat(), (30 + at.hour) * minutes / 60) for at in every]


def written(folder: Path, *meters: list[tuple[str, float]], form: str = "csv") -> Path:
    path = folder / "meter.csv"
    names = [""] if len(meters) == 1 else [f",m{k}" for k in range(len(meters))]
    lines = [f"{at},{kwh}{name}\n" for name, held in zip(names, meters, strict=True) for at, kwh in held]
    path.write_text(f"start,kwh{',meter' if len(meters) > 1 else ''}\n" + "".join(lines))
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), folder / "meter.parquet")
        return folder / "meter.parquet"
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "event.toml").write_text(EVENT)
    (tmp_path / "awards.csv").write_text("start,mw,price\n2024-07-31T16:00:00-07:00,0.004,62.15\n")
    (tmp_path / "prices.csv").write_text("start,price\n2024-07-31T16:00:00-07:00,58\n")
    return tmp_path


def settle(folder: Path, rule: str, meter: Path):
    files = ["--event", "event.toml", "--awards", "awards.csv", "--prices", "prices.csv"]
    words = [str(folder / word) if "." in word else word for word in files]
    return CliRunner().invoke(main, ["settle", rule, str(meter), *words, "--json"])


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("rule", ["pjm-firm-service-level", "pjm-same-day", "caiso-10-in-10"])
def test_a_row_between_the_hours_is_refused_and_named_whatever_the_rule(folder: Path, rule: str, form: str) -> None:
    """It halved the interval before: a firm service level of 80 kW was then passed, and paid for, all the same."""
    whole = rows(60, 61)
    good = settle(folder, rule, written(folder, whole, form=form))
    assert good.exit_code == 0, good.stderr
    assert {line["kind"] for line in json.loads(good.stdout)["lines"]} >= {"day_ahead"}
    done = settle(folder, rule, written(folder, [*whole, (STRAY, 7.0)], form=form))
    assert done.exit_code == 2
    over = 2 + [at for at, _ in whole].index("2024-07-15T23:00:00+00:00")
    assert f"row {len(whole) + 2}: start = 2024-07-15T23:30:00Z: off the grid" in done.stderr
    assert f"it overlaps row {over}" in done.stderr


@pytest.mark.parametrize("minutes", [15, 30, 60])
@pytest.mark.parametrize("where", [0, 400, -1])
def test_the_row_off_the_grid_is_named_wherever_it_stands_and_of_whichever_meter(folder, minutes, where) -> None:
    """The first row too, by which the grid was once counted."""
    good, bad = rows(minutes, 20), rows(minutes, 20)
    at = datetime.fromisoformat(bad[where][0]) + timedelta(minutes=minutes // 3)
    bad[where] = (at.isoformat(), 1.0)
    row = len(good) + 2 + range(len(bad))[where]
    with pytest.raises(ConfigError, match=rf"meter m1: row {row}: start = .*off the grid"):
        read_meters(written(folder, good, bad))


@pytest.mark.parametrize(("before", "after", "days"), [(60, 15, (30, 30)), (15, 60, (30, 30)), (60, 15, (300, 3))])
def test_a_meter_exchanged_for_one_of_another_length_is_refused_with_the_rows_of_the_rarer(
    folder, before, after, days
) -> None:
    """Three days of quarter hours after 300 of hours are 288 rows to 7,200; 30 to 30 are 2,880 to 720."""
    then = FIRST + timedelta(days=days[0])
    held = [*rows(before, days[0]), *rows(after, days[1], then)]
    with pytest.raises(ConfigError) as refused:
        read_meters(written(folder, held))
    counts = [days[0] * 1440 // before, days[1] * 1440 // after]
    rare = 0 if counts[0] < counts[1] else 1
    first = 2 if rare == 0 else counts[0] + 2
    said = str(refused.value)
    assert f"rows {first} to {first + counts[rare] - (0 if rare == 0 else 1)}: {(before, after)[rare]} minute" in said
    assert "give each length in a file of its own" in said


@given(st.sets(st.integers(0, 20 * 24 - 1), max_size=150), st.sampled_from([15, 30, 60]))
def test_gaps_leave_the_length_as_it_is(tmp_path_factory, left_out, minutes) -> None:
    held = [row for k, row in enumerate(rows(minutes, 20)) if k not in left_out]
    (one,) = read_meters(written(tmp_path_factory.mktemp("gaps"), held))
    assert (one.step_ns, len(one.kwh)) == (minutes * 60 * 10**9, len(held))


def test_hours_that_begin_at_half_past_are_not_moved_onto_the_day_s_own(folder: Path) -> None:
    """They were laid onto the hour in which they begin, half an hour too early."""
    held = rows(60, 61, FIRST + timedelta(minutes=30))
    done = settle(folder, "caiso-10-in-10", written(folder, held))
    assert done.exit_code == 2
    assert "60 minute intervals begin 30 minutes past those of the day in America/Los_Angeles" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["baseline", "caiso-10-in-10", "--event", "event.toml"], ["settle", "pack", "days", "--timezone", "UTC"],
     ["placebo", "--timezone", "America/Los_Angeles"], ["accuracy", "--timezone", "America/Los_Angeles"],
     ["forecast", "day", "--timezone", "UTC"]],
)  # fmt: skip
def test_each_verb_that_reads_meters_refuses_the_row(folder: Path, words: list[str]) -> None:
    meter = written(folder, [*rows(60, 61), (STRAY, 7.0)])
    at = 1 if words[0] in ("placebo", "accuracy") else 2
    said = [str(folder / word) if "." in word or word == "days" else word for word in words]
    done = CliRunner().invoke(main, [*said[:at], str(meter), *said[at:]])
    assert done.exit_code == 2
    assert f"row {61 * 24 + 2}: start = 2024-07-15T23:30:00Z: off the grid" in done.stderr
