"""What products other than energy come to, from files: capacity, ladders, net benefits, prohibited output, claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.market.capacity import FirmLevel, Obligation, pay_for_performance, shortfall_charge
from tieline.market.ladders import Nomination, ladder_lines, pay_share
from tieline.market.product import (
    BalancingRatio,
    Dated,
    Ladder,
    NetCone,
    ProductLine,
    currency_of,
    product_rules,
    rule_of,
    total_of,
    zone_of,
)
from tieline.market.settlement import Basis
from tieline.store.product_files import FaultyRows, Field, Rows, read_rows
from tieline.times import MINUTE_NS, from_ns, iso

MOST_MW, MOST_KW, MOST_PRICE = 1e6, 1e8, 1e6
MINUTES = Field("minutes", 1 / 60, 44_640, 60.0)
"""How long an interval lasts; at most a month."""
CAUSE_SHARE = Field("cause_share", 0.0, 1.0, 1.0)
"""Which part of a lack the row's cause explains; the rest is `underperformed`."""


@dataclass(slots=True)
class Book:
    """A statement in the making: what it rests on, its lines, and the rule's versions that they went by."""

    rule: str
    zone: ZoneInfo
    currency: str
    inputs: str
    data: str
    statement: str
    lines: list[ProductLine] = field(default_factory=list)
    used: dict[str, Dated] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def day(self, at_ns: int) -> date:
        """Return the local day of an instant."""
        return from_ns(at_ns).astimezone(self.zone).date()

    def basis(self, rule: Dated) -> Basis:
        """Return what a line rests on that goes by a version of the rule, and note the version."""
        self.used[rule.version] = rule
        return Basis(self.statement, rule.id, rule.version, self.inputs, self.data)

    def told(self, **more: Any) -> dict[str, Any]:
        """Return the statement as a screen or a program reads it."""
        kinds: dict[str, Decimal] = {}
        causes: dict[str, Decimal] = {}
        for line in self.lines:
            kinds[line.kind] = kinds.get(line.kind, Decimal("0.00")) + line.amount
            if line.cause:
                causes[line.cause] = causes.get(line.cause, Decimal("0.00")) + line.amount
        return {
            "statement": self.statement, "rule": self.rule, "currency": self.currency,
            "versions": [
                {"version": r.version, "source": r.source, "certainty": r.certainty,
                 "effective_from": r.effective_from, "effective_to": r.effective_to}
                for _, r in sorted(self.used.items())
            ],
            "by_kind": {kind: str(amount) for kind, amount in sorted(kinds.items())},
            "by_cause": {cause: str(amount) for cause, amount in sorted(causes.items())},
            "total": str(total_of(self.lines)), **more, "input_hash": self.inputs,
            "lines": [self._line(line) for line in self.lines], "flags": self.flags,
        }  # fmt: skip

    def _line(self, line: ProductLine) -> dict[str, Any]:
        start, end = (from_ns(at).astimezone(self.zone).isoformat() for at in (line.start_ns, line.end_ns))
        return {
            "id": line.id, "kind": line.kind, "resource": line.resource, "start": start, "end": end,
            "quantity": format(line.quantity.normalize(), "f"), "unit": line.unit, "price": format(line.price, "f"),
            "amount": str(line.amount), "rule_version": line.basis.rule_version, "cause": line.cause,
            "excused": line.excused,
        }  # fmt: skip


def open_book(
    rule_id: str, zone: str, currency: str, files: Sequence[Path], data: Path, *more: str | int | float
) -> Book:
    """Return an empty statement that is named by its rule, all its files and whatever else it goes by.

    Raises:
        ConfigError: A file can't be read, or the currency is none.
    """
    currency = currency or currency_of(rule_id)
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise ConfigError(f"--currency {currency!r}: give three capital letters such as USD or GBP (ISO 4217)")
    try:
        contents = {path: path.read_bytes() for path in files}
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}: give a file that can be read") from None
    # Corrected rules make another statement as corrected readings do.
    table = [repr(rule) for rule in product_rules() if rule.id == rule_id]
    inputs = derive("inputs", *contents.values())
    statement = derive("statement", rule_id, *table, currency, inputs, *more)
    return Book(
        rule_id, ZoneInfo(zone), currency, inputs, blake2b(contents[data], digest_size=12).hexdigest(), statement
    )


