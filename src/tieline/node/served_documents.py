"""Statements of what a server or the story settled, on paper: read from the journal's records alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from tieline.desk.facts import LineSettled, StatementMade, from_record
from tieline.desk.sharing import BY as SHARED_BY
from tieline.errors import ConfigError
from tieline.market.settlement import MILLI, shortfall_causes
from tieline.node.journals import journal_to_read
from tieline.pool.document import Cell, Column, Document, Table
from tieline.times import from_ns, iso

Audience = Literal["market", "program", "owner"]
LINES = (
    Column("id", "line", "id"), Column("version", "version"), Column("kind", "kind", "word"),
    Column("of", "adjusts", "word"), Column("start", "from", "instant"), Column("end", "to", "instant"),
    Column("kwh", "kWh", "number"), Column("price", "price per MWh", "number"), Column("cause", "cause", "word"),
    Column("excused", "excused"), Column("amount", "amount", "money"),
)  # fmt: skip

UNKNOWN_DEVICES = "which devices were counted for this owner was not recorded with this statement"


class Served:
    """What a journal says was settled: statements, oldest first, and the lines of each."""

    def __init__(self, data: Path) -> None:
        """Read a data folder. Raises ConfigError where it holds no journal."""
        journal = journal_to_read(data)
        self.end_fault = journal.end_fault()
        try:
            made = map(from_record, journal.of_kind("StatementMade"))
            self.statements = [fact for fact in made if isinstance(fact, StatementMade)]
            self.lines: dict[str, list[LineSettled]] = {}
            for fact in map(from_record, journal.of_kind("LineSettled")):
                if isinstance(fact, LineSettled):
                    self.lines.setdefault(fact.statement, []).append(fact)
        finally:
            journal.close()

    def find(self, name: str) -> StatementMade:
        """Return the statement of an id, `newest`, or the newest that began on a UTC day. Raises ConfigError."""
        mine = [
            one
            for one in self.statements
            if name in ("newest", one.statement) or name == from_ns(one.start_ns).date().isoformat()
        ]
        if not mine:
            has = ", ".join(f"{one.statement} ({from_ns(one.start_ns).date()})" for one in self.statements[-10:])
            raise ConfigError(f"statement = {name!r}: give newest, a day, or one of {has or 'none yet'}")
        return mine[-1]

    def series(self, made: StatementMade) -> list[StatementMade]:
        """Return the versions of a statement's hours up to it, oldest first."""
        alike = (made.pool, made.start_ns, made.end_ns)
        mine = [one for one in self.statements if (one.pool, one.start_ns, one.end_ns) == alike]
        return sorted((one for one in mine if one.version <= made.version), key=lambda one: one.version)

    def document(self, made: StatementMade, audience: Audience, owner: str = "") -> Document:
        """Return a statement for somebody.

        Raises:
            ConfigError: The owner has no share in it, or its lines do not come to its total: a record is missing.
        """
        versions = self.series(made)
        lines = [(one.version, line) for one in versions for line in self.lines.get(one.statement, [])]
        total = Decimal(made.total)
        held = sum((Decimal(line.amount) for _, line in lines), Decimal("0.00"))
        if held != total:
            raise ConfigError(f"{made.statement}: lines come to {held}, not {total}: see `tieline doctor`")
        body, newest = made.body, max(one.version for one in self.statements if _is_alike(one, made))
        # An owner is shown what is his: what the pool lacked, and how it did, is between it and its market.
        performance: tuple[tuple[str, str], ...] = (
            ("performance", f"{float(body.get('performance', 0.0)):.4f}"),
            ("performance with excused", f"{float(body.get('performance_excused', 0.0)):.4f}"),
        )  # fmt: skip
        notes = tuple(str(flag) for flag in body.get("flags", ()))
        if audience == "owner":
            tables, total = [_share(versions, owner), *_devices(body, owner)], Decimal(_share_of(made, owner))
            performance, notes = (), () if len(tables) > 1 else (UNKNOWN_DEVICES,)
            notes += tuple(str(says) for says in body.get("shared_says", ()))
        elif audience == "program":
            tables = [_kinds(lines, total), _shares(made, total), *_shared_by(body)]
        else:
            tables = [Table("line", "Lines", LINES, tuple(_row(version, line) for version, line in lines), "", total)]
        if audience != "owner":
            tables += [_causes([line for _, line in lines]), _bases(body)]
        tables.append(_days(body))
        head = (
            ("statement", made.statement), ("for", f"the {audience} {owner or made.pool}"),
            ("version", f"{made.version} ({'stands' if made.version == newest else 'superseded'})"),
            ("pool", made.pool), ("from", iso(made.start_ns)), ("to", iso(made.end_ns)), ("rule", made.rule),
            ("inputs", str(body.get("input_hash", ""))), ("meter data", str(body.get("data_version", ""))),
            *performance, ("total", f"{total} {made.currency}"),
        )  # fmt: skip
        return Document(made.statement, f"Statement for the {audience}", head, tuple(tables), notes)

    def owners(self, made: StatementMade) -> list[tuple[str, Document]]:
        """Return the statement of each owner that has a share in one. Raises ConfigError as `document` does."""
        shares: dict[str, str] = made.body.get("shares", {})
        return [(owner, self.document(made, "owner", owner)) for owner in sorted(shares)]


def _row(version: int, line: LineSettled) -> tuple[Cell, ...]:
    excused = "" if not line.cause else "yes" if line.excused else "no"
    return (
        line.line, str(version), line.kind, line.of, iso(line.start_ns), iso(line.end_ns), line.energy_wh / 1e3,
        line.price_per_mwh, line.cause, excused, Decimal(line.amount),
    )  # fmt: skip


