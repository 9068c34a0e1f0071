"""A day ahead by statsforecast, in an environment of its own: series in as JSON, forecasts and processor time out."""

import json
import os
import sys
import time

os.environ["NIXTLA_ID_AS_COL"] = "1"

import numpy as np
from statsforecast.models import MSTL, AutoETS, SeasonalNaive

MODELS = {
    "MSTL": lambda: MSTL(season_length=[24, 168], trend_forecaster=AutoETS(model="ZZN")),
    "AutoETS": lambda: AutoETS(season_length=24),
    "SeasonalNaive": lambda: SeasonalNaive(season_length=168),
}


def main() -> None:
    asked = json.load(sys.stdin)
    rows = np.array(asked["series"])
    model = MODELS[asked["model"]]
    model().forecast(y=rows[0], h=asked["horizon"])  # compiles
    began = time.process_time()
    found = [np.asarray(model().forecast(y=row, h=asked["horizon"])["mean"]).tolist() for row in rows]
    json.dump({"forecasts": found, "seconds": time.process_time() - began}, sys.stdout)


if __name__ == "__main__":
    main()
