"""Feeders from OpenDSS scripts: sources, lines and their codes, two-winding transformers, loads and capacitors.

Defaults are those of the OpenDSS reference; how it ties a floating part to ground and turns a delta was found by its
answers. Taps stand where the script puts them: controls don't move them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid import parts
from tieline.grid.assemble import ALL, Assembly
from tieline.grid.dss_script import Script, Thing, number, numbers, read_script, triangle, words
from tieline.grid.dss_transformer import read_transformer
from tieline.grid.unbalanced import GROUND, Feeder

Complexes = NDArray[np.inexact[Any]]
METRES = {"none": 0.0, "mi": 1609.344, "kft": 304.8, "km": 1000.0, "m": 1.0, "ft": 0.3048, "in": 0.0254, "cm": 0.01,
          "mm": 0.001}  # fmt: skip
LINE_WORDS = (
    "linecode", "length", "phases", "r1", "x1", "r0", "x0", "c1", "c0", "rmatrix", "xmatrix", "cmatrix", "switch",
    "rg", "xg", "rho", "units", "normamps", "emergamps", "faultrate", "pctperm", "repair", "basefreq", "enabled",
    "seasons", "ratings", "linetype", "ampacity",
)  # fmt: skip
KNOWN = {
    "vsource": (
        "bus1", "basekv", "pu", "angle", "frequency", "phases", "mvasc3", "mvasc1", "x1r1", "x0r0", "isc3", "isc1",
        "r1", "x1", "r0", "x0", "bus2", "basefreq", "enabled",
    ),
    "linecode": ("nphases", *LINE_WORDS, "kron", "neutral"),
    "line": ("bus1", "bus2", *LINE_WORDS),
    "transformer": (
        "phases", "windings", "wdg", "bus", "conn", "kv", "kva", "tap", "%r", "rneut", "xneut", "buses", "conns",
        "kvs", "kvas", "taps", "xhl", "xht", "xlt", "xscarray", "thermal", "n", "m", "flrise", "hsrise", "%loadloss",
        "%noloadloss", "normhkva", "emerghkva", "sub", "maxtap", "mintap", "numtaps", "subname", "%imag",
        "ppm_antifloat", "%rs", "bank", "xfmrcode", "xrconst", "x12", "leadlag", "core", "basefreq", "enabled",
    ),
    "load": (
        "phases", "bus1", "kv", "kw", "pf", "model", "yearly", "daily", "duty", "growth", "conn", "kvar", "rneut",
        "xneut", "status", "class", "vminpu", "vmaxpu", "vminnorm", "vminemerg", "xfkva", "allocationfactor", "kva",
        "%mean", "%stddev", "cvrwatts", "cvrvars", "numcust", "basefreq", "enabled", "spectrum",
    ),
    "capacitor": (
        "bus1", "bus2", "phases", "kvar", "kv", "conn", "cmatrix", "cuf", "r", "xl", "harm", "numsteps", "states",
        "normamps", "emergamps", "basefreq", "enabled",
    ),
}  # fmt: skip
POWER_OF_U = {1: 0.0, 2: 2.0, 5: 1.0}
DEFAULT_LINE = {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047, "c1": 3.4, "c0": 1.6}
"""Ohm and nF a thousand feet, of a line that gives none."""


def read_opendss(text: str, name: str, include: Callable[[str], str] | None = None) -> Feeder:
    """Return a feeder from an OpenDSS script.

    Args:
        text: The script.
        name: What the feeder is called.
        include: Returns the text of a file that the script redirects to; left out: a redirection is refused.

    Raises:
        ConfigError: Names the line, or the object with property and value, that is not understood; or it is no feeder.
    """
    try:
        script = read_script(text, include or _none, KNOWN)
        return _Circuit(script, name).feeder()
    except ConfigError as error:
        said = str(error)
        raise ConfigError(said if said.startswith("feeder") else f"feeder {name}: {said}") from error


def _none(path: str) -> str:
    raise ConfigError(f"it redirects to {path}: give `include`, which returns the text of such a file")


def _last(thing: Thing, *names: str) -> str | None:
    found = [value for name, value in thing.given if name in names]
    return found[-1] if found else None


def _value(thing: Thing, name: str, default: float) -> float:
    said = _last(thing, name)
    try:
        return default if said is None else number(said)
    except ConfigError as error:
        raise ConfigError(f"{thing.kind}.{thing.name}.{name}: {error}") from error


def split_bus(thing: Thing, text: str, phases: int) -> tuple[str, list[int]]:
    """Return a bus's name and where its conductors stand: phases from 0, -1 for ground.

    Raises:
        ConfigError: A conductor stands at a terminal above 3, such as a neutral of its own.
    """
    name, *given = text.lower().split(".")
    stands = [int(each) - 1 for each in given] if given else list(range(phases))
    if any(each > 2 for each in stands):
        raise ConfigError(
            f"{thing.kind}.{thing.name}: bus {text} has a terminal above 3: neutrals of their own are not read"
        )
    return name, stands


class _Circuit:
    def __init__(self, script: Script, name: str) -> None:
        self.script, self.name = script, name
        self.hertz = number(script.options.get("defaultbasefrequency", "60"))
        self.codes = {thing.name: thing for thing in script.of("linecode")}
        self.lines = [self._line(thing) for thing in script.of("line")]
        self.wound = [read_transformer(thing, split_bus) for thing in script.of("transformer")]

    def feeder(self) -> Feeder:
        sources = self.script.of("vsource")
        if len(sources) != 1:
            raise ConfigError(f"{len(sources)} sources: give one")
        source = sources[0]
        at = (_last(source, "bus1") or "sourcebus").lower().partition(".")[0]
        made = Assembly(self.name, self.hertz)
        for bus, volts in self._volts(at, _value(source, "basekv", 115.0) * 1e3 / np.sqrt(3.0)).items():
            made.bus(bus, volts)
        for name, one, two, series, shunt, phases, max_a in self.lines:
            made.line(name, one, two, series, shunt, phases, max_a)
        for each in self.wound:
            made.wound(each.name, *each.buses, each.matrix_s, each.has, each.max_a, each.rated_va)
        _source(made, source, at)
        for thing in self.script.of("load"):
            _load(made, thing)
        for thing in self.script.of("capacitor"):
            _capacitor(made, thing)
        return made.feeder()

    def _volts(self, source: str, volts: float) -> dict[str, float]:
        """Return each bus's rated voltage to ground: from the source on, through transformers by their ratings."""
        beside: dict[str, list[tuple[str, float | None]]] = {}
        for _, one, two, *_ in self.lines:
            beside.setdefault(one, []).append((two, None))
            beside.setdefault(two, []).append((one, None))
        for each in self.wound:
            (one, two), (first, second) = each.buses, each.bus_v
            beside.setdefault(one, []).append((two, second))
            beside.setdefault(two, []).append((one, first))
        bases = [v * 1e3 / np.sqrt(3.0) for v in numbers(self.script.options.get("voltagebases", ""))]
        found, order = {source: _nearest(volts, bases)}, [source]
        for bus in order:
            for other, own in beside.get(bus, ()):
                if other not in found:
                    found[other] = _nearest(own, bases) if own is not None else found[bus]
                    order.append(other)
        lost = [bus for bus in beside if bus not in found]
        if lost:
            raise ConfigError(
                f"{len(lost)} buses have no way to the source ({', '.join(lost[:3])}): close a line, or leave them out"
            )
        return found

    def _line(self, thing: Thing) -> tuple[str, str, str, Complexes, Complexes, tuple[int, ...], float]:
        buses = [_last(thing, bus) for bus in ("bus1", "bus2")]
        if None in buses:
            raise ConfigError(f"line.{thing.name}: it lacks a bus: give bus1 and bus2")
        state: dict[str, Any] = {"phases": 3, "length": 1.0, "units": "none", "code_units": None} | DEFAULT_LINE
        self._follow(thing, state)
        phases = int(state["phases"])
        (one, stands), (two, ends) = (split_bus(thing, bus or "", phases) for bus in buses)
        if stands[:phases] != ends[:phases] or len(set(stands[:phases])) != phases:
            raise ConfigError(f"line.{thing.name}: its phases change from {buses[0]} to {buses[1]}: not read")
        series, shunt = _matrices(thing, state, self.hertz)
        long = state["length"] * _factor(state["code_units"], state["units"])
        order = stands[:phases]
        wide = [np.zeros((3, 3), np.complex128) for _ in range(2)]
        for matrix, own in zip(wide, (series * long, shunt * long), strict=True):
            matrix[np.ix_(order, order)] = own
        return thing.name, one, two, wide[0], wide[1], tuple(sorted(order)), state.get("normamps", np.inf)

    def _follow(self, thing: Thing, state: dict[str, Any]) -> None:
        """Take a line's or a line code's properties in their order, as each sets others."""
        for name, value in thing.given:
            match name:
                case "linecode":
                    code = self.codes.get(value.lower())
                    if code is None:
                        raise ConfigError(f"line.{thing.name}: linecode {value} is not there")
                    self._follow(code, state)
                    state["code_units"] = state["units"]
                case "nphases" | "phases":
                    state["phases"] = number(value)
                case "switch" if value[:1].lower() in "yt1":
                    state |= {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0, "c1": 1.1, "c0": 1.0, "length": 0.001}
                    state["rmatrix"] = state["xmatrix"] = state["cmatrix"] = None
                case "r1" | "x1" | "r0" | "x0" | "c1" | "c0":
                    state[name] = number(value)
                    state["rmatrix"] = state["xmatrix"] = state["cmatrix"] = None
                case "rmatrix" | "xmatrix" | "cmatrix":
                    state[name] = value
                case "units":
                    if value.lower() not in METRES:
                        raise ConfigError(f"{thing.kind}.{thing.name}: units {value}: give one of {', '.join(METRES)}")
                    state["units"] = value.lower()
                case "length" | "normamps" | "basefreq":
                    state[name] = number(value)


