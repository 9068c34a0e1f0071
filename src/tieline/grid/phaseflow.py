"""Power flow of an unbalanced feeder for thousands of scenarios at once.

All but the loads' terminals are eliminated once, which leaves `u = u0 - Z i(u)` with one row a load: the voltage across
each load is that without load, less what the loads' currents drop. It is iterated over all scenarios
together (`fixed_point`). A round shrinks the error by about the share of voltage that the loads drop, some percent; two
rounds tell how far the answer still is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, Infeasible
from tieline.grid.eliminate import Factors
from tieline.grid.fixed_point import UNROLLED, fixed_point
from tieline.grid.unbalanced import GROUND, Feeder, live_phases

Floats = NDArray[np.float64]
Complexes = NDArray[np.inexact[Any]]
Bools = NDArray[np.bool_]
FINEST_PU = 1e-13
LEAST_U = 0.3
"""A load whose voltage falls below this share of its rating has no solution worth the name."""


@dataclass(frozen=True, slots=True, eq=False)
class PhaseResult:
    """Results of k scenarios; a row that is not `solved` is NaN.

    `load_pu` is the voltage across each load as a share of its bus's (k, n), `watched_pu` that of each watched bus and
    phase to ground (k, w, 3; NaN where it has no such phase), `branch_a` the current in each watched branch at its to
    end (k, v, 3), `branch_va` the apparent power of its phases together there (k, v), and `source_w` what flows into
    the upstream grid (k,). `off_pu` says how far voltages may yet be from the exact answer.
    """

    solved: Bools
    load_pu: Floats
    watched_pu: Floats
    branch_a: Floats
    branch_va: Floats
    source_w: Floats
    off_pu: float


class PhaseFlow:
    """Solves one unbalanced feeder."""

    def __init__(
        self,
        feeder: Feeder,
        watch_buses: NDArray[np.int32] | None = None,
        watch_branches: NDArray[np.int32] | None = None,
    ) -> None:
        """Factor the feeder.

        Args:
            feeder: The feeder.
            watch_buses: Buses whose voltages results give; left out: none (each load's own voltage is always given).
            watch_branches: Branches whose currents results give; left out: those with a limit, and the first one.

        Raises:
            ConfigError: Its admittance matrix is singular.
        """
        self.feeder = feeder
        self._factors, source_a = _factored(feeder)
        self.watch_buses = np.empty(0, np.int32) if watch_buses is None else watch_buses
        self.watch_branches = limited_branches(feeder) if watch_branches is None else watch_branches
        self._idle_v = self._factors.solve(source_a[:, :, None])[:, :, 0]
        self._drop_ohm = self._factors.solve(-_incidence(feeder))
        self.u0 = self._across(self._idle_v[:, :, None])[:, 0].astype(np.complex128)
        self.z_ohm = -self._across(self._drop_ohm)
        self._wide_ohm = np.pad(self.z_ohm, ((0, 0), (0, -len(self.z_ohm) % UNROLLED)))
        self.rated_v = np.where(feeder.load_return == GROUND, 1.0, np.sqrt(3.0)) * feeder.bus_v[feeder.load_bus]

    def _across(self, volts: Complexes) -> Complexes:
        """Return the voltage across each load for voltages of shape (b, 3, columns)."""
        f = self.feeder
        back = np.where((f.load_return == GROUND)[:, None], 0.0, volts[f.load_bus, f.load_return])
        across: Complexes = volts[f.load_bus, f.load_phase] - back
        return across

    def solve(
        self,
        customer_w: Floats | None = None,
        customer_var: Floats | None = None,
        source_pu: Floats | None = None,
        tolerance_pu: float = 1e-8,
        strict: bool = True,
    ) -> PhaseResult:
        """Return the flow for the net power of each customer.

        Args:
            customer_w: Shape (k, c), W, positive into the grid; left out: one scenario, as the file has it.
            customer_var: The same for reactive power; left out: none, or as the file has it where `customer_w` is too.
            source_pu: Voltage of the upstream grid as a multiple of the feeder's own, shape (k,).
            tolerance_pu: How exact voltages are.
            strict: Raise where a scenario has no solution, rather than mark it.

        Raises:
            ConfigError: Shapes differ or a power is no number.
            Infeasible: A scenario has no solution: the feeder would collapse.
        """
        currents, volts, off = self.solve_loads(*self._asked(customer_w, customer_var, source_pu), tolerance_pu)
        solved = np.isfinite(off)
        if strict and not solved.all():
            worst = int(np.flatnonzero(~solved)[0])
            raise Infeasible(f"feeder {self.feeder.name}: scenario {worst} has no power flow: its voltages collapse")
        return self._result(currents, volts, solved, off, source_pu)

    def _asked(
        self, customer_w: Floats | None, customer_var: Floats | None, source_pu: Floats | None
    ) -> tuple[Complexes, Floats | None]:
        f = self.feeder
        if customer_w is None:
            drawn = (f.customer_w + 1j * f.customer_var)[None]
            return self.feeder.loads_of(drawn), _shaped(source_pu, "source_pu", (1,))
        shape = (len(customer_w), len(f.customer_name))
        _shaped(customer_w, "customer_w", shape)
        drawn = -customer_w.astype(np.complex128)
        if customer_var is not None:
            _shaped(customer_var, "customer_var", shape)
            drawn -= 1j * customer_var
        return self.feeder.loads_of(drawn), _shaped(source_pu, "source_pu", (shape[0],))

    def solve_loads(
        self, drawn_va: Complexes, source_pu: Floats | None = None, tolerance_pu: float = 1e-8
    ) -> tuple[Complexes, Complexes, Floats]:
        """Return each load's current (A) and voltage (V), both (k, n), and how far off each scenario is (pu; inf: no
        solution), for the complex power that each load draws at its rated voltage; shape (k, n)."""
        drawn = np.ascontiguousarray(drawn_va, np.complex128)
        currents, volts, left = np.empty_like(drawn), np.empty_like(drawn), np.empty(len(drawn_va))
        scale = np.ones(len(drawn_va)) if source_pu is None else source_pu
        tolerance_pu = max(tolerance_pu, FINEST_PU)
        # Of one layout, whatever file they are read from: each other one would be compiled anew, for seven seconds.
        scale, goes = np.ascontiguousarray(scale), np.ascontiguousarray(self.feeder.load_power_of_u)
        fixed_point(
            self._wide_ohm.real.copy(), self._wide_ohm.imag.copy(), self.u0, scale, drawn,
            goes, 1.0 / self.feeder.load_v, 1.0 / self.rated_v, tolerance_pu,
            currents, volts, left,
        )  # fmt: skip
        lowest = (np.abs(volts) / self.rated_v).min(axis=1)
        return currents, volts, np.where((left <= tolerance_pu * 10) & (lowest > LEAST_U), left, np.inf)

    def _result(
        self, currents: Complexes, volts: Complexes, solved: Bools, off: Floats, source_pu: Floats | None
    ) -> PhaseResult:
        f, count, currents = self.feeder, len(currents), currents.T
        scale = np.ones(count) if source_pu is None else source_pu
        nothing = np.where(solved, 1.0, np.nan)
        load_pu = np.abs(volts) / self.rated_v * nothing[:, None]
        watched = self._at(self.watch_buses, currents, scale)
        has = f.bus_has[self.watch_buses][:, :, None]
        watched_pu = np.where(has, np.abs(watched) / f.bus_v[self.watch_buses][:, None, None], np.nan)
        one, two = (self._at(ends[self.watch_branches], currents, scale) for ends in (f.branch_from, f.branch_to))
        into = np.einsum("mij,mjk->mik", f.branch_s[self.watch_branches][:, 3:], np.concatenate([one, two], axis=1))
        return PhaseResult(
            solved,
            load_pu,
            np.moveaxis(watched_pu, 2, 0) * nothing[:, None, None],
            np.moveaxis(np.abs(into), 2, 0) * nothing[:, None, None],
            np.abs((two * into.conj()).sum(axis=1)).T * nothing[:, None],
            self._to_source(currents, scale) * nothing,
            float(off[solved].max(initial=0.0)),
        )

    def _at(self, buses: NDArray[np.int32], currents: Complexes, scale: Floats) -> Complexes:
        """Return the voltages of buses, shape (buses, 3, k)."""
        volts: Complexes = self._idle_v[buses][:, :, None] * scale
        return volts + (self._drop_ohm[buses].reshape(-1, len(self.u0)) @ currents).reshape(volts.shape)

    def _to_source(self, currents: Complexes, scale: Floats) -> Floats:
        f = self.feeder
        at = self._at(np.array([f.source_bus], np.int32), currents, scale)[0]
        stiff = f.source_v[:, None] * scale
        power: Floats = (stiff * (np.linalg.inv(f.source_ohm) @ (at - stiff)).conj()).real.sum(axis=0)
        return power

    def idle_a(self) -> Complexes:
        """Return the currents of watched branches at their to ends without load (A); shape (v, 3)."""
        f = self.feeder
        ends = [self._idle_v[end[self.watch_branches]] for end in (f.branch_from, f.branch_to)]
        into: Complexes = np.einsum("mij,mj->mi", f.branch_s[self.watch_branches][:, 3:], np.concatenate(ends, axis=1))
        return into

    def at_to_end(self, watched: int, phase: int) -> tuple[complex, Complexes, complex, Complexes]:
        """Return voltage and current of one phase at a watched branch's to end: without load, and what a load's ampere
        does to each (shape (n,)); the current is counted into the branch."""
        branch = int(self.watch_branches[watched])
        one, two = self.feeder.branch_from[branch], self.feeder.branch_to[branch]
        row = self.feeder.branch_s[branch][3 + phase]
        idle = row @ np.concatenate([self._idle_v[one], self._idle_v[two]])
        reach = row @ np.concatenate([self._drop_ohm[one], self._drop_ohm[two]])
        return complex(self._idle_v[two, phase]), self._drop_ohm[two, phase], complex(idle), reach

    def sensitivity(self) -> tuple[Complexes, Complexes]:
        """Return what each load's current does to the watched buses' voltages (w, 3, n) and to the watched branches'
        currents (v, 3, n): in V a A and A a A, drawn currents."""
        f = self.feeder
        ends = [self._drop_ohm[end[self.watch_branches]] for end in (f.branch_from, f.branch_to)]
        into = np.einsum("mij,mjk->mik", f.branch_s[self.watch_branches][:, 3:], np.concatenate(ends, axis=1))
        return self._drop_ohm[self.watch_buses], into


def limited_branches(feeder: Feeder) -> NDArray[np.int32]:
    """Return the branches that have a limit."""
    limited = np.isfinite(feeder.branch_max_a) | np.isfinite(feeder.branch_max_va)
    return np.flatnonzero(limited).astype(np.int32)


def _incidence(feeder: Feeder) -> Complexes:
    """Return the current that one ampere drawn by each load takes out of the buses; shape (b, 3, n)."""
    where = np.zeros((len(feeder.bus_v), 3, len(feeder.load_bus)), np.complex128)
    rows = np.arange(len(feeder.load_bus))
    where[feeder.load_bus, feeder.load_phase, rows] = 1.0
    back = feeder.load_return != GROUND
    where[feeder.load_bus[back], feeder.load_return[back], rows[back]] = -1.0
    return where


def _factored(feeder: Feeder) -> tuple[Factors, Complexes]:
    """Return the factors of the feeder without load, and the currents that the source drives; shape (b, 3)."""
    own = np.zeros((len(feeder.bus_v), 3, 3), np.complex128)
    coupled: dict[tuple[int, int], Complexes] = {}
    for one, two, block in zip(feeder.branch_from.tolist(), feeder.branch_to.tolist(), feeder.branch_s, strict=True):
        own[one] += block[:3, :3]
        own[two] += block[3:, 3:]
        coupled[one, two] = coupled.get((one, two), 0.0) + block[:3, 3:]
        coupled[two, one] = coupled.get((two, one), 0.0) + block[3:, :3]
    np.add.at(own, feeder.shunt_bus, feeder.shunt_s)
    source_s = np.linalg.inv(feeder.source_ohm)
    own[feeder.source_bus] += source_s
    absent = ~live_phases(feeder)
    own[absent.nonzero()[0], absent.nonzero()[1], absent.nonzero()[1]] = 1.0
    driven = np.zeros((len(feeder.bus_v), 3), np.complex128)
    driven[feeder.source_bus] = source_s @ feeder.source_v
    return Factors(own, coupled), driven


def _shaped(column: Floats | None, name: str, shape: tuple[int, ...]) -> Floats | None:
    if column is not None:
        if column.shape != shape:
            raise ConfigError(f"{name} has shape {column.shape}: give {shape}")
        if not np.isfinite(column).all():
            raise ConfigError(f"{name} at {tuple(np.argwhere(~np.isfinite(column))[0].tolist())} is no finite number")
    return column
