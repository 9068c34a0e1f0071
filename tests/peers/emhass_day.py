"""One battery at one price by EMHASS' optimisation, in an environment of its own: JSON in, schedule and time out.

Asked: `price` (a kWh, by step), `hours`, `turns`, and `store` (kW and kWh by name). It plans in W.
"""

import json
import logging
import pathlib
import sys
import time

import emhass
import numpy as np
import pandas as pd
from emhass.optimization import Optimization

ROOT = pathlib.Path(emhass.__file__).parent


def main() -> None:
    asked = json.load(sys.stdin)
    store, steps = asked["store"], len(asked["price"])
    step = pd.Timedelta(minutes=round(60 * asked["hours"]))
    known = json.loads((ROOT / "data" / "config_defaults.json").read_text())
    size = 1e3 * store["most"]
    known |= {
        "optimization_time_step": step, "time_zone": "UTC", "number_of_deferrable_loads": 0, "set_use_battery": True,
        "set_use_pv": False, "set_nodischarge_to_grid": False, "delta_forecast_daily": pd.Timedelta(steps * step),
        "battery_discharge_power_max": 1e3 * store["discharge"] / store["discharge_frac"], "battery_charge_power_max": 1e3 * store["charge"],
        "battery_discharge_efficiency": store["discharge_frac"], "battery_charge_efficiency": store["charge_frac"],
        "battery_nominal_energy_capacity": size, "battery_minimum_state_of_charge": store["least"] / store["most"],
        "battery_maximum_state_of_charge": 1.0, "battery_target_state_of_charge": store["start"] / store["most"],
        "maximum_power_from_grid": 1e6, "maximum_power_to_grid": 1e6, "lp_solver_mip_rel_gap": asked["gap"],
        "costfun": "profit", "num_threads": 1,
    }  # fmt: skip
    for name in [each for each in known if isinstance(known[each], list) and "deferrable" in each]:
        known[name] = []
    index = pd.date_range("2026-01-01", periods=steps, freq=step, tz="UTC")
    frame = pd.DataFrame({"buy": asked["price"], "sell": asked["price"]}, index=index)
    none, share = pd.Series(0.0, index=index), store["start"] / store["most"]
    logger = logging.getLogger("peer")
    logger.setLevel(logging.CRITICAL)
    paths = {"root_path": ROOT, "data_path": ROOT / "data"}
    planner = Optimization(known, known, known, "buy", "sell", "profit", paths, logger)
    took = []
    for _ in range(asked["turns"]):
        began = time.process_time()
        found = planner.perform_dayahead_forecast_optim(frame, none, none, soc_init=share, soc_final=share)
        took.append(time.process_time() - began)
    power = np.asarray(found["P_batt"], float) / 1e3
    cost = -float((power * np.array(asked["price"])).sum() * asked["hours"])
    ended = str(found["optim_status"].iloc[0])
    print("\n" + json.dumps({"power": power.tolist(), "cost": cost, "ended": ended, "took": took}))


if __name__ == "__main__":
    main()
