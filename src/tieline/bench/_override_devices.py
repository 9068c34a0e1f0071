"""Ten thousand SunSpec units in a process of their own, which note when each was last written to."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker, shared_memory

import numpy as np

from tieline.links.device.sunspec_models import model
from tieline.rim.clock import SystemClock
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

UNITS = 100
SUNSPEC = (1, 701, 702, 703, 704, 713)
RATED_W, CHARGES_W, STORES_WH = 5_000.0, -2_000.0, 10_000.0


@dataclass
class Battery:
    """A battery that charges until it is told otherwise."""

    power_w: float = CHARGES_W

    def read(self) -> Mapping[str, float]:
        """Return what it measures."""
        return {"power_w": self.power_w, "soc_frac": 0.5, "energy_available_wh": STORES_WH / 2}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        """Do what the inverter was told."""
        self.power_w = min(CHARGES_W if target_w != target_w else target_w, high_w)


async def serve(count: int, memory: str) -> None:
    """Serve until killed; prints the ports. `memory` is shared: when each unit was last written to (monotonic ns)."""
    shared = shared_memory.SharedMemory(memory)
    resource_tracker.unregister(shared._name, "shared_memory")  # type: ignore[attr-defined]  # it is the parent's
    written_ns = np.ndarray((count,), np.int64, shared.buf)
    models = {number: model(number) for number in SUNSPEC}
    clock, ports = SystemClock(), []
    for first in range(0, count, UNITS):
        devices = {
            unit: SunSpecDevice(Battery(), RATED_W, STORES_WH, models, clock)
            for unit in range(1, min(UNITS, count - first) + 1)
        }
        server = SunSpecServer(devices)

        def note(unit: int, first: int = first) -> None:
            written_ns[first + unit - 1] = time.monotonic_ns()

        server.on_write = note
        await server.start()
        ports.append(server.port)
    print(*ports, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
