"""What was decided reads the same on every screen of a desk that was rebuilt from its journal, whatever the story."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from copy import copy, deepcopy
from dataclasses import fields
from pathlib import Path

import msgspec
import numpy as np
import pytest
from living_stage import live

from sampled import some
from tieline.desk.programs import EventState
from tieline.desk.screens import AskLimit, ComposeEvent, OwnerLimit
from tieline.desk.state import DeskState
from tieline.fleet.ledger import Ledger
from tieline.fleet.pooled import capacity_of
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import replayed
from tieline.node.stage import Stage
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.simulate.loop import VirtualClock
from tieline.times import MINUTE_NS

MEASURED = {
    "base_w", "missed_until_ns", "reach_frac", "rebounds_until_ns", "responses", "idle_ns", "held_ns", "charges",
    "cycles", "suns", "strays", "withheld", "health", "limiter",
}  # fmt: skip
"""Learnt anew from what is read."""
GIVEN = {"fleet", "selects", "carries", "enrolments", "agreed", "two_people", "counted", "ahead_ns", "is_switched"}
"""By the registry, the settings and the links, or a lease of seconds."""
NO_STATE = {"claims", "ledger", "inherited"}
"""Compared by what they hold; or of a run alone."""
STEPS = 14


def rebuilt(live_state: DeskState, stage: Stage) -> DeskState:
    """Return what the journal alone tells, with what is measured and given as it is on the running desk."""
    fleet = live_state.fleet
    ledger = Ledger()
    for name, rows in ((group.id, fleet.leaves(group.id)) for group in fleet.groups_of(Kind.POOL)):
        ledger.set_capacity(name, capacity_of(fleet, rows[stage.eligible[rows]]))
    again = replayed(fleet, ledger, stage.node.journal)
    for name in MEASURED | GIVEN:
        setattr(again, name, getattr(live_state, name))
    again.claims.set_local(live_state.claims.is_local)
    again.claims.expire(stage.node.clock.now_ns())
    live_state.claims.expire(stage.node.clock.now_ns())
    return again


def reader_of(reader: NodeReader, state: DeskState) -> NodeReader:
    """Return a reader of a rebuilt state, beside the running one."""
    node = copy(reader.node)
    node.after_beat = []
    node.desk = copy(node.desk)
    node.desk.state = state
    made = NodeReader(node, reader.sources, reader.journal)
    made._order, made._grid, made._samples, made.hours = reader._order, reader._grid, reader._samples, reader.hours
    made._book = deepcopy(reader._book)  # what has stood for how long, as seen
    made._commitments, made._tracked, made._exposure = reader._commitments, reader._tracked, reader._exposure
    return made


def screens(reader: NodeReader) -> dict[str, object]:
    """Return every screen of a desk; an alarm's age is that of what is seen."""
    state = reader.node.state
    names = [*state.fleet.ids, *(group.id for group in state.fleet.groups if len(state.fleet.leaves(group.id)))]
    found: dict[str, object] = {f"resource {name}": reader.resource(name) for name in names}
    found |= {f"feeder {group.id}": reader.feeder(group.id) for group in state.fleet.groups_of(Kind.FEEDER)}
    found |= {f"event {view.id}": view for view in reader.events()}
    found |= {f"alarm {view.id}": msgspec.structs.replace(view, since_ns=0) for view in reader.alarms()}
    found |= {"overview": reader.overview(), "market": reader.market(), "settlement": reader.settlement()}
    return found | {"fleet": reader.fleet(), "shell": reader.shell()}


def differing(one: object, other: object, where: str) -> Iterator[str]:
    """Yield where two views differ, and in what."""
    if isinstance(one, msgspec.Struct) and type(one) is type(other):
        for name in one.__struct_fields__:
            yield from differing(getattr(one, name), getattr(other, name), f"{where}.{name}")
    elif not np.array_equal(np.asarray(one, object), np.asarray(other, object)) and repr(one) != repr(other):
        yield f"{where}: {one!r} live, {other!r} replayed"


def held(state: DeskState) -> dict[str, object]:
    """Return all that a state holds of what was decided, in words."""
    found = {
        each.name: getattr(state, each.name) for each in fields(state) if each.name not in MEASURED | GIVEN | NO_STATE
    }
    found["claims"], found["ledger"] = state.claims.digest(), state.ledger.digest()
    with np.printoptions(threshold=10**6, precision=17):
        return {name: repr(value) for name, value in found.items()}


