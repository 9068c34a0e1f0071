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
STIFF_VA = 1e15
"""Short-circuit power of the source: SimBench's external grid holds its voltage whatever flows."""
GRID_HZ = 50.0
"""The grids are SimBench's, so their reactances and capacitances are those at 50 Hz, wherever the story plays."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Results of k scenarios: voltage of each bus (pu; shape (k, buses)), loading of each line (shape (k, lines)) and
    of the most loaded transformer (shape (k,)), and power at the source (W, positive into the upstream grid)."""

    voltage_pu: Floats
    line_frac: Floats
    trafo_frac: Floats
    source_w: Floats

    def worst(self) -> tuple[Floats, Floats, Floats]:
        """Return the lowest and highest voltage (pu) and the highest loading of each scenario; shape (k,)."""
        loading = np.maximum(self.line_frac.max(axis=1), self.trafo_frac)
        return self.voltage_pu.min(axis=1), self.voltage_pu.max(axis=1), loading

    def at(self, scenario: int) -> Flow:
        """Return the flow of one scenario alone."""
        k = slice(scenario, scenario + 1)
        return Flow(self.voltage_pu[k], self.line_frac[k], self.trafo_frac[k], self.source_w[k])


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
        buses, lines, trafos = len(model.bus_v), len(model.line_from), len(model.trafo_from)
        self._first_line, self._first_trafo = buses, buses + lines
        self._source = self._first_trafo + trafos
        self._first_load = self._source + 1
        self._grid = PowerGridModel(self._inputs(), system_frequency=GRID_HZ)

    def _inputs(self) -> dict[Any, Any]:
        m = self.model
        node = initialize_array("input", ComponentType.node, len(m.bus_v))
        node["id"], node["u_rated"] = np.arange(len(m.bus_v)), m.bus_v
        line = initialize_array("input", ComponentType.line, len(m.line_from))
        line["id"] = self._first_line + np.arange(len(m.line_from))
        line["from_node"], line["to_node"] = m.line_from, m.line_to
        line["from_status"], line["to_status"] = m.line_closed.T
        line["r1"], line["x1"], line["c1"], line["tan1"] = m.line_r_ohm, m.line_x_ohm, m.line_c_f, 0.0
        line["i_n"] = m.line_max_a
        source = initialize_array("input", ComponentType.source, 1)
        source["id"], source["node"], source["status"], source["u_ref"] = self._source, m.source, 1, m.source_pu
        source["sk"] = STIFF_VA
        where = np.concatenate([m.load_bus, m.native_bus])
        load = initialize_array("input", ComponentType.sym_load, len(where))
        load["id"] = self._first_load + np.arange(len(where))
        load["node"], load["status"], load["type"] = where, 1, LoadGenType.const_power
        load["p_specified"] = load["q_specified"] = 0.0
        return {
            ComponentType.node: node,
            ComponentType.line: line,
            ComponentType.transformer: self._transformers(),
            ComponentType.source: source,
            ComponentType.sym_load: load,
        }

    def _transformers(self) -> Any:
        m = self.model
        trafo = initialize_array("input", ComponentType.transformer, len(m.trafo_from))
        trafo["id"] = self._first_trafo + np.arange(len(m.trafo_from))
        trafo["from_node"], trafo["to_node"] = m.trafo_from, m.trafo_to
        trafo["from_status"] = trafo["to_status"] = 1
        trafo["u1"], trafo["u2"], trafo["sn"], trafo["uk"] = m.trafo_v1, m.trafo_v2, m.trafo_va, m.trafo_uk_frac
        trafo["pk"], trafo["p0"] = m.trafo_loss_w, m.trafo_idle_w
        trafo["i0"] = np.maximum(m.trafo_idle_frac, m.trafo_idle_w / m.trafo_va)
        trafo["winding_from"], trafo["winding_to"] = WindingType.delta, WindingType.wye_n
        trafo["clock"], trafo["tap_side"] = 5, 0
        trafo["tap_pos"] = trafo["tap_min"] = trafo["tap_max"] = trafo["tap_nom"] = 0
        trafo["tap_size"] = 0.0
        return trafo

    def solve(
        self,
        site_w: Floats,
        site_var: Floats | None = None,
        native_w: Floats | None = None,
        source_pu: Floats | None = None,
    ) -> Flow:
        """Return the flow for the net power at each site's meter.

        Args:
            site_w: Shape (k, sites), W, positive into the grid.
            site_var: The same for reactive power; left out: loads draw at their own tan phi, generation at 0.
            native_w: Power of the plants that stand there already, shape (k, plants), W; left out: none.
            source_pu: Voltage of the upstream grid, shape (k,); left out: the feeder's own.

        Raises:
            Infeasible: A scenario has no solution (the feeder would collapse).
        """
        m, drawn_w = self.model, -site_w
        drawn_var = np.where(drawn_w > 0, m.load_tan * drawn_w, 0.0) if site_var is None else -site_var
        plants_w = np.zeros((len(site_w), len(m.native_w))) if native_w is None else native_w
        count = len(m.load_bus) + len(m.native_bus)
        update = initialize_array("update", ComponentType.sym_load, (len(site_w), count))
        update["id"] = self._first_load + np.arange(count)
        update["p_specified"] = np.concatenate([drawn_w, -plants_w], axis=1)
        update["q_specified"] = np.concatenate([drawn_var, np.zeros_like(plants_w)], axis=1)
        changes = {ComponentType.sym_load: update}
        if source_pu is not None:
            grid = initialize_array("update", ComponentType.source, (len(site_w), 1))
            grid["id"], grid["u_ref"] = self._source, source_pu[:, None]
            changes[ComponentType.source] = grid
        try:
            found = self._grid.calculate_power_flow(update_data=changes, threading=-1)
        except Exception as error:
            raise Infeasible(f"feeder {m.name}: no power flow at {drawn_w.sum(axis=1).max():.0f} W: {error}") from error
        return Flow(
            found[ComponentType.node]["u_pu"],
            found[ComponentType.line]["loading"],
            found[ComponentType.transformer]["loading"].max(axis=1),
            -found[ComponentType.source]["p"][:, 0],
        )

    def violations(self, flow: Flow) -> list[Violation]:
        """Return every limit that is broken, scenario by scenario."""
        m, found = self.model, list[Violation]()
        for k, bus in zip(*np.nonzero(flow.voltage_pu > m.max_pu), strict=True):
            value, limit = float(flow.voltage_pu[k, bus]), float(m.max_pu[bus])
            found.append(Violation(int(k), f"bus {bus}", "voltage high", value, limit))
        for k, bus in zip(*np.nonzero(flow.voltage_pu < m.min_pu), strict=True):
            value, limit = float(flow.voltage_pu[k, bus]), float(m.min_pu[bus])
            found.append(Violation(int(k), f"bus {bus}", "voltage low", value, limit))
        for k, line in zip(*np.nonzero(flow.line_frac > 1.0), strict=True):
            found.append(Violation(int(k), f"line {line}", "loading", float(flow.line_frac[k, line]), 1.0))
        for k in np.flatnonzero(flow.trafo_frac > 1.0):
            found.append(Violation(int(k), "transformer", "loading", float(flow.trafo_frac[k]), 1.0))
        return sorted(found, key=lambda v: v.scenario)
