"""What many devices are told, in columns: setpoints to the registers of model 704, and to the requests that write them.

The readable versions are `device.told`, `asking.asked_of` and `Unit.tell`, one device at a time; a property test
holds these here to the same octets. Ten thousand devices are laid out in some ten milliseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.device.profile import Profile
from tieline.device.steps import steps_within_rows
from tieline.links.device.modbus.held import FUNCTIONS
from tieline.links.device.sunspec_models import model
from tieline.wire.modbus.pdu import WRITE_MANY
from tieline.wire.sunspec.models import MOST_SCALE

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Registers = NDArray[np.uint16]
_TENS = np.array([10.0**exponent for exponent in range(-MOST_SCALE, MOST_SCALE + 1)])
_MOST_INT32, _MOST_UINT16 = (1 << 31) - 1, (1 << 16) - 2


class Asked(NamedTuple):
    """What many devices are asked, each array of shape (n,).

    `target_w` (W; NaN: none) is within `low_w` and `high_w` where those bind (W; infinite: they don't), `limit_frac` is
    a share of each one's own WMax (1: none).
    """

    target_w: Floats
    low_w: Floats
    high_w: Floats
    limit_frac: Floats


def bound_rows(profile: Profile, inject_w: Floats, absorb_w: Floats, low_w: Floats, high_w: Floats) -> Bools:
    """Return which rows are bound by a limit that model 704 doesn't know: to draw no more, or to draw."""
    least_w, most_w = -absorb_w * profile.limits.absorb_frac, inject_w * profile.limits.inject_frac
    high = np.maximum(np.minimum(high_w, most_w), least_w)
    bound: Bools = (np.minimum(low_w, most_w) > least_w) | ((high < most_w) & (high < 0.0))
    return bound


def asked_of_rows(
    profile: Profile,
    inject_w: Floats,
    absorb_w: Floats,
    full_w: Floats,
    target_w: Floats,
    low_w: Floats,
    high_w: Floats,
    own_w: Floats,
) -> tuple[Asked, Bools]:
    """Return what each row is asked, and whether it is sane.

    target = clip(target, low, high), where such a limit binds and nothing is asked clip(own, low, high), the power that
    it has by itself (NaN: not known, as if 0); limit = high / full where it binds, `full_w` being each one's own WMax.
    All arrays have shape (n,).
    """
    is_sane = (low_w <= high_w) & ~np.isinf(target_w)  # a NaN of a limit compares false
    most_w = inject_w * profile.limits.inject_frac
    least_w = -absorb_w * profile.limits.absorb_frac
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        high = np.maximum(np.minimum(high_w, most_w), least_w)
        low = np.minimum(np.maximum(low_w, least_w), most_w)
        binds_low, binds_high = low > least_w, high < most_w
        power_w = np.minimum(np.maximum(target_w, low), high)
        held_w = np.maximum(np.nan_to_num(own_w), np.where(binds_low, low, -np.inf))
        held_w = np.minimum(held_w, np.where(binds_high, high, np.inf))
        bound = bound_rows(profile, inject_w, absorb_w, low_w, high_w)
        target = np.where(np.isnan(target_w) & bound, held_w, power_w)
        share = np.clip(high / full_w, 0.0, 1.0)
    limit_frac = np.where(binds_high & (full_w > 0), share, 1.0)
    return Asked(target, np.where(binds_low, low, -np.inf), np.where(binds_high, high, np.inf), limit_frac), is_sane


def laid(seen: Registers, asked: Asked, seconds: int) -> tuple[Registers, Asked, Bools]:
    """Return the controls with the wished values laid in, these as they are told, and which rows can hold them.

    Args:
        seen: The controls of each unit as last read, shape (n, registers of model 704).
        asked: What is wished; it is told in the steps of each unit's scale factors, and no limit is wider for it.
        seconds: The reversion timer (s).
    """
    image = seen.copy()
    step_w, has_step_w = _steps_of(seen, "WSet_SF")
    step_percent, has_step_percent = _steps_of(seen, "WMaxLimPct_SF")
    count_w = steps_within_rows(asked.target_w, step_w, asked.low_w, asked.high_w)
    most_percent = 100.0 * np.maximum(asked.limit_frac, 0.0)
    count_percent = steps_within_rows(most_percent, step_percent, np.full(len(seen), -np.inf), most_percent)
    in_steps = has_step_percent & (asked.limit_frac < 1.0)
    limit_frac = np.where(in_steps, count_percent * step_percent / 100.0, asked.limit_frac)
    sets, limits = ~np.isnan(asked.target_w), limit_frac < 1.0
    raw_w, fits = _raw(count_w, has_step_w, -_MOST_INT32, _MOST_INT32)
    fits |= ~sets
    percent, fits_percent = _raw(count_percent, has_step_percent, 0, _MOST_UINT16)
    fits &= fits_percent | ~limits
    _put(image, "WSetEna", 1, sets)
    _put(image, "WSetEna", 0, ~sets)
    _put(image, "WSet", raw_w, sets)
    for name, value in (("WSetMod", 1), ("WSetRvrt", 0), ("WSetEnaRvrt", 0), ("WSetRvrtTms", seconds)):
        # WSetRvrt 0 needs no scale of its own; WSetMod 1: the power is in watts.
        _put(image, name, value, sets & _has(seen, name))
    _put(image, "WMaxLimPctEna", 1, limits)
    _put(image, "WMaxLimPctEna", 0, ~limits)
    _put(image, "WMaxLimPct", percent, limits)
    for name, value in (("WMaxLimPctEnaRvrt", 0), ("WMaxLimPctRvrtTms", seconds)):
        _put(image, name, value, limits & _has(seen, name))
    return image, asked._replace(target_w=count_w * step_w, limit_frac=limit_frac), fits


def requests(start: NDArray[np.int64], seen: Registers, image: Registers) -> list[list[bytes]]:
    """Return of each row the PDUs that write its functions, in order; one that is off and stays off is not written.

    Args:
        start: The first register of model 704 of each unit, shape (n,).
        seen: As last read.
        image: As wished.
    """
    found: list[list[bytes]] = [[] for _ in range(len(start))]
    for first, end in FUNCTIONS:
        rows = np.flatnonzero((image[:, first] != 0) | (seen[:, first] != 0))
        size = 6 + 2 * (end - first)
        pdus = np.zeros((len(rows), size), np.uint8)
        pdus[:, 0] = WRITE_MANY
        pdus[:, 1:3] = (start[rows] + first).astype(">u2").view(np.uint8).reshape(-1, 2)
        pdus[:, 4], pdus[:, 5] = end - first, 2 * (end - first)
        pdus[:, 6:] = image[rows, first:end].astype(">u2").view(np.uint8).reshape(len(rows), size - 6)
        octets = pdus.tobytes()
        for at, row in enumerate(rows.tolist()):
            found[row].append(octets[at * size : (at + 1) * size])
    return found


def _steps_of(seen: Registers, scale: str) -> tuple[Floats, Bools]:
    """Return the step of each unit by a scale factor, and which of them have one (others: 1)."""
    exponent = seen[:, model(704).field(scale).offset].astype(np.int16).astype(np.int64)
    known = np.abs(exponent) <= MOST_SCALE  # and so not "not implemented", which is far below
    return _TENS[np.where(known, exponent, 0) + MOST_SCALE], known


def _raw(count: Floats, known: Bools, least: int, most: int) -> tuple[NDArray[np.int64], Bools]:
    """Return counts as integers, and which of them registers can hold."""
    with np.errstate(invalid="ignore"):
        fits = known & (count >= least) & (count <= most)
    return np.where(fits, count, 0.0).astype(np.int64), fits


def _has(seen: Registers, name: str) -> Bools:
    """Return which units implement a point of their controls."""
    field = model(704).field(name)
    raw = np.zeros(len(seen), np.int64)
    for at in range(field.offset, field.offset + field.size):
        raw = raw << 16 | seen[:, at]
    has: Bools = raw != field.absent
    return has


def _put(image: Registers, name: str, value: int | NDArray[np.int64], where: Bools) -> None:
    field = model(704).field(name)
    for nth in range(field.size):
        shift = 16 * (field.size - 1 - nth)
        raw = (np.asarray(value, np.int64) >> shift) & 0xFFFF
        np.copyto(image[:, field.offset + nth], raw.astype(np.uint16), where=where)
