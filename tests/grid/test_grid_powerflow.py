"""Power flow on a real SimBench feeder: physics that can be checked by hand."""

from importlib.resources import files

import numpy as np
import pytest

from tieline.errors import ConfigError
from tieline.grid.feeder import layout, read_simbench
from tieline.grid.powerflow import FeederFlow


def feeder(name: str = "1-lv-urban6"):
    return read_simbench((files("tieline.simulate") / "data" / "feeder" / f"{name}.json").read_text(), name)


def test_the_feeder_has_the_tables_of_simbench() -> None:
    """SimBench 1-LV-urban6: 59 buses with the grid's, 57 lines, 111 loads, one 630 kVA transformer."""
    model = feeder()
    assert (len(model.bus_v), len(model.line_from), len(model.load_bus), *model.trafo_va) == (59, 57, 111, 630_000)


def test_the_medium_voltage_grid_has_its_coupler_closed_and_its_rings_open() -> None:
    """SimBench 1-MV-semiurb: 117 buses, two couplers join four of them; 121 lines, eight of them open at one end."""
    model = feeder("1-mv-semiurb")
    assert (len(model.bus_v), len(model.line_from), len(model.trafo_va)) == (115, 121, 2)
    assert int((~model.line_closed.all(axis=1)).sum()) == 8
    assert len(model.line_from) - 8 + len({int(b) for b in model.trafo_to}) == len(model.bus_v) - 1  # a tree


def test_without_load_every_bus_stands_at_the_source_voltage() -> None:
    flow = FeederFlow(feeder()).solve(np.zeros((1, 111)))
    assert flow.voltage_pu == pytest.approx(1.025, abs=2e-3)


def test_load_lowers_and_generation_raises_the_voltage() -> None:
    solver = FeederFlow(feeder())
    flow = solver.solve(np.array([np.full(111, -2_000.0), np.zeros(111), np.full(111, 2_000.0)]), np.zeros((3, 111)))
    low, high, _ = flow.worst()
    assert low[0] < low[1] <= low[2]
    assert high[2] > high[1]


def test_the_transformer_carries_the_sum_of_the_loads() -> None:
    flow = FeederFlow(feeder()).solve(np.full((1, 111), -3_000.0), np.zeros((1, 111)))
    assert flow.trafo_frac[0] == pytest.approx(333_000 / 630_000, rel=0.05)


def test_an_overload_is_named_with_place_value_and_limit() -> None:
    solver = FeederFlow(feeder())
    found = solver.violations(solver.solve(np.array([np.full(111, -1_000.0), np.full(111, -8_000.0)])))
    assert {v.scenario for v in found} == {1}
    assert any(v.place == "transformer" and v.value > v.limit for v in found)


def test_no_two_buses_share_a_place_on_the_one_line() -> None:
    for name in ("1-lv-urban6", "1-lv-rural1", "1-mv-semiurb"):
        x, y = layout(feeder(name))
        assert len({(a, b) for a, b in zip(x, y, strict=True)}) == len(x)
        assert x.min() == 0


def test_a_file_that_is_no_feeder_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="feeder f: KeyError"):
        read_simbench("{}", "f")
