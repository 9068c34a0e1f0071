"""Relief of thermal and voltage limits: who gives way, by how much, by which rule, and what each limit costs.

Three rules are usual where connections are not firm: *least cost* moves who is cheapest for the limit, *pro rata*
moves all who may move by one share of what they could, *last in, first out* moves the last who was connected wholly
before the one before. Slopes are exact at each round's point, and the power flow holds the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, InvariantError
from tieline.grid.limit_rows import LimitRows, limit_rows
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Rule = Literal["least-cost", "pro-rata", "last-in-first-out"]
MOST_ROUNDS = 12
SHY_PU, SHY_FRAC = 2e-5, 2e-4
SETTLED = 1e-3
HELPS = 0.05
"""Who moves a passed limit by less than this share of the strongest of all is left alone by the last-in rule."""
DEAR = 1e4
"""What a unit of a limit that stays passed costs, in multiples of the dearest way to move everything."""


@dataclass(frozen=True, slots=True)
class ReliefTerms:
    """Between what customers may be moved, and what is kept; shapes (c,), W positive into the grid.

    `least_w` and `most_w` are how far each may be moved down and up; who may not be moved has both where it stands.
    `down_per_w` and `up_per_w` are what a watt moved costs (any currency). `connected` orders customers by their date
    for the last-in rule: the greatest was last.
    """

    least_w: Floats
    most_w: Floats
    down_per_w: Floats | float = 1.0
    up_per_w: Floats | float = 1.0
    connected: Floats | None = None
    min_pu: float = 0.94
    max_pu: float = 1.10
    most_loading: float = 1.0
    source_pu: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """Powers after relief (W), what it costs, and the price of each limit that binds: what one unit (pu, or the whole
    rating) more would save. `passed` names limits that stay passed when all is moved that may be, and by how much."""

    power_w: Floats
    cost: float
    prices: dict[str, float]
    passed: dict[str, float]
    rounds: int


def relieve(
    flow: PhaseFlow, site_w: Floats, terms: ReliefTerms, rule: Rule = "least-cost", site_var: Floats | None = None
) -> Relief:
    """Return powers that keep all limits, moved from where customers stand by a rule.

    Args:
        flow: The feeder; the branches that it watches are those whose limits are kept.
        site_w: Where customers stand (W, positive into the grid); shape (c,).
        terms: What may be moved, and what is kept.
        rule: Who gives way.
        site_var: Reactive power as it stands and stays; left out: none.

    Raises:
        ConfigError: Shapes differ, a bound is on the wrong side of where a customer stands, or the rule is not known.
    """
    case = _Case(flow, site_w, terms, np.zeros_like(site_w) if site_var is None else site_var)
    if rule == "last-in-first-out":
        return case.last_in()
    if rule == "least-cost":
        ways, costs = np.vstack([np.diag(terms.least_w - site_w), np.diag(terms.most_w - site_w)]), case.costs
    elif rule == "pro-rata":
        ways = np.stack([terms.least_w - site_w, terms.most_w - site_w])
        costs = case.costs.reshape(2, -1).sum(axis=1)
    else:
        raise ConfigError(f"rule is {rule!r}: give least-cost, pro-rata or last-in-first-out")
    return case.by_program(ways, costs)


class _Case:
    def __init__(self, flow: PhaseFlow, site_w: Floats, terms: ReliefTerms, site_var: Floats) -> None:
        self.flow, self.site_w, self.terms, self.site_var = flow, site_w, terms, site_var
        count = len(flow.feeder.customer_name)
        columns = {"site_w": site_w, "site_var": site_var, "least_w": terms.least_w, "most_w": terms.most_w}
        for name, column in columns.items():
            if column.shape != (count,) or not np.isfinite(column).all():
                raise ConfigError(f"{name} has shape {column.shape}: give ({count},) of finite numbers")
        for name, wrong in (("least_w", terms.least_w > site_w), ("most_w", terms.most_w < site_w)):
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                raise ConfigError(
                    f"{name} of customer {flow.feeder.customer_name[at]} is {columns[name][at]:g} W where it stands "
                    f"at {site_w[at]:g} W: give {'at most' if name == 'least_w' else 'at least'} that"
                )
        down, up = (np.broadcast_to(np.asarray(each, float), (count,)) for each in (terms.down_per_w, terms.up_per_w))
        if (down < 0).any() or (up < 0).any() or not np.isfinite(down + up).all():
            raise ConfigError("down_per_w and up_per_w are what a watt moved costs: give numbers from 0 on")
        self.costs = np.concatenate([down * (site_w - terms.least_w), up * (terms.most_w - site_w)])

    def _drawn(self, power_w: Floats) -> Any:
        return self.flow.feeder.loads_of(-(power_w + 1j * self.site_var))

    def rows_at(self, power_w: Floats) -> tuple[LimitRows, Floats]:
        """Return all limits with their slopes at a point, and their values there."""
        loads = len(self.flow.feeder.load_bus)
        rows = limit_rows(
            self.flow, self._drawn(power_w[None]), np.zeros(loads), np.full(loads, self.terms.min_pu),
            np.full(loads, self.terms.max_pu), self.terms.most_loading,
        )  # fmt: skip
        return rows, self.values(rows, power_w[None])[0]

    def values(self, rows: LimitRows, power_w: Floats) -> Floats:
        scale = np.full(len(power_w), self.terms.source_pu)
        currents, volts, _ = self.flow.solve_loads(self._drawn(power_w), scale)
        return rows.all_values(currents, np.abs(volts) / self.flow.rated_v, scale)

    def by_program(self, ways: Floats, costs: Floats) -> Relief:
        """Return the cheapest shares of some ways to move, `power = stands + sum y_j way_j` with y in [0, 1]."""
        power_w, shares, prices, rounds = self.site_w, np.zeros(len(ways)), np.empty(0), 0
        rows, values = self.rows_at(power_w)
        cost, is_settled, named = 0.0, not (values > rows.limit).any(), rows
        while rounds < MOST_ROUNDS and not is_settled:
            rounds += 1
            slope = rows.per_w @ ways.T
            room = rows.limit - np.where(rows.is_voltage, SHY_PU, SHY_FRAC) - values + slope @ shares
            near = slope.clip(min=0).sum(axis=1) + 0.02 > room - slope @ shares
            found, price = _cheapest(slope[near], room[near], costs)
            before, named, prices = cost, rows, np.zeros(len(rows))
            shares, prices[near] = found, price
            power_w, cost = self.site_w + shares @ ways, float(costs @ found)
            rows, values = self.rows_at(power_w)
            holds = (values <= rows.limit).all() or rounds > MOST_ROUNDS // 2
            is_settled = bool(holds and abs(cost - before) <= SETTLED * max(cost, 1e-9))
        return Relief(power_w, cost, _largest(named, prices), _largest(rows, values - rows.limit), rounds)

    def last_in(self) -> Relief:
        """Return the relief that moves whoever was connected last wholly before the one before."""
        if self.terms.connected is None or self.terms.connected.shape != self.site_w.shape:
            raise ConfigError(f"connected: give when each customer was connected, shape {self.site_w.shape}")
        rows, values = self.rows_at(self.site_w)
        over = values > rows.limit
        if not over.any():
            return Relief(self.site_w, 0.0, {}, {}, 0)
        down, up = self.terms.least_w - self.site_w, self.terms.most_w - self.site_w
        gains = [-(rows.per_w[over] * way).min(axis=0) for way in (down, up)]
        strongest = np.abs(rows.per_w[over]).max()
        helps = np.abs(rows.per_w[over]).max(axis=0) >= HELPS * strongest
        way = np.where(helps & (gains[0] >= gains[1]), down, np.where(helps, up, 0.0))
        order = np.argsort(-self.terms.connected, kind="stable")
        order = order[way[order] != 0.0]
        # All first so many of them at once, as one batch: the least that holds, and then its last one by halves.
        tried = np.tile(self.site_w, (len(order) + 1, 1))
        for k, customer in enumerate(order):
            tried[k + 1 :, customer] += way[customer]
        holds = (self.values(rows, tried) <= rows.limit).all(axis=1)
        many = int(holds.argmax()) if holds.any() else len(order)
        power_w = tried[many].copy()
        if holds.any():
            power_w = self._partly(rows, tried[many - 1], tried[many])
        moved = power_w - self.site_w
        cost = float(self.costs @ np.concatenate([_share(moved, down), _share(moved, up)]))
        rows, values = self.rows_at(power_w)
        return Relief(power_w, cost, {}, _largest(rows, values - rows.limit), 1)

    def _partly(self, rows: LimitRows, inner: Floats, outer: Floats) -> Floats:
        least, most = 0.0, 1.0
        for _ in range(4):  # eight places at once, four times: a part in 4,096
            share = np.linspace(least, most, 9)
            holds = (self.values(rows, inner + share[:, None] * (outer - inner)) <= rows.limit).all(axis=1)
            first = int(holds.argmax()) if holds.any() else 8
            least, most = share[max(first - 1, 0)], share[first]
        found: Floats = inner + most * (outer - inner)
        return found


def _share(moved: Floats, way: Floats) -> Floats:
    return np.where((way != 0) & (moved * way > 0), moved / np.where(way == 0, 1.0, way), 0.0)


def _largest(rows: LimitRows, amounts: Floats) -> dict[str, float]:
    """Return the amounts above nothing by what they are of, each the largest of its directions."""
    found: dict[str, float] = {}
    for row in np.flatnonzero(amounts > 1e-9):
        found[rows.what[row]] = max(found.get(rows.what[row], 0.0), float(amounts[row]))
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _cheapest(slope: Floats, room: Floats, costs: Floats) -> tuple[Floats, Floats]:
    """Return shares in [0, 1] of least cost with `slope y <= room`, and each row's price; what is passed is dear."""
    import highspy

    rows, ways = slope.shape
    api = cast(Any, highspy)
    lp = api.HighsLp()
    dear = DEAR * (costs.sum() + 1.0)
    lp.num_col_, lp.num_row_ = ways + 1, rows
    lp.col_cost_, lp.col_lower_ = np.append(costs, dear), np.zeros(ways + 1)
    lp.col_upper_ = np.append(np.ones(ways), api.kHighsInf)
    lp.row_lower_, lp.row_upper_ = np.full(rows, -api.kHighsInf), room
    whole = np.hstack([slope, -np.ones((rows, 1))])
    lp.a_matrix_.format_ = api.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.arange(rows + 1) * (ways + 1)
    lp.a_matrix_.index_ = np.tile(np.arange(ways + 1), rows)
    lp.a_matrix_.value_ = whole.ravel()
    solver = api.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != api.HighsModelStatus.kOptimal:
        raise InvariantError(f"the relief's program ended as {solver.getModelStatus()}")
    solution = solver.getSolution()
    return np.clip(np.asarray(solution.col_value)[:ways], 0.0, 1.0), -np.asarray(solution.row_dual)
