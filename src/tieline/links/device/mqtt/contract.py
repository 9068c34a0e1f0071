"""Topic contracts as data: which topic and field holds which of our values, and how a setting is told.

A field's value is theirs times `scale`; `on` and `off` are the words of a switch. What arrives is read whole or refused
with the topic and field: a wrong type in one field never lets another through half-read.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from tieline.device.steps import steps_within
from tieline.errors import ConfigError, PeerError
from tieline.resource.point import points
from tieline.wire.mqtt.packets import PacketError
from tieline.wire.mqtt.topics import check_filter

SETTINGS = ("is_on", "setpoint_c", "target_w")
MOST_PAYLOAD = 16_384


class Field(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one value lives. `topic` and `command` empty: the contract's own; `field` empty: the whole payload.

    A dot in `field` goes a level deeper. `told_on` and `told_off`: the words of a command that is no document, where
    they differ from those of the state.
    """

    topic: str = ""
    command: str = ""
    field: str = ""
    scale: float = 1.0
    step: float = 0.0
    on: str = ""
    off: str = ""
    told_on: str = ""
    told_off: str = ""


class Contract(Struct, frozen=True, forbid_unknown_fields=True):
    """The topics of one ecosystem; {prefix} and {device} stand for a device's own."""

    says: str
    fields: dict[str, Field]
    state: str = ""
    command: str = ""
    ask: str = ""
    availability: Field | None = None
    modes: dict[str, dict[str, Field]] = {}


def parse_contract(name: str, text: str) -> Contract:
    """Return the contract in a TOML text. Raises ConfigError naming the path of what can't be."""
    try:
        contract = msgspec.convert(tomllib.loads(text), Contract)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"contract {name}: {error}") from error
    groups = {"$.fields": contract.fields} | {f"$.modes.{mode}": group for mode, group in contract.modes.items()}
    for path, group in groups.items():
        for key, field in group.items():
            where = f"contract {name}: {path}.{key}"
            if key not in points() and key not in SETTINGS:
                raise ConfigError(f"{where}: give a point of points.toml, or one of {', '.join(SETTINGS)}")
            if not field.topic and not contract.state:
                raise ConfigError(f"{where}.topic: give one, as the contract has no state topic")
            if field.scale == 0 or not math.isfinite(field.scale) or not 0 <= field.step < math.inf:
                raise ConfigError(f"{where}.scale = {field.scale:g}, step = {field.step:g}: give finite, not 0")
            if bool(field.on) != bool(field.off) or (key == "is_on" and not field.on):
                raise ConfigError(f"{where}.on: give both on and off")
            if bool(field.told_on) != bool(field.told_off) or (field.told_on and not field.on):
                raise ConfigError(f"{where}.told_on: give both told_on and told_off, beside on and off")
    return contract


