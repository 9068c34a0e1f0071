"""The schedule of a pool of any devices, under its own band and those of its feeders, with its proven gap.

Stores are planned by the interior point (`plan.interior`), with a price for each band. What is on or off (gensets,
contracts with calls left, heaters) is planned by itself at those prices: `plan.blocks` and `plan.switched`, exact to
the last rule. Three stages:

1. *Prices.* All devices as if they were stores (`plan.mixed_rows`) bring the prices to begin with; a few steps up the
   dual, with every device as it is, bring the ones that count (`plan.mixed_price`). What all devices and bands cost at
   those by themselves is a bound from below.
2. *Schedules.* One device after the other is planned at the prices and for what those before it left: it pays for each
   W by which its bands are off what they were counted on for, so that devices alike do not move as one.
3. *Repair.* Stores take up what is left, planned exactly with all else as their base; and devices are planned anew at
   the prices of that, for as long as it gets cheaper.

So the schedule keeps every device's own rules to the last step, and bands as far as they can be kept: what lies beyond
is priced and said. Units: W positive into the grid, Wh, any currency.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.plan.executor import Executor, Here
from tieline.plan.interior import Spread
from tieline.plan.mixed_bands import bands_of
from tieline.plan.mixed_devices import COARSE, Devices, Schedule, devices_of
from tieline.plan.mixed_exchange import exchanged
from tieline.plan.mixed_plan import MixedPlan, device_words
from tieline.plan.mixed_price import climbed, lifted
from tieline.plan.mixed_rows import relaxed
from tieline.plan.mixed_terms import Contracts, Feeders, Gensets, Heaters, Mix, checked_mix, count_of, fair_adders
from tieline.plan.pool_scaled import DEAREST, floor, scaled_band, units_of
from tieline.plan.pool_terms import Course, Terms, checked_terms
from tieline.plan.pool_words import GaveWay, pool_words, store_words
from tieline.plan.storage import Stores

__all__ = [
    "Contracts", "Course", "Feeders", "Gensets", "Heaters", "Mix", "MixedPlan", "Stores", "Terms", "fair_adders",
    "plan_mixed",
]  # fmt: skip

Floats = NDArray[np.float64]
PASSES, REPAIRS = 40, 6
STIFF = (0.3, 0.03, 3.0)
"""How dear it is to be off what a band counts on, in turn: a part of the dearest price, where all its devices are."""
GAINS = 1e-6
"""What cheaper must be by at least, as a part of the cost."""
LIFTS = 300
"""How often a small pool's devices are asked once more for prices that prove more."""


def plan_mixed(
    mix: Mix, terms: Terms, hours: float, feeders: Feeders | None = None, tolerance: float = 1e-8,
    executor: Executor | None = None, passes: int = PASSES, repairs: int = REPAIRS,
) -> MixedPlan:  # fmt: skip
    """Return a schedule of all devices, with its gap, prices and what gave way.

    There is always one: what a band can't hold is slack at its price, and a bound that no schedule of a device keeps
    gives way to the nearest that one does. Same input, same bits.

    Args:
        mix: Who.
        terms: The pool's prices and band.
        hours: Length of a step.
        feeders: The bands below the pool's (None: there are none).
        tolerance: Relative gap to which stores are planned; 1e-10 to 1e-2.
        executor: Whose `spread` shards go over (None: in the caller's thread).
        passes: How often at most all devices are asked for prices.
        repairs: How often at most devices are planned anew once stores are.

    Raises:
        ConfigError: A value that is no number or makes no sense; the message names the field, the value and the limit.

    >>> one, step = np.ones(1), np.ones(1, np.int64)
    >>> genset = Gensets(0.4 * one, one, 0.3 * one, one, 0 * one, 2 * one, np.inf * one, 2 * step, step, -step, 0 * one)
    >>> plan = plan_mixed(Mix(gensets=genset), Terms(np.array([1.0, 4.0, 1.5, 1.0])), 1.0)
    >>> plan.gensets_w, round(plan.cost, 9), round(plan.gap, 9)
    (array([[0. , 1. , 0.4, 0. ]]), -1.5, 0.0)
    """
    steps, band = checked_terms(terms, hours, tolerance)
    checked_mix(mix, steps, 0 if feeders is None else len(feeders.low_w))
    spread = (executor or Here()).spread
    dear = float(max(np.abs(band[0]).max(), np.abs(band[1]).max()))
    rows = relaxed(mix, steps, hours, DEAREST * dear)
    units = units_of(relaxed(mix, steps, hours, dear)[0], band[0], band[1], hours)
    bands = bands_of(feeders, scaled_band(terms, band, units), units)
    devices = devices_of(mix, rows, bands, steps, units, spread)
    start = devices.relaxed_plan(spread)
    own = devices.own()
    enough = 0.1 * tolerance * devices.rated
    price, _, asked = climbed(start.price, start.curve, own, devices.answers, passes, enough)
    best, rounds = _scheduled(devices, price, start.means, tolerance, spread, repairs)
    if devices.is_small:
        price, more = lifted(price, own, devices.answers, best.cost, LIFTS, enough)
        asked += more
    if devices.proven(best.price, own, COARSE) > devices.proven(price, own, COARSE):
        price = best.price
    bound = devices.proven(price, own, devices.fine)
    return _told(mix, devices, best, price, bound, start.rounds + rounds, asked, tolerance)


