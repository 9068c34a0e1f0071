"""What may not be paid, from files: below the net benefits threshold, by prohibited engines, or by two markets."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from tieline.contract.eligibility import Case, judge, paid_performance
from tieline.errors import ConfigError
from tieline.fleet.columns import FUELS
from tieline.ids import derive
from tieline.market.netbenefits import Reduction, reduction_lines, threshold
from tieline.market.product import Dated, NetBenefits, line_of, product_rules, rule_of, split_line
from tieline.market.settlement import ClaimsLedger
from tieline.node.analysis_products import MINUTES, MOST_KW, MOST_MW, MOST_PRICE, open_book, over_of, require_apart
from tieline.store.meter_files import HEAD, read_numbers, read_table
from tieline.store.product_files import FaultyRows, Field, read_rows
from tieline.times import from_ns

ORDER_745 = "ferc-order-745"
CLAIMED_OF = ("delivered_kw", "baseline_kw", "metered_kw")


def net_benefits_of(rto: str, reduction_file: Path, thresholds_file: Path, currency: str = "") -> dict[str, Any]:
    """Return what reductions are paid by the LMP under the net benefits test, as the verb prints it.

    Args:
        rto: Whose months and clock: CAISO, ISO-NE, MISO, NYISO, PJM, SPP.
        reduction_file: `start,mwh,lmp`; `minutes`, `resource` as there are.
        thresholds_file: `rto,month,price`: the published threshold of each month (2024-07).
        currency: ISO 4217; empty: the rule's own.

    Raises:
        ConfigError: A file, row or field is not what it should be, or a month has no threshold.
    """
    zones = {
        name: zone for rule in product_rules() if isinstance(rule, NetBenefits) for name, zone in rule.zones.items()
    }
    if rto not in zones:
        raise ConfigError(f"--rto {rto!r}: give one of {', '.join(sorted(zones))}")
    known = _thresholds(thresholds_file, rto)
    fields = [MINUTES, Field("mwh", 0.0, MOST_MW, may_be_empty=True), Field("lmp", -MOST_PRICE, MOST_PRICE)]
    rows = read_rows(reduction_file, fields, has_cause=False)
    require_apart(rows)
    book = open_book(ORDER_745, zones[rto], currency, [reduction_file, thresholds_file], reduction_file, rto)
    lacking = sorted({f"{book.day(int(at)):%Y-%m}" for at in rows.starts_ns.tolist()} - set(known))
    if lacking:
        raise ConfigError(f"{thresholds_file}: month = {lacking[0]!r}: no threshold of {rto}: give one for each month")
    for at in range(len(rows)):
        start_ns, end_ns = over_of(rows, at)
        rule = rule_of(ORDER_745, NetBenefits, book.day(start_ns))
        mwh = rows.exact_or_none("mwh", at)
        if mwh is None:
            book.flags.append(f"{rows.where(at)}: no reading: counts as nothing reduced")
        asked = Reduction(
            str(rows.resources[at]), start_ns, end_ns, mwh or Decimal(0), rows.exact("lmp", at),
            known[f"{book.day(start_ns):%Y-%m}"],
        )  # fmt: skip
        book.lines += reduction_lines(book.basis(rule), asked)
    return book.told(rto=rto, thresholds={month: str(price) for month, price in sorted(known.items())})


def _thresholds(path: Path, rto: str) -> dict[str, Decimal]:
    table = read_table(path, ("rto", "month", "price"), ())
    price = read_numbers(path, table["price"], "price")
    names, months = (table[name].cast(pa.string()).to_pylist() for name in ("rto", "month"))
    found: dict[str, Decimal] = {}
    faults = []
    for at, (name, month, value) in enumerate(zip(names, months, price.tolist(), strict=True)):
        where = f"{path}: row {at + HEAD}"
        parts = str(month).split("-")
        if not (len(parts) == 2 and [len(p) for p in parts] == [4, 2] and all(p.isdigit() for p in parts)):
            faults.append(f"{where}: month = {str(month)!r}: give a month such as 2024-07")
        elif not 0 < value <= MOST_PRICE:
            faults.append(f"{where}: price = {value:g}: give 0 to {MOST_PRICE:g}, above 0")
        elif name == rto and month in found:
            faults.append(f"{where}: month = {month!r}: stands twice for {rto}: keep the one that is right")
        elif name == rto:
            found[month] = Decimal(str(value))
    if faults:
        raise FaultyRows(faults)
    return found


def threshold_of(curve_file: Path) -> dict[str, Any]:
    """Return the threshold price of a supply curve (`price,mw`, supply offered up to each price).

    Raises:
        ConfigError: A row is not what it should be, or the curve has no threshold.
    """
    table = read_table(curve_file, ("price", "mw"), ())
    price, supply = (read_numbers(curve_file, table[name], name) for name in ("price", "mw"))
    for name, column in (("price", price), ("mw", supply)):
        odd = np.flatnonzero(~(column > 0))
        if len(odd):
            raise ConfigError(f"{curve_file}: row {odd[0] + HEAD}: {name} = {column[odd[0]]:g}: give a number above 0")
    try:
        found = threshold(price, supply)
    except ValueError as error:
        raise ConfigError(f"{curve_file}: {error}") from None
    rule = next(each for each in product_rules() if each.id == ORDER_745)
    flags = [] if found.is_inside else ["it lies outside the prices of the curve: an extrapolation"]
    return {
        "rule": rule.id, "version": rule.version, "source": rule.source, "certainty": rule.certainty,
        "price": round(found.price_per_mwh, 2), "supply_mw": round(found.supply_mw, 3), "fit_r2": round(found.fit, 6),
        "points": found.points, "input_hash": derive("inputs", curve_file.read_bytes()), "flags": flags,
    }  # fmt: skip


def prohibited_of(
    performance_file: Path, jurisdiction: str, program: str, fuel: str, currency: str = "", **where: Any
) -> dict[str, Any]:
    """Return what a site's reduction is paid while an engine ran there, as `tieline settle prohibited` prints it.

    Args:
        performance_file: `start,performance_kw,prohibited_kw,price` (per MWh); `minutes`, `resource` as there are.
        jurisdiction: Where the site stands: US-CA, ...
        program: What it serves.
        fuel: What the engine burns.
        currency: ISO 4217; empty: the rule's own.
        where: `location`, `event` and `order`, as `tieline eligible` takes them.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    if fuel not in FUELS:
        raise ConfigError(f"--fuel {fuel!r}: give one of {', '.join(FUELS)}")
    verdict = judge(Case("backup_generator", fuel, jurisdiction, program, **where))
    fields = [
        MINUTES, Field("performance_kw", -MOST_KW, MOST_KW), Field("prohibited_kw", 0.0, MOST_KW),
        Field("price", -MOST_PRICE, MOST_PRICE),
    ]  # fmt: skip
    rows = read_rows(performance_file, fields, has_cause=False)
    require_apart(rows)
    asked = (jurisdiction, program, fuel, *(f"{name}={value}" for name, value in sorted(where.items())))
    book = open_book(verdict.rule, "UTC", currency, [performance_file], performance_file, verdict.version, *asked)
    rule = Dated(id=verdict.rule, version=verdict.version, source=verdict.source, certainty="", zone="UTC")
    basis = book.basis(rule)
    performance = rows.numbers["performance_kw"]
    paid = paid_performance(verdict, performance, rows.numbers["prohibited_kw"])
    for at in range(len(rows)):
        over, who, price = over_of(rows, at), str(rows.resources[at]), rows.exact("price", at)
        hours = Decimal(over[1] - over[0]) / Decimal(3_600_000_000_000)
        was, left = (Decimal(str(float(column[at]))) for column in (performance, paid))
        book.lines.append(line_of(basis, "energy", who, over, was * hours / 1000, "MWh", price))
        if left != was:
            line = line_of(basis, "prohibited", who, over, (left - was) * hours / 1000, "MWh", price)
            book.lines += split_line(line, {"prohibited": 1.0})
    return book.told(
        eligible=verdict.is_eligible, says=verdict.says, paid_kw=[float(kw) for kw in paid],
    )  # fmt: skip


