"""A document as data: a head, tables and notes, so that HTML, PDF, XLSX and CSV all say the same.

Cells are text, words of a table, ids, instants, money (Decimal, to the cent), numbers, or nothing. Money of a table
with `total` adds up to it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

Cell = str | Decimal | float | None


class Column(Struct, frozen=True):
    """A column: its name in files, its title on paper, and what its cells are."""

    name: str
    title: str
    holds: Literal["text", "word", "id", "instant", "money", "number"] = "text"

    @property
    def is_number(self) -> bool:
        """Whether its cells are numbers, which stand to the right."""
        return self.holds in ("money", "number")


class Table(Struct, frozen=True):
    """Rows under columns; `section` names it in files, `says` explains it, `total` is what its money comes to."""

    section: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    says: str = ""
    total: Decimal | None = None

    def money(self) -> Decimal:
        """Return the sum of its column of money."""
        at = [k for k, column in enumerate(self.columns) if column.holds == "money"]
        cells = (row[at[-1]] for row in self.rows) if at else iter(())
        return sum((cell for cell in cells if isinstance(cell, Decimal)), Decimal("0.00"))


class Curve(Struct, frozen=True):
    """Two lines over the intervals of an event: what would have been, and what was (None: no reading)."""

    title: str
    labels: tuple[str, ...]
    expected: tuple[float, ...]
    actual: tuple[float | None, ...]
    unit: str


class Document(Struct, frozen=True):
    """A statement or report on paper: `head` are its facts in order, `notes` what a reader must know."""

    id: str
    title: str
    head: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    curve: Curve | None = None
