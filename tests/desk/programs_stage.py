"""A desk whose ten batteries serve program events, with a ledger that they are booked in."""

from __future__ import annotations

from desk_stage import START_NS, Stage1, fleet_of

from tieline.desk import events
from tieline.desk.event_views import EventView
from tieline.desk.ports import Award, Offer, Segment
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.ledger import SLOT_NS, Capacity, Ledger
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS

START = (START_NS // SLOT_NS + 1) * SLOT_NS
COUNT = 10
NAMEPLATE_W = COUNT * 10_000.0  # batteries of 5 kW each way


class Programs(Stage1):
    """Ten batteries on two feeders in one pool that can promise 100 kW."""

    def __init__(self) -> None:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(NAMEPLATE_W, NAMEPLATE_W))
        super().__init__(fleet_of([Kind.BATTERY] * COUNT, per_feeder=5), ledger)
        self.state.fleet.available_up_w[:] = self.state.fleet.available_down_w[:] = 5_000.0
        self.state.fleet.energy_available_wh[:] = 1e5

    async def sell(self, name: str, power_w: float, start_ns: int = START, end_ns: int = START + HOUR_NS) -> object:
        offer = Offer(name, "pool-1", "ENERGY", start_ns, end_ns, (Segment(power_w, 50.0),))
        refusal = (await self.desk.offer([offer]))[0]
        if refusal is None:
            award = Award(f"award-{name}", name, "pool-1", "ENERGY", start_ns, end_ns, power_w, 50.0)
            assert await self.desk.awards([award], "f") == [None]
        return refusal

    async def compose(
        self, power_w: float, group: str = "pool-1", start_ns: int = START, end_ns: int = START + HOUR_NS
    ) -> ProgramEvent | Refusal:
        wish = ComposeEvent("peak", group, start_ns, end_ns, power_w)
        entries, answer = events.decide_compose(self.state, wish, "ada", self.clock.ns)
        await self.desk.commit(entries)
        return answer

    async def step(self, event: str, to: EventState, by: str = "bo") -> ProgramEvent | Refusal:
        entries, answer = events.decide_step(self.state, event, to, by, self.clock.ns)
        await self.desk.commit(entries)
        return answer

    async def approved(self, power_w: float, **what: object) -> ProgramEvent | Refusal:
        event = await self.compose(power_w, **what)
        if isinstance(event, Refusal):
            return event
        await self.step(event.id, EventState.SUBMITTED, "ada")
        return await self.step(event.id, EventState.APPROVED)

    def seen(self, event: str) -> EventView:
        return events.view_of(self.state, self.state.events[event])