class Teller:
    """Somebody at a desk who does one thing after the other, as drawn."""

    def __init__(self, seed: int, stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        self.drawn, self.stage, self.operator, self.clock = random.Random(seed), stage, operator, clock
        fleet = stage.node.state.fleet
        self.pool = fleet.groups_of(Kind.POOL)[0].id
        self.feeders = [group.id for group in fleet.groups_of(Kind.FEEDER) if len(fleet.leaves(group.id))]
        self.sites = [group.id for group in fleet.groups_of(Kind.SITE) if len(fleet.leaves(group.id))]
        self.out: list[str] = []

    async def does(self, what: str = "") -> str:
        """Do one thing (empty: any), and return which."""
        what = what or self.drawn.choice(
            ["event", "event", "out", "out", "called out", "in", "cancel", "limit", "limit", "release", "owner's"]
        )
        await getattr(self, what.replace("'s", "").replace(" ", "_") + "_")()
        return what

    async def event_(self) -> None:
        start_ns = self.clock.now_ns() + self.drawn.randint(0, 4) * MINUTE_NS
        power_w = self.drawn.choice([1, 1, -1]) * self.drawn.uniform(2e3, 3e4)
        group = self.drawn.choice([self.pool, *self.feeders])
        wish = ComposeEvent(
            "demand_response", group, start_ns, start_ns + self.drawn.randint(3, 40) * MINUTE_NS, power_w,
            self.drawn.choice(["share", "merit"]),
        )  # fmt: skip
        made = await self.operator.compose(wish, "ann")
        if isinstance(made, Refusal):
            return
        for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "ben"))[: self.drawn.choice([1, 2, 2, 2])]:
            await self.operator.advance(made.id, to.value, by)

    async def out_(self, names: list[str] | None = None) -> None:
        fleet = self.stage.node.state.fleet
        name = self.drawn.choice(names or [*fleet.ids, *self.sites])
        if not isinstance(await self.operator.opt(name, True, "owner"), Refusal):
            self.out.append(name)

    async def called_out_(self) -> None:
        state = self.stage.node.state
        rows = [
            row for batch, alive in state.claims.batches() if batch.source == "program" for row in batch.rows[alive]
        ]
        await self.out_([state.fleet.id_of(int(row)) for row in rows])

    async def in_(self) -> None:
        if self.out:
            await self.operator.opt(self.out.pop(self.drawn.randrange(len(self.out))), False, "owner")

    async def cancel_(self) -> None:
        events = self.stage.node.state.events
        if events:
            await self.operator.advance(self.drawn.choice(list(events)), EventState.CANCELED.value, "ben")

    async def limit_(self) -> None:
        high_w = self.drawn.uniform(-2e4, 2e4)
        ask = AskLimit(high_w - self.drawn.uniform(0, 8e4), high_w, self.drawn.randint(2, 40), "a line is down")
        await self.operator.limit(self.drawn.choice([self.pool, *self.feeders, *self.sites]), ask, "ann with ben")

    async def release_(self) -> None:
        await self.operator.release(self.drawn.choice([self.pool, *self.feeders, *self.sites]), "ann")

    async def owner_(self) -> None:
        fleet = self.stage.node.state.fleet
        row = self.drawn.randrange(len(fleet))
        ends = -float(fleet.max_absorb_w[row]) / 2, float(fleet.max_inject_w[row]) / 2
        await self.operator.owner_limit(fleet.id_of(row), self.drawn.choice([OwnerLimit(*ends), None]), "owner")


@pytest.mark.parametrize("seed", some(range(12), 2))
def test_a_rebuilt_desk_shows_what_the_running_one_does(tmp_path: Path, seed: int) -> None:
    faults: list[str] = []

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        teller, reader, state = Teller(seed, stage, operator, clock), operator._reader, stage.node.state
        await asyncio.sleep(300)
        for step in range(STEPS):
            what = await teller.does("event" if step < 2 else "")
            await asyncio.sleep(teller.drawn.choice([0.5, 7, 31, 60, 180]))
            await stage.node.desk.flush()
            await stage.node.group.drained()
            again = rebuilt(state, stage)
            one, other = held(state), held(again)
            faults.extend(
                f"after {step} {what}: state.{name}: {one[name]} live, {other[name]} replayed"
                for name in one if one[name] != other[name]
            )  # fmt: skip
            reader._kept.views.clear()
            shown, told = screens(reader), screens(reader_of(reader, again))
            for name in sorted({*shown, *told}):
                found = differing(shown.get(name), told.get(name), name)
                faults.extend(f"after {step} {what}: {each}" for each in found)
            if faults:
                return
        assert state.events

    live(tmp_path, scene)
    assert not faults, "\n".join(fault[:1000] for fault in faults[:10])
