"""How long one battery and a pool of them take by FlexMeasures and EMHASS, beside ours on the same data."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tieline.bench.kernel import HOURS, Floats, reference_price, reference_stores
from tieline.plan.pool import Terms, plan_pool
from tieline.plan.storage import Stores, plan_stores

BAR = 1_000.0
UNIT = "times the faster of the two"
WHAT = "the day of one battery, 96 steps, through the batch of 20,000; FlexMeasures' and EMHASS' optimisation of it"
BAR_POOL, BAR_OFF = 200.0, 1e-6
MANY, POOLS, SHARE = 20_000, (10, 45, 100), 0.25
"""FlexMeasures ends in time for 45 batteries, not for a hundred: the one is held against in cost, both in time."""
LIMIT_S = 240.0
"""How long FlexMeasures may take for the pool; where it has not ended by then its processor time so far counts."""
ROOT = Path(__file__).parents[3]
FLEXMEASURES = Path(os.environ.get("TIELINE_PEERS_FLEXMEASURES", ROOT / ".venv-peers-flexmeasures")) / "bin" / "python"
EMHASS = Path(os.environ.get("TIELINE_PEERS_EMHASS", ROOT / ".venv-peers-emhass")) / "bin" / "python"
SCRIPTS = ROOT / "tests" / "peers"
NAMES = {"start": "start_wh", "least": "least_wh", "most": "most_wh", "end": "end_wh", "charge": "charge_w",
         "discharge": "discharge_w", "charge_frac": "charge_frac", "discharge_frac": "discharge_frac"}  # fmt: skip


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Plan the first battery of the reference day by all three, and up to a hundred under one cap by two of them."""
    price, stores = reference_price(), _unworn(MANY)
    one = _unworn(1)
    plan_stores(one, price, price, HOURS)
    began = time.process_time()
    costs = plan_stores(stores, price, price, HOURS).cost
    ours_us = (time.process_time() - began) / MANY * 1e6
    cost = float(plan_stores(one, price, price, HOURS).cost[0])
    progress(f"ours: {ours_us:.1f} us a battery, cost {cost:.8f}")
    peers = [_flexmeasures(one, price, cost), _emhass(one, price, cost)]
    for peer in peers:
        progress(f"{peer['peer']}: {peer.get('ms')} ms, {peer.get('off')} off our cost")
    times = [peer["ms"] for peer in peers if "ms" in peer]
    ratio = min(times) * 1e3 / ours_us if times else None
    counts = POOLS[:1] if quick else POOLS
    pools = [_pool(count, price, progress) for count in counts] if "ms" in peers[0] else []
    is_same = all(each["off"] <= BAR_OFF for each in (*peers, *pools) if each.get("off") is not None)
    is_met = len(times) == len(peers) and ratio is not None and ratio >= BAR
    if not quick:
        ended = [each for each in pools if each["peer_ended"]]
        is_met = is_met and all(each["ratio"] >= BAR_POOL for each in (*ended[-1:], *pools[-1:]))
    return {
        "value": ratio and round(ratio), "ok": bool(is_same and is_met),
        "ours_us": round(ours_us, 2), "ours_sum": round(float(costs.sum()), 6), "bar_off": BAR_OFF, "peers": peers,
        "bar_pool": BAR_POOL, "pools": pools,
    }  # fmt: skip


def _unworn(count: int) -> Stores:
    """Return the reference batteries without wear, which the peers price in ways of their own."""
    return replace(reference_stores(count), wear_per_wh=np.zeros(count))


def _asked(stores: Stores, price: Floats) -> dict[str, Any]:
    rows = {name: getattr(stores, field).tolist() for name, field in NAMES.items()}
    return {"price": price.tolist(), "hours": HOURS, "cap": None, "turns": 5, "stores": rows, "solver": "highspy",
            "options": {}}  # fmt: skip


def _flexmeasures(stores: Stores, price: Floats, cost: float) -> dict[str, Any]:
    told = _answer(FLEXMEASURES, "flexmeasures_day.py", _asked(stores, price), LIMIT_S)
    return _row("FlexMeasures 1.0.1, device_scheduler, its own HiGHS backend", "flexmeasures", told, cost)


def _emhass(stores: Stores, price: Floats, cost: float) -> dict[str, Any]:
    asked = _asked(stores, price) | {"gap": 1e-6}
    asked["store"] = {name: row[0] for name, row in asked.pop("stores").items()}
    told = _answer(EMHASS, "emhass_day.py", asked, LIMIT_S)
    return _row("EMHASS 0.18.7, day-ahead optimisation, its problem kept", "emhass", told, cost)


def _row(name: str, target: str, told: dict[str, Any] | None, cost: float) -> dict[str, Any]:
    if told is None:
        return {"peer": name, "left_out": f"run `make peers-{target}` in a checkout"}
    # The first turn builds what is kept.
    took = float(np.median(told["took"][1:]))
    off = abs(told["cost"] - cost) / abs(cost)
    return {"peer": name, "ms": round(took * 1e3, 2), "cost": told["cost"], "off": off, "ended": told["ended"]}


def _answer(python: Path, script: str, asked: dict[str, Any], limit_s: float) -> dict[str, Any] | None:
    """Return a peer's last line, or None where it isn't installed (`make peers-NAME`, in a checkout).

    Raises:
        subprocess.TimeoutExpired: It had not ended by then.
    """
    if not (python.exists() and (SCRIPTS / script).exists()):
        return None
    done = subprocess.run(
        [str(python), str(SCRIPTS / script)], input=json.dumps(asked), capture_output=True, text=True, check=True,
        timeout=limit_s,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _pool(count: int, price: Floats, progress: Callable[[str], None]) -> dict[str, Any]:
    """Plan batteries that share a quarter of their rating by both; `off` is None where FlexMeasures does not end."""
    stores = _unworn(count)
    cap = SHARE * float(stores.charge_w.sum())
    terms = Terms(price, low_w=-cap, high_w=cap)
    plan_pool(stores, terms, HOURS)
    began = time.process_time()
    plan = plan_pool(stores, terms, HOURS)
    ours_s = time.process_time() - began
    asked = _asked(stores, price) | {"cap": cap, "turns": 1}
    told: dict[str, Any] | None = None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        told = _answer(FLEXMEASURES, "flexmeasures_day.py", asked, LIMIT_S)
    except subprocess.TimeoutExpired:
        progress(f"FlexMeasures: no schedule of {count} batteries within {LIMIT_S:g} s")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peer_s = after.ru_utime - before.ru_utime if told is None else told["took"][0]
    off = None if told is None else abs(told["cost"] - plan.cost) / abs(plan.cost)
    # Both must keep the cap, and the cap must cost something: else a hundred batteries by themselves were compared.
    nets = [plan.net_w] if told is None else [plan.net_w, np.array(told["power"]).sum(axis=0) / HOURS]
    free = float(plan_stores(stores, price, price, HOURS).cost.sum())
    progress(f"{count} batteries under one cap: {ours_s:.3f} s, FlexMeasures {peer_s:.1f} s ({off} apart)")
    return {
        "batteries": count, "s": round(ours_s, 4), "gap": plan.gap_frac, "peer_s": round(peer_s, 2),
        "peer_ended": told is not None, "off": off, "ratio": round(peer_s / ours_s, 1),
        "beyond_cap": max(float(np.abs(net).max()) / cap - 1 for net in nets), "cost": plan.cost, "uncapped_cost": free,
    }  # fmt: skip
