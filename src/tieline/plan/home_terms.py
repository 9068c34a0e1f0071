"""What a home's plan is asked with; every refusal names the device, the field, the value and the limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Battery:
    """Energies in Wh, powers in W at the terminal; `end_wh` is the least held at the end. One direction at a time."""

    start_wh: float
    least_wh: float
    most_wh: float
    end_wh: float
    charge_w: float
    discharge_w: float
    charge_frac: float = 0.95
    discharge_frac: float = 0.95
    wear_per_wh: float = 0.0


@dataclass(frozen=True, slots=True)
class Car:
    """It may charge in steps [`arrives`, `leaves`), with nothing or with `least_w` to `most_w` (W at the wall).

    By `leaves` at least `need_wh` have gone into its battery, and never more than `room_wh`.
    """

    arrives: int
    leaves: int
    need_wh: float
    room_wh: float
    most_w: float
    least_w: float = 0.0
    charge_frac: float = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Heater:
    """A water heater or heat pump: on at `power_w` or off, before a store that leaks and is drawn from.

    `held = keep_frac * held + on * power_w * hours * gain_frac + flow_wh`, between `least_wh` and `most_wh` after each
    step, at least `end_wh` after the last. `gain_frac` (heat a Wh of electricity makes), `flow_wh` (draws below 0),
    `least_wh` and `most_wh` are one value or one a step. Once on it stays so for `least_on` steps, once off for
    `least_off`; it is on or off already, for `held_steps`. Each start costs `start_cost`.
    """

    power_w: float
    start_wh: float
    least_wh: Floats | float
    most_wh: Floats | float
    flow_wh: Floats | float
    gain_frac: Floats | float = 1.0
    keep_frac: float = 1.0
    end_wh: float = 0.0
    least_on: int = 1
    least_off: int = 1
    start_cost: float = 0.0
    is_on: bool = False
    held_steps: int = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Appliance:
    """It runs through `power_w` (W, step by step) once, without a pause, within steps [`earliest`, `latest`)."""

    power_w: Floats
    earliest: int
    latest: int


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """One meter and what is behind it; each of `load_w`, `sun_w`, `import_w` and `export_w` is one value or one a step.

    What is drawn costs `buy_per_wh`, what is fed in brings `sell_per_wh`. `load_w` is what nobody moves; of `sun_w` as
    much is used as pays (sun that can't be held back is a negative load). The meter's draw is at most `import_w`, its
    feed at most `export_w`.
    """

    hours: float
    buy_per_wh: Floats
    sell_per_wh: Floats
    load_w: Floats | float = 0.0
    sun_w: Floats | float = 0.0
    import_w: Floats | float = np.inf
    export_w: Floats | float = np.inf
    battery: Battery | None = None
    cars: tuple[Car, ...] = ()
    heaters: tuple[Heater, ...] = ()
    appliances: tuple[Appliance, ...] = ()
    name: str = field(default="home")


def flat(home: Home, given: Floats | float) -> Floats:
    """Return a value for each step; shape (T,)."""
    return np.broadcast_to(np.asarray(given, float), (len(home.buy_per_wh),)).copy()


def checked(home: Home) -> None:
    """Check every value of a home by itself and against its neighbours.

    Raises:
        ConfigError: A value is no number, has a wrong shape, or crosses another; field, value and limit are named.
    """
    steps = _checked_meter(home)
    if home.battery is not None:
        _checked_battery(home.battery)
    for at, car in enumerate(home.cars):
        _checked_car(f"cars[{at}]", car, steps)
    for at, heater in enumerate(home.heaters):
        _checked_heater(f"heaters[{at}]", heater, steps)
    for at, appliance in enumerate(home.appliances):
        _checked_appliance(f"appliances[{at}]", appliance, steps)


def _checked_meter(home: Home) -> int:
    _number("hours", home.hours, 0.0, 24.0, is_above=True)
    buy = np.asarray(home.buy_per_wh, float)
    if buy.ndim != 1 or not len(buy):
        raise ConfigError(f"buy_per_wh has shape {buy.shape}: give one price a step, at least one")
    for name in ("buy_per_wh", "sell_per_wh", "load_w"):
        _column(name, getattr(home, name), len(buy), -np.inf, np.inf)
    if np.shape(home.sell_per_wh) != buy.shape:
        raise ConfigError(f"sell_per_wh has shape {np.shape(home.sell_per_wh)}: give {buy.shape}, as buy_per_wh has")
    _column("sun_w", home.sun_w, len(buy), 0.0, np.inf)
    for name in ("import_w", "export_w"):
        _column(name, getattr(home, name), len(buy), 0.0, np.inf, may_be_infinite=True)
    return len(buy)


def _checked_battery(battery: Battery) -> None:
    for name in ("start_wh", "least_wh", "most_wh", "end_wh"):
        _number(f"battery.{name}", getattr(battery, name), -np.inf, np.inf)
    for name in ("charge_w", "discharge_w", "wear_per_wh"):
        _number(f"battery.{name}", getattr(battery, name), 0.0, np.inf)
    for name in ("charge_frac", "discharge_frac"):
        _number(f"battery.{name}", getattr(battery, name), 0.0, 1.0, is_above=True)
    _at_most("battery.least_wh", battery.least_wh, "battery.most_wh", battery.most_wh)
    _at_most("battery.end_wh", battery.end_wh, "battery.most_wh", battery.most_wh)


def _checked_car(path: str, car: Car, steps: int) -> None:
    _count(f"{path}.arrives", car.arrives, 0, steps)
    _count(f"{path}.leaves", car.leaves, car.arrives, steps)
    for name in ("need_wh", "most_w", "least_w"):
        _number(f"{path}.{name}", getattr(car, name), 0.0, np.inf)
    _number(f"{path}.room_wh", car.room_wh, -np.inf, np.inf)
    _number(f"{path}.charge_frac", car.charge_frac, 0.0, 1.0, is_above=True)
    _at_most(f"{path}.need_wh", car.need_wh, f"{path}.room_wh", car.room_wh)
    _at_most(f"{path}.least_w", car.least_w, f"{path}.most_w", car.most_w)


def _checked_heater(path: str, heater: Heater, steps: int) -> None:
    _number(f"{path}.power_w", heater.power_w, 0.0, np.inf)
    for name in ("start_wh", "end_wh"):
        _number(f"{path}.{name}", getattr(heater, name), -np.inf, np.inf)
    _number(f"{path}.keep_frac", heater.keep_frac, 0.0, 1.0, is_above=True)
    _number(f"{path}.start_cost", heater.start_cost, 0.0, np.inf)
    for name in ("least_on", "least_off", "held_steps"):
        _count(f"{path}.{name}", getattr(heater, name), 1, 1_000_000)
    for name in ("least_wh", "most_wh", "flow_wh"):
        _column(f"{path}.{name}", getattr(heater, name), steps, -np.inf, np.inf)
    _column(f"{path}.gain_frac", heater.gain_frac, steps, 0.0, np.inf)
    low, high = np.broadcast_to(heater.least_wh, (steps,)), np.broadcast_to(heater.most_wh, (steps,))
    if (low > high).any():
        at = int((low > high).argmax())
        raise ConfigError(f"{path}.least_wh[{at}] = {low[at]:g}: give at most most_wh, {high[at]:g}")
    _at_most(f"{path}.end_wh", heater.end_wh, f"{path}.most_wh[{steps - 1}]", float(high[-1]))


def _checked_appliance(path: str, appliance: Appliance, steps: int) -> None:
    power = np.asarray(appliance.power_w, float)
    if power.ndim != 1 or not len(power):
        raise ConfigError(f"{path}.power_w has shape {power.shape}: give one power a step, at least one")
    _column(f"{path}.power_w", power, len(power), 0.0, np.inf)
    _count(f"{path}.earliest", appliance.earliest, 0, steps)
    _count(f"{path}.latest", appliance.latest, appliance.earliest, steps)
    if appliance.earliest + len(power) > appliance.latest:
        raise ConfigError(
            f"{path}.latest = {appliance.latest}: its {len(power)} steps from {appliance.earliest} on need "
            f"{appliance.earliest + len(power)} or later"
        )


def _number(path: str, value: Any, least: float, most: float, is_above: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise ConfigError(f"{path} = {value!r}: give a number")
    if not np.isfinite(value) or value < least or value > most or (is_above and value == least):
        raise ConfigError(f"{path} = {value:g}: give {_limit(least, most, is_above)}")


def _count(path: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ConfigError(f"{path} = {value!r}: give a whole number from {least} to {most}")


def _column(path: str, given: Any, steps: int, least: float, most: float, may_be_infinite: bool = False) -> None:
    column = np.asarray(given, float)
    if column.ndim and column.shape != (steps,):
        raise ConfigError(f"{path} has shape {column.shape}: give one value, or {steps}")
    values = np.atleast_1d(column)
    is_wrong = np.isnan(values) | (values < least) | (values > most)
    if not may_be_infinite:
        is_wrong |= np.isinf(values)
    if is_wrong.any():
        at = int(is_wrong.argmax())
        place = f"[{at}]" if column.ndim else ""
        raise ConfigError(f"{path}{place} = {values[at]:g}: give {_limit(least, most, False)}")


def _limit(least: float, most: float, is_above: bool) -> str:
    if np.isinf(least):
        return "a finite number"
    word = "above" if is_above else "from"
    return f"a number {word} {least:g}" + ("" if np.isinf(most) else f" to {most:g}")


def _at_most(path: str, value: float, other: str, most: float) -> None:
    if value > most:
        raise ConfigError(f"{path} = {value:g}: give at most {other}, {most:g}")
