"""A feeder's limits as rows: what each customer's power does to each voltage and current that has a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.grid.fixed_point import largest_share
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Complexes = NDArray[np.inexact[Any]]
ANGLES, HALF_PLANE = 8, 0.64
"""Directions in which a current is looked at: its worst corner is sought in each, its size there is exact."""


@dataclass(frozen=True, slots=True, eq=False)
class LimitRows:
    """r limits as `value <= limit`, and how they go with each customer's power; shapes (r,), `per_w` (r, c).

    Voltages (pu) have `sign` 1 where they may not rise above the limit and -1 where they may not fall below it (both
    value and limit are negative then). Currents are shares of what a phase of the branch may carry, looked
    at in the direction `aim`.
    """

    what: tuple[str, ...]
    is_voltage: NDArray[np.bool_]
    load: Ints
    sign: Floats
    reach: Complexes
    idle: Complexes
    aim: Complexes
    limit: Floats
    per_w: Floats

    def __len__(self) -> int:
        return len(self.what)

    def kept(self, rows: NDArray[Any]) -> LimitRows:
        """Return only some of them."""
        names = tuple(self.what[row] for row in np.arange(len(self.what))[rows])
        return LimitRows(
            names, self.is_voltage[rows], self.load[rows], self.sign[rows], self.reach[rows], self.idle[rows],
            self.aim[rows], self.limit[rows], self.per_w[rows],
        )  # fmt: skip

    def values(self, rows: Ints, currents: Complexes, load_pu: Floats, scale: Floats) -> Floats:
        """Return the value of row `rows[k]` in scenario k, from its loads' currents and voltages (k, n)."""
        found = self.sign[rows] * load_pu[np.arange(len(rows)), self.load[rows]]
        own = np.flatnonzero(~self.is_voltage[rows])
        at = rows[own]
        flows = self.idle[at] * scale[own] + np.einsum("kn,kn->k", self.reach[at], currents[own])
        along, size = (flows * self.aim[at].conj()).real, np.abs(flows)
        # Its size counts in the direction that it has, so that the others, where it is none of theirs, stay linear.
        found[own] = np.where(along >= size * HALF_PLANE, size, along)
        return found

    def all_values(self, currents: Complexes, load_pu: Floats, scale: Floats) -> Floats:
        """Return the values of all rows in each scenario; shape (k, r)."""
        flows = self.idle * scale[:, None] + np.einsum("kn,rn->kr", currents, self.reach)
        along, size = (flows * self.aim.conj()).real, np.abs(flows)
        shares = np.where(along >= size * HALF_PLANE, size, along)
        return np.where(self.is_voltage, self.sign * load_pu[:, self.load], shares)

    def over(self, currents: Complexes, load_pu: Floats, scale: Floats) -> tuple[Floats, Floats]:
        """Return by how much the worst voltage and the worst current of each scenario pass their limits, both (k,)."""
        up, down = self.is_voltage & (self.sign > 0), self.is_voltage & (self.sign < 0)
        high = (load_pu[:, self.load[up]] - self.limit[up]).max(axis=1, initial=-np.inf)
        low = (-self.limit[down] - load_pu[:, self.load[down]]).max(axis=1, initial=-np.inf)
        flows = np.flatnonzero(~self.is_voltage)[::ANGLES]  # one direction a current: its size is asked
        largest = largest_share(
            self.reach[flows].astype(np.complex128), self.idle[flows].astype(np.complex128), scale,
            currents.astype(np.complex128),
        )  # fmt: skip
        return np.maximum(high, low), largest - 1.0


def slopes(flow: PhaseFlow, drawn_va: Complexes, given: Complexes) -> tuple[Complexes, Complexes, Complexes]:
    """Return voltages (V; (n,)) of one scenario, and how voltages and currents of loads go with power given (n, n).

    From u = u0 - Z conj(S / u): du - Z D conj(du) = -Z conj(dS / u), D = conj(S) / conj(u)^2, solved in real numbers.

    Args:
        flow: The feeder.
        drawn_va: What each load draws; shape (n,).
        given: What a unit is of power given: 1 a watt, 1j a var, 1 + 0.3j a watt that brings reactive power.

    Raises:
        Infeasible: There is no power flow at that point.
    """
    _, found, off = flow.solve_loads(drawn_va[None])
    if not np.isfinite(off).all():
        raise Infeasible(
            f"feeder {flow.feeder.name}: it has no power flow where its customers stand: nothing to go from"
        )
    volts, z = found[0], flow.z_ohm
    bent = z * (drawn_va.conj() / volts.conj() ** 2)
    driven = z * (given.conj() / volts.conj())  # a unit given is that much less drawn
    size = len(volts)
    matrix = np.block([[np.eye(size) - bent.real, -bent.imag], [-bent.imag, np.eye(size) + bent.real]])
    solved = np.linalg.solve(matrix, np.vstack([driven.real, driven.imag]))
    moved = solved[:size] + 1j * solved[size:]
    into = -np.diag(given.conj() / volts.conj()) - (drawn_va.conj() / volts.conj() ** 2)[:, None] * moved.conj()
    return volts, moved, into


