"""The living territory: real sockets, a paced clock, the console in front, and the story played for whoever watches."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from tieline.errors import LinkDown
from tieline.node.asked import IsoKind
from tieline.node.config import write_example
from tieline.node.market_days import MarketDays
from tieline.node.relief import grid_report
from tieline.node.report import broke, ended, losses, report
from tieline.node.settling import settle
from tieline.node.stage import Stage, raise_stage, require_devices, scenario, shown_words
from tieline.node.stage_owners import keep_owners, owners_report
from tieline.node.stage_web import stage_sources
from tieline.node.story import Story
from tieline.node.timing import Timing, clock_starts_ns, living, timing
from tieline.node.twin import Twin
from tieline.node.web import DESK_ROLES, serve_console
from tieline.rim.clock import PacedClock
from tieline.rim.supervise import Supervisor
from tieline.rim.terminal import at_enter
from tieline.store.lock import FolderLock
from tieline.store.registry import save
from tieline.times import HOUR_NS, SECOND_NS

_log = structlog.get_logger("tieline.live")


async def live(
    devices: int,
    speed: float,
    seed: int,
    scenario_name: str,
    port: int,
    say: Callable[[str], None],
    wall_s: float | None,
    iso: IsoKind = "prices",
) -> None:
    """Open a territory and serve it until cancelled, or for so many wall seconds."""
    what = scenario(scenario_name)
    require_devices(devices)
    when = living(date.fromisoformat(what.day), 11 * HOUR_NS)
    clock = PacedClock(clock_starts_ns(when.opens_ns, speed), speed)
    async with Supervisor(np.random.default_rng([seed, 91])) as supervisor:
        with tempfile.TemporaryDirectory(prefix="tieline-") as folder:
            say(f"raising {devices:,} devices on {what.day} ({what.name}), {speed:g} times as fast as the clock")
            stage = await raise_stage(
                what, devices, seed, clock, supervisor, Path(folder), speed, when.opens_ns, iso=iso
            )
            lock = _as_data_folder(stage, Path(folder))
            console = await serve_console(
                stage.node,
                "127.0.0.1",
                port,
                sources=stage_sources(stage, speed),
                people=(("operator-1", DESK_ROLES), ("operator-2", DESK_ROLES)),
                sets_password=False,
                say=say,
            )
            say(f"DNP3 outstation on 127.0.0.1:{stage.outstation.port}; Ctrl-C ends it, nothing is left behind")
            say(f"what is recorded, while it runs: tieline why pool-1 --data {folder}")
            if words := shown_words(stage.territory):
                say(f"the outstation: {words}")
            supervisor.spawn(_play(stage, when, seed, say), "story")
            try:
                with at_enter(console.doors.tell_all) as has_terminal:
                    if has_terminal:
                        say("Enter prints new one-time links; whoever signs out finds one here, too")
                    await (asyncio.sleep(wall_s) if wall_s is not None else asyncio.Event().wait())
            finally:
                await stage.node.end()
                await stage.outstation.stop()
                await console.stop()
                lock.release()


def _as_data_folder(stage: Stage, folder: Path) -> FolderLock:
    """Make a demonstration's folder one that `tieline why`, `replay` and `doctor` read, and return who holds it.

    Nobody else writes there: the verbs that do find it held, also by a server.
    """
    save(stage.territory.fleet, folder / "registry.bin")
    write_example(folder / "tieline.toml")
    return FolderLock(folder)


async def _play(stage: Stage, when: Timing, seed: int, say: Callable[[str], None]) -> None:
    keep_owners(stage, seed)
    MarketDays(stage, say).start()
    try:
        await Story(stage, when, say).play()
    except LinkDown as error:
        say(f"the story is not played: {error}")
        raise


async def play_on_wire(
    devices: int,
    seed: int,
    scenario_name: str,
    speed: float,
    duration_ns: int,
    say: Callable[[str], None],
    folder: Path,
    iso: IsoKind = "prices",
) -> dict[str, Any]:
    """Play the same story over real sockets on wall time, `speed` times as fast, and return its report."""
    what = scenario(scenario_name)
    when = timing(date.fromisoformat(what.day), duration_ns, on_wire=True)
    # Raised on a busy machine for half a minute, at 60 times its speed it would miss its first award.
    clock = PacedClock(when.opens_ns, speed, stands=True)
    async with Supervisor(np.random.default_rng([seed, 90])) as supervisor:
        stage = await raise_stage(what, devices, seed, clock, supervisor, folder, speed=speed, iso=iso)
        stage.twin = Twin(stage.world, stage.meters)
        stage.past.begin()
        clock.go()
        say(f"over real sockets for {(when.ends_ns - when.opens_ns) / SECOND_NS / speed:.0f} s of wall time")
        story, owners = Story(stage, when, say), keep_owners(stage, seed)
        await story.play()
        statement = await settle(stage, stage.day, ends=True)
        await stage.node.group.drained()  # the state is ahead of the journal by what is being written
        result = report(stage, story, statement, seed)
        result["failures"] = broke(supervisor, story.told)
        result["losses"] = losses(supervisor, stage.outstation)
        result["grid"], result["owners"] = grid_report(story.dno), owners_report(stage, owners)
        await stage.scada.close()
        await stage.outstation.stop()
        await asyncio.sleep(0.2)
        await stage.node.group.drained()
        return ended(stage, result)
