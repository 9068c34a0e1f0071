"""Offers from files held against participation models, and the markets, figures and gates that can be asked for."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.market.gates import closes_ns, from_local, upcoming
from tieline.market.offer import FIGURES, NOBODY, Behind, MarketOffer, Step
from tieline.market.offer_rules import check_with, gate_for, open_gate
from tieline.market.participation import (
    MARKS,
    Direction,
    Gate,
    Market,
    Model,
    as_rows,
    market_of,
    markets,
    model_at,
    model_names,
    versions_of,
)
from tieline.resource.claim import Refusal
from tieline.store.product_files import FaultyRows
from tieline.times import iso, parse_iso

MOST_BYTES, MOST_OFFERS = 64 * 2**20, 100_000
COLUMNS = ("offer", "start", "end", "power_mw", "price")
MORE = ("model", "direction", "curve", "gate")


class StepRow(Struct, frozen=True, forbid_unknown_fields=True):
    """A step of a file's offer: so much more power (MW) at a price."""

    power_mw: float
    price: float


class BehindRow(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands behind a file's offer; what is left out is not tested."""

    least_kw: float | None = None
    most_kw: float | None = None
    telemetry_s: float | None = None
    energy_mwh: float | None = None
    shared: tuple[str, ...] | None = None


class OfferRow(Struct, frozen=True, forbid_unknown_fields=True):
    """An offer of a TOML file."""

    id: str
    start: str
    end: str
    steps: tuple[StepRow, ...]
    model: str = ""
    direction: Direction = "up"
    curve: str = "steps"
    gate: str = ""
    behind: BehindRow = BehindRow()


class OfferFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A TOML file of offers; `behind` is of all offers that have none of their own."""

    offer: tuple[OfferRow, ...]
    behind: BehindRow = BehindRow()


def check_file(path: Path, market: str, at: str | None, now_ns: Callable[[], int]) -> dict[str, Any]:
    """Return what each offer of a file comes to: its faults with rule, figure's source and mark, and what isn't tested.

    Args:
        path: TOML with `[[offer]]`, or CSV with a row a step.
        market: A market, or one of its participation models, which is then the offers' where they name none.
        at: The instant at which they would leave (ISO 8601 with an offset); None: now.
        now_ns: Tells the time.

    Raises:
        ConfigError: The file can't be read as offers, or there is no such market or model: all faulty rows are named.
    """
    mine, model = _asked(market)
    instant_ns = now_ns() if at is None else _instant(at, "--at")
    told, faults = [], []
    for where, offer in _offers(path, model):
        try:
            told.append(_judged(mine, offer, instant_ns))
        except (ConfigError, OverflowError) as error:
            faults.append(f"{where}: {error}")
    if faults:
        raise FaultyRows(faults)
    bad = sum(not one["ok"] for one in told)
    return {"market": mine.id, "at": from_local(mine, instant_ns), "offers": told, "refused": bad}


def _asked(name: str) -> tuple[Market, str]:
    """Return a market, and the model that was named (empty: the market itself was)."""
    if name in markets():
        return market_of(name), ""
    if name in model_names():
        return versions_of(name)[0], name
    known = ", ".join([*markets(), *model_names()])
    raise ConfigError(f"market {name!r} is unknown: give one of {known}")


def _judged(market: Market, offer: MarketOffer, now_ns: int) -> dict[str, Any]:
    """Return what one offer comes to at an instant."""
    found, model = model_at(offer.model, offer.start_ns)
    if found.id != market.id:
        known = ", ".join(dict.fromkeys(one.id for one in market.model))
        raise ConfigError(f"model = {offer.model!r}: give one of {market.id}: {known}")
    gate = offer.gate or open_gate(market, model, offer.start_ns, now_ns)
    checked = check_with(market, model, msgspec.structs.replace(offer, gate=gate), now_ns)
    held_by = gate_for(market, model, gate)
    closes = None if held_by is None else from_local(market, closes_ns(market, model, held_by, offer.start_ns))
    return {
        "offer": offer.id, "model": model.id, "version": model.version, "gate": gate or None, "closes": closes,
        "power_mw": offer.power_w / 1e6, "ok": checked.is_good,
        "refusals": [_told(market, model, held_by, one) for one in checked.refusals],
        "untested": list(checked.untested),
    }  # fmt: skip


def _told(market: Market, model: Model, gate: Gate | None, refusal: Refusal) -> dict[str, Any]:
    """Return a refusal with the source and mark of the figure that it comes from."""
    rule = refusal.rule.rpartition("/")[2]
    figure = model.figures().get(FIGURES.get(rule, ""))
    if gate is not None and rule in ("gate", "opens"):
        figure = gate.opens if rule == "opens" else gate.closes or gate.minutes_before
    source = None if figure is None else market.sources[figure.source]
    return {
        "rule": refusal.rule, "reason": refusal.reason, "field": refusal.field, "value": refusal.value,
        "limit": refusal.limit, "source": source, "mark": None if figure is None else figure.mark,
    }  # fmt: skip


# --- files ------------------------------------------------------------------------------------------------------------


def _offers(path: Path, model: str) -> list[tuple[str, MarketOffer]]:
    """Return a file's offers, each with the words that name it. Raises ConfigError naming what is wrong where."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ConfigError(f"{path}: size = {size}: give {MOST_BYTES} bytes at most")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is no UTF-8") from None
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _toml_rows(path, text)
    if not 1 <= len(rows) <= MOST_OFFERS:
        raise ConfigError(f"{path}: offers = {len(rows)}: give 1 to {MOST_OFFERS}")
    made, faults = [], []
    for where, row in rows:
        try:
            made.append((where, _offer(row, model)))
        except ConfigError as error:
            faults.append(f"{where}: {error}")
    if faults:
        raise FaultyRows(faults)
    return made


def _toml_rows(path: Path, text: str) -> list[tuple[str, OfferRow]]:
    try:
        found = msgspec.convert(tomllib.loads(text), OfferFile)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    shared = found.behind
    rows = [row if row.behind != BehindRow() else msgspec.structs.replace(row, behind=shared) for row in found.offer]
    return [(f"{path}: offer {at}", row) for at, row in enumerate(rows, 1)]


def _csv_rows(path: Path, text: str) -> list[tuple[str, OfferRow]]:
    """Return the offers of a CSV file: a row a step; rows of one offer follow each other and agree but in the step."""
    table = csv.DictReader(io.StringIO(text), strict=True)
    names = table.fieldnames or []
    lacking = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in (*COLUMNS, *MORE)]
    if lacking or unknown or len(set(names)) < len(names):
        field = (lacking or unknown or ["one that stands twice"])[0]
        limit = f"give {','.join(COLUMNS)} and of {','.join(MORE)} what is needed: {field}"
        raise ConfigError(f"{path}: columns = {','.join(names)!r}: {limit}")
    found: dict[str, tuple[str, OfferRow]] = {}
    faults, last = list[str](), ""
    try:
        for number, row in enumerate(table, 1):
            where = f"{path}: row {number}"
            try:
                name, one = _csv_step(row)
                if name in found and name != last:
                    raise ConfigError(f"offer = {name!r}: let the rows of an offer follow each other")
                found[name] = _with_step(where, found.get(name), one)
                last = name
            except ConfigError as error:
                faults.append(f"{where}: {error}")
    except csv.Error as error:
        raise ConfigError(f"{path}: row {table.line_num}: {error}") from None
    if faults:
        raise FaultyRows(faults)
    return list(found.values())


