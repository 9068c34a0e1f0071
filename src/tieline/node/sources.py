"""What a node can't know by itself, and the console shows all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tieline.grid.feeder import FeederModel
from tieline.node.certificates import Certificate
from tieline.node.read_effects import WhatIf
from tieline.node.read_fleet import GridReading


@dataclass
class Sources:
    """What a node can't know by itself; each may be left out."""

    utility: str = "Tieline"
    setting: str = "LIVE"
    zone: str = "UTC"
    speed: float = 1.0
    above: str = "substation-1"
    models: Mapping[str, FeederModel] = field(default_factory=dict)
    grid: Callable[[], Mapping[str, GridReading]] = dict
    forecast: Callable[[], Mapping[int, float]] = dict
    gate_ns: Callable[[], int | None] = lambda: None
    what_if: WhatIf | None = None
    certificates: Sequence[Certificate] = ()
