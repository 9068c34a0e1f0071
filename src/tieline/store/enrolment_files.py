"""Files about contracts: tables of enrolments (CSV, XLSX), promises that stand, and the book of enrolments.

A table gives every row with what is wrong with it, so that one faulty row hides no other. The book is one JSON file,
written whole: a reader sees the former book or the new one, and two writers wait for each other.
"""

from __future__ import annotations

import csv
import fcntl
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec

from tieline.contract.bulk import COLUMNS, NEEDED, TableRow
from tieline.contract.membership import EnrolmentBook
from tieline.errors import ConfigError
from tieline.fleet.booking import MOST_SLOTS, SLOT_NS, Capacity
from tieline.fleet.ledger import Ledger
from tieline.store.narrow import opener
from tieline.times import parse_iso

MOST_ROWS = 200_000
MOST_BYTES = 64 * 1024 * 1024
MOST_UNPACKED_BYTES = 256 * 1024 * 1024
MOST_CELLS = 4_000_000
_AT = re.compile(rb"\br\s*=\s*[\"']([^\"']*)[\"']")
_CELL = re.compile(rb"\$?([A-Za-z]{0,3})\$?([0-9]{1,9})")
PROMISED = ("resource", "product", "start", "end", "up_w", "rating_w")


def read_rows(path: Path, columns: tuple[str, ...] = COLUMNS, needed: tuple[str, ...] = NEEDED) -> list[TableRow]:
    """Return the rows of a CSV or XLSX table (its first sheet), numbered as the file shows them; the header is row 1.

    Raises:
        ConfigError: It can't be read, holds no row, or its header lacks a column or has one that is unknown.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    if path.stat().st_size > MOST_BYTES:
        raise ConfigError(f"{path}: size = {path.stat().st_size}: give at most {MOST_BYTES} bytes")
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        lines = _sheet(path)
    elif suffix in ("", ".csv", ".txt"):
        lines = _csv(path)
    else:
        raise ConfigError(f"{path}: suffix = {suffix}: give .csv or .xlsx")
    if not lines or not any(lines[0][1]):
        raise ConfigError(f"{path}: has no header: columns are {', '.join(columns)}")
    header = [cell.strip() for cell in lines[0][1]]
    while header and not header[-1]:  # a sheet is as wide as its widest row
        header.pop()
    _require(path, header, columns, needed)
    rows = [_row(number, cells, header) for number, cells in lines[1:] if any(cell.strip() for cell in cells)]
    if not rows:
        raise ConfigError(f"{path}: holds no row below its header: give one for each")
    if len(rows) > MOST_ROWS:
        raise ConfigError(f"{path}: rows = {len(rows)}: give at most {MOST_ROWS}, in several files")
    return rows


def _require(path: Path, header: list[str], columns: tuple[str, ...], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in header]
    unknown = [name or "(empty)" for name in header if name not in columns]
    twice = sorted({name for name in header if header.count(name) > 1})
    wrong = [f"{says} {', '.join(names)}" for says, names in
             (("no column", missing), ("unknown column", unknown), ("twice column", twice)) if names]  # fmt: skip
    if wrong:
        raise ConfigError(f"{path}: {'; '.join(wrong)}: columns are {', '.join(columns)}")


def _row(number: int, cells: list[str], header: list[str]) -> TableRow:
    used = len(cells)
    while used > len(header) and not cells[used - 1].strip():
        used -= 1
    if used != len(header):
        return TableRow(number, {}, f"cells = {used}: give all {len(header)}, empty ones too")
    return TableRow(number, dict(zip(header, cells, strict=False)))


def _csv(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            # By the line on which a row ends: an editor shows that number, also behind empty lines.
            return [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a table in UTF-8: {error}") from None


def _sheet(path: Path) -> list[tuple[int, list[str]]]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        _require_small(path)
        sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0)
        rows = sheet.to_python(skip_empty_area=False)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, CalamineError) as error:
        raise ConfigError(f"{path}: not an XLSX workbook: {error}") from None
    return [(number, [_text(cell) for cell in row]) for number, row in enumerate(rows, 1)]


def _require_small(path: Path) -> None:
    """Refuse a workbook that would not fit in memory, before its reader takes memory for it.

    A reader lays a sheet out up to its last cell: one cell at XFD1048576 in a file of 2 kB would take it 400 GB.
    """
    last_row = last_column = 0
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MOST_UNPACKED_BYTES:
            raise ConfigError(f"{path}: unpacked = {unpacked}: give at most {MOST_UNPACKED_BYTES} bytes")
        for entry in archive.infolist():
            text = archive.read(entry)
            if entry.filename.endswith(".xml") and b"\0" in text:
                raise ConfigError(f"{path}: {entry.filename}: give a workbook in UTF-8")
            for at in set(_AT.findall(text)):
                if b"&" in at:
                    raise ConfigError(f"{path}: {entry.filename}: give cells by their plain names, such as B2")
                if cell := _CELL.fullmatch(at):
                    column = 0
                    for letter in cell[1].upper():
                        column = column * 26 + letter - 64
                    last_row, last_column = max(last_row, int(cell[2])), max(last_column, column)
    if last_row * max(last_column, 1) > MOST_CELLS:
        given = f"{last_row} rows x {last_column} columns"
        raise ConfigError(f"{path}: size = {given!r}: give at most {MOST_CELLS} cells, in several files")


def _text(cell: str | float | bool | datetime | date | time | timedelta) -> str:
    """Return a cell as a CSV would hold it; a date of a sheet has no offset, and is refused for that."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, (datetime, date, time)):
        return cell.isoformat()
    return str(cell)


