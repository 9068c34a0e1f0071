"""Commands to end-points as OpenADR events, and their reports as readings and command progress.

Theory of operation. Each row is a resource behind a VEN, bound to one OAuth client: what another client says of it, or
registers under its name, counts for nothing, as who speaks is read from the token and never from a body. The link makes
the VENs itself, as business logic, with their client and their target, so that a name can't be taken first by somebody
else. Each command is one event of its own, named by its fence; the event before it is withdrawn. The setpoint is
DISPATCH_SETPOINT, the bounds are IMPORT_ and EXPORT_CAPACITY_LIMIT. A standing event asks all VENs for their telemetry.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tieline.desk.operating import Foretold
from tieline.desk.ports import Intake, LastHop, LinkHealth, Session
from tieline.errors import Error
from tieline.links.endpoint.openadr.book import DESK, Conflict, Missing
from tieline.links.endpoint.openadr.end_point import EndPoint, Live
from tieline.links.endpoint.openadr.foretelling import changes, event_of, is_foretold
from tieline.links.endpoint.openadr.payloads import stamp_of, told, without
from tieline.links.endpoint.openadr.settings import OpenAdrSettings, check
from tieline.links.endpoint.openadr.units import report_words
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.links.life import Counts
from tieline.links.telling import Teller
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.supervise import Supervisor
from tieline.times import SECOND_NS, Clock, iso
from tieline.wire.openadr3.times import ends_ns

PROGRAM = "tieline-dispatch"
TELEMETRY = "telemetry"
ASKED = ("DEMAND", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE", "OPERATING_STATE")
MOST_PRIORITY = 2**31 - 1
MOST_WITHDRAWN = 100_000
"""Events whose messages may still wait for a callback; a message is given up within minutes, so older ones don't."""
Thing = dict[str, Any]
_STEPS = {"vens": Session.ASSOCIATED, "resources": Session.ASSOCIATED, "subscriptions": Session.ASSOCIATED}
_STEPS |= {"events": Session.SYNCING, "reports": Session.SYNCING}


OnOwner = Callable[[int, bool], None]
"""Told of a row whether its owner is out, when a VEN's word on that is another."""


