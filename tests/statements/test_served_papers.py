"""What a server settled, on paper: versions, adjustments and shares as its journal recorded them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import pytest

from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.paid import Metered
from tieline.desk.ports import Award
from tieline.desk.settle import Former, Owners, Settlement, amend, entries_of, settle_day
from tieline.market.baseline import Event, compute
from tieline.market.rule import baseline_rule
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, MINUTE_NS

Tieline = Callable[..., dict[str, Any]]
STEP = 5 * MINUTE_NS
START = 1_660_762_800 * 10**9  # 2022-08-17T19:00:00Z
AWARD = Award("a", "o", "pool", "ENERGY", START, START + HOUR_NS, 4e6, 62.15)


def settled(gave_w: float) -> Settlement:
    """Settle an hour in which a pool of three rows gave so much of four megawatts, at 100 $/MWh."""
    load = {date(2022, 8, 17) - timedelta(days=back): np.full(24, 50.0) for back in range(20)}
    base = compute(
        baseline_rule("caiso-10-in-10"),
        load,
        Event(date(2022, 8, 17), 14, 15),
        event_days=frozenset({date(2022, 8, 15)}),
    )
    rows, share = Packed.of(np.arange(3, dtype=np.int32)), Packed.of(np.array([1.0, 2.0, 3.0]))
    when = [START + k * STEP for k in range(12)]
    tracked = {
        at: IntervalTracked("pool", at, at + STEP, 4e6, gave_w, {"opt_out": 1e9}, rows, share, 1, {}) for at in when
    }
    metered = Metered(dict.fromkeys(when, gave_w), dict.fromkeys(when, 100.0), (base,))
    owners = Owners(np.array([0, 0, 1], np.int32), ["east", "west"], Decimal("0.20"))
    return settle_day("pool", [AWARD], tracked, metered, owners)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A journal with two versions: 3 MW first, 3.5 after a correction."""
    folder = tmp_path / "data"
    folder.mkdir()
    first = settled(3e6)
    second = amend(Former(first.statement, 1, first.basis.input_hash, first.lines), settled(3.5e6))
    assert second is not None
    journal = SqliteJournal(folder / "journal.db")
    for at, made in enumerate((first, second)):
        journal.append([entry.record(START + (at + 1) * HOUR_NS) for entry in entries_of("pool", made, [AWARD])])
    journal.close()
    return folder


def test_each_version_is_its_lines_and_adjustments_and_owners_get_the_difference(tieline: Tieline, data: Path) -> None:
    """248.60 day-ahead; 1 MW short at 100 is -100.00 less rounding of 12 lines, half a megawatt half of it."""
    served = ("statements", "served", "--data", str(data))
    told = tieline(*served, "--out", "second.csv")
    rows = [row for row in csv.DictReader(Path("second.csv").read_text().splitlines()) if row["section"] == "line"]
    assert {row["version"] for row in rows} == {"1", "2"} and {row["of"] for row in rows} == {"", "shortfall"}
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal("248.60") - 12 * Decimal("4.17")
    assert told["total"] == "198.56 USD"
    tieline(*served, "--for", "program", "--out", "program.html")
    page = lxml.html.fromstring(Path("program.html").read_text(encoding="utf-8"))
    assert [cell.text_content() for cell in page.xpath("//tfoot//td[last()]")] == ["198.56", "198.56"]
    assert "an event day" in page.text_content() and "owners took their devices out" in page.text_content()
    tieline(*served, "--for", "owner", "--owner", "east", "--out", "east.csv")
    mine = [row for row in csv.DictReader(Path("east.csv").read_text().splitlines()) if row["section"] == "line"]
    whole = Decimal("248.60") - 12 * Decimal("4.17")
    assert len(mine) == 2 and sum(Decimal(row["amount"]) for row in mine) == round(whole * Decimal("0.8") / 2, 2)


def test_every_owners_paper_is_written_under_his_name_and_is_the_one_that_is_written_alone(
    tieline: Tieline, data: Path
) -> None:
    served = ("statements", "served", "--data", str(data), "--for", "owner")
    assert tieline(*served, "--out", "all-{owner}.csv")["written"] == 2
    for owner in ("east", "west"):
        tieline(*served, "--owner", owner, "--out", f"{owner}.csv")
        assert Path(f"all-{owner}.csv").read_bytes() == Path(f"{owner}.csv").read_bytes()
    assert "give --owner NAME, or" in tieline(*served, "--owner", "east", "--out", "x-{owner}.csv", code=2)["error"]


def test_a_former_version_says_that_it_was_superseded(tieline: Tieline, data: Path) -> None:
    first = settled(3e6)
    tieline("statements", "served", first.statement, "--data", str(data), "--out", "first.html")
    assert "1 (superseded)" in Path("first.html").read_text()
    tieline("statements", "served", "2022-08-17", "--data", str(data), "--out", "day.html")
    assert "2 (stands)" in Path("day.html").read_text()


def test_lines_that_do_not_come_to_the_total_are_not_printed(tieline: Tieline, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    made = settled(3e6)
    journal = SqliteJournal(folder / "journal.db")
    some = entries_of("pool", replace(made, lines=made.lines[:-1]), [AWARD])[:-1]
    journal.append([entry.record(START) for entry in [*some, entries_of("pool", made, [AWARD])[-1]]])
    journal.close()
    assert "lines come to" in tieline("statements", "served", "--data", str(folder), "--out", "x.csv", code=2)["error"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("2022-08-18",), "give newest, a day, or one of statement:"),
        (("yesterday",), "give newest, a day such as"),
        (("--for", "owner", "--owner", "north"), "give one of east, west"),
        (
            ("--for", "owner"),
            "--for owner: give --owner NAME, or for everybody {owner} in the name of --out, not x.csv",
        ),
        (("--owner", "east"), "go with --for owner alone"),
    ],
)
def test_what_was_not_settled_is_refused(tieline: Tieline, data: Path, words: tuple[str, ...], says: str) -> None:
    assert says in tieline("statements", "served", *words, "--data", str(data), "--out", "x.csv", code=2)["error"]
