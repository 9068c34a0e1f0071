"""What an event comes to in money, from files: two-settlement at each interval's own price, and the owners' shares."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from tieline.contract.pay import owner_shares
from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.market.baseline import Baseline, Floats
from tieline.market.rule import BaselineRule, RuleTable
from tieline.market.settlement import LEAST_TOLD_WH, Basis, Line, Measured, award_lines, split_lack
from tieline.node.analysis import Made, chosen_for, explained, made_of
from tieline.node.doubted_meters import (
    MARK,
    Doubted,
    as_read_says,
    doubted_awards,
    doubted_readings,
    taken_as_read,
)
from tieline.node.known_causes import NO_METER_DATA, KnownCauses, known_causes, otherwise
from tieline.node.unread import unread_of
from tieline.store.meter_files import EventFile, Instants, MeterSeries, read_column, read_meters
from tieline.store.whole_file import whole
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, iso

MOST_MW, MOST_PRICE = 1e6, 1e6


@dataclass(frozen=True, slots=True)
class AwardFile:
    """Day-ahead awards and real-time prices of an event: starts, MW and $/MWh, and how long an interval of each is."""

    starts_ns: Instants
    mw: Floats
    price: Floats
    step_ns: int
    rt_starts_ns: Instants
    rt_price: Floats
    rt_step_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class EventSettled:
    """An event settled from files: baselines, lines with what they rest on, and what a reader must know."""

    rule: BaselineRule
    event: EventFile
    made: Made
    asked: AwardFile
    basis: Basis
    lines: list[Line]
    flags: list[str]
    known: KnownCauses
    as_read: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal:
        """Sum of its lines."""
        return sum((line.amount for line in self.lines), Decimal("0.00"))


@dataclass(frozen=True, slots=True)
class EventFiles:
    """The files of an event by their role; `causes` says what is known of a lack."""

    meter: Path
    event: Path
    awards: Path
    prices: Path
    causes: Path | None = None
    as_read: tuple[str, ...] = ()
    """Rows that are doubted and are to be taken as they stand: `1418`, `1418-1441`, `awards:2`."""


def settlement_of(
    rule_id: str,
    files: EventFiles,
    operator_share: Decimal = Decimal(0),
    level: str | None = None,
    currency: str = "USD",
    rules: RuleTable | None = None,
) -> dict[str, Any]:
    """Return the statement of an event as `tieline settle` prints it; the same files give the same bytes.

    Args:
        rule_id: The baseline's rule, by the version in force on the event's local day; `RULE@VERSION` pins one.
        files: Meter and event as for a baseline; awards `start,mw,price`: what was sold day-ahead (per MWh), within the
            event, intervals of one length; prices `start,price`: real-time, no longer an interval than the awards';
            causes `start,cause,kw`, `minutes` and `resource` (a meter) as there are.
        operator_share: The operator's part of what is earned, 0 to 1.
        level: As for a baseline.
        currency: Of both kinds of price, three letters (ISO 4217).
        rules: Which rules there are; None: those that come with Tieline.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    event, chosen = chosen_for(rule_id, files.event, rules)
    rule = chosen.rule
    one = settle_event(rule, files, event, operator_share, level, currency)
    gained = sum(float(each.performance.sum()) for each in one.made.baselines.values())
    total = one.total
    told: dict[str, Any] = {
        "statement": one.basis.statement, "rule": rule.id, "version": rule.version,
        "in_force": chosen.told(), "row_hash": rule.row_hash, "source": rule.source,
        "certainty": rule.certainty, "level": one.made.level, "currency": currency,
        "awarded_kwh": float(np.sum(one.asked.mw) * one.asked.step_ns / HOUR_NS * 1e3), "delivered_kwh": gained,
        **sums_of(one.lines), "total": str(total), "input_hash": one.basis.input_hash,
        "lines": [line_told(line, one.event) for line in one.lines],
        "baselines": [{"meter": name, **explained(rule, each)} for name, each in one.made.baselines.items()],
        "flags": [*chosen.flags, *one.flags],
    }  # fmt: skip
    return told | _shares(one.made, total, operator_share)


