"""Files of enrolments: a workbook and a CSV alike, damaged ones refused, the book and its promises read back."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_bulk_enrolment import AGREED, GOOD, NOW, PROGRAMS, REVIEWED, enrolled

from tieline.contract.admission import Promises
from tieline.contract.bulk import enrol_rows
from tieline.contract.membership import EnrolmentBook
from tieline.errors import ConfigError
from tieline.fleet.ledger import Ledger
from tieline.store.enrolment_files import changing, read_book, read_promised, read_rows


def workbook(path: Path, rows: list[list[object]]) -> Path:
    """Write a workbook by hand: the least of ECMA-376 that a spreadsheet opens."""

    def cell(value: object) -> str:
        if isinstance(value, (int, float)):
            return f"<c><v>{value}</v></c>"
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    body = "".join(f"<row>{''.join(cell(value) for value in row)}</row>" for row in rows)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Rows" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + text)
    return path


def test_a_workbook_and_a_csv_with_the_same_cells_are_the_same_rows(tmp_path: Path) -> None:
    head, values = list(GOOD), [150_000 if key == "power_w" else value for key, value in GOOD.items()]
    sheet = workbook(tmp_path / "rows.xlsx", [head, values, [""] * len(head), values])
    text = "\n".join([",".join(head), ",".join(map(str, values)), "", ",".join(map(str, values))])
    (tmp_path / "rows.csv").write_text(text + "\n", encoding="utf-8")
    assert read_rows(sheet) == read_rows(tmp_path / "rows.csv")
    assert [row.number for row in read_rows(sheet)] == [2, 4]
    assert read_rows(sheet)[0].cells["power_w"] == "150000"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "location,kind\n", "no column resource"),
        ("a.csv", ",".join(GOOD) + ",colour\n", "unknown column colour"),
        ("a.csv", ",".join([*GOOD, "kind"]) + "\n", "twice column kind"),
        ("a.csv", ",".join(GOOD) + "\n", "holds no row"),
        ("a.csv", "", "has no header"),
        ("a.csv", b"\xff\xfe\x00", "not a table in UTF-8"),
        ("a.csv", ",".join(GOOD) + '\n"a\n', "not a table in UTF-8"),
        ("a.xls", "x", "suffix = .xls"),
        ("a.xlsx", "no zip at all", "not an XLSX workbook"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("cell", ['r="XFD1048576"', "r = 'xfd1048576'", 'r="&#88;FD1048576"', 'r="A99999999"'])
def test_a_workbook_whose_last_cell_is_far_away_is_refused_before_it_takes_memory(tmp_path: Path, cell: str) -> None:
    path = workbook(tmp_path / "far.xlsx", [list(GOOD), list(GOOD.values())])
    altered(path, lambda text: text.replace(b"</sheetData>", f"<row><c {cell}><v>1</v></c></row></sheetData>".encode()))
    with pytest.raises(ConfigError, match=r"give (at most|cells by)"):
        read_rows(path)


def altered(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change every part of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: change(archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def test_a_damaged_workbook_is_rows_or_a_refusal_never_a_crash(tmp_path: Path) -> None:
    """1,000 workbooks with bytes changed in the archive or cut from their parts."""
    whole = workbook(tmp_path / "whole.xlsx", [list(GOOD), list(GOOD.values())]).read_bytes()
    lots, path, refused = random.Random(1), tmp_path / "damaged.xlsx", 0

    def cut(text: bytes) -> bytes:
        at = lots.randrange(len(text))
        return text[:at] + text[at + lots.randint(0, 9) :]

    for number in range(1_000):
        damaged = bytearray(whole)
        if number % 2:
            for _ in range(lots.randint(1, 5)):
                damaged[lots.randrange(len(damaged))] = lots.randrange(256)
        path.write_bytes(bytes(damaged))
        if not number % 2:
            altered(path, cut)
        try:
            read_rows(path)
        except ConfigError:
            refused += 1
    assert refused > 100


def test_a_short_row_is_told_beside_all_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{','.join(GOOD)}\nsite-1,line-1\n{','.join(GOOD.values())}\n", encoding="utf-8")
    rows = read_rows(tmp_path / "a.csv")
    assert [row.fault for row in rows] == ["cells = 2: give all 11, empty ones too", ""]
    made = enrol_rows(rows, AGREED, PROGRAMS, EnrolmentBook(), Promises(Ledger(), NOW), NOW, "c")
    assert made.rows[0].faults == ("cells = 2: give all 11, empty ones too",)
    assert made.rows[1].outcome == "added" and made.book == EnrolmentBook()


def test_a_book_is_read_as_it_was_written_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    book = enrolled(REVIEWED).book
    with changing(tmp_path / "book.json") as (held, write):
        assert held == EnrolmentBook()
        write(book)
    assert read_book(tmp_path / "book.json") == book
    (tmp_path / "book.json").write_text('{"enrolments": {}, "colour": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match="colour"):
        read_book(tmp_path / "book.json")


def test_promises_that_sell_more_than_the_rating_are_refused_by_row(tmp_path: Path) -> None:
    head = "resource,product,start,end,up_w,rating_w\n"
    row = "line-1,{},2026-07-01T20:00:00Z,2026-07-01T21:00:00Z,{},200000\n"
    (tmp_path / "p.csv").write_text(head + row.format("a", 150_000) + row.format("b", 60_000), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"row 3: up_w = 60000: .*held by a"):
        read_promised(tmp_path / "p.csv")
