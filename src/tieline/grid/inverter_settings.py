"""Settings of inverters as a document: which curves each resource is to follow, held to IEEE 1547-2018.

One JSON object: of which feeder, which version, how and when it was made, and of each resource its volt-var and
volt-watt curve and its frequency-droop. Voltages are pu of the nominal, reactive power a share of the nameplate
apparent power (positive injects), active power one of the active power rating. What is left out stays as its owner has
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.grid.envelope_file import MOST_METHOD, MOST_NAME, MOST_VERSION
from tieline.grid.settings import Curves
from tieline.ids import NAME, is_name
from tieline.resource.claim import Refusal
from tieline.times import parse_iso

MOST_RESOURCES = 10_000
REFERENCE_PU = 1.0
_EPS = 1e-9
"""What a decimal may be off by as a binary number, at a bound of the standard."""


class VoltVar(Struct, frozen=True, forbid_unknown_fields=True):
    """Reactive power by voltage (5.3.3): four points, level beyond them, and the open loop response time (s)."""

    volt_pu: tuple[float, ...]
    var_frac: tuple[float, ...]
    response_s: float = 5.0


class VoltWatt(Struct, frozen=True, forbid_unknown_fields=True):
    """The most active power by voltage (5.4.2): two points, level beyond them, and the open loop response time (s)."""

    volt_pu: tuple[float, ...]
    watt_frac: tuple[float, ...]
    response_s: float = 10.0


class Droop(Struct, frozen=True, forbid_unknown_fields=True):
    """Frequency-droop (6.5.2.7): dead bands (Hz), the change of frequency (pu) that changes the whole rating, and the
    open loop response time (s)."""

    over_dead_band_hz: float = 0.036
    under_dead_band_hz: float = 0.036
    over_frac: float = 0.05
    under_frac: float = 0.05
    response_s: float = 5.0


class InverterSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the inverters of one resource are to follow; what is None stays as their owner has it."""

    resource: str
    volt_var: VoltVar | None = None
    volt_watt: VoltWatt | None = None
    droop: Droop | None = None


