"""CIM as RDF/XML (IEC 61970-552): objects by their id, with values and references as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from tieline.errors import ConfigError

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


@dataclass(slots=True)
class Thing:
    """One object: class, id, and values by `Class.attribute`; a reference is the id of what it refers to."""

    kind: str
    id: str
    values: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name, else its id."""
        return self.values.get("IdentifiedObject.name", self.id)

    def number(self, what: str, default: float | None = None) -> float:
        """Return a value as a number.

        Raises:
            ConfigError: It is none, or is not there and has no default.
        """
        text = self.values.get(what)
        if text is None and default is not None:
            return default
        try:
            return float(text or "")
        except ValueError as error:
            raise ConfigError(f"{self.kind} {self.name}: {what} is {text!r}: give a number") from error

    def word(self, what: str) -> str:
        """Return the last word of an enumeration: `WindingConnection.D` is `D`."""
        return self.values.get(what, "").rpartition(".")[2]

    def says(self, what: str) -> bool:
        """Return whether a value is true."""
        return self.values.get(what, "").strip().lower() == "true"


class Things:
    """All objects of a file."""

    def __init__(self, text: str) -> None:
        """Read a file.

        Raises:
            ConfigError: It is no RDF/XML.
        """
        try:
            root = fromstring(text.encode())
        except (ParseError, DefusedXmlException, ValueError) as error:
            raise ConfigError(f"{error}: no CIM in RDF/XML") from error
        if root.tag != f"{RDF}RDF":
            raise ConfigError(f"its root is {root.tag!r}: give CIM in RDF/XML")
        self._by_id: dict[str, Thing] = {}
        self._by_kind: dict[str, list[Thing]] = {}
        for element in root:
            at = element.get(f"{RDF}about") or element.get(f"{RDF}ID") or ""
            thing = Thing(_local(element.tag), _plain(at))
            for value in element:
                refers = value.get(f"{RDF}resource")
                thing.values[_local(value.tag)] = (value.text or "").strip() if refers is None else _plain(refers)
            self._by_id[thing.id] = thing
            self._by_kind.setdefault(thing.kind, []).append(thing)

    def of(self, *kinds: str) -> Iterator[Thing]:
        """Yield all objects of some classes."""
        for kind in kinds:
            yield from self._by_kind.get(kind, ())

    def get(self, at: str | None) -> Thing | None:
        """Return the object of an id."""
        return self._by_id.get(at or "")

    def back(self, kind: str, what: str) -> dict[str, list[Thing]]:
        """Return the objects of a class by what they refer to."""
        found: dict[str, list[Thing]] = {}
        for thing in self.of(kind):
            if what in thing.values:
                found.setdefault(thing.values[what], []).append(thing)
        return found


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _plain(at: str) -> str:
    return at.removeprefix("#").removeprefix("urn:uuid:").removeprefix("_")