def settle_event(
    rule: BaselineRule,
    files: EventFiles,
    event: EventFile,
    operator_share: Decimal,
    level: str | None,
    currency: str,
    also: Sequence[str | bytes] = (),
) -> EventSettled:
    """Return an event settled; `also` is what else the statement is named by (who it is for, where meters stand).

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    require_money(operator_share, currency)
    meters = read_meters(files.meter)
    made = made_of(rule, files.meter, meters, files.event, event, level)
    asked = asked_of(files.awards, files.prices, event, made.step_ns, files.meter)
    doubted = _doubted(rule, files, meters, event, asked)
    as_read = taken_as_read(doubted, files.as_read)
    found = list(made.baselines.values())
    read = [files.meter, files.event, files.awards, files.prices]
    read += [path for path in (event.temperature, files.causes) if path is not None]
    inputs = derive("inputs", *(path.read_bytes() for path in read), *also, *as_read)
    statement = derive("statement", rule.id, rule.stamp, made.level, str(operator_share), currency, inputs)
    data = blake2b(files.meter.read_bytes(), digest_size=12).hexdigest()
    data += f"{MARK}{','.join(as_read)}" if as_read else ""
    basis = Basis(statement, rule.id, rule.version, inputs, data)
    known = known_causes(files.causes, event, made.step_ns, {one.meter for one in meters})
    # What was sold is known by who sold it and when: a correction elsewhere leaves it the same award.
    sold = derive("sold", *(part for part in also if isinstance(part, str)))
    lines = _lines(basis, asked, event, made, known, sold)
    flags = [
        *(f"{one.meter}: {flag}" if one.meter else flag for one in meters for flag in one.flags),
        *dict.fromkeys(flag for one in found for flag in one.flags),
        *unread_of(meters, event),
        *uncovered(asked, event, made.step_ns),
        *as_read_says(doubted),
    ]
    return EventSettled(rule, event, made, asked, basis, lines, flags, known, as_read)


def _doubted(
    rule: BaselineRule, files: EventFiles, meters: list[MeterSeries], event: EventFile, asked: AwardFile
) -> list[Doubted]:
    """Return what of an event's readings and awards is doubted."""
    found = doubted_readings(files.meter, meters, event.rating_kw)
    if rule.needs == "controls" and event.controls is not None:
        found += doubted_readings(event.controls, read_meters(event.controls), {}, "controls")
    each = event.population / len(meters) if rule.is_sample and event.population else 1.0
    return found + doubted_awards(files.awards, asked.starts_ns, asked.mw, meters, event.rating_kw, each)


def require_money(operator_share: Decimal, currency: str) -> None:
    """Do nothing for a share of 0 to 1 and a currency's name. Raises ConfigError naming the option that is neither."""
    if not (operator_share.is_finite() and 0 <= operator_share <= 1):
        raise ConfigError(f"--operator-share {operator_share}: give 0 to 1")
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise ConfigError(f"--currency {currency!r}: give three capital letters such as USD or GBP (ISO 4217)")


def uncovered(asked: AwardFile, event: EventFile, step_ns: int) -> list[str]:
    """Return what of an event has no award, as a flag."""
    count = (event.end_ns - event.start_ns - len(asked.starts_ns) * asked.step_ns) // step_ns
    return [f"{count} intervals of the event have no award: nothing is paid for them"] if count else []


def asked_of(awards_file: Path, prices_file: Path, event: EventFile, step_ns: int, meter_file: Path) -> AwardFile:
    """Return awards and prices of an event. Raises ConfigError naming what is outside it or off its grid."""
    starts_ns, (mw, price) = read_column(awards_file, ("start", "mw", "price"), MOST_MW)
    rt_starts_ns, (rt_price,) = read_column(prices_file, ("start", "price"), MOST_PRICE)
    if not len(starts_ns) or not len(rt_starts_ns):
        empty = awards_file if not len(starts_ns) else prices_file
        raise ConfigError(f"{empty}: holds no row")
    award_ns = int(np.diff(starts_ns).min()) if len(starts_ns) > 1 else event.end_ns - int(starts_ns[0])
    rt_ns = int(np.diff(rt_starts_ns).min()) if len(rt_starts_ns) > 1 else award_ns
    if award_ns <= 0 or award_ns > event.end_ns - event.start_ns:
        raise ConfigError(f"{awards_file}: start = {iso(int(starts_ns[0]))}: give awards within the event")
    if (np.diff(starts_ns) < award_ns).any() or (np.diff(starts_ns) % award_ns).any():
        raise ConfigError(f"{awards_file}: awards differ in length or overlap: give intervals of one length")
    for at_ns in starts_ns.tolist():
        if not event.start_ns <= at_ns or at_ns + award_ns > event.end_ns:
            span = f"{iso(event.start_ns)} to {iso(event.end_ns)}"
            raise ConfigError(f"{awards_file}: start = {iso(at_ns)}: give awards within the event, {span}")
        if (at_ns - event.start_ns) % step_ns or award_ns % step_ns:
            raise ConfigError(f"{awards_file}: start = {iso(at_ns)}: give whole intervals of the meter")
    if rt_ns < step_ns:
        raise ConfigError(
            f"{prices_file}: prices change each {rt_ns // MINUTE_NS} minutes, {meter_file} is read each "
            f"{step_ns // MINUTE_NS}: give readings at least as often as prices; averaged prices settle wrong"
        )
    return AwardFile(starts_ns, mw, price, award_ns, rt_starts_ns, rt_price, rt_ns)


