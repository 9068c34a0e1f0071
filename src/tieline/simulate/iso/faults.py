"""How the ISO misbehaves: a share of batches or calls for each fault, drawn from a seed, or asked for by name."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, get_args

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tieline.errors import ConfigError

BatchFault = Literal["duplicate", "reorder", "supersede", "expire", "malformed", "late"]
CallFault = Literal["busy", "in_band", "fault"]
BATCH_FAULTS: tuple[str, ...] = get_args(BatchFault)
CALL_FAULTS: tuple[str, ...] = get_args(CallFault)


class FaultMenu(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares (0 to 1) of batches and of calls, and the constant error of the ISO's clock (s)."""

    duplicate: float = 0.0
    reorder: float = 0.0
    supersede: float = 0.0
    expire: float = 0.0
    malformed: float = 0.0
    late: float = 0.0
    busy: float = 0.0
    in_band: float = 0.0
    fault: float = 0.0
    skew_s: float = 0.0
    late_s: float = 40.0
    retry_after_s: int = 7

    def paced(self, speed: float) -> FaultMenu:
        """Return the menu of an ISO whose clock runs `speed` times as fast as that of who is to come back later.

        Its pause is a part of a dispatch interval: in the seconds of the wall it would last for several of them.

        >>> [FaultMenu().paced(speed).retry_after_s for speed in (1.0, 5.0, 60.0)]
        [7, 2, 1]
        """
        return replace(self, retry_after_s=max(math.ceil(self.retry_after_s / max(speed, 1.0)), 1))


class Faults:
    """Draws faults; those asked for by name come first, in their order."""

    def __init__(self, menu: FaultMenu, rng: np.random.Generator) -> None:
        for name in (*BATCH_FAULTS, *CALL_FAULTS):
            if not 0 <= getattr(menu, name) <= 1:
                raise ConfigError(f"$.faults.{name} = {getattr(menu, name)}: give a share from 0 to 1")
        self.menu = menu
        self._rng = rng
        self._asked: deque[str] = deque()
        self.drawn: dict[str, int] = dict.fromkeys((*BATCH_FAULTS, *CALL_FAULTS), 0)

    def ask(self, name: str) -> None:
        """Have the next batch or call go wrong in this way.

        Raises:
            ConfigError: There is no such fault.
        """
        if name not in self.drawn:
            raise ConfigError(f"fault {name!r}: give one of {', '.join(self.drawn)}")
        self._asked.append(name)

    def batch(self) -> frozenset[str]:
        """Return what goes wrong with the next batch."""
        return self._draw(BATCH_FAULTS)

    def call(self) -> frozenset[str]:
        """Return what goes wrong with the next call."""
        return self._draw(CALL_FAULTS)

    def _draw(self, names: tuple[str, ...]) -> frozenset[str]:
        found = {name for name in names if self._rng.random() < getattr(self.menu, name)}
        if self._asked and self._asked[0] in names:
            found.add(self._asked.popleft())
        for name in names:
            self.drawn[name] += name in found
        return frozenset(found)