def _nearest(volts: float, bases: list[float]) -> float:
    return min(bases, key=lambda base: abs(np.log(base / volts))) if bases else volts


def _factor(code_units: str | None, units: str) -> float:
    if code_units in (None, "none") or units == "none":
        return 1.0
    return METRES[units] / METRES[str(code_units)]


def _matrices(thing: Thing, state: dict[str, Any], hertz: float) -> tuple[Complexes, Complexes]:
    """Return series impedance (ohm) and shunt admittance (S) a unit of length, over the line's own phases."""
    size, scale = int(state["phases"]), hertz / state.get("basefreq", hertz)
    if state.get("rmatrix") or state.get("xmatrix"):
        try:
            resists, reacts = (np.array(triangle(state[name] or "", size)) for name in ("rmatrix", "xmatrix"))
            series = resists + 1j * scale * reacts
            # A code that gives no capacitances keeps those of its sequence values, set or not.
            even = parts.phase_matrix(state["c1"], state["c0"] if size > 1 else state["c1"])[:size, :size].real
            held = np.array(triangle(state["cmatrix"], size)) if state.get("cmatrix") else even
        except ConfigError as error:
            raise ConfigError(f"line.{thing.name}: {error}") from error
        return series, 2j * np.pi * hertz * 1e-9 * held
    z1, z0 = (complex(state[f"r{n}"], scale * state[f"x{n}"]) for n in (1, 0))
    y1, y0 = (2j * np.pi * hertz * 1e-9 * state[f"c{n}"] for n in (1, 0))
    if size == 1:  # a line of one phase has its positive sequence's impedance
        z0, y0 = z1, y1
    return parts.phase_matrix(z1, z0)[:size, :size], parts.phase_matrix(y1, y0)[:size, :size]


