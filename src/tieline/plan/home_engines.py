"""The engines that `plan.router` names: each returns a schedule of what is on, what charges, and a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.plan import switched
from tieline.plan.home_answers import answers_near, shaken
from tieline.plan.home_around import BETTER, around, beside, lower_bound
from tieline.plan.home_cars import with_cars
from tieline.plan.home_columns import OVER, WATTS
from tieline.plan.home_finish import Meter, battery_kw, energy_cost, meter_of, settled
from tieline.plan.home_program import HomeProgram
from tieline.plan.home_reach import followed_w
from tieline.plan.home_search import (
    Choice,
    Costed,
    Search,
    answer,
    base_bound,
    blend_prices,
    bound,
    car_kw,
    costed,
    first_prices,
    load_kw,
    load_of,
    patterned,
    search_of,
)
from tieline.plan.home_terms import Home, flat

Floats = NDArray[np.float64]
ROUNDS, MORE_ROUNDS = 6, 24
"""Rounds of prices and answers by the average, as many by the blend, and how many more where the gap is wide."""
WIDE, WIDER = 0.012, 0.025
"""From which share of the cost on a gap is wide, so that more is searched, or very wide."""
COARSE, FINE = 600, 3_000
"""Bins of a heater's level in the bound, at first and where the gap is wide."""
CARS_FRAC = 1e-4
"""What a charger's least power may cost, as a share, before more choices are tried."""
MILP_S = 20.0
"""How long HiGHS may take for a home that only it can plan."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is searched: from `starts` schedules, `costed` of what lies beside each.

    Of all choices `tried` are costed with cars whole, and the best `places` are gone on with. Prices are shaken `kicks`
    times; `closed` are the shares of a car's steps of little power that are closed at once.
    """

    starts: int
    costed: int
    tried: int
    places: int
    kicks: int
    closed: tuple[float, ...]


