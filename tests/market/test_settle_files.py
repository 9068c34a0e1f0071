"""`tieline settle`: the two-settlement vector from files, shares to the cent, the same bytes twice, bad rows named."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tieline.market.settlement import Basis, Measured, award_lines
from tieline.node.cli import main

ZONE = ZoneInfo("America/Chicago")
CALL = datetime(2024, 7, 31, 16, tzinfo=ZONE)
PRICES = [58, 61, 64, 70, 95, 120, 240, 310, 180, 90, 72, 66]
GAINED_MW = [3.6] * 4 + [4.1] * 4 + [3.9] * 4


def readings(flat_kwh: float = 1_000.0, scale: float = 1.0) -> list[tuple[str, float]]:
    """Twelve megawatts in five-minute readings, each like day alike; in the called hour less by what was gained."""
    start = CALL.replace(hour=0) - timedelta(days=20)
    rows = []
    for k in range(20 * 288 + 240):
        at = start + timedelta(minutes=5 * k)
        called = (at - CALL) // timedelta(minutes=5)
        gained = GAINED_MW[called] * 1e3 / 12 if 0 <= called < 12 else 0.0
        rows.append((at.isoformat(), scale * (flat_kwh - gained)))
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meter.csv").write_text("start,kwh\n" + "".join(f"{start},{kwh}\n" for start, kwh in readings()))
    (tmp_path / "event.toml").write_text(
        'timezone = "America/Chicago"\nstart = "2024-07-31T16:00:00"\nend = "2024-07-31T17:00:00"\n'
    )
    (tmp_path / "awards.csv").write_text("start,mw,price\n2024-07-31T16:00:00-05:00,4,62.15\n")
    rows = (f"{(CALL + timedelta(minutes=5 * k)).isoformat()},{price}\n" for k, price in enumerate(PRICES))
    (tmp_path / "prices.csv").write_text("start,price\n" + "".join(rows))
    return tmp_path


def words(folder: Path, *more: str, rule: str = "caiso-10-in-10", meter: str = "meter.csv") -> list[str]:
    files = {name: str(folder / f"{name}.csv") for name in ("awards", "prices")}
    return [
        "settle", rule, str(folder / meter), "--event", str(folder / "event.toml"),
        "--awards", files["awards"], "--prices", files["prices"], *more,
    ]  # fmt: skip


def settle(folder: Path, *more: str, **how: str) -> dict:
    done = CliRunner().invoke(main, [*words(folder, *more, **how), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_vector_s1_from_files_each_interval_at_its_own_price(folder: Path) -> None:
    """Origin: 6-business.md section 4, S1: 248.60 - 5.4583, each interval rounded to the cent once."""
    found = settle(folder)
    assert found["by_kind"]["day_ahead"] == "248.60"
    real_time = sum(Decimal(line["amount"]) for line in found["lines"] if line["kind"] != "day_ahead")
    assert real_time == Decimal("-5.45")
    assert abs(float(real_time) + 5.4583) < 12 * 0.005
    assert found["total"] == "243.15"
    assert found["delivered_kwh"] == pytest.approx(sum(GAINED_MW) / 12 * 1e3)
    assert found["shortfall_by_cause"] == {"underperformed": "-11.82"}
    assert sum(Decimal(line["amount"]) for line in found["lines"]) == Decimal(found["total"])


def test_the_same_files_give_the_same_bytes_and_a_corrected_reading_another_statement(folder: Path) -> None:
    first, again = (CliRunner().invoke(main, [*words(folder), "--json"]).stdout for _ in range(2))
    assert first == again
    text = (folder / "meter.csv").read_text()
    (folder / "meter.csv").write_text(text.replace(",700.0\n", ",701.0\n"))
    other = settle(folder)
    assert other["statement"] != json.loads(first)["statement"]
    assert other["input_hash"] != json.loads(first)["input_hash"]


def test_a_corrected_temperature_makes_another_statement_and_prices_have_their_currency(folder: Path) -> None:
    """What days stand for the event follows from it as much as from the meter."""
    days = [CALL - timedelta(days=k) for k in range(20)]
    (folder / "event.toml").write_text((folder / "event.toml").read_text() + 'temperature = "warm.csv"\n')
    made = []
    for hottest in (35.0, 36.0):
        rows = (f"{day.isoformat()},{hottest if day == CALL else 30.0}\n" for day in days)
        (folder / "warm.csv").write_text("start,celsius\n" + "".join(rows))
        made.append(settle(folder, "--currency", "GBP", rule="caiso-weather-match"))
    assert made[0]["statement"] != made[1]["statement"]
    assert made[0]["input_hash"] != made[1]["input_hash"]
    assert made[0]["currency"] == "GBP"
    done = CliRunner().invoke(main, words(folder, "--currency", "pounds"))
    assert (done.exit_code, "--currency 'pounds': give three capital letters" in done.stderr) == (2, True)
    (folder / "warm.csv").write_text("start,celsius\n2024-07-31T16:00:00-05:00,200\n")
    done = CliRunner().invoke(main, words(folder, rule="caiso-weather-match"))
    assert (done.exit_code, "row 2: celsius = 200: give -90 to 65 degC" in done.stderr) == (2, True)


def test_owners_share_to_the_cent_by_what_each_meter_gained(folder: Path) -> None:
    rows = [
        f"{start},{kwh},{name}\n" for name, scale in (("a", 0.25), ("b", 0.75)) for start, kwh in readings(scale=scale)
    ]
    (folder / "two.csv").write_text("start,kwh,meter\n" + "".join(rows))
    found = settle(folder, "--operator-share", "0.2", "--level", "meter", meter="two.csv")
    assert (found["operator"], found["adds_up"]) == ("48.63", True)
    amounts = {name: Decimal(owner["amount"]) for name, owner in found["owners"].items()}
    assert sum(amounts.values()) + Decimal(found["operator"]) == Decimal(found["total"])
    assert abs(amounts["b"] - 3 * amounts["a"]) <= Decimal("0.02")


def test_lines_are_written_as_csv(folder: Path) -> None:
    found = settle(folder, "--out", str(folder / "lines.csv"))
    with (folder / "lines.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [line["id"] for line in found["lines"]]
    done = CliRunner().invoke(main, words(folder, "--out", str(folder / "no" / "lines.csv")))
    assert done.exit_code == 2
    assert "--out" in done.stderr


def test_an_interval_that_no_meter_read_delivers_nothing_and_says_so(folder: Path) -> None:
    text = (folder / "meter.csv").read_text()
    start = (CALL + timedelta(minutes=30)).isoformat()
    kept = [f"{line.partition(',')[0]}," if line.startswith(start) else line for line in text.splitlines()]
    (folder / "meter.csv").write_text("\n".join(kept))
    found = settle(folder)
    assert found["shortfall_by_cause"]["no_meter_data"] == "-80.00"  # 4 MW at 240 for five minutes
    assert any("without meter data: zero performance" in flag for flag in found["flags"])


def test_an_event_that_is_not_sold_whole_says_what_is_not_paid(folder: Path) -> None:
    (folder / "event.toml").write_text((folder / "event.toml").read_text().replace("17:00:00", "18:00:00"))
    (folder / "awards.csv").write_text(
        "start,mw,price\n2024-07-31T16:00:00-05:00,4,62.15\n2024-07-31T16:30:00-05:00,4,62.15\n"
    )
    found = settle(folder)
    assert "12 intervals of the event have no award: nothing is paid for them" in found["flags"]


BAD = [
    ("awards.csv", "start,mw\n2024-07-31T16:00:00-05:00,4\n", "column price is missing"),
    ("awards.csv", "start,mw,price\n", "holds no row"),
    ("awards.csv", "start,mw,price\n2024-07-31T12:00:00-05:00,4,60\n", "give awards within the event"),
    ("awards.csv", "start,mw,price\n2024-07-31T16:00:00-05:00,,60\n", "row 2: mw = empty"),
    ("awards.csv", "start,mw,price\n2024-07-31T16:00:00-05:00,1e9,60\n", "row 2: mw = 1e+09: give -1e+06"),
    ("awards.csv", "start,mw,price\n" + "2024-07-31T16:00:00-05:00,4,60\n" * 2, "rows 2 and 3: start"),
    ("prices.csv", "start,price\n2024-07-31T16:00:00-05:00,nan\n", "row 2: price = nan"),
    ("prices.csv", "start,price\n2024-07-31T16:05:00-05:00,50\n2024-07-31T16:10:00-05:00,50\n", "no real-time price"),
    ("prices.csv", "start,price\n2024-07-31T16:00:00-05:00,50\n2024-07-31T16:01:00-05:00,50\n", "prices change each 1"),
]


@pytest.mark.parametrize(("name", "text", "says"), BAD)
def test_a_bad_award_or_price_is_refused_with_its_row(folder: Path, name: str, text: str, says: str) -> None:
    (folder / name).write_text(text)
    done = CliRunner().invoke(main, words(folder))
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.mark.parametrize("share", ["-0.1", "1.1", "half", "nan"])
def test_an_operator_share_that_is_none_is_refused(folder: Path, share: str) -> None:
    done = CliRunner().invoke(main, words(folder, "--operator-share", share))
    assert done.exit_code == 2
    assert "give 0 to 1" in done.stderr


@given(
    st.floats(-50, 50),
    st.floats(-100, 500),
    st.lists(st.tuples(st.floats(-20e6, 60e6), st.floats(-200, 5_000)), min_size=1, max_size=40),
)
def test_lines_add_up_and_no_interval_is_off_by_more_than_half_a_cent(mw: float, price: float, drawn: list) -> None:
    step = 300 * 10**9
    intervals = [
        Measured(k * step, (k + 1) * step, watts, rt, {"opt_out": 2.0, "offline": 1.0})
        for k, (watts, rt) in enumerate(drawn)
    ]
    lines = award_lines(Basis("s", "r", "1", "h", "d"), "a", 0, len(drawn) * step, mw * 1e6, price, intervals)
    for k, (watts, rt) in enumerate(drawn):
        mine = [line for line in lines if line.kind != "day_ahead" and line.start_ns == k * step]
        exact = (watts / 1e6 - mw) / 12 * rt
        assert abs(float(sum(line.amount for line in mine)) - exact) <= 0.005 + 1e-6 * abs(exact)
        assert sum(line.energy_wh for line in mine) == pytest.approx((watts - mw * 1e6) / 12, abs=1e-3)
