"""Small homes of every make, drawn: what the plan of a home is held against physics and HiGHS on."""

import numpy as np

from tieline.plan.home import Appliance, Battery, Car, Heater, Home


def random_home(seed: int, is_harsh: bool = False, steps: int | None = None) -> Home:
    """Return a home; a harsh one has narrow caps, late deadlines, negative and crossed prices, states that clash."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(2, 17)) if steps is None else steps
    hours = float(rng.choice([0.25, 0.5, 1.0]))
    buy = rng.uniform(0.05, 0.4, steps) / 1e3
    if seed % 3 == 0:
        buy -= float(rng.uniform(0, 0.3)) / 1e3
    sell = buy - rng.uniform(0, 0.2, steps) / 1e3
    if is_harsh and seed % 4 == 0:
        sell = buy + rng.uniform(-0.1, 0.05, steps) / 1e3
    load, sun = rng.uniform(0, 2_000, steps), np.maximum(rng.uniform(-2_000, 4_000, steps), 0)
    has = rng.random(5) < 0.6
    battery = None
    if has[0]:
        size = float(rng.uniform(2_000, 12_000))
        start = float(rng.uniform(0.1, 0.9) * size)
        end = float(rng.uniform(0.1, 1.0) * size) if is_harsh else min(start, 0.5 * size)
        battery = Battery(
            start, 0.1 * size, size, end, 0.4 * size, 0.4 * size, 0.93, 0.95, float(rng.choice([0, 1e-5]))
        )
    cars = tuple(_car(rng, steps, hours, is_harsh) for _ in range(int(has[1])))
    heaters = tuple(_heater(rng, steps, hours, is_harsh) for _ in range(int(has[2]) + int(has[2] and has[4])))
    appliances = tuple(_appliance(rng, steps) for _ in range(int(has[3])))
    low = 1_500.0 if is_harsh else 12_000.0
    caps = float(rng.uniform(low, 15_000)), float(rng.uniform(0.0 if is_harsh else 2_000.0, 6_000.0))
    return Home(hours, buy, sell, load, sun, *caps, battery, cars, heaters, appliances, f"home {seed}")


def _car(rng: np.random.Generator, steps: int, hours: float, is_harsh: bool) -> Car:
    arrives = int(rng.integers(0, steps - 1))
    leaves = int(rng.integers(arrives + 1, steps + 1))
    most, least = float(rng.choice([3_700.0, 7_400.0])), float(rng.choice([0.0, 1_400.0]))
    need = float(rng.uniform(0.0, 1.3 if is_harsh else 0.9)) * 0.9 * most * hours * (leaves - arrives)
    room = need * float(rng.choice([1.0, 1.3])) + (0.0 if is_harsh else least * hours)
    return Car(arrives, leaves, need, room, most, least, 0.9)


def _heater(rng: np.random.Generator, steps: int, hours: float, is_harsh: bool) -> Heater:
    power = float(rng.choice([1_000.0, 2_000.0, 3_000.0]))
    most = power * hours * float(rng.uniform(1.5, 8.0))
    flow = -rng.random(steps) * power * hours * float(rng.uniform(0.1, 1.2 if is_harsh else 0.6))
    times = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    least = 0.0 if is_harsh else -2.0 * most
    return Heater(
        power, most * float(rng.uniform(0.2, 0.9)), least, most, flow, rng.uniform(0.9, 1.1, steps),
        float(rng.choice([1.0, 0.99, 0.95])), 0.3 * most if is_harsh else least, *times, float(rng.choice([0.0, 0.02])),
        bool(rng.random() < 0.5), int(rng.integers(1, 4)),
    )  # fmt: skip


def _appliance(rng: np.random.Generator, steps: int) -> Appliance:
    power = rng.uniform(100, 2_500, int(rng.integers(1, min(steps, 5) + 1)))
    earliest = int(rng.integers(0, steps - len(power) + 1))
    return Appliance(power, earliest, int(rng.integers(earliest + len(power), steps + 1)))
