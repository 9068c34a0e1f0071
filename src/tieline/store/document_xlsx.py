"""A document as an XLSX workbook: a sheet a table; totals are formulas, so that a reader's own program adds them up."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal

from tieline.pool.document import Cell, Document, Table

MOST_ROWS = 1_048_000
"""A sheet of that format ends at 1,048,576 rows."""


def as_xlsx(document: Document) -> bytes:
    """Return a document as a workbook; a table of more rows than a sheet holds goes on in the next one."""
    import xlsxwriter

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    # A workbook says when it was made: a fixed instant, so that equal statements are equal files.
    book.set_properties({"title": document.title, "subject": document.id, "created": datetime(2000, 1, 1, tzinfo=UTC)})
    bold = book.add_format({"bold": True, "bottom": 2})
    forms = {"money": book.add_format({"num_format": "#,##0.00"}), "number": book.add_format({"num_format": "0.0000"}),
             "total": book.add_format({"num_format": "#,##0.00", "bold": True, "top": 2})}  # fmt: skip
    first = book.add_worksheet("statement")
    first.set_column(0, 0, 24)
    first.set_column(1, 1, 70)
    for row, (name, value) in enumerate([*document.head, *(("note", note) for note in document.notes)]):
        first.write_string(row, 0, name)
        first.write_string(row, 1, value)
    for table in document.tables:
        for piece, begin in enumerate(range(0, max(len(table.rows), 1), MOST_ROWS)):
            sheet = book.add_worksheet(f"{table.section}{piece + 1 if piece else ''}")
            _fill(sheet, table, table.rows[begin : begin + MOST_ROWS], bold, forms)
    book.close()
    return out.getvalue()


def _fill(sheet, table: Table, rows: tuple[tuple[Cell, ...], ...], bold, forms) -> None:  # type: ignore[no-untyped-def]
    for at, column in enumerate(table.columns):
        sheet.write_string(0, at, column.title, bold)
        sheet.set_column(at, at, 14 if column.is_number else 26)
    sheet.freeze_panes(1, 0)
    for row, cells in enumerate(rows, 1):
        for at, (cell, column) in enumerate(zip(cells, table.columns, strict=True)):
            if isinstance(cell, str):
                sheet.write_string(row, at, cell)
            elif isinstance(cell, (Decimal, float, int)):
                sheet.write_number(row, at, float(cell), forms.get(column.holds))
    if table.total is not None and rows:
        at = max(k for k, column in enumerate(table.columns) if column.holds == "money")
        letter = chr(ord("A") + at)
        money = [row[at] for row in rows]
        held = sum((cell for cell in money if isinstance(cell, Decimal)), Decimal("0.00"))
        formula = f"=SUM({letter}2:{letter}{len(rows) + 1})"
        sheet.write_string(len(rows) + 1, 0, "total", bold)
        sheet.write_formula(len(rows) + 1, at, formula, forms["total"], float(held))
