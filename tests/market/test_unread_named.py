"""A reading that lacks is named by meter, instant and row, and costs what was sold of its meter: no more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tieline.node.cli import main

FIRST = datetime(2024, 6, 1, 7, tzinfo=UTC)
EVENT = """timezone = "America/Los_Angeles"
start = 2024-07-31T16:00:00-07:00
end = 2024-07-31T18:00:00-07:00
"""
AT = 60 * 24 + 16
GAVE = {"a": (0, 0), "b": (None, 3), "c": (4, 4)}
"""kWh less than the usual ten, in both hours of the event; b was not read in the first."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = ["start,kwh,meter"]
    for meter, gave in GAVE.items():
        for h in range(61 * 24):
            less = gave[h - AT] if 0 <= h - AT < 2 else 0
            kwh = "" if less is None else 10 - less
            rows.append(f"{(FIRST + timedelta(hours=h)).isoformat()},{kwh},{meter}")
    (tmp_path / "meter.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "event.toml").write_text(EVENT)
    hours = [f"2024-07-31T{h}:00:00-07:00" for h in (16, 17)]
    (tmp_path / "awards.csv").write_text("start,mw,price\n" + "".join(f"{at},0.009,50\n" for at in hours))
    (tmp_path / "prices.csv").write_text("start,price\n" + "".join(f"{at},100\n" for at in hours))
    return tmp_path


def run(folder: Path, verb: str, *more: str) -> dict:
    words = [verb, "caiso-10-in-10", str(folder / "meter.csv"), "--event", str(folder / "event.toml"), *more, "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def settle(folder: Path, level: str) -> dict:
    files = ("--awards", str(folder / "awards.csv"), "--prices", str(folder / "prices.csv"))
    return run(folder, "settle", *files, "--level", level)


def lacks(found: dict, hour: int) -> dict[str, float]:
    lines = [line for line in found["lines"] if line["cause"] and f"T{hour}:" in line["start"]]
    return {line["cause"]: line["kwh"] for line in lines}


def test_of_a_lack_the_unread_meter_explains_its_part_of_what_was_sold_and_others_the_rest(folder: Path) -> None:
    """9 kW were sold of three equal meters, 4 came: 3 are the unread one's, 2 lacked elsewhere. It was told as 5 and 0."""
    found = settle(folder, "meter")
    assert lacks(found, 16) == pytest.approx({"no_meter_data": -3.0, "underperformed": -2.0})
    assert lacks(found, 17) == pytest.approx({"underperformed": -2.0})
    assert found["shortfall_by_cause"] == {"no_meter_data": "-0.30", "underperformed": "-0.40"}


def test_of_a_registration_as_one_that_was_not_read_whole_the_lack_is_its_reading_s(folder: Path) -> None:
    assert lacks(settle(folder, "registration"), 16) == pytest.approx({"no_meter_data": -9.0})


@pytest.mark.parametrize("level", ["meter", "registration"])
def test_the_flag_names_meter_instant_and_row(folder: Path, level: str) -> None:
    row = 2 + 61 * 24 + AT
    said = f"b: 1 intervals of the event without a reading: 2024-07-31T16:00:00-07:00 (row {row} is empty)"
    assert said in settle(folder, level)["flags"]
    assert said in run(folder, "baseline", "--level", level)["flags"]
    text = (folder / "meter.csv").read_text().splitlines()
    assert text[row - 1].endswith(",,b")
    (folder / "meter.csv").write_text("\n".join(text[: row - 1] + text[row:]) + "\n")
    assert said.replace(f"row {row} is empty", "no row") in settle(folder, level)["flags"]
