"""Our power flow against pandapower's Newton-Raphson: another program, another reading of the same grid.

pandapower runs in a process and a venv of its own (`make peers-grid`); where it is missing these tests skip.
"""

import json
import os
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tieline.grid.powerflow import FeederFlow
from tieline.simulate.datasets import feeder

ROOT = Path(__file__).parents[2]
PEER = Path(os.environ.get("TIELINE_PEERS_GRID", ROOT / ".venv-peers-grid")) / "bin" / "python"
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not PEER.exists(), reason="no pandapower: run `make peers-grid`"),
]
GRIDS = ("1-lv-rural1", "1-lv-urban6", "1-mv-semiurb")
CASES = 6


def scenarios(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random net powers: from heavy load to reverse flow, with the plants that stand there at some sun."""
    model, rng = feeder(name), np.random.default_rng(17)
    share = np.linspace(-1.1, 0.6, CASES)[:, None]
    site_w = model.load_w * share * rng.uniform(0.3, 1.2, (CASES, len(model.load_w)))
    native_w = model.native_w * rng.uniform(0.0, 0.8, (CASES, 1)) * np.ones(len(model.native_w))
    return site_w, np.where(site_w < 0, site_w * model.load_tan, 0.0), native_w


@pytest.fixture(scope="module")
def answers() -> dict:
    asked = []
    for name in GRIDS:
        path = str(files("tieline.simulate") / "data" / "feeder" / f"{name}.json")
        for site_w, site_var, native_w in zip(*scenarios(name), strict=True):
            asked.append(
                {
                    "file": path,
                    "drawn_w": (-site_w).tolist(),
                    "drawn_var": (-site_var).tolist(),
                    "given_w": native_w.tolist(),
                }
            )
    script = str(ROOT / "tests" / "peers" / "pandapower_flow.py")
    text = "\n".join(json.dumps(each) for each in asked)
    done = subprocess.run([str(PEER), script], input=text, capture_output=True, text=True, check=True, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: lines[k * CASES : (k + 1) * CASES] for k, name in enumerate(GRIDS)}


@pytest.mark.parametrize("name", GRIDS)
def test_voltages_are_those_of_another_solver(name: str, answers: dict) -> None:
    """Within 1e-4 pu: pandapower puts the transformer's iron losses in the middle, ours at its first winding."""
    model = feeder(name)
    flow = FeederFlow(model).solve(*scenarios(name))
    for k, peer in enumerate(answers[name]):
        assert flow.voltage_pu[k, model.load_bus] == pytest.approx(peer["load_bus_pu"], abs=1e-4)


@pytest.mark.parametrize("name", GRIDS)
def test_loadings_are_those_of_another_solver(name: str, answers: dict) -> None:
    flow = FeederFlow(feeder(name)).solve(*scenarios(name))
    for k, peer in enumerate(answers[name]):
        assert flow.trafo_frac[k] == pytest.approx(peer["trafo_frac"], abs=5e-3)
        assert flow.line_frac[k] == pytest.approx(peer["line_frac"], abs=5e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_what_the_source_gives_is_that_of_another_solver(name: str, answers: dict) -> None:
    model = feeder(name)
    flow = FeederFlow(model).solve(*scenarios(name))
    for k, peer in enumerate(answers[name]):
        assert flow.source_w[k] == pytest.approx(peer["source_w"], abs=5e-4 * model.trafo_va.sum())
