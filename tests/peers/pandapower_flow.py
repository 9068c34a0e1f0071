"""Solves a SimBench excerpt with pandapower: reads {file, drawn_w, drawn_var, given_w} a line, answers a line.

It reads the excerpt by itself and knows nothing of the package, so that a slip in our reading shows.
"""

import json
import sys
from functools import cache

import pandapower as pp


def network(tables: dict) -> pp.pandapowerNet:
    """Return the grid without load."""
    net = pp.create_empty_network(f_hz=50.0)
    for index, kilovolt in zip(tables["bus"]["index"], tables["bus"]["vn_kv"], strict=True):
        pp.create_bus(net, vn_kv=kilovolt, index=index)
    grid, line, trafo = tables["ext_grid"], tables["line"], tables["trafo"]
    for bus, pu in zip(grid["bus"], grid["vm_pu"], strict=True):
        pp.create_ext_grid(net, bus, vm_pu=pu)
    names = [name for name in line if name != "index"]
    for index, *values in zip(line["index"], *(line[name] for name in names), strict=True):
        pp.create_line_from_parameters(net, index=index, **dict(zip(names, values, strict=True)))
    names = ["hv_bus", "lv_bus", "sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent"]
    names += ["shift_degree"]
    for index, *values in zip(trafo["index"], *(trafo[name] for name in names), strict=True):
        pp.create_transformer_from_parameters(net, index=index, **dict(zip(names, values, strict=True)))
    switch = tables["switch"]
    for bus, element, what, closed in zip(
        switch["bus"], switch["element"], switch["et"], switch["closed"], strict=True
    ):
        pp.create_switch(net, bus, element, et=what, closed=closed)
    return net


@cache
def loaded(path: str) -> tuple[dict, pp.pandapowerNet]:
    """Return an excerpt and its grid, whose loads and plants stand at 0: made once, as that takes longer than to solve."""
    with open(path) as file:
        tables = json.load(file)
    net = network(tables)
    for bus in tables["load"]["bus"]:
        pp.create_load(net, bus, p_mw=0.0, q_mvar=0.0)
    for bus in tables["sgen"]["bus"]:
        pp.create_sgen(net, bus, p_mw=0.0)
    return tables, net


def main() -> None:
    """Answer until the input ends."""
    for text in sys.stdin:
        asked = json.loads(text)
        tables, net = loaded(asked["file"])
        net.load["p_mw"] = [watts / 1e6 for watts in asked["drawn_w"]]
        net.load["q_mvar"] = [var / 1e6 for var in asked["drawn_var"]]
        net.sgen["p_mw"] = [watts / 1e6 for watts in asked["given_w"]]
        pp.runpp(net, algorithm="nr", tolerance_mva=1e-9, calculate_voltage_angles=True, trafo_loading="power")
        answer = {
            "voltage_pu": net.res_bus.vm_pu.tolist(),
            "load_bus_pu": [float(net.res_bus.vm_pu[bus]) for bus in tables["load"]["bus"]],
            "line_frac": (net.res_line.loading_percent / 100).tolist(),
            "trafo_frac": float(net.res_trafo.loading_percent.max() / 100),
            "source_w": float(-net.res_ext_grid.p_mw.sum() * 1e6),
        }
        print(json.dumps(answer), flush=True)


main()