def _lines(basis: Basis, asked: AwardFile, event: EventFile, made: Made, known: KnownCauses, sold: str) -> list[Line]:
    """Return day-ahead and real-time lines of each award; what is gained outside of them is not paid."""
    found, step_ns = list(made.baselines.values()), made.step_ns
    gained = np.sum([one.performance for one in found], axis=0)
    silent = silent_part(found)
    lines: list[Line] = []
    for at_ns, mw, price in zip(asked.starts_ns.tolist(), asked.mw.tolist(), asked.price.tolist(), strict=True):
        first = (at_ns - event.start_ns) // step_ns
        steps = []
        for k in range(first, first + asked.step_ns // step_ns):
            start_ns = event.start_ns + k * step_ns
            delivered_w = float(gained[k]) * 1e3 * HOUR_NS / step_ns
            lacks = known.pool_w(k)
            if 0 < silent[k] < 1:
                lacks[NO_METER_DATA] = lacks.get(NO_METER_DATA, 0.0) + mw * 1e6 * float(silent[k])
            causes = split_lack(mw * 1e6 - delivered_w, lacks, otherwise(bool(silent[k] >= 1)))
            steps.append(Measured(start_ns, start_ns + step_ns, delivered_w, price_at(asked, start_ns), causes))
        award = derive("award", sold, at_ns)
        lines += award_lines(basis, award, at_ns, at_ns + asked.step_ns, mw * 1e6, price, steps)
    return lines


def silent_part(found: Sequence[Baseline]) -> Floats:
    """Return which part of the load was not read in each interval (0 to 1), by the meters' baselines; shape (n,).

    It is the part of what was sold that nobody can say was delivered; what lacks beyond it others gave too little.
    """
    expected = np.array([np.maximum(np.nan_to_num(one.baseline), 0.0) for one in found])
    unread = np.array([one.missing for one in found])
    whole = expected.sum(axis=0)
    even: Floats = unread.mean(axis=0)
    part: Floats = np.where(whole > 0, (expected * unread).sum(axis=0) / np.where(whole > 0, whole, 1.0), even)
    return np.where(unread.all(axis=0), 1.0, part)


def price_at(asked: AwardFile, at_ns: int) -> float:
    """Return the real-time price of an instant. Raises ConfigError where there is none."""
    k = int(np.searchsorted(asked.rt_starts_ns, at_ns, side="right")) - 1
    if k < 0 or at_ns >= int(asked.rt_starts_ns[k]) + asked.rt_step_ns:
        raise ConfigError(f"no real-time price for {iso(at_ns)}: give one for each interval of the awards")
    return float(asked.rt_price[k])


def sums_of(lines: Sequence[Line]) -> dict[str, Any]:
    """Return what lines come to by kind, and what lacks by cause."""
    kinds: dict[str, Decimal] = {}
    causes: dict[str, Decimal] = {}
    lacks_wh: dict[str, float] = {}
    for line in lines:
        kinds[line.kind] = kinds.get(line.kind, Decimal("0.00")) + line.amount
        if line.cause:
            causes[line.cause] = causes.get(line.cause, Decimal("0.00")) + line.amount
            lacks_wh[line.cause] = lacks_wh.get(line.cause, 0.0) + line.energy_wh
    causes = {cause: amount for cause, amount in causes.items() if amount or abs(lacks_wh[cause]) >= LEAST_TOLD_WH}
    return {
        "by_kind": {kind: str(amount) for kind, amount in sorted(kinds.items())},
        "shortfall_by_cause": {cause: str(amount) for cause, amount in sorted(causes.items())},
    }


def line_told(line: Line, event: EventFile) -> dict[str, Any]:
    """Return a line as a screen or a program reads it."""
    start, end = (from_ns(at).astimezone(event.zone).isoformat() for at in (line.start_ns, line.end_ns))
    return {
        "id": line.id, "kind": line.kind, "start": start, "end": end, "kwh": line.energy_wh / 1e3,
        "price_per_mwh": line.price_per_mwh, "amount": str(line.amount), "cause": line.cause, "excused": line.excused,
        **({"as_read": line.basis.data_version.split(MARK)[1]} if MARK in line.basis.data_version else {}),
    }  # fmt: skip


def _shares(made: Made, total: Decimal, operator_share: Decimal) -> dict[str, Any]:
    """Return who gets what of the total; owners only where each meter has a baseline of its own."""
    kwh = {name: round(float(one.performance.sum()), 6) for name, one in made.baselines.items() if name}
    shares = owner_shares(total, Decimal(0), operator_share, kwh)
    return {
        "operator": str(shares.operator),
        "owners": {name: {"kwh": kwh[name], "amount": str(amount)} for name, amount in shares.owners.items()},
        "undistributed": str(shares.undistributed),
        "adds_up": shares.total == total,
    }


def write_lines(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a statement's lines as CSV. Raises ConfigError where the file can't be written."""
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
