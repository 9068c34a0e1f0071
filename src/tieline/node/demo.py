"""`tieline demo`: the story of a day without a screen, on virtual time or over real sockets."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from tieline.errors import ConfigError
from tieline.node.asked import MOST_SPEED, MOST_SPEED_ON_WIRE, IsoKind, require_speed
from tieline.node.asked import parse_duration as parse_duration
from tieline.node.config import write_example
from tieline.node.frame import write_resources
from tieline.node.plain import finite
from tieline.node.relief import grid_report
from tieline.node.report import broke, ended, losses, report
from tieline.node.settling import settle
from tieline.node.stage import raise_stage, scenario, shown_words
from tieline.node.stage_owners import keep_owners, owners_report
from tieline.node.story import Story
from tieline.node.timing import timing
from tieline.node.waiting import Waiting
from tieline.rim import heap
from tieline.rim.supervise import Supervisor
from tieline.simulate.faults import STREAM_FAULTS, faulty_route
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.store.registry import save
from tieline.times import HOUR_NS

ASIDE_NS = 12 * HOUR_NS
"""Of a shorter story the twin moves in line, and so on: to begin a process costs more than what it saves."""


def quiet(least: int = logging.ERROR) -> None:
    """Let only what is `least` or worse reach standard error, one plain line each.

    A demonstration makes faults on purpose, which warnings would tell of; a server tells of them.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(least),
        processors=[structlog.processors.add_log_level, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(file=__import__("sys").stderr),
    )


def run_headless(
    devices: int,
    seed: int,
    scenario_name: str,
    duration_ns: int,
    say: Callable[[str], None],
    folder: Path | None = None,
    iso: IsoKind = "prices",
) -> dict[str, Any]:
    """Play the story on virtual time and return its report; a day or more opens on its eve, less in its afternoon."""
    what = scenario(scenario_name)
    when = timing(date.fromisoformat(what.day), duration_ns)
    seen: Counter[str] = Counter()

    async def main(loop: VirtualLoop) -> dict[str, Any]:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng([seed, 90])) as supervisor:
            with tempfile.TemporaryDirectory() as temporary:
                home = folder or Path(temporary)
                home.mkdir(parents=True, exist_ok=True)
                if (home / "journal.db").exists():
                    raise ConfigError(f"--data {home}: holds a journal already: give a new folder")
                waiting = Waiting()
                supervisor.at_end(waiting.end)
                if duration_ns >= ASIDE_NS:
                    waiting.begin()
                say(f"raising {devices:,} devices on {what.day} ({what.name})")
                stage = await raise_stage(
                    what, devices, seed, clock, supervisor, home, is_thrown_away=folder is None, iso=iso
                )
                stage.past.begin()
                stage.twin = waiting.twin(stage.world, stage.meters)
                along = waiting.reads_along(stage, home / "journal.db")
                if words := shown_words(stage.territory):
                    say(f"the outstation: {words}")
                save(stage.territory.fleet, home / "registry.bin")
                write_example(home / "tieline.toml")
                story, owners = Story(stage, when, say), keep_owners(stage, seed)
                await story.play()
                statement = await settle(stage, stage.day, ends=True)
                await stage.node.group.drained()
                result = report(stage, story, statement, seed)
                result["failures"], result["losses"] = (
                    broke(supervisor, story.told),
                    losses(supervisor, stage.outstation),
                )
                result["grid"], result["owners"] = grid_report(story.dno), owners_report(stage, owners)
                result["faults"] = {"devices": dict(stage.link.seen), "streams": dict(seen)}
                if folder is not None:
                    write_resources(stage.node.state, clock.now_ns(), home / "resources.parquet")
                await stage.scada.close()
                await stage.outstation.stop()
                await asyncio.sleep(1)
                await stage.node.group.drained()  # what devices answered last is recorded, too
                result = ended(stage, result, along)
                stage.node.journal.close()
                return dict(finite(result))

    with heap.seldom():
        return run_virtual(main, Network(faulty_route(STREAM_FAULTS[what.name], seed, seen)))


def run_live(
    devices: int,
    speed: float,
    seed: int,
    scenario_name: str,
    port: int,
    wall_s: float | None = None,
    iso: IsoKind = "prices",
) -> None:
    """Open the territory over real sockets; ends with Ctrl-C or SIGTERM, or after so many wall seconds."""
    import uvloop

    from tieline.node.live import live
    from tieline.node.serve import until_told

    require_speed(speed, MOST_SPEED)
    try:
        uvloop.run(until_told(live(devices, speed, seed, scenario_name, port, partial(print, flush=True), wall_s, iso)))
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror or error}: give a free port, or 0 to pick one") from None


def run_wire(
    devices: int,
    seed: int,
    scenario_name: str,
    speed: float,
    duration_ns: int,
    say: Callable[[str], None],
    iso: IsoKind = "prices",
) -> dict[str, Any]:
    """Play the story over real sockets on wall time and return its report."""
    import uvloop

    from tieline.node.live import play_on_wire

    require_speed(speed, MOST_SPEED_ON_WIRE)
    with tempfile.TemporaryDirectory() as folder:
        played = play_on_wire(devices, seed, scenario_name, speed, duration_ns, say, Path(folder), iso)
        return dict(finite(uvloop.run(played)))
