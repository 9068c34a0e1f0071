"""Refusals of what is no number or makes no sense, alike wherever plans are asked for: field, place, value, limit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]


def shaped(name: str, column: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check the shape of a column.

    Raises:
        ConfigError: It is another; the message names the field.
    """
    if column.shape != shape:
        raise ConfigError(f"{name} has shape {column.shape}: give {shape}")


def within(name: str, column: Floats, least: float, most: float, above: bool = False) -> None:
    """Check that values are finite and within limits (`above`: the lower one itself is not allowed).

    Raises:
        ConfigError: One is not; the message names it and the limit.
    """
    is_low = column <= least if above else column < least
    limit = (
        "a finite number"
        if np.isinf(least) and np.isinf(most)
        else f"{'above' if above else 'from'} {least:g} to {most:g}"
    )
    refuse(name, column, ~np.isfinite(column) | is_low | (column > most), limit)


def refuse(name: str, column: NDArray[Any], is_wrong: NDArray[np.bool_], limit: str) -> None:
    """Refuse the first value that is wrong.

    Raises:
        ConfigError: There is one; the message names it and says what to give.
    """
    if is_wrong.any():
        at = tuple(int(axis[0]) for axis in np.nonzero(is_wrong))
        raise ConfigError(f"{name}[{', '.join(map(str, at))}] = {column[at]:g}: give {limit}")
