"""An event of very many meters from a folder of day files: the same statement, without an object a meter."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from tieline.contract.pay import CENT, owner_cents
from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.market.baseline import Floats
from tieline.market.calendar import on_the_clock_of
from tieline.market.event_columns import Block, DayBlocks, Plan, settle_part
from tieline.market.picking import Event, LeftOut
from tieline.market.rule import RuleTable
from tieline.market.settlement import Basis, Line, Measured, award_lines, split_lack
from tieline.node.analysis import chosen_for
from tieline.node.analysis_settle import AwardFile, asked_of, line_told, price_at, require_money, sums_of, uncovered
from tieline.node.doubted_meters import as_read_says, doubted_readings, taken_as_read
from tieline.store.meter_days import ColdDays, write_cold
from tieline.store.meter_files import EventFile, read_meters
from tieline.store.whole_file import whole
from tieline.times import HOUR_NS, MINUTE_NS, market_day

Ints = NDArray[np.int64]
THREADS = 2
"""Parts at a time; their sums are made in order afterwards, so that the same inputs give the same bits."""


class _Hashed:
    """Day blocks of one part that hash whatever is read of them, in the order of reading."""

    def __init__(self, blocks: DayBlocks) -> None:
        self._blocks = blocks
        self.digest = sha256()  # processors have it built in: twice as fast as blake2b over gigabytes

    def size(self, part: int) -> int:
        return self._blocks.size(part)

    def read(self, day: date, intervals: Sequence[int], part: int, into: Block) -> bool:
        is_there = self._blocks.read(day, intervals, part, into)
        self.digest.update(f"{day}:{is_there}".encode())
        if is_there:
            self.digest.update(into.data)
        return is_there


@dataclass(frozen=True, slots=True, eq=False)
class Gain:
    """What meters gained: kWh and meters without a say in each interval, milliwatt-hours of each meter, and a hash.

    A meter has no say where it wasn't read, or where too few like days are left for a baseline.
    """

    kwh: Floats
    silent: Ints
    milliwatt_hours: Ints
    no_baseline: int
    digest: str


def gain_of(plan: Plan, blocks: DayBlocks, parts: int) -> Gain:
    """Return what all meters gained over an event, two parts at a time."""

    def one(part: int) -> tuple[Floats, Ints, Ints, int, bytes]:
        hashed = _Hashed(blocks)
        made = settle_part(plan, hashed, part)
        silent = (made.unread | ~made.has_baseline).sum(axis=1)
        mwh = np.rint(made.performance.sum(axis=0) * 1e6).astype(np.int64)
        return made.performance.sum(axis=1), silent, mwh, int((~made.has_baseline).sum()), hashed.digest.digest()

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(one, range(parts)))
    digest = blake2b(b"".join(each[4] for each in found), digest_size=12).hexdigest()
    return Gain(
        np.sum([each[0] for each in found], axis=0), np.sum([each[1] for each in found], axis=0),
        np.concatenate([each[2] for each in found]), sum(each[3] for each in found), digest,
    )  # fmt: skip


def gain_lines(basis: Basis, asked: AwardFile, start_ns: int, step_ns: int, gain: Gain) -> list[Line]:
    """Return the lines of all awards; of a lack, silent meters explain their even part of what was sold, at most."""
    lines: list[Line] = []
    meters = len(gain.milliwatt_hours)
    for at_ns, mw, price in zip(asked.starts_ns.tolist(), asked.mw.tolist(), asked.price.tolist(), strict=True):
        first = (at_ns - start_ns) // step_ns
        steps = []
        for k in range(first, first + asked.step_ns // step_ns):
            begin_ns = start_ns + k * step_ns
            gave_w, sold_w = float(gain.kwh[k]) * 1e3 * HOUR_NS / step_ns, mw * 1e6
            silent_w = sold_w * int(gain.silent[k]) / meters
            causes = split_lack(sold_w - gave_w, {"no_meter_data": silent_w}, "underperformed")
            steps.append(Measured(begin_ns, begin_ns + step_ns, gave_w, price_at(asked, begin_ns), causes))
        award = derive("award", basis.input_hash, at_ns)
        lines += award_lines(basis, award, at_ns, at_ns + asked.step_ns, mw * 1e6, price, steps)
    return lines


def fleet_settlement_of(
    rule_id: str,
    folder: Path,
    event_file: Path,
    awards_file: Path,
    prices_file: Path,
    operator_share: Decimal = Decimal(0),
    currency: str = "USD",
    shares_file: Path | None = None,
    rules: RuleTable | None = None,
) -> dict[str, Any]:
    """Return the statement of an event of all meters of a folder of day files, each with a baseline of its own.

    Args:
        rule_id: The baseline's rule, by the version in force on the event's local day (`RULE@VERSION` pins one); one
            that picks all, the highest or the middle days.
        folder: `DAY.parquet`, as `tieline settle pack` writes them.
        event_file: As for a baseline.
        awards_file: `start,mw,price`.
        prices_file: `start,price`.
        operator_share: The operator's part, 0 to 1.
        currency: ISO 4217.
        shares_file: Where to write `meter,kwh,amount` (CSV or Parquet).
        rules: Which rules there are; None: those that come with Tieline.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    require_money(operator_share, currency)
    event, chosen = chosen_for(rule_id, event_file, rules)
    rule, days = chosen.rule, ColdDays(folder)
    if rule.needs:
        raise ConfigError(f"{folder}: {rule.id} goes by {rule.needs}: give a meter file")
    step_ns = HOUR_NS * 24 // days.per_day
    call = _call(event_file, event, step_ns)
    asked = asked_of(awards_file, prices_file, event, step_ns, folder)
    try:
        plan = Plan.of(rule, call, LeftOut(event.other_event_days - {event.day}, event.holidays), days.per_day)
        gain = gain_of(plan, days, days.parts)
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from None
    inputs = derive("inputs", gain.digest, *(path.read_bytes() for path in (event_file, awards_file, prices_file)))
    statement = derive("statement", rule.id, rule.stamp, "fleet", str(operator_share), currency, inputs)
    basis = Basis(statement, rule.id, rule.version, inputs, gain.digest)
    lines = gain_lines(basis, asked, event.start_ns, step_ns, gain)
    total = sum((line.amount for line in lines), Decimal("0.00"))
    operator, cents, left = owner_cents(total, Decimal(0), operator_share, gain.milliwatt_hours)
    if shares_file is not None:
        _write_shares(shares_file, days.meters(), gain.milliwatt_hours, cents)
    flags = [*chosen.flags, *uncovered(asked, event, step_ns)]
    if gain.no_baseline:
        flags.append(f"{gain.no_baseline} meters have too few like days: zero performance")
    if unread := int(gain.silent.max()) - gain.no_baseline:
        flags.append(f"up to {unread} meters without a reading in an interval: zero performance there")
    return {
        "statement": statement, "rule": rule.id, "version": rule.version, "in_force": chosen.told(),
        "row_hash": rule.row_hash, "source": rule.source, "certainty": rule.certainty, "level": "meter",
        "currency": currency, "meters": len(cents),
        "awarded_kwh": float(np.sum(asked.mw) * asked.step_ns / HOUR_NS * 1e3), "delivered_kwh": float(gain.kwh.sum()),
        **sums_of(lines), "total": str(total), "operator": str(operator),
        "paid_to_owners": str(int(cents.sum()) * CENT), "undistributed": str(left),
        "adds_up": operator + int(cents.sum()) * CENT + left == total,
        "input_hash": inputs, "lines": [line_told(line, event) for line in lines], "flags": flags,
    }  # fmt: skip


