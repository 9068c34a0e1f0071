"""HTML, PDF, XLSX and CSV of one statement: read by other programs, each has the same money, days, causes, versions."""

from __future__ import annotations

import csv
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import lxml.html
import pypdfium2
import pytest
from python_calamine import CalamineWorkbook

from tieline.pool.document import Column, Document, Table
from tieline.store.document_files import write_document

Tieline = Callable[..., dict[str, Any]]
FORMS = ("html", "pdf", "xlsx", "csv")


@pytest.fixture
def written(opened: Tieline, issue: tuple[str, ...], folder: Path) -> dict[str, Path]:
    """Each form of the market's, the program's and an owner's statement, by its name."""
    made = opened(*issue, "--at", "2024-08-02T00:00:00Z")
    assert made["total"] == "4.04"
    for form in FORMS:
        for audience in ("market", "program"):
            opened(
                "statements",
                "write",
                made["statement"],
                "--book",
                "book",
                "--for",
                audience,
                "--out",
                f"{audience}.{form}",
            )
        owner = ("--for", "owner", "--owner", "north", "--out", f"owner.{form}")
        opened("statements", "write", made["statement"], "--book", "book", *owner)
    return {path.name: path for path in folder.iterdir()}


def pdf_text(path: Path) -> str:
    document = pypdfium2.PdfDocument(path)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def csv_rows(path: Path, section: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["section"] == section]


@pytest.mark.parametrize(("audience", "total"), [("market", "4.04"), ("program", "4.04"), ("owner", "1.54")])
def test_every_form_adds_up_to_the_same_cent(written: dict[str, Path], audience: str, total: str) -> None:
    rows = csv_rows(written[f"{audience}.csv"], "line")
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal(total)
    page = lxml.html.fromstring(written[f"{audience}.html"].read_text(encoding="utf-8"))
    table = page.xpath("//table")[0]
    amounts = [row.xpath("./td")[-1].text_content() for row in table.xpath("./tbody/tr")]
    assert sum(map(Decimal, amounts)) == Decimal(total)
    assert table.xpath("./tfoot/tr/td")[-1].text_content() == total
    sheet = CalamineWorkbook.from_path(written[f"{audience}.xlsx"]).get_sheet_by_name("line").to_python()
    money = [round(Decimal(str(row[-1])), 2) for row in sheet[1:]]
    assert sum(money[:-1]) == money[-1] == Decimal(total)
    assert f"total: {total} USD" in pdf_text(written[f"{audience}.pdf"])


def test_every_form_has_the_days_used_and_left_out_with_the_reason(written: dict[str, Path]) -> None:
    texts = {
        "html": lxml.html.fromstring(written["market.html"].read_text(encoding="utf-8")).text_content(),
        "pdf": pdf_text(written["market.pdf"]),
        "csv": written["market.csv"].read_text(encoding="utf-8"),
        "xlsx": str(CalamineWorkbook.from_path(written["market.xlsx"]).get_sheet_by_name("day").to_python()),
    }
    for form, text in texts.items():
        for said in ("2024-07-30", "among the most recent like days", "2024-07-24", "an event day"):
            assert said in text, (form, said)
        assert "caiso-10-in-10" in text or form == "xlsx"
    days = csv_rows(written["market.csv"], "day")
    used = [row["day"] for row in days if (row["meter"], row["use"]) == ("a", "used")]
    # Ten business days before the 31st without the event of the 24th, by the calendar.
    assert [int(day[-2:]) for day in used] == [30, 29, 26, 25, 23, 22, 19, 18, 17, 16]