def read_promised(path: Path) -> Ledger:
    """Return a reservation book of the promises in a table: resource, product, start, end, up_w, rating_w.

    Raises:
        ConfigError: Rows are faulty, or sell more than the rating; all are named.
    """
    ledger, faults = Ledger(), list[str]()
    for row in read_rows(path, PROMISED, PROMISED):
        if row.fault:
            faults.append(f"row {row.number}: {row.fault}")
            continue
        try:
            up_w, rating_w = (float(row.cells[name]) for name in ("up_w", "rating_w"))
            start_ns, end_ns = (parse_iso(row.cells[name].strip()) for name in ("start", "end"))
        except (ValueError, OverflowError) as error:
            faults.append(f"row {row.number}: {error}: give W, and ISO 8601 with an offset")
            continue
        resource, product = row.cells["resource"].strip(), row.cells["product"].strip()
        known = ledger.capacities.setdefault(resource, Capacity(rating_w, 0.0))
        if known.up_w != rating_w:
            faults.append(f"row {row.number}: rating_w = {rating_w:g}: is {known.up_w:g} in another row")
        elif end_ns - start_ns > MOST_SLOTS * SLOT_NS:
            faults.append(f"row {row.number}: end = {row.cells['end']}: give at most 400 days")
        elif why := ledger.check(resource, product, start_ns, end_ns, up_w, 0.0):
            faults.append(f"row {row.number}: {why.field} = {why.value}: {why}")
        else:
            ledger.reserve(f"row-{row.number}", resource, product, start_ns, end_ns, up_w, 0.0)
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults))
    return ledger


def read_book(path: Path) -> EnrolmentBook:
    """Return the book of enrolments; a file that isn't there is an empty book.

    Raises:
        ConfigError: It is no such book.
    """
    if not path.exists():
        return EnrolmentBook()
    try:
        return msgspec.json.decode(path.read_bytes(), type=EnrolmentBook)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: is no book of enrolments: {error}") from error


@contextmanager
def changing(path: Path) -> Iterator[Any]:
    """Hold a book for a change: yields it with a function that writes the changed one, whole, before it returns.

    Raises:
        ConfigError: It is no such book.
    """
    beside = path.with_name(f"{path.name}.lock")
    with open(beside, "a", encoding="utf-8", opener=opener) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def write(book: EnrolmentBook) -> None:
            fresh = path.with_name(f"{path.name}.new")
            with open(fresh, "wb", opener=opener) as out:
                out.write(msgspec.json.format(msgspec.json.encode(book), indent=1))
                out.flush()
                os.fsync(out.fileno())
            os.replace(fresh, path)
            folder = os.open(path.parent, os.O_RDONLY)  # a name that is not on disk is lost with the power
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

        yield read_book(path), write
