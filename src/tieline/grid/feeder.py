"""A feeder as tables of buses, lines and transformers, and its one-line layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class FeederModel:
    """A balanced feeder. Bus numbers count from 0; bus `source` is the upstream grid.

    `line_*` have a value a line, `trafo_*` one a transformer, `load_*` one a site, `native_*` one a plant that stands
    there already and listens to nobody. Resistances in ohm, capacitance in F, currents in A, powers in W, drawn by
    loads and given by plants. `line_closed` says of each line whether it is closed at its from and to end.
    """

    name: str
    bus_v: Floats
    source: int
    source_pu: float
    line_from: Ints
    line_to: Ints
    line_closed: NDArray[np.bool_]
    line_r_ohm: Floats
    line_x_ohm: Floats
    line_c_f: Floats
    line_max_a: Floats
    trafo_from: Ints
    trafo_to: Ints
    trafo_va: Floats
    trafo_v1: Floats
    trafo_v2: Floats
    trafo_uk_frac: Floats
    trafo_loss_w: Floats
    trafo_idle_w: Floats
    trafo_idle_frac: Floats
    load_bus: Ints
    load_w: Floats
    load_tan: Floats
    load_profile: tuple[str, ...]
    native_bus: Ints
    native_w: Floats
    native_profile: tuple[str, ...]
    min_pu: Floats
    max_pu: Floats


def read_simbench(text: str, name: str) -> FeederModel:
    """Return a feeder from a SimBench excerpt (tables as columns, pandapower's units).

    Raises:
        ConfigError: A table or column is missing, or a line ends at an unknown bus.
    """
    try:
        tables = json.loads(text)
        number = _numbers(tables)
        return FeederModel(
            name=name,
            **_buses(tables, number),
            **_lines(tables, number),
            **_trafos(tables["trafo"], number),
            **_plants(tables, number),
        )
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ConfigError(f"feeder {name}: {type(error).__name__} {error}: not a SimBench excerpt") from error


def _numbers(tables: Table) -> dict[int, int]:
    """Return our number of each bus; buses that a closed coupler joins are one."""
    switch = tables["switch"]
    joins = [
        (one, two)
        for one, two, what, closed in zip(switch["bus"], switch["element"], switch["et"], switch["closed"], strict=True)
        if what == "b" and closed
    ]
    stands_for = {bus: bus for bus in tables["bus"]["index"]}
    for one, two in joins:
        keep, drop = stands_for[one], stands_for[two]
        stands_for = {bus: keep if to == drop else to for bus, to in stands_for.items()}
    at = {bus: n for n, bus in enumerate(bus for bus in tables["bus"]["index"] if stands_for[bus] == bus)}
    return {bus: at[to] for bus, to in stands_for.items()}


def _buses(tables: Table, number: dict[int, int]) -> dict[str, Any]:
    bus, grid = tables["bus"], tables["ext_grid"]
    first = {at: row for row, at in reversed([(row, number[index]) for row, index in enumerate(bus["index"])])}
    rows = [first[at] for at in range(len(first))]
    return {
        "bus_v": np.array(bus["vn_kv"])[rows] * 1e3,
        "min_pu": np.array(bus["min_vm_pu"])[rows],
        "max_pu": np.array(bus["max_vm_pu"])[rows],
        "source": number[grid["bus"][0]],
        "source_pu": float(grid["vm_pu"][0]),
    }


def _lines(tables: Table, number: dict[int, int]) -> dict[str, Any]:
    line, switch = tables["line"], tables["switch"]
    length = np.array(line["length_km"])
    closed = np.ones((len(length), 2), np.bool_)
    row_of = {index: row for row, index in enumerate(line["index"])}
    for bus, element, what, is_closed in zip(
        switch["bus"], switch["element"], switch["et"], switch["closed"], strict=True
    ):
        if what == "l" and not is_closed:
            row = row_of[element]
            closed[row, 0 if line["from_bus"][row] == bus else 1] = False
    return {
        "line_from": np.array([number[bus] for bus in line["from_bus"]], np.int32),
        "line_to": np.array([number[bus] for bus in line["to_bus"]], np.int32),
        "line_closed": closed,
        "line_r_ohm": np.array(line["r_ohm_per_km"]) * length,
        "line_x_ohm": np.array(line["x_ohm_per_km"]) * length,
        "line_c_f": np.array(line["c_nf_per_km"]) * length * 1e-9,
        "line_max_a": np.array(line["max_i_ka"]) * 1e3,
    }


def _trafos(trafo: Table, number: dict[int, int]) -> dict[str, Any]:
    rated_va = np.array(trafo["sn_mva"]) * 1e6
    return {
        "trafo_from": np.array([number[bus] for bus in trafo["hv_bus"]], np.int32),
        "trafo_to": np.array([number[bus] for bus in trafo["lv_bus"]], np.int32),
        "trafo_va": rated_va,
        "trafo_v1": np.array(trafo["vn_hv_kv"]) * 1e3,
        "trafo_v2": np.array(trafo["vn_lv_kv"]) * 1e3,
        "trafo_uk_frac": np.array(trafo["vk_percent"]) / 100,
        "trafo_loss_w": np.array(trafo["vkr_percent"]) / 100 * rated_va,
        "trafo_idle_w": np.array(trafo["pfe_kw"]) * 1e3,
        "trafo_idle_frac": np.array(trafo["i0_percent"]) / 100,
    }


def _plants(tables: Table, number: dict[int, int]) -> dict[str, Any]:
    load, native = tables["load"], tables["sgen"]
    drawn_mw = np.array(load["p_mw"])
    return {
        "load_bus": np.array([number[bus] for bus in load["bus"]], np.int32),
        "load_w": drawn_mw * 1e6,
        "load_tan": np.array(load["q_mvar"]) / drawn_mw,
        "load_profile": tuple(load["profile"]),
        "native_bus": np.array([number[bus] for bus in native["bus"]], np.int32),
        "native_w": np.array(native["p_mw"]) * 1e6,
        "native_profile": tuple(native["profile"]),
    }


def layout(model: FeederModel) -> tuple[Floats, Floats]:
    """Return x (distance from the source in lines) and y (place among siblings) of each bus: a tidy tree.

    Leaves stand on rows of their own and a bus stands in the middle of what hangs from it, so that no two overlap.
    """
    count = len(model.bus_v)
    beside: list[list[int]] = [[] for _ in range(count)]
    whole = model.line_closed.all(axis=1)  # an open ring is drawn as the tree that carries current
    pairs = [*zip(model.line_from[whole], model.line_to[whole], strict=True)]
    for a, b in [*pairs, *zip(model.trafo_from, model.trafo_to, strict=True)]:
        beside[int(a)].append(int(b))
        beside[int(b)].append(int(a))
    x, y = np.full(count, -1.0), np.zeros(count)
    x[model.source] = 0.0
    order, children = [model.source], {bus: list[int]() for bus in range(count)}
    for bus in order:
        for other in sorted(beside[bus]):
            if x[other] < 0:
                x[other] = x[bus] + 1
                children[bus].append(other)
                order.append(other)
    row = 0
    stack = [(model.source, False)]
    while stack:
        bus, done = stack.pop()
        if done:
            y[bus] = float(np.mean([y[child] for child in children[bus]]))
        elif children[bus]:
            stack.append((bus, True))
            stack += [(child, False) for child in reversed(children[bus])]
        else:
            y[bus], row = float(row), row + 1
    return x, y
