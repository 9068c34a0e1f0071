"""The device side of a broker: thermostats and plugs behind one gateway that speaks zigbee2mqtt's topics.

It writes that vocabulary by itself, not through the link's contract tables, so that a slip in those shows. Each device
may misbehave: ignore what it is told, say yes and do nothing, answer late, fall silent, or be turned by its owner.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tieline.errors import LinkDown, PeerError
from tieline.rim.mqtt import MqttClient
from tieline.rim.supervise import Backoff, Supervisor
from tieline.simulate.physics.thermal import Thermal
from tieline.times import SECOND_NS, Clock
from tieline.wire.mqtt.packets import Connect, Publish, Will


class ApplianceBody(Protocol):
    """The physics behind a device."""

    def read(self) -> Mapping[str, float]:
        """Return what it measures now (SI): power_w, is_on, and where it has them temperature_c and setpoint_c."""
        ...

    def set(self, name: str, value: float) -> None:
        """Set is_on (1 or 0) or setpoint_c (degC)."""
        ...


@dataclass
class MqttFault:
    """How a device misbehaves. `only_says`: it echoes what it was told, and does not do it. `is_deaf`: it tells its
    state, and is not subscribed to anything."""

    ignores: bool = False
    only_says: bool = False
    is_silent: bool = False
    is_deaf: bool = False
    late_s: float = 0.0


@dataclass
class MqttUnit:
    """One device behind the gateway. `mode`: cool or heat for a thermostat, empty for a plug."""

    name: str
    body: ApplianceBody
    mode: str = ""
    fault: MqttFault = field(default_factory=MqttFault)
    heard: list[bytes] = field(default_factory=list)
    said: dict[str, float] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Return the device's state as zigbee2mqtt publishes it: consumption positive, energy in kWh."""
        seen = {**self.body.read(), **self.said}
        found: dict[str, Any] = {"power": round(-seen["power_w"], 1), "state": "ON" if seen["is_on"] else "OFF"}
        if "energy_imported_wh" in seen:
            found["energy"] = round(seen["energy_imported_wh"] / 1000.0, 4)
        if self.mode:
            found["local_temperature"] = round(seen["temperature_c"], 2)
            found[f"occupied_{self.mode}ing_setpoint"] = seen["setpoint_c"]
        return found

    def obey(self, wanted: Mapping[str, Any]) -> None:
        """Do what a /set asks, as far as this device has it."""
        told: dict[str, float] = {}
        if wanted.get("state") in ("ON", "OFF"):
            told["is_on"] = float(wanted["state"] == "ON")
        setpoint = wanted.get(f"occupied_{self.mode}ing_setpoint")
        if self.mode and isinstance(setpoint, (int, float)) and not isinstance(setpoint, bool):
            told["setpoint_c"] = float(setpoint)
        if self.fault.only_says:
            self.said |= told
            return
        for name, value in told.items():
            self.body.set(name, value)