def over_of(rows: Rows, at: int) -> tuple[int, int]:
    """Return start and end of a row's interval (UTC ns)."""
    start_ns = int(rows.starts_ns[at])
    return start_ns, start_ns + round(float(rows.numbers["minutes"][at]) * MINUTE_NS)


def require_apart(rows: Rows, key: Callable[[int], object] = lambda at: "") -> None:
    """Do nothing where no two intervals of one resource overlap. Raises ConfigError naming those that do."""
    faults = []
    for at in range(1, len(rows)):
        before = over_of(rows, at - 1)[1]
        alike = rows.resources[at - 1] == rows.resources[at] and key(at - 1) == key(at)
        if alike and before > int(rows.starts_ns[at]):
            told, until = iso(int(rows.starts_ns[at])), iso(before)
            faults.append(f"{rows.where(at)}: start = {told!r}: row {rows.row_of[at - 1]} lasts until {until}")
    if faults:
        raise FaultyRows(faults)


def cause_weights(rows: Rows, at: int, lacking: float) -> dict[str, float]:
    """Return how much of a lack a row's cause explains; what it doesn't is left to who fills it up."""
    cause = str(rows.causes[at])
    return {cause: lacking * float(rows.numbers["cause_share"][at])} if cause and lacking > 0 else {}


