"""Messages to elements and back, and the envelopes around them: what `tree` parsed, `security` signed and trusted."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import FieldInfo, fields

from tieline.wire.ews import names as ns
from tieline.wire.ews.errors import Fault, Malformed
from tieline.wire.ews.messages import TAGS, Asked, Element, Header, Payload, Reply, Request, Told, Vdi, Vdis
from tieline.wire.ews.tree import Tree, child, name_of, new

E = TypeVar("E", bound=Element)
_TAG_OF = {kind: tag for tag, kind in TAGS.items()}


# --- envelopes --------------------------------------------------------------------------------------------------------


def asking(asked: Asked) -> Tree:
    """Return a RequestMessage in an envelope that is yet to be signed."""
    envelope, body = _envelope()
    message = child(body, ns.MESSAGE, "RequestMessage")
    _write(child(message, ns.MESSAGE, "Header"), ns.MESSAGE, asked.header)
    if asked.request is not None:
        _write(child(message, ns.MESSAGE, "Request"), ns.MESSAGE, asked.request)
    _write_payload(message, asked.payload)
    return envelope


def telling(told: Told) -> Tree:
    """Return a ResponseMessage in an envelope that is yet to be signed."""
    envelope, body = _envelope()
    _write_told(body, told)
    return envelope


def notifying(messages: list[Told]) -> Tree:
    """Return a Notify of ResponseMessages in an envelope that is yet to be signed."""
    envelope, body = _envelope()
    notify = child(body, ns.NOTIFICATION, "Notify")
    for told in messages:
        holder = child(notify, ns.NOTIFICATION, "NotificationMessage")
        _write_told(child(holder, ns.NOTIFICATION, "Message"), told)
    return envelope


def acknowledging(code: str, at: datetime) -> Tree:
    """Return the Acknowledge of a Notify."""
    envelope, body = _envelope()
    made = child(body, ns.NOTIFICATION, "Acknowledge")
    child(made, ns.NOTIFICATION, "ReplyCode", code)
    child(made, ns.NOTIFICATION, "Timestamp", at.isoformat(timespec="seconds"))
    return envelope


def faulting(code: str, message: str) -> Tree:
    """Return a SOAP 1.1 fault (section 4.4)."""
    envelope, body = _envelope()
    inner = child(body, ns.SOAP, "Fault")
    child(inner, "", "faultcode", code)
    child(inner, "", "faultstring", message[:500])
    return envelope


def _envelope() -> tuple[Tree, Tree]:
    envelope = new(ns.SOAP, "Envelope")
    child(envelope, ns.SOAP, "Header")
    return envelope, child(envelope, ns.SOAP, "Body")


# --- bodies -----------------------------------------------------------------------------------------------------------


def asked_in(body: Tree) -> Asked:
    """Return the RequestMessage in a body. Raises Malformed where there is none."""
    parts = _parts(_inner(body), "RequestMessage")
    if "Header" not in parts:
        raise Malformed("RequestMessage: no Header")
    request = parts.get("Request")
    payload, _ = _payload(parts.get("Payload"))
    return Asked(
        header=_read(parts["Header"], Header),
        request=None if request is None else _read(request, Request),
        payload=payload,
    )


def told_in(body: Tree) -> Told:
    """Return the ResponseMessage in a body.

    Raises:
        Malformed: It holds none.
        Fault: It holds a SOAP fault.
    """
    return _told(_inner(body))


def notified_in(body: Tree) -> list[Told]:
    """Return the messages of the Notify in a body. Raises Malformed where there is none."""
    inner = _inner(body)
    if name_of(inner) != (ns.NOTIFICATION, "Notify"):
        raise Malformed(f"{name_of(inner)[1][:64]}: Notify was expected")
    held = inner.findall(f"{{{ns.NOTIFICATION}}}NotificationMessage/{{{ns.NOTIFICATION}}}Message/*")
    if not held:
        raise Malformed("Notify: no message")
    return [_told(each) for each in held]


def acknowledged_in(body: Tree) -> str:
    """Return the code of the Acknowledge in a body. Raises Malformed where there is none, Fault for a fault."""
    inner = _inner(body)
    if name_of(inner) != (ns.NOTIFICATION, "Acknowledge"):
        raise Malformed(f"{name_of(inner)[1][:64]}: Acknowledge was expected")
    return inner.findtext(f"{{{ns.NOTIFICATION}}}ReplyCode") or "OK"


def payload_tree(payload: Payload) -> Tree:
    """Return a payload as an element of its own: what the market's schemas describe."""
    made = new(ns.EWS, _TAG_OF[type(payload)])
    _write(made, ns.EWS, payload)
    return made


def check_fault(body: Tree) -> None:
    """Raise Fault where a body holds one."""
    for inner in body:
        if name_of(inner) == (ns.SOAP, "Fault"):
            code, words = inner.findtext("faultcode") or "Fault", inner.findtext("faultstring") or "no words"
            raise Fault(code[:100], words[:500])


def _inner(body: Tree) -> Tree:
    check_fault(body)
    if len(body) != 1:
        raise Malformed(f"{len(body)} elements in the body: give one")
    return body[0]


