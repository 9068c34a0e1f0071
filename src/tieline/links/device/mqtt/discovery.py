"""Which devices a broker knows of, as they announce themselves to Home Assistant: found, not yet bound.

Gateways keep a retained document for each entity under `homeassistant/COMPONENT/[NODE/]OBJECT/config` (Home Assistant,
MQTT discovery). Its long keys have short forms, and `~` stands for a base topic. What is found says which of our
contracts fits and which profiles may; an operator binds it, as a nameplate is nowhere announced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from tieline.errors import PeerError
from tieline.links.device.mqtt.contract import MOST_PAYLOAD
from tieline.links.device.mqtt.link import MqttSettings, hello, tls_of
from tieline.rim.mqtt import MqttClient
from tieline.wire.mqtt.packets import Publish

_log = structlog.get_logger("tieline.mqtt")
_SHORT = {
    "stat_t": "state_topic", "cmd_t": "command_topic", "temp_stat_t": "temperature_state_topic",
    "temp_cmd_t": "temperature_command_topic", "dev": "device", "ids": "identifiers", "mf": "manufacturer",
    "mdl": "model",
}  # fmt: skip
_TOPICS = ("state_topic", "command_topic", "temperature_state_topic", "temperature_command_topic")
_PROFILES = {"switch": ("plug", "water_heater"), "climate": ("thermostat_cooling", "thermostat_heating")}


@dataclass(frozen=True, slots=True)
class Announced:
    """One entity of a device, as it announced itself."""

    component: str
    identifier: str
    name: str
    maker: str
    model: str
    topics: Mapping[str, str]


@dataclass(slots=True)
class FoundDevice:
    """A device with all its entities; `contract` empty: none of ours fits, `profiles`: those that may."""

    name: str
    maker: str
    model: str
    contract: str = ""
    prefix: str = ""
    device: str = ""
    components: list[str] = field(default_factory=list)
    profiles: tuple[str, ...] = ()


def read_announcement(topic: str, payload: bytes) -> Announced | None:
    """Return what an entity says of itself; None where it takes its announcement back (an empty payload).

    Raises:
        PeerError: Not such a topic or document; the topic and key are named.
    """
    levels = topic.split("/")
    if len(levels) not in (4, 5) or levels[-1] != "config":
        raise PeerError(f"{topic}: prefix/component/[node/]object/config is asked for")
    if not payload:
        return None
    if len(payload) > MOST_PAYLOAD:
        raise PeerError(f"{topic}: {len(payload)} bytes: at most {MOST_PAYLOAD}")
    document = _long(_object(topic, payload))
    device = document.get("device", {})
    if not isinstance(device, dict):
        raise PeerError(f"{topic}: device: an object is asked for")
    device = _long(device)
    ids = device.get("identifiers", levels[-2])
    identifier = ids[0] if isinstance(ids, list) and ids else ids
    base = _text(topic, document, "~")
    topics = {key: _whole(_text(topic, document, key), base) for key in _TOPICS if document.get(key)}
    name, maker, model = (_text(topic, device, key) for key in ("name", "manufacturer", "model"))
    return Announced(levels[1], str(identifier), name or levels[-2], maker, model, topics)


def sort(announced: list[Announced]) -> list[FoundDevice]:
    """Return the devices behind entities, by name, each with the contract that fits its topics."""
    found: dict[str, FoundDevice] = {}
    for one in announced:
        device = found.setdefault(one.identifier, FoundDevice(one.name, one.maker, one.model))
        device.components.append(one.component)
        if one.component in _PROFILES and not device.contract:
            device.profiles = _PROFILES[one.component]
            device.contract, device.prefix, device.device = _contract(one)
    for device in found.values():
        device.components.sort()
    return sorted(found.values(), key=lambda device: device.name)


async def discover(settings: MqttSettings, prefix: str = "homeassistant", seconds: float = 2.0) -> list[FoundDevice]:
    """Return the devices that have announced themselves on a broker, after listening so long (s of the loop).

    Raises:
        LinkDown: Nobody answers.
        PeerError: The broker refuses us.
    """
    entities: dict[str, Announced] = {}

    def hear(message: Publish) -> None:
        try:
            said = read_announcement(message.topic, message.payload)
        except PeerError as error:  # one crooked announcement hides no other
            _log.warning("announcement not read", error=str(error))
            return
        if said is None:
            entities.pop(message.topic, None)
        else:
            entities[message.topic] = said

    client = MqttClient(hello(settings), hear)
    try:
        await client.open(settings.host, settings.port, tls_of(settings))
        await client.subscribe([f"{prefix}/+/+/config", f"{prefix}/+/+/+/config"])
        await asyncio.sleep(seconds)
    finally:
        client.close()
    return sort([entities[topic] for topic in sorted(entities)])


def _contract(one: Announced) -> tuple[str, str, str]:
    """Return (contract, prefix, device) by the shape of its topics; empty where none of ours has it."""
    command = one.topics.get("command_topic") or one.topics.get("temperature_command_topic", "")
    levels = command.split("/")
    if len(levels) == 3 and levels[0] == "cmnd":
        return "tasmota", "tasmota", levels[1]
    if len(levels) == 3 and levels[1] == "command":
        return "shelly_gen2", "shelly", levels[0]
    state = one.topics.get("state_topic") or one.topics.get("temperature_state_topic", "")
    prefix, _, device = state.partition("/")
    if device and command.startswith(f"{state}/set"):  # .../set, or .../set/occupied_cooling_setpoint
        return "zigbee2mqtt", prefix, device
    return "", "", ""


def _object(topic: str, payload: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise PeerError(f"{topic}: not JSON") from None
    if not isinstance(document, dict):
        raise PeerError(f"{topic}: an object is asked for, not {type(document).__name__}")
    return document


def _long(document: Mapping[str, Any]) -> dict[str, Any]:
    return {_SHORT.get(key, key): value for key, value in document.items()}


def _text(topic: str, document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PeerError(f"{topic}: {key}: a text is asked for")
    return value


def _whole(text: str, base: str) -> str:
    if text.startswith("~"):
        return base + text[1:]
    return text[:-1] + base if text.endswith("~") else text
