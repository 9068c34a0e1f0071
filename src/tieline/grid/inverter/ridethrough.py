"""What abnormal voltage and frequency ask of a DER: ride through in which mode, for how long, and when to trip.

IEEE 1547-2018, 6.4 and 6.5. Category I suits machines, II all needs of the bulk system, III a grid full of inverters.
"""

from __future__ import annotations

import math
from enum import IntEnum


class Category(IntEnum):
    """The abnormal operating performance category of a DER (4.3)."""

    I = 1  # noqa: E741 - the standard's own name
    II = 2
    III = 3


class Status(IntEnum):
    """What a DER does now: out of service, on its way back, or one of the operating modes of 6.4.2 and 6.5.2."""

    TRIPPED = 0
    ENTERING = 1
    CONTINUOUS = 2
    MANDATORY = 3
    PERMISSIVE = 4
    MOMENTARY = 5
    CEASED = 6
    UNBOUND = 7
    """The frequency is beyond what any category rides through (6.5.2.1); it goes on until it trips."""


Step = tuple[float, float]
"""A threshold (pu or Hz) and a clearing time (s)."""

OVER_VOLTAGE: dict[Category, tuple[Step, Step]] = {
    Category.I: ((1.20, 0.16), (1.10, 2.0)),
    Category.II: ((1.20, 0.16), (1.10, 2.0)),
    Category.III: ((1.20, 0.16), (1.10, 13.0)),
}
"""OV2 and OV1 (6.4.1, Tables 11 to 13)."""
UNDER_VOLTAGE: dict[Category, tuple[Step, Step]] = {
    Category.I: ((0.45, 0.16), (0.70, 2.0)),
    Category.II: ((0.45, 0.16), (0.70, 10.0)),
    Category.III: ((0.50, 2.0), (0.88, 21.0)),
}
"""UV2 and UV1 (6.4.1, Tables 11 to 13)."""
OVER_FREQUENCY: tuple[Step, Step] = ((62.0, 0.16), (61.2, 300.0))
UNDER_FREQUENCY: tuple[Step, Step] = ((56.5, 0.16), (58.5, 300.0))
"""OF2, OF1 and UF2, UF1 of all categories (6.5.1, Table 18)."""
CONTINUOUS_PU, CONTINUOUS_HZ = (0.88, 1.10), (58.8, 61.2)
RIDDEN_HZ = (57.0, 61.8)
HIGHEST_RIDDEN_PU = 1.20
MANDATORY_FROM_PU = {Category.I: 0.70, Category.II: 0.65, Category.III: 0.50}
PERMISSIVE_FROM_PU = {Category.I: 0.50, Category.II: 0.30, Category.III: 0.50}
"""6.4.2.1, Tables 14 to 16: down to which voltage each mode reaches; III has none between mandatory and momentary."""


def low_voltage_status(low_pu: float, category: Category) -> Status:
    """Return what the lowest applicable voltage asks (Tables 14 to 16)."""
    if low_pu >= CONTINUOUS_PU[0]:
        return Status.CONTINUOUS
    if low_pu >= MANDATORY_FROM_PU[category]:
        return Status.MANDATORY
    if low_pu >= PERMISSIVE_FROM_PU[category]:
        return Status.PERMISSIVE
    return Status.MOMENTARY if category is Category.III else Status.CEASED


def high_voltage_status(high_pu: float, category: Category) -> Status:
    """Return what the highest applicable voltage asks (Tables 14 to 16)."""
    if high_pu <= CONTINUOUS_PU[1]:
        return Status.CONTINUOUS
    if high_pu <= HIGHEST_RIDDEN_PU:
        return Status.MOMENTARY if category is Category.III else Status.PERMISSIVE
    return Status.CEASED


def frequency_status(frequency_hz: float) -> Status:
    """Return what the frequency asks of all categories (6.5.2, Table 19)."""
    if CONTINUOUS_HZ[0] <= frequency_hz <= CONTINUOUS_HZ[1]:
        return Status.CONTINUOUS
    if RIDDEN_HZ[0] <= frequency_hz <= RIDDEN_HZ[1]:
        return Status.MANDATORY
    return Status.UNBOUND


def voltage_ride_through_s(voltage_pu: float, category: Category) -> float:
    """Return how long a voltage is to be ridden through at least (Tables 14 to 16); 0 where nothing is asked."""
    v = voltage_pu
    if CONTINUOUS_PU[0] <= v <= CONTINUOUS_PU[1]:
        return math.inf
    if v > HIGHEST_RIDDEN_PU:
        return 0.0
    if v > CONTINUOUS_PU[1]:
        if category is Category.III:
            return 12.0
        return 1.0 if v <= 1.15 else 0.5 if v <= 1.175 else 0.2
    match category:
        case Category.I:
            return 0.7 + 4.0 * (v - 0.70) if v >= 0.70 else 0.16 if v >= 0.50 else 0.0
        case Category.II:
            return 3.0 + 8.7 * (v - 0.65) if v >= 0.65 else 0.32 if v >= 0.45 else 0.16 if v >= 0.30 else 0.0
        case Category.III:
            return 20.0 if v >= 0.70 else 10.0 if v >= 0.50 else 1.0


def frequency_ride_through_s(frequency_hz: float) -> float:
    """Return how long a frequency is to be ridden through at least (6.5.2, Table 19)."""
    match frequency_status(frequency_hz):
        case Status.CONTINUOUS:
            return math.inf
        case Status.MANDATORY:
            return 299.0
        case _:
            return 0.0
