"""Puts a feeder's columns together, part by part, as a reader finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid import parts
from tieline.grid.unbalanced import GROUND, LEAST_V, MOST_V, VOLTS_LIMITS, Feeder

Floats = NDArray[np.float64]
Complexes = NDArray[np.inexact[Any]]
ALL = (0, 1, 2)
ANCHOR_PU = 1e-6
"""Admittance to ground, as a share of its rating, of a transformer's end that has no grounded neutral."""
STIFF_OHM = 1e-6
"""Before a source without impedance: as good as none beside any line, and it leaves digits to what stands behind."""


class Assembly:
    """A feeder in the making. Names of buses are the file's; every refusal names the part."""

    def __init__(self, name: str, hertz: float) -> None:
        self.name, self.hertz = name, hertz
        self._bus: dict[str, int] = {}
        self._bus_v: list[float] = []
        self._has: list[set[int]] = []
        self._limits: list[tuple[float, float]] = []
        self._branches: list[tuple[str, str, int, int, Complexes, float, float]] = []
        self._shunts: list[tuple[int, Complexes]] = []
        self._source: tuple[int, Complexes, Complexes] | None = None
        self._loads: list[tuple[int, int, int, int, float, float, float]] = []
        self._customers: list[tuple[str, complex]] = []

    def bus(self, name: str, volts: float, least_pu: float = 0.0, most_pu: float = np.inf) -> None:
        """Add a bus of so many volts to ground.

        Raises:
            ConfigError: There is one of that name, or its voltage is in another unit.
        """
        if name in self._bus:
            raise ConfigError(f"feeder {self.name}: bus {name} stands there twice")
        if not LEAST_V <= volts <= MOST_V:
            raise ConfigError(f"feeder {self.name}: bus {name}: rated voltage is {volts:g} V: {VOLTS_LIMITS}")
        self._bus[name] = len(self._bus)
        self._bus_v.append(float(volts))
        self._has.append(set())
        self._limits.append((least_pu, most_pu))

    def bus_v(self, name: str) -> float:
        """Return a bus's rated voltage to ground (V)."""
        return self._bus_v[self._at(name, "source")]

    def _at(self, bus: str, part: str) -> int:
        if bus not in self._bus:
            raise ConfigError(f"feeder {self.name}: {part} stands at bus {bus}, which is not there")
        return self._bus[bus]

    def line(
        self, name: str, one: str, two: str, series_ohm: Complexes, shunt_s: Complexes,
        phases: tuple[int, ...] = ALL, max_a: float = np.inf, closed: tuple[bool, bool] = (True, True),
    ) -> None:  # fmt: skip
        """Add a line: series impedance and shunt admittance of its whole length, both (3, 3).

        One that is open at one end is still charged from the other.

        Raises:
            ConfigError: It has no impedance, or drops all of its bus's voltage at its own limit.
        """
        ends = self._at(one, f"line {name}"), self._at(two, f"line {name}")
        grid = np.ix_(phases, phases)
        if not np.isfinite(series_ohm[grid]).all() or np.linalg.matrix_rank(series_ohm[grid]) < len(phases):
            raise ConfigError(f"feeder {self.name}: line {name} has no impedance (or one that is no number): give one")
        volts, drop = self._bus_v[ends[0]], abs(series_ohm[phases[0], phases[0]]) * max_a
        if np.isfinite(drop) and drop > volts:
            raise ConfigError(
                f"feeder {self.name}: line {name} drops {drop:.3g} V of {volts:.3g} V at its limit of {max_a:g} A: "
                "give ohm and m, or ohm a km and km (are these per km and in m?)"
            )
        has = np.isin(ALL, phases)
        matrix = parts.line(series_ohm, shunt_s, has)
        if closed == (True, True):
            self._branch(name, "line", ends, matrix, max_a, np.inf, (phases, phases))
        elif any(closed):
            end = closed.index(True)
            near, far = np.add(phases, 3 * end), np.add(phases, 3 * (1 - end))
            through = matrix[np.ix_(near, far)] @ np.linalg.inv(matrix[np.ix_(far, far)])
            alone = np.zeros((3, 3), np.complex128)
            alone[grid] = matrix[np.ix_(near, near)] - through @ matrix[np.ix_(far, near)]
            self._shunts.append((ends[end], alone))

    def transformer(
        self, name: str, one: str, two: str, rated_va: float, sides: tuple[str, str], clock: int,
        volts: tuple[float, float], rated_pu: complex, idle_pu: complex = 0.0, times: int = 1,
    ) -> None:  # fmt: skip
        """Add a transformer of three phases.

        Args:
            name: Its name.
            one: Bus at its from end.
            two: Bus at its to end.
            rated_va: Of all phases.
            sides: How each end is wound, `wye_n`, `wye` or `delta`.
            clock: Its clock number.
            volts: Rated voltages between phases, taps counted in.
            rated_pu: Its short-circuit impedance on its own rating.
            idle_pu: Its no-load admittance on its own rating; half stands at each end.
            times: How many stand in parallel.

        Raises:
            ConfigError: Ratings are no numbers, or fit their buses by less than half or more than twice.
        """
        ends = self._at(one, f"transformer {name}"), self._at(two, f"transformer {name}")
        if not (rated_va > 0 and abs(rated_pu) > 0 and np.isfinite(rated_va) and np.isfinite(rated_pu)):
            raise ConfigError(
                f"feeder {self.name}: transformer {name} has rating {rated_va:g} VA, impedance {rated_pu}"
            )
        for end, side_v in zip(ends, volts, strict=True):
            bus_v = self._bus_v[end] * np.sqrt(3.0)
            if not bus_v / 2 < side_v < bus_v * 2:
                raise ConfigError(
                    f"feeder {self.name}: transformer {name} is rated {side_v:g} V at a bus of {bus_v:g} V: give "
                    f"{bus_v / 2:g} to {bus_v * 2:g} V (are these kV, or are its ends turned round?)"
                )
        across = [
            side_v / (1.0 if side == "delta" else np.sqrt(3.0)) for side_v, side in zip(volts, sides, strict=True)
        ]
        base_ohm = across[1] ** 2 / (rated_va / 3)
        stray = idle_pu / base_ohm / 2
        matrix = parts.transformer(
            parts.windings(*sides, clock), (across[0], across[1]), rated_pu * base_ohm, (stray, stray)
        )
        if sides[1] != "wye_n":
            # Nothing else ties such an end to ground, and its voltage to ground would be anything.
            matrix[3:, 3:] = matrix[3:, 3:] - ANCHOR_PU * 1j / base_ohm * np.eye(3)
        max_a = times * rated_va / volts[1] / np.sqrt(3.0)
        self._branch(name, "transformer", ends, times * matrix, max_a, times * rated_va, (ALL, ALL))

    def wound(
        self, name: str, one: str, two: str, matrix: Complexes, has: tuple[tuple[int, ...], tuple[int, ...]],
        max_a: float, max_va: float,
    ) -> None:  # fmt: skip
        """Add a transformer by its matrix (6, 6), with the phases that it has at its ends."""
        ends = self._at(one, f"transformer {name}"), self._at(two, f"transformer {name}")
        self._branch(name, "transformer", ends, matrix, max_a, max_va, has)

    def _branch(
        self, name: str, kind: str, ends: tuple[int, int], matrix: Complexes, max_a: float, max_va: float,
        has: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> None:  # fmt: skip
        if ends[0] == ends[1]:
            raise ConfigError(f"feeder {self.name}: {kind} {name} begins and ends at one bus")
        self._branches.append((name, kind, ends[0], ends[1], matrix, float(max_a), float(max_va)))
        for end, phases in zip(ends, has, strict=True):
            self._has[end].update(phases)

    def shunt(self, bus: str, admittance_s: Complexes) -> None:
        """Add what stands between a bus and ground, or between its phases; shape (3, 3)."""
        self._shunts.append((self._at(bus, "a shunt"), admittance_s))

    def source(self, bus: str, pu: float, angle: float, series_ohm: Complexes | None = None) -> None:
        """Set the upstream grid: its voltage as a share of the bus's, phase a's angle (rad), what lies before it."""
        at = self._at(bus, "the source")
        volts = pu * self._bus_v[at] * np.exp(1j * (angle - 2 * np.pi / 3 * np.arange(3)))
        self._has[at].update(ALL)
        self._source = (at, volts, np.eye(3) * STIFF_OHM * (1 + 1j) if series_ohm is None else series_ohm)

    def load(self, name: str, bus: str, drawn_va: Complexes, power_of_u: float = 0.0) -> None:
        """Add a customer between phases and ground by what it draws in each phase (VA; shape (3,)).

        One that draws nothing has a third in each. Where reactive power is split otherwise than active power, each
        phase is a customer of its own.
        """
        at = self._at(bus, f"load {name}")
        if not np.isfinite(drawn_va).all():
            raise ConfigError(f"feeder {self.name}: load {name} draws {drawn_va.tolist()} VA: give numbers")
        phases = np.flatnonzero(np.abs(drawn_va)) if np.abs(drawn_va).any() else np.array(ALL)
        whole = complex(drawn_va.sum())
        share = drawn_va.real / whole.real if whole.real else np.isin(ALL, phases) / len(phases)
        if not np.allclose(share * whole, drawn_va, rtol=1e-9, atol=1e-9 * abs(whole)):
            for phase in phases:
                self.pairs(f"{name}.{'abc'[phase]}", bus, [(int(phase), GROUND)], drawn_va[phase], power_of_u)
            return
        self.pairs(name, bus, [(int(p), GROUND) for p in phases], whole, power_of_u, share[phases], None, at)

    def pairs(
        self, name: str, bus: str, joined: list[tuple[int, int]], drawn_va: complex, power_of_u: float = 0.0,
        share: Floats | None = None, volts: float | None = None, at: int | None = None,
    ) -> None:  # fmt: skip
        """Add a customer between pairs of terminals (-1: ground), in equal parts unless `share` says otherwise."""
        at = self._at(bus, f"load {name}") if at is None else at
        if any(one == two for one, two in joined):
            raise ConfigError(f"feeder {self.name}: load {name} stands between a phase and itself at bus {bus}")
        self._customers.append((name, drawn_va))
        parts_of = np.full(len(joined), 1.0 / len(joined)) if share is None else share
        for (one, two), part in zip(joined, parts_of, strict=True):
            rated = self._bus_v[at] * (1.0 if two == GROUND else np.sqrt(3.0)) if volts is None else volts
            self._loads.append((len(self._customers) - 1, at, one, two, float(part), rated, power_of_u))

    def feeder(self) -> Feeder:
        """Return the feeder.

        Raises:
            ConfigError: It has no source, or is no feeder.
        """
        if self._source is None:
            raise ConfigError(f"feeder {self.name}: it has no source: give one")
        branch, load = list(zip(*self._branches, strict=True)), np.array(self._loads, float).reshape(-1, 7).T
        drawn = np.array([power for _, power in self._customers], np.complex128)
        whole, none = np.int32, np.empty((0, 3, 3), np.complex128)
        return Feeder(
            name=self.name, hertz=self.hertz, bus_name=tuple(self._bus), bus_v=np.array(self._bus_v),
            bus_has=np.array([[phase in has for phase in ALL] for has in self._has]),
            min_pu=np.array([low for low, _ in self._limits]), max_pu=np.array([high for _, high in self._limits]),
            branch_name=tuple(branch[0]) if branch else (), branch_kind=tuple(branch[1]) if branch else (),
            branch_from=np.array(branch[2] if branch else [], whole),
            branch_to=np.array(branch[3] if branch else [], whole),
            branch_s=np.array(branch[4]) if branch else np.empty((0, 6, 6), np.complex128),
            branch_max_a=np.array(branch[5] if branch else [], float),
            branch_max_va=np.array(branch[6] if branch else [], float),
            shunt_bus=np.array([at for at, _ in self._shunts], whole),
            shunt_s=np.array([y for _, y in self._shunts]) if self._shunts else none,
            source_bus=self._source[0], source_v=self._source[1], source_ohm=self._source[2].astype(np.complex128),
            load_customer=load[0].astype(whole), load_bus=load[1].astype(whole), load_phase=load[2].astype(whole),
            load_return=load[3].astype(whole), load_share=load[4], load_v=load[5], load_power_of_u=load[6],
            customer_name=tuple(name for name, _ in self._customers), customer_w=drawn.real, customer_var=drawn.imag,
        )  # fmt: skip
