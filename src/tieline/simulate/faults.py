"""How communication fails: menus of faults for device messages and for streams, drawn from a seed.

A stream (TCP) keeps its order whatever happens; what it can suffer is delay, a stall whose bytes all come at the end
of it, a cut, and the half-open state in which one side talks to nobody. Messages to single devices can also be lost,
doubled, overtaken, or held somewhere on the way and let go when they are stale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.simulate.network import Path


class DeviceFaults(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares (0 to 1) of devices, and of messages, that go wrong.

    Of devices: `ignores` what they accept, keep `no_timer`, go `out_of_reach` in a disturbance and come back with
    nothing remembered (`reboots`, of those). Of messages: `lost`, `late`, `doubled`, `overtaken` by the next, their
    answer lost (`mute`), or `held` while out of reach and let go at its end. `skew_s`: spread of the devices' clocks.
    """

    ignores: float = 0.0
    no_timer: float = 0.0
    out_of_reach: float = 0.0
    reboots: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    late_s: float = 20.0
    doubled: float = 0.0
    overtaken: float = 0.0
    mute: float = 0.0
    held: float = 0.0
    skew_s: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            most = math.inf if name.endswith("_s") else 1.0
            if not 0.0 <= value <= most:
                raise ConfigError(f"fault {name}={value:g}: give 0 to {most:g}")


class StreamFaults(Struct, frozen=True, forbid_unknown_fields=True):
    """Mean delay beyond `latency_s` (s), and the chances a write of a stall, of a cut, and of going half-open."""

    latency_s: float = 0.002
    jitter_s: float = 0.0
    stall: float = 0.0
    stall_s: float = 20.0
    cut: float = 0.0
    half_open: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            most = math.inf if name.endswith("_s") else 1.0
            if not 0.0 <= value <= most:
                raise ConfigError(f"fault {name}={value:g}: give 0 to {most:g}")


_ORDINARY = DeviceFaults(
    ignores=0.004, no_timer=0.004, out_of_reach=0.01, reboots=0.3, lost=0.002, late=0.05, doubled=0.005,
    overtaken=0.005, mute=0.001, held=0.2, skew_s=1.0,
)  # fmt: skip
DEVICE_FAULTS = {
    "none": DeviceFaults(),
    "heatwave": _ORDINARY,
    "cloud": _ORDINARY,
    "comms-loss": DeviceFaults(
        ignores=0.01, no_timer=0.01, out_of_reach=0.15, reboots=0.3, lost=0.02, late=0.2, doubled=0.02,
        overtaken=0.03, mute=0.01, held=0.5, skew_s=3.0,
    ),
}  # fmt: skip
STREAM_FAULTS = {
    "none": StreamFaults(),
    "heatwave": StreamFaults(jitter_s=0.005, stall=2e-4, stall_s=5.0, cut=2e-5),
    "cloud": StreamFaults(jitter_s=0.005, stall=2e-4, stall_s=5.0, cut=2e-5),
    "comms-loss": StreamFaults(jitter_s=0.05, stall=1e-3, stall_s=20.0, cut=3e-4, half_open=5e-5),
}


DRAWN = 32


class FaultyPath:
    """One connection's path: what each write on it suffers is drawn when it is written."""

    def __init__(self, menu: StreamFaults, rng: np.random.Generator, seen: Counter[str]) -> None:
        self._menu, self._rng, self._seen = menu, rng, seen
        self._draws: list[float | tuple[float, float]] = []
        self._upset = menu.half_open + menu.cut + menu.stall

    def delay_s(self, now_s: float, size: int) -> float | None:
        """Return how long these bytes take (s); `inf`: they and all after them never arrive; None: it is cut."""
        if not self._draws:
            self._draw()
        drawn = self._draws.pop()
        if isinstance(drawn, float):
            return drawn
        menu, (draw, delay) = self._menu, drawn
        if size == 0:  # the handshake: only delayed
            return delay
        if draw < menu.half_open:
            self._seen["half_open"] += 1
            return math.inf
        if draw < menu.half_open + menu.cut:
            self._seen["cut"] += 1
            return None
        self._seen["stall"] += 1
        return delay + float(self._rng.exponential(menu.stall_s))

    def _draw(self) -> None:
        """Draw many at once, as a day has half a million: a delay alone where nothing else goes wrong."""
        random, jitter_s = self._rng.random(DRAWN), self._rng.exponential(self._menu.jitter_s, DRAWN)
        delays_s = (self._menu.latency_s + jitter_s).tolist()
        self._draws = [
            delay if draw >= self._upset else (draw, delay)
            for draw, delay in zip(random.tolist(), delays_s, strict=True)
        ]


def faulty_route(menu: StreamFaults, seed: int, seen: Counter[str]) -> Callable[[str, int], Path]:
    """Return what gives each new connection a path of its own, drawn from the seed; `seen` counts what happened."""
    made = 0

    def route(host: str, port: int) -> Path:
        nonlocal made
        made += 1
        return FaultyPath(menu, np.random.default_rng([seed, 77, made]), seen)

    return route
