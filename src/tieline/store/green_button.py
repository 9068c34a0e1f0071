"""Green Button files: energy of a customer's meters from an ESPI feed, each reading taken or refused with its place.

NAESB REQ.21 (ESPI) wraps its objects in an Atom feed. Entries are tied by links: a UsagePoint's `self` begins the one
of its MeterReadings, a MeterReading's that of its IntervalBlocks, and a MeterReading names its ReadingType by a
`related` link. A reading begins at `start` (seconds of UTC), lasts `duration` seconds, and its `value` counts
`10^powerOfTenMultiplier` of the unit `uom`: 72 is Wh. `flowDirection` 1 is into the premises, 19 out of them; where a
usage point has both, what it used is the difference. Nothing is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from tieline.errors import ConfigError
from tieline.store.meter_files import MOST_KW, Floats, Instants, MeterSeries
from tieline.store.meter_grid import STEPS_NS
from tieline.times import HOUR_NS, MINUTE_NS, iso

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ATOM, ESPI = "{http://www.w3.org/2005/Atom}", "{http://naesb.org/espi}"
MOST_BYTES = 256 * 2**20
SECOND_NS = 1_000_000_000
WATT_HOURS, FORWARD, REVERSE, DELTA, UNKNOWN = 72, 1, 19, 4, 0
QUALITIES = {
    8: "estimated by a reference day", 9: "estimated by interpolation", 10: "questionable", 12: "projected",
    15: "normalised for weather",
}  # fmt: skip
"""ReadingQuality codes that are told; the rest is metered, edited or validated."""
NOT_METERED = frozenset({12, 15})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@%+-]{0,199}", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one reading or block: `where` it stands, and why it was not taken or what is odd about it."""

    where: str
    why: str
    is_taken: bool


@dataclass(frozen=True, slots=True, eq=False)
class GreenButton:
    """The meters of a feed, and every reading that was refused or is odd."""

    meters: tuple[MeterSeries, ...]
    taken: int
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A ReadingType as far as it matters: Wh a unit of value, and 1 for used, -1 for given."""

    wh: float
    sign: int


def read_green_button(path: Path) -> GreenButton:
    """Return the energy of each usage point of a feed, net of what it gave.

    Raises:
        ConfigError: The file is no ESPI feed, or nothing in it could be taken; what would do is named.
    """
    feed = _feed(path)
    told: list[Told] = []
    kinds = dict(_kinds(feed, told))
    flows: dict[str, dict[int, dict[int, tuple[int, float, str]]]] = {}
    types = {link: kinds.get(kind) for link, kind in _meter_readings(feed)}
    names = _names(types)
    taken = 0
    for number, (link, block) in enumerate(_found(feed, "IntervalBlock"), 1):
        where = f"IntervalBlock {number}"
        owner = next((name for name in types if link == name or link.startswith(f"{name}/")), None)
        kind = None if owner is None else types[owner]
        if owner is None or kind is None:
            why = "belongs to no MeterReading" if owner is None else "its ReadingType is refused or missing"
            told.append(Told(where, why, False))
            continue
        meter = names[owner]
        if not _NAME.fullmatch(meter):
            told.append(Told(where, f"meter {meter[:100]!r}: give letters, digits and . _ : @ % + -", False))
            continue
        into = flows.setdefault(meter, {}).setdefault(kind.sign, {})
        taken += _take(block, kind, where, into, told)
    meters = tuple(_net(meter, flow, told) for meter, flow in sorted(flows.items()) if any(flow.values()))
    if not meters:
        first = told[0] if told else Told("feed", "holds no IntervalBlock", False)
        raise ConfigError(f"{path}: nothing was taken: {first.where}: {first.why}")
    return GreenButton(meters, taken, tuple(told))


def _feed(path: Path) -> Element:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{path}: {size} bytes: give {MOST_BYTES} at most, a part of the time")
        root: Element = fromstring(path.read_bytes(), forbid_dtd=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: give a Green Button file") from None
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ConfigError(f"{path}: no XML that may be read ({str(error)[:200]}): give a Green Button file") from None
    if root.tag != f"{ATOM}feed":
        raise ConfigError(f"{path}: root is {root.tag[:100]}: give an Atom feed of ESPI entries")
    return root


def _found(feed: Element, name: str) -> Iterator[tuple[str, Element]]:
    """Yield each object of a kind with its entry's `self` link."""
    for entry in feed.iter(f"{ATOM}entry"):
        for one in entry.iterfind(f"{ATOM}content/{ESPI}{name}"):
            yield _link(entry, "self"), one


def _link(entry: Element, rel: str, holds: str = "") -> str:
    links = (one.get("href", "").rstrip("/") for one in entry.iterfind(f"{ATOM}link") if one.get("rel") == rel)
    return next((link for link in links if holds in link), "")


def _meter_readings(feed: Element) -> Iterator[tuple[str, str]]:
    """Yield each MeterReading's own link and that of its ReadingType."""
    for entry in feed.iter(f"{ATOM}entry"):
        if entry.find(f"{ATOM}content/{ESPI}MeterReading") is not None:
            yield (
                _link(entry, "self"),
                _link(entry, "related", "/ReadingType") or _link(entry, "related", "ReadingType"),
            )


