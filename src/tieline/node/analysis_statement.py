"""Statements from files: an event settled whole, kept with its inputs, and made again from them bit by bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np

from tieline.errors import ConfigError
from tieline.ids import NAME, is_name
from tieline.market.baseline import Baseline
from tieline.market.rule import BaselineRule
from tieline.market.settlement import LEAST_TOLD_WH, shortfall_causes, split_lack, without_noise
from tieline.node.analysis_settle import EventFiles, EventSettled, settle_event
from tieline.node.enrolled_meters import require_enrolled
from tieline.node.event_terms import owner_terms
from tieline.node.known_causes import otherwise
from tieline.node.rule_kept import rule_of_rows
from tieline.pool.document import Document
from tieline.pool.settled import Part, Settled, Step
from tieline.pool.statement import owner_statements
from tieline.pool.statement_book import Series
from tieline.pool.statement_facts import Issued
from tieline.store.document_files import write_document
from tieline.store.enrolment_files import read_rows
from tieline.store.meter_files import read_event, read_meters
from tieline.store.statement_files import decode_settled, encode_settled, hash_of, keep_input, kept_input
from tieline.times import HOUR_NS

SITES = ("meter", "owner", "customer", "feeder", "committed_kw", "rating_kw")
ROLES = ("meter", "event", "awards", "prices", "causes", "temperature", "sites", "contracts", "enrolments")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a meter stands, what was promised of it (kW; None: its part of the baseline), what it is registered for."""

    owner: str
    customer: str = ""
    feeder: str = ""
    committed_kw: float | None = None
    rating_kw: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a statement is to be made of: by which rule, for whom, from which files."""

    rule: BaselineRule
    program: str
    market: str
    operator: str
    currency: str
    operator_frac: Decimal
    level: str | None
    files: EventFiles
    temperature: Path | None = None
    sites: Path | None = None
    contracts: Path | None = None
    enrolments: Path | None = None


def settled_of(asked: Asked) -> Settled:
    """Return an event settled, with everything that its statements say.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    event = read_event(asked.files.event)
    if asked.temperature is not None:
        event = replace(event, temperature=asked.temperature)
    sites = {} if asked.sites is None else read_sites(asked.sites)
    rated = {meter: site.rating_kw for meter, site in sites.items() if site.rating_kw is not None}
    event = replace(event, rating_kw={**event.rating_kw, **rated})
    paths = _paths(asked, event.temperature)
    also: list[str | bytes] = [asked.program, asked.market, asked.operator]
    also += [paths[role].read_bytes() for role in ("sites", "contracts", "enrolments") if role in paths]
    if asked.enrolments is not None:
        meters = meters_of(asked.files.meter)
        require_enrolled(asked.enrolments, asked.contracts, asked.program, event, meters)
    one = settle_event(asked.rule, asked.files, event, asked.operator_frac, asked.level, asked.currency, also)
    causes = (package_files("tieline.market") / "rules" / "causes.toml").read_bytes()
    parts = _parts(one, sites, asked.sites)
    owners = {part.owner for part in parts if part.owner}
    terms, notes = owner_terms(asked.contracts, owners, asked.program, asked.currency, event)
    if not owners:
        notes = [*notes, "settled as one: no owner has a share, what is not the operator's is undistributed"]
    made = Settled(
        program=asked.program, market=asked.market, operator=asked.operator, currency=asked.currency,
        zone=event.zone.key, start_ns=event.start_ns, end_ns=event.end_ns, step_ns=one.made.step_ns,
        level=one.made.level, rule=asked.rule.as_rows(),
        causes_hash=hash_of(causes),
        files={role: f"{hash_of(path.read_bytes())}{path.suffix.lower()}" for role, path in paths.items()},
        basis=one.basis, operator_frac=asked.operator_frac, lines=tuple(one.lines),
        parts=parts, flags=(*one.flags, *notes),
        excused=tuple(sorted(cause for cause, row in shortfall_causes().items() if row.excused)), terms=terms,
        as_read=one.as_read,
    )  # fmt: skip
    # As it is read from the book: what was written once and what was computed now are then compared as equals.
    return decode_settled(encode_settled(made))


