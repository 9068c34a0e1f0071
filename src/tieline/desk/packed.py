"""What facts are made of: columns as bytes, so that a dispatch of a million rows is one record, and parts of others."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class Packed(Struct, frozen=True):
    """An array as bytes with its type; shape (n,)."""

    dtype: str
    data: bytes

    @staticmethod
    def of(values: NDArray[Any]) -> Packed:
        """Pack an array; one that holds a single value is packed as that value alone."""
        array = np.ascontiguousarray(values)
        count = len(array)
        if count < 2 or array[0] != array[-1]:  # nor is NaN one value
            return Packed(array.dtype.str, array.tobytes())
        if array.dtype.kind in "iu":  # of these alone the bytes are the value
            data = array.tobytes()
            first = data[: array.itemsize]
            is_one = data == first * count
            return Packed(f"{array.dtype.str}*{count}", first) if is_one else Packed(array.dtype.str, data)
        if (array == array[0]).all():
            return Packed(f"{array.dtype.str}*{count}", array[:1].tobytes())
        return Packed(array.dtype.str, array.tobytes())

    def array(self) -> NDArray[Any]:
        """Return the array."""
        dtype, _, count = self.dtype.partition("*")
        data = self.data * int(count) if count else self.data
        return np.frombuffer(bytearray(data), dtype=dtype)  # of a bytearray numpy makes one that may be written into


class Causes(Struct, frozen=True):
    """Which causes of a record hold for which of its rows: `sets` of places in `caused_by`, and each row's set."""

    sets: tuple[tuple[int, ...], ...]
    of: Packed

    def held_for(self, rows: NDArray[np.bool_]) -> frozenset[int]:
        """Return the places in `caused_by` of all that holds for some of the record's rows."""
        return frozenset(at for one in np.unique(self.of.array()[rows]).tolist() for at in self.sets[one])


class Shortened(Struct, frozen=True):
    """A promise that a derating left without cover over some slots (W at its worst)."""

    reservation: str
    start_ns: int
    end_ns: int
    up_w: float
    down_w: float
