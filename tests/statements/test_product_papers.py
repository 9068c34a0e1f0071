"""Statements of other products on paper: `--out` by its suffix, the same money in each form."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import lxml.html
import pypdfium2
import pytest
from python_calamine import CalamineWorkbook

Tieline = Callable[..., dict[str, Any]]
CAPACITY = (
    "start,minutes,commitment_mw,balancing_ratio,actual_mw,cause,cause_share\n"
    "2025-06-24T18:00:00-04:00,55,10,0.72,6.4,opt_out,0.25\n"
)
LADDER = "start,nominated_kw,delivered_kw,price_per_kw\n2024-07-01T00:00:00-07:00,500,350,12\n"


def money_of(path: Path) -> tuple[Decimal, Decimal]:
    """Return the sum of the lines and the total that a workbook says."""
    rows = CalamineWorkbook.from_path(path).get_sheet_by_name("line").to_python()
    cells = [round(Decimal(str(row[-1])), 2) for row in rows[1:]]
    return sum(cells[:-1], Decimal(0)), cells[-1]


# Origin: 6-business.md section 4, S2 and S4.
@pytest.mark.parametrize(
    ("words", "total"),
    [
        (("capacity", "iso-ne-pay-for-performance", "capacity.csv"), "-6847.13"),
        (("ladder", "us-ca-capacity-bidding", "ladder.csv"), "2100.00"),
    ],
)
def test_a_products_statement_is_the_same_money_in_every_form(
    tieline: Tieline, folder: Path, words: tuple[str, ...], total: str
) -> None:
    (folder / "capacity.csv").write_text(CAPACITY)
    (folder / "ladder.csv").write_text(LADDER)
    for form in ("xlsx", "pdf", "html"):
        assert tieline("settle", *words, "--out", f"x.{form}")["total"] == total
    assert money_of(folder / "x.xlsx") == (Decimal(total), Decimal(total))
    page = lxml.html.fromstring((folder / "x.html").read_text(encoding="utf-8"))
    shown = page.xpath("//tfoot/tr/td")[-1].text_content()
    assert Decimal(shown.replace(",", "")) == Decimal(total)
    assert shown in pypdfium2.PdfDocument(folder / "x.pdf")[0].get_textpage().get_text_range()
    assert page.text_content().count(words[1]) >= 2


def test_energy_on_paper_has_its_days_and_lines_as_csv_stay_what_they_were(tieline: Tieline, folder: Path) -> None:
    words = ("--event", "event.toml", "--awards", "awards.csv", "--prices", "prices.csv", "--level", "meter")
    settle = ("settle", "caiso-10-in-10", "meter.csv", *words)
    told = tieline(*settle, "--out", "x.html")
    text = lxml.html.fromstring((folder / "x.html").read_text(encoding="utf-8")).text_content()
    assert "an event day" in text and "2024-07-30" in text and told["statement"] in text
    assert [one["meter"] for one in told["baselines"]] == ["a", "b", "c"]
    tieline(*settle, "--out", "x.csv")
    assert (folder / "x.csv").read_text().splitlines()[0].startswith("id,kind,start,end,kwh")