NARROW = Effort(1, 12, 10, 2, 0, (0.5,))
MORE = Effort(4, 12, 10, 2, 1, (0.5,))
MOST = Effort(8, 40, 40, 6, 0, (0.5, 0.25))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A schedule in kW: heaters on (k, T), where appliances start, cars (c, T), what the battery gives (T,); a bound.

    `over_kw` (T,) is how far the draw lies off a cap.
    """

    on: Floats
    starts: tuple[int, ...]
    car_kw: Floats
    give_kw: Floats
    bound: float
    over_kw: Floats


def by_kernel(home: Home) -> Found:
    """Return the optimum of a home with at most a battery, by the exact kernel."""
    meter, none = meter_of(home), np.zeros((0, len(home.buy_per_wh)))
    draw = flat(home, home.load_w) / WATTS
    if home.battery is None:
        net, _, over = settled(meter, draw)
        return Found(none, (), none, np.zeros(len(draw)), energy_cost(meter, net), over)
    s = search_of(home)
    free = costed(s, Choice(none, ()))
    give, cost, is_best = battery_kw(home, home.battery, meter, draw, _give_kw(s, free))
    _, _, over = settled(meter, draw - give)
    return Found(none, (), none, give, cost if is_best else base_bound(s, free.price), over)


def by_search(home: Home) -> Found:
    """Return the best schedule met, by prices, best answers and changes around the best; or the linear optimum."""
    s = search_of(home)
    first = first_prices(s)
    if not s.heaters and not home.appliances:
        free = costed(s, answer(s, first[:, 0])[0])
        return _finished(s, around(s, with_cars(s, free), NARROW.costed), bound(s, free.price, COARSE))
    met = _answered(s, first)
    proven, effort = bound(s, met.price, COARSE), NARROW
    if met.best().cost - proven > WIDE * abs(met.best().cost):
        proven = max(proven, bound(s, met.price, FINE))
    if met.best().cost - proven > WIDE * abs(met.best().cost):
        _blended(s, met, MORE_ROUNDS)
        proven = max(proven, bound(s, met.price, FINE))
        is_wider = met.best().cost - proven > WIDER * abs(met.best().cost)
        effort = MOST if is_wider else MORE
    return _finished(s, _around(s, met, effort), proven)


@dataclass(slots=True)
class _Met:
    """What the rounds of prices and answers led to: choices costed, the blend of all answers, the best prices."""

    costed: list[Costed]
    blend: Floats
    mean: Floats
    price: Floats
    dual: float
    turn: int = 0

    def best(self) -> Costed:
        return min(self.costed, key=lambda each: each.cost)

    def apart(self, count: int) -> list[Costed]:
        """Return the best so many, each once."""
        once = {each.choice.key(): each for each in self.costed}
        return sorted(once.values(), key=lambda each: each.cost)[:count]


def _answered(s: Search, first: Floats) -> _Met:
    """Let devices answer to prices, cost their answers together, and let the prices of each enter the average."""
    met, mean = _Met([], np.zeros(len(first)), first, first, -np.inf), first
    for k in range(ROUNDS):
        one = _heard(s, met, mean)
        met.blend = met.blend + (load_of(s, one.choice) - met.blend) / (k + 1)
        mean = mean + (one.price - mean) / (k + 2)
    met.mean = mean
    _blended(s, met, ROUNDS)
    return met


def _blended(s: Search, met: _Met, rounds: int) -> None:
    """Go on by the prices of the blend of all answers: those at which devices part evenly (Frank and Wolfe)."""
    mean = met.mean
    for _ in range(rounds):
        met.turn += 1
        price = blend_prices(s, met.blend)
        mean = mean + (price - mean) * max(2 / (met.turn + 2), 0.2)
        one = _heard(s, met, mean)
        met.blend = met.blend + (load_of(s, one.choice) - met.blend) * 2 / (met.turn + 2)
    met.mean = mean


def _heard(s: Search, met: _Met, price: Floats) -> Costed:
    """Let devices answer to prices; keep their answers, and the prices where their dual is the best so far."""
    choice, least = answer(s, price[:, 0])
    dual = base_bound(s, price) + least
    if dual > met.dual:
        met.dual, met.price = dual, price
    met.costed.append(costed(s, choice))
    return met.costed[-1]


def _around(s: Search, met: _Met, effort: Effort) -> Costed:
    """Return the best around the best schedules met, first with chargers free, then from their least on."""
    rng = np.random.default_rng(0)
    free = min((around(s, each, effort.costed) for each in met.apart(effort.starts)), key=_cost)
    free = _kicked(s, free, met.mean, rng, effort)
    return _kicked(s, _whole(s, free, effort), met.mean, rng, effort)


def _kicked(s: Search, best: Costed, mean: Floats, rng: np.random.Generator, effort: Effort) -> Costed:
    """Return the best around answers to prices that chance moves, as long as that pays."""
    for turn in range(effort.kicks):
        before = best
        tried = []
        for choice in [*(answers_near(s, best, mean) if not turn else []), *shaken(s, best, rng)]:
            if lower_bound(s, best, choice) < best.cost - BETTER:
                tried.append(costed(s, choice) if best.charges is None else patterned(s, choice, best.charges))
        for each in sorted(tried, key=_cost)[: effort.places]:
            best = min(best, around(s, each, effort.costed), key=_cost)
        if best is before and turn:
            break
    return best


def _whole(s: Search, free: Costed, effort: Effort) -> Costed:
    """Return the best with cars that charge from their least on.

    A choice costs at least what it does with free chargers: those that cost less so than the best costs whole are tried
    in that order, those beside the best free one as well.
    """
    found: dict[bytes, Costed] = {}
    for turn in range(2):
        for each in sorted(s.seen.values(), key=_cost)[: effort.tried * (turn + 1)]:
            least = min(map(_cost, found.values()), default=np.inf)
            if each.cost >= least - BETTER or least - free.cost < CARS_FRAC * abs(least):
                break
            if each.choice.key() not in found:
                found[each.choice.key()] = with_cars(s, each)
        if not turn:
            for _ in beside(s, free, effort.costed, min(map(_cost, found.values()))):
                pass
    places = [
        min(each, with_cars(s, s.seen[each.choice.key()], effort.closed), key=_cost)
        for each in sorted(found.values(), key=_cost)[: effort.places]
    ]
    return min((around(s, each, effort.costed) for each in places), key=_cost)


def _cost(found: Costed) -> float:
    return found.cost


def _finished(s: Search, found: Costed, proven: float) -> Found:
    home, meter = s.home, meter_of(s.home)
    cars = _car_kw(s, found)
    draw = flat(home, home.load_w) / WATTS + load_of(s, found.choice) + cars.sum(axis=0)
    give = np.zeros(len(draw))
    if home.battery is not None:
        give, _, _ = battery_kw(home, home.battery, meter, draw, _give_kw(s, found))
    _, _, over = settled(meter, draw - give)
    return Found(found.choice.on, found.choice.starts, cars, give, proven, over)


def _give_kw(s: Search, found: Costed) -> Floats | None:
    if not s.base.battery:
        return None
    first = OVER + 3
    give: Floats = found.x[:, first + 1] - found.x[:, first]
    return give


def _car_kw(s: Search, found: Costed) -> Floats:
    """Return what cars take, its rounding cleared so that each ends with an energy that its need and room allow."""
    cars = car_kw(s, found.x).copy()
    for k, car in enumerate(s.home.cars):
        per, least, most = car.charge_frac * s.home.hours, car.least_w / WATTS, car.most_w / WATTS
        charges = np.zeros(cars.shape[1], bool) if found.charges is None else found.charges[k]
        if found.charges is None:
            charges[car.arrives : car.leaves] = True
            least = 0.0
        row = np.where(charges, np.clip(cars[k] + least, least, most), 0.0)
        short = car.need_wh / WATTS / per - row.sum()
        over = row.sum() - car.room_wh / WATTS / per
        for t in np.flatnonzero(charges):
            if short > 0:
                more = min(short, most - row[t])
                row[t], short = row[t] + more, short - more
            if over > 0:
                less = min(over, row[t] - least)
                row[t], over = row[t] - less, over - less
        cars[k] = row
    return cars


def by_dp(home: Home) -> Found:
    """Return the schedule of one heater or one appliance alone before the meter."""
    s, meter = search_of(home), meter_of(home)
    idle = flat(home, home.load_w) / WATTS
    steps = len(idle)
    before = _step_costs(meter, idle)
    on = np.zeros((len(s.heaters), steps))
    starts: tuple[int, ...] = ()
    if s.heaters:
        d = s.heaters[0]
        table = _step_costs(meter, idle + s.kw[0]) - before
        spans, counts = s.spans[0]
        switched.switched(
            d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, d.start_cost, spans,
            counts, table, on[0],
        )  # fmt: skip
        proven = float(before.sum()) + switched.least_switched(
            d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, d.start_cost, table, 4_000
        )
    else:
        starts, proven = _best_start(home, meter, idle, before)
    draw = idle + load_of(s, Choice(on, starts))
    _, _, over = settled(meter, draw)
    none = np.zeros((0, steps))
    return Found(on, starts, none, np.zeros(steps), proven, over)


def _best_start(home: Home, meter: Meter, idle: Floats, before: Floats) -> tuple[tuple[int, ...], float]:
    appliance = home.appliances[0]
    power = np.asarray(appliance.power_w, float) / WATTS
    costs = {}
    for start in range(appliance.earliest, appliance.latest - len(power) + 1):
        draw = idle.copy()
        draw[start : start + len(power)] += power
        costs[start] = float(_step_costs(meter, draw).sum())
    best = min(costs, key=lambda start: costs[start])
    return (best,), costs[best]


def _step_costs(meter: Meter, draw: Floats) -> Floats:
    net, _, over = settled(meter, draw)
    cost: Floats = np.where(net > 0, meter.buy, meter.sell) * net + meter.beyond * over
    return cost


def by_milp(home: Home, gap_frac: float = 1e-6, time_limit_s: float = MILP_S) -> Found:
    """Return HiGHS' schedule of a home.

    Raises:
        Infeasible: There is none, or none was found in time.
    """
    import highspy

    program = HomeProgram(home)
    solver = program.solver(gap_frac, time_limit_s)
    solver.run()
    status, x = solver.getModelStatus(), np.array(solver.getSolution().col_value)
    if status == highspy.HighsModelStatus.kInfeasible:
        raise Infeasible("import_w, export_w: no schedule of all devices together keeps the caps: raise them")
    if solver.getInfo().primal_solution_status != 2:
        raise Infeasible(f"no schedule was found within {time_limit_s:g} s: the solver said {status}")
    steps = program.steps
    on = np.array([np.round(x[program.where[f"heater{k}"]]) for k in range(len(home.heaters))]).reshape(-1, steps)
    starts = tuple(
        each.earliest + int(x[program.where[f"appliance{k}"]].argmax()) for k, each in enumerate(home.appliances)
    )
    cars = np.zeros((len(home.cars), steps))
    for k, car in enumerate(home.cars):
        row = x[program.where[f"car{k}"]] if car.leaves > car.arrives else np.zeros(0)
        row = np.where(
            row < max(car.least_w / WATTS / 2, 1e-7), 0.0, np.clip(row, car.least_w / WATTS, car.most_w / WATTS)
        )
        cars[k, car.arrives : car.leaves] = row
    give = np.zeros(steps)
    if home.battery is not None:
        give = followed_w(home, home.battery, (x[program.where["give"]] - x[program.where["take"]]) * WATTS) / WATTS
    draw = flat(home, home.load_w) / WATTS + load_kw(home, on, starts) + cars.sum(axis=0) - give
    return Found(on, starts, cars, give, solver.getInfo().mip_dual_bound, settled(meter_of(home), draw)[2])
