"""Whether one device that was let go lets go, how often it is told so again, and that people hear of one that doesn't.

A release may be lost while the device tells its state all along, as when its broker was started anew and it has yet to
subscribe. Telling it again is absolute, so that twice does no harm. It is due where the device says, an echo's time
after the last time, that it holds what the release was to end; each wait is twice as long as the one before.
"""

from __future__ import annotations

from tieline.links.device.mqtt.carrier import Carrier
from tieline.links.device.mqtt.live import Live
from tieline.links.device.mqtt.telemetry import Telemetry
from tieline.links.life import Life

TRIES = 3
"""So often a release is told again to a device that holds on, until it or its broker was away: then it is people's."""


class LettingGo:
    """The releases of one device, from the first until it lets go or is told anything else."""

    def __init__(self, name: str, telemetry: Telemetry, life: Life, carrier: Carrier) -> None:
        self._name, self._telemetry, self._life, self._carrier = name, telemetry, life, carrier
        self._tries = 0

    def is_due(self, live: Live | None) -> bool:
        """Return whether the newest release is to be told again now; where that was done so often, people are told.

        The kill switch is asked but by what our own timer ends: a device with a timer of its own would let go, too.
        """
        if live is None or not live.is_unheard_release or not self._telemetry.holds_on(live.ends):
            return False
        if self._tries >= TRIES:
            self._tell_people(live)
            return False
        return live.is_hand_back or self._life.may_leave(live)

    def wait_s(self) -> float:
        """Note that it is told again, and return how long its echo is waited for (s of the loop)."""
        self._tries += 1
        return float(self._carrier.ack_s * 2**self._tries)

    def name(self, live: Live) -> None:
        """Tell the operator, once, of what our own timer ended and its device did not follow."""
        if live.is_hand_back and not live.is_named:
            live.is_named = True
            self._carrier.counts.unreleased += 1
            self._carrier.alarm(f"{self._name}: still {self._telemetry.said(live.settings)} after its command ran out")

    def anew(self) -> None:
        """Take that it or its broker was away: it may hear now what it did not."""
        self._tries = 0

    def see(self, live: Live | None) -> None:
        """Take what the device said last, or that it was told anything else: it may hold on no more."""
        if live is not None and live.is_unheard_release and self._telemetry.is_at(live.ends):
            return
        self._tries = 0
        if self._telemetry.is_unreleased:
            self._telemetry.tell_unreleased(False)
            self._carrier.counts.healed(self._name)

    def _tell_people(self, live: Live) -> None:
        if self._telemetry.is_unreleased:
            return
        self._telemetry.tell_unreleased(True)
        text = f"{self._name}: still {self._telemetry.said(live.settings)}, though it was let go"
        self._carrier.counts.trouble(self._name, text)
        self._carrier.alarm(text)