def contract_of(name: str) -> Contract:
    """Return a contract of the package. Raises ConfigError naming those that exist."""
    folder = files("tieline.links.device.mqtt") / "contracts"
    path = folder / f"{name}.toml"
    if not name.isidentifier() or not path.is_file():
        found = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
        raise ConfigError(f"mqtt contract {name!r} is unknown: give one of {', '.join(found)}")
    return parse_contract(name, path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Heard:
    """What one message said: values by key (SI), and whether the device is there (None: it didn't say)."""

    values: Mapping[str, float]
    is_available: bool | None = None


class Bound:
    """A contract filled in for one device."""

    def __init__(self, contract: Contract, prefix: str, device: str, mode: str = "") -> None:
        """Fill in a contract. Raises ConfigError where a name can't stand in a topic."""
        for what, text in (("prefix", prefix), ("device", device)):
            # A wildcard in a name would subscribe one device to the messages of all the others.
            if not text or set(text) & set("+#\0") or text.startswith("/"):
                raise ConfigError(f"mqtt {what} {text!r}: give a name without + and #")
        self._names = {"prefix": prefix, "device": device}
        self.fields = {**contract.fields, **contract.modes.get(mode, {})}
        self._ask_topic = self._fill(contract.ask)
        self._of_topic: dict[str, list[tuple[str, Field]]] = {}
        self._commands: dict[str, str] = {}
        for key, field in self.fields.items():
            self._of_topic.setdefault(self._fill(field.topic or contract.state), []).append((key, field))
            if key in SETTINGS and (field.command or contract.command):
                self._commands[key] = self._fill(field.command or contract.command)
        self._availability = contract.availability
        self._availability_topic = self._fill(contract.availability.topic) if contract.availability else ""

    def _fill(self, template: str) -> str:
        topic = template.replace("{prefix}", self._names["prefix"]).replace("{device}", self._names["device"])
        try:
            if "{" in topic or "}" in topic:
                raise PacketError("use {prefix} and {device} alone")
            return check_filter(topic) if topic else ""
        except PacketError as error:
            raise ConfigError(f"mqtt topic {template!r}: {error}") from None

    @property
    def topics(self) -> list[str]:
        """Topics to subscribe to."""
        return [*self._of_topic, *([self._availability_topic] if self._availability_topic else [])]

    def can_tell(self, key: str) -> bool:
        """Return whether the device can be told this setting."""
        return key in self._commands

    def read(self, topic: str, payload: bytes) -> Heard:
        """Return what a message says. Raises PeerError naming the topic and field of what can't be read."""
        if len(payload) > MOST_PAYLOAD:
            raise PeerError(f"{topic}: {len(payload)} bytes: at most {MOST_PAYLOAD}")
        here = self._of_topic.get(topic, [])
        is_availability = topic == self._availability_topic and self._availability is not None
        document = _document(topic, payload) if any(field.field for _, field in here) else None
        values: dict[str, float] = {}
        for key, field in here:
            found = _pick(topic, payload, document, field)
            if found is not None:
                values[key] = _number(topic, field, found)
        if not is_availability or self._availability is None:
            return Heard(values)
        field = self._availability
        is_json = bool(field.field) and payload[:1] in (b"{", b"[")  # some firmwares say the bare word
        found = _pick(topic, payload, _document(topic, payload), field) if is_json else _text(topic, payload)
        return Heard(values, None if found is None else _number(topic, field, found) == 1.0)

    def rounded(self, key: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a setting as the device can hold it, at its step and within limits."""
        step = self.fields[key].step
        return steps_within(value, step, low, high) * step if step else value

    def slack(self, key: str) -> float:
        """Return how far an echo may lie from a setting and still be it."""
        # Half a step is the device's own rounding; the rest is the rounding of the text that it wrote.
        return max(0.51 * self.fields[key].step, 1e-3)

    def write(self, settings: Mapping[str, float]) -> list[tuple[str, bytes]]:
        """Return the messages (topic, payload) that tell settings; those of one topic share one JSON document.

        What we ask is in the device's steps already (`rounded`); what its owner had set goes back as it told that.
        """
        documents: dict[str, dict[str, Any]] = {}
        found: list[tuple[str, bytes]] = []
        for key, value in settings.items():
            field, topic = self.fields[key], self._commands[key]
            theirs = _word(field, bool(value)) if field.on else float(f"{value / field.scale:.12g}")
            if field.field and not field.told_on:
                documents.setdefault(topic, {})[field.field] = theirs
            else:
                found.append((topic, theirs.encode() if isinstance(theirs, str) else f"{theirs:.12g}".encode()))
        return found + [(topic, msgspec.json.encode(document)) for topic, document in documents.items()]

    def ask(self, keys: list[str]) -> list[tuple[str, bytes]]:
        """Return the messages that ask a device for its state; none where the contract has no such topic."""
        wanted = {self.fields[key].field: "" for key in keys if key in self.fields and self.fields[key].field}
        return [(self._ask_topic, msgspec.json.encode(wanted))] if self._ask_topic and wanted else []


def _word(field: Field, is_on: bool) -> str:
    on, off = (field.told_on, field.told_off) if field.told_on else (field.on, field.off)
    return on if is_on else off


def _text(topic: str, payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise PeerError(f"{topic}: not UTF-8") from None


def _document(topic: str, payload: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise PeerError(f"{topic}: not JSON") from None
    if not isinstance(document, dict):
        raise PeerError(f"{topic}: an object is asked for, not {type(document).__name__}")
    return document


def _pick(topic: str, payload: bytes, document: dict[str, Any] | None, field: Field) -> Any:
    """Return the raw value of a field, None where the message leaves it out."""
    if not field.field or document is None:
        return _text(topic, payload)
    found: Any = document
    for part in field.field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _number(topic: str, field: Field, found: Any) -> float:
    name = f"{topic}: {field.field or 'payload'}"
    if field.on:
        if isinstance(found, bool):
            found = "true" if found else "false"
        if found not in (field.on, field.off):
            raise PeerError(f"{name} = {str(found)[:40]!r}: {field.on} or {field.off} is asked for")
        return float(found == field.on)
    if isinstance(found, bool) or not isinstance(found, (int, float, str)):
        raise PeerError(f"{name} = {str(found)[:40]!r}: a number is asked for")
    try:
        value = float(found) * field.scale
    except (ValueError, OverflowError):
        raise PeerError(f"{name} = {str(found)[:40]!r}: a number is asked for") from None
    if not math.isfinite(value):
        raise PeerError(f"{name} = {str(found)[:40]}: a finite number is asked for")
    return value
