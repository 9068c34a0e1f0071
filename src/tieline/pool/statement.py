"""Statements of an event for market, program and each owner: lines that add up, causes, days used, and versions.

Each says what stands now, version by version, and what was agreed beside the rules; its total is what the reader was
given of the event in all. `InvariantError` where it isn't: then this program is wrong and nothing is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tieline.contract.pay import NOTHING
from tieline.errors import ConfigError, InvariantError
from tieline.market.settlement import Line, shortfall_causes
from tieline.pool.document import Cell, Column, Curve, Document, Table
from tieline.pool.owner_lines import OwnerLine, owner_lines
from tieline.pool.owner_pay import OwnerTerms
from tieline.pool.settled import Part, Settled
from tieline.pool.statement_book import Series
from tieline.pool.statement_facts import Adjusted, Issued
from tieline.times import from_ns

LINES = (
    Column("id", "line", "id"), Column("kind", "kind", "word"), Column("start", "from", "instant"),
    Column("end", "to", "instant"), Column("kwh", "kWh", "number"), Column("price", "price per MWh", "number"),
    Column("cause", "cause", "word"), Column("excused", "excused"), Column("amount", "amount", "money"),
)  # fmt: skip
OWNER_LINES = (
    Column("id", "line", "id"), Column("kind", "kind", "word"), Column("meter", "meter"),
    Column("kwh", "kWh", "number"), Column("cause", "cause", "word"), Column("excused", "excused"),
    Column("amount", "amount", "money"),
)  # fmt: skip
EARNED = tuple(column for column in LINES if column.name not in ("id", "start", "end", "price"))
SHARED = (
    Column("who", "who"), Column("name", "name"), Column("kwh", "kWh", "number"), Column("amount", "amount", "money"),
)  # fmt: skip
DAYS = (Column("meter", "meter"), Column("day", "day"), Column("use", "use"), Column("weight", "weight", "number"),
        Column("why", "why"))  # fmt: skip
BASES = (
    Column("meter", "meter"), Column("start", "from", "instant"), Column("baseline_kwh", "baseline kWh", "number"),
    Column("actual_kwh", "metered kWh", "number"), Column("gained_kwh", "gained kWh", "number"),
)  # fmt: skip
CAUSES = (
    Column("cause", "cause", "word"), Column("excused", "excused"), Column("kwh", "kWh", "number"),
    Column("says", "what it is"),
    Column("source", "by"), Column("amount", "amount", "money"),
)  # fmt: skip
PICKED = {
    "all": "among the most recent like days", "highest": "among the highest use in the event's hours",
    "middle": "neither highest nor lowest use", "nearest-temperature": "nearest in daily maximum temperature",
    "most-similar": "most alike before the event",
}  # fmt: skip
"""Why a day stands for the event, by how the rule picks; rules that look at the event day alone use none."""


def market_statement(series: Series, issued: Issued) -> Document:
    """Return what market and pool settle with each other: every line, and the differences to the version before."""
    settled = issued.settled
    agreed = _agreed(series, issued, "")
    lines = tuple(_line_row(settled, line) for line in settled.lines)
    total = settled.total + sum((one.amount for one in agreed), NOTHING)
    tables = [
        Table("line", "Lines", LINES, (*lines, *(_agreed_row(LINES, one) for one in agreed)), total=total),
        *_changes(issued),
        _causes(settled.lines),
        *_explained(settled, settled.parts),
    ]
    return _document("market", settled.market, series, issued, tables, settled.parts, total)


def program_statement(series: Series, issued: Issued) -> Document:
    """Return what a program earned, by kind and cause, and to whom all of it goes."""
    settled = issued.settled
    agreed = _agreed(series, issued, "")
    total = settled.total + sum((one.amount for one in agreed), NOTHING)
    earned = [*_by_kind(settled.lines), *(_agreed_row(EARNED, one) for one in agreed)]
    dues = [each.due for _, each in series.issued if each.version <= issued.version]
    dues += [one.due for one in series.adjusted if _upto(series, issued, one)]
    kwh = settled.owner_kwh()
    owners = sorted({*kwh, *(owner for due in dues for owner in due.owners)})
    rows: list[tuple[Cell, ...]] = [
        ("operator", settled.operator, None, sum((due.operator for due in dues), NOTHING)),
        *(("owner", one, kwh.get(one), sum((due.owners.get(one, NOTHING) for due in dues), NOTHING)) for one in owners),
        ("undistributed", "", None, sum((due.undistributed for due in dues), NOTHING)),
    ]
    says = f"Owners share by what their meters gained; the operator's part is {settled.operator_frac} of the total."
    if settled.terms:
        says += " Where a contract says otherwise its share and pay hold, and the operator has what is left."
    tables = [
        Table("line", "Earned", EARNED, tuple(earned), total=total),
        Table("share", "Shared", SHARED, tuple(rows), says, total),
        _causes(settled.lines),
        *([_terms(settled.terms)] if settled.terms else []),
        *_explained(settled, settled.parts),
    ]  # fmt: skip
    return _document("program", settled.program, series, issued, tables, settled.parts, total)


def owner_statements(series: Series, issued: Issued) -> Iterator[tuple[str, Document]]:
    """Yield every owner of an event with his statement."""
    mine = owner_lines(issued)
    for owner in mine:
        yield owner, _owner_statement(series, issued, owner, mine)


def owner_statement(series: Series, issued: Issued, owner: str) -> Document:
    """Return what one owner is given of an event and why: meter by meter, with the days that stand for the event.

    Raises:
        ConfigError: The owner has no meter in it.
    """
    mine = owner_lines(issued)
    if owner not in mine:
        raise ConfigError(f"--owner {owner!r}: give one of {', '.join(list(mine)[:20]) or 'none: it has no owners'}")
    return _owner_statement(series, issued, owner, mine)


def _owner_statement(series: Series, issued: Issued, owner: str, mine: dict[str, list[OwnerLine]]) -> Document:
    settled = issued.settled
    rows = [_owner_row(line) for line in mine[owner]]
    agreed = _agreed(series, issued, owner)
    rows += [_agreed_row(OWNER_LINES, one) for one in agreed]
    market = sum((one.amount for one in _agreed(series, issued, "")), NOTHING)
    if market:
        was, right = (settled.shares_of(settled.total + more).owners[owner] for more in (NOTHING, market))
        cells: dict[str, Cell] = {"id": issued.statement, "kind": "share of what was agreed", "amount": right - was}
        rows.append(tuple(cells.get(column.name) for column in OWNER_LINES))
    total = sum((row[-1] for row in rows if isinstance(row[-1], Decimal)), NOTHING)
    parts = [part for part in settled.parts if part.owner == owner]
    terms = settled.terms.get(owner)
    says = "A shortfall costs an owner nothing here: what the pool bought back is in what all share."
    if terms is not None:
        says = (
            f"By {terms.contract}, version {terms.version}: {terms.share_frac} of what the energy earned, and its pay."
        )
    before = [(str(one.version), from_ns(at_ns).isoformat(), one.due.owners.get(owner, NOTHING))
              for at_ns, one in series.issued if one.version <= issued.version]  # fmt: skip
    columns = (
        Column("version", "version"),
        Column("issued", "issued", "instant"),
        Column("due", "due with it", "money"),
    )
    tables = [
        Table("line", "Lines", OWNER_LINES, tuple(rows), says, total),
        Table("version", "Versions", columns, tuple(before)),
        _causes(mine[owner]),
        *([_terms({owner: terms})] if terms is not None else []),
        *_explained(settled, parts),
    ]
    made = _document("owner", owner, series, issued, tables, parts, total)
    if issued is series.newest and series.owner_total(owner) != total:
        raise InvariantError(f"{issued.statement}: {owner} was given {series.owner_total(owner)}, lines say {total}")
    return made


def _terms(terms: Mapping[str, OwnerTerms]) -> Table:
    columns = tuple(
        Column(name, title)
        for name, title in (
            ("owner", "owner"), ("contract", "contract"), ("version", "version"), ("share", "share"),
            ("per_kwh", "pay a kWh"), ("per_call", "pay a call"), ("penalty_per_kwh", "charge a kWh lacking"),
            ("penalty_per_call", "charge a missed call"),
        )
    )  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (owner, one.contract, str(one.version), str(one.share_frac), str(one.per_kwh), str(one.per_call),
         str(one.penalty_per_kwh), str(one.penalty_per_call))
        for owner, one in sorted(terms.items())
    )  # fmt: skip
    return Table("terms", "What contracts say", columns, rows, "What is excused is never charged.")


def _upto(series: Series, issued: Issued, one: Adjusted) -> bool:
    """Return whether an adjustment was agreed on a version up to this one."""
    versions = {each.statement: each.version for _, each in series.issued}
    return versions[one.statement] <= issued.version


def _agreed(series: Series, issued: Issued, owner: str) -> list[Adjusted]:
    return [one for one in series.adjusted if one.owner == owner and _upto(series, issued, one)]


def _agreed_row(columns: Sequence[Column], one: Adjusted) -> tuple[Cell, ...]:
    says = f"agreed: {one.says}" if one.says else "agreed"
    cells: dict[str, Cell] = {"id": one.adjustment, "kind": says, "amount": one.amount}
    return tuple(cells.get(column.name) for column in columns)


def _line_row(settled: Settled, line: Line) -> tuple[Cell, ...]:
    start, end = (_local(settled, at) for at in (line.start_ns, line.end_ns))
    excused = "" if not line.cause else "yes" if line.excused else "no"
    return (
        line.id, line.kind, start, end, line.energy_wh / 1e3, line.price_per_mwh, line.cause, excused, line.amount
    )  # fmt: skip


def _owner_row(line: OwnerLine) -> tuple[Cell, ...]:
    excused = "" if not line.cause else "yes" if line.excused else "no"
    return (line.id, line.kind, line.meter, line.kwh, line.cause, excused, line.amount)


def _local(settled: Settled, at_ns: int) -> str:
    return from_ns(at_ns).astimezone(ZoneInfo(settled.zone)).isoformat()


def _by_kind(lines: Sequence[Line]) -> list[tuple[Cell, ...]]:
    """Return one row a kind and cause; money and energy are those of its lines."""
    sums: dict[tuple[str, str, bool], tuple[float, Decimal]] = {}
    for line in lines:
        key = (line.kind, line.cause, line.excused)
        wh, amount = sums.get(key, (0.0, NOTHING))
        sums[key] = (wh + line.energy_wh, amount + line.amount)
    return [
        (kind, wh / 1e3, cause, "" if not cause else "yes" if excused else "no", amount)
        for (kind, cause, excused), (wh, amount) in sorted(sums.items())
    ]


def _changes(issued: Issued) -> list[Table]:
    if not issued.former:
        return []
    settled = issued.settled
    rows = tuple(_line_row(settled, line) for line in issued.adjusting)
    says = f"Differences to {issued.former}; they are part of the lines above, not beside them."
    total = sum((line.amount for line in issued.adjusting), NOTHING)
    return [Table("change", f"What version {issued.version} changed", LINES, rows, says, total)]


def _causes(lines: Sequence[Line | OwnerLine]) -> Table:
    """Return what lacks by cause, with what the table of causes says of each."""
    sums: dict[str, tuple[float, Decimal]] = {}
    for line in lines:
        if line.cause:
            kwh = line.kwh if isinstance(line, OwnerLine) else line.energy_wh / 1e3
            before = sums.get(line.cause, (0.0, NOTHING))
            sums[line.cause] = (before[0] + kwh, before[1] + line.amount)
    known = shortfall_causes()
    rows = tuple(
        (cause, "yes" if known[cause].excused else "no", kwh, known[cause].says, known[cause].source, amount)
        for cause, (kwh, amount) in sorted(sums.items())
    )
    return Table("cause", "Why it fell short", CAUSES, rows, "" if rows else "It did not.")


def _explained(settled: Settled, parts: Sequence[Part]) -> list[Table]:
    """Return the days used and why, how the mean was adjusted, and each interval's baseline and reading."""
    days: list[tuple[Cell, ...]] = []
    for part in parts:
        weights = part.weights or (1.0,) * len(part.days)
        days += [
            (part.meter, day, "used", weight, PICKED[settled.rule["pick"]])
            for day, weight in zip(part.days, weights, strict=True)
        ]
        days += [(part.meter, day, "left out", None, why) for day, why in part.excluded]
    how = (Column("meter", "meter"), Column("factor", "factor", "number"), Column("addend", "addend kWh", "number"),
           Column("capped", "at its cap"), Column("adjustment_kwh", "adds kWh", "number"),
           Column("gained_kwh", "gained kWh", "number"), Column("note", "note"))  # fmt: skip
    hows: tuple[tuple[Cell, ...], ...] = tuple(
        (part.meter, part.factor, part.addend, "yes" if part.is_capped else "no", part.adjustment_kwh, part.gained_kwh,
         "; ".join(part.flags)) for part in parts
    )  # fmt: skip
    steps = tuple(
        (part.meter, _local(settled, step.start_ns), step.baseline_kwh, step.actual_kwh, step.gained_kwh)
        for part in parts for step in part.steps
    )  # fmt: skip
    rule, none = settled.rule, "The rule looks at the event day alone."
    level = f"{rule['id']} {rule['version']} at the level of each {settled.level}."
    caps = f" Factor {rule['adjust_low']} to {rule['adjust_high'] or 'no end'}." if rule["adjust"] == "ratio" else ""
    return [
        Table("day", "Days used, and why", DAYS, tuple(days), level if days else f"{level} {none}"),
        Table("adjustment", "Adjustment", how, hows, f"By {rule['adjust']}.{caps}"),
        Table("interval", "Baseline and meter", BASES, steps),
    ]


