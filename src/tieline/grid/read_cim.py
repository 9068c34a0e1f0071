"""Feeders from CIM (IEC 61968-11 and 61970-301, profile CIM100 of distribution, in RDF/XML).

Read are line segments by phase or sequence, power transformers of two ends, tanks of one phase, switches, consumers,
shunt compensators and one energy source. Taps stand where their changers' steps are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid import parts
from tieline.grid.assemble import ALL, Assembly
from tieline.grid.cim_text import Thing, Things
from tieline.grid.unbalanced import GROUND, Feeder

Complexes = NDArray[np.inexact[Any]]
SWITCHES = ("LoadBreakSwitch", "Breaker", "Disconnector", "Fuse", "Recloser", "Sectionaliser", "Switch", "Jumper",
            "Cut")  # fmt: skip
CONSUMERS = ("EnergyConsumer", "ConformLoad", "NonConformLoad")
WITH_FLOW = ("SynchronousMachine", "AsynchronousMachine", "PowerElectronicsConnection", "SeriesCompensator",
             "ExternalNetworkInjection", "EquivalentInjection", "EquivalentBranch",
             "NonlinearShuntCompensator")  # fmt: skip
"""Classes that change the flow and are not read: refused where there is one."""
SWITCH_OHM = 1e-6
PHASES = {"A": 0, "B": 1, "C": 2}


def read_cim(text: str, name: str, hertz: float = 50.0) -> Feeder:
    """Return a feeder from CIM RDF/XML.

    Raises:
        ConfigError: It is no CIM, has parts that are not read, or it is no feeder; the message names the object.
    """
    try:
        return _Model(Things(text), name, hertz).feeder()
    except ConfigError as error:
        said = str(error)
        raise ConfigError(said if said.startswith("feeder") else f"feeder {name}: {said}") from error


class _Model:
    def __init__(self, things: Things, name: str, hertz: float) -> None:
        self.things, self.made = things, Assembly(name, hertz)
        for thing in things.of(*WITH_FLOW):
            raise ConfigError(f"class {thing.kind} ({thing.name}) is not read: leave it out")
        self.terminals = things.back("Terminal", "Terminal.ConductingEquipment")
        for ends in self.terminals.values():
            ends.sort(key=lambda end: end.number("ACDCTerminal.sequenceNumber", 1.0))
        self.tank_ends = things.back("TransformerTankEnd", "TransformerTankEnd.TransformerTank")
        self.steps = {tap.values.get("RatioTapChanger.TransformerEnd", ""): tap for tap in things.of("RatioTapChanger")}

    def feeder(self) -> Feeder:
        for bus, volts in self._buses().items():
            self.made.bus(bus, volts)
        self._lines()
        for thing in self.things.of(*SWITCHES):
            if not thing.says("Switch.open" if "Switch.open" in thing.values else "Switch.normalOpen"):
                (one, two), none = self._ends(thing), np.zeros((3, 3), np.complex128)
                self.made.line(thing.name, one, two, np.eye(3) * SWITCH_OHM, none, self._switched(thing))
        self._transformers()
        for thing in self.things.of("TransformerTank"):
            self._tank(thing)
        self._source()
        self._consumers()
        self._shunts()
        return self.made.feeder()

    def _bus(self, terminal: Thing) -> str:
        at = terminal.values.get("Terminal.ConnectivityNode") or terminal.values.get("Terminal.TopologicalNode")
        node = self.things.get(at)
        if node is None:
            raise ConfigError(f"Terminal {terminal.name} stands at no ConnectivityNode")
        return node.name

    def _ends(self, thing: Thing, count: int = 2) -> tuple[str, ...]:
        found = self.terminals.get(thing.id, [])
        if len(found) != count:
            raise ConfigError(f"{thing.kind} {thing.name} has {len(found)} terminals: give {count}")
        return tuple(self._bus(terminal) for terminal in found)

    def _buses(self) -> dict[str, float]:
        """Return each bus's rated voltage to ground: that of the equipment, or transformer end, that stands there."""
        found: dict[str, float] = {}
        for at, terminals in self.terminals.items():
            base = self.things.get((self.things.get(at) or Thing("", "")).values.get("ConductingEquipment.BaseVoltage"))
            for terminal in terminals:
                if base is not None:
                    found.setdefault(self._bus(terminal), base.number("BaseVoltage.nominalVoltage") / np.sqrt(3.0))
        for end in self.things.of("PowerTransformerEnd", "TransformerTankEnd"):
            base, seat = (
                self.things.get(end.values.get(f"TransformerEnd.{what}")) for what in ("BaseVoltage", "Terminal")
            )
            if base is not None and seat is not None:
                found.setdefault(self._bus(seat), base.number("BaseVoltage.nominalVoltage") / np.sqrt(3.0))
        return found

    def _switched(self, thing: Thing) -> tuple[int, ...]:
        found = [each.word("SwitchPhase.phaseSide1") for each in self.things.of("SwitchPhase")
                 if each.values.get("SwitchPhase.Switch") == thing.id]  # fmt: skip
        return tuple(sorted(_phase(thing, letter) for letter in found)) or ALL

    def _lines(self) -> None:
        has = self.things.back("ACLineSegmentPhase", "ACLineSegmentPhase.ACLineSegment")
        entries = self.things.back("PhaseImpedanceData", "PhaseImpedanceData.PhaseImpedance")
        limits = self.things.back("CurrentLimit", "OperationalLimit.OperationalLimitSet")
        for thing in self.things.of("ACLineSegment"):
            rows = sorted(has.get(thing.id, []), key=lambda row: row.number("ACLineSegmentPhase.sequenceNumber", 1.0))
            stands = [_phase(thing, row.word("ACLineSegmentPhase.phase")) for row in rows] or list(ALL)
            series, shunt = self._impedance(thing, stands, entries)
            sets = {end.values.get("ACDCTerminal.OperationalLimitSet", "") for end in self.terminals.get(thing.id, [])}
            most = [each.number("CurrentLimit.value") for at in sets for each in limits.get(at, [])]
            one, two = self._ends(thing)
            phases = tuple(sorted(stands))
            self.made.line(thing.name, one, two, series, shunt, phases, min(most, default=np.inf) or np.inf)

    def _impedance(
        self, thing: Thing, stands: list[int], entries: dict[str, list[Thing]]
    ) -> tuple[Complexes, Complexes]:
        """Return series impedance and shunt admittance of the whole line; shape (3, 3)."""
        per = self.things.get(thing.values.get("ACLineSegment.PerLengthImpedance"))
        if per is not None and per.kind == "PerLengthPhaseImpedance":
            series, shunt = np.zeros((3, 3), np.complex128), np.zeros((3, 3), np.complex128)
            for entry in entries.get(per.id, []):
                i, j = (int(entry.number(f"PhaseImpedanceData.{side}")) - 1 for side in ("row", "column"))
                if max(i, j) < len(stands):
                    pair = (stands[i], stands[j]), (stands[j], stands[i])
                    for at in pair:
                        series[at] = complex(entry.number("PhaseImpedanceData.r"), entry.number("PhaseImpedanceData.x"))
                        shunt[at] = 1j * entry.number("PhaseImpedanceData.b", 0.0)
            long = thing.number("Conductor.length")
            return series * long, shunt * long
        kind, long = ("ACLineSegment", 1.0) if per is None else (per.kind, thing.number("Conductor.length"))
        where = thing if per is None else per
        z1, z0 = (complex(where.number(f"{kind}.r{n}"), where.number(f"{kind}.x{n}")) for n in ("", "0"))
        y1, y0 = (1j * where.number(f"{kind}.{word}", 0.0) for word in ("bch", "b0ch"))
        return parts.phase_matrix(z1, z0) * long, parts.phase_matrix(y1, y0) * long

    def _tap(self, end: Thing) -> float:
        """Return by how much a tap changer moves its end's rated voltage."""
        tap = self.steps.get(end.id)
        if tap is None:
            return 1.0
        step = tap.number("TapChanger.step", tap.number("TapChanger.normalStep", 0.0))
        away = step - tap.number("TapChanger.neutralStep", 0.0)
        return 1.0 + away * tap.number("RatioTapChanger.stepVoltageIncrement") / 100

    def _transformers(self) -> None:
        mesh = self.things.back("TransformerMeshImpedance", "TransformerMeshImpedance.FromTransformerEnd")
        core = self.things.back("TransformerCoreAdmittance", "TransformerCoreAdmittance.TransformerEnd")
        owned = self.things.back("PowerTransformerEnd", "PowerTransformerEnd.PowerTransformer")
        for thing in self.things.of("PowerTransformer"):
            ends = sorted(owned.get(thing.id, []), key=lambda end: end.number("TransformerEnd.endNumber"))
            if not ends:
                continue  # one of tanks
            if len(ends) != 2:
                raise ConfigError(f"PowerTransformer {thing.name} has {len(ends)} ends: give 2")
            rated_va = ends[0].number("PowerTransformerEnd.ratedS")
            rated_v = [end.number("PowerTransformerEnd.ratedU") for end in ends]
            bases = [volts**2 / rated_va for volts in rated_v]
            found = [each for end in ends for each in mesh.get(end.id, [])]
            if found:
                at = 0 if found[0].values["TransformerMeshImpedance.FromTransformerEnd"] == ends[0].id else 1
                ohm = complex(*(found[0].number(f"TransformerMeshImpedance.{part}") for part in "rx"))
                series = ohm / bases[at]
            else:
                ohms = [
                    complex(end.number("PowerTransformerEnd.r"), end.number("PowerTransformerEnd.x", 0.0))
                    for end in ends
                ]
                series = ohms[0] / bases[0] + ohms[1] / bases[1]
            idle = sum(
                complex(each.number("TransformerCoreAdmittance.g"), each.number("TransformerCoreAdmittance.b")) * base
                for end, base in zip(ends, bases, strict=True) for each in core.get(end.id, [])
            )  # fmt: skip
            volts = rated_v[0] * self._tap(ends[0]), rated_v[1] * self._tap(ends[1])
            clock = int(ends[1].number("PowerTransformerEnd.phaseAngleClock", 0.0))
            one, two = (self._seat(end) for end in ends)
            sides = _winding(ends[0]), _winding(ends[1])
            self.made.transformer(thing.name, one, two, rated_va, sides, clock, volts, series, idle)

    def _seat(self, end: Thing) -> str:
        terminal = self.things.get(end.values.get("TransformerEnd.Terminal"))
        if terminal is None:
            raise ConfigError(f"{end.kind} {end.name} has no Terminal")
        return self._bus(terminal)

    def _tank(self, thing: Thing) -> None:
        """Add a transformer of one phase: its ends stand between two phases, or a phase and ground."""
        ends = sorted(self.tank_ends.get(thing.id, []), key=lambda end: end.number("TransformerEnd.endNumber"))
        about = thing.values.get("TransformerTank.TransformerTankInfo")
        infos = [info for info in self.things.of("TransformerEndInfo")
                 if info.values.get("TransformerEndInfo.TransformerTankInfo") == about]  # fmt: skip
        infos.sort(key=lambda info: info.number("TransformerEndInfo.endNumber"))
        if len(ends) != 2 or len(infos) != 2:
            raise ConfigError(f"TransformerTank {thing.name} has {len(ends)} ends, {len(infos)} infos: give 2 of both")
        rated_va = infos[0].number("TransformerEndInfo.ratedS")
        rated_v = [info.number("TransformerEndInfo.ratedU") for info in infos]
        bases = [volts**2 / rated_va for volts in rated_v]
        tests = [test for test in self.things.of("ShortCircuitTest")
                 if test.values.get("ShortCircuitTest.EnergisedEnd") == infos[0].id]  # fmt: skip
        if not tests:
            raise ConfigError(f"TransformerTank {thing.name} has no ShortCircuitTest of its first end")
        size = tests[0].number("ShortCircuitTest.leakageImpedance") / bases[0]
        resists = sum(info.number("TransformerEndInfo.r") / base for info, base in zip(infos, bases, strict=True))
        series = complex(resists, np.sqrt(max(size**2 - resists**2, 0.0))) * bases[1]
        joins = tuple(_ordered(end) for end in ends)
        volts = rated_v[0] * self._tap(ends[0]), rated_v[1] * self._tap(ends[1])
        matrix = parts.transformer((joins[0], joins[1]), volts, series * (volts[1] / rated_v[1]) ** 2)
        has = [tuple(int(p) for p in np.flatnonzero(join[0])) for join in joins]
        one, two = (self._seat(end) for end in ends)
        self.made.wound(thing.name, one, two, matrix, (has[0], has[1]), rated_va / rated_v[1], rated_va)

    def _source(self) -> None:
        found = list(self.things.of("EnergySource"))
        if len(found) != 1:
            raise ConfigError(f"{len(found)} EnergySources: give one")
        source, (bus,) = found[0], self._ends(found[0], 1)
        z1, z0 = (complex(source.number(f"EnergySource.r{n}"), source.number(f"EnergySource.x{n}")) for n in ("", "0"))
        share = source.number("EnergySource.voltageMagnitude") / np.sqrt(3.0) / self.made.bus_v(bus)
        self.made.source(bus, share, source.number("EnergySource.voltageAngle", 0.0), parts.phase_matrix(z1, z0))

    def _consumers(self) -> None:
        has = self.things.back("EnergyConsumerPhase", "EnergyConsumerPhase.EnergyConsumer")
        for thing in self.things.of(*CONSUMERS):
            (bus,) = self._ends(thing, 1)
            rows = sorted(has.get(thing.id, []), key=lambda row: row.word("EnergyConsumerPhase.phase"))
            stands = [_phase(thing, row.word("EnergyConsumerPhase.phase")) for row in rows]
            whole = complex(thing.number("EnergyConsumer.p"), thing.number("EnergyConsumer.q"))
            own = [complex(*(row.number(f"EnergyConsumerPhase.{part}") for part in "pq")) for row in rows]
            for suffix, active, reactive, power_of_u in self._response(thing):
                name = thing.name + suffix
                if thing.word("EnergyConsumer.phaseConnection") == "D":
                    pairs = [(p, (p + 1) % 3) for p in (stands or ALL)] if len(stands) != 2 else [_pair(stands)]
                    drawn = complex(active * whole.real, reactive * whole.imag)
                    self.made.pairs(name, bus, pairs, drawn, power_of_u)
                    continue
                each = np.full(3, whole / 3) if not rows else np.zeros(3, np.complex128)
                each[stands] = own
                self.made.load(name, bus, active * each.real + 1j * reactive * each.imag, power_of_u)

    def _response(self, thing: Thing) -> list[tuple[str, float, float, float]]:
        """Return the parts of a load: a suffix of its name, its share of P and of Q, and its exponent of voltage."""
        how = self.things.get(thing.values.get("EnergyConsumer.LoadResponse"))
        if how is None:
            return [("", 1.0, 1.0, 0.0)]
        word = "LoadResponseCharacteristic"
        if how.says(f"{word}.exponentModel"):
            exponents = [how.number(f"{word}.{part}VoltageExponent", 0.0) for part in "pq"]
            if exponents[0] == exponents[1]:
                return [("", 1.0, 1.0, exponents[0])]
            return [("", 1.0, 0.0, exponents[0]), (".var", 0.0, 1.0, exponents[1])]
        found: list[tuple[str, float, float, float]] = []
        for suffix, kind, power_of_u in (("", "Power", 0.0), (".i", "Current", 1.0), (".z", "Impedance", 2.0)):
            shares = [how.number(f"{word}.{part}Constant{kind}", 0.0) / 100 for part in "pq"]
            if any(shares):
                found.append(("" if not found else suffix, shares[0], shares[1], power_of_u))
        return found

    def _shunts(self) -> None:
        has = self.things.back("LinearShuntCompensatorPhase", "ShuntCompensatorPhase.ShuntCompensator")
        for thing in self.things.of("LinearShuntCompensator"):
            (bus,), matrix = self._ends(thing, 1), np.zeros((3, 3), np.complex128)
            if thing.word("ShuntCompensator.phaseConnection") == "D":
                raise ConfigError(f"LinearShuntCompensator {thing.name} stands in delta: not read")
            rows = has.get(thing.id, [])
            for row in rows:
                at = _phase(thing, row.word("ShuntCompensatorPhase.phase"))
                steps = row.number("ShuntCompensatorPhase.sections", 1.0)
                matrix[at, at] = 1j * steps * row.number("LinearShuntCompensatorPhase.bPerSection")
            if not rows:
                steps = thing.number("ShuntCompensator.sections", 1.0)
                matrix += np.eye(3) * 1j * steps * thing.number("LinearShuntCompensator.bPerSection")
            self.made.shunt(bus, matrix)


