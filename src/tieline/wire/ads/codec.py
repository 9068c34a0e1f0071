"""Messages to bytes and back: XML, SOAP envelopes, and the packed batch. Bounded in size, depth, count and ratio.

Documents with a DTD or entities are refused outright (defusedxml), as are unknown elements and attributes. Every
failure to read is `Malformed`, whatever the bytes.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, tostring
from xml.sax.saxutils import quoteattr

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser
from msgspec.structs import FieldInfo, fields

from tieline.wire.ads.errors import Fault, Malformed
from tieline.wire.ads.messages import DispatchBatch, InBandError, Message

NAMESPACE = "urn:tieline:ads:1"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
MOST_BYTES = 8 << 20
MOST_DEPTH = 16
MOST_ELEMENTS = 200_000
MOST_RATIO = 200
M = TypeVar("M", bound=Message)
_HEAD = "<?xml version='1.0' encoding='utf-8'?>\n"
_XMLNS = f' xmlns="{NAMESPACE}"'
_ESCAPED = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
"""What a reader would else make a blank of (XML 1.0, 3.3.3)."""
SMALL_BYTES = 16_384
"""Up to this an answer is remembered: the awards of a day are, which are read again each minute and seldom change."""


def encode(message: Message) -> bytes:
    """Return a message as an XML document."""
    parts = [_HEAD]
    _write(message, parts, _XMLNS)
    return "".join(parts).encode("utf-8", "xmlcharrefreplace")


def decode(data: bytes, kinds: Iterable[type[Message]]) -> Message:
    """Return the message in an XML document, which must be one of `kinds`.

    Raises:
        Malformed: It is not.
    """
    return _message(_parse(data), kinds)


def envelope(message: Message) -> bytes:
    """Return a message in a SOAP 1.1 envelope."""
    parts = [_HEAD, f'<soap:Envelope xmlns:soap="{SOAP}"><soap:Body>']
    _write(message, parts, _XMLNS)
    parts.append("</soap:Body></soap:Envelope>")
    return "".join(parts).encode("utf-8", "xmlcharrefreplace")


def fault(code: str, message: str) -> bytes:
    """Return a SOAP 1.1 fault (section 4.4)."""
    root = Element(f"{{{SOAP}}}Envelope")
    body, inner = Element(f"{{{SOAP}}}Body"), Element(f"{{{SOAP}}}Fault")
    for name, text in (("faultcode", code), ("faultstring", message)):
        part = Element(name)
        part.text = text
        inner.append(part)
    body.append(inner)
    root.append(body)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def open_envelope(data: bytes, kinds: Iterable[type[Message]]) -> Message:
    """Return the message in a SOAP envelope, which must be one of `kinds`.

    Raises:
        Malformed: It is not.
        Fault: The envelope holds a SOAP fault or an in-band error.
    """
    asked = tuple(kinds)
    return _opened(data, asked) if len(data) <= SMALL_BYTES else _open(data, asked)


def _open(data: bytes, kinds: tuple[type[Message], ...]) -> Message:
    root = _parse(data)
    bodies = [child for child in root if child.tag == f"{{{SOAP}}}Body"]
    if root.tag != f"{{{SOAP}}}Envelope" or len(bodies) != 1 or len(bodies[0]) != 1:
        raise Malformed("no SOAP envelope with one body of one message")
    (inner,) = bodies[0]
    if inner.tag == f"{{{SOAP}}}Fault":
        raise Fault(inner.findtext("faultcode") or "Fault", inner.findtext("faultstring") or "no words")
    message = _message(inner, (*kinds, InBandError))
    if isinstance(message, InBandError):
        raise Fault(message.code, message.message)
    return message


# A poll asks the same each few seconds, and is told the same: nothing new. Messages can't be changed.
_opened = lru_cache(maxsize=64)(_open)


def pack(batch: DispatchBatch) -> str:
    """Return a batch as base64(gzip(XML)); the same batch always makes the same text."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return base64.b64encode(packer.compress(encode(batch)) + packer.flush()).decode()


