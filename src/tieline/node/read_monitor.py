"""The protocol monitor: messages that carried decisions, decoded, beside the bytes as they were on the wire.

They come from the journal, where each decision keeps the message that it came by or went out with: so a message can be
traced to what it caused, and is there after a restart. Readings are columns and keep no frames (design 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from tieline.desk import facts as f
from tieline.desk.desk_views import MessageView
from tieline.desk.ports import LinkHealth, Session
from tieline.desk.views import LinkView
from tieline.flow.record import Record, Records
from tieline.node.read_words import says
from tieline.node.runtime import Node

KINDS = (f.AskGranted, f.AskRefused, f.BatchTaken, f.CommandsReported)
PER_RECORD, STEP, LEAST_SEQ_STEPS = 4, 2_000, 20
MOST_RAW = 4_000
Fields = tuple[tuple[str, str], ...]

_DNP3_FUNCTIONS = {  # IEEE 1815-2012, table 4-2
    1: "read", 2: "write", 3: "select", 4: "operate", 5: "direct operate", 6: "direct operate, no answer",
    20: "enable unsolicited", 21: "disable unsolicited", 23: "delay measurement", 24: "record current time",
    129: "response", 130: "unsolicited response",
}  # fmt: skip
_MODBUS_FUNCTIONS = {3: "read holding registers", 6: "write one register", 16: "write registers"}


def messages(journal: Records, last_seq: int, protocol: str, count: int) -> list[MessageView]:
    """Return the newest messages of a protocol (empty: of all), newest first; looks no further than 40,000 records."""
    found: list[MessageView] = []
    top, seen = last_seq + 1, set[str]()
    for _ in range(LEAST_SEQ_STEPS):
        if top <= 1 or len(found) >= count:
            break
        low = max(top - 1 - STEP, 0)
        part = [record for record in journal.replay(low) if record.seq < top]
        for record in reversed(part):
            for view in _views(record):
                # One frame is told of at each stage of its command: once is enough, with the newest stage.
                if view.raw not in seen and protocol in ("", view.protocol):
                    seen.add(view.raw)
                    found.append(view)
        top = low + 1
    return found[:count]


def _views(record: Record) -> Iterator[MessageView]:
    if record.kind not in {kind.__name__ for kind in KINDS}:
        return
    fact = f.from_record(record)
    if isinstance(fact, (f.AskGranted, f.AskRefused)) and fact.ask.native:
        source, raw = fact.ask.source, fact.ask.native
        yield _view(record, source.partition(":")[0], source, "in", raw)
    elif isinstance(fact, f.BatchTaken) and fact.batch.native:
        yield _view(record, fact.batch.protocol, fact.batch.link, "in", fact.batch.native)
    elif isinstance(fact, f.CommandsReported):
        for raw in list(dict.fromkeys(fact.frames))[:PER_RECORD]:
            protocol = _protocol_of(raw)
            if protocol != "columns":
                yield _view(record, protocol, protocol, "out", raw)


def _view(record: Record, protocol: str, link: str, direction: str, raw: str) -> MessageView:
    return MessageView(
        record.seq, record.id, record.recorded_at_ns, protocol, link, direction, says(record), decoded(protocol, raw),
        raw[:MOST_RAW], bool(_octets(raw)),
    )  # fmt: skip


def _protocol_of(raw: str) -> str:
    """Return whose frame a command went out in: Modbus has a protocol id of 0 there, MQTT a PUBLISH (type 3)."""
    octets = _octets(raw)
    if len(octets) > 8 and octets[2:4] == b"\0\0":
        return "modbus"
    if octets and octets[0] >> 4 == 3:
        return "mqtt"
    return "openadr" if raw.startswith("event") else "columns"


def _octets(raw: str) -> bytes:
    """Return the bytes of hex text; none where it is other text."""
    try:
        return bytes.fromhex(raw)
    except ValueError:
        return b""


def decoded(protocol: str, raw: str) -> Fields:
    """Return the fields of a message by name; none where the bytes are not what the protocol says."""
    octets = _octets(raw)
    if protocol == "dnp3":
        return _dnp3(octets)
    if protocol == "modbus":
        return _modbus(octets)
    if protocol == "mqtt":
        return _mqtt(octets)
    return ()


def _dnp3(octets: bytes) -> Fields:
    """Link and application header of a DNP3 request (IEEE 1815-2012, 9.2.4 and 4.2.2)."""
    if len(octets) < 13 or octets[:2] != b"\x05\x64":
        return ()
    destination, source = struct.unpack_from("<HH", octets, 4)
    control, function = octets[11], octets[12]
    fields = [
        ("from", str(source)), ("to", str(destination)), ("sequence", str(control & 0x0F)),
        ("function", f"{function} {_DNP3_FUNCTIONS.get(function, 'other')}"),
    ]  # fmt: skip
    if len(octets) >= 16 and function in (3, 4, 5, 6):
        fields.append(("object", f"group {octets[13]} variation {octets[14]}"))
    return tuple(fields)


def _modbus(octets: bytes) -> Fields:
    """Header and body of a Modbus TCP request (Modbus messaging on TCP/IP V1.0b, 3.1.3)."""
    if len(octets) < 12:
        return ()
    transaction, _, _, unit, function, start, value = struct.unpack_from(">HHHBBHH", octets)
    fields = [
        ("transaction", str(transaction)), ("unit", str(unit)),
        ("function", f"{function} {_MODBUS_FUNCTIONS.get(function, 'other')}"), ("register", str(start)),
    ]  # fmt: skip
    if function == 16 and len(octets) >= 13 + 2 * value:
        words = struct.unpack_from(f">{value}H", octets, 13)
        fields.append(("values", " ".join(str(word) for word in words)))
    else:
        fields.append(("value" if function == 6 else "count", str(value)))
    return tuple(fields)


def _mqtt(octets: bytes) -> Fields:
    """Topic, packet id and payload of an MQTT PUBLISH (MQTT 3.1.1, 3.3)."""
    at = 1
    while at < min(len(octets), 5) and octets[at] & 0x80:
        at += 1
    at += 1
    if len(octets) < at + 2:
        return ()
    (size,) = struct.unpack_from(">H", octets, at)
    topic = octets[at + 2 : at + 2 + size].decode("utf-8", "replace")
    at += 2 + size
    qos = (octets[0] >> 1) & 3
    fields = [("topic", topic), ("qos", str(qos))]
    if qos and len(octets) >= at + 2:
        fields.append(("packet", str(struct.unpack_from(">H", octets, at)[0])))
        at += 2
    return (*fields, ("payload", octets[at:].decode("utf-8", "replace")))


@runtime_checkable
class _Told(Protocol):
    """A link that has told the desk of its health before, and can say it again."""

    name: str

    def health(self) -> LinkHealth: ...


def healths_of(node: Node) -> dict[str, LinkHealth]:
    """Return the health of each link by name, as it says itself now.

    The desk is told only when a session changes; counts of messages go on meanwhile.
    """
    known = node.state.health
    ends: tuple[object, ...] = (*node.desk._links.values(), *node.publishers, node.desk.market)
    told = [end.health() for end in ends if isinstance(end, _Told) and end.name in known]
    return {**known, **{health.name: health for health in told}}


def links_of(healths: Iterable[LinkHealth]) -> list[LinkView]:
    """Return links for a screen."""
    found = []
    for health in healths:
        live = health.session >= Session.ASSOCIATED and health.session is not Session.DEGRADED
        away = "waiting" if health.awaits else "down"
        word = "live" if live else "degraded" if health.session is Session.DEGRADED else away
        found.append(
            LinkView(
                health.name, health.protocol, word, health.peers, health.received, health.refused, health.errors,
                health.since_ns, health.last_error,
            )
        )  # fmt: skip
    return found
