"""How long a day's offers of a pool of 100,000 resources take: summed, shaped, validated, held by each resource."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.book import NO_STORE, Book, Watts, sums_by_level
from tieline.fleet.booking import SLOT_NS, Capacity
from tieline.fleet.firm import Z95
from tieline.fleet.ledger import Ledger
from tieline.market.curve import fit_steps
from tieline.market.offer import Behind
from tieline.market.offer_columns import OfferColumns, check_columns, rules_in
from tieline.market.offer_rules import check_with, open_gate
from tieline.market.participation import Market, Model, model_at
from tieline.times import HOUR_NS, parse_iso

BAR = 1.0
UNIT = "s"
WHAT = "288 offers of a pool of 100,000 resources: summed, shaped, validated and held in the book, resource by resource"
MODEL, DAY = "aemo-wdr", date(2025, 8, 12)
LEVELS = np.array([0.0, 35.0, 60.0, 80.0, 120.0, 180.0, 250.0, 400.0])
SPOILED = ((7, "increment"), (40, "cap"), (111, "rising"), (199, "interval"), (260, "minimum"))
"""Offers that are made wrong on purpose: each must be found by its rule, and nothing may be held for it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    available_w: Watts
    reach_frac: NDArray[np.float64]
    level: NDArray[np.int8]
    book: Book


