"""Whether every device of a mixed plan can do what it says, step by step, and what the plan costs: from its powers alone."""

import numpy as np
from random_mixes import MixedProblem

from tieline.plan.mixed import MixedPlan

OFF = 1e-6


def broken(problem: MixedProblem, plan: MixedPlan) -> list[str]:
    """Return which rules the plan breaks; devices that gave way, and said so, are not held to what they can't keep."""
    said = {(gave.what, int(gave.says.split()[1].rstrip(":"))) for gave in plan.gave_way if gave.feeder is None
            and gave.what in ("fuel", "steps_left", "heaters")}  # fmt: skip
    found = _stores(problem, plan)
    mix = problem.mix
    if mix.gensets is not None:
        g = mix.gensets
        for n, power in enumerate(plan.gensets_w):
            on = power > 0
            held = np.where(on, (power < g.least_w[n] - OFF) | (power > g.most_w[n] + OFF), False)
            found += [f"genset {n} is out of its range"] if held.any() else []
            if g.least_w[n] > 0:
                found += _least_times(f"genset {n}", on, int(g.lasted[n]), int(g.least_on[n]), int(g.least_off[n]))
            burnt = float((g.fuel_per_h[n] * on + g.fuel_per_wh[n] * power).sum()) * problem.hours
            if burnt > g.fuel[n] * (1 + OFF) and ("fuel", n) not in said:
                found.append(f"genset {n} burns {burnt} of {g.fuel[n]}")
    if mix.contracts is not None:
        c = mix.contracts
        for n, power in enumerate(plan.contracts_w):
            reach = np.broadcast_to(c.power_w[n], power.shape)
            if (np.minimum(np.abs(power), np.abs(power - reach)) > OFF).any():
                found.append(f"contract {n} is partly called")
    if mix.heaters is not None:
        h = mix.heaters
        for n, power in enumerate(plan.heaters_w):
            on, level = power < 0, float(h.start_wh[n])
            if (np.minimum(np.abs(power), np.abs(power + h.power_w[n])) > OFF).any():
                found.append(f"heater {n} is partly on")
            found += _least_times(f"heater {n}", on, int(h.lasted[n]), int(h.least_on[n]), int(h.least_off[n]))
            room = max((g.most for g in plan.gave_way if g.what == "heaters" and f"heater {n}:" in g.says), default=0.0)
            for t in range(len(power)):
                level = h.keep_frac[n] * level - power[t] * h.charge_frac[n] * problem.hours + h.inflow_wh[n, t]
                if abs(level - plan.heated_wh[n, t]) > OFF:
                    found.append(f"heater {n} does not hold what is said at step {t}")
                if not h.least_wh[n] - room - OFF <= level <= h.most_wh[n] + room + OFF:
                    found.append(f"heater {n} leaves its levels at step {t}")
    return found


def called(problem: MixedProblem, plan: MixedPlan, n: int) -> tuple[list[int], list[int]]:
    """Return first steps and lengths of a contract's calls that give power throughout."""
    on = plan.contracts_w[n] > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(int), [0]])))
    return edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist()


def _stores(problem: MixedProblem, plan: MixedPlan) -> list[str]:
    s, found = problem.mix.stores, []
    if s is None:
        return found
    now = s.start_wh.copy()
    for t in range(plan.stores_w.shape[1]):
        power = plan.stores_w[:, t]
        moved = np.where(power < 0, -power * s.charge_frac, -power / s.discharge_frac) * problem.hours
        now = now + moved
        if np.abs(now - plan.stored_wh[:, t]).max() > OFF:
            found.append(f"stores do not hold what is said at step {t}")
        if (now < s.least_wh - OFF).any() or (now > s.most_wh + OFF).any():
            found.append(f"a store leaves its bounds at step {t}")
        if (power > s.discharge_w + OFF).any() or (power < -s.charge_w - OFF).any():
            found.append(f"a store is above its rating at step {t}")
    return found if (now >= s.end_wh - OFF).all() else [*found, "a store ends too low"]


def _least_times(name: str, on: np.ndarray, lasted: int, least_on: int, least_off: int) -> list[str]:
    state, held = lasted > 0, abs(lasted)
    for t, now in enumerate(on):
        if bool(now) == state:
            held += 1
            continue
        if held < (least_on if state else least_off):
            return [f"{name} switches at step {t} after {held} steps"]
        state, held = bool(now), 1
    return []


def cost_of(problem: MixedProblem, plan: MixedPlan) -> float:
    """Return what the plan costs, of a mix without harsh pasts where whether a device is on can be told from its power."""
    mix, hours = problem.mix, problem.hours
    cost = _bands(problem, plan)
    if mix.stores is not None:
        cost += hours * float(mix.stores.wear_per_wh @ np.maximum(plan.stores_w, 0).sum(axis=1))
    if mix.gensets is not None:
        g = mix.gensets
        for n, power in enumerate(plan.gensets_w):
            cost += hours * float(
                (g.fuel_price[n] * g.fuel_per_wh[n] + g.adder_per_wh[n]) * power.sum()
                + g.fuel_price[n] * g.fuel_per_h[n] * (power > 0).sum()
            )
            cost += g.start_cost[n] * _starts(power > 0, bool(g.lasted[n] > 0))
    if mix.contracts is not None:
        c = mix.contracts
        for n, power in enumerate(plan.contracts_w):
            cost += hours * float((c.cost_per_wh[n] + c.adder_per_wh[n]) * power.sum())
            cost += c.call_cost[n] * _starts(power > 0, bool(c.lasted[n] > 0))
    if mix.heaters is not None:
        for n, power in enumerate(plan.heaters_w):
            cost += mix.heaters.start_cost[n] * _starts(power < 0, bool(mix.heaters.lasted[n] > 0))
    return float(cost)


def _bands(problem: MixedProblem, plan: MixedPlan) -> float:
    """Return what energy and slack cost, sums made anew from each device's power and feeder."""
    terms, feeders, mix, steps = problem.terms, problem.feeders, problem.mix, plan.net_w.shape[0]
    kinds = {
        "stores": plan.stores_w,
        "gensets": plan.gensets_w,
        "contracts": plan.contracts_w,
        "heaters": plan.heaters_w,
    }
    net = np.broadcast_to(np.asarray(terms.base_w, float), (steps,)) + sum(p.sum(axis=0) for p in kinds.values())
    sell = terms.buy_per_wh if terms.sell_per_wh is None else terms.sell_per_wh
    cost = float((terms.buy_per_wh * np.maximum(-net, 0) - sell * np.maximum(net, 0)).sum())
    slack = float(terms.slack_per_wh or 0.0)
    cost += slack * float((np.maximum(net - terms.high_w, 0) + np.maximum(terms.low_w - net, 0)).sum())
    count = 0 if feeders is None else len(feeders.low_w)
    for feeder in range(count):
        flow = np.broadcast_to(np.asarray(feeders.base_w, float).reshape(-1, 1), (count, steps))[feeder].copy()
        for kind, power in kinds.items():
            for n, at in enumerate(mix.feeder_of.get(kind, [])):
                while at >= 0:
                    flow += power[n] if at == feeder else 0.0
                    at = -1 if feeders.parent is None else feeders.parent[at]
        beyond = np.maximum(flow - feeders.high_w[feeder], 0) + np.maximum(feeders.low_w[feeder] - flow, 0)
        cost += (2 * slack if feeders.slack_per_wh is None else feeders.slack_per_wh) * float(beyond.sum())
    return cost * problem.hours


def _starts(on: np.ndarray, was: bool) -> int:
    return int((on & ~np.concatenate([[was], on[:-1]])).sum())
