"""One interval cleared: who gives what, at which price at each bus.

    min sum_k price_k p_k + penalties
    sum_i P_i + shed = drawn + surplus                          (energy)
    |H (P - drawn)| <= rating + over                            (each branch; dual mu)
    P_i + r_i <= high_i,  sum_i r_i + short >= reserve          (reserve)
    P_i within what its ramp reaches from its last power

A price at a bus is what one MW more drawn there would cost: `price = energy + H' mu`. Branches come into the program
only once their limit is passed and stay in it, so that the next interval begins where the last one ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, InvariantError
from tieline.simulate.clearing.network import Network
from tieline.simulate.clearing.offers import Offer, book
from tieline.simulate.clearing.program import INFINITE, Program

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
HELD_MW = 1e-6
"""A branch may be passed by so much before its limit is put into the program."""
ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Penalties:
    """What it costs to leave a rule unmet ($/MWh): an answer is always found, and says what gave way."""

    shed: float = 10_000.0
    surplus: float = 1_000.0
    overload: float = 3_000.0
    reserve: float = 1_100.0

    def __post_init__(self) -> None:
        for name in ("shed", "surplus", "overload", "reserve"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} = {getattr(self, name)}: give a finite number above 0")


@dataclass(frozen=True, slots=True, eq=False)
class Cleared:
    """One interval as it was cleared.

    Attributes:
        power_mw: What each offer is to give; shape (n,).
        reserve_mw: What each holds as reserve.
        price: $/MWh at each bus; shape (b,), the sum of `energy_price` and `congestion_price`.
        energy_price: $/MWh, the load-weighted mean of all buses' prices.
        congestion_price: $/MWh at each bus.
        reserve_price: $/MWh for a MW held over an hour.
        flow_mw: Flow over each branch; shape (l,).
        branch_price: What a MW more of each branch's rating would save ($/MWh), 0 or more.
        drawn_mw: What each bus wanted to draw; shape (b,).
        shed_mw: What is drawn less than was wanted, by all buses in proportion to their load.
        surplus_mw: What is given beyond what is drawn, as nothing could go lower.
        overload_mw: By how much each branch is above its rating.
        short_mw: What lacks of the reserve.
        cost_per_h: What is given costs as offered, no-load cost and reserve included ($/h); penalties are not,
            and not what plants give on their way up or down.
    """

    power_mw: Floats
    reserve_mw: Floats
    price: Floats
    energy_price: float
    congestion_price: Floats
    reserve_price: float
    flow_mw: Floats
    branch_price: Floats
    drawn_mw: Floats
    shed_mw: float
    surplus_mw: float
    overload_mw: Floats
    short_mw: float
    cost_per_h: float

    @property
    def congestion_rent(self) -> float:
        """What loads pay more than plants get ($/h): what full branches earn."""
        return float(self.branch_price @ np.abs(self.flow_mw))

    def gave_way(self) -> tuple[str, ...]:
        """Return what could not be met, in words; nothing where all was."""
        said = []
        if self.shed_mw > HELD_MW:
            said.append(f"{self.shed_mw:.1f} MW of {self.drawn_mw.sum():.1f} MW drawn are shed")
        if self.surplus_mw > HELD_MW:
            said.append(f"{self.surplus_mw:.1f} MW are given beyond what is drawn")
        if (over := int((self.overload_mw > HELD_MW).sum())) > 0:
            said.append(f"{over} branches are overloaded, the worst by {self.overload_mw.max():.1f} MW")
        if self.short_mw > HELD_MW:
            said.append(f"{self.short_mw:.1f} MW of reserve lack")
        return tuple(said)


class Dispatcher:
    """Clears interval after interval with the same resources; each may change its offer between two of them."""

    def __init__(self, network: Network, offers: Sequence[Offer], penalties: Penalties | None = None) -> None:
        """Make a dispatcher of a network and what is offered in it."""
        self.network, self.penalties = network, penalties or Penalties()
        self.book = book(offers, network)
        self._build()

    def offer(self, *offers: Offer) -> None:
        """Take other offers of resources that are known; as many steps as before cost no time.

        Raises:
            ConfigError: A resource is unknown, or moved to another bus.
        """
        known = {offer.name: k for k, offer in enumerate(self.book.offers)}
        after = list(self.book.offers)
        for offer in offers:
            if offer.name not in known:
                raise ConfigError(
                    f"{offer.name!r} has not offered before: give one of {', '.join(sorted(known)[:8])}, ..."
                )
            if offer.bus != after[known[offer.name]].bus:
                raise ConfigError(
                    f"{offer.name}: bus {offer.bus!r}: give {after[known[offer.name]].bus!r}, where it is connected"
                )
            after[known[offer.name]] = offer
        was, self.book = self.book, book(after, self.network)
        if np.array_equal(was.step_of, self.book.step_of):
            self._program.price_columns(self._step, self.book.step_price)
            self._program.price_columns(self._reserve, self.book.reserve_price)
        else:
            self._build()

    def _build(self) -> None:
        made, penalty = self.book, self.penalties
        program = self._program = Program(primal_feasibility_tolerance=1e-9, dual_feasibility_tolerance=1e-9)
        count, steps = len(made.offers), len(made.step_mw)
        self._step = program.columns((steps,), 0.0, made.step_mw, made.step_price)
        self._reserve = program.columns((count,), 0.0, made.reserve_mw, made.reserve_price)
        self._shed = program.columns((1,), 0.0, 0.0, penalty.shed)
        self._surplus = program.columns((1,), 0.0, INFINITE, penalty.surplus)
        self._short = program.columns((1,), 0.0, INFINITE, penalty.reserve)
        branches = len(self.network.from_bus)
        self._over = program.columns((2, branches), 0.0, INFINITE, penalty.overload)
        only, own = np.zeros(1, np.int64), made.step_of
        ones = np.ones(1)
        balance = [(only, self._step, ones), (only, self._shed, ones), (only, self._surplus, -ones)]
        self._balance = program.rows(np.zeros(1), np.zeros(1), balance)
        held = [(only, self._reserve, ones), (only, self._short, ones)]
        self._held = program.rows(np.zeros(1), np.full(1, INFINITE), held)
        zeros = np.zeros(count)
        self._reach = program.rows(zeros, zeros, [(own, self._step, ones)])
        room = [(own, self._step, ones), (np.arange(count), self._reserve, ones)]
        self._room = program.rows(np.full(count, -INFINITE), zeros, room)
        self._branch, self._branch_row = np.zeros(0, np.int64), np.zeros(0, np.int64)
        program.load()

    def clear(
        self,
        drawn_mw: Floats,
        *,
        is_on: NDArray[np.bool_] | None = None,
        last_mw: Floats | None = None,
        minutes: float = 5.0,
        reserve_mw: float = 0.0,
        most_mw: Mapping[str, float] | None = None,
        block_mw: Mapping[str, float] | None = None,
    ) -> Cleared:
        """Clear one interval.

        Args:
            drawn_mw: What each bus draws, with a minus where it gives; shape (b,).
            is_on: Which resources are on; shape (n,). None: all.
            last_mw: What each gave last, NaN where it was off: its ramp counts from there. None: no ramp counts.
            minutes: How long it may move for.
            reserve_mw: How much reserve is to be held.
            most_mw: Resources by name that can give less than they offered now, and how much at most.
            block_mw: Resources by name that are off and yet give something, on their way up or down, and how much.

        Raises:
            ConfigError: A number is not finite, or a shape is wrong.
        """
        made, buses, blocks = self.book, len(self.network.bus_name), block_mw or {}
        on = np.ones(len(made.offers), np.bool_) if is_on is None else is_on
        self._check(drawn_mw, on, last_mw, minutes, reserve_mw)
        self._check_named({**(most_mw or {}), **blocks})
        base_mw = np.where(on, made.low_mw, np.array([blocks.get(offer.name, 0.0) for offer in made.offers]))
        low, high = self._reached(on, last_mw, minutes, most_mw or {})
        self._base = np.bincount(made.bus, base_mw, buses) - drawn_mw
        program = self._program
        program.bound_columns(self._step, np.zeros(len(made.step_mw)), np.where(on[made.step_of], made.step_mw, 0.0))
        program.bound_columns(self._reserve, np.zeros(len(on)), np.where(on, made.reserve_mw, 0.0))
        program.bound_columns(self._shed, np.zeros(1), np.array([np.maximum(drawn_mw, 0.0).sum()]))
        lacks = np.array([-self._base.sum()])
        program.bound_rows(self._balance, lacks, lacks)
        program.bound_rows(self._held, np.array([reserve_mw]), np.full(1, INFINITE))
        program.bound_rows(self._reach, np.where(on, low - base_mw, 0.0), np.where(on, high - base_mw, 0.0))
        room = np.where(on, self._cap(most_mw or {}) - base_mw, 0.0)
        program.bound_rows(self._room, np.full(len(on), -INFINITE), room)
        self._bound_branches()
        return self._cleared(on, base_mw, drawn_mw)

    def _check(
        self, drawn_mw: Floats, on: NDArray[np.bool_], last_mw: Floats | None, minutes: float, reserve_mw: float
    ) -> None:
        buses, count = len(self.network.bus_name), len(self.book.offers)
        if drawn_mw.shape != (buses,) or not np.isfinite(drawn_mw).all():
            raise ConfigError(f"drawn_mw of shape {drawn_mw.shape}: give {buses} finite numbers, one a bus")
        if on.shape != (count,) or on.dtype != np.bool_:
            raise ConfigError(f"is_on = {on.dtype} {on.shape}: give bool of shape ({count},)")
        if last_mw is not None and (last_mw.shape != (count,) or np.isinf(last_mw).any()):
            raise ConfigError(f"last_mw of shape {last_mw.shape}: give {count} numbers, NaN for what was off")
        if not (math.isfinite(minutes) and minutes > 0 and math.isfinite(reserve_mw) and reserve_mw >= 0):
            raise ConfigError(f"minutes = {minutes}, reserve_mw = {reserve_mw}: give finite numbers, minutes above 0")

    def _check_named(self, powers_mw: Mapping[str, float]) -> None:
        known = {offer.name for offer in self.book.offers}
        for name, power_mw in powers_mw.items():
            if name not in known:
                raise ConfigError(f"{name!r} has not offered: give the name of an offer")
            if not math.isfinite(power_mw):
                raise ConfigError(f"{name}: {power_mw} MW: give a finite number")

    def _cap(self, most_mw: Mapping[str, float]) -> Floats:
        cap = self.book.high_mw.copy()
        for k, offer in enumerate(self.book.offers):
            if offer.name in most_mw:
                cap[k] = min(cap[k], max(most_mw[offer.name], offer.low_mw))
        return cap

    def _reached(
        self, on: NDArray[np.bool_], last_mw: Floats | None, minutes: float, most_mw: Mapping[str, float]
    ) -> tuple[Floats, Floats]:
        """Return the least and the most that each can give now; what starts begins at its least power."""
        made, cap = self.book, self._cap(most_mw)
        from_mw = made.low_mw if last_mw is None else np.where(np.isnan(last_mw), made.low_mw, last_mw)
        far = np.full(len(on), INFINITE) if last_mw is None else made.ramp_mw_per_min * minutes
        # What can do less than it did goes there at once: a ramp is no reason to give what is not there.
        high = np.clip(np.minimum(from_mw + far, cap), made.low_mw, cap)
        low = np.clip(from_mw - far, made.low_mw, high)
        return low, high

    def _bound_branches(self) -> None:
        if len(self._branch):
            already = self.network.factor[self._branch] @ self._base
            rating = self.network.rating_mw[self._branch]
            self._program.bound_rows(self._branch_row, -rating - already, rating - already)

    def _cleared(self, on: NDArray[np.bool_], base_mw: Floats, drawn_mw: Floats) -> Cleared:
        made, network = self.book, self.network
        for _ in range(ROUNDS):
            value, dual = self._program.solve()
            power = base_mw + np.bincount(made.step_of, value[self._step], len(on))
            shed, surplus = float(value[self._shed[0]]), float(value[self._surplus[0]])
            net = np.bincount(made.bus, power, len(drawn_mw)) - drawn_mw
            flow = network.flow_mw(net)
            passed = np.abs(flow) > network.rating_mw + HELD_MW
            passed[self._branch] = False
            if not passed.any():
                break
            self._watch(np.flatnonzero(passed))
        else:
            raise InvariantError(f"branches are passed after {ROUNDS} rounds")
        mu = np.zeros(len(flow))
        mu[self._branch] = dual[self._branch_row]
        congestion = network.factor.T @ mu
        energy = float(dual[self._balance[0]])
        reserve = value[self._reserve]
        cost = float(made.step_price @ value[self._step] + made.reserve_price @ reserve)
        cost += math.fsum(offer.no_load_per_h for offer, is_on in zip(made.offers, on, strict=True) if is_on)
        return Cleared(
            power, reserve, energy + congestion, energy, congestion, float(dual[self._held[0]]), flow, np.abs(mu),
            drawn_mw, shed, surplus, np.maximum(np.abs(flow) - network.rating_mw, 0.0), float(value[self._short[0]]),
            cost,
        )  # fmt: skip

    def _watch(self, branches: Rows) -> None:
        """Put the limits of more branches into the program."""
        made, network = self.book, self.network
        at, factor = np.arange(len(branches))[:, None], network.factor[branches]
        already = factor @ self._base
        rating = network.rating_mw[branches]
        cells = [
            (at, self._step[None, :], factor[:, made.bus[made.step_of]]),
            (at[:, 0], self._over[0, branches], -1.0), (at[:, 0], self._over[1, branches], 1.0),
        ]  # fmt: skip
        rows = self._program.rows(-rating - already, rating - already, cells)
        self._branch = np.concatenate([self._branch, branches])
        self._branch_row = np.concatenate([self._branch_row, rows])