def _call(path: Path, event: EventFile, step_ns: int) -> Event:
    over = market_day(event.day, event.zone)
    if over.end_ns - over.start_ns != 24 * HOUR_NS:
        hours = (over.end_ns - over.start_ns) // HOUR_NS
        raise ConfigError(f"{path}: start = '{event.day}': a day of {hours} hours: settle it from a meter file")
    at = [(each - over.start_ns) / step_ns for each in (event.start_ns, event.end_ns)]
    if any(each != round(each) for each in at):
        raise ConfigError(f"{path}: start, end: give whole intervals of {step_ns // MINUTE_NS} minutes")
    return Event(event.day, round(at[0]), round(at[1]), HOUR_NS // step_ns)


def _write_shares(path: Path, meters: pa.Array, milliwatt_hours: Ints, cents: Ints) -> None:
    # Text, as in a statement: a cent is no binary fraction, and not every reader knows decimals.
    signs = np.where(cents < 0, "-", "")
    units, rest = np.divmod(np.abs(cents), 100)
    amount = np.strings.add(np.strings.add(signs, units.astype(str)), np.strings.add(".", _two_digits(rest)))
    table = pa.table({"meter": meters, "kwh": milliwatt_hours / 1e6, "amount": pa.array(amount.tolist())})
    with whole(path, "--shares") as part:
        if path.suffix.lower() in (".parquet", ".pq"):
            pyarrow.parquet.write_table(table, part)
        else:
            pyarrow.csv.write_csv(table, part)


def _two_digits(numbers: Ints) -> NDArray[np.str_]:
    return np.strings.zfill(numbers.astype(str), 2)


def pack_days(meter_file: Path, folder: Path, zone_name: str, as_read: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write a meter file as day files on the clock of a zone, and return what was written.

    What is doubted is packed only where `as_read` names its rows: a folder of day files has none any more.
    Of a 25-hour day the first of the repeated hour is kept; an hour that a day skips has no reading.

    Raises:
        ConfigError: The zone or a row is not what it should be, a row is doubted, meters have intervals of different
            lengths, or the folder is not empty.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--timezone {zone_name!r}: give an IANA name such as America/Los_Angeles") from None
    meters = read_meters(meter_file)
    if len({one.step_ns for one in meters}) > 1:
        raise ConfigError(f"{meter_file}: meters have intervals of different lengths: give one length in a file")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: it is not empty: give a folder of its own")
    doubted = doubted_readings(meter_file, meters, {})
    taken_as_read(doubted, as_read)
    step_ns = meters[0].step_ns
    plain = date(2024, 1, 2)  # any day of 24 hours: on its clock all days are laid out
    laid = [on_the_clock_of(plain, zone, one.starts_ns, one.kwh, step_ns) for one in meters]
    folder.mkdir(parents=True, exist_ok=True)
    days = sorted({day for each in laid for day in each})
    per_day = 24 * HOUR_NS // step_ns
    nothing = np.full(per_day, np.nan)
    for day in days:
        block = np.stack([each.get(day, nothing) for each in laid], axis=1).astype(np.float32)
        write_cold(folder, day, block, [one.meter or "meter" for one in meters])
    flags = [f"{one.meter}: {flag}" if one.meter else flag for one in meters for flag in one.flags]
    flags += as_read_says(doubted)
    return {"folder": str(folder), "days": len(days), "meters": len(meters), "per_day": per_day, "flags": flags}
