"""Batteries at one price by FlexMeasures' device_scheduler, in an environment of its own: JSON in, schedules and time out.

Asked: `price` (a kWh, by step), `hours`, `cap` (kW, of the sum, or null), `turns`, and `stores` (kW and kWh by name).
"""

import json
import sys
import time

import numpy as np
import pandas as pd
from flask import Flask
from flexmeasures.data.models.planning.linear_optimization import device_scheduler
from flexmeasures.data.models.planning.utils import initialize_df, initialize_series

COLUMNS = [
    "equals", "max", "min", "efficiency", "derivative equals", "derivative max", "derivative min",
    "derivative down efficiency", "derivative up efficiency", "stock delta",
]  # fmt: skip
START = pd.Timestamp("2026-01-01T00:00Z")


def main() -> None:
    asked = json.load(sys.stdin)
    step = pd.Timedelta(hours=asked["hours"])
    end = START + step * len(asked["price"])
    app = Flask("peer")
    app.config.update(
        FLEXMEASURES_LP_SOLVER=asked["solver"], LOGGING_LEVEL="INFO", FLEXMEASURES_LP_SOLVER_OPTIONS=asked["options"]
    )
    took = []
    with app.app_context():
        for _ in range(asked["turns"]):
            began = time.process_time()
            power, cost, results, _ = scheduled(asked, end, step)
            took.append(time.process_time() - began)
    ended = str(results.solver.termination_condition)
    told = {"power": [np.asarray(row).tolist() for row in power], "cost": float(cost), "ended": ended, "took": took}
    print("\n" + json.dumps(told))


def scheduled(asked: dict, end: pd.Timestamp, step: pd.Timedelta) -> tuple:
    devices, stores = [], asked["stores"]
    for k in range(len(stores["start"])):
        row = initialize_df(COLUMNS, START, end, step)
        # Stock counts from the start there, as what has flowed in.
        row["max"] = stores["most"][k] - stores["start"][k]
        row["min"] = stores["least"][k] - stores["start"][k]
        row.iloc[-1, row.columns.get_loc("min")] = stores["end"][k] - stores["start"][k]
        row["derivative max"], row["derivative min"] = stores["charge"][k], -stores["discharge"][k]
        row["derivative up efficiency"] = stores["charge_frac"][k]
        row["derivative down efficiency"] = stores["discharge_frac"][k]
        # A step of stock is a flow for an hour there: powers are given by step, prices as they are.
        for name in ("derivative max", "derivative min"):
            row[name] *= asked["hours"]
        devices.append(row)
    site = initialize_df(["derivative max", "derivative min"], START, end, step)
    if asked["cap"] is not None:
        site["derivative max"], site["derivative min"] = (sign * asked["cap"] * asked["hours"] for sign in (1, -1))
    price = pd.Series(asked["price"], index=site.index)
    none = initialize_series(0.0, START, end, step)
    return device_scheduler(
        devices, site, commitment_quantities=[none], commitment_downwards_deviation_price=[price],
        commitment_upwards_deviation_price=[price], initial_stock=0,
    )  # fmt: skip


if __name__ == "__main__":
    main()
