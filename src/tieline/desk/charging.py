"""The schedule of a pool's stores between its awards: filled in cheap hours for what the awards will take.

Theory of operation. When awards change, each store is planned exactly over the hours whose price is forecast
(`plan.storage`): it may give its share of each award, at the award's price, and may take at the forecast price outside
of awards. Giving is left to dispatch, which knows what others give; taking becomes claims, one batch for each step as
it comes. The claims stand below dispatch (a weaker primacy) and below every limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tieline.desk.agreed import ENERGY
from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsPlaced, ScheduleMade
from tieline.desk.modes import barred
from tieline.desk.packed import Packed
from tieline.desk.ports import Award
from tieline.desk.state import DeskState
from tieline.fleet.able import stored_wh
from tieline.ids import derive
from tieline.plan.storage import Stores, plan_stores
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import HOUR_NS, MINUTE_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
SOURCE = "desk.storage"
STEP_NS = 30 * MINUTE_NS
ONE_WAY_FRAC = 0.95
"""Efficiency each way that a store is planned with, as its telemetry says nothing of it."""
WEAR_PER_WH = 20.0 / 1e6
FULL_FRAC = 0.98
JITTER_FRAC = 0.05
"""Largest price of its own that a store sees, as a share of the spread of prices: what spreading them may cost."""
LEAST_W = 50.0
MOST_WH = 1e12
"""No store holds more: what is told beyond that is no reading."""


def usable_wh(state: DeskState, rows: Rows) -> tuple[Floats, Floats]:
    """Return what each store holds above its owner's reserve and how much more it can take (Wh inside the store)."""
    fleet = state.fleet
    held_wh = np.nan_to_num(stored_wh(fleet, rows)) / ONE_WAY_FRAC
    room_wh = np.maximum(FULL_FRAC - np.nan_to_num(fleet.column("soc_frac")[rows], nan=1.0), 0.0)
    return held_wh, room_wh * fleet.energy_wh[rows]


def noise(rows: Rows, steps: int) -> Floats:
    """Return a number from 0 to 1 for each row and step, always the same one; shape (n, steps).

    Like stores that see one price move as one; a little price of its own for each spreads them over like hours.
    """
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
        x = x + np.arange(1, steps + 1, dtype=np.uint64)[None, :] * np.uint64(0xD1B54A32D192ED03)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    unit: Floats = ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return unit