def _phase(thing: Thing, letter: str) -> int:
    if letter not in PHASES:
        raise ConfigError(f"{thing.kind} {thing.name} has phase {letter!r}: give A, B or C")
    return PHASES[letter]


def _pair(stands: list[int]) -> tuple[int, int]:
    """Return a load between two phases as it turns: A to B, B to C, C to A."""
    one, two = sorted(stands)
    return (two, one) if (one, two) == (0, 2) else (one, two)


def _ordered(end: Thing) -> NDArray[np.float64]:
    letters = end.word("TransformerTankEnd.orderedPhases")
    stands = [_phase(end, letter) for letter in letters if letter != "N"]
    if not 1 <= len(stands) <= 2:
        raise ConfigError(f"TransformerTankEnd {end.name} has phases {letters!r}: give one or two of A, B, C")
    join = np.zeros((1, 3))
    join[0, stands[0]] = 1.0
    if len(stands) == 2:
        join[0, stands[1]] = GROUND
    return join


def _winding(end: Thing) -> str:
    kind = end.word("PowerTransformerEnd.connectionKind")
    if kind not in ("D", "Y", "Yn"):
        raise ConfigError(f"PowerTransformerEnd {end.name} has connectionKind {kind!r}: give D, Y or Yn")
    if kind == "D":
        return "delta"
    return "wye_n" if kind == "Yn" or end.says("TransformerEnd.grounded") else "wye"
