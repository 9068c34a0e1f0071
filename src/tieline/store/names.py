"""From a JSON list of names to rows of the fleet, without a Python object for each name.

A dictionary of a hundred thousand strings costs three cache misses a look-up, which is most of the time that a body of
readings takes. Here the names lie end to end in one array beside an open-addressed table of hashes, and the JSON
text is read where it stands. What is no plain list of plain strings (an escape, say) is left to the usual decoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int32]
_NAMES = msgspec.json.Decoder(list[str])
_ODD = -1


_SEED, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


@compiled
def _mixed(found: np.uint64) -> np.uint64:
    """Return a FNV-1a sum mixed once more, so that the low bits of near names differ."""
    found ^= found >> np.uint64(32)
    found *= np.uint64(0x9E3779B97F4A7C15)
    return found ^ (found >> np.uint64(29))


@compiled
def _find(
    hashed: np.uint64, text: Bytes, start: int, end: int, names: Bytes, ends: NDArray[np.int64], table: Rows
) -> np.int64:
    """Return the slot of a name: its row is there, or the slot is free."""
    mask = np.int64(len(table) - 1)
    slot = np.int64(hashed & np.uint64(mask))  # signed: numba makes a float of mixed signs
    while table[slot] >= 0:
        row = table[slot]
        first = ends[row]
        if ends[row + 1] - first == end - start:
            at = 0
            while at < end - start and names[first + at] == text[start + at]:
                at += 1
            if at == end - start:
                return slot
        slot = (slot + np.int64(1)) & mask
    return slot


@compiled
def _fill(names: Bytes, ends: NDArray[np.int64], table: Rows) -> None:
    for row in range(len(ends) - 1):
        found = _SEED
        for at in range(ends[row], ends[row + 1]):
            found = (found ^ np.uint64(names[at])) * _PRIME
        table[_find(_mixed(found), names, ends[row], ends[row + 1], names, ends, table)] = row


@compiled
def _split(text: Bytes, starts: Rows, stops: Rows, hashes: NDArray[np.uint64]) -> int:
    """Fill where each name of a JSON list of plain strings starts and stops, and its hash, in one pass.

    Return how many, -1: it is no such list.
    """
    count, at, size = 0, 1, len(text)
    if size < 2 or text[0] != 91 or text[size - 1] != 93:  # [ ]
        return _ODD
    if size == 2:
        return 0
    while True:
        if at >= size or text[at] != 34 or count == len(starts):  # "
            return _ODD
        at += 1
        starts[count] = at
        found = _SEED
        while at < size and text[at] != 34:
            if text[at] == 92 or text[at] < 32:  # an escape or a control character
                return _ODD
            found = (found ^ np.uint64(text[at])) * _PRIME
            at += 1
        if at + 1 >= size:
            return _ODD
        stops[count] = at
        hashes[count] = _mixed(found)
        count += 1
        if text[at + 1] == 93 and at + 2 == size:
            return count
        if text[at + 1] != 44:  # ,
            return _ODD
        at += 2
        if text[at] == 32:  # the one space that many writers put behind a comma
            at += 1


@compiled
def _look_up(
    text: Bytes, starts: Rows, stops: Rows, hashes: NDArray[np.uint64], known: tuple[Bytes, NDArray[np.int64], Rows]
) -> Rows:
    """Return the row of each name, -1: unknown.

    The first two loops only touch what the last will read: a short loop without branches has many cache misses under
    way at once, where the last loop alone would wait for three in a row for each name.
    """
    names, ends, table = known
    count, mask = len(starts), np.uint64(len(table) - 1)
    rows = np.empty(count, np.int32)
    for at in range(count):
        rows[at] = max(table[np.int64(hashes[at] & mask)], 0)
    touched = 0
    for at in range(count):
        touched += names[ends[rows[at]]]
    for at in range(count):
        rows[at] = table[_find(hashes[at], text, starts[at], stops[at], names, ends, table)]
    return rows if touched >= 0 else rows[:0]


class Names:
    """The rows of a fleet's devices by name."""

    def __init__(self, ids: Sequence[str]) -> None:
        """Make the table of `ids`, in row order."""
        raw = [name.encode() for name in ids]
        self._text = np.frombuffer(b"".join(raw) + b"\0", np.uint8)
        self._ends = np.zeros(len(raw) + 1, np.int64)
        np.cumsum([len(name) for name in raw], out=self._ends[1:])
        slots = 1 << max(2 * len(raw), 8).bit_length()  # at most half full: a probe or two a look-up
        self._table = np.full(slots, -1, np.int32)
        self._rows = {name: row for row, name in enumerate(ids)}
        _fill(self._text, self._ends, self._table)

    def rows_of(self, listed: bytes | memoryview, most: int) -> Rows:
        """Return the row of each name of a JSON list, -1 where it is unknown; at most `most + 1` are read.

        Raises:
            msgspec.MsgspecError: It is no list of strings.
        """
        text = np.frombuffer(listed, np.uint8)
        longest = min(most, len(text) // 3 + 1) + 1
        starts, stops = np.empty((2, longest), np.int32)
        hashes = np.empty(longest, np.uint64)
        count = _split(text, starts, stops, hashes)
        if count != _ODD:
            known = (self._text, self._ends, self._table)
            found: NDArray[np.int32] = _look_up(text, starts[:count], stops[:count], hashes[:count], known)
            return found
        return np.array([self._rows.get(name, -1) for name in _NAMES.decode(listed)], np.int32)
