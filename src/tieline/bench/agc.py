"""How well 10,000 devices follow a regulation signal over slow links, as PJM scored it to 2025-09-30."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tieline.market.livescore import LiveScore
from tieline.market.product import FrequencyCurve, Regulation, rule_of
from tieline.market.regulation import Score, mileage, score
from tieline.plan.regulator import Regulated, Regulator, Terms
from tieline.simulate.regulated import TICK_S, Hardware, Plant, regulation_signal
from tieline.site.armed import Table, curve_of
from tieline.site.armed_fleet import ArmedFleet

BAR = 0.95
UNIT = "score"
WHAT = "10,000 devices follow a 2 s signal, commands 4 s late and reports too, some silent or slow: PJM's score"
STEP_S, LATENCY_S, SOLD_FRAC = 2.0, 4.0, 0.5
WARM_S, HOUR_S = 600.0, 3600.0
RULE = rule_of("pjm-regulation-mileage", Regulation, date(2025, 1, 1))
Floats = NDArray[np.float64]


def hardware(count: int, seed: int, latency_s: float = LATENCY_S) -> Hardware:
    """Return half stores of two hours, cars, heat within its comfort, and a tenth engines that take a minute; a part
    of them gives less than it is told, and a tenth of the links is three times as slow."""
    rng = np.random.default_rng([seed, 1])
    kind, rated_w = rng.random(count), rng.uniform(2e3, 8e3, count)
    battery, car, heat, engine = kind < 0.5, (kind >= 0.5) & (kind < 0.7), (kind >= 0.7) & (kind < 0.9), kind >= 0.9
    down_w = np.select([battery, car, heat], [rated_w, 0.4 * rated_w, 0.5 * rated_w], 0.4 * rated_w)
    up_w = np.select([battery, car, heat], [rated_w, 0.6 * rated_w, 0.5 * rated_w], 0.4 * rated_w)
    ramp_w_s = rated_w / np.select([battery, car, heat], [2.0, 6.0, 10.0], 60.0)
    most_wh = np.select([battery, heat], [2.0 * rated_w, 0.5 * rated_w], 0.0)
    reserve_wh = np.where(battery, rng.choice([0.1, 0.2, 0.5], count) * most_wh, 0.0)
    stored_wh = reserve_wh + np.where(battery, rng.uniform(0.2, 0.8, count), 0.5) * (most_wh - reserve_wh)
    frac = np.where(battery, 0.95, 1.0)
    gain = np.where(rng.random(count) < 0.05, 0.6, rng.normal(0.99, 0.01, count).clip(0.95, 1.0))
    slow = np.where(rng.random(count) < 0.1, 3.0, 1.0) * rng.uniform(0.7, 1.1, count)
    f32 = np.float32
    fleet = Regulated(
        down_w.astype(f32), up_w.astype(f32), ramp_w_s.astype(f32), stored_wh.astype(f32), reserve_wh.astype(f32),
        most_wh.astype(f32), frac.astype(f32), frac.astype(f32),
    )  # fmt: skip
    span_w = np.maximum(down_w, up_w)
    scale = latency_s / float(np.mean(slow))
    return Hardware(
        fleet, gain, np.where(battery | engine, 0.01, 0.15) * span_w, 0.005 * span_w * rng.standard_normal(count),
        0.02 * span_w, 0.003 * most_wh, scale * slow, scale * slow * rng.uniform(0.8, 1.2, count),
        together_w=0.02 * SOLD_FRAC * float(np.minimum(down_w, up_w).sum()),
    )  # fmt: skip


@dataclass(slots=True, eq=False)
class Followed:
    """What an hour came to: both columns at the signal's steps, the score, and what was counted on the way."""

    signal: Floats
    response: Floats
    score: Score
    live: Score | None
    took_s: list[float] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    below_wh: float = 0.0
    """By how much any store was ever below its owner's reserve (Wh)."""
    beyond_w: float = 0.0
    """By how much any device was ever told beyond its nameplate (W)."""


def follow(made: Hardware, seed: int, terms: Terms, hour_s: float = HOUR_S, outage: bool = True) -> Followed:
    """Return how a fleet followed an hour's signal after ten minutes to settle in.

    Three in a hundred devices never speak, single ones are gone for minutes, and half an hour in a twentieth is gone at
    once for five.
    """
    rng = np.random.default_rng([seed, 2])
    fleet, count = made.fleet, len(made.fleet.down_w)
    sold_w = SOLD_FRAC * float(np.minimum(fleet.down_w, fleet.up_w).sum())
    regulator, plant = Regulator(fleet, sold_w, terms), Plant(made, rng)
    steps = int((WARM_S + hour_s + RULE.lag_most_s) / STEP_S)
    signal = regulation_signal(steps, STEP_S, np.random.default_rng([seed, 3]))
    if outage:
        plant.silence(np.flatnonzero(rng.random(count) < 0.03), np.inf)
    live, out = LiveScore(RULE), Followed(signal, np.zeros(steps), Score(0, 0, 0, 0, 0, 0), None)
    first, every = int(WARM_S / STEP_S), int(RULE.sample_s / STEP_S)
    for step in range(steps):
        now_s = step * STEP_S
        out.response[step] = plant.power_w / sold_w
        if step >= first and (step - first) % every == 0:
            live.add(float(signal[step]), float(out.response[step]))
        if outage:
            _fail(plant, rng, now_s, count)
        reports = plant.heard()
        began = time.perf_counter()
        asked = regulator.step(now_s, float(signal[step]), reports)
        out.took_s.append(time.perf_counter() - began)
        out.told.append(len(asked.rows))
        out.silent.append(asked.silent)
        plant.send(now_s, asked)
        over_w = np.maximum(asked.power_w - fleet.up_w[asked.rows], -fleet.down_w[asked.rows] - asked.power_w)
        out.beyond_w = max(out.beyond_w, float(over_w.max(initial=0.0)))
        for tick in range(1, int(STEP_S / TICK_S) + 1):
            plant.tick(now_s + tick * TICK_S)
        below_wh = (fleet.reserve_wh - plant.stored_wh)[fleet.most_wh > 0]
        out.below_wh = max(out.below_wh, float(below_wh.max(initial=0.0)))
    out.score = score(RULE, signal[first::every], out.response[first::every])
    out.live = live.now
    return out