def _document(
    audience: str,
    to: str,
    series: Series,
    issued: Issued,
    tables: Sequence[Table],
    parts: Sequence[Part],
    total: Decimal,
) -> Document:
    settled, basis = issued.settled, issued.settled.basis
    for table in tables:
        if table.total is not None and table.money() != table.total:
            raise InvariantError(f"{issued.statement}: {table.section}: lines are {table.money()}, not {table.total}")
    newest = series.newest
    stands = "final" if series.final == issued.statement else "stands" if issued is newest else "superseded"
    rule: dict[str, Any] = settled.rule
    head = (
        ("statement", issued.statement), ("for", f"the {audience} {to}"), ("version", f"{issued.version} ({stands})"),
        *((("replaces", issued.former),) if issued.former else ()),
        ("operator", settled.operator), ("program", settled.program), ("market", settled.market),
        ("from", _local(settled, settled.start_ns)), ("to", _local(settled, settled.end_ns)),
        ("rule", f"{rule['id']} {rule['version']} ({rule['certainty']})"), ("source of the rule", rule["source"]),
        ("inputs", basis.input_hash), ("meter data", basis.data_version), ("causes", settled.causes_hash),
        ("total", f"{total} {settled.currency}"),
    )  # fmt: skip
    title = f"Statement for the {audience}"
    mine = settled.flags
    if audience == "owner":
        # What is odd about other owners' meters is theirs to know.
        names = tuple(f"{part.meter}: " for part in parts)
        mine = (*(flag for flag in mine if flag.startswith(names)), *dict.fromkeys(f for p in parts for f in p.flags))
    notes = (*mine, *(("A later version of this statement stands.",) if stands == "superseded" else ()))
    return Document(issued.statement, title, head, tuple(tables), notes, _curve(settled, parts))


def _curve(settled: Settled, parts: Sequence[Part]) -> Curve | None:
    if not parts:
        return None
    count = len(parts[0].steps)
    expected = tuple(sum(part.steps[k].baseline_kwh for part in parts) for k in range(count))
    actual = tuple(
        None
        if all(part.steps[k].actual_kwh is None for part in parts)
        else sum(part.steps[k].actual_kwh or 0.0 for part in parts)
        for k in range(count)
    )
    labels = tuple(_local(settled, step.start_ns)[11:16] for step in parts[0].steps)
    return Curve("Baseline and meter", labels, expected, actual, "kWh")