def _kinds(lines: Sequence[tuple[int, LineSettled]], total: Decimal) -> Table:
    sums: dict[tuple[str, str], tuple[float, Decimal]] = {}
    for _, line in lines:
        key = (line.of or line.kind, line.cause)
        kwh, amount = sums.get(key, (0.0, Decimal("0.00")))
        sums[key] = (kwh + line.energy_wh / 1e3, amount + Decimal(line.amount))
    columns = (Column("kind", "kind", "word"), Column("cause", "cause", "word"), Column("kwh", "kWh", "number"),
               Column("amount", "amount", "money"))  # fmt: skip
    rows = tuple((kind, cause, kwh, amount) for (kind, cause), (kwh, amount) in sorted(sums.items()))
    return Table("line", "Earned", columns, rows, "", total)


def _shares(made: StatementMade, total: Decimal) -> Table:
    body = made.body
    columns = (Column("who", "who"), Column("name", "name"), Column("amount", "amount", "money"))
    rows: list[tuple[Cell, ...]] = [("operator", "", Decimal(str(body.get("operator", "0.00"))))]
    rows += [("owner", name, Decimal(amount)) for name, amount in sorted(body.get("shares", {}).items())]
    rows.append(("undistributed", "", Decimal(str(body.get("undistributed", "0.00")))))
    return Table("share", "Shared", columns, tuple(rows), "Owners share by what their devices gave.", total)


def _shared_by(body: dict[str, Any]) -> list[Table]:
    """Return how much was shared by what (`desk.sharing`); no table of a statement that does not say it."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (word, SHARED_BY[word], one["milli_wh"] / (MILLI * 1e3), one["intervals"], Decimal(one["amount"]))
        for word, one in body.get("shared_by", {}).items() if word in SHARED_BY
    )  # fmt: skip
    columns = (Column("by", "by", "word"), Column("says", "what it is"), Column("kwh", "kWh", "number"),
               Column("intervals", "intervals", "number"), Column("amount", "owners' money", "money"))  # fmt: skip
    return [Table("shared_by", "Shared by what", columns, rows)] if rows else []


def _share_of(made: StatementMade, owner: str) -> str:
    shares: dict[str, str] = made.body.get("shares", {})
    if owner not in shares:
        raise ConfigError(f"--owner {owner!r}: give one of {', '.join(sorted(shares)[:20]) or 'none: nobody gave'}")
    return shares[owner]


def _share(versions: Sequence[StatementMade], owner: str) -> Table:
    """Return an owner's share, version by version: what each added to or took from the one before."""
    columns = (Column("version", "version"), Column("statement", "statement", "id"),
               Column("amount", "due with it", "money"))  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    before = Decimal("0.00")
    for one in versions:
        share = Decimal(one.body.get("shares", {}).get(owner, "0.00"))
        rows.append((str(one.version), one.statement, share - before))
        before = share
    return Table(
        "line",
        "Share",
        columns,
        tuple(rows),
        "By what the owner's devices gave.",
        Decimal(_share_of(versions[-1], owner)),
    )


def _devices(body: dict[str, Any], owner: str) -> list[Table]:
    """Return what each of an owner's devices gave in awarded hours; none where it was not recorded whose they are."""
    if owner not in (mine := body.get("devices", {})):
        return []
    gave = body.get("resources_milli_wh", {})
    rows = tuple((name, gave[name] / (MILLI * 1e3)) for name in mine[owner])
    columns = (Column("meter", "device"), Column("kwh", "kWh", "number"))
    return [Table("device", "What his devices gave", columns, rows, "Against their baseline; by it all owners share.")]


def _is_alike(one: StatementMade, made: StatementMade) -> bool:
    return one.pool == made.pool and one.start_ns == made.start_ns


def _causes(lines: Sequence[LineSettled]) -> Table:
    known = shortfall_causes()
    sums: dict[str, tuple[float, Decimal]] = {}
    for line in lines:
        if line.cause:
            kwh, amount = sums.get(line.cause, (0.0, Decimal("0.00")))
            sums[line.cause] = (kwh + line.energy_wh / 1e3, amount + Decimal(line.amount))
    columns = (Column("cause", "cause", "word"), Column("excused", "excused"), Column("kwh", "kWh", "number"),
               Column("says", "what it is"), Column("source", "by"), Column("amount", "amount", "money"))  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (cause, "yes" if known[cause].excused else "no", kwh, known[cause].says, known[cause].source, amount)
        for cause, (kwh, amount) in sorted(sums.items()) if cause in known
    )  # fmt: skip
    return Table("cause", "Why it fell short", columns, rows, "" if rows else "It did not.")


def _bases(body: dict[str, Any]) -> Table:
    columns = (Column("rule", "rule"), Column("version", "version"), Column("source", "source"),
               Column("factor", "factor", "number"), Column("input_hash", "inputs", "id"))  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (str(one["rule"]), str(one["version"]), str(one["source"]), float(one["factor"]), str(one["input_hash"]))
        for one in body.get("baselines", ())
    )
    return Table("baseline", "Baselines", columns, rows)


def _days(body: dict[str, Any]) -> Table:
    columns = (Column("day", "day"), Column("use", "use"), Column("why", "why"))
    rows: list[tuple[Cell, ...]] = [(day, "used", "stands for the event by the rule") for day in body.get("days", ())]
    rows += [(day, "left out", why) for day, why in body.get("excluded", ())]
    return Table("day", "Days used, and why", columns, tuple(rows), "Of the first of the baselines.")


def require_day_or_id(text: str) -> None:
    """Do nothing for `newest`, a day or a statement's id. Raises ConfigError for what is none of them."""
    if text == "newest" or text.startswith("statement:"):
        return
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"statement = {text!r}: give newest, a day such as 2022-08-17, or an id") from None
