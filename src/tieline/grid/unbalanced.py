"""A feeder of three phases as columns: the one model that every reader makes and every solver takes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]
Complexes = NDArray[np.inexact[Any]]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int32]
GROUND = -1
LEAST_V, MOST_V = 50.0, 500_000.0
"""Between these lies the voltage to ground of every bus of a distribution feeder and what stands above it."""
VOLTS_LIMITS = f"give {LEAST_V:g} to {MOST_V:g} V to ground (are these kV, or between phases?)"
MOST_OFF = 2.0
"""A load or source whose rated voltage is more than so many times its bus's, or less, is a slip of units."""


@dataclass(frozen=True, slots=True, eq=False)
class Feeder:
    """An unbalanced feeder: b buses, m branches, s shunts, n loads of c customers. Phases a, b, c count from 0.

    `bus_*` have a value a bus: name, rated voltage to ground (V), which phases it has (b, 3), and the voltages that
    must be kept (pu). `branch_*`: name, what it is (`line` or `transformer`), ends, admittance (m, 6, 6), and what it
    may carry in each phase (A at its from end) and in all (VA); inf: no limit known. `shunt_*`: what stands between
    a bus and ground (s, 3, 3). `source_*`: the stiff voltage upstream (V to ground, (3,)) and what lies before it
    (ohm, (3, 3)). `load_*`: customer, bus, phase and return (-1: ground), its share of its customer's power, rated
    voltage across it, and how its power goes with voltage (0 constant, 1 like U, 2 like its square).
    `customer_*`: name and the power that the file has it draw (W and var).
    """

    name: str
    hertz: float
    bus_name: tuple[str, ...]
    bus_v: Floats
    bus_has: Bools
    min_pu: Floats
    max_pu: Floats
    branch_name: tuple[str, ...]
    branch_kind: tuple[str, ...]
    branch_from: Ints
    branch_to: Ints
    branch_s: Complexes
    branch_max_a: Floats
    branch_max_va: Floats
    shunt_bus: Ints
    shunt_s: Complexes
    source_bus: int
    source_v: Complexes
    source_ohm: Complexes
    load_customer: Ints
    load_bus: Ints
    load_phase: Ints
    load_return: Ints
    load_share: Floats
    load_v: Floats
    load_power_of_u: Floats
    customer_name: tuple[str, ...]
    customer_w: Floats
    customer_var: Floats

    def __post_init__(self) -> None:
        """Refuse what is no feeder.

        Raises:
            ConfigError: Names field, value and limit.
        """
        _are_numbers(self)
        _have_units(self)
        _hang_together(self)

    def loads_of(self, customers: Complexes) -> Complexes:
        """Return what each load has of its customer's power; from shape (k, c) to (k, n)."""
        spread: Complexes = customers[:, self.load_customer] * self.load_share
        return spread


def _refuse(feeder: Feeder, text: str) -> ConfigError:
    return ConfigError(f"feeder {feeder.name}: {text}")


def _are_numbers(feeder: Feeder) -> None:
    may_be_infinite = {"branch_max_a", "branch_max_va", "min_pu", "max_pu"}
    for field in fields(feeder):
        column = getattr(feeder, field.name)
        if isinstance(column, np.ndarray) and column.dtype.kind in "fc":
            bad = np.isnan(column) if field.name in may_be_infinite else ~np.isfinite(column)
            if bad.any():
                row = int(np.argwhere(bad)[0][0])
                raise _refuse(feeder, f"{field.name} of row {row} is {column[bad][0]}: give a number")


def _have_units(feeder: Feeder) -> None:
    wrong = (feeder.bus_v < LEAST_V) | (feeder.bus_v > MOST_V)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise _refuse(feeder, f"bus {feeder.bus_name[row]}: rated voltage is {feeder.bus_v[row]:g} V: {VOLTS_LIMITS}")
    across = feeder.bus_v[feeder.load_bus] * np.where(feeder.load_return == GROUND, 1.0, np.sqrt(3.0))
    for row in np.flatnonzero(np.abs(np.log(np.maximum(feeder.load_v, 1e-9) / across)) > np.log(MOST_OFF)).tolist():
        name = feeder.customer_name[feeder.load_customer[row]]
        raise _refuse(
            feeder,
            f"load {name}: rated voltage is {feeder.load_v[row]:g} V where its bus "
            f"{feeder.bus_name[feeder.load_bus[row]]} gives {across[row]:g} V: give {across[row] / MOST_OFF:g} to "
            f"{across[row] * MOST_OFF:g} V (are these kV?)",
        )
    off = np.abs(feeder.source_v).max() / feeder.bus_v[feeder.source_bus]
    if not 1 / MOST_OFF < off < MOST_OFF:
        raise _refuse(feeder, f"the source holds {off:g} pu of its bus: give {1 / MOST_OFF:g} to {MOST_OFF:g} pu")
    if not 15.0 <= feeder.hertz <= 70.0:
        raise _refuse(feeder, f"frequency is {feeder.hertz:g} Hz: give 15 to 70 Hz")


def _hang_together(feeder: Feeder) -> None:
    if not feeder.customer_name:
        raise _refuse(feeder, "it has no loads and no plants: give at least one")
    if not len(feeder.branch_from):
        raise _refuse(feeder, "it has no lines and no transformers: give at least one")
    lost = (~live_phases(feeder) & feeder.bus_has).any(axis=1) | ~feeder.bus_has.any(axis=1)
    if lost.any():
        buses = np.flatnonzero(lost)
        named = ", ".join(feeder.bus_name[bus] for bus in buses[:3])
        raise _refuse(
            feeder,
            f"{len(buses)} of {len(feeder.bus_name)} buses have a phase without a closed way to the source ({named}"
            f"{', ...' if len(buses) > 3 else ''}): close a switch, or leave them out",
        )
    for phase in (feeder.load_phase, feeder.load_return):
        bad = (phase != GROUND) & ~feeder.bus_has[feeder.load_bus, phase]
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            name = feeder.customer_name[feeder.load_customer[row]]
            bus = feeder.bus_name[feeder.load_bus[row]]
            raise _refuse(feeder, f"load {name}: phase {'abc'[phase[row]]} is not at its bus {bus}")


def live_phases(feeder: Feeder) -> Bools:
    """Return which phases of which buses have a way to the source; shape (b, 3)."""
    live = np.zeros((len(feeder.bus_name), 3), np.bool_)
    live[feeder.source_bus] = feeder.bus_has[feeder.source_bus]
    couples = np.abs(feeder.branch_s[:, :3, 3:]) > 0
    one, two = feeder.branch_from, feeder.branch_to
    order, beside = [feeder.source_bus], [list[int]() for _ in feeder.bus_name]
    ends = list(zip(one.tolist(), two.tolist(), strict=True))
    for row, (a, b) in enumerate(ends):
        beside[a].append(row)
        beside[b].append(row)
    for bus in order:  # a bus comes again whenever one of its phases turned live
        for row in beside[bus]:
            outward = ends[row][0] == bus
            other = ends[row][1 if outward else 0]
            reach = couples[row] if outward else couples[row].T
            found = live[bus] @ reach & ~live[other]
            if found.any():
                live[other] |= found
                order.append(other)
    return live