class MqttDevices:
    """A gateway and its devices on one connection."""

    def __init__(
        self,
        units: list[MqttUnit],
        supervisor: Supervisor,
        host: str,
        port: int,
        prefix: str = "zigbee2mqtt",
        every_s: float = 60.0,
        user: str | None = None,
        password: bytes | None = None,
        name: str = "gateway",
    ) -> None:
        self.units = {unit.name: unit for unit in units}
        self._supervisor, self._host, self._port = supervisor, host, port
        self._prefix, self._every_s, self._name = prefix, every_s, name
        will = Will(f"{prefix}/bridge/state", b"offline", 1, True)
        self._hello = Connect(f"{name}-{prefix}", True, 60, user, password, will)
        self._client: MqttClient | None = None

    def start(self) -> None:
        """Connect, and tell every `every_s` seconds."""
        self._supervisor.keep(self._name, self._serve, Backoff(0.5, 10.0))

    async def _serve(self) -> None:
        client = MqttClient(self._hello, self._hear)
        try:
            await client.open(self._host, self._port)
            self._client = client
            await client.subscribe([f"{self._prefix}/+/set", f"{self._prefix}/+/get"])
            client.publish(f"{self._prefix}/bridge/state", b"online", retain=True)
            for unit in self.units.values():
                if not unit.fault.is_silent:
                    client.publish(f"{self._prefix}/{unit.name}/availability", b'{"state":"online"}', retain=True)
            while client.is_open:
                for unit in self.units.values():
                    self.tell(unit)
                try:
                    async with asyncio.timeout(self._every_s):
                        raise await asyncio.shield(client.lost)
                except TimeoutError:
                    pass
        finally:
            self._client = None
            client.close()

    def _hear(self, message: Publish) -> None:
        levels = message.topic.removeprefix(f"{self._prefix}/").rsplit("/", 1)
        unit = self.units.get(levels[0])
        if unit is None or len(levels) != 2 or unit.fault.is_silent or unit.fault.is_deaf:
            return
        if levels[1] == "get":
            self.tell(unit)
            return
        unit.heard.append(message.payload)
        try:
            wanted = json.loads(message.payload)
        except (ValueError, RecursionError):
            return  # as a real gateway does: it logs, and the device stays as it is
        if isinstance(wanted, dict) and not unit.fault.ignores:
            asyncio.get_running_loop().call_later(unit.fault.late_s, self._obey, unit, wanted)

    def _obey(self, unit: MqttUnit, wanted: Mapping[str, Any]) -> None:
        unit.obey(wanted)
        self.tell(unit)

    def tell(self, unit: MqttUnit) -> None:
        """Publish a device's state now."""
        if self._client is None or unit.fault.is_silent:
            return
        try:
            self._client.publish(f"{self._prefix}/{unit.name}", json.dumps(unit.state()).encode())
        except (LinkDown, PeerError):
            return  # it tells again when it is back

    def leave(self, unit: MqttUnit) -> None:
        """Say that a device is out of reach, and fall silent."""
        unit.fault.is_silent = True
        if self._client is not None:
            self._client.publish(f"{self._prefix}/{unit.name}/availability", b'{"state":"offline"}', retain=True)

    def come(self, unit: MqttUnit) -> None:
        """Say that a device is back."""
        unit.fault.is_silent = False
        if self._client is not None:
            self._client.publish(f"{self._prefix}/{unit.name}/availability", b'{"state":"online"}', retain=True)
        self.tell(unit)


class PlugBody:
    """A load of fixed power behind a switch."""

    def __init__(self, rated_w: float, is_on: bool = True) -> None:
        self._rated_w, self._is_on = rated_w, is_on

    def read(self) -> Mapping[str, float]:
        """Return its power and switch."""
        return {"power_w": -self._rated_w * self._is_on, "is_on": float(self._is_on)}

    def set(self, name: str, value: float) -> None:
        """Turn it on or off."""
        if name == "is_on":
            self._is_on = value == 1.0


class RoomBody:
    """A room with an air conditioner or heater, moved on to the present whenever it is looked at."""

    STEP_S = 60.0

    def __init__(self, clock: Clock, rated_w: float, setpoint_c: float, outdoor_c: float, mode: str = "cool") -> None:
        def one(value: float) -> np.ndarray[Any, np.dtype[np.float64]]:
            return np.array([value])

        sign = -1.0 if mode == "cool" else 1.0
        # tau = R C = 6 h gives cycles of half an hour; the heat holds 12 K against the outdoors at half duty.
        resistance, heat_w = 24.0 / (3.0 * rated_w), 3.0 * rated_w
        self._clock, self._last_ns, self._outdoor_c = clock, clock.now_ns(), outdoor_c
        self._room = Thermal(
            one(setpoint_c), one(setpoint_c), one(1.0), one(setpoint_c - 6.0), one(setpoint_c + 6.0), one(resistance),
            one(6.0 / resistance), one(heat_w), one(rated_w), one(sign), np.array([True]), one(1e9), one(0.0),
        )  # fmt: skip
        self._power_w, self._used_wh = -rated_w, 0.0

    def read(self) -> Mapping[str, float]:
        """Return power, temperatures and the energy used (Wh) as of now."""
        now_ns = self._clock.now_ns()
        free, low, high = np.array([np.nan]), np.array([-np.inf]), np.array([np.inf])
        while self._last_ns < now_ns:
            seconds = min(self.STEP_S, (now_ns - self._last_ns) / SECOND_NS)
            power_w = self._room.step(free, low, high, np.array([self._outdoor_c]), np.array([0.0]), seconds)
            self._power_w = float(power_w[0])
            self._used_wh -= self._power_w * seconds / 3600.0
            self._last_ns += max(int(seconds * SECOND_NS), 1)
        return {
            "power_w": self._power_w,
            "is_on": 1.0,
            "temperature_c": float(self._room.temperature_c[0]),
            "setpoint_c": float(self._room.setpoint_c[0]),
            "energy_imported_wh": self._used_wh,
        }

    def set(self, name: str, value: float) -> None:
        """Move the setpoint."""
        if name == "setpoint_c":
            self.read()
            self._room.setpoint_c[0] = value