def _told(message: Tree) -> Told:
    parts = _parts(message, "ResponseMessage")
    if "Header" not in parts:
        raise Malformed("ResponseMessage: no Header")
    payload, faults = _payload(parts.get("Payload"))
    reply = parts.get("Reply")
    return Told(
        header=_read(parts["Header"], Header),
        reply=None if reply is None else _read(reply, Reply),
        payload=payload,
        faults=faults,
    )


def _parts(message: Tree, name: str) -> dict[str, Tree]:
    if name_of(message) != (ns.MESSAGE, name):
        raise Malformed(f"{name_of(message)[1][:64]}: {name} was expected")
    parts: dict[str, Tree] = {}
    for each in message:
        space, part = name_of(each)
        if space != ns.MESSAGE or part in parts:
            raise Malformed(f"{name}: {part[:64]} twice, or of another namespace")
        parts[part] = each
    return parts


def _payload(held: Tree | None) -> tuple[Payload | None, tuple[tuple[str, str], ...]]:
    found = [] if held is None else [each for each in held if name_of(each)[0] == ns.EWS]
    if held is not None and any(name_of(each) == (ns.MESSAGE, "Compressed") for each in held):
        raise Malformed("Payload: a compressed one is not read")
    if not found:
        return None, ()
    tag = name_of(found[0])[1]
    if len(found) != 1 or tag not in TAGS:
        raise Malformed(f"Payload: {tag[:64]}: give one of {', '.join(TAGS)}")
    if tag == "VDIs":
        return _instructions(found[0])
    return _read(found[0], TAGS[tag]), ()


def _instructions(held: Tree) -> tuple[Vdis, tuple[tuple[str, str], ...]]:
    """Return the instructions that can be read, and what is wrong with the others: one must not hide the rest."""
    rows, faults = [], []
    for each in held.findall(f"{{{ns.EWS}}}VDI"):
        try:
            rows.append(_read(each, Vdi))
        except Malformed as error:
            faults.append((" ".join((each.findtext(f".//{{{ns.EWS}}}vdiRefNum") or "").split())[:15], str(error)))
    return Vdis(rows=tuple(rows)), tuple(faults)


# --- elements ---------------------------------------------------------------------------------------------------------


def _write_told(parent: Tree, told: Told) -> None:
    message = child(parent, ns.MESSAGE, "ResponseMessage")
    _write(child(message, ns.MESSAGE, "Header"), ns.MESSAGE, told.header)
    if told.reply is not None:
        _write(child(message, ns.MESSAGE, "Reply"), ns.MESSAGE, told.reply)
    _write_payload(message, told.payload)


def _write_payload(message: Tree, payload: Payload | None) -> None:
    if payload is not None:
        held = child(child(message, ns.MESSAGE, "Payload"), ns.EWS, _TAG_OF[type(payload)])
        _write(held, ns.EWS, payload)


def _write(into: Tree, space: str, element: Element) -> None:
    for field in _fields(type(element)):
        value = getattr(element, field.name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Element):
                _write(child(into, space, field.encode_name), space, each)
            elif each is not None:
                child(into, space, field.encode_name, _text(each))


def _text(value: Any) -> str:
    match value:
        case datetime():
            return value.isoformat(timespec="seconds")
        case date():
            return value.isoformat()
        case float():
            # Plain decimals, as xs:decimal has no exponent: six places are a watt's, and more than any price has.
            text = f"{value:.6f}".rstrip("0").rstrip(".")
            return "0" if text == "-0" else text
        case _:
            return str(value)


def _read(element: Tree, kind: type[E]) -> E:
    try:
        return msgspec.convert(_plain(element, kind), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(f"{name_of(element)[1]}: {error}") from None


def _plain(element: Tree, kind: type[Element]) -> dict[str, Any]:
    """Return an element's children as plain values, sorted into the fields that hold them; others are passed over."""
    space, known = name_of(element)[0], _known(kind)
    plain: dict[str, Any] = {}
    for each in element:
        theirs, name = name_of(each)
        if theirs != space or name not in known:
            continue
        is_list, inner = known[name]
        value = " ".join((each.text or "").split()) if inner is None else _plain(each, inner)
        if is_list:
            plain.setdefault(name, []).append(value)
        elif name in plain:
            raise Malformed(f"{name_of(element)[1]}: {name} stands there twice")
        elif value != "":
            plain[name] = value
    return plain


@cache
def _known(kind: type[Element]) -> dict[str, tuple[bool, type[Element] | None]]:
    """Return the fields of a kind by wire name: whether there may be several, and the kind that they hold."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in _fields(kind):
        hint = hints[field.name]
        hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        is_list = get_origin(hint) is tuple
        inner = get_args(hint)[0] if is_list else hint
        is_element = isinstance(inner, type) and issubclass(inner, Element)
        found[field.encode_name] = (is_list, inner if is_element else None)
    return found


@cache
def _fields(kind: type[Element]) -> tuple[FieldInfo, ...]:
    return fields(kind)