def unpack(payload: str) -> tuple[DispatchBatch, str]:
    """Return the batch in a packed payload, and its XML.

    Raises:
        Malformed: No base64, no gzip, cut off, too much in it, or no batch.
    """
    try:
        zipped = base64.b64decode("".join(payload.split()), validate=True)
        unpacker = zlib.decompressobj(31)
        # A bomb must not be unpacked to learn that it is one: the limit goes into the decompressor.
        room = min(MOST_BYTES, max(len(zipped) * MOST_RATIO, 4096))
        text = unpacker.decompress(zipped, room)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise Malformed(f"payload: {error}") from None
    if not unpacker.eof:
        raise Malformed(f"payload: cut off, or more than {room} bytes in {len(zipped)}")
    if unpacker.unused_data:
        raise Malformed("payload: bytes after its end")
    batch = decode(text, (DispatchBatch,))
    assert isinstance(batch, DispatchBatch)
    return batch, text.decode("utf-8", "replace")


class _Bounded(TreeBuilder):
    """Builds a tree as long as it is neither too deep nor too large."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._elements = 0

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > MOST_DEPTH or self._elements > MOST_ELEMENTS:
            raise Malformed(f"deeper than {MOST_DEPTH} or more than {MOST_ELEMENTS} elements")
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag)


def _parse(data: bytes) -> Element:
    if len(data) > MOST_BYTES:
        raise Malformed(f"{len(data)} bytes: the limit is {MOST_BYTES}")
    # No DTD at all: without one there are no entities to expand and no file or host to fetch (XML 1.0, 4.2).
    parser = DefusedXMLParser(target=_Bounded(), forbid_dtd=True)
    try:
        parser.feed(data)
        root = parser.close()
    except DefusedXmlException as error:
        raise Malformed(f"XML with {type(error).__name__}: a DTD or entities are not taken") from None
    except (ParseError, ValueError, LookupError) as error:
        raise Malformed(f"XML: {error}") from None
    if not isinstance(root, Element):
        raise Malformed("XML: no element")
    return root


@cache
def _parts(kind: type[Message]) -> dict[str, type[Message]]:
    """Return the fields of a message that hold messages (by wire name), with what they hold."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in _fields(kind):
        hint = hints[field.name]
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if get_origin(inner) is tuple:
            found[field.encode_name] = get_args(inner)[0]
    return found


@cache
def _fields(kind: type[Message]) -> tuple[FieldInfo, ...]:
    """Return a message's fields; asked for once a kind, as finding them costs more than using them."""
    return fields(kind)


def _write(message: Message, into: list[str], also: str = "") -> None:
    """Write a message as an element, its messages within it. `also`: more attributes, as they stand."""
    name = type(message).__name__
    inner = _parts(type(message))
    into.append(f"<{name}{also}")
    for field in _fields(type(message)):
        if field.encode_name not in inner:
            into.append(f" {field.encode_name}={quoteattr(_text(getattr(message, field.name)), _ESCAPED)}")
    within = [
        each for field in _fields(type(message)) if field.encode_name in inner for each in getattr(message, field.name)
    ]
    if not within:
        into.append("/>")
        return
    into.append(">")
    for each in within:
        _write(each, into)
    into.append(f"</{name}>")


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            # In UTC, whatever zone it came in: one instant has one text, so that a batch packs to the same bytes again.
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case float():
            # The shortest text that reads back as the same float, so that a price comes back as it went.
            return repr(value)
        case _:
            return str(value)


def _message(element: Element, kinds: Iterable[type[Message]]) -> Message:
    known = {f"{{{NAMESPACE}}}{kind.__name__}": kind for kind in kinds}
    kind = known.get(element.tag)
    if kind is None:
        names = ", ".join(each.__name__ for each in known.values())
        raise Malformed(f"{element.tag[:200]}: expected one of {names}")
    try:
        return msgspec.convert(_plain(element, kind), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(f"{kind.__name__}: {error}") from None


def _plain(element: Element, kind: type[Message]) -> dict[str, Any]:
    """Return an element as plain values, its children sorted into the fields that hold them."""
    parts = _parts(kind)
    if (element.text or "").strip():
        raise Malformed(f"{kind.__name__}: text where none belongs")
    plain: dict[str, Any] = dict(element.attrib)
    # An attribute named as a list of children would be replaced by them, or stand beside them, unnoticed.
    if clash := parts.keys() & plain.keys():
        raise Malformed(f"{kind.__name__}: {min(clash)} is no attribute")
    tags = {f"{{{NAMESPACE}}}{inner.__name__}": (name, inner) for name, inner in parts.items()}
    for child in element:
        if child.tag not in tags:
            raise Malformed(f"{kind.__name__}: unknown element {child.tag[:200]}")
        name, inner = tags[child.tag]
        plain.setdefault(name, []).append(_plain(child, inner))
    return plain