def _source(made: Assembly, thing: Thing, at: str) -> None:
    base_v = _value(thing, "basekv", 115.0) * 1e3
    three, one = _value(thing, "mvasc3", 2000.0) * 1e6, _value(thing, "mvasc1", 2100.0) * 1e6
    for name, _ in thing.given:  # whichever was set last holds
        if name == "isc3":
            three = np.sqrt(3.0) * base_v * _value(thing, name, 0.0)
        elif name == "isc1":
            one = np.sqrt(3.0) * base_v * _value(thing, name, 0.0)
    ratio, zero_ratio = _value(thing, "x1r1", 4.0), _value(thing, "x0r0", 3.0)
    reacts = base_v**2 / three / np.sqrt(1 + 1 / ratio**2)
    z1 = complex(reacts / ratio, reacts)
    # R0 from the single-phase fault: |2 Z1 + Z0| = 3 V / I, with X0 = k R0.
    a, b = 1 + zero_ratio**2, 4 * (z1.real + z1.imag * zero_ratio)
    c = 4 * abs(z1) ** 2 - (3 * base_v**2 / one) ** 2
    resists = (-b + np.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
    z0 = complex(resists, zero_ratio * resists)
    if _last(thing, "r1", "x1") is not None:
        z1 = complex(_value(thing, "r1", 1.65), _value(thing, "x1", 6.6))
        z0 = complex(_value(thing, "r0", 1.9), _value(thing, "x0", 5.7))
    share = _value(thing, "pu", 1.0) * base_v / np.sqrt(3.0) / made.bus_v(at)
    made.source(at, share, np.radians(_value(thing, "angle", 0.0)), parts.phase_matrix(z1, z0))


def _load(made: Assembly, thing: Thing) -> None:
    phases, is_delta = int(_value(thing, "phases", 3)), (_last(thing, "conn") or "wye")[:1].lower() in "dl"
    model, kilovolt = int(_value(thing, "model", 1)), _value(thing, "kv", 12.47)
    if model not in (*POWER_OF_U, 4):
        raise ConfigError(
            f"load.{thing.name}: model {model} is not read: give 1 (power), 2 (impedance), 4 (exponents) or 5 (current)"
        )
    bus, stands = split_bus(thing, _last(thing, "bus1") or "", phases)
    volts = kilovolt * 1e3 / (np.sqrt(3.0) if phases > 1 and not is_delta else 1.0)
    if phases == 1:
        joined = [(stands[0], stands[1] if len(stands) > 1 else (1 if is_delta else GROUND))]
    elif is_delta:
        joined = [(stands[p], stands[(p + 1) % 3]) for p in range(3)]
    else:
        joined = [(stands[p], GROUND) for p in range(phases)]
    drawn_va = complex(*_drawn_kw(thing)) * 1e3
    if model == 4:  # active and reactive power go with voltage by exponents of their own: two loads
        made.pairs(thing.name, bus, joined, complex(drawn_va.real), _value(thing, "cvrwatts", 1.0), volts=volts)
        made.pairs(f"{thing.name}.var", bus, joined, drawn_va.imag * 1j, _value(thing, "cvrvars", 2.0), volts=volts)
    else:
        made.pairs(thing.name, bus, joined, drawn_va, POWER_OF_U[model], volts=volts)


def _drawn_kw(thing: Thing) -> tuple[float, float]:
    """Return active and reactive power: of kW, kvar, pf and kVA the two that were set last hold."""
    kilowatt, kilovar, factor, kva = (
        _value(thing, "kw", 10.0),
        0.0,
        _value(thing, "pf", 0.88),
        _value(thing, "kva", 0.0),
    )
    order = [name for name, _ in thing.given if name in ("kw", "kvar", "pf", "kva")]
    if not -1.0 <= factor <= 1.0 or factor == 0.0:
        raise ConfigError(f"load.{thing.name}: pf is {factor:g}: give -1 to 1, not 0")
    if "kva" in order and "kw" not in order[-2:]:
        kilowatt = kva * abs(factor)
    if "kvar" in order and order[-1] != "pf":
        kilovar = _value(thing, "kvar", 0.0)
    else:
        kilovar = kilowatt * np.sqrt(1 / factor**2 - 1) * np.sign(factor)
    return kilowatt, float(kilovar)


def _capacitor(made: Assembly, thing: Thing) -> None:
    phases, is_delta = int(_value(thing, "phases", 3)), (_last(thing, "conn") or "wye")[:1].lower() in "dl"
    if _last(thing, "bus2", "cmatrix", "cuf") is not None:
        raise ConfigError(f"capacitor.{thing.name}: in series, or by capacitance, is not read: give kvar to ground")
    bus, stands = split_bus(thing, _last(thing, "bus1") or "", phases)
    on = words(_last(thing, "states") or "")
    steps = numbers(_last(thing, "kvar") or "1200")
    kilovar = sum(each for k, each in enumerate(steps) if k >= len(on) or on[k] == "1") / phases
    across = _value(thing, "kv", 12.47) * 1e3 / (np.sqrt(3.0) if phases > 1 and not is_delta else 1.0)
    each = 1j * kilovar * 1e3 / across**2
    matrix = np.zeros((3, 3), np.complex128)
    for p in range(phases):
        back = stands[(p + 1) % len(stands)] if is_delta and len(stands) > 1 else GROUND
        ends = np.array([float(q == stands[p]) - float(q == back) for q in ALL])
        matrix += each * np.outer(ends, ends)
    made.shunt(bus, matrix)
