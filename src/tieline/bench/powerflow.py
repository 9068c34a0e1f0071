"""How many unbalanced power flows a core solves a second, beside power-grid-model and OpenDSS on the same feeder."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from power_grid_model import ComponentType, PowerGridModel, initialize_array

from tieline.bench._opendss import is_there, script_of, solved
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.samples import european_lv, european_lv_text

BAR = 100_000.0
UNIT = "flows/s a core"
WHAT = "unbalanced power flows of the European LV feeder, 55 independent loads each, by processor time of one core"
BAR_RATIO, BAR_OFF_PU = 100.0, 1e-6
TURNS, TOLERANCE_PU = 5, 1e-7
MOST_W, TAN_PHI = 3_000.0, 0.33

Floats = NDArray[np.float64]


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Solve random loads by all three, each in batch as it is fastest, and hold ours against the others' voltages."""
    count, peer_count, oracle_count = (2_000, 50, 20) if quick else (100_000, 1_000, 500)
    feeder, rng = european_lv(), np.random.default_rng(seed)
    began = time.perf_counter()
    flow = PhaseFlow(feeder)
    factor_s = time.perf_counter() - began
    drawn = rng.uniform(0.0, MOST_W, (count, len(feeder.customer_name))) * (1 + 1j * TAN_PHI)
    drawn[:, ::7] *= -1  # some give: roofs with sun
    rate, off_pu = _ours(flow, drawn)
    progress(f"{rate:,.0f} flows/s a core, {off_pu:.1e} pu from the fixed point")
    peer_rate, peer_off = _power_grid_model(flow, drawn[:peer_count])
    progress(f"power-grid-model: {peer_rate:,.0f} flows/s, {peer_off:.1e} pu apart")
    oracle = _opendss(flow, drawn[:oracle_count]) if is_there() else {}
    if oracle:
        progress(f"OpenDSS: {oracle['oracle_value']:,.0f} flows/s, {oracle['off_opendss_pu']:.1e} pu apart")
    ratio = rate / peer_rate
    is_exact = max(peer_off, float(oracle.get("off_opendss_pu", 0.0))) <= BAR_OFF_PU
    return {
        "value": round(rate), "ok": bool(rate >= BAR and ratio >= BAR_RATIO and is_exact),
        "flows": count, "loads": drawn.shape[1], "buses": len(feeder.bus_v), "tolerance_pu": TOLERANCE_PU,
        "factor_s": round(factor_s, 4), "peer": "power-grid-model 1.12.110, asymmetric batch, one thread",
        "peer_value": round(peer_rate, 1), "peer_unit": UNIT, "ratio": round(ratio, 1), "bar_ratio": BAR_RATIO,
        "off_peer_pu": peer_off, "bar_off_pu": BAR_OFF_PU, **oracle,
    } | ({} if oracle else {"peers_left_out": "OpenDSS: run `make peers-grid` in a checkout"})  # fmt: skip


def _read(text: str) -> Any:
    from power_grid_model import utils

    return cast(Any, utils).json_deserialize(text)


def _ours(flow: PhaseFlow, drawn: NDArray[Any]) -> tuple[float, float]:
    flow.solve_loads(drawn[:2_000], tolerance_pu=TOLERANCE_PU)
    took, off = [], 0.0
    for _ in range(TURNS):
        # Processor time of all threads together, so that a product spread over two cores counts as both.
        began = time.process_time()
        off = float(flow.solve_loads(drawn, tolerance_pu=TOLERANCE_PU)[2].max())
        took.append(time.process_time() - began)
    return len(drawn) / float(np.median(took)), off


def _power_grid_model(flow: PhaseFlow, drawn: NDArray[Any]) -> tuple[float, float]:
    """Return its flows a second and how far its loads' voltages are from ours (pu)."""
    feeder, columns = flow.feeder, _read(european_lv_text())
    model = PowerGridModel(columns)
    loads: Any = columns[ComponentType.asym_load]
    update = initialize_array("update", ComponentType.asym_load, drawn.shape)
    update["id"] = loads["id"]
    update["p_specified"] = update["q_specified"] = 0.0
    at = (slice(None), np.arange(drawn.shape[1]), feeder.load_phase)
    update["p_specified"][at], update["q_specified"][at] = drawn.real, drawn.imag
    asked: dict[str, Any] = {
        "update_data": {ComponentType.asym_load: update}, "symmetric": False, "threading": -1,
        "error_tolerance": 1e-8, "output_component_types": {ComponentType.node: ["u_pu"]},
    }  # fmt: skip
    began = time.process_time()
    found = model.calculate_power_flow(**asked)
    took = time.process_time() - began
    theirs = found[ComponentType.node]["u_pu"][:, feeder.load_bus, feeder.load_phase]
    return len(drawn) / took, _apart(flow, drawn, theirs)


def _opendss(flow: PhaseFlow, drawn: NDArray[Any]) -> dict[str, Any]:
    names = [f"c{name}" for name in flow.feeder.customer_name]
    answer = solved(
        {"script": script_of(european_lv_text()), "loads": names, "tolerance": 1e-10,
         "kw": (drawn.real / 1e3).tolist(), "kvar": (drawn.imag / 1e3).tolist()}
    )  # fmt: skip
    feeder, column = flow.feeder, {name: k for k, name in enumerate(answer["nodes"])}
    at = [column[f"{feeder.bus_name[b]}.{p + 1}"] for b, p in zip(feeder.load_bus, feeder.load_phase, strict=True)]
    theirs = np.array(answer["rows"])[:, at] / feeder.bus_v[feeder.load_bus]
    rate = len(drawn) / answer["seconds"]
    return {
        "oracle": "OpenDSS (dss-python 0.15.7), loads edited one by one", "oracle_value": round(rate, 1),
        "off_opendss_pu": _apart(flow, drawn, theirs),
    }  # fmt: skip


def _apart(flow: PhaseFlow, drawn: NDArray[Any], theirs: Floats) -> float:
    _, volts, _ = flow.solve_loads(drawn, tolerance_pu=TOLERANCE_PU)
    ours = np.abs(volts) / flow.feeder.bus_v[flow.feeder.load_bus]
    return float(np.abs(ours - theirs).max())
