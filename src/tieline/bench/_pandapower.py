"""pandapower beside ours: the questions about the IEEE 118-bus case, and the process that answers them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.clearing import Case, Network, Offer

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[3]
PEER = Path(os.environ.get("TIELINE_PEERS_GRID", ROOT / ".venv-peers-grid")) / "bin" / "python"
SOLVER = ROOT / "tests" / "peers" / "pandapower_opf.py"


def is_there() -> bool:
    """Return whether the peer is installed (`make peers-grid`, in a checkout)."""
    return SOLVER.exists() and (PEER.parent.parent / ".two").exists()


def answers(asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what pandapower answers, one a question."""
    text = "\n".join(json.dumps(each) for each in asked) + "\n"
    done = subprocess.run([str(PEER), str(SOLVER)], input=text, capture_output=True, text=True, check=True, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def optimal(case: Case, offers: Sequence[Offer], load_frac: float) -> dict[str, Any]:
    """Return the question for least cost, all of the offers on."""
    network = case.network
    ends = [(network.bus_name[a], network.bus_name[b]) for a, b in zip(network.from_bus, network.to_bus, strict=True)]
    ratings = [
        (*pair, float(x), float(mw))
        for pair, x, mw in zip(ends, case.reactance_pu, network.rating_mw, strict=True)
    ]  # fmt: skip
    curves = {offer.bus: (offer.low_mw, offer.steps) for offer in offers}
    return {"what": "optimal", "load_frac": load_frac, "ratings": ratings, "offers": curves}


def flows(answer: dict[str, Any], network: Network, reactance_pu: Floats) -> Floats:
    """Return the peer's flows (MW) in the order and direction of our branches; shape (l,)."""
    found: dict[tuple[str, str, float], float] = {}
    for a, b, x, mw in answer["branches"]:
        found[a, b, round(x, 5)], found[b, a, round(x, 5)] = mw, -mw
    names = network.bus_name
    return np.array(
        [
            found[names[a], names[b], round(float(x), 5)]
            for a, b, x in zip(network.from_bus, network.to_bus, reactance_pu, strict=True)
        ]
    )
