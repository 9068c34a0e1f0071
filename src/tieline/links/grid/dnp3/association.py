"""One master's association: its session, its events, its latches and the leases behind them.

py1815 asks for a control's status in a plain call, while our answer must be durable before it is given. So a request
that operates is run twice: first on a copy of the session, whose provider only notes what would be operated (the
session itself decides about selects, sequence numbers and repeats); then the desk is asked; then the request runs on
the real session, whose provider gives the desk's answers. The session's clock stands still in between, so both runs
see the same instant.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog
from py1815.control import CommandStatus
from py1815.events import EventBuffers
from py1815.session import DEFAULT_CONFIRM_TIMEOUT, DEFAULT_UNSOLICITED_CONFIRM_TIMEOUT, Control, Session

from tieline.desk.ports import Ask, Granted, Selecting, Snapshot
from tieline.desk.state import LAPSED
from tieline.errors import Error, LinkDown
from tieline.ids import derive
from tieline.links.grid.dnp3.binding import Binding, Peer
from tieline.links.grid.dnp3.image import Image
from tieline.links.grid.dnp3.panel import Action, Panel, Slot
from tieline.links.grid.dnp3.words import status_of
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.times import SECOND_NS, Clock

_log = structlog.get_logger("tieline.dnp3")


class Relay:
    """The control provider of a session: notes what it is asked, or gives answers that are there already."""

    def __init__(self, select: Callable[[Sequence[Control]], list[CommandStatus]]) -> None:
        self._select = select
        self.noting = False
        self.noted: list[Control] = []
        self.answers: list[CommandStatus] = []

    def select(self, controls: Sequence[Control]) -> list[CommandStatus]:
        """Return whether each control could be operated; nothing is."""
        return self._select(controls)

    def operate(self, controls: Sequence[Control]) -> list[CommandStatus]:
        """Return the desk's answers; while noting, take down the controls and say nothing that anybody hears."""
        if self.noting:
            self.noted = list(controls)
            return [CommandStatus.SUCCESS] * len(controls)
        if len(self.answers) != len(controls):
            return [CommandStatus.HARDWARE_ERROR] * len(controls)
        return self.answers


