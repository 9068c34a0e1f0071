"""A feeder as tables of buses, lines and one transformer, and its one-line layout."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class FeederModel:
    """A balanced low-voltage feeder. Bus numbers count from 0; bus `source` is the upstream grid.

    `line_*` have a value a line; `load_bus` has one a site. Resistances in ohm, capacitance in F, currents in A.
    """

    name: str
    bus_v: Floats
    source: int
    source_pu: float
    line_from: Ints
    line_to: Ints
    line_r_ohm: Floats
    line_x_ohm: Floats
    line_c_f: Floats
    line_max_a: Floats
    trafo_from: int
    trafo_to: int
    trafo_va: float
    trafo_v1: float
    trafo_v2: float
    trafo_uk_frac: float
    trafo_loss_w: float
    trafo_idle_w: float
    trafo_idle_frac: float
    load_bus: Ints
    min_pu: float = 0.9
    max_pu: float = 1.1


def read_simbench(text: str, name: str) -> FeederModel:
    """Return a feeder from a SimBench excerpt (tables as columns, pandapower's units).

    Raises:
        ConfigError: A table or column is missing, or a line ends at an unknown bus.
    """
    try:
        tables = json.loads(text)
        number = {bus: at for at, bus in enumerate(tables["bus"]["index"])}
        line, trafo, grid, load = (tables[key] for key in ("line", "trafo", "ext_grid", "load"))
        length = np.array(line["length_km"])
        rated_va = trafo["sn_mva"][0] * 1e6
        return FeederModel(
            name,
            np.array(tables["bus"]["vn_kv"]) * 1e3,
            number[grid["bus"][0]],
            float(grid["vm_pu"][0]),
            np.array([number[bus] for bus in line["from_bus"]], np.int32),
            np.array([number[bus] for bus in line["to_bus"]], np.int32),
            np.array(line["r_ohm_per_km"]) * length,
            np.array(line["x_ohm_per_km"]) * length,
            np.array(line["c_nf_per_km"]) * length * 1e-9,
            np.array(line["max_i_ka"]) * 1e3,
            number[trafo["hv_bus"][0]],
            number[trafo["lv_bus"][0]],
            rated_va,
            trafo["vn_hv_kv"][0] * 1e3,
            trafo["vn_lv_kv"][0] * 1e3,
            trafo["vk_percent"][0] / 100,
            trafo["vkr_percent"][0] / 100 * rated_va,
            trafo["pfe_kw"][0] * 1e3,
            trafo["i0_percent"][0] / 100,
            np.array([number[bus] for bus in load["bus"]], np.int32),
        )
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ConfigError(f"feeder {name}: {type(error).__name__} {error}: not a SimBench excerpt") from error


def layout(model: FeederModel) -> tuple[Floats, Floats]:
    """Return x (distance from the source in lines) and y (place among siblings) of each bus: a tidy tree.

    Leaves stand on rows of their own and a bus stands in the middle of what hangs from it, so that no two overlap.
    """
    count = len(model.bus_v)
    beside: list[list[int]] = [[] for _ in range(count)]
    pairs = [*zip(model.line_from, model.line_to, strict=True), (model.trafo_from, model.trafo_to)]
    for a, b in pairs:
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
