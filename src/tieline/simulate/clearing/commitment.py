"""The day ahead: which plants are on in which hour, and what is drawn, given and paid in each.

For each plant and hour three columns: u it is on, v it starts, w it stops, and above its least power p its steps.

    u_t - u_{t-1} = v_t - w_t
    sum of v over the last least_on_h hours <= u_t,   sum of w over the last least_off_h <= 1 - u_t
    sum_s p_st + r_t <= (high - low) u_t - (high - up) v_t - (high - down) w_{t+1}       least on of two hours or more;
                                                                    of one hour, v and w in a row of their own each
    up to 60 ramps an hour between hours in which it is on; it starts and stops at `max(low, ramp of an hour)` at most

Energy, branches and reserve are those of `dispatch`, each hour. Branches that are passed come in while the program is
still without whole numbers, and again after it. Prices are those of the program with what is on held as found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, InvariantError
from tieline.simulate.clearing.dispatch import HELD_MW, ROUNDS, Cleared, Penalties
from tieline.simulate.clearing.network import Network
from tieline.simulate.clearing.offers import Book, Offer, book
from tieline.simulate.clearing.program import INFINITE, Program

TIGHTER, PASSED_MW = 8, 0.01

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Commitment:
    """A day as it was committed.

    Attributes:
        is_on: Which resources are on; shape (hours, n).
        hours: Each hour as it was cleared, at prices with what is on held.
        cost: What the day costs, starts and penalties included ($).
        gap: By how much of its cost it may be above the cheapest day of all: proven.
        start_cost: What its starts cost ($).
        uplift: What each resource's day costs beyond what it is paid ($, 0 or more): made whole outside the price.
    """

    is_on: NDArray[np.bool_]
    hours: tuple[Cleared, ...]
    cost: float
    gap: float
    start_cost: float
    uplift: Floats


def commit(
    network: Network,
    offers: Sequence[Offer],
    drawn_mw: Floats,
    *,
    reserve_mw: Floats | None = None,
    most_mw: Floats | None = None,
    is_on: NDArray[np.bool_] | None = None,
    penalties: Penalties | None = None,
    gap: float = 2e-3,
    most_s: float = 60.0,
) -> Commitment:
    """Return the day of least cost.

    Args:
        network: Buses and branches.
        offers: All that is offered.
        drawn_mw: What each bus draws in each hour; shape (hours, b).
        reserve_mw: How much reserve is to be held in each hour; None: none.
        most_mw: How much each offer can give at most in each hour, no less than its least power; shape (hours, n),
            infinite where nothing but the offer bounds it. None: all that is offered, in each hour.
        is_on: Which resources are on in each hour, shape (hours, n): nothing is searched for, what they give is.
            None: the cheapest.
        penalties: What unmet rules cost.
        gap: At which proven gap the search ends.
        most_s: After about how many seconds it ends with what it has, its gap said.

    Raises:
        ConfigError: A number is not finite, a shape is wrong, or the time was over before any day was found.
    """
    if not (0.0 <= gap < 1.0 and most_s > 0.0):
        raise ConfigError(f"gap = {gap}, most_s = {most_s}: give a gap of 0 to 1, and seconds above 0")
    day = _Day(network, book(offers, network), drawn_mw, reserve_mw, penalties or Penalties(), most_mw)
    return day.solve(gap, most_s) if is_on is None else day.held(is_on)


class _Day:
    """The program of one day."""

    def __init__(
        self,
        network: Network,
        made: Book,
        drawn_mw: Floats,
        reserve_mw: Floats | None,
        penalties: Penalties,
        most_mw: Floats | None = None,
    ) -> None:
        if drawn_mw.ndim != 2 or drawn_mw.shape[1] != len(network.bus_name) or not len(drawn_mw):
            raise ConfigError(f"drawn_mw of shape {drawn_mw.shape}: give (hours, {len(network.bus_name)})")
        self._hours = len(drawn_mw)
        self._needed = np.zeros(self._hours) if reserve_mw is None else reserve_mw
        if not np.isfinite(drawn_mw).all() or self._needed.shape != (self._hours,) or not (self._needed >= 0).all():
            raise ConfigError(f"drawn_mw or reserve_mw: give finite numbers, {self._hours} of reserve, each 0 or more")
        self._most = np.full((self._hours, len(made.offers)), INFINITE) if most_mw is None else most_mw
        if self._most.shape != (self._hours, len(made.offers)) or not (self._most >= made.low_mw).all():
            raise ConfigError(
                f"most_mw of shape {self._most.shape}: give ({self._hours}, {len(made.offers)}), none below an offer's "
                "least power"
            )
        self._network, self._made, self._drawn, self._penalties = network, made, drawn_mw, penalties
        self._program = Program(mip_feasibility_tolerance=1e-7)
        self._columns()
        self._plants()
        self._system()
        self._program.load()

    def _columns(self) -> None:
        made, program, hours, penalty = self._made, self._program, self._hours, self._penalties
        offers, count = made.offers, len(made.offers)
        may_stop = np.array([offer.may_stop for offer in offers], np.float64)
        low_on, high_on = np.tile(1.0 - may_stop, (hours, 1)), np.ones((hours, count))
        for k, offer in enumerate(offers):
            _hold_first(offer, low_on[:, k], high_on[:, k])
        no_load = np.array([offer.no_load_per_h for offer in offers])
        start = np.array([offer.start_cost for offer in offers])
        self._on = program.columns((hours, count), low_on, high_on, no_load, whole=True)
        self._start = program.columns((hours, count), 0.0, may_stop, start)
        self._stop = program.columns((hours, count), 0.0, may_stop, 0.0)
        self._step = program.columns((hours, len(made.step_mw)), 0.0, made.step_mw, made.step_price)
        self._reserve = program.columns((hours, count), 0.0, made.reserve_mw, made.reserve_price)
        self._given = program.columns(
            (hours, count), np.minimum(made.low_mw, 0.0), np.minimum(made.high_mw, self._most), 0.0
        )
        self._shed = program.columns((hours,), 0.0, np.maximum(self._drawn, 0.0).sum(axis=1), penalty.shed)
        self._surplus = program.columns((hours,), 0.0, INFINITE, penalty.surplus)
        self._short = program.columns((hours,), 0.0, INFINITE, penalty.reserve)
        self._over = program.columns((2, hours, len(self._network.from_bus)), 0.0, INFINITE, penalty.overload)

    def _plants(self) -> None:
        for k in range(len(self._made.offers)):
            steps = self._step[:, self._made.step_of == k]
            if self._made.offers[k].may_stop:
                self._switching(k)
            self._room(k, steps)
            self._ramp(k, steps)

    def _switching(self, k: int) -> None:
        """u_t - u_{t-1} = v_t - w_t, and least times on and off."""
        offer, program = self._made.offers[k], self._program
        on, start, stop = self._on[:, k], self._start[:, k], self._stop[:, k]
        hour = np.arange(self._hours)
        was = np.where(hour == 0, float(offer.was_on), 0.0)
        program.rows(was, was, [(hour, on, 1.0), (hour[1:], on[:-1], -1.0), (hour, start, -1.0), (hour, stop, 1.0)])
        for least, column, sign, most in ((offer.least_on_h, start, -1.0, 0.0), (offer.least_off_h, stop, 1.0, 1.0)):
            back = [(hour[n:], column[: self._hours - n], 1.0) for n in range(min(least, self._hours))]
            program.rows(np.full(self._hours, -INFINITE), np.full(self._hours, most), [*back, (hour, on, sign)])

    def _room(self, k: int, steps: Rows) -> None:
        """Give no more than there is above the least power, less around starts and stops."""
        offer, program, hour = self._made.offers[k], self._program, np.arange(self._hours)
        wide, edge = offer.high_mw - offer.low_mw, max(offer.low_mw, 60.0 * offer.ramp_mw_per_min)
        held = max(offer.high_mw - edge, 0.0)
        given = [(hour[:, None], steps, 1.0), (hour, self._reserve[:, k], 1.0), (hour, self._on[:, k], -wide)]
        starts = (hour, self._start[:, k], held)
        stops = (hour[:-1], self._stop[1:, k], held)
        none, most = np.full(self._hours, -INFINITE), np.zeros(self._hours)
        if offer.least_on_h > 1:
            program.rows(none, most, [*given, starts, stops])
        elif held > 0.0:
            program.rows(none, most, [*given, starts])
            program.rows(none, most, [*given, stops])
        else:
            program.rows(none, most, given)

    def _ramp(self, k: int, steps: Rows) -> None:
        """What is given above the least power moves by 60 ramps an hour, while it is on before and after."""
        offer, program = self._made.offers[k], self._program
        if 60.0 * offer.ramp_mw_per_min >= offer.high_mw - offer.low_mw:
            return
        far, hour = 60.0 * offer.ramp_mw_per_min, np.arange(self._hours)
        began = min(max(offer.start_mw, offer.low_mw), offer.high_mw) - offer.low_mw if offer.was_on else 0.0
        first = np.where(hour == 0, began, 0.0)
        now, before = (hour[:, None], steps, 1.0), (hour[1:, None], steps[:-1], -1.0)
        program.rows(np.full(self._hours, -INFINITE), far + first, [now, before, (hour, self._reserve[:, k], 1.0)])
        # What stops may let go of all at once; how high it stands then is bounded where it has room.
        let_go = (hour, self._stop[:, k], max(offer.high_mw - offer.low_mw - far, 0.0))
        program.rows(first - far, np.full(self._hours, INFINITE), [now, before, let_go])

    def _system(self) -> None:
        """Energy and reserve of each hour."""
        made, program, hour = self._made, self._program, np.arange(self._hours)
        drawn = self._drawn.sum(axis=1)
        at = hour[:, None]
        # What each gives has a column of its own, so that the row of a branch is a third as long.
        count = len(made.offers)
        each = (at * count + np.arange(count)).ravel()
        sums = [(each, self._given.ravel(), -1.0), (at * count + made.step_of, self._step, 1.0)]
        program.rows(
            np.zeros(each.shape),
            np.zeros(each.shape),
            [*sums, (each, (self._on).ravel(), np.tile(made.low_mw, self._hours))],
        )
        cells = [(at, self._given, 1.0), (hour, self._shed, 1.0)]
        self._balance = program.rows(drawn, drawn, [*cells, (hour, self._surplus, -1.0)])
        held = [(at, self._reserve, 1.0), (hour, self._short, 1.0)]
        self._held = program.rows(self._needed, np.full(self._hours, INFINITE), held)
        self._watched = np.zeros((self._hours, len(self._network.from_bus)), np.int64) - 1

    def held(self, is_on: NDArray[np.bool_]) -> Commitment:
        """Return the day with what is on held; its gap is none, as nothing was searched for."""
        if is_on.shape != self._on.shape or is_on.dtype != np.bool_:
            raise ConfigError(f"is_on = {is_on.dtype} {is_on.shape}: give bool of shape {self._on.shape}")
        on = is_on.ravel().astype(np.float64)
        self._program.set_whole(False)
        self._program.bound_columns(self._on.ravel(), on, on)
        value, dual = self._settle()
        return self._committed(value, dual, float(self._program.solver.getInfo().objective_function_value), 0.0)

    def solve(self, gap: float, most_s: float) -> Commitment:
        """Search until the gap is proven or the time is over.

        What is found with some branches unwatched bounds the day from below with all of them as well; what it has on is
        priced with all of them. Only where the two are further apart than the gap it searches on from there.
        """
        solver, program = self._program.solver, self._program
        program.set_whole(False)
        self._settle()
        for _ in range(TIGHTER):
            if not self._tighten():
                break
            self._settle()
        solver.setOptionValue("mip_rel_gap", gap)
        ends_s, bound = solver.getRunTime() + most_s, -INFINITE
        on_off = np.concatenate([each.ravel() for each in (self._on, self._start, self._stop)])
        low, high = self._bounds(on_off)
        while True:
            program.set_whole(True)
            solver.setOptionValue("time_limit", ends_s)
            value, _ = program.solve()
            bound = max(bound, float(solver.getInfo().mip_dual_bound))
            program.set_whole(False)
            solver.setOptionValue("time_limit", INFINITE)
            held, rows = np.round(value[on_off]), program.row_count
            program.bound_columns(on_off, held, held)
            value, dual = self._settle()
            cost = float(solver.getInfo().objective_function_value)
            proven = max(cost - bound, 0.0) / max(abs(cost), 1e-9)
            if proven <= gap or program.row_count == rows or solver.getRunTime() >= ends_s:
                return self._committed(value, dual, cost, proven)
            program.bound_columns(on_off, low, high)

    def _bounds(self, columns: Rows) -> tuple[Floats, Floats]:
        lp = self._program.solver.getLp()
        return np.asarray(lp.col_lower_)[columns], np.asarray(lp.col_upper_)[columns]

    def _settle(self) -> tuple[Floats, Floats]:
        """Solve until no branch is passed."""
        for _ in range(ROUNDS):
            value, dual = self._program.solve()
            flow = self._power(value)[1] @ self._network.factor.T
            passed = (np.abs(flow) > self._network.rating_mw + 10 * HELD_MW) & (self._watched < 0)
            if not passed.any():
                return value, dual
            self._watch(np.argwhere(passed))
        raise InvariantError(f"branches are passed after {ROUNDS} rounds")

    def _tighten(self) -> bool:
        """Hold each step and each reserve to the part of a plant that is on, where it is passed; False: nowhere.

        A program of whole numbers needs none of these rows. Without them, a plant half on takes its cheapest steps in
        full, and the bound is poor.
        """
        made, program = self._made, self._program
        value = np.asarray(program.solver.getSolution().col_value)
        found = False
        for column, own, mw in (
            (self._step, made.step_of, made.step_mw),
            (self._reserve, slice(None), made.reserve_mw),
        ):
            on = self._on[:, own]
            hour, at = np.nonzero(value[column] > value[on] * mw + PASSED_MW)
            if len(hour):
                row, found = np.arange(len(hour)), True
                cells = [(row, column[hour, at], 1.0), (row, on[hour, at], -mw[at])]
                program.rows(np.full(len(hour), -INFINITE), np.zeros(len(hour)), cells)
        return found

    def _power(self, value: Floats) -> tuple[Floats, Floats]:
        """Return what each resource gives (hours, n), and each bus less what it draws (hours, b)."""
        made = self._made
        power = value[self._on] * made.low_mw
        _add_by(power, made.step_of, value[self._step])
        net = -self._drawn
        _add_by(net, made.bus, power)
        return power, net

    def _watch(self, places: Rows) -> None:
        """Put the limits of branches in hours into the program."""
        hour, branch = places.T
        made, at, factor = self._made, np.arange(len(places))[:, None], self._network.factor[branch]
        already = -np.einsum("lb,lb->l", factor, self._drawn[hour])
        rating = self._network.rating_mw[branch]
        cells = [
            (at, self._given[hour], factor[:, made.bus]),
            (at[:, 0], self._over[0, hour, branch], -1.0), (at[:, 0], self._over[1, hour, branch], 1.0),
        ]  # fmt: skip
        self._watched[hour, branch] = self._program.rows(-rating - already, rating - already, cells)

    def _committed(self, value: Floats, dual: Floats, cost: float, gap: float) -> Commitment:
        made, is_on = self._made, value[self._on] > 0.5
        power, net = self._power(value)
        mu = np.where(self._watched >= 0, dual[np.maximum(self._watched, 0)], 0.0)
        reserve, energy, held = value[self._reserve], dual[self._balance], dual[self._held]
        congestion, flow = mu @ self._network.factor, net @ self._network.factor.T
        over = np.maximum(np.abs(flow) - self._network.rating_mw, 0.0)
        costs = np.array([offer.no_load_per_h for offer in made.offers]) * is_on + made.reserve_price * reserve
        _add_by(costs, made.step_of, made.step_price * value[self._step])
        hours = tuple(
            Cleared(
                power[t], reserve[t], energy[t] + congestion[t], float(energy[t]), congestion[t], float(held[t]),
                flow[t], np.abs(mu[t]), self._drawn[t], float(value[self._shed[t]]), float(value[self._surplus[t]]),
                over[t], float(value[self._short[t]]), float(costs[t].sum()),
            )
            for t in range(self._hours)
        )  # fmt: skip
        start = np.array([offer.start_cost for offer in made.offers]) * value[self._start]
        paid = (energy[:, None] + congestion)[:, made.bus] * power + held[:, None] * reserve
        uplift = np.maximum((costs + start - paid).sum(axis=0), 0.0)
        return Commitment(is_on, hours, cost, gap, math.fsum(start.ravel()), uplift)


def _hold_first(offer: Offer, low_on: Floats, high_on: Floats) -> None:
    """Hold a plant as it is for what remains of its least time, in the bounds of its hours."""
    if offer.may_stop and offer.was_on:
        low_on[: max(math.ceil(offer.least_on_h - offer.on_h), 0)] = 1.0
    elif offer.may_stop:
        high_on[: max(math.ceil(offer.least_off_h + offer.on_h), 0)] = 0.0


def _add_by(sums: Floats, column: Rows, parts: Floats) -> None:
    """Add parts to columns of sums, several to one where they say so; both have a row an hour."""
    np.add.at(sums, (np.arange(len(sums))[:, None], column[None, :]), parts)
