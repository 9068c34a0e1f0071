"""Feeders for the tests of unbalanced flow: random ones as power-grid-model's JSON, and those of the IEEE."""

import json
from pathlib import Path

import numpy as np

IEEE = Path(__file__).parent / "ieee"


def random_pgm(seed: int, buses: int = 12, loops: int = 0, clock: int = 1) -> dict:
    """Return a data set: a transformer, a random tree of cables behind it, some loops, loads of all three kinds."""
    rng = np.random.default_rng(seed)
    sides = {1: (2, 1), 5: (2, 1), 7: (2, 1), 11: (2, 1), 0: (1, 1), 6: (1, 1)}[clock]
    nodes = [{"id": 0, "u_rated": 10_000.0}] + [{"id": k, "u_rated": 400.0} for k in range(1, buses)]
    ends = [(int(rng.integers(1, k)), k) for k in range(2, buses)]
    ends += [tuple(int(x) for x in rng.choice(np.arange(1, buses), 2, replace=False)) for _ in range(loops)]
    lines = []
    for k, (one, two) in enumerate(ends):
        r1, x1 = rng.uniform(0.005, 0.04), rng.uniform(0.003, 0.01)
        lines.append(
            {"id": 100 + k, "from_node": one, "to_node": two, "from_status": 1, "to_status": 1, "r1": r1, "x1": x1,
             "c1": 1e-8, "tan1": 0.0, "r0": 3.5 * r1, "x0": 3.2 * x1, "c0": 1e-8, "tan0": 0.0, "i_n": 250.0}
        )  # fmt: skip
    trafo = {"id": 200, "from_node": 0, "to_node": 1, "from_status": 1, "to_status": 1, "u1": 10_000.0, "u2": 410.0,
             "sn": 250e3, "uk": 0.04, "pk": 2.6e3, "i0": 0.0, "p0": 0.0, "winding_from": sides[0],
             "winding_to": sides[1], "clock": clock, "tap_side": 0, "tap_pos": int(rng.integers(-2, 3)), "tap_nom": 0,
             "tap_min": -2, "tap_max": 2, "tap_size": 250.0}  # fmt: skip
    loads, gens = [], []
    for k in range(2, buses):
        power = rng.uniform(-2e3, 6e3, 3) * rng.integers(0, 2, 3)
        loads.append({"id": 300 + k, "node": k, "status": 1, "type": int(rng.integers(0, 3)),
                      "p_specified": power.tolist(), "q_specified": (0.3 * power).tolist()})  # fmt: skip
        if k % 4 == 0:
            gens.append({"id": 400 + k, "node": k, "status": 1, "type": 0, "p_specified": 5e3, "q_specified": -1e3})
    source = {"id": 201, "node": 0, "status": 1, "u_ref": 1.02, "sk": 1e8, "rx_ratio": 0.1, "z01_ratio": 1.0}
    rows = {
        "node": nodes,
        "line": lines,
        "transformer": [trafo],
        "source": [source],
        "asym_load": loads,
        "sym_gen": gens,
    }
    return {"version": "1.0", "type": "input", "is_batch": False, "attributes": {}, "data": rows}


def text_of(whole: dict) -> str:
    return json.dumps(whole)


def ieee(name: str) -> tuple[str, dict]:
    """Return a feeder's script and what OpenDSS 0.15.7 (dss-python) answers: volts to ground by bus and phase."""
    return (IEEE / f"{name}.dss").read_text(), json.loads((IEEE / f"{name}.json").read_text())
