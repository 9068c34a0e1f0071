"""A thermostat or a plug whose words and deeds come late: over a broker, on virtual time, by a seed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import numpy as np

from tieline.errors import LinkDown, PeerError
from tieline.rim.mqtt import MqttClient
from tieline.wire.mqtt.packets import Connect, Publish

SURELY_KEPT_S = 1.0
"""What was heard so long before a server died is in its journal."""


@dataclass(frozen=True)
class Manner:
    """How a device is. Times are the longest (s); fractions are of writes, or of reports of a change.

    `is_last_only`: what changed while a report was on its way is told by none of its own. `most`: its own limit.
    """

    acts_s: float = 1.0
    tells_s: float = 1.0
    deaf_frac: float = 0.0
    mute_frac: float = 0.0
    again_frac: float = 0.0
    is_last_only: bool = False
    is_retained: bool = False
    rounds_to: float = 0.0
    most: float = 100.0
    every_s: float = 20.0


@dataclass
class Told:
    """A value that a device came to hold: by its owner's hand, or by a write of ours."""

    value: float
    is_owners: bool
    heard_s: float = float("inf")


@dataclass
class LateDevice:
    """One setting, and whose each of its values was. Deeds keep their order, and so do words."""

    name: str
    key: str
    manner: Manner
    rng: np.random.Generator
    value: float
    client: MqttClient | None = None
    history: list[Told] = field(default_factory=list)
    said: list[tuple[Told, bytes]] = field(default_factory=list)
    is_calm: bool = False
    is_heard: bool = False
    _acts_at: float = 0.0
    _tells_at: float = 0.0

    def __post_init__(self) -> None:
        self.history.append(Told(self.value, True, -SURELY_KEPT_S))

    async def serve(self, port: int) -> None:
        """Stay connected, and tell the state every so often."""
        loop = asyncio.get_running_loop()
        while True:
            client = MqttClient(Connect(self.name), self._hear)
            try:
                await client.open("127.0.0.1", port)
                await client.subscribe([f"zigbee2mqtt/{self.name}/set", f"zigbee2mqtt/{self.name}/get"])
                self.client = client
                while client.is_open:
                    self._tell_later(loop)
                    await asyncio.sleep(self.manner.every_s)
            except (LinkDown, PeerError):
                await asyncio.sleep(1.0)

    def turn(self, value: float) -> None:
        """Let its owner turn it."""
        self._hold(Told(value, True))

    def _hear(self, message: Publish) -> None:
        loop = asyncio.get_running_loop()
        if message.topic.endswith("/get"):
            self._tell_later(loop)
            return
        wanted = json.loads(message.payload)[self.key]
        value = {"ON": 1.0, "OFF": 0.0}.get(wanted, wanted)
        if self.is_calm or self.rng.random() >= self.manner.deaf_frac:
            self._acts_at = max(self._acts_at, loop.time() + self._late(self.manner.acts_s))
            loop.call_at(self._acts_at, self._hold, Told(self._held(float(value)), False))

    def _held(self, value: float) -> float:
        step = self.manner.rounds_to
        value = round(value / step) * step if step else value
        return min(value, self.manner.most)

    def _late(self, most_s: float) -> float:
        return 0.05 if self.is_calm else float(self.rng.uniform(0.05, max(most_s, 0.05)))

    def _hold(self, told: Told) -> None:
        if told.value != self.value:
            self.value = told.value
            self.history.append(told)
        if self.is_calm or self.rng.random() >= self.manner.mute_frac:
            self._tell_later(asyncio.get_running_loop())

    def _tell_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tells_at = max(self._tells_at, loop.time() + self._late(self.manner.tells_s))
        loop.call_at(self._tells_at, self._tell, None if self.manner.is_last_only else self.history[-1])

    def _tell(self, told: Told | None) -> None:
        told = told or self.history[-1]
        word = ("ON" if told.value else "OFF") if self.key == "state" else told.value
        self.said.append((told, json.dumps({"power": 0.0, self.key: word}).encode()))
        self._say(*self.said[-1])
        if not self.is_calm and self.rng.random() < self.manner.again_frac:
            for one in self.said[
                -int(self.rng.integers(1, 4)) :
            ]:  # as after a lost connection: all that was not acknowledged
                self._say(*one)

    def _say(self, told: Told, payload: bytes) -> None:
        if self.client is None or not self.client.is_open:
            return
        try:
            self.client.publish(f"zigbee2mqtt/{self.name}", payload, retain=self.manner.is_retained)
        except (LinkDown, PeerError):
            return
        if self.is_heard:
            told.heard_s = min(told.heard_s, asyncio.get_running_loop().time())

    def dies(self, now_s: float) -> None:
        """Note that its server dies: what it heard in the last moment may be known to nobody."""
        self.is_heard = False
        for told in self.history:
            if told.heard_s > now_s - SURELY_KEPT_S:
                told.heard_s = float("inf")

    @property
    def chosen(self) -> list[float]:
        """What its owner chose last of all that was surely heard, and what he chose since."""
        turns = [one for one in self.history if one.is_owners]
        known = [at for at, one in enumerate(turns) if one.heard_s < float("inf") or one is self.history[-1]]
        return [one.value for one in turns[known[-1] :]]
