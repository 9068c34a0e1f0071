"""What one device behind a broker last said: values, quality, its owner's setpoint, and when it last switched."""

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
        self.own_c, self.ours = kept.own_c, kept.ours  # degC; what we may have written over it
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
            self._learn_own(values["setpoint_c"])
        told |= able(self._profile, self._rating, self.values, is_local)
        told["is_local"] = float(is_local)
        self._carrier.teller.bring(self.row, told, Quality.GOOD, self.taken_ns)

    def _learn_own(self, setpoint_c: float) -> None:
        """Take what a device holds for its owner's, unless it is what we wrote and nobody has turned it since."""
        if self.holds_ours or (self.ours and self._is_near(setpoint_c, self.own_c)):
            return  # after a start: it holds our offset yet, or never took it, and may take it late
        self.own_c = setpoint_c
        self.disown()

    def _is_near(self, setpoint_c: float, other_c: float) -> bool:
        return abs(setpoint_c - other_c) <= self.bound.slack("setpoint_c")

    @property
    def holds_ours(self) -> bool:
        """Whether the setpoint that it last told is one that we may have written."""
        return "setpoint_c" in self.values and any(self._is_near(self.values["setpoint_c"], one) for one in self.ours)

    @property
    def is_own_heard(self) -> bool:
        """Whether the owner's setpoint needs no waiting for: what was kept of one is held against the device's word."""
        return math.isnan(self.own_c) or "setpoint_c" in self.values

    def is_kept(self, setpoint_c: float) -> bool:
        """Return whether a setpoint may go out: it is the owner's, or would be known for ours after a restart."""
        return setpoint_c == self.own_c or self._carrier.setpoints.is_kept(self.row, self._with(setpoint_c))

    def keep(self, setpoint_c: float, then: Callable[[], None]) -> None:
        """Keep that a setpoint is ours, and call `then` once that is durable."""
        owned = self._with(setpoint_c)
        self.ours = owned.ours
        self._carrier.setpoints.keep(self.row, owned, then)

    def _with(self, setpoint_c: float) -> Owned:
        ours = self.ours if setpoint_c in self.ours else (*self.ours, setpoint_c)
        return Owned(self.own_c, ours)

    def disown(self) -> None:
        """Note that nothing which we wrote is left at the device: what it holds from now on is its owner's."""
        if self.ours:
            self.ours = ()
            self._carrier.setpoints.keep(self.row, Owned(self.own_c))

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
