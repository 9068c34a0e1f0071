"""A desk with an engine that a rule may let an emergency call, one that none may, and batteries beside them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from contracts_stage import book
from desk_stage import START_NS, Stage1, fleet_of
from msgspec import convert, structs
from programs_stage import START

from tieline.contract.eligibility import enrol
from tieline.contract.engine_hours import HourLimit, Use
from tieline.contract.engine_permit import OrderInForce, Permit
from tieline.contract.program import AnyProgram
from tieline.contract.programs import sample_programs
from tieline.desk import events
from tieline.desk.agreed import Agreements
from tieline.desk.engine_calls import decide_runs
from tieline.desk.engine_runs import Engines
from tieline.desk.event_stack import newest
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.columns import FUEL_CODE, FUELS, KINDS
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import DAY_NS, HOUR_NS, from_ns, to_ns

RATING_W = 50_000.0
PLACES = ("US-CA", "US-TX", "US-NE", "GB", "EU", "US")
ORDER = OrderInForce(
    id="order-1", source="an executive order", jurisdiction="US-CA", starts=datetime(2023, 1, 1, tzinfo=UTC),
    ends=datetime(2024, 12, 1, tzinfo=UTC),
)  # fmt: skip


def permit(hours: float = 50.0, *resources: str) -> Permit:
    limits = (HourLimit((Use.EMERGENCY,), hours),)
    return Permit(id="air-1", version="7", source="condition 4", resources=resources or ("r0",), limits=limits)


def programs(kind: Kind = Kind.BACKUP_GENERATOR) -> tuple[AnyProgram, ...]:
    """An emergency program that takes engines, and one that is called for money."""
    (emergency,) = (one for one in sample_programs() if one.id == "emergency-load-reduction")
    (money,) = (one for one in sample_programs() if one.id == "peak-rebate")
    more = {"kinds": (kind, Kind.BATTERY), "windows": (), "triggers": (), "notice_s": 0}
    budget = convert({"hours_a_call": 12.0}, type(emergency.budget))
    return tuple(structs.replace(one, budget=budget, **more) for one in (emergency, money))


class EngineStage(Stage1):
    """Two engines on diesel (r0, r1) and two batteries (r2, r3) in one pool."""

    def __init__(
        self, jurisdiction: str = "US-CA", location: str = "", fuel: str = "diesel", permits: tuple[Permit, ...] = (),
        orders: tuple[OrderInForce, ...] = (), zone: str = "America/Los_Angeles",
    ) -> None:  # fmt: skip
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        kinds = [Kind.BACKUP_GENERATOR] * 2 + [Kind.BATTERY] * 2
        super().__init__(fleet_of(kinds, rating_w=RATING_W), ledger)
        fleet = self.state.fleet
        fleet.fuels[:2] = FUEL_CODE[fuel] if isinstance(FUEL_CODE, dict) else FUELS.index(fuel)
        fleet.available_up_w[:] = fleet.available_down_w[:] = RATING_W
        fleet.energy_available_wh[:] = 1e6
        words, fuels = np.array([kind.value for kind in KINDS])[fleet.kinds], np.array(FUELS)[fleet.fuels]
        for program in ("energy", "demand_response"):
            self.state.enrolments[program] = enrol(words, fuels, jurisdiction, program, location)
        self.state.agreed = Agreements(book(0), fleet, zone, programs(), serves_others=True)
        self.state.agreed.tick(START_NS)
        self.state.limiter.system_w = self.state.limiter.feeder_w[:] = float("inf")
        places = [(np.arange(2, dtype=np.int32), (jurisdiction, location))]
        self.state.engines = Engines(fleet, zone, places, jurisdiction, permits, orders)

    async def composed(self, program: str, hours: float = 1.0, power_w: float = 120e3) -> ProgramEvent | Refusal:
        """Compose and approve an event for more than the batteries give, from START on."""
        start_ns = max(START, self.clock.ns)
        wish = ComposeEvent(program, "pool-1", start_ns, start_ns + round(hours * HOUR_NS), power_w)
        entries, answer = events.decide_compose(self.state, wish, "ada", self.clock.ns)
        await self.desk.commit(entries)
        if isinstance(answer, Refusal):
            return answer
        for to, by in ((EventState.SUBMITTED, "ada"), (EventState.APPROVED, "bo")):
            entries, step = events.decide_step(self.state, answer.id, to, by, self.clock.ns)
            await self.desk.commit(entries)
            assert not isinstance(step, Refusal), step
        return answer

    async def at(self, now_ns: int, *power_w: float) -> None:
        """Go to an instant at which the engines give so much (W), and do what a server's beat does of them."""
        self.clock.ns = now_ns
        fleet = self.state.fleet
        fleet.power_w[: len(power_w)] = power_w
        fleet.taken_at_ns[:] = now_ns
        await self.desk.commit(decide_runs(self.state, now_ns))
        await self.desk.commit(events.due(self.state, now_ns))
        await self.desk.settle()

    def called(self, event: str) -> list[int]:
        """Return the rows that an event has called."""
        batch = newest(self.state, event)
        return [] if batch is None else [int(row) for row in batch.rows]


def year_ns(year: int) -> int:
    return to_ns(datetime(year, 1, 1, 8, tzinfo=UTC))


__all__ = ["DAY_NS", "HOUR_NS", "ORDER", "PLACES", "START", "EngineStage", "from_ns", "permit", "programs", "year_ns"]
