"""The OpenDSS script language: from text to objects with their properties, in the order in which they were set.

Only what describes a circuit is followed. What solves, shows or plots is passed over; a command or a class that would
change the flow and is not known here is refused, never ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tieline.errors import ConfigError

Include = Callable[[str], str]
PASSED_OVER = frozenset((
    "solve", "calcvoltagebases", "calcv", "buscoords", "plot", "show", "export", "visualize", "closedi", "reset",
    "sample", "help", "?", "di_plot", "comparecases", "about", "latlongcoords", "setkvbase", "uuids",
    "interpolate", "makebuslist", "cleanup", "addbusmarker", "clearbusmarkers", "panel", "guids", "var", "get",
    "save", "summary",
))  # fmt: skip
WITHOUT_FLOW = frozenset((
    "regcontrol", "capcontrol", "swtcontrol", "monitor", "energymeter", "loadshape", "growthshape", "tshape",
    "priceshape", "spectrum", "tcc_curve", "relay", "recloser", "fuse", "invcontrol", "expcontrol", "xycurve",
    "sensor", "linespacing",
))  # fmt: skip
TOKEN = re.compile(r"""\s*,?\s*(?:([%\w.\-*:]+)\s*=\s*)?("[^"]*"|'[^']*'|\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|[^\s,=]+)""")
COMMENT = re.compile(r"(?:!|//).*$")
MOST_DEEP = 20
TWO: dict[str, Callable[[float, float], float]] = {
    "+": lambda one, two: one + two,
    "-": lambda one, two: one - two,
    "*": lambda one, two: one * two,
    "/": lambda one, two: one / (two or math.nan),
}


@dataclass(slots=True)
class Thing:
    """One object: its class and name in lower case, and its properties as they were set, one after the other."""

    kind: str
    name: str
    given: list[tuple[str, str]] = field(default_factory=list)
    is_open: bool = False


@dataclass(slots=True)
class Script:
    """What a script says: its objects by `class.name`, and its options."""

    things: dict[str, Thing] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> list[Thing]:
        """Return all objects of a class that are in service."""
        return [thing for thing in self.things.values() if thing.kind == kind and not _is_off(thing)]


def _is_off(thing: Thing) -> bool:
    said = [value.lower() for name, value in thing.given if name == "enabled"]
    return thing.is_open or bool(said and said[-1][:1] in "nf0")


def read_script(text: str, include: Include, known: dict[str, tuple[str, ...]]) -> Script:
    """Return what a script says.

    Args:
        text: The script.
        include: Returns the text of a file that it redirects to.
        known: The classes that are read, each with its properties in order (an abbreviation means the first that fits).

    Raises:
        ConfigError: Names the line that is not understood.
    """
    reader = _Reader(include, known)
    reader.run(text, 0)
    return reader.script


