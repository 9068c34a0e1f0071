"""Solves DC flows and optimal DC flows of pandapower's own IEEE 118-bus case: reads a question a line, answers a line.

It takes buses, branches and loads from pandapower and knows nothing of the package, so that a slip in ours shows. Four
of its lines join voltage levels; pandapower makes transformers of them whose charging moves their reactance, which is
set to none here, so that their reactance is that of the published case.
"""

import json
import sys
import time

import pandapower as pp
import pandapower.networks


def case(load_frac: float) -> pp.pandapowerNet:
    """Return the case with its loads times a fraction."""
    net = pandapower.networks.case118()
    net.trafo.i0_percent = 0.0
    net.bus["name"] = net.bus.name.astype(str)
    net.load.p_mw *= load_frac
    return net


def plants(net: pp.pandapowerNet) -> dict[str, tuple[str, int]]:
    """Return the table and row of the plant at each bus."""
    found = {net.bus.name[bus]: ("gen", k) for k, bus in net.gen.bus.items()}
    return found | {net.bus.name[bus]: ("ext_grid", k) for k, bus in net.ext_grid.bus.items()}


def branches(net: pp.pandapowerNet) -> list[tuple[str, str, float, float]]:
    """Return (from, to, reactance in pu on 100 MVA, flow in MW) of each branch."""
    rows = []
    for k, line in net.line.iterrows():
        ohm = line.x_ohm_per_km * line.length_km / line.parallel
        reactance = ohm / (net.bus.vn_kv[line.from_bus] ** 2 / 100.0)
        rows.append((net.bus.name[line.from_bus], net.bus.name[line.to_bus], reactance, net.res_line.p_from_mw[k]))
    for k, trafo in net.trafo.iterrows():
        percent = (trafo.vk_percent**2 - trafo.vkr_percent**2) ** 0.5
        reactance = percent / 100.0 * 100.0 / trafo.sn_mva
        rows.append((net.bus.name[trafo.hv_bus], net.bus.name[trafo.lv_bus], reactance, net.res_trafo.p_hv_mw[k]))
    return [(str(a), str(b), float(x), float(flow)) for a, b, x, flow in rows]


def limit(net: pp.pandapowerNet, ratings: list) -> None:
    """Give each branch a rating (MW) by its ends and its reactance."""
    net.res_line["p_from_mw"], net.res_trafo["p_hv_mw"] = [0.0] * len(net.line), [0.0] * len(net.trafo)
    of = {(*sorted((a, b)), round(x, 5)): rating for a, b, x, rating in ratings}
    found = [of[(*sorted((a, b)), round(x, 5))] for a, b, x, _ in branches(net)]
    lines = found[: len(net.line)]
    net.line["max_i_ka"] = [
        mw / (3**0.5 * net.bus.vn_kv[bus]) for mw, bus in zip(lines, net.line.from_bus, strict=True)
    ]
    net.line["max_loading_percent"] = 100.0
    net.trafo["max_loading_percent"] = 100.0 * (1.0 / net.trafo.sn_mva) * found[len(net.line) :]


def flow(asked: dict) -> dict:
    """Answer what flows where for what each plant gives; the one at the reference gives what lacks."""
    net = case(asked["load_frac"])
    for bus, (table, k) in plants(net).items():
        if table == "gen":
            net.gen.loc[k, "p_mw"] = asked["given_mw"][bus]
    pp.rundcpp(net)
    return {"branches": branches(net)}


def optimal(asked: dict) -> dict:
    """Answer what each plant gives at least cost of its steps, the price at each bus, and how long it took."""
    net = case(asked["load_frac"])
    limit(net, asked["ratings"])
    net.poly_cost = net.poly_cost.iloc[0:0]
    net.gen["controllable"], net.ext_grid["controllable"] = True, True
    for bus, (table, k) in plants(net).items():
        low_mw, steps = asked["offers"][bus]
        points, at = [], low_mw
        for mw, price in steps:
            points.append([at, at + mw, price])
            at += mw
        net[table].loc[k, ["min_p_mw", "max_p_mw"]] = low_mw, at
        pp.create_pwl_cost(net, k, table, points)
    began = time.perf_counter()
    exact = dict.fromkeys(("PDIPM_FEASTOL", "PDIPM_GRADTOL", "PDIPM_COMPTOL", "PDIPM_COSTTOL"), 1e-10)
    pp.rundcopp(net, **exact)
    took = time.perf_counter() - began
    given = {bus: float(net[f"res_{table}"].p_mw[k]) for bus, (table, k) in plants(net).items()}
    price = {net.bus.name[k]: float(value) for k, value in net.res_bus.lam_p.items()}
    return {"given_mw": given, "price": price, "branches": branches(net), "seconds": took}


def main() -> None:
    """Answer until the input ends."""
    for text in sys.stdin:
        asked = json.loads(text)
        print(json.dumps(flow(asked) if asked["what"] == "flow" else optimal(asked)), flush=True)


main()
