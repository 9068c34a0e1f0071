"""A folder of day files settles as the meter file that it was packed from, meter by meter and to the cent."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from tieline.node.cli import main

ZONE = ZoneInfo("America/Chicago")
CALL = datetime(2024, 7, 31, 16, tzinfo=ZONE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five meters with readings in sixteenths, exact in either width; in the called hours less by a quarter."""
    rng, rows = np.random.default_rng(7), []
    start = CALL.replace(hour=0) - timedelta(days=40)
    for meter in "abcde":
        for hour in range(41 * 24):
            at = start + timedelta(hours=hour)
            kwh = (16 + rng.integers(0, 64)) / 16
            kwh -= 0.5 if CALL <= at < CALL + timedelta(hours=2) else 0.0
            rows.append(f"{at.isoformat()},{kwh},{meter}")
    (tmp_path / "meter.csv").write_text("start,kwh,meter\n" + "\n".join(rows) + "\n")
    (tmp_path / "event.toml").write_text(
        'timezone = "America/Chicago"\nstart = "2024-07-31T16:00:00"\nend = "2024-07-31T18:00:00"\n'
        "other_event_days = [2024-07-24]\nholidays = [2024-07-04]\n"
    )
    (tmp_path / "awards.csv").write_text("start,mw,price\n2024-07-31T16:00:00-05:00,0.004,62.15\n")
    (tmp_path / "prices.csv").write_text("start,price\n2024-07-31T16:00:00-05:00,580\n2024-07-31T17:00:00-05:00,3100\n")
    return tmp_path


def run(folder: Path, *words: str):
    return CliRunner().invoke(main, ["settle", *words])


def pack(folder: Path) -> dict:
    done = run(
        folder, "pack", str(folder / "meter.csv"), str(folder / "days"), "--timezone", "America/Chicago", "--json"
    )
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def words(folder: Path, meters: str, *more: str, rule: str = "caiso-residential-5-in-10") -> list[str]:
    files = {name: str(folder / f"{name}.csv") for name in ("awards", "prices")}
    return [
        rule, str(folder / meters), "--event", str(folder / "event.toml"), "--awards", files["awards"],
        "--prices", files["prices"], "--operator-share", "0.2", *more,
    ]  # fmt: skip


def settle(folder: Path, meters: str, *more: str, **how: str) -> dict:
    done = run(folder, *words(folder, meters, *more, **how), "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "rule", ["caiso-residential-5-in-10", "caiso-10-in-10", "pjm-3-day-types-saa", "ercot-middle-8-of-10"]
)
def test_a_folder_of_days_settles_as_its_meter_file(folder: Path, rule: str) -> None:
    packed = pack(folder)
    assert (packed["days"], packed["meters"], packed["per_day"]) == (41, 5, 24)
    one = settle(folder, "meter.csv", "--level", "meter", rule=rule)
    other = settle(folder, "days", "--shares", str(folder / "shares.csv"), rule=rule)
    for name in ("total", "operator", "undistributed", "by_kind", "shortfall_by_cause", "flags"):
        assert other[name] == one[name], name
    assert [line["amount"] for line in other["lines"]] == [line["amount"] for line in one["lines"]]
    with (folder / "shares.csv").open() as file:
        shares = {row["meter"]: row for row in csv.DictReader(file)}
    assert {name: row["amount"] for name, row in shares.items()} == {n: o["amount"] for n, o in one["owners"].items()}
    assert float(shares["a"]["kwh"]) == pytest.approx(one["owners"]["a"]["kwh"], abs=1e-6)
    assert sum(Decimal(row["amount"]) for row in shares.values()) == Decimal(other["paid_to_owners"])


def test_the_same_days_give_the_same_bytes_and_a_corrected_reading_another_statement(folder: Path) -> None:
    pack(folder)
    first, again = (run(folder, *words(folder, "days"), "--json").stdout for _ in range(2))
    assert first == again
    path = folder / "days" / "2024-07-30.parquet"
    table = pyarrow.parquet.read_table(path)
    at = table.column_names.index("kwh_1600")
    corrected = table["kwh_1600"].to_numpy().copy()
    corrected[3] += 1
    table = table.set_column(at, "kwh_1600", [corrected])
    pyarrow.parquet.write_table(table, path, row_group_size=65_536)
    assert settle(folder, "days")["statement"] != json.loads(first)["statement"]


