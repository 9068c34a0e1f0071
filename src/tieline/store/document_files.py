"""Writes a document as HTML, PDF, XLSX or CSV, whole or not at all; the same document gives the same bytes.

CSV is one table for programs: a row a line, day or interval, told apart by `section`; the `amount` of the rows of
`line` adds up to the statement. Where a table has a column of the document's own name its section stands before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from tieline.errors import ConfigError
from tieline.pool.document import Cell, Document, Table
from tieline.store.whole_file import whole

HEAD = ("statement", "rule", "inputs", "meter data")
STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_document(document: Document, path: Path) -> None:
    """Write a document in the form that the file's suffix names.

    Raises:
        ConfigError: The suffix is none of them, or the file can't be written.
    """
    form = _forms().get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"--out {path}: suffix = {path.suffix or 'none'}: give {', '.join(_forms())}")
    body = form(document)
    with whole(path) as part:
        part.write_bytes(body)


def _forms() -> dict[str, Callable[[Document], bytes]]:
    # Each writer is loaded by who asks for it: the libraries behind PDF and XLSX take a while.
    def html(document: Document) -> bytes:
        from tieline.store.document_html import as_html

        return as_html(document).encode()

    def pdf(document: Document) -> bytes:
        from tieline.store.document_pdf import as_pdf

        return as_pdf(document)

    def xlsx(document: Document) -> bytes:
        from tieline.store.document_xlsx import as_xlsx

        return as_xlsx(document)

    return {".html": html, ".pdf": pdf, ".xlsx": xlsx, ".csv": lambda document: as_csv(document).encode()}


def as_csv(document: Document) -> str:
    """Return a document as one CSV table: `section`, every column that any of its tables has, and its versions."""
    facts = dict(document.head)
    names = list(dict.fromkeys(name for table in document.tables for name in _names(table)))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["section", *names, *(word.replace(" ", "_") for word in HEAD if word in facts)])
    tail = [facts[word] for word in HEAD if word in facts]
    for table in document.tables:
        at = {name: k for k, name in enumerate(_names(table))}
        for row in table.rows:
            cells = [plain(row[at[name]]) if name in at else "" for name in names]
            writer.writerow([table.section, *cells, *tail])
    for note in document.notes:
        writer.writerow(["note", plain(note), *("" for _ in names[1:]), *tail])
    return out.getvalue()


def _names(table: Table) -> list[str]:
    own = ("section", *(word.replace(" ", "_") for word in HEAD))
    return [f"{table.section}_{column.name}" if column.name in own else column.name for column in table.columns]


def plain(cell: Cell) -> str:
    """Return a cell as text; a text that a spreadsheet would run as a formula is marked as text.

    >>> plain(Decimal("-1.50")), plain("=1+1"), plain(None), plain(0.25)
    ('-1.50', "'=1+1", '', '0.25')
    """
    if cell is None:
        return ""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(STARTS_FORMULA) else cell
    return str(cell) if isinstance(cell, Decimal) else repr(float(cell))


def shown(cell: Cell, holds: str = "text", digits: int = 4) -> str:
    """Return a cell as a person reads it: money with its cents, numbers with up to four decimals.

    Instants keep their offset: on a day of 25 hours a time of the clock stands for two.

    >>> shown(Decimal("1234.50")), shown(1234.56789), shown(None), shown(2.0)
    ('1,234.50', '1,234.5679', '', '2')
    """
    if cell is None:
        return ""
    if isinstance(cell, str):
        if holds == "instant":
            return cell.replace("T", " ").replace(":00+", "+").replace(":00-", "-")
        return cell.replace("_", " ") if holds == "word" else cell
    if isinstance(cell, Decimal):
        return f"{cell:,.2f}"
    told = f"{cell:,.{digits}f}"
    return told.rstrip("0").rstrip(".") if "." in told else told