def _fail(plant: Plant, rng: np.random.Generator, now_s: float, count: int) -> None:
    gone = np.flatnonzero(rng.random(count) < STEP_S / 36_000.0)
    plant.silence(gone[plant.silent_until_s[gone] <= now_s], now_s + float(rng.uniform(60.0, 600.0)))
    if now_s == WARM_S + 1_800.0:
        region = np.arange(0, count, 20)
        plant.silence(region[plant.silent_until_s[region] <= now_s], now_s + 300.0)


def echo(signal: Floats, late_s: float) -> float:
    """Return the score of a perfect response that is late, no more: what a signal asks of everybody."""
    late = int(round(late_s / STEP_S))
    first, every = int(WARM_S / STEP_S), int(RULE.sample_s / STEP_S)
    response = np.concatenate([np.zeros(late), signal[: len(signal) - late]])
    return score(RULE, signal[first::every], response[first::every]).total


def armed(made: Hardware, seed: int) -> tuple[float, float]:
    """Return which part of what a fall to 49.8 Hz calls for is given after 2 s and after 30 s, with every link cut."""
    fleet, count = made.fleet, len(made.fleet.down_w)
    rule = rule_of("eu-fcr", FrequencyCurve, date(2025, 1, 1))
    nominal_hz, dead_band_mhz, curve = curve_of(rule)
    # What a device holds it must reach within FCR's 30 s.
    held_w = np.minimum(np.minimum(fleet.down_w, fleet.up_w), 29.0 * fleet.ramp_w_s)
    tables = ArmedFleet([
        Table(id=str(row), epoch=1, seq=1, start_ns=0, end_ns=10**12, nominal_hz=nominal_hz, curve=curve,
              dead_band_mhz=dead_band_mhz, up_w=float(held_w[row]), down_w=float(held_w[row]))
        for row in range(count)
    ])  # fmt: skip
    plant = Plant(made, np.random.default_rng([seed, 4]))
    plant.silence(np.arange(count), np.inf)
    given = []
    for tick in range(1, int(30.0 / TICK_S) + 1):
        now_s = tick * TICK_S
        called_w = tables.step(int(now_s * 1e9), 49.8, TICK_S)
        plant.tick(now_s, called_w)
        given.append(float(plant.shift_w.sum() / called_w.sum()))
    return given[int(2.0 / TICK_S) - 1], given[-1]


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Follow an hour's signal, and the same without foresight and without the loop; beside them a perfect late echo."""
    count, hour_s = (500, 1_200.0) if quick else (10_000, HOUR_S)
    made, rows = hardware(count, seed), dict[str, Followed]()
    for name, terms in (
        ("full", Terms()), ("without_foresight", Terms(foresees=False)), ("without_loop", Terms(corrects=False)),
    ):  # fmt: skip
        rows[name] = follow(made, seed, terms, hour_s)
        progress(f"{name.replace('_', ' ')}: {rows[name].score.total:.4f}")
    full = rows["full"]
    after_2_s, after_30_s = armed(made, seed)
    live_off = abs(full.live.total - full.score.total) if full.live is not None else 1.0
    settled = int(WARM_S / STEP_S)
    holds = full.below_wh <= 0.0 and full.beyond_w <= 0.01 and live_off <= 1e-9 and after_30_s >= 0.98
    return {
        "value": round(full.score.total, 4), "ok": full.score.total >= BAR and holds, "devices": count,
        "accuracy": round(full.score.accuracy, 4), "delay": round(full.score.delay, 4),
        "precision": round(full.score.precision, 4), "command_s": LATENCY_S, "report_s": LATENCY_S,
        "without_foresight": round(rows["without_foresight"].score.total, 4),
        "without_loop": round(rows["without_loop"].score.total, 4), "echo_4_s": round(echo(full.signal, 4.0), 4),
        "mileage_per_h": round(mileage(full.signal) * 3600.0 / (len(full.signal) * STEP_S), 1),
        "live_off": live_off, "below_reserve_wh": full.below_wh, "beyond_w": round(full.beyond_w, 3),
        "told_frac": round(float(np.mean(full.told[settled:])) / count, 3),
        "silent_frac": round(float(np.mean(full.silent[settled:])) / count, 3),
        "step_s": round(float(np.median(full.took_s)), 5), "armed_2_s": round(after_2_s, 4),
        "armed_30_s": round(after_30_s, 4),
    }  # fmt: skip