def _csv_step(row: dict[str, Any]) -> tuple[str, OfferRow]:
    if any(not isinstance(cell, str) for cell in row.values()):
        raise ConfigError("cells: give as many as there are columns")
    numbers = []
    for name in ("power_mw", "price"):
        try:
            numbers.append(float(row[name]))
        except ValueError:
            raise ConfigError(f"{name} = {row[name]!r}: give a number") from None
    more = {name: row[name] for name in MORE if row.get(name)}
    if more.get("direction", "up") not in ("up", "down", "both"):
        raise ConfigError(f"direction = {more['direction']!r}: give up, down or both")
    made = OfferRow(row["offer"], row["start"], row["end"], (StepRow(*numbers),))
    return made.id, msgspec.structs.replace(made, **more)


def _with_step(where: str, before: tuple[str, OfferRow] | None, one: OfferRow) -> tuple[str, OfferRow]:
    if before is None:
        return where, one
    first = before[1]
    for name in ("start", "end", *MORE):
        if getattr(first, name) != getattr(one, name):
            raise ConfigError(f"{name} = {getattr(one, name)!r}: give {getattr(first, name)!r}, as its first row does")
    return before[0], msgspec.structs.replace(first, steps=(*first.steps, *one.steps))


def _offer(row: OfferRow, model: str) -> MarketOffer:
    """Return an offer as it would leave, in our units."""
    name = row.model or model
    if not name:
        raise ConfigError("model = '': give one, or name it by --market")
    behind = NOBODY if row.behind == BehindRow() else Behind(
        _times(row.behind.least_kw, 1e3), _times(row.behind.most_kw, 1e3), row.behind.telemetry_s,
        _times(row.behind.energy_mwh, 1e6), row.behind.shared,
    )  # fmt: skip
    start_ns, end_ns = _instant(row.start, "start"), _instant(row.end, "end")
    if end_ns <= start_ns:
        raise ConfigError(f"end = {row.end!r}: give one after start, {row.start}")
    # A thousandth of a watt is less than any market's grain: what MW with decimals become must not miss it.
    steps = tuple(Step(round(one.power_mw * 1e6, 3) if abs(one.power_mw) < 1e9 else one.power_mw, one.price)
                  for one in row.steps)  # fmt: skip
    return MarketOffer(row.id, name, start_ns, end_ns, steps, row.direction, row.curve, row.gate, behind)


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


