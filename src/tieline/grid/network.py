"""All feeders of a territory under their substations: what their sites do decides every voltage and loading.

The medium-voltage grid is solved first, with each feeder's net power at its bus; its voltages are the sources of the
low-voltage feeders, which are solved in one batch a model. The losses of the feeders (about 2 %) are left out of the
upper solution, as they move its voltages by less than 0.001 pu.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.grid.feeder import FeederModel
from tieline.grid.powerflow import FeederFlow, Flow

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class GridState:
    """One instant: voltage at each site (pu), and of each feeder its lowest and highest voltage and its loading.

    `flows` has one scenario a feeder of a model, in the order of the feeders; `upper` one a substation.
    """

    site_pu: Floats
    low_pu: Floats
    high_pu: Floats
    loading: Floats
    flows: tuple[Flow, ...]
    upper: Flow | None


class GridNetwork:
    """Solves all feeders of a territory."""

    def __init__(
        self,
        models: Sequence[FeederModel],
        model_of: Ints,
        upper: FeederModel | None = None,
        upper_load_of: Ints | None = None,
        substation_of: Ints | None = None,
    ) -> None:
        """Make a network.

        Args:
            models: The distinct feeders.
            model_of: Which of them each feeder is; shape (feeders,).
            upper: The medium-voltage grid above; left out: every feeder hangs on its own stiff source.
            upper_load_of: In place of which load of `upper` each feeder stands; shape (feeders,).
            substation_of: Under which of several substations like `upper` each feeder is; left out: all under one.
        """
        self.models, self.model_of = tuple(models), model_of
        self.parts = self.models, model_of, upper, upper_load_of, substation_of
        """What it was made of: another made of the same, in another process, finds the same to the bit."""
        self.solvers = tuple(FeederFlow(model) for model in models)
        sizes = np.array([len(model.load_bus) for model in models], np.int64)
        self.first_site = np.concatenate([[0], np.cumsum(sizes[model_of])])
        self._feeders_of = [np.flatnonzero(model_of == k) for k in range(len(models))]
        self._sites_of = [
            (self.first_site[mine][:, None] + np.arange(sizes[k])).astype(np.int64)
            for k, mine in enumerate(self._feeders_of)
        ]
        self._place = np.zeros(len(model_of), np.int64)
        for mine in self._feeders_of:
            self._place[mine] = np.arange(len(mine))
        self.upper = None if upper is None else FeederFlow(upper)
        none = np.zeros(len(model_of), np.int32)
        self._upper_load_of = none if upper_load_of is None else upper_load_of
        self.substation_of = none if substation_of is None else substation_of

    def solve(
        self,
        site_w: Floats,
        site_var: Floats,
        native_w: Sequence[Floats],
        upper_w: Floats | None = None,
        upper_native_w: Floats | None = None,
    ) -> GridState:
        """Return the state of every feeder.

        Args:
            site_w: Net power at each site's meter, feeder after feeder (W, positive into the grid).
            site_var: The same for reactive power (var).
            native_w: For each model the power of the plants that stand there already; shape (feeders of it, plants).
            upper_w: Net power of each load of the upper grid; where a feeder stands it is not read.
            upper_native_w: Power of each plant of the upper grid.

        Raises:
            Infeasible: A feeder would collapse.
        """
        source_pu, above = self._solve_upper(site_w, site_var, native_w, upper_w, upper_native_w)
        count = len(self.model_of)
        site_pu, low, high, loading = np.empty(len(site_w)), np.empty(count), np.empty(count), np.empty(count)
        flows: list[Flow] = []
        for k, solver in enumerate(self.solvers):
            mine, sites = self._feeders_of[k], self._sites_of[k]
            source = None if source_pu is None else source_pu[mine]
            flow = solver.solve(site_w[sites], site_var[sites], native_w[k], source)
            site_pu[sites] = flow.voltage_pu[:, solver.model.load_bus]
            low[mine], high[mine], loading[mine] = flow.worst()
            flows.append(flow)
        return GridState(site_pu, low, high, loading, tuple(flows), above)

    def _solve_upper(
        self,
        site_w: Floats,
        site_var: Floats,
        native_w: Sequence[Floats],
        upper_w: Floats | None,
        upper_native_w: Floats | None,
    ) -> tuple[Floats | None, Flow | None]:
        if self.upper is None or upper_w is None:
            return None, None
        model, at = self.upper.model, self._upper_load_of
        feeder_w = np.add.reduceat(site_w, self.first_site[:-1])
        feeder_var = np.add.reduceat(site_var, self.first_site[:-1])
        for k, mine in enumerate(self._feeders_of):
            feeder_w[mine] += native_w[k].sum(axis=1)
        count, under = int(self.substation_of.max()) + 1, self.substation_of
        load_w, load_var = np.tile(upper_w, (count, 1)), np.tile(model.load_tan * upper_w, (count, 1))
        load_w[under, at], load_var[under, at] = 0.0, 0.0
        np.add.at(load_w, (under, at), feeder_w)
        np.add.at(load_var, (under, at), feeder_var)
        native = None if upper_native_w is None else np.tile(upper_native_w, (count, 1))
        flow = self.upper.solve(load_w, load_var, native)
        return flow.voltage_pu[under, model.load_bus[at]], flow

    def flow_of(self, state: GridState, feeder: int) -> tuple[FeederFlow, Flow]:
        """Return the solver and the flow of one feeder."""
        k = int(self.model_of[feeder])
        return self.solvers[k], state.flows[k].at(int(self._place[feeder]))

    def solver_of(self, feeder: int) -> FeederFlow:
        """Return the solver of one feeder."""
        return self.solvers[int(self.model_of[feeder])]

    def sites(self, feeder: int) -> slice:
        """Return where the sites of a feeder stand in columns of sites."""
        return slice(int(self.first_site[feeder]), int(self.first_site[feeder + 1]))
