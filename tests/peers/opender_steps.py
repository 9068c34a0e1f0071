"""Runs inverters of EPRI's OpenDER: reads a case a line, answers what each step gave.

A case: `settings` by OpenDER's names, whether it is `storage`, step `seconds`, and `steps` of three phase voltages
(pu), frequency (Hz), power (pu) and, where they change, further `settings`. It knows nothing of the package.
"""

import json
import logging
import sys
import time

from opender import DER, DER_BESS, DER_PV


def put(unit: object, settings: dict) -> list:
    """Set parameters; return those that OpenDER did not take as they were given."""
    for name, value in settings.items():
        setattr(unit.der_file, name, value)
    return [
        [name, value, str(getattr(unit.der_file, name))]
        for name, value in settings.items()
        if not _same(getattr(unit.der_file, name), value)
    ]


def _same(got: object, given: object) -> bool:
    if isinstance(given, str):
        return str(got) == given or got is True
    return abs(float(got) - float(given)) < 1e-12


def run(case: dict) -> dict:
    """Return power and reactive power (pu), status and voltages seen of each step, and processor time by step."""
    DER.t_s = case["seconds"]
    unit = (DER_BESS if case["storage"] else DER_PV)()
    changed = put(unit, case["settings"])
    rows, took = [], 0.0
    for step in case["steps"]:
        changed += put(unit, step.get("settings", {}))
        power = {"p_dem_pu" if case["storage"] else "p_dc_pu": step["power"]}
        began = time.process_time()
        unit.update_der_input(v_pu=step["volts"], f=step["hz"], **power)
        unit.run()
        took += time.process_time() - began
        seen = unit.der_input
        rows.append([float(unit.p_out_w) / unit.der_file.NP_P_MAX, float(unit.q_out_var) / unit.der_file.NP_VA_MAX,
                     unit.der_status, seen.v_meas_pu, seen.v_low_pu, seen.v_high_pu])  # fmt: skip
    return {"rows": rows, "seconds": took, "changed": changed}


def main() -> None:
    """Answer until the input ends."""
    logging.disable(logging.CRITICAL)
    answers, sys.stdout = sys.stdout, sys.stderr  # OpenDER prints now and then
    for text in sys.stdin:
        print(json.dumps(run(json.loads(text))), file=answers, flush=True)


if __name__ == "__main__":
    main()