def test_a_meter_without_readings_gains_nothing_and_explains_its_even_part(folder: Path) -> None:
    text = (folder / "meter.csv").read_text().splitlines()
    silent = [f"{line.split(',')[0]},,e" if line.endswith(",e") and "07-31T1" in line else line for line in text]
    (folder / "meter.csv").write_text("\n".join(silent) + "\n")
    (folder / "awards.csv").write_text("start,mw,price\n2024-07-31T16:00:00-05:00,1,62.15\n")
    pack(folder)
    found = settle(folder, "days")
    causes = {name: Decimal(amount) for name, amount in found["shortfall_by_cause"].items()}
    assert set(causes) == {"no_meter_data", "underperformed"}
    # A fifth of a megawatt in two hours, at 580 and 3100.
    assert float(causes["no_meter_data"]) == pytest.approx(-0.2 * 3680, abs=0.02)
    assert found["flags"] == ["up to 1 meters without a reading in an interval: zero performance there"]


def test_what_is_no_folder_of_days_is_refused_by_name(folder: Path) -> None:
    (folder / "none").mkdir()
    assert "no days of meters: give YYYY-MM-DD.parquet" in run(folder, *words(folder, "none")).stderr
    pack(folder)
    again = run(folder, "pack", str(folder / "meter.csv"), str(folder / "days"), "--timezone", "America/Chicago")
    assert (again.exit_code, "it is not empty" in again.stderr) == (2, True)
    zone = run(folder, "pack", str(folder / "meter.csv"), str(folder / "other"), "--timezone", "Chicago")
    assert "--timezone 'Chicago': give an IANA name" in zone.stderr
    assert "--level registration" in run(folder, *words(folder, "days", "--level", "registration")).stderr
    assert "--shares" in run(folder, *words(folder, "meter.csv", "--shares", "x.csv")).stderr
    picks = run(folder, *words(folder, "days", rule="pjm-same-day"))
    assert "picks same-day: give a rule that picks all, highest, middle" in picks.stderr
    table = pyarrow.parquet.read_table(folder / "days" / "2024-07-30.parquet")
    pyarrow.parquet.write_table(
        table.rename_columns(["m", *table.column_names[1:]]), folder / "days" / "2024-07-30.parquet"
    )
    assert "2024-07-30.parquet: column meter is missing" in run(folder, *words(folder, "days")).stderr
    (folder / "days" / "2024-07-30.parquet").write_text("no parquet")
    assert "2024-07-30.parquet" in run(folder, *words(folder, "days")).stderr


def test_days_lie_on_the_clock_of_their_zone_through_a_change_of_time(tmp_path: Path) -> None:
    """ERCOT: 2024-03-10 has no HE03, 2024-11-03 has HE02 twice; the first of the two is kept."""
    rows = []
    for day, first in (("2024-03-10", "2024-03-10T00:00:00-06:00"), ("2024-11-03", "2024-11-03T00:00:00-05:00")):
        start = datetime.fromisoformat(first)
        hours = 23 if day == "2024-03-10" else 25
        rows += [f"{(start + timedelta(hours=k)).isoformat()},{k}" for k in range(hours)]
    (tmp_path / "meter.csv").write_text("start,kwh\n" + "\n".join(rows) + "\n")
    pack(tmp_path)
    spring, autumn = (
        [
            pyarrow.parquet.read_table(tmp_path / "days" / f"{day}.parquet")[f"kwh_{h:02d}00"][0].as_py()
            for h in range(24)
        ]
        for day in ("2024-03-10", "2024-11-03")
    )
    assert spring[:2] == [0.0, 1.0]
    assert np.isnan(spring[2])
    assert spring[3:] == [float(k) for k in range(2, 23)]
    assert autumn[:3] == [0.0, 1.0, 3.0]
