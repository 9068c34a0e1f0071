"""Lived afternoons of awards: what was said to be likely at each minute, which alarms stood, and what was delivered."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from tieline.desk import opting
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.ports import Ask
from tieline.desk.tracking import BY_ISO
from tieline.errors import LinkDown
from tieline.ids import derive
from tieline.node.demo import quiet
from tieline.node.reader import NodeReader
from tieline.node.stage import POOL, SCENARIOS, Scenario, Stage, raise_stage
from tieline.node.stage_web import stage_sources
from tieline.node.story import Story
from tieline.node.timing import Timing, living
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.faults import FaultMenu
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, iso

NONE = "none"
"""The day of `comms-loss` without its scenes and without faults: nobody intervenes."""
OUT_S = 105 * 60.0
"""When owners opt out, after the opening at 13:29: a quarter past three, in an award."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a look at a desk told of one award: when (ns), its power, and of its rest what the market asks by then and
    what is likely (W, means)."""

    at_ns: int
    start_ns: int
    end_ns: int
    award_w: float
    asked_w: float
    likely_w: float
    low_w: float
    high_w: float


@dataclass(frozen=True, slots=True)
class Stood:
    """Which alarms a look found: the award that `likely` names (its start, ns; None: it doesn't stand), whether it was
    held back as another tells of it, and whether an award that lacks already was told."""

    at_ns: int
    names_ns: int | None
    is_held_back: bool
    is_short: bool


@dataclass(frozen=True, slots=True)
class Tracked:
    """One interval of five minutes as settlement counts it (W, amounts in the award's direction)."""

    start_ns: int
    end_ns: int
    asked_w: float
    gave_w: float


@dataclass(frozen=True, slots=True)
class Day:
    """An afternoon: what was said, which alarms stood, and what came."""

    scenario: str
    seed: int
    out_frac: float
    said: Sequence[Said]
    stood: Sequence[Stood]
    came: Sequence[Tracked]


def lived(name: str, devices: int, seed: int, hours: float, out_frac: float = 0.0, look_s: float = 60.0) -> Day:
    """Live through an afternoon that opens at 13:29; a share of the owners opts out at a quarter past three.

    Args:
        name: A scenario of the demo, or `NONE`.
        devices: How many.
        seed: Of the territory and of all that happens.
        hours: How long it is lived.
        out_frac: Which share of the owners, 0 to 1.
        look_s: How often the desk is looked at.
    """
    quiet()
    what = SCENARIOS.get(name) or Scenario(
        NONE, SCENARIOS["comms-loss"].day, SCENARIOS["comms-loss"].climate, FaultMenu()
    )
    length_ns = round(hours * HOUR_NS)
    when = living(date.fromisoformat(what.day), length_ns)
    if name == NONE:
        when = replace(when, disturb_ns=when.ends_ns)  # what comes after the end isn't played, nor what would follow it

    async def main(loop: VirtualLoop) -> Day:
        clock = VirtualClock(loop, when.opens_ns)
        with tempfile.TemporaryDirectory() as folder:
            async with Supervisor(np.random.default_rng([seed, 90])) as supervisor:
                stage = await raise_stage(what, devices, seed, clock, supervisor, Path(folder), is_thrown_away=True)
                supervisor.spawn(_play(stage, when), "story")
                return await _watch(stage, when, name, seed, out_frac, look_s)

    return run_virtual(main)


async def _play(stage: Stage, when: Timing) -> None:
    with suppress(LinkDown):
        await Story(stage, when, lambda line: None).play()


async def _watch(stage: Stage, when: Timing, name: str, seed: int, out_frac: float, look_s: float) -> Day:
    reader, node, rng = NodeReader(stage.node, stage_sources(stage)), stage.node, np.random.default_rng([seed, 3])
    said, stood, is_out = list[Said](), list[Stood](), out_frac <= 0.0
    while (now_ns := node.clock.now_ns()) < when.ends_ns - 2 * MINUTE_NS:
        if not is_out and now_ns >= when.opens_ns + round(OUT_S * SECOND_NS):
            is_out = True
            for row in np.flatnonzero(rng.random(len(node.state.fleet)) < out_frac).tolist():
                wish = opting.ask_out(node.state, node.state.fleet.id_of(row), "the owner", now_ns)
                if isinstance(wish, Ask):
                    await node.desk.ask(wish)
        stood.append(_stood(reader, now_ns))
        for one in reader.overview().commitments:
            if one.likely_w is not None and one.low_w is not None and one.high_w is not None:
                asked_w = one.power_w - one.lacks_w.get(BY_ISO, 0.0)
                said.append(
                    Said(
                        now_ns, one.start_ns, one.end_ns, one.power_w, asked_w, one.likely_w, one.low_w, one.high_w,
                    )
                )  # fmt: skip
        await asyncio.sleep(look_s)
    await node.group.drained()
    came = [
        Tracked(each.start_ns, each.end_ns, abs(each.asked_w), math.copysign(1.0, each.asked_w) * each.delivered_w)
        for each in (from_record(record) for record in node.journal.of_kind("IntervalTracked", after_seq=0))
        if isinstance(each, IntervalTracked) and each.pool == POOL and abs(each.asked_w) > 0.0
    ]
    node.journal.close()
    return Day(name, seed, out_frac, said, stood, came)


def _stood(reader: NodeReader, now_ns: int) -> Stood:
    alarms, likely = reader.alarms(), derive("alarm", "likely", POOL)
    names_ns: int | None = None
    owed = reader.overview().commitments
    for alarm in alarms:
        if alarm.title.startswith("Likely to give"):
            starts = (one.start_ns for one in owed if _named(alarm.title, one.start_ns, one.end_ns))
            names_ns = next(starts, 0)
    held = any(one.alarm.id == likely and one.how == "by_cause" for one in reader.suppressed())
    return Stood(now_ns, names_ns, held, any(each.title.startswith("Delivered") for each in alarms))


def _named(title: str, start_ns: int, end_ns: int) -> bool:
    return f"from {iso(start_ns)}" in title or f"until {iso(end_ns)}" in title
