"""Columns of batteries: what is refused, what gives way, and prices below 0, held against a mixed-integer program."""

from dataclasses import replace

import highspy
import numpy as np
import pytest

from tieline.bench.kernel import reference_price, reference_stores
from tieline.errors import ConfigError
from tieline.plan.one_direction import _thinned
from tieline.plan.storage import Stores, plan_stores

HOURS = 0.25
NAN = float("nan")


def changed(field: str, value: float, row: int = 3) -> Stores:
    stores = reference_stores(8)
    column = getattr(stores, field).copy()
    column[row] = value
    return replace(stores, **{field: column})


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("start_wh", NAN, "a finite number"), ("least_wh", 99.0, "at most most_wh"), ("end_wh", 99.0, "at most most_wh"),
        ("charge_w", -1.0, "from 0 to inf"), ("discharge_w", NAN, "from 0 to inf"),
        ("charge_frac", 1.3, "above 0 to 1"), ("discharge_frac", 0.0, "above 0 to 1"), ("wear_per_wh", -0.1, "from 0"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_with_its_field_and_battery(
    field: str, value: float, limit: str
) -> None:
    price = reference_price()
    with pytest.raises(ConfigError, match=rf"stores\.{field}\[3\] = {value:g}: give {limit}"):
        plan_stores(changed(field, value), price, price, HOURS)


def test_terms_that_make_no_sense_are_refused_each_by_its_name() -> None:
    price, stores = reference_price(), reference_stores(8)
    broken = np.where(np.arange(96) == 7, NAN, price)
    for named, ask in {
        r"buy_per_wh\[7\] = nan": (broken, price, HOURS), r"sell_per_wh\[7\] = nan": (price, broken, HOURS),
        r"sell_per_wh has shape \(95,\)": (price, price[1:], HOURS), r"hours\[0\] = 0: give above 0": (price, price, 0.0),
        r"buy_per_wh has shape \(0,\)": (price[:0], price[:0], HOURS),
        r"deliver_w\[2, 5\] = -1: give 0 or more": (price, price, HOURS, spiked(-1.0)),
        r"jitter\[2, 5\] = inf": (price, price, HOURS, None, spiked(np.inf)),
        r"jitter has shape \(96,\)": (price, price, HOURS, None, price),
    }.items():  # fmt: skip
        with pytest.raises(ConfigError, match=named):
            plan_stores(stores, *ask)


def spiked(value: float) -> np.ndarray:
    column = np.zeros((8, 96))
    column[2, 5] = value
    return column


def test_an_end_out_of_reach_gives_way_to_the_nearest_and_its_battery_is_told() -> None:
    """Full is 13.7 kWh: 0.1 kW for a day through 0.9 to 0.98 brings at most 2.4 of the 12.4 that are asked for."""
    price, stores = reference_price(), reference_stores(8)
    full = float(stores.most_wh[3])
    asked = replace(changed("charge_w", 0.1), end_wh=changed("end_wh", full).end_wh)
    asked.start_wh[3] = 0.1 * full
    plans = plan_stores(asked, price, price, HOURS)
    assert np.flatnonzero(plans.gave_wh).tolist() == [3]
    assert (plans.power_w[3] == pytest.approx(np.full(96, -0.1))) and np.isfinite(plans.cost).all()
    assert plans.gave_wh[3] == pytest.approx(0.9 * full - 2.4 * float(asked.charge_frac[3]))
    (said,) = plans.gave_way()
    assert (said.store, said.first) == (3, 95) and "below the least" in said.says
    # One that holds more than it may gives what it can, and that is told as well.
    over = plan_stores(changed("start_wh", 1.5 * full), price, price, HOURS)
    assert over.gave_way()[0].what == "most_wh" and over.power_w[3, 0] == pytest.approx(float(stores.discharge_w[3]))
    alone = plan_stores(reference_stores(8), price, price, HOURS)
    assert np.delete(over.power_w, 3, 0).tobytes() == np.delete(alone.power_w, 3, 0).tobytes()


def by_highs(stores: Stores, at: int, buy: np.ndarray, sell: np.ndarray, hours: float) -> float:
    """Return the least cost of one battery that takes or gives at each step, by a mixed-integer program."""
    lp = highspy.Highs()
    lp.silent()
    lp.setOptionValue("threads", 1)
    lp.setOptionValue("mip_rel_gap", 0.0)
    lp.setOptionValue("mip_abs_gap", 1e-9)
    held, end = float(stores.start_wh[at]), len(buy) - 1
    for t in range(len(buy)):
        takes = lp.addVariable(0.0, float(stores.charge_w[at]), float(buy[t]) * hours)
        gives = lp.addVariable(0.0, float(stores.discharge_w[at]), float(stores.wear_per_wh[at] - sell[t]) * hours)
        is_taking = lp.addBinary()
        lp.addConstr(takes <= float(stores.charge_w[at]) * is_taking)
        lp.addConstr(gives + float(stores.discharge_w[at]) * is_taking <= float(stores.discharge_w[at]))
        least = float(max(stores.least_wh[at], stores.end_wh[at]) if t == end else stores.least_wh[at])
        now = lp.addVariable(least, float(stores.most_wh[at]), 0.0)
        gain, loss = float(stores.charge_frac[at]) * hours, hours / float(stores.discharge_frac[at])
        lp.addConstr(now - held - gain * takes + loss * gives == 0.0)
        held = now
    lp.run()
    assert lp.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(lp.getInfo().objective_function_value)


def random_batteries(rng: np.random.Generator, count: int) -> Stores:
    size = rng.uniform(2, 12, count)
    least = size * rng.choice([0.0, 0.1], count)
    start, end = rng.uniform(least, size), least + (size - least) * rng.choice([0.0, 0.3], count)
    rated, share = size * rng.uniform(0.2, 1.5, (2, count)), rng.uniform(0.7, 1.0, (2, count))
    return Stores(start, least, size, end, *rated, *share, rng.choice([0.0, 0.02], count))


@pytest.mark.parametrize("seed", range(6))
def test_prices_below_zero_are_planned_to_the_optimum_of_a_mixed_integer_program(seed: int) -> None:
    """Without a direction a step the program would burn energy: it costs less, and no battery can do it."""
    rng = np.random.default_rng(seed)
    buy = rng.normal(0.02, 0.1, 12)
    sell = buy + rng.choice([0.0, -0.01, 0.03], 12)  # at some steps even crossed
    stores = random_batteries(rng, 4)
    plans = plan_stores(stores, buy, sell, 1.0)
    reached = plans.gave_wh == 0.0
    assert reached.any()
    for at in np.flatnonzero(reached):
        assert plans.cost[at] == pytest.approx(by_highs(stores, int(at), buy, sell, 1.0), abs=2e-7)
    assert plans.gap.max() <= 1e-12
    follows(stores, plans.power_w, 1.0)


def follows(stores: Stores, power: np.ndarray, hours: float) -> None:
    """Go through the schedules as a battery does: bounds, ratings and the end are kept."""
    column = {name: getattr(stores, name)[:, None] for name in Stores.__slots__}
    moved = -np.where(power > 0, power / column["discharge_frac"], power * column["charge_frac"]) * hours
    held = column["start_wh"] + moved.cumsum(axis=1)
    assert (held >= column["least_wh"] - 1e-9).all() and (held <= column["most_wh"] + 1e-9).all()
    assert (power <= column["discharge_w"] + 1e-9).all() and (power >= -column["charge_w"] - 1e-9).all()


def test_a_day_with_prices_below_zero_at_noon_is_planned_whole_and_others_stay_as_they_were() -> None:
    """96 steps; wear and losses decide who has a step at which both at once would pay: those others keep every bit."""
    price, stores = reference_price() - 0.05, reference_stores(64)
    assert (price < 0).any()
    plans = plan_stores(stores, price, price, HOURS)
    assert plans.gap.max() <= 1e-11 and (plans.gave_wh == 0.0).all()
    follows(stores, plans.power_w, HOURS)
    idle = replace(stores, discharge_w=np.where(np.arange(64) % 2, stores.discharge_w, 0.0))
    mixed = plan_stores(idle, price, price, HOURS)
    assert mixed.power_w[1::2].tobytes() == plans.power_w[1::2].tobytes()
    assert (mixed.power_w[::2] <= 0.0).all() and (mixed.cost[::2] < 0.0).all()


def test_the_water_value_is_what_one_more_unit_saves_below_zero_too() -> None:
    price, stores = reference_price() - 0.08, reference_stores(16)
    stores = replace(stores, end_wh=stores.least_wh)
    here = plan_stores(stores, price, price, HOURS)
    more = plan_stores(replace(stores, start_wh=stores.start_wh + 1e-6), price, price, HOURS)
    assert (here.cost - more.cost) / 1e-6 == pytest.approx(here.worth_per_wh, abs=1e-6)


def test_ways_out_that_differ_from_step_to_step_are_planned_exactly_too() -> None:
    """Levels that can be reached multiply then instead of falling together."""
    rng, stores = np.random.default_rng(4), reference_stores(1)
    price, deliver = rng.normal(-0.02, 0.05, 200), rng.uniform(0.1, 4.0, (1, 200))
    plans = plan_stores(stores, price, price, HOURS, deliver_w=deliver)
    follows(stores, plans.power_w, HOURS)
    assert (plans.power_w <= deliver + 1e-9).all() and plans.gap[0] <= 1e-12


def test_a_value_function_that_is_thinned_out_lies_nowhere_higher_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(2)
    levels, values = rng.uniform(0, 1, 300).cumsum(), rng.normal(size=300)
    x, v = levels.copy(), values.copy()
    size = _thinned(x, v, 300, 0.5)
    assert size < 300 and (x[0], x[size - 1]) == (levels[0], levels[-1])
    assert (np.interp(levels, x[:size], v[:size]) <= values + 1e-12).all()
