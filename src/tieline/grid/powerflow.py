"""Power flow of many feeders or many instants at once, by power-grid-model; and what breaks a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import ComponentType, LoadGenType, PowerGridModel, WindingType, initialize_array

from tieline.errors import Infeasible
from tieline.grid.feeder import FeederModel

Floats = NDArray[np.float64]
POWER_FACTOR_TAN = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Results of k scenarios: voltage of each bus (pu; shape (k, buses)), loading of each line and the transformer."""

    voltage_pu: Floats
    line_frac: Floats
    trafo_frac: Floats

    def worst(self) -> tuple[Floats, Floats, Floats]:
        """Return the lowest and highest voltage (pu) and the highest loading of each scenario; shape (k,)."""
        loading = np.maximum(self.line_frac.max(axis=1), self.trafo_frac)
        return self.voltage_pu.min(axis=1), self.voltage_pu.max(axis=1), loading


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken limit: where, what, the value and the limit."""

    scenario: int
    place: str
    what: str
    value: float
    limit: float


class FeederFlow:
    """Solves one feeder's power flow for many scenarios."""

    def __init__(self, model: FeederModel) -> None:
        self.model = model
        buses, lines = len(model.bus_v), len(model.line_from)
        self._first_line, self._trafo, self._source = buses, buses + lines, buses + lines + 1
        self._first_load = buses + lines + 2
        self._grid = PowerGridModel(self._inputs(), system_frequency=50.0)

    def _inputs(self) -> dict[Any, Any]:
        m, buses, lines = self.model, len(self.model.bus_v), len(self.model.line_from)
        node = initialize_array("input", ComponentType.node, buses)
        node["id"], node["u_rated"] = np.arange(buses), m.bus_v
        line = initialize_array("input", ComponentType.line, lines)
        line["id"] = self._first_line + np.arange(lines)
        line["from_node"], line["to_node"] = m.line_from, m.line_to
        line["from_status"] = line["to_status"] = 1
        line["r1"], line["x1"], line["c1"], line["tan1"] = m.line_r_ohm, m.line_x_ohm, m.line_c_f, 0.0
        line["i_n"] = m.line_max_a
        trafo = initialize_array("input", ComponentType.transformer, 1)
        trafo["id"], trafo["from_node"], trafo["to_node"] = self._trafo, m.trafo_from, m.trafo_to
        trafo["from_status"] = trafo["to_status"] = 1
        trafo["u1"], trafo["u2"], trafo["sn"], trafo["uk"] = m.trafo_v1, m.trafo_v2, m.trafo_va, m.trafo_uk_frac
        trafo["pk"], trafo["p0"] = m.trafo_loss_w, m.trafo_idle_w
        trafo["i0"] = max(m.trafo_idle_frac, m.trafo_idle_w / m.trafo_va)
        trafo["winding_from"], trafo["winding_to"] = WindingType.delta, WindingType.wye_n
        trafo["clock"], trafo["tap_side"] = 5, 0
        trafo["tap_pos"] = trafo["tap_min"] = trafo["tap_max"] = trafo["tap_nom"] = 0
        trafo["tap_size"] = 0.0
        source = initialize_array("input", ComponentType.source, 1)
        source["id"], source["node"], source["status"], source["u_ref"] = self._source, m.source, 1, m.source_pu
        load = initialize_array("input", ComponentType.sym_load, len(m.load_bus))
        load["id"] = self._first_load + np.arange(len(m.load_bus))
        load["node"], load["status"], load["type"] = m.load_bus, 1, LoadGenType.const_power
        load["p_specified"] = load["q_specified"] = 0.0
        return {
            ComponentType.node: node,
            ComponentType.line: line,
            ComponentType.transformer: trafo,
            ComponentType.source: source,
            ComponentType.sym_load: load,
        }

    def solve(self, site_w: Floats, site_var: Floats | None = None) -> Flow:
        """Return the flow for the net power at each site's meter.

        Args:
            site_w: Shape (k, sites), W, positive into the grid.
            site_var: The same for reactive power; left out: loads draw at tan phi 0.25, generation at 0.

        Raises:
            Infeasible: A scenario has no solution (the feeder would collapse).
        """
        drawn_w = -site_w
        drawn_var = np.where(drawn_w > 0, POWER_FACTOR_TAN * drawn_w, 0.0) if site_var is None else -site_var
        update = initialize_array("update", ComponentType.sym_load, drawn_w.shape)
        update["id"] = self._first_load + np.arange(drawn_w.shape[1])
        update["p_specified"], update["q_specified"] = drawn_w, drawn_var
        try:
            found = self._grid.calculate_power_flow(update_data={ComponentType.sym_load: update}, threading=-1)
        except Exception as error:
            raise Infeasible(
                f"feeder {self.model.name}: no power flow at {drawn_w.sum(axis=1).max():.0f} W: {error}"
            ) from error
        return Flow(
            found[ComponentType.node]["u_pu"],
            found[ComponentType.line]["loading"],
            found[ComponentType.transformer]["loading"][:, 0],
        )

    def violations(self, flow: Flow) -> list[Violation]:
        """Return every limit that is broken, scenario by scenario."""
        m, found = self.model, list[Violation]()
        for k, bus in zip(*np.nonzero(flow.voltage_pu > m.max_pu), strict=True):
            found.append(Violation(int(k), f"bus {bus}", "voltage high", float(flow.voltage_pu[k, bus]), m.max_pu))
        for k, bus in zip(*np.nonzero(flow.voltage_pu < m.min_pu), strict=True):
            found.append(Violation(int(k), f"bus {bus}", "voltage low", float(flow.voltage_pu[k, bus]), m.min_pu))
        for k, line in zip(*np.nonzero(flow.line_frac > 1.0), strict=True):
            found.append(Violation(int(k), f"line {line}", "loading", float(flow.line_frac[k, line]), 1.0))
        for k in np.flatnonzero(flow.trafo_frac > 1.0):
            found.append(Violation(int(k), "transformer", "loading", float(flow.trafo_frac[k]), 1.0))
        return sorted(found, key=lambda v: v.scenario)
