"""The devices of a mixed pool: what they do at prices, and one after the other, and what stores make of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.plan import interior, newton, reach
from tieline.plan.blocks import Blocks, aimed, answers, blocks_of, noted
from tieline.plan.interior import Spread
from tieline.plan.mixed_bands import Bands, Own, by_band, own_of, program_under
from tieline.plan.mixed_heaters import Heater, heaters_of
from tieline.plan.mixed_price import Answers
from tieline.plan.mixed_rows import feeders_of
from tieline.plan.mixed_terms import Mix, count_of
from tieline.plan.pool_one_way import burning, by_net, one_way, spread_out
from tieline.plan.pool_pass import respond
from tieline.plan.pool_plan import Gave
from tieline.plan.pool_scaled import Scaled, Units, ratings, scaled_stores
from tieline.plan.pool_terms import Course
from tieline.plan.storage import Stores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ROUGH = 1e-3
"""Gap to which all devices as stores are planned: for prices to begin with, and for how powers change with them."""
SHARD = 64
MOST_SMALL = 100
COARSE, FINEST, FINE_WORK = 400, 20_000, 4_000_000
"""Bins of a heater's levels: to tell prices apart, at most to prove a bound, and of all heaters together for that."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What the pool of stores alone brings: prices (B, T), how powers rise with them (B, T, T), and what each device
    that is on or off would do (n, T).
    """

    price: Floats
    curve: Floats
    means: Floats
    rounds: int


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What is on or off: power (n, T), and whether it is on; blocks, then heaters."""

    power: Floats
    runs: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """All devices' powers, what stores hold, what flows through each band, and what it costs; scaled."""

    stores: Floats
    stored: Floats
    power: Floats
    runs: Bools
    through: Floats
    cost: float
    slack: float
    adder: float
    price: Floats
    rounds: int


