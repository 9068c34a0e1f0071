"""What people do at the console, done at the desk: every act is durable before its answer returns."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import numpy as np

from tieline.desk import opting
from tieline.desk.asks import key_of
from tieline.desk.authority import decide_kill
from tieline.desk.consents import decide_agreed, decide_word
from tieline.desk.counted_loads import cuts_says
from tieline.desk.entry import Entry
from tieline.desk.event_tracking import EventTallies
from tieline.desk.event_views import EventProgram, EventView
from tieline.desk.events import decide_compose, decide_extend, decide_step, due, keyed, view_of
from tieline.desk.facts import AlarmChanged, Audited
from tieline.desk.inverters import SettingsView
from tieline.desk.modes import decide_mode
from tieline.desk.operating import EnvelopesView
from tieline.desk.people import names_in
from tieline.desk.ports import Ask, Granted
from tieline.desk.programs import NEXT, EventState
from tieline.desk.screens import AskLimit, ComposeEvent, OwnerLimit
from tieline.desk.unmet import barred_says, breaks_says
from tieline.errors import LinkDown
from tieline.fleet.columns import Fleet
from tieline.flow.begun import act, hastens
from tieline.grid.envelope_file import EnvelopeSet
from tieline.grid.inverter_settings import SettingsSet
from tieline.ids import derive
from tieline.node.event_programs import known_programs, refusal_of_program, refusal_of_wish
from tieline.node.inverters import InverterSettingsKeeper
from tieline.node.operating import OperatingEnvelopes
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import FOREVER_NS, MINUTE_NS, iso

MOST_MINUTES = 48 * 60
STEPS = {state.value: state for state in EventState}
BY_PEOPLE = (EventState.SUBMITTED, EventState.APPROVED, EventState.DENIED, EventState.CANCELED)


class NodeOperator:
    """Implements `desk.screens.Operator` over a node."""

    def __init__(self, node: Node, reader: NodeReader) -> None:
        self.node, self._reader = node, reader
        self._acts = 0
        self._tallies = EventTallies()
        self._opting = asyncio.Lock()
        self._envelopes = OperatingEnvelopes(node)
        self._inverters = InverterSettingsKeeper(node)
        node.after_beat.append(self._events_by_clock)
        node.next_due.append(self._next_event_ns)

    def _next_event_ns(self, now_ns: int) -> int:
        """Return when the next event begins, ends or lapses: that is told then, and not at the minute's mark."""
        edges = [
            edge
            for event in self.node.state.events.values()
            if NEXT[event.state]
            for edge in (event.start_ns, event.end_ns)
            if edge > now_ns
        ]
        return min(edges, default=FOREVER_NS)

    async def _events_by_clock(self) -> None:
        await self.node.desk.flush()  # a journal that is away refuses here: what is counted below would be lost
        state, now_ns = self.node.state, self.node.clock.now_ns()
        # In one commit: no event reads as completed without its last interval, nor is one left so by a crash.
        counted = self._tallies.count(state, now_ns)
        entries = due(state, now_ns, self._tallies.shown)
        await self.node.desk.commit([*counted, *entries])
        if entries:
            self._tallies.note(state, now_ns)
            await self.node.cycle.hand_over(now_ns)
            await self.node.desk.settle()

    def programs(self) -> list[EventProgram]:
        """Return under which programs events may be called."""
        return [EventProgram(name) for name in known_programs(self.node.state, self.node.event_programs)]

    async def compose(self, event: ComposeEvent, by: str, key: str = "") -> EventView | Refusal:
        """Compose an event; sent again with its key it is the same one, as it stands by now."""
        now_ns = self.node.clock.now_ns()
        refusal = refusal_of_wish(self.node.state, self.node.event_programs, event, now_ns)
        if refusal is not None and keyed(self.node.state, event, by, key) is None:
            return refusal
        entries, answer = decide_compose(self.node.state, event, by, now_ns, key)
        await self.node.desk.commit(entries)
        return answer if isinstance(answer, Refusal) else view_of(self.node.state, answer)

    async def advance(self, event: str, to: str, by: str) -> EventView | Refusal:
        """Move an event one step."""
        step = STEPS.get(to)
        if step not in BY_PEOPLE:
            allowed = ", ".join(state.value for state in BY_PEOPLE)
            return Refusal("no such step", "to", to, allowed)
        state, now_ns = self.node.state, self.node.clock.now_ns()
        if (known := state.events.get(event)) is not None and step in (EventState.SUBMITTED, EventState.APPROVED):
            # Composed before its program was taken out of the settings.
            unknown = refusal_of_program(state, self.node.event_programs, known.program)
            if unknown is not None:
                return unknown
        entries, answer = decide_step(state, event, step, by, now_ns)
        if entries:
            # One that is cancelled is counted to this instant, while it still has its devices.
            await self.node.desk.commit([*self._tallies.count(state, now_ns, (event,)), *entries])
            await self._events_by_clock()
            await self.node.desk.settle()
            self.node.wake()
        return answer if isinstance(answer, Refusal) else view_of(self.node.state, answer)

    async def extend(self, event: str, minutes: int, by: str) -> EventView | Refusal:
        """Let an event last longer."""
        entries, answer = decide_extend(self.node.state, event, minutes, by, self.node.clock.now_ns())
        await self.node.desk.commit(entries)
        if entries:
            await self.node.desk.settle()
            self.node.wake()
        return answer if isinstance(answer, Refusal) else view_of(self.node.state, answer)

    async def owner_limit(self, resource: str, ask: OwnerLimit | None, by: str) -> Granted | Refusal | None:
        """Limit a device for its owner until he takes it back (None): an owner's need outranks every market."""
        now_ns, source = self.node.clock.now_ns(), f"owner:{resource}"
        if ask is None:
            frame = derive("owner-limit", by, now_ns)
            found = await self.node.desk.withdraw(
                source, "owner-limit", resource, Quantity.P, frame, f"the owner took it back ({by})"
            )
            return None if found else Refusal("the owner has set no limit", "resource", resource, "a limited device")
        fleet = self.node.state.fleet
        no_device = opting.refusal_of_group(self.node.state, resource)
        if no_device is not None:
            return no_device
        row = fleet.row(resource)
        lowest_w, highest_w = 0.0 - float(fleet.max_absorb_w[row]), float(fleet.max_inject_w[row])
        wrong = refusal_of_ends(ask.low_w, ask.high_w)
        if wrong is not None:
            return wrong
        if not lowest_w <= ask.low_w <= ask.high_w <= highest_w:
            given = f"{ask.low_w:g}, {ask.high_w:g}"
            return Refusal("beyond what it can do", "low_w, high_w", given, f"{lowest_w:g} to {highest_w:g} W")
        return await self.node.desk.ask(
            Ask(
                source, "owner", "owner-limit", Level.OWNER_NEED, resource, Quantity.P, ClaimKind.LIMIT,
                self._version(source, "owner-limit", resource, Quantity.P), now_ns, FOREVER_NS, low=ask.low_w,
                high=ask.high_w, because=f"the owner's limit ({by})",
            )
        )  # fmt: skip

    async def acknowledge(self, alarm: str, by: str) -> Refusal | None:
        """Acknowledge an alarm that stands."""
        standing = next((a for a in self._reader.alarms() if a.id == alarm), None)
        if standing is None:
            return Refusal("no such alarm stands", "alarm", alarm, "a standing alarm")
        now_ns = self.node.clock.now_ns()
        fact = AlarmChanged(alarm, "acknowledged", by, {"by": by, "since_ns": standing.since_ns})
        await self.node.desk.commit([Entry(derive("alarm-step", alarm, by, now_ns), fact, standing.subject)])
        return None

    async def limit(self, resource: str, ask: AskLimit, by: str) -> Granted | Refusal:
        """Limit a resource at the level of an operating envelope."""
        if not 1 <= ask.minutes <= MOST_MINUTES:
            return Refusal("a limit is a lease", "minutes", str(ask.minutes), f"1 to {MOST_MINUTES}")
        wrong = refusal_of_ends(ask.low_w, ask.high_w)
        if wrong is not None:
            return wrong
        if not ask.because.strip():
            return Refusal("a limit has a reason", "because", ask.because, "some words")
        now_ns = self.node.clock.now_ns()
        before = self.node.state.asks.get(("console", "limit", resource, Quantity.P.value))
        wish = Ask(
            "console", "operator", "limit", Level.ENVELOPE, resource, Quantity.P, ClaimKind.LIMIT,
            self._version("console", "limit", resource, Quantity.P), now_ns, now_ns + ask.minutes * MINUTE_NS,
            low=ask.low_w, high=ask.high_w, because=f"{ask.because} ({by})", people=names_in(by),
        )  # fmt: skip
        granted = await self.node.desk.ask(wish)
        if isinstance(granted, Refusal):
            return granted
        fleet = self.node.state.fleet
        state, live = self.node.state, self.node.state.asks.get(key_of(wish))
        barred = barred_says(state, resource, ask.low_w, ask.high_w, wish.level, now_ns)
        broken = "" if live is None else breaks_says(state, live, now_ns)
        unmet = "; ".join(filter(None, (barred or beyond_rating(fleet, resource, ask), broken)))
        granted = msgspec.structs.replace(
            granted, unmet=unmet, unseen=unseen(fleet, resource), loads=cuts_says(self.node.state, wish, now_ns)
        )
        if before is None or before.ask.end_ns <= now_ns:
            return granted
        was = before.ask
        words = (
            f"it takes the place of the limit of {was.low:.0f} to {was.high:.0f} W until {iso(was.end_ns)} "
            f"({was.because}), which does not come back: people at the desk are one asker, and their newest limit holds"
        )
        return msgspec.structs.replace(granted, replaces=words)

    async def take_envelopes(self, made: EnvelopeSet, by: str) -> EnvelopesView | Refusal:
        """Take a feeder's operating envelopes, all or nothing."""
        return await self._envelopes.take(made, by)

    async def withdraw_envelopes(self, feeder: str, by: str) -> bool:
        """Take a feeder's operating envelopes back, and return whether there were any."""
        return await self._envelopes.withdraw(feeder, by)

    async def send_settings(self, made: SettingsSet, by: str) -> SettingsView | Refusal:
        """Send a feeder's inverter settings, all or nothing."""
        return await self._inverters.send(made, by)

    async def withdraw_settings(self, feeder: str, by: str) -> bool:
        """Take a feeder's inverter settings back, and return whether there were any."""
        return await self._inverters.withdraw(feeder, by)

    def inverter_settings(self) -> list[SettingsView]:
        """Return the newest inverter settings of each feeder."""
        return self._inverters.views()

    def settings_touch(self, made: SettingsSet) -> int:
        """Return how many devices a set of inverter settings is about."""
        return self._inverters.touched(made)

    def envelopes_touch(self, made: EnvelopeSet) -> int:
        """Return how many devices a set of operating envelopes is about."""
        return self._envelopes.touched(made)

    def _version(self, source: str, program: str, resource: str, quantity: Quantity) -> int:
        """Return a version above the last one of the same wish (R4), even where the clock was set back since."""
        last = self.node.state.versions.get((source, program, resource, quantity.value), 0)
        return max(self.node.clock.now_ns(), last + 1)

    async def release(self, resource: str, by: str) -> bool | Refusal:
        """Take the operator's limit back; False: there was none."""
        if not self.node.state.fleet.holds(resource):
            return Refusal("no such resource", "resource", resource[:64], "a resource of the registry")
        frame = derive("console", "release", by, self.node.clock.now_ns())
        return await self.node.desk.withdraw("console", "limit", resource, Quantity.P, frame, f"released ({by})")

    async def opt(self, resource: str, out: bool, by: str) -> Granted | Refusal | None:
        """Take a device, or all behind a site, out for its owner, or back in (None: it is in now).

        Who is out by that word already stays so, with the answer that says since when; nothing is recorded.
        """
        state, now_ns = self.node.state, self.node.clock.now_ns()
        if out:
            return await self._opt_out(resource, by)
        source, program, _, _ = opting.key_of_out(resource)
        frame, why = derive("opt", by, now_ns), f"the owner opted in ({by})"
        found = await self.node.desk.withdraw(source, program, resource, Quantity.CONNECT, frame, why)
        return None if found else opting.refusal_of_in(state, resource)

    async def _opt_out(self, resource: str, by: str) -> Granted | Refusal:
        self.node.group.ready()  # else who comes while the journal is away would wait here for one that was under way
        async with self._opting:  # two at once: the second finds what the first became
            state = self.node.state
            if (stands := opting.standing_out(state, resource)) is not None:
                return stands
            ask = opting.ask_out(state, resource, by, self.node.clock.now_ns())
            return ask if isinstance(ask, Refusal) else await self.node.desk.ask(ask)

    async def consent(
        self, contract: str, products: tuple[str, ...], evidence: str | None, by: str, because: str
    ) -> Refusal | None:
        """Take consent back or give it: what follows is decided before it is answered, and told with the next beat."""
        state, now_ns = self.node.state, self.node.clock.now_ns()
        entries, refusal = decide_word(state, contract, products, evidence, by, because, now_ns)
        if refusal is not None:
            return refusal
        await self.node.desk.commit(entries)
        await self.node.desk.commit(decide_agreed(state, now_ns))
        self.node.desk.changed(entries[0].id)
        return None

    async def kill(self, pressed: bool, by: str) -> Refusal | None:
        """Press or release the kill switch; the beat that follows ends what the market calls, or calls again.

        A press waits neither for room on a disk nor for a database: it has the room that is held for what is under way,
        or is made durable aside until the journal is back, and so is that one beat, also where the database goes right
        after the press. Pressed again while it is away, who did not hear it is told again. A release waits.
        """
        now_ns, group = self.node.clock.now_ns(), self.node.group
        entries, refusal = decide_kill(self.node.state, pressed, by, names_in(by), now_ns)
        with suppress(LinkDown):  # it is said below; here the disk is asked
            group.ready()
        if hurries := pressed and group.takes_urgent:
            hastens()
        await self.node.desk.commit(entries)
        if entries:
            self.node.desk.changed(entries[0].id)
        tells = bool(entries) or (bool(group.down) and not group.is_full)
        if hurries and tells and (group.down or group.aside is not None):
            beat = self.node.supervisor.spawn(self._let_go(), "beat of the kill switch")
            if group.down:
                await beat
        return refusal

    async def _let_go(self) -> None:
        """Have a beat that waits for no database; the act that pressed may be over by then."""
        with act():
            hastens()
            await self.node.beat_at_once()

    async def set_mode(self, feeder: str, mode: str, because: str, by: str) -> Refusal | None:
        """Set who may move a feeder's devices."""
        entries, refusal = decide_mode(self.node.state, feeder, mode, because, by, self.node.clock.now_ns())
        await self.node.desk.commit(entries)
        if entries:
            await self.node.desk.settle()
            self.node.desk.changed(entries[0].id)
        return refusal

    async def audited(self, by: str, action: str, subject: str, outcome: str, body: dict[str, str]) -> None:
        """Record that somebody did or tried something."""
        self._acts += 1
        detail = ", ".join(f"{key}={value}" for key, value in sorted(body.items()))[:400]
        name = derive("audit", by, action, subject, self.node.clock.now_ns(), self._acts)
        await self.node.desk.commit([Entry(name, Audited(by, action, outcome, detail), subject)])


