"""What a server settled, on paper: versions, adjustments and shares as its journal recorded them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from served_made import AWARD, START, served_folder, settled

from tieline.desk.facts import StatementMade
from tieline.desk.settle import entries_of
from tieline.store.journal import SqliteJournal

Tieline = Callable[..., dict[str, Any]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A journal with two versions: 3 MW first, 3.5 after a correction."""
    return served_folder(tmp_path)


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


def test_an_owners_paper_has_his_own_devices_and_nothing_of_what_the_pool_lacked(tieline: Tieline, data: Path) -> None:
    """Rows 0 and 1 are east's, 2 is west's; they give as 1, 2 and 3, half of 3.5 MWh is east's."""
    for owner, mine in (("east", {"0": 1 / 6, "1": 2 / 6}), ("west", {"2": 3 / 6})):
        tieline("statements", "served", "--data", str(data), "--for", "owner", "--owner", owner, "--out", "o.csv")
        rows = list(csv.DictReader(Path("o.csv").read_text().splitlines()))
        gave = {row["meter"]: float(row["kwh"]) for row in rows if row["section"] == "device"}
        assert gave == {name: pytest.approx(3_500 * part, abs=0.001) for name, part in mine.items()}
        assert {row["section"] for row in rows} <= {"line", "device", "day", "note"}
        assert not [row for row in rows if row.get("cause")] and "opt_out" not in Path("o.csv").read_text()
        tieline("statements", "served", "--data", str(data), "--for", "owner", "--owner", owner, "--out", "o.html")
        page = Path("o.html").read_text()
        assert "took their devices out" not in page and "performance" not in page


def test_of_a_statement_from_before_devices_were_recorded_an_owner_is_told_that_they_were_not(
    tieline: Tieline, tmp_path: Path
) -> None:
    folder, made = tmp_path / "older", settled(3e6)
    folder.mkdir()
    journal = SqliteJournal(folder / "journal.db")
    *lines, last = entries_of("pool", made, [AWARD])
    assert isinstance(last.fact, StatementMade)
    del last.fact.body["devices"]
    journal.append([entry.record(START) for entry in [*lines, last]])
    journal.close()
    served = ("statements", "served", "--data", str(folder), "--for", "owner", "--owner", "east")
    tieline(*served, "--out", "east.csv")
    assert "which devices were counted for this owner was not recorded" in Path("east.csv").read_text()


@pytest.mark.parametrize("words", [(), ("--for", "program"), ("--for", "owner", "--owner", "east")])
def test_no_column_of_a_table_for_programs_has_the_name_of_another(
    tieline: Tieline, data: Path, words: tuple[str, ...]
) -> None:
    tieline("statements", "served", "--data", str(data), *words, "--out", "x.csv")
    names = next(csv.reader(Path("x.csv").read_text().splitlines()))
    assert len(names) == len(set(names))
    rows = list(csv.DictReader(Path("x.csv").read_text().splitlines()))
    assert {row["statement"] for row in rows} == {rows[0]["statement"]}  # what each row is of, whatever its table tells
    assert rows[0]["statement"].startswith("statement:")


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