def meters_of(path: Path) -> tuple[str, ...]:
    """Return the names of a file's meters; "": it has one without a name."""
    return tuple(one.meter for one in read_meters(path))


def _paths(asked: Asked, temperature: Path | None) -> dict[str, Path]:
    held = asked.files
    every = (held.meter, held.event, held.awards, held.prices, held.causes, temperature, asked.sites, asked.contracts,
             asked.enrolments)  # fmt: skip
    return {role: path for role, path in zip(ROLES, every, strict=True) if path is not None}


def read_sites(path: Path) -> dict[str, Site]:
    """Return where meters stand, by meter, from CSV or XLSX: `meter`, and the other columns of `SITES`.

    Raises:
        ConfigError: A row is not what it should be; each is named.
    """
    found: dict[str, Site] = {}
    faults = []
    for row in read_rows(path, SITES, ("meter",)):
        cells = {name: text.strip() for name, text in row.cells.items()}
        meter = cells.get("meter", "")
        committed, rating = (_kw(cells.get(name, "")) for name in ("committed_kw", "rating_kw"))
        odd = next((name for name, kw in (("committed_kw", committed), ("rating_kw", rating)) if kw is _NO_KW), "")
        if row.fault:
            faults.append(f"row {row.number}: {row.fault}")
        elif not meter:
            faults.append(f"row {row.number}: meter = '': give a meter of the meter file")
        elif meter in found:
            faults.append(f"row {row.number}: meter = {meter!r}: stands twice: keep the one that is right")
        elif odd:
            faults.append(f"row {row.number}: {odd} = {cells[odd]!r}: give 0 to 1000000, or nothing")
        else:
            owner = cells.get("owner") or meter
            found[meter] = Site(owner, cells.get("customer") or owner, cells.get("feeder", ""), committed, rating)
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults[:20]))
    return found


_NO_KW = float("nan")


def _kw(told: str) -> float | None:
    """Return a power (kW; None: nothing is told); `_NO_KW` for what is none."""
    try:
        kw = float(told) if told else None
    except ValueError:
        return _NO_KW
    return kw if kw is None or 0 <= kw <= 1e6 else _NO_KW


def _parts(one: EventSettled, sites: Mapping[str, Site], sites_file: Path | None) -> tuple[Part, ...]:
    named = [meter for meter in one.made.baselines if meter]
    if sites_file is not None and (lacking := [meter for meter in named if meter not in sites]):
        raise ConfigError(f"{sites_file}: meter = {lacking[0]!r}: stands nowhere in it: give a row for each meter")
    held = {meter: sites.get(meter, Site(meter, meter)) for meter in named}
    sold_kwh = _sold_kwh(one)
    weights = _weights(one, held, sites_file)
    return tuple(
        _part(one, meter, base, held.get(meter, Site("")), sold_kwh, weights[k])
        for k, (meter, base) in enumerate(one.made.baselines.items())
    )


def _sold_kwh(one: EventSettled) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what was sold in each interval of the event (kWh); shape (intervals,)."""
    step_ns, start_ns = one.made.step_ns, one.event.start_ns
    sold = np.zeros((one.event.end_ns - start_ns) // step_ns)
    for at_ns, mw in zip(one.asked.starts_ns.tolist(), one.asked.mw.tolist(), strict=True):
        first = (at_ns - start_ns) // step_ns
        sold[first : first + one.asked.step_ns // step_ns] += mw * 1e3 * step_ns / HOUR_NS
    return sold


def _weights(one: EventSettled, held: Mapping[str, Site], sites_file: Path | None) -> Sequence[float]:
    """Return each meter's part of what was sold: by what was promised of it, else by its baseline."""
    bases = one.made.baselines
    promised = [site.committed_kw for site in held.values()]
    known = [each for each in promised if each is not None]
    if len(known) == len(bases) and sum(known) > 0:
        return [each / sum(known) for each in known]
    if known:
        raise ConfigError(f"{sites_file}: committed_kw: give it for each meter and above 0 in all, or for none")
    mean = [max(float(base.baseline.sum()), 0.0) for base in bases.values()]
    return [each / sum(mean) for each in mean] if sum(mean) > 0 else [1.0 / len(mean)] * len(mean)