def test_every_line_that_lacks_has_a_cause_and_every_row_its_versions(written: dict[str, Path]) -> None:
    rows = csv_rows(written["market.csv"], "line")
    short = {(row["cause"], row["excused"]) for row in rows if row["kind"] == "shortfall"}
    assert short == {("dno_limit", "yes"), ("no_meter_data", "no"), ("opt_out", "no"), ("underperformed", "no")}
    assert all(row["rule"].startswith("caiso-10-in-10 2024.1") and row["inputs"] and row["meter_data"] for row in rows)
    assert {row["cause"] for row in csv_rows(written["market.csv"], "cause")} == {cause for cause, _ in short}


def test_an_owner_sees_his_own_meters_alone(written: dict[str, Path]) -> None:
    text = written["owner.csv"].read_text(encoding="utf-8")
    assert {row["meter"] for row in csv_rows(written["owner.csv"], "interval")} == {"a", "c"}
    assert "south" not in text
    assert "b: " not in text


def test_every_owners_statement_is_written_at_once_and_odd_names_are_refused_before_any_is(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    write = ("statements", "write", "newest", "--book", "book", "--for", "owner", "--out", "share-{owner}.csv")
    assert opened(*write)["written"] == 2
    amounts = [csv_rows(folder / f"share-{owner}.csv", "line") for owner in ("north", "south")]
    assert [sum(Decimal(row["amount"]) for row in rows) for rows in amounts] == [Decimal("1.54"), Decimal("1.69")]
    sites = (folder / "sites.csv").read_text().replace("north", "../north")
    (folder / "sites.csv").write_text(sites)
    opened(*issue, "--at", "2024-08-03T00:00:00Z")
    assert "owner = '../north'" in opened(*write[:-1], "odd-{owner}.csv", code=2)["error"]
    assert not list(folder.glob("odd-*"))


def test_the_same_statement_gives_the_same_bytes_in_every_form(written: dict[str, Path], opened: Tieline) -> None:
    name = csv_rows(written["market.csv"], "line")[0]["statement"]
    for form in FORMS:
        opened("statements", "write", name, "--book", "book", "--out", f"twice.{form}")
        assert Path(f"twice.{form}").read_bytes() == written[f"market.{form}"].read_bytes(), form


def test_a_name_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    rows = (("=1+1", Decimal("1.00")), ("<b>&amp;", Decimal("2.00")))
    columns = (Column("who", "who"), Column("amount", "amount", "money"))
    document = Document(
        "s", "t", (("statement", "s"),), (Table("line", "Lines", columns, rows, total=Decimal("3.00")),)
    )
    for form in FORMS:
        write_document(document, tmp_path / f"one.{form}")
    assert csv_rows(tmp_path / "one.csv", "line")[0]["who"] == "'=1+1"
    sheet = CalamineWorkbook.from_path(tmp_path / "one.xlsx").get_sheet_by_name("line").to_python()
    assert [row[0] for row in sheet[1:3]] == ["=1+1", "<b>&amp;"]
    page = lxml.html.fromstring((tmp_path / "one.html").read_text(encoding="utf-8"))
    assert page.xpath("//tbody/tr[2]/td[1]")[0].text_content() == "<b>&amp;"
    assert "<b>&amp;" in pdf_text(tmp_path / "one.pdf")


def test_what_can_not_be_written_is_refused_by_its_option(opened: Tieline, issue: tuple[str, ...]) -> None:
    name = opened(*issue, "--at", "2024-08-02T00:00:00Z")["statement"]
    write = ("statements", "write", name, "--book", "book")
    assert "give .html, .pdf, .xlsx, .csv" in opened(*write, "--out", "x.doc", code=2)["error"]
    assert "No such file" in opened(*write, "--out", "no/x.csv", code=2)["error"]
    assert (
        "give one of north, south"
        in opened(*write, "--for", "owner", "--owner", "x", "--out", "x.csv", code=2)["error"]
    )
    assert "--owner" in opened(*write, "--for", "owner", "--out", "x.csv", code=2)["error"]
    assert (
        "'statement:x'"
        in opened("statements", "write", "statement:x", "--book", "book", "--out", "x.csv", code=2)["error"]
    )
