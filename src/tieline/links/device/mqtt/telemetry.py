"""What one device behind a broker last said: values, quality, its owner's setpoint, and when it last switched."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tieline.device.able import able
from tieline.device.profile import Profile
from tieline.links.device.mqtt.carrier import Carrier
from tieline.links.device.mqtt.contract import Bound
from tieline.resource.identity import Rating
from tieline.resource.point import points
from tieline.resource.quality import Quality


class Telemetry:
    """The last values of one device, and who they come from."""

    def __init__(self, row: int, bound: Bound, profile: Profile, rating: Rating, carrier: Carrier) -> None:
        self.row, self.bound, self._profile, self._rating = row, bound, profile, rating
        self._carrier = carrier
        self.values: dict[str, float] = {}
        self.quality = Quality.COMM_LOST
        self.taken_ns = 0
        self.is_available: bool | None = None
        self.own_c = math.nan
        self.was_on: bool | None = None
        self.switched_ns = 0

    @property
    def power_w(self) -> float:
        """Last power (W, positive into the grid); NaN: never heard."""
        return self.values.get("power_w", math.nan)

    def learn(self, values: Mapping[str, float], is_ours: bool, is_local: bool) -> None:
        """Take values as of now.

        Args:
            values: By point or setting (SI).
            is_ours: Its setpoint is one that we wrote, so that it says nothing of its owner's.
            is_local: Somebody at the device has overruled us: it then offers nothing.
        """
        self.values.update(values)
        self.taken_ns = self._carrier.clock.now_ns()
        self.quality = Quality.GOOD
        told = {key: value for key, value in values.items() if key in points()}
        if "is_on" in values:
            is_on = values["is_on"] == 1.0
            told["operating_state"] = 2.0 if is_on else 0.0
            if self.was_on is not None and is_on != self.was_on:
                self.switched_ns = self.taken_ns
            self.was_on = is_on
        if "setpoint_c" in values and not is_ours:
            self.own_c = values["setpoint_c"]
        told |= able(self._profile, self._rating, self.values, is_local)
        told["is_local"] = float(is_local)
        self._carrier.teller.bring(self.row, told, Quality.GOOD, self.taken_ns)

    def flag(self, quality: Quality) -> None:
        """Say once of all points that they are lost or stale, with their last value and source time."""
        if self.quality is quality or not self.values:
            return
        self.quality = quality
        known = {key: value for key, value in self.values.items() if key in points()}
        self._carrier.teller.bring(self.row, known, quality, self.taken_ns)

    def shows(self, settings: Mapping[str, float]) -> bool:
        """Return whether what the device says of itself is what the settings are, within its steps."""
        return all(
            key in self.values and abs(self.values[key] - self.bound.rounded(key, value)) <= self.bound.slack(key)
            for key, value in settings.items()
        )

    def said(self, settings: Mapping[str, float]) -> str:
        """Return the device's own values of some settings, in words."""
        return ", ".join(f"{key} = {self.values.get(key, math.nan):g}" for key in settings)