def claims_of(claims_file: Path) -> dict[str, Any]:
    """Return what each market may be paid for, in the order of the file, as `tieline settle claims` prints it.

    Args:
        claims_file: `start,market,wanted_kw` and `delivered_kw` or `baseline_kw` with `metered_kw`; `resource`.

    Raises:
        ConfigError: A row is not what it should be, or rows of one interval disagree about what was delivered.
    """
    may = [Field(name, -MOST_KW, MOST_KW, math.nan, may_be_empty=True) for name in CLAIMED_OF]
    rows = read_rows(
        claims_file, [Field("wanted_kw", 0.0, MOST_KW), *may], texts=("market",), key=("market",), has_cause=False
    )
    told, baseline, metered = (rows.numbers[name] for name in CLAIMED_OF)
    delivered = np.where(np.isnan(told), baseline - metered, told)
    for at in np.flatnonzero(np.isnan(delivered)).tolist():
        raise ConfigError(f"{rows.where(at)}: delivered_kw = empty: give it, or baseline_kw and metered_kw")
    ledger = ClaimsLedger()
    seen: dict[tuple[str, int], tuple[float, int]] = {}
    lines = []
    for at in np.argsort(rows.row_of, kind="stable").tolist():
        place = (str(rows.resources[at]), int(rows.starts_ns[at]))
        was, row = seen.setdefault(place, (float(delivered[at]), int(rows.row_of[at])))
        if was != delivered[at]:
            raise ConfigError(f"{rows.where(at)}: delivered_kw = {delivered[at]:g}: row {row} has {was:g}")
        wanted = float(rows.numbers["wanted_kw"][at])
        granted = ledger.claim(str(rows.texts["market"][at]), *place, wanted, max(was, 0.0))
        elsewhere = ledger.others_w(str(rows.texts["market"][at]), *place)
        lines.append(
            {
                "row": int(rows.row_of[at]), "resource": place[0], "market": str(rows.texts["market"][at]),
                "start": from_ns(place[1]).astimezone(ZoneInfo("UTC")).isoformat(), "wanted_kw": wanted,
                "granted_kw": granted, "lacking_kw": wanted - granted,
                "cause": "" if granted >= wanted else "claimed_elsewhere" if elsewhere > 0 else "underperformed",
            }
        )  # fmt: skip
    return {
        "rule": "claims-ledger", "version": "1", "source": "FERC Order 2222: the same service is not paid twice",
        "wanted_kw": sum(line["wanted_kw"] for line in lines), "granted_kw": sum(line["granted_kw"] for line in lines),
        "delivered_kw": sum(max(kw, 0.0) for kw, _ in seen.values()),
        "input_hash": derive("inputs", claims_file.read_bytes()), "lines": lines,
    }  # fmt: skip
