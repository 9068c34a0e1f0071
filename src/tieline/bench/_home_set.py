"""Homes for the bench: real loads, weather, charging sessions and prices that come with Tieline, one day each."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from tieline.plan.home_terms import Appliance, Battery, Car, Heater, Home
from tieline.simulate.datasets import Sessions, homes, homes_outdoor_c, sessions, weather
from tieline.simulate.iso.prices import prices_of

Floats = NDArray[np.float64]
STEPS, HOURS = 96, 0.25
DELIVERY_PER_WH = 45e-6
"""What delivery adds to the wholesale price of energy ($/Wh): an assumption in the middle of Texas' utilities."""
FROM = date(2021, 8, 1)
"""The homes' year begins on a 1 August; the prices that it meets begin in 2021."""


def home_set(count: int, seed: int) -> list[Home]:
    """Return so many homes: every third with a heat pump, the others with a water heater; each has all other devices.

    A home has the load of a real home on a real day, the sun of a typical year's same day, a charging session that
    somebody drove away from, and the day-ahead prices of its day with delivery on top. Sizes are drawn.
    """
    rng = np.random.default_rng(seed)
    return [_home(rng, at) for at in range(count)]


def _home(rng: np.random.Generator, at: int) -> Home:
    while True:
        day = int(rng.integers(1, 360))
        price = list(prices_of("HB_NORTH", FROM + timedelta(days=day)).values())
        if len(price) == 24:
            break
    wholesale = np.repeat(price, 4) / 1e6
    load = _quarters(homes()[int(rng.integers(0, 17)), 24 * day : 24 * day + 24])
    # The weather's year begins on 1 January, the homes' on 1 August.
    row = 24 * ((day + 212) % 365)
    seen = weather()
    global_w_per_m2 = 0.75 * seen.direct_w_per_m2[row : row + 24] + seen.diffuse_w_per_m2[row : row + 24]
    sun = _quarters(global_w_per_m2) * float(rng.uniform(2.0, 8.0)) * 0.86
    sun[:20], sun[80:] = 0.0, 0.0
    size = float(rng.choice([5_000.0, 10_000.0, 13_500.0]))
    rated = size * float(rng.uniform(0.3, 0.5))
    start = size * float(rng.uniform(0.2, 0.8))
    battery = Battery(start, 0.1 * size, size, min(start, 0.5 * size), rated, rated, 0.95, 0.95, 5e-6)
    heater = _heat_pump(rng, 24 * day) if at % 3 == 0 else _water_heater(rng)
    return Home(
        HOURS, wholesale + DELIVERY_PER_WH, wholesale, load, sun, float(rng.choice([9_000.0, 11_000.0, 14_000.0])),
        float(rng.choice([3_000.0, 5_000.0])), battery, (_car(rng, sessions()),), (heater,), (_appliance(rng),),
        f"home {at}",
    )  # fmt: skip


def _quarters(hourly: Floats) -> Floats:
    """Return quarter-hours, straight between the middles of the hours."""
    found: Floats = np.interp((np.arange(STEPS) + 0.5) / 4, np.arange(24) + 0.5, hourly)
    return found


def _car(rng: np.random.Generator, known: Sessions) -> Car:
    """Return a session that ends within the day; it charges from 6 A on, by one phase."""
    most = float(rng.choice([3_680.0, 7_360.0]))
    while True:
        k = int(rng.integers(0, len(known.arrives_s)))
        arrives, leaves = int(known.arrives_s[k] // 900), int((known.arrives_s[k] + known.stays_s[k]) // 900)
        energy = float(known.energy_wh[k])
        if 0 <= arrives < leaves <= STEPS and 2_000 < energy < 0.7 * most * 0.9 * HOURS * (leaves - arrives):
            return Car(arrives, leaves, energy, energy, most, 1_380.0, 0.9)


def _water_heater(rng: np.random.Generator) -> Heater:
    """Return a tank of 150 to 250 l (Wh above 45 degC) whose household draws at the taps, mornings and evenings."""
    litres = float(rng.choice([150.0, 200.0, 250.0]))
    most = litres * 1.163 * 20.0
    draws = np.zeros(STEPS)
    for middle, share in ((28, 0.45), (50, 0.15), (78, 0.4)):
        for _ in range(4):
            step = int(np.clip(rng.normal(middle, 4), 0, STEPS - 1))
            draws[step] += share / 4
    daily = float(rng.uniform(3_000, 6_500))
    loss = 0.004
    # It loses to the room even where it holds nothing above 45 degC.
    flow = -daily * draws - loss * litres * 1.163 * 25.0 / 10
    power = float(rng.choice([2_000.0, 3_000.0]))
    return Heater(
        power, most * float(rng.uniform(0.4, 0.8)), -0.5 * most, most, flow, 1.0, 1 - loss, 0.4 * most, 2, 2, 0.0
    )


def _heat_pump(rng: np.random.Generator, hour: int) -> Heater:
    """Return a heat pump of a house kept within 2 K, by the outdoor temperature of its day (Wh above the lower end)."""
    outside = _quarters(homes_outdoor_c()[hour : hour + 24]) - 12.0
    low_c, high_c = 20.0, 22.0
    per_c, leak_w_per_c = float(rng.uniform(3_000, 6_000)), float(rng.uniform(120, 200))
    keep = float(np.exp(-leak_w_per_c * HOURS / per_c))
    most = per_c * (high_c - low_c)
    cop = np.clip(2.2 + 0.07 * (outside + 10.0), 1.8, 5.0)
    need = leak_w_per_c * np.maximum(low_c - outside, 0.0)
    power = float(np.ceil(1.6 * (need / cop).max() / 250.0) * 250.0)
    flow = (1 - keep) * per_c * np.minimum(outside - low_c, 0.0)
    start = most * float(rng.uniform(0.3, 0.7))
    return Heater(max(power, 500.0), start, 0.0, most, flow, cop, keep, min(start, 0.5 * most), 3, 3, 5e-3)


def _appliance(rng: np.random.Generator) -> Appliance:
    """Return a dishwasher or a washing machine within some hours of the day."""
    power = np.array([2_000.0, 150.0, 150.0, 1_800.0, 100.0] if rng.random() < 0.5 else [1_900.0, 300.0, 250.0, 500.0])
    earliest = int(rng.integers(24, 56))
    return Appliance(power, earliest, min(earliest + int(rng.integers(20, 40)), STEPS))