def capacity_of(
    rule_id: str, capacity_file: Path, net_cone: Decimal | None = None, currency: str = ""
) -> dict[str, Any]:
    """Return what a capacity obligation comes to over scarce intervals, as `tieline settle capacity` prints it.

    Args:
        rule_id: `iso-ne-pay-for-performance`, `pjm-capacity-shortfall` or `pjm-firm-service-level`.
        capacity_file: `start,minutes,commitment_mw,balancing_ratio,actual_mw`, or for a firm service level
            `start,minutes,peak_load_kw,firm_kw,loss_factor,load_kw`; `resource`, `cause`, `cause_share` as there are.
        net_cone: Net CONE ($/MW-day), for PJM's rules, unless the file has a column `net_cone`.
        currency: ISO 4217; empty: the rule's own.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    form = next(
        (type(r) for r in product_rules() if r.id == rule_id and isinstance(r, (BalancingRatio, NetCone))), None
    )
    if form is None:
        names = sorted({r.id for r in product_rules() if isinstance(r, (BalancingRatio, NetCone))})
        raise ConfigError(f"capacity rule {rule_id!r} is unknown: give one of {', '.join(names)}")
    if form is BalancingRatio and currency not in ("", currency_of(rule_id)):
        raise ConfigError(f"--currency {currency!r}: give {currency_of(rule_id)}: the rule's rate is in it")
    if net_cone is not None and not (net_cone.is_finite() and 0 <= net_cone <= 100_000):
        raise ConfigError(f"--net-cone {net_cone}: give 0 to 100000 $/MW-day")
    rows = _capacity_rows(rule_id, form, capacity_file, net_cone)
    require_apart(rows)
    book = open_book(rule_id, zone_of(rule_id, form), currency, [capacity_file], capacity_file, str(net_cone))
    nominated: list[dict[str, Any]] = []
    for at in range(len(rows)):
        rule: BalancingRatio | NetCone = rule_of(rule_id, form, book.day(int(rows.starts_ns[at])))
        asked, level = _obligation(rows, at, rule)
        if isinstance(rule, BalancingRatio):
            book.lines += pay_for_performance(rule, book.basis(rule), asked)
        else:
            book.lines += shortfall_charge(rule, book.basis(rule), asked, rows.exact("net_cone", at))
        if level is not None:
            nominated.append(_told_level(book, rows, at, level))
        if asked.actual_mw is None:
            book.flags.append(f"{rows.where(at)}: no reading: counts as nothing delivered")
    return book.told(**({"levels": nominated} if nominated else {}))


def _capacity_rows(rule_id: str, form: type[Dated], path: Path, net_cone: Decimal | None) -> Rows:
    fields = [MINUTES, CAUSE_SHARE]
    if form is NetCone:
        fields.append(Field("net_cone", 0.0, 100_000.0, None if net_cone is None else float(net_cone)))
    if rule_id == "pjm-firm-service-level":
        fields += [
            Field("peak_load_kw", 0.0, MOST_KW), Field("firm_kw", 0.0, MOST_KW), Field("loss_factor", 0.5, 2.0),
            Field("load_kw", -MOST_KW, MOST_KW, may_be_empty=True), Field("balancing_ratio", 0.0, 2.0, 1.0),
        ]  # fmt: skip
    else:
        fields += [
            Field("commitment_mw", 0.0, MOST_MW), Field("balancing_ratio", 0.0, 2.0),
            Field("actual_mw", -MOST_MW, MOST_MW, may_be_empty=True),
        ]  # fmt: skip
    return read_rows(path, fields)


def _obligation(rows: Rows, at: int, rule: BalancingRatio | NetCone) -> tuple[Obligation, FirmLevel | None]:
    level = None
    if isinstance(rule, NetCone) and rule.measured_by == "firm-service-level":
        level = FirmLevel(
            rows.exact("peak_load_kw", at), rows.exact("firm_kw", at), rows.exact("loss_factor", at),
            rows.exact_or_none("load_kw", at),
        )  # fmt: skip
        if level.nominated_mw < 0:
            raise ConfigError(
                f"{rows.where(at)}: firm_kw = {level.firm_kw}: give no more than peak_load_kw / loss_factor"
            )
        commitment, actual = level.nominated_mw, level.delivered_mw
    else:
        commitment, actual = rows.exact("commitment_mw", at), rows.exact_or_none("actual_mw", at)
    bare = Obligation(
        str(rows.resources[at]), *over_of(rows, at), commitment, rows.exact("balancing_ratio", at), actual
    )
    causes = cause_weights(rows, at, float(-bare.over_mw))
    return Obligation(
        bare.resource, bare.start_ns, bare.end_ns, commitment, bare.balancing_ratio, actual, causes
    ), level  # fmt: skip


def _told_level(book: Book, rows: Rows, at: int, level: FirmLevel) -> dict[str, Any]:
    delivered = level.delivered_mw
    return {
        "resource": str(rows.resources[at]),
        "start": from_ns(int(rows.starts_ns[at])).astimezone(book.zone).isoformat(),
        "nominated_kw": float(level.nominated_mw * 1000),
        "delivered_kw": None if delivered is None else float(delivered * 1000),
        "complies": delivered is not None and delivered >= level.nominated_mw,
    }


def ladder_of(rule_id: str, ladder_file: Path, currency: str = "") -> dict[str, Any]:
    """Return what nominated capacity is paid by a ladder, as `tieline settle ladder` prints it.

    Args:
        rule_id: A ladder's name.
        ladder_file: `start,nominated_kw,delivered_kw,price_per_kw`; `minutes`, `resource`, `cause`, `cause_share` as
            there are.
        currency: ISO 4217; empty: the rule's own.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    zone = zone_of(rule_id, Ladder)
    rows = read_rows(
        ladder_file,
        [
            MINUTES, CAUSE_SHARE, Field("nominated_kw", 0.001, MOST_KW),
            Field("delivered_kw", -MOST_KW, MOST_KW, may_be_empty=True), Field("price_per_kw", 0.0, MOST_PRICE),
        ],
    )  # fmt: skip
    require_apart(rows)
    book = open_book(rule_id, zone, currency, [ladder_file], ladder_file)
    shares = []
    for at in range(len(rows)):
        rule = rule_of(rule_id, Ladder, book.day(int(rows.starts_ns[at])))
        nominated, delivered = rows.exact("nominated_kw", at), rows.exact_or_none("delivered_kw", at)
        lacking = float(nominated - (delivered or Decimal(0)))
        asked = Nomination(
            str(rows.resources[at]), *over_of(rows, at), nominated, delivered, rows.exact("price_per_kw", at),
            cause_weights(rows, at, lacking),
        )  # fmt: skip
        book.lines += ladder_lines(rule, book.basis(rule), asked)
        shares.append(
            {"resource": asked.resource, "row": int(rows.row_of[at]), "ratio": float(asked.ratio),
             "pay_share": float(pay_share(rule, asked.ratio))}
        )  # fmt: skip
        if delivered is None:
            book.flags.append(f"{rows.where(at)}: no reading: counts as nothing delivered")
    return book.told(shares=shares)