@dataclass(frozen=True, slots=True, eq=False)
class Devices:
    """Stores in the order of their bands (`store_order`, `ends`), blocks, heaters, and all of them as stores."""

    stores: Scaled
    store_order: Ints
    ends: Ints
    blocks: Blocks
    heaters: list[Heater]
    gensets: int
    band: Ints
    all_rows: Scaled
    all_band: Ints
    bands: Bands
    units: Units
    rated: float
    gave: Gave
    spread: Spread

    @property
    def is_mixed(self) -> bool:
        """Return whether anything is on or off."""
        return len(self.band) > 0

    @property
    def is_small(self) -> bool:
        """Return whether so few are on or off that each matters, and may be planned by itself."""
        return 0 < len(self.band) <= MOST_SMALL

    def own(self) -> Own:
        """Return the bands' part of the dual, with nothing fixed."""
        count, zero = len(self.bands.each), np.zeros((len(self.bands.each), self.all_rows.low.shape[1]))
        down, up = (by_band(rows, self.all_band, count) for rows in (self.all_rows.charge, self.all_rows.discharge))
        return own_of(self.bands, zero, down, up)

    def relaxed_plan(self, spread: Spread) -> Start:
        """Return what the interior point makes of all devices as stores."""
        order, ends = _sorted(self.all_band, len(self.bands.each))
        program = program_under(_picked(self.all_rows, order), ends, self.own())
        point = interior.solve(program, ROUGH, spread)
        bands, steps = point.price.shape
        schur, right = np.zeros((bands, steps, steps)), np.zeros((bands, steps))
        for band, part in interior.parts_of(ends):
            newton.eliminate(
                point.state[part], program.width[part], program.low[part], program.drift[part], program.row[part],
                point.price[band], schur[band], right[band],
            )  # fmt: skip
        power = np.zeros(self.all_rows.low.shape)
        power[order] = point.state[:, 1] - point.state[:, 0]
        return Start(
            point.price, schur + np.triu(schur, 1).transpose(0, 2, 1), power[len(self.store_order) :], point.rounds
        )

    def answers(self, price: Floats) -> Answers:
        """Return what all devices do at prices by themselves; a heater's cost is that of the schedule it finds."""
        value, power = self._stores_at(price)
        chosen = Chosen(
            np.zeros((len(self.band), price.shape[1])), np.zeros((len(self.band), price.shape[1]), np.bool_)
        )
        value += self._blocks_at(price, chosen) + sum(self.spread(self._heater_at(price, chosen), self._shards()))
        return Answers(value, power + by_band(chosen.power, self.band, len(power)))

    @property
    def fine(self) -> int:
        """Return how finely heaters' levels are told apart in what is proven: as finely as some seconds allow."""
        return min(max(FINE_WORK // max(len(self.heaters), 1), COARSE), FINEST)

    def proven(self, price: Floats, own: Own, bins: int) -> float:
        """Return the dual at prices: what no schedule costs less than; the more bins of levels, the higher."""
        count = len(self.blocks.idle)
        chosen = Chosen(np.zeros((count, price.shape[1])), np.zeros((count, price.shape[1]), np.bool_))
        value = self._stores_at(price)[0] + self._blocks_at(price, chosen) + own.dual(price)

        def least(rows: Sequence[int]) -> float:
            return sum(self.heaters[row].bound(price[self.band[count + row]], bins) for row in rows)

        return value + sum(self.spread(least, self._shards()))

    def _shards(self) -> list[range]:
        return [range(len(self.heaters))[first : first + SHARD] for first in range(0, len(self.heaters), SHARD)]

    def _stores_at(self, price: Floats) -> tuple[float, Floats]:
        s, steps = self.stores, price.shape[1]
        parts = interior.parts_of(self.ends)

        def one(at: tuple[int, slice]) -> tuple[float, Floats]:
            band, p = at
            takes, gives = np.zeros(steps), np.zeros(steps)
            none, empty = np.zeros(0), np.empty((0, 0))
            value = respond(
                s.gain[p], s.loss[p], s.keep[p], s.charge[p], s.discharge[p], s.drift[p], s.low[p], s.high[p],
                s.wear[p], np.ones(p.stop - p.start), price[band], 0.0, 0, 0, np.full(steps, np.nan), takes, gives,
                empty, empty, 0.0, np.zeros(0, np.int64), none, empty,
            )  # fmt: skip
            return float(value), gives - takes

        value, power = 0.0, np.zeros(price.shape)
        for (band, _), (more, does) in zip(parts, self.spread(one, parts), strict=True):
            value += more
            power[band] += does
        return value, power

    def _blocks_at(self, price: Floats, chosen: Chosen) -> float:
        zero = np.zeros(len(price))

        def one(rows: Ints) -> float:
            return self._blocks(rows, price, zero, np.zeros(chosen.power.shape), np.zeros((1, 1)), chosen)

        rows = np.arange(len(self.blocks.idle))
        return float(sum(self.spread(one, [rows[at : at + SHARD] for at in range(0, len(rows), SHARD)])))

    def _blocks(self, rows: Ints, price: Floats, near: Floats, mean: Floats, dev: Floats, chosen: Chosen) -> float:
        b = self.blocks
        return float(answers(
            b.least, b.most, b.idle, b.slope, b.turn, b.burn_idle, b.burn_slope, b.tank, b.earliest, b.first_mode,
            b.modes, b.mode, b.on, b.off, b.starts, rows, self.band, self.bands.tree.parent, price, near, mean, dev,
            chosen.runs, chosen.power,
        ))  # fmt: skip

    def _heater_at(self, price: Floats, chosen: Chosen) -> Any:
        count, aim = len(self.blocks.idle), np.zeros(price.shape[1])

        def one(rows: Sequence[int]) -> float:
            return sum(self._heated_one(row, price[self.band[count + row]], 0.0, aim, chosen) for row in rows)

        return one

    def _heated_one(self, row: int, price: Floats, near: float, aim: Floats, chosen: Chosen) -> float:
        heater, at, on = self.heaters[row], len(self.blocks.idle) + row, np.zeros(len(price))
        cost = heater.answer(price, near, aim, on)
        chosen.runs[at] = on > 0.5
        chosen.power[at] = -heater.power * on
        return cost

    def chosen(
        self, price: Floats, stiff: float, means: Floats, best: Schedule | None = None, only: int | None = None
    ) -> Chosen:
        """Return what each device that is on or off does, one after the other, the largest first.

        Args:
            price: Of each band.
            stiff: How much dearer power becomes where a band is off by what all its devices are rated at: as a part of
                the dearest price of energy, or of the mean of `price` where that is more.
            means: What each is counted on for; shape (n, T).
            best: What all do that are not asked.
            only: The only device that is asked (None: all).
        """
        count, (bands, steps) = len(self.blocks.idle), price.shape
        near = stiff * max(1.0, float(np.abs(price).mean())) / np.maximum(self._rated_below(bands), 1e-9)
        dev, chosen = np.zeros((bands, steps)), Chosen(np.zeros(means.shape), np.zeros(means.shape, np.bool_))
        if best is not None and only is not None:
            chosen = Chosen(best.power.copy(), best.runs.copy())
        rows = np.argsort(-self.blocks.most.max(axis=1, initial=0.0), kind="stable")
        heaters = sorted(range(len(self.heaters)), key=lambda row: -self.heaters[row].power)
        if only is not None:
            rows, heaters = rows[rows == only], [only - count] if only >= count else []
        self._blocks(rows, price, near, means, dev, chosen)
        aim = np.zeros(steps)
        for row in heaters:
            at = count + row
            stiffness = aimed(self.band[at], self.bands.tree.parent, near, means[at], dev, aim)
            self._heated_one(row, price[self.band[at]], stiffness, aim, chosen)
            noted(self.band[at], self.bands.tree.parent, means[at], chosen.power[at], dev)
        return chosen

    def _rated_below(self, bands: int) -> Floats:
        """Return what all devices of each band, and of those that hang on it, are rated at; shape (B,)."""
        rated = np.maximum(self.all_rows.charge, self.all_rows.discharge).max(axis=1, initial=0.0)
        below: Floats = self.bands.through(by_band(rated[:, None], self.all_band, bands))[:, 0]
        return below

    def stored(self, chosen: Chosen, tolerance: float, spread: Spread) -> Schedule:
        """Return the schedule when stores are planned with all else as their base."""
        s, bands = self.stores, len(self.bands.each)
        band = np.repeat(np.arange(bands), np.diff(np.concatenate([[0], self.ends])))
        does = by_band(chosen.power, self.band, bands)
        fixed = self.bands.through(does)
        own = own_of(self.bands, fixed, by_band(s.charge, band, bands), by_band(s.discharge, band, bands))
        program = program_under(s, self.ends, own)
        point = interior.solve(program, tolerance, spread)
        rounds, best = point.rounds, self._followed(chosen, does, band, point)
        burns = burning(program, point)
        if burns.any():
            # A linear program burns energy where power is worth less than nothing: there each store is given one way.
            where = burns | (point.price[band] < 0.0)
            for taking in (by_net, spread_out):
                single = replace(program, width=one_way(program, where, taking(program, point)))
                again = interior.solve(single, tolerance, spread)
                rounds, tried = rounds + again.rounds, self._followed(chosen, does, band, again)
                best = tried if tried.cost < best.cost else best
        return replace(best, price=point.price, rounds=rounds)

    def _followed(self, chosen: Chosen, does: Floats, band: Ints, point: interior.Point) -> Schedule:
        """Return the schedule in which stores follow what the interior point found."""
        s, bands = self.stores, len(self.bands.each)
        power, held = np.zeros(s.low.shape), np.zeros(s.low.shape)
        reach.follow(
            s.gain, s.loss, s.keep, s.charge, s.discharge, s.drift, s.low, s.high, point.state[:, 2] + s.low, power,
            held,
        )  # fmt: skip
        through = self.bands.through(does + by_band(power, band, bands))
        energy, slack = self.bands.cost(through)
        worn = float(s.wear @ np.maximum(power, 0.0).sum(axis=1))
        run, adder = self._run_cost(chosen)
        given, stored = np.zeros(power.shape), np.zeros(power.shape)
        given[self.store_order], stored[self.store_order] = power, held
        return Schedule(
            given, stored, chosen.power, chosen.runs, through, energy + slack + worn + run, slack, adder, point.price,
            point.rounds,
        )  # fmt: skip

    def _run_cost(self, chosen: Chosen) -> tuple[float, float]:
        """Return what devices that are on or off cost by themselves, and how much of that adders are."""
        b, count = self.blocks, len(self.blocks.idle)
        runs, power = chosen.runs[:count], chosen.power[:count]
        starts = (runs[:, 1:] & ~runs[:, :-1]).sum(axis=1) + (runs[:, 0] & b.starts[b.first_mode + b.mode])
        sums = power.sum(axis=1)
        cost = b.idle @ runs.sum(axis=1) + b.slope @ sums + b.turn @ starts
        heated = sum(
            heater.device.start_cost * heater.starts(chosen.runs[count + row].astype(float))
            for row, heater in enumerate(self.heaters)
        )
        return float(cost + heated), float(b.adder @ sums)

    def heated(self, schedule: Schedule) -> Floats:
        """Return what heaters hold after each step; shape (n, T)."""
        held = np.zeros((len(self.heaters), schedule.power.shape[1]))
        for row, heater in enumerate(self.heaters):
            level = heater.device.start
            for t, is_on in enumerate(schedule.runs[len(self.blocks.idle) + row]):
                gained = heater.device.gain[t] if is_on else 0.0
                held[row, t] = level = heater.device.keep * level + heater.device.flow[t] + gained
        return held


def devices_of(
    mix: Mix, rows: tuple[Stores, Course], bands: Bands, steps: int, units: Units, spread: Spread
) -> Devices:
    """Return the devices of a mix.

    Args:
        rows: All of them as stores.
    """
    scaled, band = scaled_stores(*rows, steps, units), bands.band_of[feeders_of(mix)]
    stores = count_of(mix, "stores")
    order, ends = _sorted(band[:stores], len(bands.each))
    own = _picked(scaled, np.arange(stores))
    gave = Gave(own.gave, own.where, np.abs(own.high).max(axis=1, initial=0.0))
    return Devices(
        _picked(own, order), order, ends, blocks_of(mix.gensets, mix.contracts, steps, units),
        heaters_of(mix.heaters, steps, units), count_of(mix, "gensets"), np.ascontiguousarray(band[stores:]), scaled,
        band, bands, units, ratings(scaled), gave, spread,
    )  # fmt: skip


def _sorted(band: Ints, bands: int) -> tuple[Ints, Ints]:
    """Return devices in the order of their bands, and where those of each end."""
    return np.argsort(band, kind="stable"), np.cumsum(np.bincount(band, minlength=bands))


def _picked(scaled: Scaled, rows: Ints) -> Scaled:
    return Scaled(**{name: np.ascontiguousarray(getattr(scaled, name)[rows]) for name in Scaled.__slots__})
