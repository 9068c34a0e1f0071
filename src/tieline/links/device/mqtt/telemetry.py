"""What one device behind a broker last said: values, quality, its owner's setting, and when it last switched."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tieline.device.able import able
from tieline.device.profile import Profile
from tieline.links.device.mqtt.carrier import Carrier
from tieline.links.device.mqtt.contract import Bound
from tieline.links.device.mqtt.setpoints import Owned
from tieline.resource.identity import Rating
from tieline.resource.point import points
from tieline.resource.quality import Quality

OWN = {"temperature": "setpoint_c", "switch": "is_on"}
"""What of a device is its owner's to set, by how it is told."""


class Telemetry:
    """The last values of one device, and who they come from."""

    def __init__(self, row: int, bound: Bound, profile: Profile, rating: Rating, carrier: Carrier) -> None:
        self.row, self.bound, self._profile, self._rating = row, bound, profile, rating
        self._carrier = carrier
        self.values: dict[str, float] = {}
        self.quality = Quality.COMM_LOST
        self.taken_ns = 0
        self.is_available: bool | None = None
        kept = carrier.setpoints.at(row)
        self.key = OWN.get(profile.told_by, "")
        self.own, self.ours = kept.own, kept.ours  # the owner's, and what we may have written over it
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
            is_ours: Its setting is one that we wrote, so that it says nothing of its owner's.
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
        if self.key in values and not is_ours:
            self._learn_own(values[self.key])
        told |= able(self._profile, self._rating, self.values, is_local)
        told["is_local"] = float(is_local)
        self._carrier.teller.bring(self.row, told, Quality.GOOD, self.taken_ns)

    def _learn_own(self, value: float) -> None:
        """Take what a device holds for its owner's, unless it is what we wrote and nobody has turned it since."""
        if self.holds_ours or (self.ours and self._is_near(value, self.own)):
            return  # after a start: it holds our setting yet, or never took it, and may take it late
        self.own = value
        self.disown()

    def _is_near(self, value: float, other: float) -> bool:
        return abs(value - other) <= self.bound.slack(self.key)

    @property
    def holds_ours(self) -> bool:
        """Whether the setting that it last told is one that we may have written."""
        return self.key in self.values and any(self._is_near(self.values[self.key], one) for one in self.ours)

    @property
    def is_own_heard(self) -> bool:
        """Whether the owner's setpoint needs no waiting for: what was kept of one is held against the device's word.

        A switch is not waited for: it may tell nothing, and a limit on it must not wait.
        """
        return self.key != "setpoint_c" or math.isnan(self.own) or "setpoint_c" in self.values

    def is_kept(self, value: float) -> bool:
        """Return whether a setting may go out: it is the owner's, or would be known for ours after a restart.

        What a switch is told is often what its owner has: that it is his is then kept, too.
        """
        is_same = self.key != "is_on" and value == self.own
        return is_same or self._carrier.setpoints.is_kept(self.row, self._with(value))

    def keep(self, value: float, then: Callable[[], None]) -> None:
        """Keep that a setting is ours, and call `then` once that is durable."""
        owned = self._with(value)
        self.own, self.ours = owned.own, owned.ours
        self._carrier.setpoints.keep(self.row, owned, then)

    def _with(self, value: float) -> Owned:
        # A switch that was never heard counts as on, as most are.
        own = 1.0 if self.key == "is_on" and math.isnan(self.own) else self.own
        return Owned(own, self.ours if value in (own, *self.ours) else (*self.ours, value))

    def hold_for_ours(self, value: float) -> None:
        """Take what a device was told before a start for ours where nothing was kept of its owner's: he had it on."""
        self.own, self.ours = 1.0, (value,)

    def disown(self) -> None:
        """Note that nothing which we wrote is left at the device: what it holds from now on is its owner's."""
        if self.ours:
            self.ours = ()
            self._carrier.setpoints.keep(self.row, Owned(self.own))

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