def _pool(count: int, slots: int, first: int, rng: np.random.Generator) -> _Pool:
    """Make a pool with what each resource can give in each slot; a third are stores, some sold to a reserve before."""
    nameplate = rng.integers(1_000, 9_000, count).astype(np.int32)
    shape = 0.5 + 0.4 * np.sin(np.arange(slots) / slots * 2 * np.pi)
    available = (nameplate[:, None] * shape[None, :]).astype(np.int32)
    energy = np.where(rng.random(count) < 0.33, nameplate * rng.uniform(4.0, 30.0, count), NO_STORE)
    # What a store can give all day; one in fifty says more than it has, and the book must find it.
    lasts = np.where(np.arange(count) % 50 == 0, np.inf, 0.95 * energy / 24.0 - nameplate // 5)
    available = np.minimum(available, np.maximum(lasts, 0.0)[:, None]).astype(np.int32)
    book = Book(
        first, slots, nameplate, ("energy", "reserve"), ("energy",), energy, np.zeros(count), np.full(count, 0.95)
    )
    reserved = np.where(rng.random(count) < 0.2, nameplate // 5, 0).astype(np.int32)
    book.hold("reserve", np.ascontiguousarray(np.broadcast_to(reserved[:, None], (count, slots))))
    return _Pool(available, rng.uniform(0.9, 1.0, count), rng.integers(0, len(LEVELS), count).astype(np.int8), book)


def _offers(market: Market, model: Model, pool: _Pool, gate: str) -> OfferColumns:
    """Return the day's offers: what the pool can be counted on for in each slot, by price, as the market takes it."""
    slots = pool.available_w.shape[1]
    level_w, mean_w, variance = np.zeros((len(LEVELS), slots)), np.zeros(slots), np.zeros(slots)
    sums_by_level(pool.available_w, pool.reach_frac, pool.level, level_w, mean_w, variance)
    firm = (mean_w - Z95 * np.sqrt(variance)) / level_w.sum(axis=0)
    most = int(model.number("points_most") or 1)
    power_w, price = np.full((slots, most), np.nan), np.full((slots, most), np.nan)
    count = np.zeros(slots, np.int32)
    for s in range(slots):
        steps = fit_steps(model, level_w[:, s] * firm[s], LEVELS)
        count[s] = len(steps)
        power_w[s, : len(steps)] = [step.power_w for step in steps]
        price[s, : len(steps)] = [step.price for step in steps]
    over = market.intervals(model, DAY)
    starts, ends = (np.array([getattr(one, name) for one in over], np.int64) for name in ("start_ns", "end_ns"))
    return OfferColumns(
        starts, ends, power_w, price, count, gate=gate, behind=Behind(telemetry_s=4.0, shared=("region",))
    )


def _spoil(offers: OfferColumns) -> None:
    for at, rule in SPOILED:
        match rule:
            case "increment":
                offers.power_w[at, 0] += 1.0
            case "cap":
                offers.price[at, offers.count[at] - 1] = 20_300.01
            case "rising":
                offers.price[at, 0], offers.price[at, 1] = offers.price[at, 1], offers.price[at, 0]
            case "interval":
                offers.end_ns[at] += SLOT_NS
            case _:
                offers.count[at], offers.power_w[at, 0] = 1, 5e5


def _targets(offers: OfferColumns, good: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return what the pool promises in each slot (W): all of an offer that may leave, nothing of another."""
    inside = np.arange(offers.power_w.shape[1]) < offers.count[:, None]
    return np.where(good, np.where(inside, offers.power_w, 0.0).sum(axis=1), 0.0).astype(np.int64)


def _agrees(pool: _Pool, before: Watts, wanted: Watts, rows: NDArray[np.int64]) -> bool:
    """Return whether the ledger takes, one promise after the other, what the book holds of a sample of resources.

    And whether it refuses those that the book refused, asked for all that they said they could give.
    """
    agrees, book = True, pool.book
    for row in rows.tolist():
        ledger, energy = Ledger(share_classes={"reserve": "reserve"}), float(book.energy_wh[row])
        store = (energy, 1e12, 0.0, 1.0, float(book.discharge_frac[row])) if np.isfinite(energy) else ()
        ledger.set_capacity("r", Capacity(float(book.nameplate_w[row]), 0.0, *store))
        refused, is_out = False, not wanted[row].any()
        asks = (("reserve", before[row]), ("energy", pool.available_w[row] if is_out else wanted[row]))
        for product, asked in asks:
            marks = np.flatnonzero(np.diff(asked, prepend=asked[0] - 1, append=asked[-1] - 1))
            for begin, end in zip(marks.tolist(), marks[1:].tolist(), strict=False):
                over = ((book.first + begin) * SLOT_NS, (book.first + end) * SLOT_NS)
                watts = float(asked[begin])
                if watts > 0 and ledger.check("r", product, *over, up_w=watts, down_w=0.0) is not None:
                    refused = True
                ledger.reserve(f"{product}-{begin}", "r", product, *over, up_w=watts, down_w=0.0)
        agrees &= refused == is_out or not pool.available_w[row].any()
    return agrees


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of three days, each from an empty book; both twins are held against their scalar rules."""
    count = 20_000 if quick else 100_000
    market, model = model_at(MODEL, parse_iso(f"{DAY}T12:00:00+10:00"))
    over = market.intervals(model, DAY)
    now_ns = over[0].start_ns - 20 * HOUR_NS
    gate = open_gate(market, model, over[0].start_ns, now_ns)
    took: list[float] = []
    for turn in range(4):  # the first compiles, and brings the columns into memory
        pool = _pool(count, len(over), over[0].start_ns // SLOT_NS, np.random.default_rng(seed))
        before = pool.book.taken_w[1].copy()
        began = time.perf_counter()
        offers = _offers(market, model, pool, gate)
        _spoil(offers)
        bits = check_columns(market, model, offers, now_ns)
        target = _targets(offers, bits == 0)
        wanted, left = pool.book.place("energy", pool.available_w, target)
        if turn:
            took.append(time.perf_counter() - began)
            progress(f"run {turn}: {took[-1]:.3f} s, {int((bits == 0).sum())} of {len(bits)} offers may leave")
    began = time.perf_counter()
    alone = [check_with(market, model, offers.row(at, model.id), now_ns).refusals for at in range(len(bits))]
    scalar_s = time.perf_counter() - began
    same = all(
        [one.rule.rpartition("/")[2] for one in alone[at]] == list(rules_in(int(bits[at]))) for at in range(len(bits))
    )
    found = all(rule in rules_in(int(bits[at])) for at, rule in SPOILED) and int((bits != 0).sum()) == len(SPOILED)
    out = np.flatnonzero(~wanted.any(axis=1) & pool.available_w.any(axis=1))
    sample = np.concatenate([np.random.default_rng(seed).integers(0, count, 3 if quick else 8), out[:2]])
    agrees = _agrees(pool, before, wanted, sample)
    held = (pool.book.taken_w[0] == wanted).all() and (wanted.sum(axis=0, dtype=np.int64) == target).all()
    value = float(np.median(took))
    return {
        "value": round(value, 3), "ok": value <= BAR and same and found and agrees and bool(held) and not left.any(),
        "resources": count, "intervals": len(over), "slots_held": count * len(over), "model": MODEL,
        "offers_good": int((bits == 0).sum()), "spoiled_found": found, "validator_agrees": same,
        "ledger_agrees": agrees, "all_held": bool(held), "refused_resources": len(out),
        "scalar_validator_ms": round(scalar_s * 1e3, 2), "unplaced_w": int(left.sum()),
    }  # fmt: skip
