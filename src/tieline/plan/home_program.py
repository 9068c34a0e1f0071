"""A home as one mixed-integer program for HiGHS: what the plan of a home is held against."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tieline.plan.home_terms import Appliance, Battery, Car, Heater, Home, flat

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WATTS = 1_000.0
"""Powers are in kW and energies in kWh, so that the solver's tolerances mean something."""


class HomeProgram:
    """Columns and rows of one home, gathered device by device."""

    def __init__(self, home: Home) -> None:
        """Lay the meter, then every device, then the balance of powers."""
        self.home, self.steps = home, len(home.buy_per_wh)
        self.hours = home.hours
        self.low: list[Floats] = []
        self.high: list[Floats] = []
        self.cost: list[Floats] = []
        self.whole: list[NDArray[np.bool_]] = []
        self.count = 0
        self.rows: list[tuple[Ints, Ints, Floats]] = []
        self.row_low: list[Floats] = []
        self.row_high: list[Floats] = []
        self.row_count = 0
        self.balance: list[tuple[Ints, Ints, Floats]] = []
        self.where: dict[str, Any] = {}
        self._meter()
        if home.battery is not None:
            self._battery(home.battery)
        for at, car in enumerate(home.cars):
            self._car(car, at)
        for at, heater in enumerate(home.heaters):
            self._heater(heater, at)
        for at, appliance in enumerate(home.appliances):
            self._appliance(appliance, at)
        self._balance()

    def columns(self, low: Floats | float, high: Floats | float, cost: Floats | float, whole: bool = False) -> Ints:
        """Add one column a step and return their places."""
        shape = np.broadcast_shapes(np.shape(low), np.shape(high), np.shape(cost))
        shape = shape or (self.steps,)
        for into, given in ((self.low, low), (self.high, high), (self.cost, cost)):
            into.append(np.broadcast_to(np.asarray(given, float), shape))
        self.whole.append(np.full(shape, whole))
        at = np.arange(self.count, self.count + shape[0])
        self.count += shape[0]
        return at

    def row(
        self, low: Floats | float, high: Floats | float, entries: list[tuple[Ints, Floats | float]], count: int
    ) -> None:
        """Add rows: entry (columns, values) has one column for each row."""
        at = np.arange(self.row_count, self.row_count + count)
        for columns, values in entries:
            self.rows.append((at, columns, np.broadcast_to(np.asarray(values, float), (count,))))
        self.row_low.append(np.broadcast_to(np.asarray(low, float), (count,)))
        self.row_high.append(np.broadcast_to(np.asarray(high, float), (count,)))
        self.row_count += count

    def _meter(self) -> None:
        home, per = self.home, WATTS * self.hours
        buy, sell = home.buy_per_wh * per, home.sell_per_wh * per
        # Where feeding in pays more than drawing costs, doing both at once would be free money: one direction a step.
        most = 1e2
        caps = [np.minimum(flat(home, cap) / WATTS, most) for cap in (home.import_w, home.export_w)]
        draw, feed = self.columns(0.0, caps[0], buy), self.columns(0.0, caps[1], -sell)
        crossed = np.flatnonzero(sell > buy)
        if len(crossed):
            draws = self.columns(np.zeros(len(crossed)), 1.0, 0.0, whole=True)
            self.row(-np.inf, 0.0, [(draw[crossed], 1.0), (draws, -caps[0][crossed])], len(crossed))
            self.row(-np.inf, caps[1][crossed], [(feed[crossed], 1.0), (draws, caps[1][crossed])], len(crossed))
        used = self.columns(0.0, flat(home, home.sun_w) / WATTS, 0.0)
        rows = np.arange(self.steps)
        self.balance += [(rows, draw, np.ones(self.steps)), (rows, feed, -np.ones(self.steps)),
                         (rows, used, np.ones(self.steps))]  # fmt: skip
        self.where |= {"draw": draw, "feed": feed, "sun": used}

    def _stored(
        self, held: Ints, start: float, keep: float, moved: list[tuple[Ints, Floats | float]], flow: Floats
    ) -> None:
        first = flow.copy()
        first[0] += keep * start
        entries = [(held, 1.0), *((columns, -np.asarray(values, float)) for columns, values in moved)]
        at = np.arange(self.row_count, self.row_count + self.steps)
        self.row(first, first, cast(Any, entries), self.steps)
        self.rows.append((at[1:], held[:-1], np.full(self.steps - 1, -keep)))

    def _battery(self, battery: Battery) -> None:
        take = self.columns(0.0, battery.charge_w / WATTS, np.zeros(self.steps))
        give = self.columns(
            0.0, battery.discharge_w / WATTS, np.full(self.steps, battery.wear_per_wh * WATTS * self.hours)
        )
        least = np.full(self.steps, battery.least_wh / WATTS)
        least[-1] = max(battery.least_wh, battery.end_wh) / WATTS
        held = self.columns(least, battery.most_wh / WATTS, 0.0)
        moved = [(take, battery.charge_frac * self.hours), (give, -self.hours / battery.discharge_frac)]
        self._stored(held, battery.start_wh / WATTS, 1.0, cast(Any, moved), np.zeros(self.steps))
        # Above a price of 0 taking and giving at once never pays; below it a direction is chosen.
        below = np.flatnonzero(np.minimum(self.home.buy_per_wh, self.home.sell_per_wh) < 0)
        below = below if not (self.home.sell_per_wh > self.home.buy_per_wh).any() else np.arange(self.steps)
        if len(below):
            takes = self.columns(np.zeros(len(below)), 1.0, 0.0, whole=True)
            self.row(-np.inf, 0.0, [(take[below], 1.0), (takes, -battery.charge_w / WATTS)], len(below))
            most = battery.discharge_w / WATTS
            self.row(-np.inf, most, [(give[below], 1.0), (takes, most)], len(below))
        rows = np.arange(self.steps)
        self.balance += [(rows, take, -np.ones(self.steps)), (rows, give, np.ones(self.steps))]
        self.where |= {"take": take, "give": give}

    def _car(self, car: Car, at: int) -> None:
        steps = np.arange(car.arrives, car.leaves)
        if not len(steps):
            return
        take = self.columns(np.zeros(len(steps)), car.most_w / WATTS, 0.0)
        if car.least_w > 0:
            charges = self.columns(np.zeros(len(steps)), 1.0, 0.0, whole=True)
            self.row(-np.inf, 0.0, [(take, 1.0), (charges, -car.most_w / WATTS)], len(steps))
            self.row(0.0, np.inf, [(take, 1.0), (charges, -car.least_w / WATTS)], len(steps))
        one = np.zeros(len(steps), int) + self.row_count
        self.rows.append((one, take, np.full(len(steps), car.charge_frac * self.hours)))
        self.row_low.append(np.array([car.need_wh / WATTS]))
        self.row_high.append(np.array([car.room_wh / WATTS]))
        self.row_count += 1
        self.balance.append((steps, take, -np.ones(len(steps))))
        self.where[f"car{at}"] = take

    def _heater(self, heater: Heater, at: int) -> None:
        home, steps = self.home, self.steps
        fixed_low, fixed_high = np.zeros(steps), np.ones(steps)
        bound = heater.least_on if heater.is_on else heater.least_off
        for t in range(min(max(bound - heater.held_steps, 0), steps)):
            fixed_low[t] = fixed_high[t] = float(heater.is_on)
        on = self.columns(fixed_low, fixed_high, 0.0, whole=True)
        begins = self.columns(0.0, 1.0, np.full(steps, heater.start_cost))
        ends = self.columns(0.0, 1.0, np.zeros(steps))
        least = flat(home, heater.least_wh) / WATTS
        least[-1] = max(least[-1], heater.end_wh / WATTS)
        held = self.columns(least, flat(home, heater.most_wh) / WATTS, 0.0)
        gain = flat(home, heater.gain_frac) * heater.power_w * self.hours / WATTS
        self._stored(held, heater.start_wh / WATTS, heater.keep_frac, [(on, gain)], flat(home, heater.flow_wh) / WATTS)
        was = np.zeros(steps)
        was[0] = float(heater.is_on)
        rows = np.arange(self.row_count, self.row_count + steps)
        self.row(was, was, [(on, 1.0), (begins, -1.0), (ends, 1.0)], steps)
        self.rows.append((rows[1:], on[:-1], np.full(steps - 1, -1.0)))
        for event, least_steps, sign, limit in (
            (begins, heater.least_on, -1.0, 0.0),
            (ends, heater.least_off, 1.0, 1.0),
        ):
            if least_steps > 1:
                rows = np.arange(self.row_count, self.row_count + steps)
                self.row(-np.inf, limit, [(on, sign)], steps)
                for back in range(least_steps):
                    self.rows.append((rows[back:], event[: steps - back], np.ones(steps - back)))
        self.balance.append((np.arange(steps), on, np.full(steps, -heater.power_w / WATTS)))
        self.where[f"heater{at}"] = on

    def _appliance(self, appliance: Appliance, at: int) -> None:
        starts = np.arange(appliance.earliest, appliance.latest - len(appliance.power_w) + 1)
        picks = self.columns(np.zeros(len(starts)), 1.0, 0.0, whole=True)
        self.rows.append((np.zeros(len(starts), int) + self.row_count, picks, np.ones(len(starts))))
        self.row_low.append(np.ones(1))
        self.row_high.append(np.ones(1))
        self.row_count += 1
        for k, power in enumerate(appliance.power_w):
            self.balance.append((starts + k, picks, np.full(len(starts), -power / WATTS)))
        self.where[f"appliance{at}"] = picks

    def _balance(self) -> None:
        base = flat(self.home, self.home.load_w) / WATTS
        for rows, columns, values in self.balance:
            self.rows.append((rows + self.row_count, columns, values))
        self.row_low.append(base)
        self.row_high.append(base)
        self.row_count += self.steps

    def solver(self, gap_frac: float, time_limit_s: float, is_relaxed: bool = False) -> Any:
        """Return HiGHS with the program loaded."""
        import highspy

        rows, columns, values = (np.concatenate(parts) for parts in zip(*self.rows, strict=True))
        order = np.lexsort((rows, columns))
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.count, self.row_count
        lp.col_cost_ = np.concatenate(self.cost)
        lp.col_lower_, lp.col_upper_ = np.concatenate(self.low), np.concatenate(self.high)
        lp.row_lower_, lp.row_upper_ = np.concatenate(self.row_low), np.concatenate(self.row_high)
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=self.count))])
        lp.a_matrix_.index_, lp.a_matrix_.value_ = rows[order], values[order]
        if not is_relaxed:
            kinds = highspy.HighsVarType
            lp.integrality_ = [kinds.kInteger if w else kinds.kContinuous for w in np.concatenate(self.whole)]
        solver: Any = cast(Any, highspy).Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("mip_rel_gap", gap_frac)
        solver.setOptionValue("time_limit", time_limit_s)
        solver.passModel(lp)
        return solver
