"""What of a long story is done beside it, in processes of their own: nobody waits for it, or hardly ever."""

from __future__ import annotations

from pathlib import Path

from tieline.node.metering import Meters
from tieline.node.promises_replay import ReadsAlong
from tieline.node.rebuilt import Law
from tieline.node.replay_aside import ReplayAside
from tieline.node.stage import Stage
from tieline.node.twin import Leaving, Twin
from tieline.node.twin_aside import TwinAside
from tieline.rim.aside import Aside
from tieline.simulate.grid_aside import GridAside
from tieline.simulate.world import World

EVERY_BEATS = 10
"""After so many beats who reads along is told how far the journal has come."""


class Waiting:
    """Processes that wait for the world they serve: begun early, they are there when the story opens."""

    def __init__(self) -> None:
        self._twin: Aside | None = None
        self._grid: Aside | None = None
        self._replay: Aside | None = None

    def begin(self) -> None:
        """Begin the processes; what has none is done in line."""
        self._twin = Aside.begun("tieline.node.twin_aside", "the twin's")
        self._grid = Aside.begun("tieline.simulate.grid_aside", "the grid's")
        self._replay = Aside.begun("tieline.node.replay_aside", "the replay's")

    def twin(self, world: World, meters: Meters) -> Leaving:
        """Return the twin of a world from here on; its grid is solved aside from here on, too."""
        twin = Twin(world, meters) if self._twin is None else TwinAside(self._twin, world, meters)
        if self._grid is not None and world.network is not None:
            world.solved.aside(GridAside(self._grid, world.network))
        return twin

    def reads_along(self, stage: Stage, path: Path) -> ReadsAlong | None:
        """Return who replays the journal of a stage (at `path`) while it grows; None: nobody does."""
        if self._replay is None:
            return None
        place, node = stage.territory, stage.node
        along = ReplayAside(self._replay, place.fleet, Law(place.jurisdiction), path)

        async def follow() -> None:
            if node.cycle.beats % EVERY_BEATS == 0:
                along.follow(node.journal.last_seq)

        node.after_beat.append(follow)
        return along

    async def end(self) -> None:
        """End the processes."""
        begun, self._twin, self._grid, self._replay = (self._twin, self._grid, self._replay), None, None, None
        for aside in begun:
            if aside is not None:
                aside.end()
