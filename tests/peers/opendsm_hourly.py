"""OpenDSM's hourly model on its own sample meters: a line of JSON in, one out; runs in an environment of its own.

Asked: `{"samples": [...], "train_days": 365}`. Answered for each sample: the hours, temperatures (degC) and loads that it
was given, what it makes of the hours that it was fitted to and of those after them, and seconds of processor time.
"""

import json
import sys
import time
import warnings
from importlib.metadata import version

import pandas as pd
from opendsm import eemeter

warnings.filterwarnings("ignore")


def sample(name):
    """Return a sample's load and temperature (degF) by the hour, on the hours that have both."""
    with_celsius = name.startswith("uk")
    load, temperature, _ = eemeter.load_sample(name, tempF=not with_celsius)
    load = load["value"].resample("h").sum(min_count=1)
    if with_celsius:
        temperature = temperature * 9 / 5 + 32
    whole = pd.DataFrame({"temperature": temperature, "observed": load}).dropna()
    zone = "Europe/London" if with_celsius else "America/Chicago"
    return whole.tz_convert(zone)


def whole_days(frame):
    """Return the days of a frame that have each of their hours."""
    days = frame.index.normalize()
    count = frame.groupby(days)["observed"].transform("count")
    return frame[(count >= 23).to_numpy()]


def fitted(name, train_days):
    """Return a sample, split in time, and what the model makes of both parts."""
    frame, is_electric = whole_days(sample(name)), "electricity" in name
    begin = frame.index[0].normalize()
    split = begin + pd.Timedelta(days=train_days)
    train, later = (
        frame[frame.index < split],
        frame[(frame.index >= split) & (frame.index < split + pd.Timedelta(days=train_days))],
    )
    began = time.process_time()
    data = eemeter.HourlyBaselineData(train, is_electricity_data=is_electric)
    model = eemeter.HourlyModel().fit(data, ignore_disqualification=True)
    fit_s = time.process_time() - began
    own = model.predict(data, ignore_disqualification=True)["predicted"].reindex(train.index)
    # It finds days of 23 and 25 hours by the loads that it is given, so that later ones stand there; none is read.
    ahead = eemeter.HourlyReportingData(later, is_electricity_data=False)
    next_ = model.predict(ahead, ignore_disqualification=True)["predicted"].reindex(later.index)
    whole = pd.concat([train, later])
    # Of electricity it takes 0 for no reading; so that both see the same, nobody is asked of those hours.
    kwh = whole["observed"].where((whole["observed"] != 0) | (not is_electric))
    return {
        "name": name, "zone": str(frame.index.tz), "train": len(train), "fit_s": fit_s,
        "start": [int(at.timestamp()) for at in whole.index],
        "celsius": ((whole["temperature"] - 32) * 5 / 9).round(6).tolist(),
        "kwh": [None if pd.isna(v) else float(v) for v in kwh],
        "predicted": [None if pd.isna(v) else float(v) for v in pd.concat([own, next_])],
        "told_cvrmse": float(model.baseline_metrics.cvrmse),
    }  # fmt: skip


def main():
    asked = json.loads(sys.stdin.readline())
    # The first fit compiles: it is not timed.
    fitted(asked["samples"][0], asked["train_days"])
    found, refused = [], {}
    for name in asked["samples"]:
        try:
            found.append(fitted(name, asked["train_days"]))
        except Exception as error:  # a sample that it makes no model of is named, and the others go on
            refused[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    print(json.dumps({"version": version("opendsm"), "samples": found, "refused": refused}))


if __name__ == "__main__":
    main()
