"""Frequency reserves: what a frequency or a set-point called for, what was given of it, and the pay for that part.

FCR and its British kin follow a curve of the deviation with a dead band in which nothing is asked. aFRR follows a
set-point; within the activation time what it was before is still good, so that whoever stands between the lowest and
the highest set-point of that time has delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.market.product import FrequencyCurve, ProductLine, SetPoint, exact, line_of, split_line
from tieline.market.settlement import Basis

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
AVAILABILITY, SHORTFALL, ENERGY = "availability", "shortfall", "energy"
HOUR = Decimal(3_600_000_000_000)


def called_frac(rule: FrequencyCurve, hertz: Floats) -> Floats:
    """Return the share of a reserve that each frequency calls for: above 0 below the nominal frequency; shape (n,).

    Inside the dead band, its edge included, nothing is called; beyond it the curve holds as it stands, so that FCR of
    1 MW gives 0.25 MW at 49.95 Hz and not less by the dead band.
    """
    return curve_frac(rule.nominal_hz, rule.dead_band_mhz, rule.curve, hertz)


def curve_frac(
    nominal_hz: float, dead_band_mhz: float, curve: tuple[tuple[float, float], ...], hertz: Floats
) -> Floats:
    """Return what a curve calls for, as `called_frac` has it, where no rule stands behind it; shape (n,)."""
    # A nanohertz of rounding decides nothing: 50.01 Hz is the edge of a 10 mHz band, and 50 - 50.01 is not 0.01.
    off_mhz = np.round((nominal_hz - hertz) * 1e3, 6)
    at, share = np.array(curve).T
    asked = np.interp(np.abs(off_mhz), at, share)
    asked = np.where(np.abs(off_mhz) <= dead_band_mhz, 0.0, asked)
    signed: Floats = np.sign(off_mhz) * asked
    return signed


def set_point_band(rule: SetPoint, set_point_mw: Floats, sample_s: float) -> tuple[Floats, Floats]:
    """Return the lowest and highest set-point of each sample's activation time, its own included; shape (n,) each."""
    reach = max(int(round(rule.full_activation_s / sample_s)), 0) + 1
    padded = np.concatenate([np.full(reach - 1, set_point_mw[0]), set_point_mw])
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)
    return windows.min(axis=1), windows.max(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """What was called, given and lacking in each sample (MW, above 0: into the grid); shape (n,)."""

    asked_mw: Floats
    given_mw: Floats
    lacking_mw: Floats
    unread: Mask

    @property
    def frac(self) -> float:
        """Which part of all that was called was delivered; 1 where nothing was."""
        asked = float(np.abs(self.asked_mw).sum())
        return 1.0 - min(float(self.lacking_mw.sum()) / asked, 1.0) if asked > 0 else 1.0

    def causes(self, told: dict[str, float]) -> dict[str, float]:
        """Return what lacks by cause (MW samples): unread first, then what is told, the rest `underperformed`."""
        unread = float(self.lacking_mw[self.unread].sum())
        rest = float(self.lacking_mw[~self.unread].sum())
        known: dict[str, float] = {}
        for cause, mw in sorted(told.items()):
            known[cause] = min(max(mw, 0.0), rest)
            rest -= known[cause]
        known["no_meter_data"] = known.get("no_meter_data", 0.0) + unread
        known["underperformed"] = known.get("underperformed", 0.0) + rest
        return {name: mw for name, mw in known.items() if mw > 0}


def fcr_delivery(rule: FrequencyCurve, sold_mw: Floats, hertz: Floats, actual_mw: Floats) -> Delivery:
    """Return what was called by the frequency and given of it; more than called is not held against anybody.

    Args:
        rule: The curve.
        sold_mw: What is sold in each sample.
        hertz: Its frequency.
        actual_mw: What was given beyond the base point; NaN where there is no reading, which counts as nothing.
    """
    unread = ~np.isfinite(actual_mw)
    asked = called_frac(rule, hertz) * sold_mw
    toward = np.where(unread, 0.0, np.nan_to_num(actual_mw) * np.sign(asked))
    lacking = np.clip(np.abs(asked) - toward, 0.0, np.abs(asked))
    return Delivery(asked, np.sign(asked) * (np.abs(asked) - lacking), lacking, unread)


def afrr_delivery(rule: SetPoint, set_point_mw: Floats, actual_mw: Floats, sample_s: float) -> Delivery:
    """Return what the set-points called for and what was accepted of it.

    Args:
        rule: The activation time.
        set_point_mw: The set-point of each sample.
        actual_mw: What was given beyond the base point; NaN: no reading, which counts as nothing.
        sample_s: How long a sample is.
    """
    unread = ~np.isfinite(actual_mw)
    low, high = set_point_band(rule, set_point_mw, sample_s)
    given = np.where(unread, 0.0, np.nan_to_num(actual_mw))
    # The least that every set-point of the activation time called for: nothing while they call both ways.
    asked = np.where(low > 0, low, np.where(high < 0, high, 0.0))
    lacking = np.clip((asked - given) * np.sign(asked), 0.0, np.abs(asked))
    accepted = np.clip(given, np.minimum(low, 0.0), np.maximum(high, 0.0))
    return Delivery(asked, accepted, lacking, unread)


class Block(Struct, frozen=True):
    """A block of reserve that was sold: how much, at what price per MW and hour, and what was delivered of it."""

    resource: str
    start_ns: int
    end_ns: int
    sold_mw: Decimal
    price_per_mw_h: Decimal
    delivered_frac: Decimal
    causes: dict[str, float] = {}
    energy_mwh: Decimal = Decimal(0)
    energy_price_per_mwh: Decimal = Decimal(0)


def block_lines(basis: Basis, block: Block) -> list[ProductLine]:
    """Return what a block is paid in full, what lacks of it by cause, and its energy if that has a price."""
    over = (block.start_ns, block.end_ns)
    mw_h = block.sold_mw * Decimal(block.end_ns - block.start_ns) / HOUR
    found = [line_of(basis, AVAILABILITY, block.resource, over, mw_h, "MW h", block.price_per_mw_h)]
    if block.delivered_frac < 1:
        right = line_of(
            basis, AVAILABILITY, block.resource, over, mw_h * block.delivered_frac, "MW h", block.price_per_mw_h
        )
        lost = line_of(basis, SHORTFALL, block.resource, over, right.quantity - mw_h, "MW h", block.price_per_mw_h)
        taken = right.amount - found[0].amount
        lost = ProductLine(lost.id, lost.kind, lost.resource, *over, lost.quantity, lost.unit, lost.price, taken, basis)
        found += split_line(lost, block.causes)
    if block.energy_price_per_mwh and block.energy_mwh:
        found.append(line_of(basis, ENERGY, block.resource, over, block.energy_mwh, "MWh", block.energy_price_per_mwh))
    return found


def energy_mwh(delivery: Delivery, sample_s: float) -> Decimal:
    """Return the energy that was given of what was called (MWh), to the watt-hour."""
    return exact(round(float(delivery.given_mw.sum()) * sample_s / 3600.0, 6))
