"""Settles the award days of a served folder: each once it is over and its meters and prices are in, and again when they
change.

Theory of operation. A day is looked at when it ends, when prices or readings of it (or of a day that its baseline may
take) come in, and when its wait for readings is over. It is settled at once when every device of its pool is metered in
all called intervals; after the wait without those that are not: they are paid nothing, and take no part in the baseline
either. What a day lacks is said by name. A result that differs from the last becomes the next version
(`desk.settle.amend`); one that doesn't is recorded by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import StatementMade, from_record
from tieline.desk.obligation import ENERGY
from tieline.desk.paid import NO_METERS, ByMeters, Metered
from tieline.desk.ports import Award
from tieline.desk.prices import REAL_TIME, lacking
from tieline.desk.settle import Owners, settle_day
from tieline.desk.sharing import unseen
from tieline.errors import ConfigError
from tieline.market.rule import rule_in_force
from tieline.node.device_gave import device_gave
from tieline.node.kept_readings import KeptReadings, named, unfit_says
from tieline.node.metering import GENERATOR, LOAD, PROHIBITED, Meters
from tieline.node.runtime import Node
from tieline.node.statements import (
    STEP_NS,
    as_settled_before,
    event_of,
    measured_day,
    moved_by_events,
    moved_of_rows,
    record_refusal,
    record_statement,
    tracked_in,
)
from tieline.node.trade_settings import PoolSettings
from tieline.resource.batch import Readings
from tieline.resource.claim import Refusal
from tieline.resource.identity import Purpose
from tieline.times import DAY_NS, HOUR_NS, from_ns, market_day

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Key = tuple[str, date]
LEAST_PRESENT_FRAC = 0.9
"""An interval of a past day counts where so much of the rating is metered; the sum is then scaled up to the whole."""
LOOKS_AGAIN_S, PAUSE_S = 30.0, 2.0
REACHES_NS, RECHECKED_NS = 60 * DAY_NS, 14 * DAY_NS
"""So far back may the days of a baseline lie; so long ago may a settled day lie that is reckoned again at a start."""
RUNNING, WAITING, SETTLED = "running", "waiting", "settled"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a pool is settled, and whose market day is meant."""

    settings: PoolSettings
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a day is: `missing` says by name what it lacks, `waits_until_ns` when it does without late readings."""

    state: str
    missing: tuple[str, ...] = ()
    waits_until_ns: int = 0


def _prices(awards: Sequence[Award]) -> tuple[float, ...]:
    return tuple(award.price_per_mwh for award in awards)


class SettlementDays:
    """Watches the award days of all pools; run it with `Supervisor.keep("settlement", days.run)`."""

    def __init__(self, node: Node, kept: KeptReadings | None, terms: Mapping[str, Terms]) -> None:
        self.node, self.terms = node, terms
        self._kept = kept
        self._wake = asyncio.Event()
        self._dirty: set[Key] = set()
        self._over_until_ns = 0
        self._settled_at: dict[Key, tuple[float, ...]] = {}
        self.standing: dict[Key, Standing] = {}

    # --- what makes a day worth a look ------------------------------------------------------------------------------

    def days(self) -> dict[Key, list[Award]]:
        """Return the awards of energy of each day, the oldest first; others are not settled here."""
        found: dict[Key, list[Award]] = {}
        for award in sorted(self.node.state.awards.values(), key=lambda a: (a.start_ns, a.id)):
            if award.pool in self.terms and award.product == ENERGY:
                found.setdefault((award.pool, self.day_of(award.pool, award.start_ns)), []).append(award)
        return found

    def day_of(self, pool: str, instant_ns: int) -> date:
        """Return the market day of a pool that an instant lies in."""
        return from_ns(instant_ns).astimezone(self.terms[pool].zone).date()

    def heard(self, readings: Readings) -> None:
        """Note that readings came in: every settled day after the oldest of them may now come out otherwise."""
        if len(readings.taken_at_ns):
            self.changed_since(int(readings.taken_at_ns.min()))

    def changed_since(self, instant_ns: int) -> None:
        """Note that something is known anew of an instant; live readings lie in no day that is over."""
        if instant_ns >= self._over_until_ns:  # live readings come by the thousand and change nothing that is over
            return
        for (pool, day), standing in self.standing.items():
            over = market_day(day, self.terms[pool].zone)
            if standing.state != RUNNING and over.start_ns - REACHES_NS <= instant_ns < over.end_ns:
                self._dirty.add((pool, day))
                self._wake.set()

    async def run(self) -> None:
        """Look at days whenever one is due; what comes in meanwhile is looked at together."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_S)
            try:
                async with asyncio.timeout(LOOKS_AGAIN_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Look once at every day that is due. Raises OSError or LinkDown: the disk or the journal took nothing."""
        self._wake.clear()
        dirty, self._dirty = self._dirty, set()
        now_ns = self.node.clock.now_ns()
        if not self.standing:
            self._remember(now_ns)
        days = self.days()
        due = {key: mine for key, mine in days.items() if key in dirty or self._is_due(key, _prices(mine), now_ns)}
        undone = dirty & due.keys()
        try:
            if any(market_day(day, self.terms[pool].zone).end_ns <= now_ns for pool, day in due) and self._kept:
                await self._kept.gather()
            for (pool, day), awards in due.items():
                self.standing[pool, day] = found = await self._look_at(pool, day, awards, now_ns)
                self._settled_at[pool, day] = _prices(awards)
                undone.discard((pool, day))
                if found.state != RUNNING:
                    self._over_until_ns = max(self._over_until_ns, market_day(day, self.terms[pool].zone).end_ns)
        finally:
            self._dirty |= undone  # where a disk is full or a database away, what came in is looked at again

    def _remember(self, now_ns: int) -> None:
        """Take days that were settled long ago as settled: reckoning a year anew at each start would take minutes."""
        days = self.days()
        if not days:  # where nothing is sold, no look of a minute waits for a database
            return
        records = map(from_record, self.node.journal.of_kind("StatementMade"))
        made = {(fact.pool, fact.start_ns, fact.end_ns) for fact in records if isinstance(fact, StatementMade)}
        for (pool, day), awards in days.items():
            span = (pool, min(a.start_ns for a in awards), max(a.end_ns for a in awards))
            over = market_day(day, self.terms[pool].zone)
            if span in made and over.end_ns < now_ns - RECHECKED_NS:
                self.standing[pool, day] = Standing(SETTLED)
                self._over_until_ns = max(self._over_until_ns, over.end_ns)

    def _is_due(self, key: Key, prices: tuple[float, ...], now_ns: int) -> bool:
        known = self.standing.get(key)
        if known is None or self._settled_at.get(key, prices) != prices:  # a price that was disputed is mended
            return True
        if known.state == RUNNING:
            return market_day(key[1], self.terms[key[0]].zone).end_ns <= now_ns
        return 0 < known.waits_until_ns <= now_ns

    # --- one day ------------------------------------------------------------------------------------------------------

    async def _look_at(self, pool: str, day: date, awards: Sequence[Award], now_ns: int) -> Standing:
        """Settle a day, or say what it lacks."""
        terms = self.terms[pool]
        over = market_day(day, terms.zone)
        if now_ns < over.end_ns:
            return Standing(RUNNING)
        starts = sorted({at for award in awards for at in range(award.start_ns, award.end_ns, STEP_NS)})
        missing = [says for says in [lacking(self.node.state, terms.settings.price_zone, starts)] if says]
        waits_ns = over.end_ns + int(terms.settings.readings_wait_h * HOUR_NS)
        if self._kept is None:
            return Standing(WAITING, (*missing, "readings: none are kept here"))
        meters = Meters.of_kinds(self.node.state.fleet.kinds, self._enrolled(pool))
        rows = self._rows(pool, meters)
        seen = await self._kept.seen(rows, over.start_ns, over.end_ns)
        called = [(at - over.start_ns) // STEP_NS for at in starts]
        whole = np.isfinite(seen.power_w[:, called]).all(axis=1)
        lacks = [self.node.state.fleet.id_of(int(row)) for row in rows[~whole]]
        if lacks and (now_ns < waits_ns or not whole.any()):
            unfit = unfit_says(lacks, seen.left_out[~whole])
            missing.append(f"readings of {named(lacks)} in called hours" + (f" ({unfit})" if unfit else ""))
        if missing:
            return await self._waits(pool, awards, missing, waits_ns if now_ns < waits_ns else 0)
        try:
            tracked, unmetered = tracked_in(self.node.journal, pool, over.start_ns), frozenset(rows[~whole].tolist())
            metered = await self._metered(pool, day, awards, meters, rows[whole], lacks)
            blind = unseen(starts, tracked, unmetered)
            by_meters = await self._by_meters(pool, day, awards, meters, rows[whole], metered, blind)
            metered = replace(metered, unmetered=unmetered, by_meters=by_meters)
            made = settle_day(pool, awards, tracked, metered, self._owners(pool))
        except (ValueError, ConfigError) as error:
            return await self._waits(pool, awards, [str(error)], 0)
        await record_statement(self.node, pool, made, awards)
        return Standing(SETTLED)

    async def _waits(self, pool: str, awards: Sequence[Award], missing: Sequence[str], until_ns: int) -> Standing:
        start_ns, end_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
        refusal = Refusal("the day can't be settled yet", "missing", "; ".join(missing))
        await record_refusal(self.node, pool, start_ns, end_ns, refusal)
        return Standing(WAITING, tuple(missing), until_ns)

    def _enrolled(self, pool: str) -> NDArray[np.bool_]:
        desk = self.node.cycle.pools[pool]
        mask = np.zeros(len(self.node.state.fleet), np.bool_)
        mask[desk.rows] = desk.eligible
        return mask

    def _rows(self, pool: str, meters: Meters) -> Rows:
        """Return the rows of a pool that any of its meters sums, ascending."""
        rows = np.sort(self.node.cycle.pools[pool].rows)
        metered = meters.loads | meters.generators | meters.prohibited
        return rows[metered[rows]].astype(np.int32)

    async def _metered(
        self, pool: str, day: date, awards: Sequence[Award], meters: Meters, rows: Rows, lost: Sequence[str]
    ) -> Metered:
        """Return the day's meters against their baselines; `lost` names devices without readings of called hours."""
        assert self._kept is not None
        terms = self.terms[pool]
        rules = {LOAD: terms.settings.load_rule, GENERATOR: terms.settings.generator_rule}
        masks = {LOAD: meters.loads, GENERATOR: meters.generators}
        rules = {meter: rule for meter, rule in rules.items() if masks[meter][rows].any()}
        if not rules:
            raise ValueError("no enrolled device has readings of the called hours")
        hours = min(award.start_ns for award in awards), max(award.end_ns for award in awards)
        rules = as_settled_before(self.node.journal, pool, *hours, rules)
        window = max(rule_in_force(rule, day).rule.window_days for rule in rules.values())
        starts: list[NDArray[np.int64]] = []
        sums: list[Floats] = []
        left_out = np.zeros((len(rows), 2), np.int64)
        for back in range(window, -1, -1):
            over = market_day(day - timedelta(days=back), terms.zone)
            of_day = await self._kept.seen(rows, over.start_ns, over.end_ns)
            left_out += of_day.left_out
            if np.isfinite(of_day.power_w).any():
                starts.append(np.arange(over.start_ns, over.end_ns, STEP_NS, dtype=np.int64))
                sums.append(self._sums(rows, meters, of_day.power_w))
        called = frozenset(day for name, day in self.days() if name == pool)
        prices = self.node.state.prices.get((terms.settings.price_zone, REAL_TIME), {})
        paid = {at: prices[at] for award in awards for at in range(award.start_ns, award.end_ns, STEP_NS)}
        over = market_day(day, terms.zone)
        by_events = moved_by_events(self.node.journal, rows, over.start_ns, over.end_ns)
        metered_w = np.concatenate(sums)
        seen = measured_day(day, terms.zone, awards, np.concatenate(starts), metered_w, rules, called, paid, by_events)
        flags = [f"without readings of the called hours, paid nothing: {named(lost)}"] if lost else []
        if unfit := unfit_says([self.node.state.fleet.id_of(int(row)) for row in rows], left_out):
            flags.append(unfit)
        first = replace(seen.baselines[0], flags=(*seen.baselines[0].flags, *flags))
        return replace(seen, baselines=(first, *seen.baselines[1:]))

    async def _by_meters(
        self, pool: str, day: date, awards: Sequence[Award], meters: Meters, rows: Rows, metered: Metered,
        blind: Sequence[int],
    ) -> ByMeters:  # fmt: skip
        """Return what each device gave by its own meter in intervals that were not counted (`blind`, their starts)."""
        if not blind or self._kept is None:
            return NO_METERS
        masks = [mask for mask in (meters.loads, meters.generators) if mask[rows].any()]
        groups = [(rows[mask[rows]], base) for mask, base in zip(masks, metered.baselines, strict=True)]
        zone, moved_w = self.terms[pool].zone, moved_of_rows(self.node.journal, blind[0], blind[-1] + STEP_NS)
        return await device_gave(self._kept, groups, day, zone, event_of(day, zone, awards), blind, moved_w)

    def _sums(self, rows: Rows, meters: Meters, seen_w: Floats) -> Floats:
        """Return what the three meters sum in each interval (W; NaN: too little is metered); shape (intervals, 3)."""
        fleet = self.node.state.fleet
        rated_w = np.maximum(np.maximum(fleet.max_inject_w, fleet.max_absorb_w)[rows], 1.0)
        found = np.zeros((seen_w.shape[1], 3))
        sides = ((LOAD, meters.loads, -seen_w), (GENERATOR, meters.generators, -seen_w))
        for meter, mask, values in (*sides, (PROHIBITED, meters.prohibited, np.maximum(seen_w, 0.0))):
            mine = mask[rows]
            if not mine.any():
                continue
            present = np.isfinite(values[mine])
            frac = (present * rated_w[mine][:, None]).sum(axis=0) / rated_w[mine].sum()
            enough = frac >= LEAST_PRESENT_FRAC
            total = np.where(present, values[mine], 0.0).sum(axis=0)
            found[:, meter] = np.where(enough, total / np.where(enough, frac, 1.0), np.nan)
        return found

    def _owners(self, pool: str) -> Owners:
        """Return whose each device is: its owner's, where nobody is named its site's, else its own."""
        fleet = self.node.state.fleet
        owner = np.full(len(fleet), -1, np.int32)
        for purpose in (Purpose.OWNER, Purpose.SITE):
            above = fleet.parents.get(purpose)
            if above is not None:
                owner = np.where(owner < 0, above, owner)
        count = len(fleet.groups)
        own = np.flatnonzero(owner < 0)
        owner[own] = count + np.arange(len(own), dtype=np.int32)
        names = [*(group.id for group in fleet.groups), *(fleet.id_of(int(row)) for row in own)]
        return Owners(owner.astype(np.int32), names, self.terms[pool].settings.operator_share)
