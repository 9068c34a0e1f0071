"""Any product's statement on paper: lines with their total, causes, versions of its rule, and baseline days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieline.market.settlement import shortfall_causes
from tieline.pool.document import Cell, Column, Document, Table
from tieline.store.document_files import write_document

FORMS = (".html", ".pdf", ".xlsx")
HOLDS = {"id": "id", "start": "instant", "end": "instant", "amount": "money", "kind": "word", "cause": "word"}
NUMBERS = ("kwh", "price_per_mwh", "quantity", "price")
DAYS = (
    Column("meter", "meter"), Column("day", "day"), Column("use", "use"), Column("weight", "weight", "number"),
    Column("why", "why"),
)  # fmt: skip


def is_paper(path: Path) -> bool:
    """Return whether a file's suffix asks for a document, not for lines as CSV."""
    return path.suffix.lower() in FORMS


def write_statement(found: Mapping[str, Any], path: Path) -> None:
    """Write what a settlement verb tells as HTML, PDF or XLSX. Raises ConfigError where it can't be written."""
    write_document(document_of(found), path)


def document_of(found: Mapping[str, Any]) -> Document:
    """Return what a settlement verb tells as a document; its lines add up to its total."""
    versions = found.get("versions") or [
        {name: found.get(name, "") for name in ("version", "source", "certainty", "effective_from", "effective_to")}
    ]
    head = (
        ("statement", found["statement"]), ("rule", found["rule"]), ("inputs", found["input_hash"]),
        *((("level", found["level"]),) if "level" in found else ()), ("total", f"{found['total']} {found['currency']}"),
    )  # fmt: skip
    columns = tuple(Column(name, name.replace("_", " ")) for name in versions[0])
    tables = [
        _lines(found["lines"], Decimal(found["total"])),
        _causes(found["lines"]),
        Table("version", "The rule's versions", columns, tuple(tuple(map(str, one.values())) for one in versions)),
        *([_days(found["baselines"])] if found.get("baselines") else []),
    ]
    return Document(
        found["statement"], f"Statement by {found['rule']}", head, tuple(tables), tuple(found.get("flags", ()))
    )  # fmt: skip


def _lines(lines: Sequence[Mapping[str, Any]], total: Decimal) -> Table:
    names = sorted(lines[0] if lines else {}, key=lambda name: name == "amount")  # money stands last
    columns = tuple(
        Column(name, name.replace("_", " "), "number" if name in NUMBERS else HOLDS.get(name, "text"))  # type: ignore[arg-type]
        for name in names
    )
    return Table("line", "Lines", columns, tuple(tuple(_cell(n, line[n]) for n in names) for line in lines), "", total)


def _cell(name: str, value: Any) -> Cell:
    if name == "amount":
        return Decimal(value)
    if name in NUMBERS:
        return float(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _causes(lines: Sequence[Mapping[str, Any]]) -> Table:
    known, sums = shortfall_causes(), dict[str, Decimal]()
    for line in lines:
        if line["cause"]:
            sums[line["cause"]] = sums.get(line["cause"], Decimal("0.00")) + Decimal(line["amount"])
    columns = (Column("cause", "cause", "word"), Column("excused", "excused"), Column("says", "what it is"),
               Column("source", "by"), Column("amount", "amount", "money"))  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (cause, "yes" if known[cause].excused else "no", known[cause].says, known[cause].source, amount)
        for cause, amount in sorted(sums.items()) if cause in known
    )  # fmt: skip
    return Table("cause", "Why it fell short", columns, rows, "" if rows else "It did not.")


def _days(baselines: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in baselines:
        weights = one["weights"] or [1.0] * len(one["days"])
        rows += [(one["meter"], day, "used", float(w), "") for day, w in zip(one["days"], weights, strict=True)]
        rows += [(one["meter"], left["day"], "left out", None, left["why"]) for left in one["excluded"]]
    return Table("day", "Days used, and why", DAYS, tuple(rows))
