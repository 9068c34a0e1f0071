"""Bytes to a tree and back, bounded and hardened: what is read here is also what a signature was computed over.

One parser does both, so that what was verified is what is acted on. There is no DTD, so there are no entities and
nothing to fetch; the encoding is UTF-8; comments are dropped before anything is read, as the canonical form that is
signed has none either.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from tieline.wire.ews.errors import Malformed
from tieline.wire.ews.names import DS, EWS, MESSAGE, NOTIFICATION, SOAP, WSSE, WSU

Tree = Any
"""An element; its library tells mypy nothing of its types."""
MOST_BYTES = 8 << 20
MOST_DEPTH = 24
MOST_ELEMENTS = 200_000
PREFIXES = {"soap": SOAP, "wsse": WSSE, "wsu": WSU, "ds": DS, "m": MESSAGE, "e": EWS, "n": NOTIFICATION}
_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")


def parse(data: bytes) -> Tree:
    """Return the root element of a document.

    Raises:
        Malformed: It is none, too much, not UTF-8, or has a document type.
    """
    if len(data) > MOST_BYTES:
        raise Malformed(f"{len(data)} bytes: the limit is {MOST_BYTES}")
    declared = _DECLARED.match(data.lstrip())
    if declared is not None and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise Malformed(f"encoding {declared[1].decode('ascii', 'replace')[:40]}: give UTF-8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    # Looked for in the text, as a parser that has read it has already built what it describes.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Malformed("a document type or entities are not taken")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_comments=True, remove_pis=True, collect_ids=False, recover=False,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Malformed(f"XML: {str(error)[:200]}") from None
    _check(root)
    return root


def _check(root: Tree) -> None:
    level, seen, depth = [root], 0, 0
    while level:
        seen, depth = seen + len(level), depth + 1
        if depth > MOST_DEPTH or seen > MOST_ELEMENTS:
            raise Malformed(f"deeper than {MOST_DEPTH} or more than {MOST_ELEMENTS} elements")
        level = [child for element in level for child in element]


def serialise(root: Tree) -> bytes:
    """Return a tree as a document."""
    return bytes(etree.tostring(root, xml_declaration=True, encoding="utf-8"))


def canonical(element: Tree) -> bytes:
    """Return an element in exclusive canonical form without comments: what is digested and signed."""
    return bytes(etree.tostring(element, method="c14n", exclusive=True, with_comments=False))


def new(namespace: str, name: str, text: str | None = None, **attributes: str) -> Tree:
    """Return an element on its own."""
    made = etree.Element(f"{{{namespace}}}{name}", attributes, nsmap=PREFIXES)
    made.text = text
    return made


def child(parent: Tree, namespace: str, name: str, text: str | None = None, **attributes: str) -> Tree:
    """Return a new last child of an element.

    Raises:
        Malformed: The text has characters that no document may hold.
    """
    made = etree.SubElement(parent, f"{{{namespace}}}{name}", attributes)
    try:
        made.text = text
    except ValueError as error:
        raise Malformed(f"{name}: {error}") from None
    return made


def name_of(element: Tree) -> tuple[str, str]:
    """Return (namespace, name) of an element."""
    found = etree.QName(element)
    return found.namespace or "", found.localname
