"""A mixed pool as one mixed-integer program for HiGHS: the peer of the bench, and the oracle of the tests.

By the rules of each device as they are written, three binaries a step (on, starts, stops), none of the planner's code.
code.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from tieline.plan.mixed import Mix, Terms
from tieline.plan.mixed_terms import KINDS, Feeders, count_of


class MixedProgram:
    """The program while it grows. `net` has, for each feeder and last the pool, the powers of each step as a sum."""

    def __init__(self, mix: Mix, terms: Terms, hours: float, feeders: Feeders | None) -> None:
        import highspy

        self.lp: Any = cast(Any, highspy).Highs()
        self.lp.setOptionValue("output_flag", False)
        self.most = float(cast(Any, highspy).kHighsInf)
        self.mix, self.hours, self.steps = mix, hours, len(terms.buy_per_wh)
        count = 0 if feeders is None else len(feeders.low_w)
        self.net: list[list[list[Any]]] = [[[] for _ in range(self.steps)] for _ in range(count + 1)]
        self.parent = np.full(count, -1) if feeders is None or feeders.parent is None else feeders.parent
        self._stores()
        self._gensets()
        self._contracts()
        self._heaters()
        self._bands(terms, feeders)

    def solved(self, gap_frac: float, limit_s: float) -> tuple[float, float, bool]:
        """Return the least cost found, the bound, and whether a schedule was found."""
        self.lp.setOptionValue("mip_rel_gap", gap_frac)
        self.lp.setOptionValue("time_limit", limit_s)
        self.lp.run()
        found = self.lp.getInfo()
        is_found = int(found.primal_solution_status) == 2
        has_whole = any(count_of(self.mix, kind) for kind in KINDS[1:])
        cost = float(found.objective_function_value)
        return cost, float(found.mip_dual_bound) if has_whole else cost, is_found

    def _counted(self, kind: str, n: int, t: int, power: Any) -> None:
        at = int(self.mix.feeder_of[kind][n]) if kind in self.mix.feeder_of else -1
        while at >= 0:
            self.net[at][t].append(power)
            at = int(self.parent[at])
        self.net[-1][t].append(power)

    def _stores(self) -> None:
        if self.mix.stores is None:
            return
        s = self.mix.stores
        for n in range(len(s.start_wh)):
            before: Any = float(s.start_wh[n])
            for t in range(self.steps):
                least = max(s.least_wh[n], s.end_wh[n]) if t == self.steps - 1 else s.least_wh[n]
                take = self.lp.addVariable(0, s.charge_w[n], 0)
                give = self.lp.addVariable(0, s.discharge_w[n], s.wear_per_wh[n] * self.hours)
                now = self.lp.addVariable(least, s.most_wh[n], 0)
                moved = s.charge_frac[n] * self.hours * take - self.hours / s.discharge_frac[n] * give
                self.lp.addConstr(now - moved - before == 0) if t else self.lp.addConstr(now - moved == before)
                self._counted("stores", n, t, give - take)
                before = now

    def _switch(self, start_cost: float, was_on: bool) -> tuple[list[Any], list[Any], list[Any]]:
        """Return whether it is on, starts and stops at each step."""
        on = [self.lp.addBinary() for _ in range(self.steps)]
        starts = [self.lp.addBinary(start_cost) for _ in range(self.steps)]
        stops = [self.lp.addBinary() for _ in range(self.steps)]
        for t in range(self.steps):
            if t:
                self.lp.addConstr(on[t] - on[t - 1] - starts[t] + stops[t] == 0)
            else:
                self.lp.addConstr(on[t] - starts[t] + stops[t] == int(was_on))
            self.lp.addConstr(starts[t] + stops[t] <= 1)
        return on, starts, stops

    def _least_times(
        self, on: list[Any], starts: list[Any], stops: list[Any], least: tuple[int, int], lasted: int
    ) -> None:
        for t in range(self.steps):
            self.lp.addConstr(sum(starts[max(0, t - least[0] + 1) : t + 1]) - on[t] <= 0)
            self.lp.addConstr(sum(stops[max(0, t - least[1] + 1) : t + 1]) + on[t] <= 1)
        held = least[0] - lasted if lasted > 0 else least[1] + lasted
        for t in range(min(max(held, 0), self.steps)):
            self.lp.addConstr(1.0 * on[t] == int(lasted > 0))

    def _gensets(self) -> None:
        if self.mix.gensets is None:
            return
        g = self.mix.gensets
        for n in range(len(g.least_w)):
            lasted = int(g.lasted[n])
            on, starts, stops = self._switch(float(g.start_cost[n]), lasted > 0)
            self._least_times(on, starts, stops, (int(g.least_on[n]), int(g.least_off[n])), lasted)
            burnt = []
            for t in range(self.steps):
                cost = (g.fuel_price[n] * g.fuel_per_wh[n] + g.adder_per_wh[n]) * self.hours
                power = self.lp.addVariable(0, g.most_w[n], cost)
                self.lp.addConstr(power - g.most_w[n] * on[t] <= 0)
                self.lp.addConstr(power - g.least_w[n] * on[t] >= 0)
                self.lp.changeColCost(on[t].index, g.fuel_price[n] * g.fuel_per_h[n] * self.hours)
                burnt.append(g.fuel_per_h[n] * self.hours * on[t] + g.fuel_per_wh[n] * self.hours * power)
                self._counted("gensets", n, t, power)
            if np.isfinite(g.fuel[n]):
                self.lp.addConstr(sum(burnt) <= g.fuel[n])

    def _contracts(self) -> None:
        if self.mix.contracts is None:
            return
        c = self.mix.contracts
        for n in range(len(c.calls)):
            lasted, longest, shortest = int(c.lasted[n]), int(c.longest[n]), int(c.shortest[n])
            rest, power = int(c.rest[n]), np.broadcast_to(c.power_w[n], (self.steps,))
            on, starts, stops = self._switch(float(c.call_cost[n]), lasted > 0)
            past = lasted if lasted > 0 else -rest - lasted
            self._least_times(on, starts, stops, (shortest, rest), past if past != 0 else -rest)
            for t in range(self.steps):
                cost = (c.cost_per_wh[n] + c.adder_per_wh[n]) * power[t] * self.hours
                self.lp.changeColCost(on[t].index, float(cost))
                if t < c.notice[n]:
                    self.lp.addConstr(1.0 * starts[t] == 0)
                if t + longest < self.steps:
                    self.lp.addConstr(sum(on[t : t + longest + 1]) <= longest)
                self._counted("contracts", n, t, float(power[t]) * on[t])
            if lasted > 0 and longest - lasted < self.steps:
                whole = max(longest - lasted, 0)
                self.lp.addConstr(sum(on[: whole + 1]) <= whole)
            self.lp.addConstr(sum(starts) <= int(c.calls[n]))
            self.lp.addConstr(sum(on) <= int(c.steps_left[n]))

    def _heaters(self) -> None:
        if self.mix.heaters is None:
            return
        h = self.mix.heaters
        for n in range(len(h.power_w)):
            on, starts, stops = self._switch(float(h.start_cost[n]), bool(h.lasted[n] > 0))
            self._least_times(on, starts, stops, (int(h.least_on[n]), int(h.least_off[n])), int(h.lasted[n]))
            before: Any = float(h.start_wh[n])
            for t in range(self.steps):
                now = self.lp.addVariable(h.least_wh[n], h.most_wh[n], 0)
                gained = h.power_w[n] * h.charge_frac[n] * self.hours * on[t]
                drift = float(h.inflow_wh[n, t])
                if t:
                    self.lp.addConstr(now - gained - h.keep_frac[n] * before == drift)
                else:
                    self.lp.addConstr(now - gained == drift + h.keep_frac[n] * before)
                self._counted("heaters", n, t, -float(h.power_w[n]) * on[t])
                before = now

    def _bands(self, terms: Terms, feeders: Feeders | None) -> None:
        slack = 0.0 if terms.slack_per_wh is None else terms.slack_per_wh
        buy = np.asarray(terms.buy_per_wh, float)
        sell = buy if terms.sell_per_wh is None else terms.sell_per_wh
        low, high, base = (self._flat(column) for column in (terms.low_w, terms.high_w, terms.base_w))
        for t in range(self.steps):
            draws = self.lp.addVariable(0, self.most, buy[t] * self.hours)
            feeds = self.lp.addVariable(0, self.most, -sell[t] * self.hours)
            self.lp.addConstr(feeds - draws - self._sum(-1, t) == base[t])
            self._within(feeds - draws, low[t], high[t], slack)
        for feeder in range(len(self.net) - 1):
            assert feeders is not None
            dear = 2.0 * slack if feeders.slack_per_wh is None else feeders.slack_per_wh
            of = np.broadcast_to(
                np.asarray(feeders.base_w, float),
                (len(self.net) - 1,) if np.ndim(feeders.base_w) < 2 else np.shape(feeders.base_w),
            )
            low, high, base = (self._flat(column[feeder]) for column in (feeders.low_w, feeders.high_w, of))
            for t in range(self.steps):
                flow = self.lp.addVariable(-self.most, self.most, 0)
                self.lp.addConstr(flow - self._sum(feeder, t) == base[t])
                self._within(1.0 * flow, low[t], high[t], dear)

    def _flat(self, column: Any) -> Any:
        return np.broadcast_to(np.asarray(column, float), (self.steps,))

    def _sum(self, at: int, t: int) -> Any:
        return sum(self.net[at][t], self.lp.expr())

    def _within(self, power: Any, low: float, high: float, slack: float) -> None:
        if np.isfinite(high):
            self.lp.addConstr(power - self.lp.addVariable(0, self.most, slack * self.hours) <= float(high))
        if np.isfinite(low):
            self.lp.addConstr(power + self.lp.addVariable(0, self.most, slack * self.hours) >= float(low))