def _part(
    one: EventSettled,
    meter: str,
    base: Baseline,
    site: Site,
    sold_kwh: np.ndarray[Any, np.dtype[np.float64]],
    weight: float,
) -> Part:
    step_ns, start_ns = one.made.step_ns, one.event.start_ns
    gained, unread = base.performance, base.missing
    used = base.used
    return Part(
        meter=meter, owner=site.owner, customer=site.customer, feeder=site.feeder,
        days=tuple(day.isoformat() for day in base.days), weights=base.weights,
        excluded=tuple((day.isoformat(), why) for day, why in base.excluded), factor=base.factor, addend=base.addend,
        is_capped=base.is_capped, input_hash=base.input_hash, flags=base.flags,
        steps=tuple(
            Step(start_ns + k * step_ns, float(base.baseline[k]), None if unread[k] else float(base.actual[k]),
                 float(gained[k]))
            for k in range(len(gained))
        ),
        adjustment_kwh=used.adjustment if used else 0.0, rebound_kwh=used.rebound if used else 0.0,
        committed_kwh=float(sold_kwh.sum()) * weight, lacks_kwh=_lacks(one, meter, base, sold_kwh * weight, weight),
    )  # fmt: skip


def _lacks(
    one: EventSettled, meter: str, base: Baseline, sold_kwh: np.ndarray[Any, np.dtype[np.float64]], weight: float
) -> dict[str, float]:
    """Return what a meter gave less than its part of what was sold, interval by interval, by cause (kWh).

    What is known of the pool as a whole explains each meter's lack by its part of what was sold.
    """
    hours = one.made.step_ns / HOUR_NS
    found: dict[str, float] = {}
    for k, sold in enumerate(sold_kwh.tolist()):
        lacking_w = (sold - float(base.performance[k])) * 1e3 / hours
        # A registration as one has no name: what is known of any of its meters is known of it.
        known_w = one.known.meter_w(meter, k) if meter else one.known.pool_w(k)
        for cause, watts in one.known.pool.get(k, {}).items() if meter else ():
            known_w[cause] = known_w.get(cause, 0.0) + watts * weight
        for cause, watts in split_lack(lacking_w, known_w, otherwise(bool(base.missing[k]))).items():
            found[cause] = found.get(cause, 0.0) + watts * hours / 1e3
    return dict(sorted(without_noise(found, LEAST_TOLD_WH / 1e3).items()))


def keep_inputs(folder: Path, asked: Asked) -> None:
    """Keep every file of a statement in its book."""
    event = read_event(asked.files.event)
    for path in _paths(asked, asked.temperature or event.temperature).values():
        keep_input(folder, path)


def made_again(folder: Path, settled: Settled) -> Settled:
    """Return an event settled anew from the files that the book kept, by the rule that the statement holds.

    Raises:
        ConfigError: A kept file is gone or was changed.
    """
    kept = {role: kept_input(folder, name) for role, name in settled.files.items()}
    files = EventFiles(
        kept["meter"], kept["event"], kept["awards"], kept["prices"], kept.get("causes"), settled.as_read
    )
    return settled_of(
        Asked(
            rule_of_rows(settled.rule), settled.program, settled.market, settled.operator, settled.currency,
            settled.operator_frac, settled.level, files, kept.get("temperature"), kept.get("sites"),
            kept.get("contracts"), kept.get("enrolments"),
        )
    )  # fmt: skip


def write_owners(series: Series, issued: Issued, out: Path) -> int:
    """Write the statement of every owner of an event, `{owner}` in the file's name being his; return how many.

    Raises:
        ConfigError: An owner's name is none that a file can have; then nothing was written.
    """
    return write_each(list(owner_statements(series, issued)), out)


def write_each(made: Sequence[tuple[str, Document]], out: Path) -> int:
    """Write the document of every owner, `{owner}` in the file's name being his; return how many.

    Raises:
        ConfigError: An owner's name is none that a file can have; then nothing was written.
    """
    if odd := next((owner for owner, _ in made if not is_name(owner)), None):
        raise ConfigError(f"--out {out}: owner = {odd!r}: a file is named by {NAME}: write this one with --owner")
    for owner, document in made:
        write_document(document, out.with_name(out.name.replace("{owner}", owner)))
    return len(made)
