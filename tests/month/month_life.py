"""A month of a territory on virtual time: sold and called each day, with faults, limits, events and opt-outs by seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from month_truth import Standing, Truth

from tieline.desk.ports import Ask, Granted
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent, OwnerLimit
from tieline.errors import LinkDown, PeerError
from tieline.node.market_days import MarketDays, offered, offers_of
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.relief import Dno, firmly, is_taken
from tieline.node.stage import POOL, Stage, begins_ns, raise_stage, scenario
from tieline.node.stage_owners import keep_owners
from tieline.node.stage_web import stage_sources
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.simulate.faults import STREAM_FAULTS, faulty_route
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.simulate.territory import GENERATION
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

OWNED = (Kind.BATTERY, Kind.HYBRID_SITE, Kind.PV, Kind.EV_CHARGER, Kind.THERMOSTAT, Kind.WATER_HEATER)
"""Kinds whose owners limit them: of these every power down to 0 can be kept."""
Act = Callable[[], Awaitable[str]]


@dataclass
class Lived:
    """What came of it."""

    truth: Truth
    did: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    records: int = 0


class Life:
    """Draws what happens on each day, and does it."""

    def __init__(self, stage: Stage, operator: NodeOperator, truth: Truth, rng: np.random.Generator) -> None:
        self.stage, self.operator, self.truth, self._rng = stage, operator, truth, rng
        self.did: Counter[str] = Counter()
        self._limits = 0

    def draw(self, rng: np.random.Generator, opens_ns: int, days: int) -> list[tuple[int, Act]]:
        """Return what is done when, in order; what begins within the last two hours is left out.

        From a stream of its own: so the first days of a month are those of a shorter one.
        """
        acts: list[tuple[int, Act]] = []
        for day in range(days):
            for act, hours, count in (
                (self._disturb, (0, 24), 3), (self._opt_out, (6, 24), 3), (self._owner_limit, (6, 24), 3),
                (self._generation, (8, 18), 1), (self._feeder, (0, 24), 2), (self._event, (13, 20), 1),
            ):  # fmt: skip
                for _ in range(count):
                    at_ns = opens_ns + day * DAY_NS + int(rng.uniform(*hours) * HOUR_NS) + 90 * MINUTE_NS
                    acts.append((at_ns // SECOND_NS * SECOND_NS, act))
        ends_ns = opens_ns + days * DAY_NS - 2 * HOUR_NS
        return sorted(((at_ns, act) for at_ns, act in acts if at_ns < ends_ns), key=lambda each: each[0])

    async def live(self, acts: list[tuple[int, Act]]) -> None:
        """Do each at its time, beside each other; a line that is down then leaves it undone, which is counted."""
        for at_ns, act in acts:
            await self._until(at_ns)
            self.stage.node.supervisor.spawn(self._do(act), "life")

    async def _do(self, act: Act) -> None:
        try:
            self.did[await act()] += 1
        except (LinkDown, PeerError) as error:
            self.did[f"not done: {type(error).__name__}"] += 1

    async def _until(self, instant_ns: int) -> None:
        await asyncio.sleep(max(instant_ns - self.stage.node.clock.now_ns(), 0) / SECOND_NS)

    def _seconds(self, low_min: float, high_min: float) -> float:
        return float(self._rng.uniform(low_min, high_min)) * 60.0

    # --- faults, owners ---------------------------------------------------------------------------------------------

    async def _disturb(self) -> str:
        """The unsteady devices lose their line for a while; who lost it already stays so."""
        if self.stage.link.is_lost.any():
            return "disturbed already"
        self.stage.link.disturb(True)
        await asyncio.sleep(self._seconds(10, 90))
        self.stage.link.disturb(False)
        return "disturbance"

    async def _opt_out(self) -> str:
        """An owner takes out a device that is called, or any where none is, and back in after hours."""
        state, now_ns = self.stage.node.state, self.stage.node.clock.now_ns()
        called = np.flatnonzero(np.isfinite(state.commands.target_w) & ~state.opted_out)
        row = int(self._rng.choice(called if len(called) else np.flatnonzero(~state.opted_out)))
        resource = state.fleet.id_of(row)
        if not isinstance(await self.operator.opt(resource, True, "ann"), Granted):
            return "an opt-out that was refused"
        ends_s = self._seconds(60, 360)
        self.truth.out[row] = now_ns, now_ns + int(ends_s * SECOND_NS)
        await asyncio.sleep(ends_s)
        await self.operator.opt(resource, False, "ann")
        return "opt-out"

    async def _owner_limit(self) -> str:
        """An owner limits his device to a part of what it can do, and takes that back after hours."""
        state, fleet = self.stage.node.state, self.stage.territory.fleet
        rows = np.concatenate([self.stage.world.rows[kind] for kind in OWNED])
        row = int(self._rng.choice(np.setdiff1d(rows, list(self.truth.limited))))
        low_w, high_w = -float(fleet.max_absorb_w[row]), float(fleet.max_inject_w[row])
        part = float(self._rng.choice([0.0, 0.3, 0.6]))
        now_w = float(self.stage.world.power_w[row])
        ends = (part * low_w, high_w) if now_w < 0 or high_w == 0 else (low_w, part * high_w)
        resource, since_ns = state.fleet.id_of(row), self.stage.node.clock.now_ns()
        if not isinstance(await self.operator.owner_limit(resource, OwnerLimit(*ends), "ann"), Granted):
            return "an owner's limit that was refused"
        self.truth.limited[row] = Standing(resource, *ends, since_ns)
        await asyncio.sleep(self._seconds(60, 240))
        del self.truth.limited[row]
        await self.operator.owner_limit(resource, None, "ann")
        return "owner's limit"

    # --- the grid's operator, programs ------------------------------------------------------------------------------

    async def _generation(self) -> str:
        """The control room limits what a feeder's devices give, over DNP3, and cancels it."""
        stage, group = self.stage, str(self._rng.choice(self.stage.territory.feeders)) + GENERATION
        if f"dnp3 {group}" in self.truth.groups:
            return "limited already"
        rows = stage.territory.fleet.leaves(group)
        absorb_w = float(np.ceil(stage.territory.fleet.max_absorb_w[rows].sum()))
        giving_w = float(np.maximum(stage.world.power_w[rows], 0.0).sum())
        high_w = float(self._rng.choice([0.0, 0.3, 0.7])) * giving_w
        at = stage.group_at(group)
        since_ns, statuses = await firmly(stage, lambda: stage.scada.limit(at, -absorb_w, high_w, select=True))
        if not is_taken(statuses):
            return "a limit that the outstation refused"
        self.truth.groups[f"dnp3 {group}"] = Standing(group, -np.inf, high_w, since_ns, gives=True)
        await asyncio.sleep(self._seconds(30, 150))
        del self.truth.groups[f"dnp3 {group}"]
        await firmly(stage, lambda: stage.scada.cancel(at))
        return "limit on generation over DNP3"

    async def _feeder(self) -> str:
        """Another control room limits what a feeder's devices draw, or give, for an hour or two: a lease that ends."""
        stage, feeder = self.stage, str(self._rng.choice(self.stage.territory.feeders))
        self._limits += 1
        fleet, now_ns = stage.territory.fleet, stage.node.clock.now_ns()
        rows = fleet.leaves(feeder)
        now_w, part = float(stage.world.power_w[rows].sum()), float(self._rng.choice([0.5, 0.7, 0.9]))
        firm_w = float(
            (stage.world.loads.rated_w * stage.world.loads.firm_frac).sum() + stage.world.lines.rated_w.sum()
        )
        low_w, high_w = -float(fleet.max_absorb_w[rows].sum()), float(fleet.max_inject_w[rows].sum())
        ends = (min(part * now_w, -firm_w - 2_000.0), high_w) if now_w < 0 else (low_w, part * now_w)
        ends_ns = now_ns + int(self._seconds(45, 150) * SECOND_NS)
        source = f"control-room-{self._limits}"
        ask = Ask(
            source, "dno", "congestion", Level.ENVELOPE, feeder, Quantity.P, ClaimKind.LIMIT, 1, now_ns, ends_ns,
            low=ends[0], high=ends[1], because="congestion above the feeder",
        )  # fmt: skip
        if not isinstance(await stage.node.desk.ask(ask), Granted):
            return "a limit that was refused"
        self.truth.groups[source] = Standing(feeder, *ends, now_ns, ends_ns)
        await self._until(ends_ns)
        del self.truth.groups[source]
        return "limit on a feeder"

    async def _event(self) -> str:
        """A program's event of an hour, asked for and approved by two people."""
        start_ns = self.stage.node.clock.now_ns() + 10 * MINUTE_NS
        wish = ComposeEvent("demand_response", POOL, start_ns, start_ns + HOUR_NS, float(self._rng.uniform(3e3, 15e3)))
        made = await self.operator.compose(wish, "ann")
        if isinstance(made, Refusal):
            return f"an event that was refused: {made.reason}"
        for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
            if isinstance(answer := await self.operator.advance(made.id, to.value, by), Refusal):
                return f"an event that was refused: {answer.reason}"
        await self._until(start_ns + HOUR_NS + 5 * MINUTE_NS)
        return f"event {self.stage.node.state.events[made.id].state.value}"