def _scheduled(
    devices: Devices, price: Floats, means: Floats, tolerance: float, spread: Spread, repairs: int
) -> tuple[Schedule, int]:
    """Return the cheapest schedule that was found, and the interior point's rounds."""
    best = devices.stored(devices.chosen(price, STIFF[0], means), tolerance, spread)
    rounds = best.rounds
    if not devices.is_mixed:
        return best, rounds
    for stiff in STIFF[1:]:
        again = devices.stored(devices.chosen(price, stiff, means), tolerance, spread)
        rounds += again.rounds
        best = again if again.cost < best.cost else best
    stiff, idle = STIFF[0], 0
    for turn in range(repairs):
        # In turn at the marginal prices of what is planned, and half way to those of the dual, which see beyond it.
        seen = best.price if turn % 2 == 0 else 0.5 * (best.price + price)
        again = devices.stored(devices.chosen(seen, stiff, best.power), tolerance, spread)
        rounds, idle = rounds + again.rounds, idle + 1
        if again.cost < best.cost - GAINS * abs(best.cost):
            best, idle = again, 0
        else:
            stiff *= 3.0
        # A large pool is not planned anew once that brought nothing: each time all stores are planned.
        if idle == (2 if devices.is_small else 1):
            break
    best, more = exchanged(devices, best, price, tolerance, spread)
    return best, rounds + more


def _told(
    mix: Mix,
    devices: Devices,
    schedule: Schedule,
    price: Floats,
    bound: float,
    rounds: int,
    asked: int,
    tolerance: float,
) -> MixedPlan:
    """Return the plan of a schedule in the caller's units and order."""
    units, bands, tree = devices.units, devices.bands, devices.bands.tree
    watts, money = units.watts, units.money
    gap = max(schedule.cost - bound, 0.0)
    through = schedule.through
    across = tree.across(price) * units.price
    order = bands.band_of[:-1]
    ends = np.cumsum([count_of(mix, kind) for kind in ("gensets", "contracts")])
    return MixedPlan(
        schedule.stores * watts, schedule.power[: ends[0]] * watts, schedule.power[ends[0] : ends[1]] * watts,
        schedule.power[ends[1] :] * watts, schedule.stored * units.energy_wh,
        devices.heated(schedule) * units.energy_wh, (bands.each[0].base + through[0]) * watts, through[order] * watts,
        schedule.cost * money, schedule.slack * money, schedule.adder * money, bound * money, gap * money,
        gap / max(abs(schedule.cost), floor(devices.rated)), price[0] * units.price, across[order],
        _words(devices, schedule, tolerance), rounds, asked,
    )  # fmt: skip


def _words(devices: Devices, schedule: Schedule, tolerance: float) -> tuple[GaveWay, ...]:
    units, bands = devices.units, devices.bands
    watts, wh = units.watts, units.energy_wh
    found: tuple[GaveWay, ...] = ()
    for feeder in range(-1, len(bands.each) - 1):
        at = 0 if feeder < 0 else int(bands.band_of[feeder])
        band, net = bands.each[at], schedule.through[at] + bands.each[at].base
        # What the interior point leaves is small beside all ratings, not beside a small feeder's own.
        met = max(1e-6 * max(1.0, float(np.abs(net).max(initial=0.0))), tolerance * devices.rated)
        found += pool_words(
            net * watts, band.low * watts, band.high * watts, met * watts, units.hours, band.slack * units.price,
            None if feeder < 0 else feeder,
        )  # fmt: skip
    gave = devices.gave
    found += store_words(gave.off * wh, gave.where, 1e-9 * np.maximum(gave.most, 1.0) * wh)
    found += device_words(
        "fuel", devices.blocks.over[: devices.gensets], 0.0,
        "genset {n}: its least time running burns {off} more than its tank holds",
    )  # fmt: skip
    found += device_words(
        "steps_left", devices.blocks.over[devices.gensets :], 0.0,
        "contract {n}: it is called for {off} steps more than are left, as a call lasts that long at least",
    )  # fmt: skip
    return found + device_words(
        "heaters", np.array([heater.gave for heater in devices.heaters]) * wh, 0.0,
        "heater {n}: no schedule with its least times keeps what it is to hold: both bounds are {off} Wh wider",
    )  # fmt: skip