def limit_rows(
    flow: PhaseFlow, drawn_va: Complexes, tangent: Floats, min_pu: Floats, max_pu: Floats, most_loading: float
) -> LimitRows:
    """Return all limits of a feeder: slopes of voltages at the first of some scenarios, of currents at the worst.

    Args:
        flow: The feeder.
        drawn_va: What loads draw in each scenario, (p, n). What other phases do to a current shows under load alone.
        tangent: Reactive power given with each watt given; shape (n,).
        min_pu: Lowest voltage of each load; shape (n,).
        max_pu: Highest.
        most_loading: Share of what branches may carry that is still allowed.
    """
    feeder = flow.feeder
    points = [slopes(flow, drawn, 1.0 + 1j * tangent) for drawn in drawn_va]
    volts, moved, _ = points[0]
    gather = np.zeros((len(feeder.load_bus), len(feeder.customer_name)))
    gather[np.arange(len(feeder.load_bus)), feeder.load_customer] = feeder.load_share
    rises = (volts.conj()[:, None] * moved).real / np.abs(volts)[:, None] / flow.rated_v[:, None] @ gather
    count = len(volts)
    names = [f"load {feeder.customer_name[c]}" for c in feeder.load_customer]
    zeros, nothing = np.zeros((2 * count, count), np.complex128), np.zeros(2 * count, np.complex128)
    volt_rows = LimitRows(
        tuple([f"voltage high at {name}" for name in names] + [f"voltage low at {name}" for name in names]),
        np.ones(2 * count, np.bool_), np.tile(np.arange(count), 2), np.repeat([1.0, -1.0], count), zeros, nothing,
        nothing,
        np.concatenate([max_pu, -min_pu]), np.concatenate([rises, -rises]),
    )  # fmt: skip
    drawn_a = np.stack([drawn.conj() / found.conj() for drawn, (found, _, _) in zip(drawn_va, points, strict=True)])
    into = np.stack([into @ gather for _, _, into in points])
    return _joined(volt_rows, _current_rows(flow, drawn_a, into, most_loading))


def _current_rows(flow: PhaseFlow, drawn_a: Complexes, into: Complexes, most_loading: float) -> LimitRows:
    """Return the limits of branches, by phase and direction; of lines in a row that carry the same, the weakest."""
    feeder, (_, reach) = flow.feeder, flow.sensitivity()
    most_a = feeder.branch_max_a[flow.watch_branches] * most_loading
    idle = flow.idle_a()
    flat, owner = reach.reshape(-1, reach.shape[2]), np.repeat(np.arange(len(most_a)), 3)
    carries = np.abs(flat).max(axis=1) > 1e-6
    order = np.flatnonzero(carries)[np.argsort(most_a[owner[carries]], kind="stable")]
    _, first = np.unique(np.round(np.abs(flat[order]), 4), axis=0, return_index=True)
    rows = np.sort(order[first])
    if not len(rows):
        return _no_rows(flat.shape[1], into.shape[2])
    at, turn = owner[rows], np.exp(2j * np.pi * np.arange(ANGLES) / ANGLES)
    scale = 1.0 / most_a[at]
    stands = idle.reshape(-1)[rows] + drawn_a @ flat[rows].T
    # The first direction is that of the largest current that was looked at.
    largest = stands[np.abs(stands).argmax(axis=0), np.arange(len(rows))]
    angle = np.exp(1j * np.angle(largest))
    aims = angle[:, None] * turn
    every = np.einsum("rd,r,prc->prdc", aims.conj(), scale, flat[rows] @ into).real
    point = (stands[:, :, None] * aims.conj()).real.argmax(axis=0)
    slope = np.take_along_axis(every, point[None, :, :, None], axis=0)[0]
    names = [
        f"{feeder.branch_kind[branch]} {feeder.branch_name[branch]} phase {'abc'[row % 3]}"
        for branch, row in zip(flow.watch_branches[at].tolist(), rows.tolist(), strict=True)
    ]
    many = len(rows) * ANGLES
    return LimitRows(
        tuple(name for name in names for _ in range(ANGLES)), np.zeros(many, np.bool_), np.zeros(many, np.int64),
        np.ones(many), np.repeat(flat[rows] * scale[:, None], ANGLES, axis=0),
        np.repeat(idle.reshape(-1)[rows] * scale, ANGLES), aims.reshape(-1), np.ones(many), slope.reshape(many, -1),
    )  # fmt: skip


def _no_rows(loads: int, customers: int) -> LimitRows:
    none, empty = np.empty(0), np.empty((0, loads), np.complex128)
    return LimitRows(
        (), none.astype(np.bool_), none.astype(np.int64), none, empty, none.astype(np.complex128),
        none.astype(np.complex128), none, np.empty((0, customers)),
    )  # fmt: skip


def _joined(one: LimitRows, two: LimitRows) -> LimitRows:
    columns = [
        np.concatenate([getattr(one, name), getattr(two, name)])
        for name in ("is_voltage", "load", "sign", "reach", "idle", "aim", "limit", "per_w")
    ]
    return LimitRows(one.what + two.what, *columns)
