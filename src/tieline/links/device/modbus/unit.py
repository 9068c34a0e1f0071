"""One SunSpec device behind a Modbus connection: found, read, told, and read back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from tieline.errors import PeerError
from tieline.links.device.modbus.client import Client, GaveWay
from tieline.links.device.modbus.held import FREE, FUNCTIONS, Held, rounded_in
from tieline.links.device.modbus.reversion import NOTHING, After
from tieline.links.device.sunspec_models import model
from tieline.resource.point import points
from tieline.wire.modbus.pdu import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    MOST_READ,
    PduError,
    Read,
    Refused,
    Write,
)
from tieline.wire.sunspec.models import END, MARKER, ModelError, integer, read_value, write_value

BASES = (40000, 50000, 0)
NEEDED = (701, 704)
MOST_MODELS = 64
NO_BLOCKS = (ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE)
"""Exceptions that may mean: not in one request. The same is then told value by value."""


class Rejected(PeerError):
    """The device refused a request; `code` is the Modbus exception."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: exception {code}")
        self.code = code


class Unit:
    """A device's model map, and its requests."""

    def __init__(self, client: Client, number: int, takes_blocks: bool = True) -> None:
        """Make one. `takes_blocks`: whether a function's registers may be written in one request."""
        self.client, self.number = client, number
        self.models: dict[int, tuple[int, int]] = {}
        self.maker = self.type = self.serial = ""
        self.frame = b""
        self.takes_blocks = takes_blocks
        self.gives_way = False  # what is measured is given up before its next read
        self.seen: tuple[int, ...] = ()  # the controls as last read
        self._read_last: dict[int, tuple[tuple[int, ...], dict[str, float]]] = {}
        self._held_last: tuple[Sequence[int], Held] = (), FREE

    async def find(self) -> None:
        """Walk the chain of models from the SunSpec marker.

        Raises:
            PeerError: No SunSpec device, or one without measurement and control.
            LinkDown: No answer.
        """
        at = await self._base() + 2
        self.models, self.seen = {}, ()
        self._read_last.clear()
        for _ in range(MOST_MODELS):
            number, length = await self._read(at, 2)
            if number == END:
                break
            self.models.setdefault(number, (at, length + 2))
            at += length + 2
        missing = [number for number in NEEDED if number not in self.models]
        if missing:
            raise PeerError(f"unit {self.number}: no SunSpec model {missing[0]}")
        if 1 in self.models:
            block = await self._read(*self.models[1])
            self.maker, self.type, self.serial = (self._text(block, name) for name in ("Mn", "Md", "SN"))

    def _text(self, block: Sequence[int], name: str) -> str:
        try:
            found = read_value(model(1), name, block)
        except ModelError as error:
            raise PeerError(f"unit {self.number}: {error}") from error
        return found if isinstance(found, str) else ""

    async def full_w(self) -> float:
        """Return the power of which its limit is a share (W; NaN: it tells none): its WMax as set, or else as rated.

        Raises:
            PeerError: Its registers can't be read.
            LinkDown: No answer.
        """
        if 702 not in self.models:
            return math.nan
        start, count = self.models[702]
        block = await self._read(start, min(count, _span(702, _FULL)))
        try:
            values = [read_value(model(702), name, block) for name in _FULL]
        except ModelError as error:
            raise PeerError(f"unit {self.number}: {error}") from error
        return next((float(value) for value in values if isinstance(value, (int, float)) and value > 0), math.nan)

    async def _base(self) -> int:
        for base in BASES:
            if await self.client.request(self.number, Read(base, 2)) == MARKER:
                return base
        raise PeerError(f"unit {self.number}: no SunSpec marker at {', '.join(map(str, BASES))}")

    async def read(self, start: int, count: int) -> tuple[int, ...]:
        """Return registers. Raises Rejected where the device refuses, LinkDown where it doesn't answer."""
        return await self._read(start, count)

    async def write(self, start: int, words: tuple[int, ...]) -> None:
        """Write registers in one request; raises as `read` does."""
        answer, self.frame = await self.client.exchange(self.number, Write(start, words))
        if isinstance(answer, Refused):
            raise Rejected(answer.code, f"unit {self.number}: write {len(words)} at {start}")

    async def _read(self, start: int, count: int) -> tuple[int, ...]:
        found: tuple[int, ...] = ()
        while len(found) < count:
            part = min(count - len(found), MOST_READ)
            try:
                answer = await self.client.request(self.number, Read(start + len(found), part))
            except PduError as error:  # a chain that leads beyond the last register
                raise PeerError(f"unit {self.number}: {error}") from error
            if isinstance(answer, Refused):
                raise Rejected(answer.code, f"unit {self.number}: read {part} at {start + len(found)}")
            found += answer
        return found

    async def measure(self, keys: Sequence[str]) -> dict[str, float]:
        """Return what the device measures now, by point (SI); what it does not implement is left out.

        Args:
            keys: Points of the catalogue; each says by its SunSpec reference which model and point hold it.

        Raises:
            GaveWay: It was given up for a command.
            PeerError: Its registers can't be read.
            LinkDown: No answer.
        """
        found: dict[str, float] = {}
        for number, pairs, span in _by_model(tuple(keys)):
            if number in self.models:
                if self.gives_way:
                    raise GaveWay(f"unit {self.number}: a command goes first")
                start, count = self.models[number]
                block = await self._read(start, min(count, span))
                found |= self._measured(number, pairs, block)
        return found

    def _measured(self, number: int, pairs: Sequence[tuple[str, str]], block: tuple[int, ...]) -> dict[str, float]:
        """Return the points in the registers of a model; what stands as it stood at the last poll is not read anew."""
        before, found = self._read_last.get(number, ((), {}))
        if block == before:
            return found
        found = {}
        for key, name in pairs:
            try:
                value = read_value(model(number), name, block)
            except ModelError as error:
                raise PeerError(f"unit {self.number}: {error}") from error
            if isinstance(value, (int, float)):
                # SunSpec counts percent where the catalogue counts shares.
                found[key] = value / 100.0 if key == "soc_frac" else float(value)
        self._read_last[number] = block, found
        return found

    async def tell(self, what: Held, after: After = NOTHING) -> None:
        """Set a power and an upper limit, and the timer after which the device lets go by itself, or holds `after`.

        It is told in the steps of its scale factors, as `rounded` says. A function's registers go out in one request
        (function 16, which a device carries out as a whole), by the scale factors that were read before; a function
        that is off and stays off is not written. A device that refuses that is told value by value, enabling last, from
        then on. A timer that it does not implement is left out, and `after` where it refuses that.

        Raises:
            Rejected: The device refused.
            PeerError: A value that its registers can't hold.
            LinkDown: No answer; after the first write, whether it was taken is unknown.
        """
        if self.takes_blocks and self.seen and await self._tell_blocks(what, after):
            return
        await self._tell_steps(what, after)

    async def _tell_blocks(self, what: Held, after: After) -> bool:
        """Tell each function in one request; returns False where the device takes no such requests."""
        start, _ = self.models[704]
        try:
            image = list(self.seen)
            for name, raw in self._steps(self.seen, what, after):
                field = model(704).field(name)
                image[field.offset : field.offset + field.size] = raw
        except ModelError as error:
            raise PeerError(f"unit {self.number}: {error}") from error
        for first, end in FUNCTIONS[1:] if what.leaves_power else FUNCTIONS:
            if not image[first] and not self.seen[first]:
                continue
            write = Write(start + first, tuple(image[first:end]))
            answer, self.frame = await self.client.exchange(self.number, write)
            if isinstance(answer, Refused):
                if answer.code not in NO_BLOCKS:
                    raise Rejected(answer.code, f"unit {self.number}: write {end - first} at {start + first}")
                self.takes_blocks = False
                return False
        return True

    async def _tell_steps(self, what: Held, after: After) -> None:
        start, block = await self._controls()
        try:
            steps = self._steps(block, what, after)
        except ModelError as error:
            raise PeerError(f"unit {self.number}: {error}") from error
        for name, raw in steps:
            at = start + model(704).field(name).offset
            answer, self.frame = await self.client.exchange(self.number, Write(at, raw))
            if isinstance(answer, Refused) and name in after and answer.code in NO_BLOCKS:
                return await self._tell_steps(what, NOTHING)
            if isinstance(answer, Refused):
                raise Rejected(answer.code, f"unit {self.number}: write {name}")
        return None

    def _steps(self, block: Sequence[int], what: Held, after: After) -> list[tuple[str, tuple[int, ...]]]:
        """Return the registers to write, in order: values, the timer, and what switches them on last."""
        steps = self._values(block, what, after)
        return [(name, after.get(name) or self._raw(block, name, value)) for name, value in steps]

    def _values(self, block: Sequence[int], what: Held, after: After) -> list[tuple[str, float]]:
        what = rounded_in(block, what)
        seconds = 0.0 if math.isnan(what.revert_s) else max(round(what.revert_s), 1)
        steps: list[tuple[str, float]] = []
        if math.isnan(what.target_w):
            steps += [] if what.leaves_power else [("WSetEna", 0)]
        else:
            wished = [("WSetMod", 1.0), ("WSet", what.target_w), ("WSetRvrt", 0.0), ("WSetEnaRvrt", 0.0)]
            wished.append(("WSetRvrtTms", seconds))
            steps += [(name, value) for name, value in wished if name == "WSet" or self._has(block, name)]
            steps.append(("WSetEna", 1))
        if what.limit_frac >= 1.0:
            return [*steps, ("WMaxLimPctEna", 0)]
        wished = [("WMaxLimPct", 100.0 * max(what.limit_frac, 0.0))]
        wished += [(name, 0.0) for name in after if name == "WMaxLimPctRvrt"]
        wished += [("WMaxLimPctEnaRvrt", 0.0), ("WMaxLimPctRvrtTms", seconds)]
        steps += [(name, value) for name, value in wished if name == "WMaxLimPct" or self._has(block, name)]
        return [*steps, ("WMaxLimPctEna", 1)]

    def _has(self, block: Sequence[int], name: str) -> bool:
        """Return whether the device implements a point of its controls."""
        return integer(model(704).field(name), block) is not None

    def _raw(self, block: Sequence[int], name: str, value: float) -> tuple[int, ...]:
        return write_value(model(704), name, value, block)

    async def _controls(self) -> tuple[int, tuple[int, ...]]:
        start, size = self.models[704]
        if size < model(704).size:
            raise PeerError(f"unit {self.number}: model 704 of {size} registers: {model(704).size} are asked for")
        self.seen = await self._read(start, size)
        return start, self.seen

    async def read_back(self) -> Held:
        """Return what the device holds now."""
        _, block = await self._controls()
        return self.held(block)

    def rounded(self, what: Held) -> Held:
        """Return what it is told for a wish, in the steps of its controls as last read: a limit is never wider.

        Raises:
            PeerError: A scale factor that SunSpec doesn't know.
        """
        try:
            return rounded_in(self.seen, what)
        except ModelError as error:
            raise PeerError(f"unit {self.number}: {error}") from error

    def held(self, block: Sequence[int]) -> Held:
        """Return what the registers of its controls say that it holds. Raises PeerError where they can't be read."""
        before, found = self._held_last
        if block != before:
            found = self.held_by(block)
            self._held_last = block, found
        return found

    async def give_back(self, words: Sequence[Sequence[int]], leaves_power: bool = False) -> None:
        """Write what an owner had set: the registers of each function of `FUNCTIONS` (empty: it is switched off).

        `leaves_power`: the power that it holds stays as it is. Raises as `tell` does.
        """
        start, block = await self._controls()
        for (first, end), wished in list(zip(FUNCTIONS, words, strict=True))[leaves_power:]:
            steps: list[tuple[int, tuple[int, ...]]] = []
            if not wished:
                steps += [(first, (0,))] if block[first] else []
            elif self.takes_blocks:
                steps.append((first, tuple(wished)))
            else:
                fields = [field for field in model(704).fields.values() if first < field.offset < end]
                given = [(field, tuple(wished[field.offset - first :][: field.size])) for field in fields]
                steps += [(field.offset, raw) for field, raw in given if self._has(block, field.name)]
                steps.append((first, (wished[0],)))
            for at, raw in steps:
                answer, self.frame = await self.client.exchange(self.number, Write(start + at, raw))
                if isinstance(answer, Refused) and len(raw) > 2 and answer.code in NO_BLOCKS:
                    self.takes_blocks = False
                    await self.give_back(words, leaves_power)
                    return
                if isinstance(answer, Refused):
                    raise Rejected(answer.code, f"unit {self.number}: write {len(raw)} at {start + at}")

    def held_by(self, block: Sequence[int]) -> Held:
        """Return what registers say, as `held` does, and remember nothing of it."""
        try:
            value = {name: read_value(model(704), name, block) for name in _HOLDS}
        except ModelError as error:
            raise PeerError(f"unit {self.number}: {error}") from error
        number = {name: float(found) for name, found in value.items() if isinstance(found, (int, float))}
        target_w = number.get("WSet", math.nan) if number.get("WSetEna") == 1 else math.nan
        limited = number.get("WMaxLimPctEna") == 1
        limit_frac = number.get("WMaxLimPct", 100.0) / 100.0 if limited else 1.0
        timers = [("WSetRvrtTms", not math.isnan(target_w)), ("WMaxLimPctRvrtTms", limited)]
        running = [number.get(name, 0.0) for name, is_used in timers if is_used]
        revert_s = min(running) if running and min(running) > 0 else math.nan
        switched = ("power", "WSetEna", "WSet"), ("limit", "WMaxLimPctEna", "WMaxLimPct")
        unread = frozenset(key for key, on, name in switched if number.get(on) == 1 and name not in number)
        return Held(target_w, limit_frac, revert_s, unread=unread)


_FULL = ("WMax", "WMaxRtg")
_HOLDS = ("WSetEna", "WSet", "WSetRvrtTms", "WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrtTms")


@cache
def _by_model(keys: tuple[str, ...]) -> tuple[tuple[int, tuple[tuple[str, str], ...], int], ...]:
    """Return the models that points of the catalogue stand in, each with its (key, SunSpec name) and how far to read.

    That is to the last of them and of their scale factors: the text that ends model 701 would take a second request.
    """
    wanted: dict[int, list[tuple[str, str]]] = {}
    for key in keys:
        where, _, name = points()[key].sunspec.partition(".")
        if where.isdigit():
            wanted.setdefault(int(where), []).append((key, name))
    return tuple((number, tuple(pairs), _span(number, [name for _, name in pairs])) for number, pairs in wanted.items())


def _span(number: int, names: Sequence[str]) -> int:
    fields = [model(number).field(name) for name in names]
    return max(max(field.offset + field.size, (field.scale_at or 0) + 1) for field in fields)
