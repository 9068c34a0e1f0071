"""Columns inside a fact: an array as bytes, so that a dispatch of a million rows is one record."""

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
        if len(array) > 1 and (array == array[0]).all():
            return Packed(f"{array.dtype.str}*{len(array)}", array[:1].tobytes())
        return Packed(array.dtype.str, array.tobytes())

    def array(self) -> NDArray[Any]:
        """Return the array."""
        dtype, _, count = self.dtype.partition("*")
        values = np.frombuffer(self.data, dtype=dtype)
        return np.full(int(count), values[0]) if count else values.copy()
