"""Tieline: one resource, from market to device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.about import VERSION

if TYPE_CHECKING:
    from tieline.node.notebook import Day

__version__ = VERSION


def demo(devices: int = 1_000, seed: int = 1, scenario: str = "heatwave") -> Day:
    """Return a simulated day to work with in a notebook, without a server.

    >>> import tieline
    >>> day = tieline.demo(devices=60)
    >>> report = day.run("2h")
    >>> report["devices"]
    60
    """
    from tieline.node.notebook import Day

    return Day(devices, seed, scenario)
