"""What the meters of a stage saw in the days before it opened, which its baselines are made of.

Nobody asks for it before a day is settled, and it is a twentieth of what a simulated day costs. So a process of its own
meters it beside the story, in a world of the same seed; where none can be begun, it is metered when it is asked for.
"""

from __future__ import annotations

import io
import subprocess
import sys

import msgspec
import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from tieline.contract.eligibility import enrol
from tieline.fleet.columns import KINDS
from tieline.node.metering import Meters
from tieline.simulate.history import history_w
from tieline.simulate.sky import Climate
from tieline.simulate.territory import build
from tieline.simulate.world import World

_log = structlog.get_logger("tieline.past")
Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
DAYS, STEP_S = 15, 300
"""Ten like days are among so many, with a weekend or two and a holiday."""


def warm_up(world: World, opens_ns: int) -> None:
    """Run a world freely for the day before it opens, so that rooms, tanks and stores stand as after any other."""
    history_w(world, opens_ns, 1, STEP_S, STEP_S)


class Past(Struct, frozen=True):
    """Which days: so many of a territory of so many devices and a seed, under a climate, up to an instant."""

    devices: int
    seed: int
    climate: Climate
    ends_ns: int
    days: int = DAYS

    def metered(self) -> tuple[Instants, Floats]:
        """Return the start of each interval (ns) and the mean of each meter over it (W); shapes (n,) and (n, 3)."""
        territory = build(self.devices, np.random.default_rng([self.seed, 0]))
        kinds = np.array([kind.value for kind in KINDS])[territory.fleet.kinds]
        eligible = enrol(kinds, territory.fuel, territory.jurisdiction, "energy").may_serve
        world = World(territory, np.random.default_rng([self.seed, 1]), self.climate)
        return history_w(world, self.ends_ns, self.days, STEP_S, STEP_S, Meters.of(territory, eligible).read)


class Metering:
    """A past that a process of its own meters beside whatever else goes on; `end` it where nobody asks for it."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Begin to meter; does nothing where it goes on already or no process can be begun."""
        if self._child is not None or not sys.executable:
            return
        asked = msgspec.json.encode(self._past).decode()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tieline.node.past", asked], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            _log.info("the past is metered in line", why=str(error))

    def metered(self) -> tuple[Instants, Floats]:
        """Return what `Past.metered` does, once it is there."""
        self.begin()
        child, self._child = self._child, None
        if child is not None:
            with child:
                found, _ = child.communicate()
            if child.returncode == 0:
                with np.load(io.BytesIO(found), allow_pickle=False) as arrays:
                    return arrays["starts"], arrays["watts"]
            _log.info("the past is metered in line", code=child.returncode)
        return self._past.metered()

    async def end(self) -> None:
        """Stop metering."""
        child, self._child = self._child, None
        if child is not None:
            with child:
                child.kill()


def main(asked: str) -> None:
    """Meter the past that is asked for (JSON), and write it to standard output."""
    starts, watts = msgspec.json.decode(asked, type=Past).metered()
    np.savez(sys.stdout.buffer, starts=starts, watts=watts)


if __name__ == "__main__":
    main(sys.argv[1])
