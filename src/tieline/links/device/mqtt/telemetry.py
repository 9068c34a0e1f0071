"""What one device behind a broker last said: values, quality, its owner's setting, and when it last switched."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from tieline.device.able import able
from tieline.device.profile import Profile
from tieline.errors import LinkDown
from tieline.links.device.mqtt.carrier import BROKER, Carrier
from tieline.links.device.mqtt.contract import SETTINGS, Bound
from tieline.links.device.mqtt.setpoints import Owned
from tieline.links.device.mqtt.setting import Setting
from tieline.resource.identity import Rating
from tieline.resource.point import points
from tieline.resource.quality import Quality
from tieline.times import SECOND_NS

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
        self.is_unreleased: bool | None = None
        self.key = OWN.get(profile.told_by, "")
        told_key = self.key or "target_w"
        field = bound.fields.get(told_key)
        slack, step = (0.0, 0.0) if field is None else (bound.slack(told_key), field.step)
        self.setting = Setting(carrier.setpoints.at(row), slack, step, carrier.ack_s, bool(self.key))
        self._told_key = told_key
        self.was_on: bool | None = None
        self.switched_ns = 0

    @property
    def power_w(self) -> float:
        """Last power (W, positive into the grid); NaN: never heard."""
        return self.values.get("power_w", math.nan)

    @property
    def own(self) -> float:
        """What its owner has set; NaN: not known."""
        return self.setting.own

    @property
    def ours(self) -> tuple[float, ...]:
        """What we may have written over that."""
        return self.setting.ours

    def learn(self, values: Mapping[str, float], is_local: bool, is_retained: bool = False) -> None:
        """Take values as of now.

        Args:
            values: By point or setting (SI).
            is_local: Somebody at the device has overruled us: it then offers nothing.
            is_retained: Its broker had kept them, for who knows how long.
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
        if self._told_key in values:
            before = self._owned
            self.setting.hear(values[self._told_key], _now_s(), is_retained)
            if self.setting.wants_answer and not self.ask(self.setting.asks()):
                self.setting.judge(_now_s(), can_ask=False)
            self._keep_change(before)
        told |= able(self._profile, self._rating, self.values, is_local)
        told["is_local"] = float(is_local)
        if self.is_unreleased is not None:
            told["is_unreleased"] = float(self.is_unreleased)
        self._carrier.teller.bring(self.row, told, Quality.GOOD, self.taken_ns)

    def ask(self, on_ack: Callable[[], None] = lambda: None) -> bool:
        """Ask the device for its state, and call `on_ack` once its broker has that; False where no topic does."""
        messages = self.bound.ask([key for key in ("power_w", *SETTINGS) if key in self.bound.fields])
        try:
            for topic, payload in messages:
                self._carrier.publish(topic, payload, on_ack)
        except LinkDown as error:
            self._carrier.counts.trouble(BROKER, str(error))
        return bool(messages)

    def judge(self) -> None:
        """Believe what the device said of its setting a while ago, if it did not take it back."""
        before = self._owned
        self.setting.judge(_now_s())
        self._keep_change(before)

    def wrote(self, settings: Mapping[str, float]) -> None:
        """Note that settings went out."""
        for key, value in settings.items():
            if key == self.key:
                self._take(self._with(value))
            self.setting.wrote(value, _now_s())

    def recall(self, value: float) -> None:
        """Note that a setting may be on its way that went out before a start."""
        self.setting.wrote(value, _now_s())

    @property
    def _owned(self) -> Owned:
        return Owned(self.own, self.ours)

    def _keep_change(self, before: Owned) -> None:
        """Keep what was learnt of its owner where something of ours was over it: else a start hears it again."""
        if (before.ours or self.ours) and self._owned != before:
            self._carrier.setpoints.keep(self.row, self._owned)

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
        self._take(owned)
        self._carrier.setpoints.keep(self.row, owned, then)

    def _take(self, owned: Owned) -> None:
        self.setting.own, self.setting.ours = owned.own, owned.ours

    def _with(self, value: float) -> Owned:
        # A switch that was never heard counts as on, as most are.
        own = 1.0 if self.key == "is_on" and math.isnan(self.own) else self.own
        return Owned(own, self.ours if value in (own, *self.ours) else (*self.ours, value))

    def hold_for_ours(self, value: float) -> None:
        """Take what a device was told before a start for ours where nothing was kept of its owner's: he had it on."""
        self.setting.own, self.setting.ours = 1.0, (value,)

    def disown(self, is_release: bool) -> None:
        """Note that nothing of ours is left at the device, where that is certain: what it holds is its owner's.

        What was handed back is its owner's at once; what we were overruled in, once no old word of it can come.
        """
        is_certain = self.setting.is_back if is_release else self.setting.is_free
        if is_certain(_now_s()):
            self.setting.disown()
            self._carrier.setpoints.keep(self.row, self._owned)

    def flag(self, quality: Quality) -> None:
        """Say once of all points that they are lost or stale, with their last value and source time."""
        if self.quality is quality or not self.values:
            return
        self.quality = quality
        known = {key: value for key, value in self.values.items() if key in points()}
        self._carrier.teller.bring(self.row, known, quality, self.taken_ns)

    def hold_s(self, is_on: bool | None) -> float:
        """Return how long the least time on or off of a switched device still runs against a change (s)."""
        hold, was_on = self._profile.hold, self.was_on
        if self._profile.told_by != "switch" or was_on is None or is_on == was_on:
            return 0.0
        since_s = (self._carrier.clock.now_ns() - self.switched_ns) / SECOND_NS
        return max((hold.min_on_s if was_on else hold.min_off_s) - since_s, 0.0)

    def shows(self, settings: Mapping[str, float]) -> bool:
        """Return whether the device holds what it was told, within its steps, and nothing earlier is on its way."""
        return all(self.setting.shows(value, _now_s()) for key, value in settings.items())

    def is_at(self, ended: Mapping[str, float]) -> bool:
        """Return whether it holds what we told it before a release; `ended` are the settings that this was to end."""
        return self.setting.is_at(ended.get(self._told_key, math.nan))

    def holds_on(self, ended: Mapping[str, float]) -> bool:
        """Return the same, where it said so since that release had time to be heard."""
        return self.setting.holds_on(ended.get(self._told_key, math.nan), _now_s())

    def tell_unreleased(self, is_unreleased: bool) -> None:
        """Tell that it does not let go, or that it did or was told anything else by now."""
        self.is_unreleased = is_unreleased
        now_ns = self._carrier.clock.now_ns()
        self._carrier.teller.bring(self.row, {"is_unreleased": float(is_unreleased)}, Quality.GOOD, now_ns)

    def said(self, settings: Mapping[str, float]) -> str:
        """Return the device's own values of some settings, in words."""
        return ", ".join(f"{key} = {self.values.get(key, math.nan):g}" for key in settings)


def _now_s() -> float:
    """Return the time (s) of the loop, in which echoes are waited for."""
    return asyncio.get_running_loop().time()
