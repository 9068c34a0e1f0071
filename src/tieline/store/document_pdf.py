"""A document as PDF on A4 pages, with the statement's id and the page's number on each; tables break between rows."""

from __future__ import annotations

import io
from typing import Any
from xml.sax.saxutils import escape

from tieline.pool.document import Document, Table
from tieline.store.document_files import shown

MOST_ROWS = 5_000
"""Beyond so many rows of a table nobody turns pages: the PDF says where the rest is, its total is of all."""
FONT, BOLD = "Vera", "VeraBd"
SMALL = 6.2


def as_pdf(document: Document) -> bytes:
    """Return a document as PDF; the same document gives the same bytes."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

    for name, file in ((FONT, "Vera.ttf"), (BOLD, "VeraBd.ttf")):
        pdfmetrics.registerFont(TTFont(name, file))
    text = ParagraphStyle("text", fontName=FONT, fontSize=8, leading=10)
    small = ParagraphStyle("small", fontName=FONT, fontSize=SMALL, leading=7.6, splitLongWords=True)
    right = ParagraphStyle("right", parent=small, alignment=2)
    title = ParagraphStyle("title", fontName=BOLD, fontSize=15, leading=20)
    part = ParagraphStyle("part", fontName=BOLD, fontSize=10, leading=14, spaceBefore=8)
    story: list[Any] = [Paragraph(escape(document.title), title)]
    story += [Paragraph(f"{escape(name)}: {escape(value)}", text) for name, value in document.head]
    story += [Paragraph(f"Note: {escape(note)}", text) for note in document.notes]
    for table in document.tables:
        story.append(Paragraph(escape(table.title), part))
        if table.says:
            story.append(Paragraph(escape(table.says), text))
        if table.rows:
            story += [Spacer(1, 2 * mm), *_table(table, small, right, A4[0] - 24 * mm)]
    out = io.BytesIO()

    def footed(canvas: Any, page: Any) -> None:
        canvas.setFont(FONT, 6.5)
        canvas.drawString(12 * mm, 8 * mm, document.id)
        canvas.drawRightString(A4[0] - 12 * mm, 8 * mm, f"page {page.page}")

    made = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=12 * mm, rightMargin=12 * mm, topMargin=14 * mm, bottomMargin=14 * mm,
        title=f"{document.title} {document.id}", author="", invariant=1,
    )  # fmt: skip
    made.build(story, onFirstPage=footed, onLaterPages=footed)
    return out.getvalue()


def _table(table: Table, small: Any, right: Any, width: float) -> list[Any]:
    from reportlab.lib import colors
    from reportlab.platypus import LongTable, Paragraph, TableStyle

    styles = [right if column.is_number else small for column in table.columns]

    def cells(values: list[str]) -> list[Any]:
        return [Paragraph(escape(value), style) for value, style in zip(values, styles, strict=True)]

    rows = [cells([column.title for column in table.columns])]
    rows += [
        cells([shown(cell, c.holds) for cell, c in zip(row, table.columns, strict=True)])
        for row in table.rows[:MOST_ROWS]
    ]
    if table.total is not None:
        rows.append(cells(["total", *("" for _ in table.columns[2:]), shown(table.total)]))
    widths = _widths(table, width)
    lines = [
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.black), ("LINEBELOW", (0, 1), (-1, -1), 0.2, colors.lightgrey),
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2), ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ]  # fmt: skip
    if table.total is not None:
        lines.append(("LINEABOVE", (0, -1), (-1, -1), 0.8, colors.black))
    made: list[Any] = [LongTable(rows, colWidths=widths, repeatRows=1, style=TableStyle(lines))]
    if len(table.rows) > MOST_ROWS:
        made.append(Paragraph(f"{len(table.rows) - MOST_ROWS:,} more rows are in the CSV and XLSX forms.", small))
    return made


def _widths(table: Table, width: float) -> list[float]:
    """Return how wide columns are: numbers as wide as their longest, so that none breaks; words share what is left."""
    some = table.rows[:MOST_ROWS]
    long = [
        max([4, *(len(shown(row[k], column.holds)) for row in some), *(map(len, column.title.split()))])
        for k, column in enumerate(table.columns)
    ]
    if table.total is not None:
        long[-1] = max(long[-1], len(shown(table.total)))
    # A digit of the font is 0.64 of its size; the cell's padding is 4 points.
    fixed = [long[k] * 0.64 * SMALL + 5 if column.is_number else 0.0 for k, column in enumerate(table.columns)]
    words = [0 if column.is_number else min(long[k], 26) for k, column in enumerate(table.columns)]
    if not sum(words):
        return [each * width / sum(fixed) for each in fixed]
    left = max(width - sum(fixed), 0.3 * width)
    return [fixed[k] or left * words[k] / sum(words) for k in range(len(words))]