def _names(links: Iterable[str]) -> dict[str, str]:
    """Return each MeterReading's usage point: the end of its link, or all of it where two customers' end alike."""
    points = {link: link.rpartition("/MeterReading")[0] for link in links}
    ends: dict[str, set[str]] = {}
    for point in points.values():
        ends.setdefault(point.rpartition("/")[2], set()).add(point)
    found = {}
    for link, point in points.items():
        end = point.rpartition("/")[2]
        found[link] = (end if len(ends[end]) == 1 else point.strip("/").replace("/", "-")) or "meter"
    return found


def _kinds(feed: Element, told: list[Told]) -> Iterator[tuple[str, _Kind]]:
    for link, one in _found(feed, "ReadingType"):
        unit, power = _whole(one, "uom"), _whole(one, "powerOfTenMultiplier")
        flow, behaviour = _whole(one, "flowDirection"), _whole(one, "accumulationBehaviour")
        why = ""
        if unit != WATT_HOURS:
            why = f"uom = {unit}: give {WATT_HOURS}, Wh"
        elif power is not None and not -12 <= power <= 9:
            why = f"powerOfTenMultiplier = {power}: give -12 to 9"
        elif flow not in (None, UNKNOWN, FORWARD, REVERSE):
            why = f"flowDirection = {flow}: give {FORWARD} (used) or {REVERSE} (given)"
        elif behaviour not in (None, UNKNOWN, DELTA):
            why = f"accumulationBehaviour = {behaviour}: give {DELTA}, energy of each interval"
        if why:
            told.append(Told(f"ReadingType {link.rpartition('/')[2]}", why, False))
        else:
            yield link, _Kind(10.0 ** (power or 0), -1 if flow == REVERSE else 1)


def _whole(one: Element, path: str) -> int | None:
    text = (one.findtext("/".join(f"{ESPI}{part}" for part in path.split("/"))) or "").strip()
    return int(text) if _WHOLE.fullmatch(text) else None


def _take(
    block: Element, kind: _Kind, where: str, into: dict[int, tuple[int, float, str]], told: list[Told]
) -> int:  # fmt: skip
    """Put a block's readings (start to length, Wh and place) where they belong; return how many were new."""
    count = 0
    for number, one in enumerate(block.iterfind(f"{ESPI}IntervalReading"), 1):
        at = f"{where} reading {number}"
        start, length, value = (_whole(one, name) for name in ("timePeriod/start", "timePeriod/duration", "value"))
        if start is None or length is None or value is None or start < 0:
            told.append(Told(at, "start, duration or value is no whole number: give all three", False))
            continue
        quality = next((code for item in one.iterfind(f"{ESPI}ReadingQuality") if (code := _whole(item, "quality"))), 0)
        energy_wh, step_ns = value * kind.wh, length * SECOND_NS
        why = ""
        if step_ns not in STEPS_NS:
            why = f"duration = {length} s: give 1, 5, 10, 15, 30 or 60 minutes"
        elif abs(energy_wh) * HOUR_NS / step_ns > MOST_KW * 1e3:
            why = f"value comes to {energy_wh * HOUR_NS / step_ns / 1e3:g} kW: no meter has over {MOST_KW:g} kW"
        elif quality in NOT_METERED:
            why = f"{QUALITIES[quality]} (quality {quality}): not a meter's own"
        elif (known := into.get(start)) is not None and known[:2] != (length, energy_wh):
            why = f"differs from {known[2]}, which has {known[1]:g} Wh of the same start: keep the one that is right"
        elif known is not None:
            why = f"repeats {known[2]}"
        if why:
            told.append(Told(at, why, False))
            continue
        if quality in QUALITIES:
            told.append(Told(at, f"{QUALITIES[quality]} (quality {quality})", True))
        into[start] = (length, energy_wh, at)
        count += 1
    return count


def _net(meter: str, flow: dict[int, dict[int, tuple[int, float, str]]], told: list[Told]) -> MeterSeries:
    """Return what a usage point used less what it gave, on the grid of its first reading's length."""
    first = min((start, length) for side in flow.values() for start, (length, _, _) in side.items())
    step = first[1]
    starts = sorted({start for side in flow.values() for start in side})
    kept, net_kwh = [], []
    for start in starts:
        parts = [(sign, side[start]) for sign, side in sorted(flow.items()) if start in side]
        odd = next((part for _, part in parts if part[0] != step or (start - first[0]) % step), None)
        if odd is not None:
            told.append(Told(odd[2], f"{odd[0]} s from {iso(start * SECOND_NS)}: not on the grid of {step} s", False))
            continue
        if len(parts) < len(flow):
            side = "given" if parts[0][0] == 1 else "used"
            told.append(Told(parts[0][1][2], f"has no reading beside it of what was {side}: left out", False))
            continue
        kept.append(start)
        net_kwh.append(sum(sign * part[1] for sign, part in parts) / 1e3)
    starts_ns: Instants = np.array(kept, np.int64) * SECOND_NS
    values: Floats = np.array(net_kwh, float)
    gaps = int((np.diff(starts_ns) // (step * SECOND_NS) - 1).sum()) if len(kept) > 1 else 0
    flags = (f"{gaps} intervals of {step * SECOND_NS // MINUTE_NS} minutes are missing",) if gaps else ()
    return MeterSeries(meter, starts_ns, values, step * SECOND_NS, flags)
