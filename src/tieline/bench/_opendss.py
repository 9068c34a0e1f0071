"""OpenDSS beside ours: a feeder of power-grid-model's JSON as a script, and the process that solves it."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PEER = Path(os.environ.get("TIELINE_PEERS_GRID", ROOT / ".venv-peers-grid")) / "bin" / "python"
SOLVER = ROOT / "tests" / "peers" / "opendss_flow.py"


def is_there() -> bool:
    """Return whether the peer is installed (`make peers-grid`, in a checkout)."""
    return SOLVER.exists() and (PEER.parent.parent / ".two").exists()


def script_of(text: str) -> list[str]:
    """Return the commands that build a feeder of lines, one Dyn1 transformer and loads of one phase each."""
    whole = json.loads(text)
    rows = {kind: [dict(zip(whole["attributes"][kind], row, strict=True)) for row in table]
            for kind, table in whole["data"].items()}  # fmt: skip
    source, (trafo,) = rows["source"][0], rows["transformer"]
    size = trafo["u1"] ** 2 / source["sk"]
    resists, reacts = 0.1 * size / math.hypot(0.1, 1), size / math.hypot(0.1, 1)
    made = ["set defaultbasefrequency=50",
            f"new circuit.c bus1={source['node']} basekv={trafo['u1'] / 1e3} pu={source['u_ref']} "
            f"r1={resists} x1={reacts} r0={resists} x0={reacts}"]  # fmt: skip
    for line in rows["line"]:
        made.append(
            f"new line.l{line['id']} bus1={line['from_node']} bus2={line['to_node']} phases=3 length=1 "
            f"r1={line['r1']} x1={line['x1']} r0={line['r0']} x0={line['x0']} c1=0 c0=0"
        )
    part = trafo["pk"] / trafo["sn"] * 100
    made.append(
        f"new transformer.t buses=[{trafo['from_node']} {trafo['to_node']}] conns=[delta wye] "
        f"kvs=[{trafo['u1'] / 1e3} {trafo['u2'] / 1e3}] kvas=[{trafo['sn'] / 1e3} {trafo['sn'] / 1e3}] "
        f"%rs=[{part / 2} {part / 2}] xhl={math.sqrt((trafo['uk'] * 100) ** 2 - part**2)} ppm_antifloat=0"
    )
    for load in rows["asym_load"]:
        (phase,) = (k for k in range(3) if load["p_specified"][k])
        made.append(
            f"new load.c{load['id']} bus1={load['node']}.{phase + 1} phases=1 model=1 "
            f"kv={trafo['u2'] / 1e3 / math.sqrt(3)} "
            f"kw={load['p_specified'][phase] / 1e3} kvar={load['q_specified'][phase] / 1e3}"
        )
    return [*made, f"set voltagebases=[{trafo['u1'] / 1e3} {trafo['u2'] / 1e3}]", "calcvoltagebases", "solve"]


def solved(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what OpenDSS answers: voltages by node, a row of them a scenario, and seconds of processor time."""
    done = subprocess.run(
        [str(PEER), str(SOLVER)],
        input=json.dumps(asked) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