def refusal_of_ends(low_w: float, high_w: float) -> Refusal | None:
    """Return why two powers (W) are no ends of a limit, whoever sets it; None where they are."""
    if np.isfinite(low_w) and np.isfinite(high_w) and low_w <= high_w:
        return None
    return Refusal("both ends are finite, low first", "low_w, high_w", f"{low_w}, {high_w}", "low <= high")


def unseen(fleet: Fleet, resource: str) -> str:
    """Say that nothing of a resource can be seen now, so that nobody takes its limit for kept; empty: something is."""
    rows = fleet.leaves(resource)
    if not ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0).all():
        return ""
    end = "and nobody sees whether the limit is kept"
    if len(rows) == 1:
        name = fleet.id_of(int(rows[0]))
        return (
            f"{name} can't be seen now: until it is heard it goes by what it took last and then by its default, {end}"
        )
    return (
        f"none of the {len(rows):,} devices of {resource} can be seen now: until they are heard they go by what they "
        f"took last and then by their defaults, {end}"
    )


def beyond_rating(fleet: Fleet, resource: str, ask: AskLimit) -> str:
    """Say that a limit asks for more than a device, or all of a group, is rated for; empty: it can be met."""
    rows = fleet.leaves(resource)
    lowest_w, inject_w = 0.0 - float(fleet.max_absorb_w[rows].sum()), float(fleet.max_inject_w[rows].sum())
    if ask.low_w <= inject_w and ask.high_w >= lowest_w:
        return ""
    nearest_w = inject_w if ask.low_w > inject_w else lowest_w
    return (
        f"it can't be met: {resource} is rated for {lowest_w:.0f} to {inject_w:.0f} W, which is less than the "
        f"{ask.low_w:.0f} to {ask.high_w:.0f} W asked; {nearest_w:.0f} W is as near as it comes"
    )