class SettingsSet(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a feeder's inverters. `version` grows with each set of the same feeder."""

    feeder: str
    version: int
    method: str
    made_at: str
    settings: tuple[InverterSettings, ...]


def of_curves(resource: str, curves: Curves) -> InverterSettings:
    """Return what `grid.settings.best_settings` chose, as settings of a resource's inverters."""
    return InverterSettings(
        resource, VoltVar(curves.var_pu, curves.var_frac), VoltWatt(curves.watt_pu, curves.watt_frac)
    )


def settings_text(made: SettingsSet) -> str:
    """Return a set as the document that a desk takes. Raises ConfigError: what the desk would refuse, in its words."""
    wrong = settings_wrong(made)
    if wrong is not None:
        raise ConfigError(str(wrong))
    return msgspec.json.encode(made).decode()


def read_settings(text: str) -> SettingsSet:
    """Return the set in a document. Raises ConfigError: it is no such document; the message names the place."""
    try:
        return msgspec.json.decode(text, type=SettingsSet)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise ConfigError(f"no set of inverter settings: {error}") from error


def settings_wrong(made: SettingsSet) -> Refusal | None:
    """Return what is wrong in a set: field, value and limit, by the clause of IEEE 1547-2018; None: nothing."""
    if not is_name(made.feeder):
        return Refusal("a set of settings is of a feeder", "feeder", made.feeder[:80], NAME)
    if not 0 < len(made.method.strip()) <= MOST_METHOD or not made.method.isprintable():
        limit = f"1 to {MOST_METHOD} printable characters"
        return Refusal("a set of settings says how it was made", "method", made.method[:80], limit)
    if not 1 <= made.version <= MOST_VERSION:
        return Refusal("not a version", "version", str(made.version), f"1 to {MOST_VERSION}")
    try:
        parse_iso(made.made_at)
    except (ValueError, OverflowError):
        return Refusal("no instant", "made_at", made.made_at[:80], "ISO 8601 with an offset")
    if not 1 <= len(made.settings) <= MOST_RESOURCES:
        given = f"{len(made.settings)} resources"
        return Refusal("nobody is named, or too many", "settings", given, f"1 to {MOST_RESOURCES}")
    seen = dict[str, int]()
    for at, one in enumerate(made.settings):
        where = f"settings[{at}]"
        if not 0 < len(one.resource) <= MOST_NAME:
            return Refusal("not a name", f"{where}.resource", one.resource[:80], f"1 to {MOST_NAME} characters")
        if seen.setdefault(one.resource, at) != at:
            limit = f"each once; it is settings[{seen[one.resource]}] already"
            return Refusal("named twice", f"{where}.resource", one.resource, limit)
        if one.volt_var is None and one.volt_watt is None and one.droop is None:
            return Refusal("nothing is set", where, one.resource, "volt_var, volt_watt or droop")
        wrong = _volt_var(one.volt_var, where) or _volt_watt(one.volt_watt, where) or _droop(one.droop, where)
        if wrong is not None:
            return wrong
    return None


# --- what the standard allows -----------------------------------------------------------------------------------------


def _volt_var(made: VoltVar | None, where: str) -> Refusal | None:
    """Table 8, category B, whose ranges hold those of category A; the reference stays at the nominal voltage."""
    if made is None:
        return None
    where, clause = f"{where}.volt_var", "IEEE 1547-2018, 5.3.3, Table 8"
    wrong = _points(where, made.volt_pu, made.var_frac, "var_frac", 4, clause)
    if wrong is not None:
        return wrong
    v1, v2, v3, _ = made.volt_pu
    q1, _, _, q4 = made.var_frac
    return (
        _within(f"{where}.volt_pu[1]", v2, REFERENCE_PU - 0.03, REFERENCE_PU, clause)
        or _within(f"{where}.volt_pu[2]", v3, REFERENCE_PU, REFERENCE_PU + 0.03, clause)
        or _within(f"{where}.volt_pu[0]", v1, REFERENCE_PU - 0.18, v2 - 0.02, clause)
        or _within(f"{where}.volt_pu[3]", made.volt_pu[3], v3 + 0.02, REFERENCE_PU + 0.18, clause)
        or _within(f"{where}.var_frac[0]", q1, 0.0, 1.0, clause)
        or _within(f"{where}.var_frac[3]", q4, -1.0, 0.0, clause)
        or _within(f"{where}.response_s", made.response_s, 1.0, 90.0, clause)
    )


def _volt_watt(made: VoltWatt | None, where: str) -> Refusal | None:
    """Table 10: the curve starts at the rating; below 0 it charges, as 5.4.2 allows storage."""
    if made is None:
        return None
    where, clause = f"{where}.volt_watt", "IEEE 1547-2018, 5.4.2, Table 10"
    wrong = _points(where, made.volt_pu, made.watt_frac, "watt_frac", 2, clause)
    if wrong is not None:
        return wrong
    v1, v2 = made.volt_pu
    return (
        _within(f"{where}.volt_pu[0]", v1, 1.05, 1.09, clause)
        or _within(f"{where}.volt_pu[1]", v2, v1 + 0.01, 1.10, clause)
        or _within(f"{where}.watt_frac[0]", made.watt_frac[0], 1.0, 1.0, clause)
        or _within(f"{where}.response_s", made.response_s, 0.5, 60.0, clause)
    )


def _droop(made: Droop | None, where: str) -> Refusal | None:
    """Table 24, category III, whose ranges hold those of categories I and II."""
    if made is None:
        return None
    where, clause = f"{where}.droop", "IEEE 1547-2018, 6.5.2.7.2, Table 24"
    return (
        _within(f"{where}.over_dead_band_hz", made.over_dead_band_hz, 0.017, 1.0, clause)
        or _within(f"{where}.under_dead_band_hz", made.under_dead_band_hz, 0.017, 1.0, clause)
        or _within(f"{where}.over_frac", made.over_frac, 0.02, 0.05, clause)
        or _within(f"{where}.under_frac", made.under_frac, 0.02, 0.05, clause)
        or _within(f"{where}.response_s", made.response_s, 0.2, 10.0, clause)
    )


def _points(
    where: str, volts: Sequence[float], shares: Sequence[float], name: str, count: int, clause: str
) -> Refusal | None:
    for field, values in (("volt_pu", volts), (name, shares)):
        if len(values) != count:
            given = f"{len(values)} points"
            return Refusal("not the points of the standard", f"{where}.{field}", given, f"{count}: {clause}")
    # Points of a curve may lie on each other in voltage, as category A's in the middle do.
    fall = next((at for at, (a, b) in enumerate(pairwise(volts), 1) if not b >= a), None)
    if fall is not None:
        limit = f"{volts[fall - 1]:g} or more, as voltages rise"
        return Refusal("not monotone", f"{where}.volt_pu[{fall}]", f"{volts[fall]:g}", limit)
    for at, share in enumerate(shares):
        wrong = _within(f"{where}.{name}[{at}]", share, -1.0, 1.0, clause)
        if wrong is not None:
            return wrong
    rise = next((at for at, (a, b) in enumerate(pairwise(shares), 1) if b > a), None)
    if rise is None:
        return None
    limit = f"{shares[rise - 1]:g} or less, as shares do not rise"
    return Refusal("not monotone", f"{where}.{name}[{rise}]", f"{shares[rise]:g}", limit)


def _within(field: str, value: float, low: float, high: float, clause: str) -> Refusal | None:
    if math.isfinite(value) and low - _EPS <= value <= high + _EPS:
        return None
    return Refusal("out of range", field, f"{value:g}", f"{low:g} to {high:g}: {clause}")
