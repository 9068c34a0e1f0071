"""Solves scripts with OpenDSS: reads {script, commands, loads, kw, kvar} a line, answers voltages to ground by bus and phase.

It knows nothing of the package, so that a slip in our reading of a script shows. Controls stand still, and loads keep
their model at every voltage. With `loads` (their names) and rows of `kw` and `kvar` it solves once a row, and says how
long that took.
"""

import json
import sys
import time

import dss


def main() -> None:
    """Answer until the input ends."""
    engine = dss.DSS
    engine.AllowForms = False
    for text in sys.stdin:
        asked = json.loads(text)
        engine.Text.Command = "clear"
        for command in asked["script"]:
            engine.Text.Command = command
        engine.Text.Command = "batchedit load..* vminpu=0.1 vmaxpu=3"
        for option in (
            "controlmode=off",
            "maxiterations=300",
            f"tolerance={asked.get('tolerance', 1e-12)}",
            "mode=snapshot",
        ):
            engine.Text.Command = f"set {option}"
        circuit = engine.ActiveCircuit
        answer = {"rows": [], "seconds": 0.0}
        circuit.Solution.Solve()
        answer["nodes"] = [name.lower() for name in circuit.AllNodeNames]
        answer["volts"] = [abs(complex(*pair)) for pair in _pairs(circuit.AllBusVolts)]
        answer["converged"] = bool(circuit.Solution.Converged)
        began = time.process_time()
        for kilowatts, kilovars in zip(asked.get("kw", ()), asked.get("kvar", ()), strict=True):
            loads = circuit.Loads
            for name, kilowatt, kilovar in zip(asked["loads"], kilowatts, kilovars, strict=True):
                loads.Name = name
                loads.kW = kilowatt
                loads.kvar = kilovar
            circuit.Solution.Solve()
            answer["rows"].append(circuit.AllBusVmag.tolist())
        answer["seconds"] = time.process_time() - began
        answer["taps"] = _taps(circuit)
        print(json.dumps(answer), flush=True)


def _pairs(flat: object) -> list:
    values = list(flat)
    return list(zip(values[::2], values[1::2], strict=True))


def _taps(circuit: object) -> dict:
    taps, banks = {}, circuit.Transformers
    at = banks.First
    while at:
        banks.Wdg = 2
        taps[banks.Name] = banks.Tap
        at = banks.Next
    return taps


main()
