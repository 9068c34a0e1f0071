"""EV chargers with real sessions: plugged in from arrival to departure, so much energy wanted by then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Charging:
    """Columns of chargers, shape (n,), with one session a day each, repeated on the days of its kind."""

    rated_w: Floats
    arrives_s: Floats
    stays_s: Floats
    energy_wh: Floats
    needed_wh: Floats
    is_plugged: NDArray[np.bool_]

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, second_of_day: float, seconds: float) -> Floats:
        """Move by one step and return the power (W, 0 or negative). NaN wanted: charge at full power.

        In the last stretch before departure, when only full power still gives the energy that was asked for, a wish to
        charge less is not obeyed (the driver's need outranks it); a limit is.
        """
        since_s = (second_of_day - self.arrives_s) % 86_400.0
        plugged = since_s < self.stays_s
        self.needed_wh = np.where(plugged & ~self.is_plugged, self.energy_wh, self.needed_wh)
        self.needed_wh = np.where(plugged, self.needed_wh, 0.0)
        self.is_plugged = plugged
        left_h = (self.stays_s - since_s) / 3600.0
        must_w = np.where(self.needed_wh >= self.rated_w * (left_h - seconds / 3600.0), self.rated_w, 0.0)
        asked_w = np.where(np.isnan(wanted_w), self.rated_w, np.clip(-wanted_w, 0.0, self.rated_w))
        charge_w = np.maximum(asked_w, np.where(plugged, must_w, 0.0))
        charge_w = np.clip(charge_w, np.maximum(-high_w, 0.0), np.maximum(-low_w, 0.0))
        charge_w = np.where(plugged, np.minimum(charge_w, self.needed_wh * 3600.0 / seconds), 0.0)
        self.needed_wh = np.maximum(self.needed_wh - charge_w * seconds / 3600.0, 0.0)
        result: Floats = -charge_w
        return result

    def headroom(self, power_w: Floats, second_of_day: float) -> tuple[Floats, Floats]:
        """Return how far the power can rise (charge less) and fall (charge more) now (W)."""
        since_s = (second_of_day - self.arrives_s) % 86_400.0
        left_h = np.maximum((self.stays_s - since_s) / 3600.0, 1e-6)
        slack = self.is_plugged & (self.needed_wh < self.rated_w * (left_h - 0.25))
        up_w = np.where(slack, -power_w, 0.0)
        down_w = np.where(self.is_plugged & (self.needed_wh > 0), self.rated_w + power_w, 0.0)
        return up_w, down_w
