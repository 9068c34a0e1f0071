"""EV chargers with real sessions: plugged in from arrival to departure, so much energy wanted by then.

The driver declares when he will leave, and leaves when he likes: control may trust the declaration alone, and who
leaves earlier takes less with him.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.resource.hold import LEAST_CHARGE_W
from tieline.simulate.physics.within import within

Floats = NDArray[np.float64]
TAPER_FRAC = 0.15
"""Over the last part of its energy a car takes less and less."""


@dataclass(eq=False)
class Charging:
    """Columns of chargers, shape (n,), with one session a day each; energies at the plug.

    `weekdays_only` are workplaces. `unserved_wh` is what drivers lacked when they left, since the start.
    """

    rated_w: Floats
    arrives_s: Floats
    stays_s: Floats
    declared_s: Floats
    energy_wh: Floats
    weekdays_only: NDArray[np.bool_]
    needed_wh: Floats
    is_plugged: NDArray[np.bool_]
    unserved_wh: Floats

    def step(
        self,
        wanted_w: Floats,
        low_w: Floats,
        high_w: Floats,
        second_of_day: float,
        seconds: float,
        is_weekend: bool = False,
    ) -> Floats:
        """Move by one step and return the power (W, 0 or negative). NaN wanted: charge at full power.

        In the last stretch before the declared departure, when only full power still gives the energy that was asked
        for, a wish to charge less is not obeyed (the driver's need outranks it); a limit is.
        """
        since_s = (second_of_day - self.arrives_s) % 86_400.0
        plugged = (since_s < self.stays_s) & ~(self.weekdays_only & is_weekend)
        self.unserved_wh += np.where(self.is_plugged & ~plugged, self.needed_wh, 0.0)
        self.needed_wh = np.where(plugged & ~self.is_plugged, self.energy_wh, self.needed_wh)
        self.needed_wh = np.where(plugged, self.needed_wh, 0.0)
        self.is_plugged = plugged
        takes_w = self._takes()
        left_h = (self.declared_s - since_s) / 3600.0
        must_w = np.where(self.needed_wh >= self.rated_w * (left_h - seconds / 3600.0), self.rated_w, 0.0)
        asked_w = np.where(np.isnan(wanted_w), self.rated_w, within(-wanted_w, 0.0, self.rated_w))
        offered_w = np.maximum(asked_w, np.where(plugged, must_w, 0.0))
        offered_w = np.minimum(np.maximum(offered_w, np.maximum(-high_w, 0.0)), np.maximum(-low_w, 0.0))
        offered_w = np.where(offered_w < np.minimum(LEAST_CHARGE_W, self.rated_w), 0.0, offered_w)
        charge_w = np.minimum(np.minimum(offered_w, takes_w), self.needed_wh * 3600.0 / seconds)
        self.needed_wh = np.maximum(self.needed_wh - charge_w * seconds / 3600.0, 0.0)
        result: Floats = -charge_w
        return result

    def _takes(self) -> Floats:
        """Return what each car would take now (W)."""
        near_full = self.needed_wh / np.maximum(TAPER_FRAC * self.energy_wh, 1.0)
        result: Floats = np.where(self.is_plugged, self.rated_w * within(near_full, 0.3, 1.0), 0.0)
        return result

    def headroom(self, power_w: Floats, second_of_day: float) -> tuple[Floats, Floats]:
        """Return how far the power can rise (charge less) and fall (charge more) now (W)."""
        since_s = (second_of_day - self.arrives_s) % 86_400.0
        left_h = np.maximum((self.declared_s - since_s) / 3600.0, 1e-6)
        slack = self.is_plugged & (self.needed_wh < self.rated_w * (left_h - 0.25))
        up_w = np.where(slack, -power_w, 0.0)
        down_w = np.where(self.is_plugged & (self.needed_wh > 0), self._takes() + power_w, 0.0)
        return up_w, np.maximum(down_w, 0.0)