class _Reader:
    def __init__(self, include: Include, known: dict[str, tuple[str, ...]]) -> None:
        self.script, self._include, self._known = Script(), include, known
        self._active: list[Thing] = []

    def run(self, text: str, depth: int) -> None:
        if depth > MOST_DEEP:
            raise ConfigError(f"a script redirects more than {MOST_DEEP} files deep: does it redirect to itself?")
        hidden = False
        for number, raw in enumerate(text.splitlines(), 1):
            hidden = (hidden or raw.lstrip().startswith("/*")) and "*/" not in raw
            line = "" if hidden or "*/" in raw else COMMENT.sub("", raw).strip()
            if not line:
                continue
            try:
                self._line(line, depth)
            except ConfigError as error:
                raise ConfigError(f"line {number} `{line[:60]}`: {error}") from error

    def _line(self, line: str, depth: int) -> None:
        if line[0] == "~":
            return self._set(self._active, line[1:])
        word, _, rest = line.partition(" ")
        word = word.lower()
        if word in ("more", "m"):
            return self._set(self._active, rest)
        if word == "clear":
            self.script = Script()
        elif word in ("redirect", "compile"):
            self.run(self._include(rest.strip().strip("\"'()[]")), depth + 1)
        elif word == "set":
            for name, value in _tokens(rest):
                self.script.options[name.lower()] = value
        elif word in ("new", "edit", "batchedit"):
            self._object(word, rest)
        elif word in ("open", "close", "disable", "enable"):
            self._named(rest.split()[0].lower()).is_open = word in ("open", "disable")
        elif "=" in line and word.partition("=")[0].count(".") == 2:
            path, _, value = line.partition("=")
            kind, name, what = path.strip().lower().split(".")
            self._set([self._named(f"{kind}.{name}")], f"{what}={value}")
        elif word not in PASSED_OVER:
            raise ConfigError(f"{word!r} is no command that is known here")
        return None

    def _object(self, word: str, rest: str) -> None:
        head, _, tail = rest.strip().partition(" ")
        path = head.rpartition("=")[2].strip("\"'").lower()
        kind, _, name = path.partition(".")
        if kind == "swtcontrol" and "open" in tail.lower():
            raise ConfigError("a switch control that opens is not read: open its line")
        if kind in WITHOUT_FLOW:
            self._active = []
            return
        if kind == "circuit":
            kind, name = "vsource", "source"
        if kind not in self._known:
            raise ConfigError(f"class {kind!r} is not read: leave it out, or give one of {', '.join(self._known)}")
        if word == "batchedit":
            found = [t for t in self.script.things.values() if t.kind == kind and re.search(name.lstrip("."), t.name)]
            self._active = found
        elif word == "edit":
            self._active = [self._named(f"{kind}.{name}")]
        else:
            if f"{kind}.{name}" in self.script.things:
                raise ConfigError(f"{kind}.{name} is there already: use Edit")
            self._active = [self.script.things.setdefault(f"{kind}.{name}", Thing(kind, name))]
        self._set(self._active, tail)

    def _named(self, path: str) -> Thing:
        path = path.replace("circuit.", "vsource.")
        if path not in self.script.things:
            raise ConfigError(f"{path} is not there")
        return self.script.things[path]

    def _set(self, things: list[Thing], text: str) -> None:
        if not things:  # the last object was one of those without flow
            return
        names, before = self._known[things[0].kind], ""
        for said, value in _tokens(text):
            name = said or _after(before, names, value)
            if name.lower() == "like":
                for thing in things:
                    thing.given += self._named(f"{thing.kind}.{value.lower()}").given
                continue
            full = before = _spelled_out(name.lower(), names)
            for thing in things:
                thing.given.append((full, value))


def _after(before: str, names: tuple[str, ...], value: str) -> str:
    """Return the property that a value without a name sets: the one behind the last that was set."""
    if before not in names[:-1]:
        raise ConfigError(f"{value!r} has no name before it: give name=value")
    return names[names.index(before) + 1]


def _spelled_out(name: str, names: tuple[str, ...]) -> str:
    if name in names:
        return name
    found = next((each for each in names if each.startswith(name)), None)
    if found is None:
        raise ConfigError(f"property {name!r} is not read")
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip(" ,\t"):
        match = TOKEN.match(text, at)
        if match is None:
            raise ConfigError(f"{text[at:].strip()[:30]!r} is not understood: give name=value")
        value = match[2]
        found.append((match[1] or "", value[1:-1].strip() if value[0] in "\"'([{" else value))
        at = match.end()
    return found


def number(text: str) -> float:
    """Return a number; several words are reverse Polish: `8 1000 /` is 0.008.

    Raises:
        ConfigError: It is none.
    """
    stack: list[float] = []
    for word in text.replace(",", " ").split():
        if word in TWO and len(stack) >= 2:
            two, one = stack.pop(), stack.pop()
            stack.append(TWO[word](one, two))
        elif word.lower() in ("sqr", "sqrt") and stack:
            stack.append(stack.pop() ** (2.0 if word.lower() == "sqr" else 0.5))
        else:
            try:
                stack.append(float(word))
            except ValueError as error:
                raise ConfigError(f"{text!r} is no number") from error
    if len(stack) != 1 or not math.isfinite(stack[0]):
        raise ConfigError(f"{text!r} is no number")
    return stack[0]


def numbers(text: str) -> list[float]:
    """Return numbers of a list, apart by blanks or commas."""
    return [number(word) for word in text.replace(",", " ").replace("|", " ").split()]


def words(text: str) -> list[str]:
    """Return words of a list, in lower case."""
    return text.replace(",", " ").lower().split()


def triangle(text: str, size: int) -> list[list[float]]:
    """Return a square matrix from its rows between bars: all of it, or its lower triangle.

    Raises:
        ConfigError: It has another shape.
    """
    rows = [numbers(row) for row in text.split("|")]
    if len(rows) != size or any(len(row) not in (i + 1, size) for i, row in enumerate(rows)):
        raise ConfigError(f"matrix {text!r} has no {size} rows: give all, or the lower triangle")
    return [[rows[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)]