FIRST_NS, LAST_NS = parse_iso("2000-01-01T00:00:00Z"), parse_iso("2200-01-01T00:00:00Z")


def _instant(text: str, field: str) -> int:
    try:
        found = parse_iso(text)
    except ValueError:
        raise ConfigError(
            f"{field} = {text!r}: give ISO 8601 with an offset, such as 2025-07-02T17:00:00-05:00"
        ) from None
    if not FIRST_NS <= found < LAST_NS:
        raise ConfigError(f"{field} = {text!r}: give a year from 2000 to 2199")
    return found


# --- what there is ----------------------------------------------------------------------------------------------------


def list_markets() -> dict[str, Any]:
    """Return every market with its clock and models."""
    return {
        "markets": [
            {"market": market.id, "name": market.name, "zone": market.zone, "currency": market.currency,
             "models": [{"model": one.id, "version": one.version, "name": one.name, "product": one.product}
                        for one in market.model]}
            for market in markets().values()
        ]
    }  # fmt: skip


def show_market(name: str) -> dict[str, Any]:
    """Return a market's models, or one model's versions, with every figure, its mark and source."""
    market, model = _asked(name)
    mine = [one for one in market.model if model in ("", one.id)]
    return {
        "market": market.id, "name": market.name, "zone": market.zone, "currency": market.currency, "marks": MARKS,
        "models": [
            {"model": one.id, "version": one.version, "name": one.name, "product": one.product, "sells": one.sells,
             "gates": list(one.gates), "effective_from": one.effective_from or None,
             "effective_to": one.effective_to or None, "figures": as_rows(market, one)}
            for one in mine
        ],
    }  # fmt: skip


def gates_of(name: str | None, at: str | None, ahead: int, now_ns: Callable[[], int]) -> dict[str, Any]:
    """Return the next closings of a market's gates (None: of all markets'), the nearest first, and what is left."""
    instant_ns = now_ns() if at is None else _instant(at, "--at")
    mine = list(markets().values()) if name is None else [market_of(name)]
    found = sorted((one for market in mine for one in upcoming(market, instant_ns, ahead)), key=lambda o: o.closes_ns)
    return {
        "at": iso(instant_ns),
        "gates": [
            {"market": one.market, "gate": one.gate, "models": list(one.models), "day": one.day,
             "closes": one.closes_local, "delivers": from_local(market_of(one.market), one.delivers_ns),
             "delivery_ends": from_local(market_of(one.market), one.delivery_ends_ns), "left_s": one.left_s}
            for one in found
        ],
    }  # fmt: skip