class Association:
    """What belongs to one master and outlives its connections."""

    def __init__(
        self,
        binding: Binding,
        peer: Peer,
        inlet: Selecting,
        clock: Clock,
        loop_time: Callable[[], float],
        pace: float = 1.0,
    ) -> None:
        """Make an association; `pace` is how many seconds of `loop_time` pass in one of the line's.

        How long a master may take to confirm a fragment is the line's and its own machine's, however fast our clock
        runs: a reading of many fragments would else break off at its first late confirm.
        """
        self.peer = peer
        self.panel = Panel(binding, peer)
        self.refused = 0
        self.heard_s = loop_time()
        self.waiting: dict[str, int] = {}
        self.lapsed: set[Slot] = set()
        """Functions that lapsed and that the master has not operated since."""
        self.lapses: Counter[Slot] = Counter()
        self._inlet, self._clock, self._loop_time = inlet, clock, loop_time
        self._source = f"dnp3:{peer.name}"
        self._lease_s, self._select_s = binding.lease_s, binding.select_s
        self._still_s: float | None = None
        self._version = 0
        self._asked: dict[Slot, tuple[Ask, float]] = {}
        self._turn = asyncio.Lock()
        self._events = EventBuffers(capacity=binding.events)
        self._events.synchronized = binding.clock_synchronised
        groups = [group for group in binding.groups if group.resource in peer.may_read]
        self.image = Image(binding, groups, self._events)
        self._relay = Relay(self._could)
        self.session = Session(
            self.image,
            control_provider=self._relay,
            events=self._events,
            outstation_address=binding.address,
            master_address=peer.address,
            select_timeout=binding.select_s,
            clock=self._now_s,
            time_sink=self._time_written,
            unsolicited=True,
            confirm_timeout=DEFAULT_CONFIRM_TIMEOUT * pace,
            unsolicited_confirm_timeout=DEFAULT_UNSOLICITED_CONFIRM_TIMEOUT * pace,
        )

    def take_up(self, asks: Iterable[Ask]) -> None:
        """Go on with what this master had asked of an earlier run: its latches stand, their leases run as they ran.

        What has run out meanwhile is shown as lapsed. Asks of others are passed over.
        """
        now_ns, now_s = self._clock.now_ns(), self._loop_time()
        ours = [(slot, ask) for ask in asks for slot in self.panel.latches if slot == (ask.resource, ask.program)]
        for slot, ask in ours:
            if ask.source != self._source:
                continue
            self.panel.take_up(slot, ask)
            left_s = (ask.end_ns - now_ns) / SECOND_NS
            if left_s <= 0.0:
                self.panel.lapse(slot)
                self.lapsed.add(slot)
                continue
            # A lease runs from the last sign of life: how long that is ago, its end tells.
            self._asked[slot] = ask, now_s - max(self._lease_s - left_s, 0.0)
        if self._asked:
            self.heard_s = max(asked_s for _, asked_s in self._asked.values())

    async def receive(self, frame: bytes, native: str, operates: bool) -> bytes:
        """Return the octets that answer one link frame; for one that ends an operate, once the desk has answered.

        `native` is the hex of all frames of the request, `operates` whether its fragment is an operate.
        """
        self._still_s = self._loop_time()
        self.heard_s = self._still_s
        try:
            self._relay.answers = await self._ask_desk(frame, native) if operates else []
            return bytes(self.session.receive(frame))
        finally:
            self._still_s = None

    def dropped(self) -> None:
        """Forget what belonged to a connection that is gone."""
        self.session.connection_reset()
        self._inlet.deselect(self._source)

    def moved_on(self) -> None:
        """Free the selects of a master that sent something else than the operate (IEEE 1815-2012, 4.4.4)."""
        self._inlet.deselect(self._source)

    def show(self, snapshot: Snapshot | None) -> None:
        """Show a snapshot with our outputs; groups whose granted revision it lacks stay pending (rule R19)."""
        if snapshot is not None:
            self.waiting = {r: revision for r, revision in self.waiting.items() if revision > snapshot.revision}
        lapsed = frozenset(resource for resource, _ in self.lapsed)
        self.image.show(snapshot, self.panel.outputs(), frozenset(self.waiting), self._clock.now_ns(), lapsed)

    @property
    def silent_s(self) -> float:
        """How long nothing was heard of the master (s of the binding's times)."""
        return self._loop_time() - self.heard_s

    @property
    def lapses_after_s(self) -> float:
        """How long until what this master asked lapses, if it stays silent (s of the binding's times)."""
        now_ns = self._clock.now_ns()
        ends_s = ((ask.end_ns - now_ns) / SECOND_NS for ask, _ in self._asked.values())
        return min(self._lease_s - self.silent_s, *ends_s) if self._asked else math.inf

    async def tend(self) -> bool:
        """Renew the leases of a master that we hear, withdraw those of one gone silent. Returns whether any lapsed."""
        now_s = self._loop_time()
        silent, before = self.silent_s > self._lease_s, self.lapses.total()
        for slot in list(self._asked):
            # One at a time with what the master operates: a renewal that is under way, or was about to be, must not
            # bring back what he cancels meanwhile.
            async with self._turn:
                if slot not in self._asked:
                    continue
                ask, asked_s = self._asked[slot]
                if silent:
                    await self._lapse(slot, ask)
                # A master that spoke since the last ask renews it once a third of the lease is gone.
                elif self.heard_s > asked_s and now_s - asked_s >= self._lease_s / 3:
                    again = await self._ask(slot, ask.native, ask.frame)
                    # What can't be recorded now may be soon, and the master is there: until the lease itself is over
                    # its latch stands, and is tried again.
                    is_away = again is CommandStatus.DOWNSTREAM_FAIL and ask.end_ns > self._clock.now_ns()
                    if isinstance(again, CommandStatus) and not is_away:
                        await self._lapse(slot, ask)
        return self.lapses.total() > before

    # --- inside -----------------------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._loop_time() if self._still_s is None else self._still_s

    def _time_written(self, instant_ms: int) -> None:
        """Note a time that a master wrote; our clock has its own source, which a master never sets."""
        ahead_ms = instant_ms - self._clock.now_ns() // 1_000_000
        _log.info("time written", peer=self.peer.name, ahead_ms=ahead_ms)

    def _held_up(self, actions: Sequence[Action]) -> CommandStatus | None:
        """Take the desk's leases on what would be operated (R13); where one can't be had, free all and say why.

        A select that fails also ends the one before it, as a master has one select at a time (IEEE 1815-2012, 4.4.4).
        """
        for action in actions:
            level = self.panel.level(action.slot)
            refusal = self._inlet.select(self._source, action.slot[0], Quantity.P, level, self._select_s)
            if refusal is not None:
                self._inlet.deselect(self._source)
                return CommandStatus.BLOCKED_OTHER_MASTER if refusal.holder else status_of(refusal)
        return None

    def _could(self, controls: Sequence[Control]) -> list[CommandStatus]:
        reading = self.panel.read(controls)
        held_up = self._held_up(reading.actions)
        if held_up is not None:
            self.refused += len(controls)
            return [held_up] * len(controls)
        if reading.statuses:
            self._inlet.deselect(self._source)
        self.refused += len(reading.statuses)
        return [reading.statuses.get(at, CommandStatus.SUCCESS) for at in range(len(controls))]

    async def _ask_desk(self, frame: bytes, native: str) -> list[CommandStatus]:
        """Return a status for each control that this frame would operate, once each is durable."""
        shared = (self.image, self._relay, self._events, self)
        trial = copy.deepcopy(self.session, {id(each): each for each in shared})
        self._relay.noting, self._relay.noted = True, []
        try:
            trial.receive(frame)
        finally:
            self._relay.noting = False
        controls = self._relay.noted
        if not controls:
            return []
        async with self._turn:
            statuses = await self._operate(controls, native)
        self._inlet.deselect(self._source)
        self.refused += sum(status is not CommandStatus.SUCCESS for status in statuses)
        return statuses

    async def _operate(self, controls: Sequence[Control], native: str) -> list[CommandStatus]:
        reading = self.panel.read(controls)
        # A direct operate takes the lease for as long as it lasts, so that nobody selects under it meanwhile.
        held_up = self._held_up(reading.actions)
        if held_up is not None:
            return [held_up] * len(controls)
        statuses = dict(reading.statuses)
        frame = derive("frame", self._source, self._next_version(), native)
        for slot, refused in reading.refused.items():
            await self._record_refusal(slot, refused, native, frame)
        for action in reading.actions:
            status = await self._carry_out(action, native, frame)
            if status is CommandStatus.SUCCESS:
                self.panel.commit(action)
            statuses |= dict.fromkeys(action.controls, status)
        return [statuses.get(at, CommandStatus.SUCCESS) for at in range(len(controls))]

    async def _carry_out(self, action: Action, native: str, frame: str) -> CommandStatus:
        if action.does == "stage":
            return CommandStatus.SUCCESS
        before = self.panel.latches[action.slot]
        if action.does == "withdraw":
            status = await self._withdraw(action.slot, frame)
            if status is CommandStatus.SUCCESS:
                self.lapsed.discard(action.slot)
            return status
        self.panel.latches[action.slot] = action.latch
        answer = await self._ask(action.slot, native, frame)
        if isinstance(answer, Granted):
            self.lapsed.discard(action.slot)
            return CommandStatus.SUCCESS
        self.panel.latches[action.slot] = before
        return answer

    async def _record_refusal(self, slot: Slot, status: CommandStatus, native: str, frame: str) -> None:
        refusal = Refusal("refused by the access list of the link", "operate", status.name, holder=self.peer.name)
        try:
            await self._inlet.refuse(self._made(slot, native, frame), refusal)
        except Error as error:
            _log.error("refusal not recorded", peer=self.peer.name, resource=slot[0], error=str(error))

    def _made(self, slot: Slot, native: str, frame: str) -> Ask:
        """Return the ask that a latch stands for."""
        latch, now_ns = self.panel.latches[slot], self._clock.now_ns()
        limit = slot[1] == "limit"
        # The lease runs from the last sign of life, not from this renewal of it.
        left_s = self._lease_s - (self._loop_time() - self.heard_s)
        return Ask(
            source=self._source,
            principal=self.peer.name,
            program=slot[1],
            level=self.panel.level(slot),
            resource=slot[0],
            quantity=Quantity.P,
            kind=ClaimKind.LIMIT if limit else ClaimKind.SET,
            version=self._next_version(),
            start_ns=now_ns,
            end_ns=now_ns + max(int(left_s * SECOND_NS), 1),
            low=latch.low_w if limit else float("-inf"),
            high=latch.high_w if limit else float("inf"),
            value=0.0 if limit else latch.target_w,
            primacy=self.peer.primacy,
            because=f"DNP3 operate by {self.peer.name}",
            native=native,
            frame=frame,
        )

    async def _ask(self, slot: Slot, native: str, frame: str) -> Granted | CommandStatus:
        ask = self._made(slot, native, frame)
        try:
            answer = await self._inlet.ask(ask)
        except LinkDown as error:  # nothing was decided: the journal is away, or the server is stopping
            _log.warning("operate refused", peer=self.peer.name, resource=slot[0], refusal=str(error))
            return CommandStatus.DOWNSTREAM_FAIL
        except Error as error:
            _log.error("operate not taken", peer=self.peer.name, resource=slot[0], error=str(error))
            return CommandStatus.DOWNSTREAM_FAIL
        if isinstance(answer, Refusal):
            _log.warning("operate refused", peer=self.peer.name, resource=slot[0], refusal=str(answer))
            return status_of(answer)
        self._asked[slot] = ask, self._loop_time()
        self.waiting[slot[0]] = max(answer.revision, self.waiting.get(slot[0], 0))
        return answer

    async def _withdraw(self, slot: Slot, frame: str, why: str = "withdrawn") -> CommandStatus:
        try:
            await self._inlet.withdraw(self._source, slot[1], slot[0], Quantity.P, frame, why)
        except LinkDown as error:
            _log.warning("withdrawal refused", peer=self.peer.name, resource=slot[0], refusal=str(error))
            return CommandStatus.DOWNSTREAM_FAIL
        except Error as error:
            _log.error("withdrawal not taken", peer=self.peer.name, resource=slot[0], error=str(error))
            return CommandStatus.DOWNSTREAM_FAIL
        self._asked.pop(slot, None)
        return CommandStatus.SUCCESS

    async def _lapse(self, slot: Slot, ask: Ask) -> None:
        """End a latch whose master went silent (rule R3). The lease ends by itself where even this can't be told."""
        _log.warning("latch lapsed", peer=self.peer.name, resource=slot[0], function=slot[1])
        await self._withdraw(slot, derive("frame", "lapse", ask.frame, ask.version), LAPSED)
        self._asked.pop(slot, None)
        self.panel.lapse(slot)
        self.lapsed.add(slot)
        self.lapses[slot] += 1

    def _next_version(self) -> int:
        self._version = max(self._version + 1, self._clock.now_ns())
        return self._version