class OpenAdrLink:
    """Carries commands to VENs; a `desk.ports.CommandLink`."""

    def __init__(
        self,
        settings: OpenAdrSettings,
        vtn: Vtn,
        intake: Intake,
        clock: Clock,
        supervisor: Supervisor,
        name: str = "openadr",
        speed: float = 1.0,
    ) -> None:
        """Make a link. `speed`: seconds of the clock in one of the loop. Raises ConfigError naming a bad setting."""
        check(settings)
        self.name, self.settings, self.clock, self.speed = name, settings, clock, speed
        # Gathered within one turn of the loop: what a VEN was answered for is on its way to the columns already.
        self._intake, self.teller = intake, Teller(name, intake, clock, gather_s=0.0)
        self._vtn, self._supervisor = vtn, supervisor
        self.end_points = {row: EndPoint(row, who, self) for row, who in settings.end_points.items()}
        self.switched = frozenset(row for row, who in settings.end_points.items() if who.is_switched)
        self._of_client: dict[str, list[EndPoint]] = {}
        for end_point in self.end_points.values():
            self._of_client.setdefault(end_point.name.client, []).append(end_point)
        self.last_hop: LastHop | None = None
        self.on_owner: OnOwner | None = None
        self._turn = {row: asyncio.Lock() for row in settings.end_points}
        self._program = ""
        self._withdrawn: OrderedDict[str, None] = OrderedDict()
        self._session, self._since_ns, self._was_called = Session.DOWN, clock.now_ns(), False
        self.counts = Counts()
        self.rated_w: Callable[[int], float] = lambda row: 0.0  # what a row is rated (W); 0 where that isn't known
        vtn.one_writer.bind(settings)
        vtn.watchers.append(self)
        vtn.rated_of, vtn.private_states = self._rated_of, settings.private_states

    async def start(self) -> None:
        """Make the program, the VENs and the standing event that asks for telemetry, or find them from before."""
        self._intake.health(self.health())  # the desk shows the link from the first, also one that nobody calls
        book = self._vtn.book
        known = book.named("programs", PROGRAM)
        program = known or await self._publish("programs", {"programName": PROGRAM})
        self._program = program["id"]
        for end_point in self.end_points.values():
            await self._provide(end_point)
        events = book.below("events", self._program)
        if not [event for event in events if event.get("eventName") == TELEMETRY]:
            # Not 0001-01-01 and P9999Y, the standard's now and for ever: an independent client adds the two, and fails.
            period = {"start": iso(self.clock.now_ns()), "duration": "P1000Y"}
            wanted = [{"payloadType": name, "readingType": "DIRECT_READ"} for name in ASKED]
            standing = {
                "programID": self._program, "eventName": TELEMETRY, "reportDescriptors": wanted, "intervals": [],
                "intervalPeriod": period,
            }  # fmt: skip
            await self._publish("events", standing)
        self._adopt(events)

    async def _provide(self, end_point: EndPoint) -> None:
        """See to it that a VEN is there, belongs to the client that we know, and that its target is nobody else's."""
        name, book = end_point.name, self._vtn.book
        self._vtn.reserved[name.ven] = name.client
        ven = book.named("vens", name.ven)
        if ven is None:
            body = {"objectType": "BL_VEN_REQUEST", "venName": name.ven, "clientID": name.client, "targets": [name.ven]}
            await self._publish("vens", body)
        elif ven["clientID"] != name.client or name.ven not in ven.get("targets", ()):
            await self._vtn.replace(
                "vens", ven["id"], _regranted(ven, name.client, [name.ven, *ven.get("targets", ())])
            )
        for client in [client for client in book.holders(name.ven) if client != name.client]:
            for kind in ("vens", "resources"):
                for thing in book.owned(kind, client):
                    left = [target for target in thing.get("targets", ()) if target != name.ven]
                    if left != thing.get("targets", left):
                        await self._vtn.replace(kind, thing["id"], _regranted(thing, client, left))

    def _adopt(self, events: list[Thing]) -> None:
        """Find what was in force before a restart: its fence counts on, and the next command withdraws it."""
        row_of = {end_point.name.ven: row for row, end_point in self.end_points.items()}
        now_ns = self.clock.now_ns()
        for event in events:
            if ends_ns(event, now_ns) <= now_ns:
                self.withdraw(event["id"])
            row = row_of.get((event.get("targets") or [""])[0])
            if row is not None:
                end_point = self.end_points[row]
                end_point.life.stamp = max(end_point.life.stamp, stamp_of(event))

    async def _publish(self, kind: str, body: Mapping[str, Any], cause: tuple[str, ...] = ()) -> Thing:
        return await self._vtn.publish(kind, msgspec.json.encode(body), cause)

    async def send(self, batch: CommandBatch) -> None:
        """Hand rows over; an expired batch is reported, an older one than the last of a row is passed over."""
        for at, row in enumerate(batch.rows.tolist()):
            end_point = self.end_points.get(row)
            if end_point is not None:
                end_point.take(batch, at)

    # --- what end-points ask of their link ----------------------------------------------------------------------------

    def carry(self, end_point: EndPoint, live: Live) -> None:
        """Publish the event of a command, and withdraw the one before it."""
        self._supervisor.spawn(self._carry(end_point, live), "openadr-command")

    async def _carry(self, end_point: EndPoint, live: Live) -> None:
        async with self._turn[end_point.row]:
            if live is not end_point.live or live.is_over:
                return  # a newer command overtook it before it left
            if end_point.barred():
                return
            before = self._vtn.book.targeted("events", end_point.name.ven)
            try:
                # The new one first: the fence makes it win, and there is no moment with none.
                made = await self._publish("events", self._event(end_point, live), (live.batch.id,))
            except (Error, Conflict, Missing) as error:
                end_point.fail(live, f"not published: {error}")
                return
            end_point.published(live, made["id"])
            for event in before:
                if self._vtn.book.made_by.get(event["id"]) == DESK and not is_foretold(event):
                    await self._withdraw(event["id"])
        # Its time ran out, or it was killed, while it was being kept. One that is done by then stands: a quick VEN
        # shows its power before the event before is gone.
        if live.stage in (Stage.EXPIRED, Stage.CANCELLED):
            await self._withdraw(made["id"])

    async def foretell(self, envelopes: Mapping[int, tuple[Foretold, ...]]) -> None:
        """Let VENs know these envelopes and no others, by row, beside what commands tell them.

        Raises:
            LinkDown: The journal is away; what was not told is told the next time.
        """
        for row, end_point in self.end_points.items():
            async with self._turn[row]:
                known = self._vtn.book.targeted("events", end_point.name.ven)
                fresh, over = changes(
                    known, envelopes.get(row, ()), lambda event: self._vtn.book.made_by.get(event) == DESK
                )
                for one in fresh:  # the new one first: both bound for a moment, and there is none without
                    weaker = min(self.settings.priority + 1, MOST_PRIORITY)  # a command stands before it
                    await self._publish("events", event_of(one, self._program, end_point.name.ven, weaker))
                for event in over:
                    await self._withdraw(event)

    def withdraw(self, event: str) -> None:
        """Delete an event; no VEN reads it from now on, also while it is on its way out of the journal."""
        self._vtn.withheld.add(event)
        self._supervisor.spawn(self._withdraw(event), "openadr-withdraw")

    async def _withdraw(self, event: str) -> None:
        try:
            await self._vtn.retract("events", event)
            self._vtn.withheld.discard(event)
            self._withdrawn[event] = None
            while len(self._withdrawn) > MOST_WITHDRAWN:
                self._withdrawn.popitem(last=False)
        except (Conflict, Missing):
            pass  # it is on its way out already

    def _event(self, end_point: EndPoint, live: Live) -> Thing:
        batch = live.batch
        payloads, units = told(*live.powers_w)
        seconds = max((batch.valid_until_ns - batch.valid_from_ns) / SECOND_NS, 0.0)
        return {
            "programID": self._program, "eventName": f"dispatch {batch.epoch}.{batch.seq}",
            "priority": self.settings.priority, "targets": [end_point.name.ven], "payloadDescriptors": units,
            "intervalPeriod": {"start": iso(batch.valid_from_ns), "duration": f"PT{round(seconds, 3):.12g}S"},
            "intervals": [{"id": 0, "payloads": payloads}],
        }  # fmt: skip

    # --- what the VTN hears -------------------------------------------------------------------------------------------

    def heard(self, client: str, kind: str) -> None:
        """Note that the client of an end-point called."""
        for end_point in self._of_client.get(client, ()):
            end_point.barred()
            end_point.hear(Session.LINK)
            end_point.hear(_STEPS.get(kind, Session.LINK))

    def shown(self, client: str, kind: str, thing_id: str) -> None:
        """Note that a VEN has an event."""
        if kind == "events":
            for end_point in self._of_client.get(client, ()):
                end_point.delivered(thing_id)

    def bars(self, client: str, kind: str, thing_id: str) -> bool:
        """Return whether an event may not go to a client any more: its command ended before it was delivered."""
        if kind != "events":
            return False
        for end_point in self._of_client.get(client, ()):
            end_point.barred()
            live = end_point.live
            if live is not None and live.frame == thing_id and live.stage in (Stage.CANCELLED, Stage.EXPIRED):
                return True
        # An event of the dispatch that was withdrawn meanwhile: a newer command took its place.
        return thing_id in self._withdrawn

    def refused(self, client: str, kind: str, why: str) -> None:
        """Count a report of an end-point that could not be: who watches the link is told of it."""
        if kind == "reports" and client in self._of_client:
            self.counts.unread += 1
            self.counts.last_error = f"report of {client} refused: {why}"[:200]

    def _rated_of(self, client: str, resource: str) -> float | None:
        for end_point in self._of_client.get(client, ()):
            if end_point.name.resource_name == resource:
                return self.rated_w(end_point.row)
        return None

    def changed(self, kind: str, operation: str, thing: Thing) -> None:
        """Take reports: of whom they are is the token's word (`clientID`), never the body's."""
        if kind != "reports" or operation == "DELETE":
            return
        meant = report_words(thing, *self._vtn.book.above(thing))
        foretold = {name for name, read in meant["readingType"].items() if read.upper() == "FORECAST"}
        for end_point in self._of_client.get(thing["clientID"], ()):
            for said in thing["resources"]:
                if said["resourceName"] == end_point.name.resource_name:
                    end_point.report(thing["eventID"], without(said, foretold), meant["units"])

    # --- how it is --------------------------------------------------------------------------------------------------

    def look(self) -> Session:
        """Return the session: that of all end-points where they agree, DEGRADED where some live and others don't."""
        found = {end_point.session for end_point in self.end_points.values()}
        if len(found) == 1:
            return found.pop()
        return Session.DEGRADED if Session.LIVE in found else max(found, default=Session.DOWN)

    def owner_said(self, row: int, is_out: bool) -> None:
        """Pass on that the owner of an end-point is out, or in again."""
        if self.on_owner is not None:
            self.on_owner(row, is_out)

    def session_changed(self) -> None:
        """Tell the desk where the session is another."""
        session = self.look()
        self._was_called |= session > Session.DOWN
        if session is not self._session:
            self._session, self._since_ns = session, self.clock.now_ns()
            self._intake.health(self.health())

    def health(self) -> LinkHealth:
        """Return how the link is; `peers` are the end-points that live."""
        live = sum(end_point.session is Session.LIVE for end_point in self.end_points.values())
        counts = self.counts
        return LinkHealth(
            self.name, "openadr", self._session, self._since_ns, live, counts.sent, counts.received, counts.rejected,
            counts.unconfirmed + counts.unread, counts.last_error, awaits=not self._was_called,
        )  # fmt: skip

    def stop(self) -> None:
        """Let all timers go."""
        for end_point in self.end_points.values():
            end_point.stop()
        self.teller.flush()


def _regranted(thing: Thing, client: str, targets: list[str]) -> bytes:
    """Return a VEN's or resource's body for a client, with other targets."""
    return msgspec.json.encode({**thing, "clientID": client, "targets": list(dict.fromkeys(targets))})