def live(
    folder: Path,
    seed: int,
    days: int,
    devices: int = 50,
    name: str = "comms-loss",
    say: Callable[[str], None] = lambda line: None,
    also: Callable[[Truth], None] = lambda truth: None,
) -> Lived:
    """Live so many days and return what was found; `also` is given the truth before it begins."""
    what = scenario(name)
    day = date.fromisoformat(what.day)
    seen: Counter[str] = Counter()

    async def main(loop: VirtualLoop) -> Lived:
        clock = VirtualClock(loop, begins_ns(day))
        async with Supervisor(np.random.default_rng([seed, 90])) as supervisor:
            stage = await raise_stage(what, devices, seed, clock, supervisor, folder, is_thrown_away=True)
            operator = NodeOperator(stage.node, NodeReader(stage.node, stage_sources(stage)))
            dno = Dno(stage, (0, 0))
            truth = Truth(stage, dno, keep_owners(stage, seed))
            stage.node.before_beat.append(truth.look)
            also(truth)
            await stage.scada.connect()
            stage.node.start()
            supervisor.keep("dnp3 dno", stage.scada.attend)
            supervisor.keep("dno", dno.watch)
            market = MarketDays(stage, say)
            market.start()
            await asyncio.sleep(600)
            await offered(stage, stage.day, offers_of(stage, stage.day, 0))
            life = Life(stage, operator, truth, np.random.default_rng([seed, 60]))
            acts = life.draw(np.random.default_rng([seed, 61]), begins_ns(day), days)
            supervisor.spawn(life.live(acts), "life")
            told = 0
            for turn in range(days):
                await life._until(begins_ns(day) + (turn + 1) * DAY_NS)
                say(f"day {turn + 1}: {truth.minutes} minutes, {len(truth.crossings)} crossings, {dict(life.did)}")
                for found in truth.crossings[told:]:
                    say(f"crossed: {found}")
                told = len(truth.crossings)
            await stage.node.beat()
            await stage.scada.close()
            await stage.outstation.stop()
            await asyncio.sleep(1)
            await stage.node.group.drained()
            did = life.did + Counter({"award": len(stage.node.state.awards), "relief": len(dno.reliefs)})
            records = stage.node.journal.last_seq
            stage.node.journal.close()
            return Lived(truth, did, seen + stage.link.seen, records)

    return run_virtual(main, Network(faulty_route(STREAM_FAULTS[name], seed, seen)))
