"""What is doubted of an event's files is refused for money with its row, and settled where somebody says so."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tieline.node.cli import main

FIRST = datetime(2024, 6, 1, 7, tzinfo=UTC)
EVENT = """timezone = "America/Los_Angeles"
start = 2024-07-31T16:00:00-07:00
end = 2024-07-31T20:00:00-07:00
other_event_days = [2024-07-24]
holidays = [2024-07-04]
"""
AN_EVENT = 60 * 24 + 16
"""Index of the event's first hour."""


def load() -> list[float]:
    """That of docs/do/baseline.md: 30 to 59 kWh an hour, 61 days."""
    return [30 + h % 24 + h // 24 % 7 for h in range(61 * 24)]


def write(folder: Path, *meters: list[float]) -> None:
    names = [""] if len(meters) == 1 else [f",m{k}" for k in range(len(meters))]
    rows = [
        f"{(FIRST + timedelta(hours=h)).isoformat()},{kwh}{name}\n"
        for name, held in zip(names, meters, strict=True) for h, kwh in enumerate(held)
    ]  # fmt: skip
    (folder / "meter.csv").write_text(f"start,kwh{',meter' if len(meters) > 1 else ''}\n" + "".join(rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, load())
    (tmp_path / "event.toml").write_text(EVENT)
    (tmp_path / "awards.csv").write_text(
        "start,mw,price\n2024-07-31T17:00:00-07:00,0.004,80\n2024-07-31T16:00:00-07:00,0.004,62.15\n"
    )
    (tmp_path / "prices.csv").write_text("start,price\n2024-07-31T16:00:00-07:00,58\n2024-07-31T17:00:00-07:00,310\n")
    return tmp_path


def ask(folder: Path, *words: str):
    files = [str(folder / word) if "." in word else word for word in words]
    return CliRunner().invoke(main, [*files, "--json"])


def settle(folder: Path, *more: str):
    return ask(
        folder, "settle", "caiso-10-in-10", "meter.csv", "--event", "event.toml", "--awards", "awards.csv", "--prices",
        "prices.csv", *more,
    )  # fmt: skip


def in_wh(first: int, count: int) -> list[float]:
    return [kwh * (1_000 if first <= h < first + count else 1) for h, kwh in enumerate(load())]


DOUBTED = [
    (in_wh(59 * 24, 24), "1418-1441", "about 1000 times its like hours: in Wh?"),
    (in_wh(0, 60 * 24), "1442-1465", "about a 1000th of its like: are others in Wh?"),
    (in_wh(AN_EVENT + 1, 1), "1459", "far above the highest of other days"),
    ([-900_000.0 if h == AN_EVENT else kwh for h, kwh in enumerate(load())], "1458", "kwh = -900000"),
]


@pytest.mark.parametrize(("held", "rows", "says"), DOUBTED)
def test_what_is_hardly_so_pays_nothing_until_somebody_says_it_is(folder: Path, held, rows: str, says: str) -> None:
    """1,461.22 and 14,918.95 USD were paid, and 279,014.91 for the last, where -0.90 is right; nothing was flagged."""
    good = json.loads(settle(folder).stdout)
    write(folder, held)
    refused = settle(folder)
    assert refused.exit_code == 2
    assert rows.replace("-", " to ") in refused.stderr
    assert says in refused.stderr
    assert f"--as-read {rows}" in refused.stderr
    one = json.loads(settle(folder, "--as-read", rows).stdout)
    assert all(line["as_read"] == rows for line in one["lines"])
    assert any(flag.startswith("taken as read, though doubted: row") for flag in one["flags"])
    assert one["statement"] != good["statement"]
    assert "as_read" not in good["lines"][0]


def test_a_row_beside_the_doubted_one_is_no_leave_for_it(folder: Path) -> None:
    write(folder, DOUBTED[0][0])
    assert "--as-read 1418-1441" in settle(folder, "--as-read", "1418-1440").stderr
    assert settle(folder, "--as-read", "1400-1430,1431-1441").exit_code == 0
    assert "--as-read 'some': give rows such as" in settle(folder, "--as-read", "some").stderr


def test_a_baseline_says_what_is_doubted_and_is_computed(folder: Path) -> None:
    write(folder, DOUBTED[2][0])
    found = json.loads(ask(folder, "baseline", "caiso-10-in-10", "meter.csv", "--event", "event.toml").stdout)
    assert any(flag.startswith("row 1459: kwh = 51000 at 2024-08-01T00:00:00Z: far above") for flag in found["flags"])


def test_each_row_over_a_registration_is_named_with_its_meter_and_the_kw(folder: Path) -> None:
    write(folder, load(), [2 * kwh for kwh in load()])
    assert settle(folder).exit_code == 0
    (folder / "event.toml").write_text(EVENT + "rating_kw = { m0 = 60, m1 = 115 }\n")
    refused = settle(folder)
    assert refused.exit_code == 2
    assert "meter m1: kwh = 118" in refused.stderr
    assert "over the 115 kW that it is registered for" in refused.stderr
    assert "m0" not in refused.stderr
    (folder / "event.toml").write_text(EVENT + "rating_kw = 0\n")
    assert "rating_kw = 0: give kW above 0" in settle(folder).stderr


@pytest.mark.parametrize("rating", ["", "rating_kw = 60\n"])
def test_an_award_over_what_the_meters_could_ever_give_is_named(folder: Path, rating: str) -> None:
    (folder / "event.toml").write_text(EVENT + rating)
    assert settle(folder).exit_code == 0
    awards = (folder / "awards.csv").read_text()
    (folder / "awards.csv").write_text(awards.replace("07:00,0.004,62.15", "07:00,4000,62.15"))
    refused = settle(folder)
    assert refused.exit_code == 2
    assert "awards: row 3: mw = 4000: over the " in refused.stderr
    assert settle(folder, "--as-read", "awards:3").exit_code == 0


def test_a_book_keeps_what_was_taken_as_read_and_makes_it_again(folder: Path) -> None:
    write(folder, DOUBTED[0][0], load())
    (folder / "sites.csv").write_text("meter,owner,rating_kw\nm0,north,\nm1,south,60\n")
    at = ("--at", "2024-08-02T00:00:00Z")
    assert ask(folder, "statements", "open", "book.d", "--operator", "m", "--currency", "USD", *at).exit_code == 0
    words = (
        "statements", "issue", "caiso-10-in-10", "meter.csv", "--event", "event.toml", "--awards", "awards.csv",
        "--prices", "prices.csv", "--sites", "sites.csv", "--program", "peak", "--market", "iso", "--level", "meter",
        "--book", "book.d", *at,
    )  # fmt: skip
    assert "rows 1418 to 1441: meter m0" in ask(folder, *words).stderr
    issued = json.loads(ask(folder, *words, "--as-read", "1418-1441").stdout)
    assert any("taken as read, though doubted: rows 1418 to 1441" in flag for flag in issued["flags"])
    assert ask(folder, "statements", "again", "--book", "book.d").exit_code == 0
    out = ("--for", "market", "--out", "market.csv")
    assert ask(folder, "statements", "write", "newest", "--book", "book.d", *out).exit_code == 0
    with (folder / "market.csv").open(newline="") as file:
        assert any("+as-read:1418-1441" in cell for row in csv.reader(file) for cell in row)


def test_a_folder_of_days_is_not_packed_of_doubted_rows(folder: Path) -> None:
    write(folder, DOUBTED[0][0])
    words = ("settle", "pack", "meter.csv", "days.d", "--timezone", "America/Los_Angeles")
    assert "rows 1418 to 1441" in ask(folder, *words).stderr
    assert ask(folder, *words, "--as-read", "1418-1441").exit_code == 0