def plan(
    state: DeskState, rows: Rows, awards: Sequence[Award], price: Mapping[int, float], start_ns: int
) -> tuple[Floats, int]:
    """Return what each store takes at each step from `start_ns` on (W, negative), and the first step's start.

    Args:
        state: What is known.
        rows: The stores; shape (n,).
        awards: What is owed.
        price: Forecast price by hour start ($/MWh).
        start_ns: Where the schedule begins; it ends with the last hour whose price is known, or the last award.
    """
    first_ns = -(-start_ns // STEP_NS) * STEP_NS
    end_ns = max([*(at + HOUR_NS for at in price), *(award.end_ns for award in awards)], default=first_ns)
    starts = np.arange(first_ns, end_ns, STEP_NS, dtype=np.int64)
    if not len(starts) or not len(rows):
        return np.zeros((len(rows), 0)), first_ns
    rated_w = np.maximum(state.fleet.max_inject_w[rows], 0.0)
    buy, sell, part, dear = _prices(starts, awards, price, float(rated_w.sum()))
    cheap = buy[buy < dear]
    spread = float(cheap.max() - cheap.min()) if len(cheap) else 0.0
    jitter = JITTER_FRAC * spread * noise(rows, len(starts)) / 1e6
    deliver_w = rated_w[:, None] * part[None, :]
    stores = _stores(state, rows)
    power_w = plan_stores(stores, buy / 1e6, sell / 1e6, STEP_NS / HOUR_NS, deliver_w, jitter).power_w
    return np.minimum(power_w, 0.0), first_ns


def _prices(
    starts: NDArray[np.int64], awards: Sequence[Award], price: Mapping[int, float], rated_w: float
) -> tuple[Floats, Floats, Floats, float]:
    """Return buying and selling price of each step, which part of its rating a store gives, and what is too dear."""
    buy = _of_hour(price, starts)
    dear = float(np.max(np.abs(np.nan_to_num(buy)))) + 1_000.0
    # Nothing is bought in an hour without a price, nor in one that is awarded: it would be taken from what is owed.
    buy = np.where(np.isfinite(buy), buy, dear)
    sell, part = buy.copy(), np.zeros(len(starts))
    for award in awards:
        mine = (starts >= award.start_ns) & (starts < award.end_ns)
        sell[mine] = max(award.price_per_mwh, 0.0)
        part[mine] = min(1.0, max(award.power_w, 0.0) / max(rated_w, 1.0))
        buy[mine] = dear + sell[mine] + 1_000.0
    # Nothing is given outside of awards, so that the selling price there only has to keep the cost convex.
    sell = np.where(part > 0, sell, np.minimum(buy, buy / ONE_WAY_FRAC**2))
    return buy, sell, part, dear


def _of_hour(price: Mapping[int, float], starts: NDArray[np.int64]) -> Floats:
    """Return the price of the hour that each step lies in (NaN: none), whichever minute a zone's hours begin at."""
    hours = np.array(sorted(price), np.int64)
    known = np.append(np.array([price[at] for at in hours.tolist()]), np.nan)
    at = np.searchsorted(hours, starts, "right") - 1
    there = (at >= 0) & (starts < hours[at] + HOUR_NS) if len(hours) else np.zeros(len(starts), np.bool_)
    return known[np.where(there, at, len(hours))]


def _stores(state: DeskState, rows: Rows) -> Stores:
    fleet, nothing = state.fleet, np.zeros(len(rows))
    # A reading out of its range is kept and marked: what one device tells must not refuse the schedule of all.
    held_wh, room_wh = (np.clip(column, 0.0, MOST_WH) for column in usable_wh(state, rows))
    seen = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    charge_w = np.where(seen & ~state.out_of(ENERGY, rows), fleet.max_absorb_w[rows], 0.0)
    frac, wear = np.full(len(rows), ONE_WAY_FRAC), np.full(len(rows), WEAR_PER_WH)
    most_wh = held_wh + room_wh
    discharge_w = np.maximum(fleet.max_inject_w[rows], 0.0)
    return Stores(held_wh, nothing, most_wh, nothing, np.maximum(charge_w, 0.0), discharge_w, frac, frac, wear)


def decide_schedule(state: DeskState, pool: str, rows: Rows, price: Mapping[int, float], now_ns: int) -> list[Entry]:
    """Return the fact of a new schedule where the pool has awards that the last one did not know."""
    awards = sorted((a for a in state.awards.values() if a.pool == pool and a.end_ns > now_ns), key=lambda a: a.id)
    if not awards or not price or not len(rows):
        return []
    known = state.schedules.get(pool)
    if known is not None and {award.id for award in awards} <= set(known.awards):
        return []
    name = derive("schedule", pool, *(award.id for award in awards))
    power_w, first_ns = plan(state, rows, awards, price, now_ns)
    takes = power_w.min(axis=1, initial=0.0) < -LEAST_W
    fact = ScheduleMade(
        name, pool, first_ns, STEP_NS, power_w.shape[1], tuple(award.id for award in awards),
        Packed.of(rows[takes]), Packed.of(power_w[takes].astype(np.float32).ravel()),
    )  # fmt: skip
    return [Entry(name, fact, pool, tuple(derive("award", award.id) for award in awards))]


def planned(state: DeskState, start_ns: int, end_ns: int) -> Rows:
    """Return the rows that a schedule lets take power at some time of an interval: then they are the market's."""
    found = [np.zeros(0, np.int32)]
    for made in state.schedules.values():
        first = max((start_ns - made.start_ns) // made.step_ns, 0)
        after = min(-(-(end_ns - made.start_ns) // made.step_ns), made.steps)
        if first < after:
            rows = made.rows.array()
            power_w = made.power_w.array().reshape(len(rows), made.steps)[:, first:after]
            found.append(rows[power_w.min(axis=1, initial=0.0) < -LEAST_W])
    return np.unique(np.concatenate(found)).astype(np.int32)


def decide_charging(state: DeskState, pool: str, now_ns: int) -> list[Entry]:
    """Return the claims of the step that runs now, once: what each store takes until the step's end."""
    known = state.schedules.get(pool)
    if known is None or now_ns < state.scheduled_until_ns.get(pool, 0):
        return []
    at = (now_ns - known.start_ns) // known.step_ns
    if not 0 <= at < known.steps:
        return []
    rows = known.rows.array()
    power_w = known.power_w.array().reshape(len(rows), known.steps)[:, at].astype(np.float64)
    takes = (power_w < -LEAST_W) & ~barred(state)[rows] & state.agrees(ENERGY, rows)
    if not takes.any():
        return []
    rows, value = rows[takes], power_w[takes]
    count, end_ns = len(rows), known.start_ns + (at + 1) * known.step_ns
    batch = derive("claims", SOURCE, pool, known.schedule, at)
    fact = ClaimsPlaced(
        batch, SOURCE, "desk", pool, int(Level.MARKET), 1, Quantity.P.value, ClaimKind.SET.value, known.schedule,
        int(known.start_ns // known.step_ns + at), now_ns, now_ns, end_ns, Packed.of(rows),
        Packed.of(np.full(count, -np.inf)), Packed.of(np.full(count, np.inf)), Packed.of(value),
    )  # fmt: skip
    return [Entry(batch, fact, pool, (known.schedule,))]
