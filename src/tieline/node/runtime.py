"""A running desk: its journal, its beat, and what it publishes. The same in production and in simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress

import structlog

from tieline.desk.apply import apply
from tieline.desk.asks import next_end_ns
from tieline.desk.counted_loads import stands_above
from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.dispatch import next_again_ns, next_room_ns
from tieline.desk.facts import Fact, from_record
from tieline.desk.foreseen import LoadFrac
from tieline.desk.obligation import next_call_ns
from tieline.desk.offerable import Offerable
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Publisher, Snapshot
from tieline.desk.state import DeskState
from tieline.desk.watch import decide_contradicted, decide_given_up, decide_reverts
from tieline.errors import InvariantError, LinkDown
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import Fleet
from tieline.fleet.grouped import Groups
from tieline.fleet.ledger import Ledger
from tieline.fleet.settle import warm
from tieline.flow.record import Journal
from tieline.node.snapshot import snapshot_of
from tieline.node.wakes import Wakes
from tieline.resource.admission import Principal
from tieline.resource.batch import Readings
from tieline.rim.supervise import Supervisor
from tieline.store.group import URGENT_S, GroupCommit
from tieline.store.ingest import Ingest
from tieline.store.journal import StoreError
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, Clock

_log = structlog.get_logger("tieline.node")
Sleep = Callable[[float], Awaitable[None]]
BEAT_S = 60.0
ANSWERED_SHARE = 0.5
"""Beats for answers that a limit's growth waits for take no more than this share of the time: by the wall's clock,
whatever the size of a fleet."""
LAPSES_NS = SECOND_NS
"""So long leases that end gather before the desk beats for them: many owners come back in one minute."""
TELLS_S, TELLS_SHARE = 4.0, 0.05
"""Every so many seconds of the wall's clock what is measured is published, unless that takes more than this share of
them: a control room must not wait for the next beat, up to a minute, to see what a device told long ago."""
MOVES_AGAIN_NS = 10 * MINUTE_NS
"""After so long readings are moved to the historian again, where the disk did not take them."""
SHOW_S = 5.0
"""Between two looks at what is measured while nothing can be recorded."""
STARTS_S = 5.0
"""So long after a start the first beat comes: by then links have heard their devices, and what ended while no server
ran (a limit, a call) is let go without waiting for the minute's mark."""
ENDS_S = 2.0
"""So long a stop waits for what is being recorded (s of the wall's clock)."""
LOOKS_S = 15.0
"""So often a journal is asked whether it is there (s of the wall's clock), as nobody else may write for long."""
ANSWERS_S = 1.0
"""So long devices' answers gather before they are recorded: hundreds come at once, and each commit is an fsync."""


def replayed(
    fleet: Fleet, ledger: Ledger, journal: Journal, look: Callable[[DeskState, Fact], None] | None = None
) -> DeskState:
    """Return the state that the journal tells: start-up and recovery are this one path.

    `look` is shown each fact, and the state before it.
    """
    state = DeskState.empty(fleet, ClaimBook(fleet), ledger)
    replay_on(state, journal, look=look)
    return state


def replay_on(
    state: DeskState,
    journal: Journal,
    after_seq: int = 0,
    last_seq: int | None = None,
    look: Callable[[DeskState, Fact], None] | None = None,
) -> int:
    """Go on from the state after one record to that after another (None: the last), and return the number of that."""
    for record in journal.replay(after_seq):
        if last_seq is not None and record.seq > last_seq:
            break
        after_seq, fact = record.seq, from_record(record)
        if fact is not None:
            if look is not None:
                look(state, fact)
            apply(state, record.id, fact, record.recorded_at_ns)
    return after_seq


class Node:
    """One desk with all that makes it live."""

    def __init__(
        self,
        state: DeskState,
        journal: Journal,
        clock: Clock,
        supervisor: Supervisor,
        principals: Mapping[str, Principal],
        pools: Mapping[str, PoolDesk],
        speed: float = 1.0,
        executor: Executor | None = None,
    ) -> None:
        self.journal, self.clock, self.supervisor = journal, clock, supervisor
        self.group = GroupCommit(journal, supervisor.spawn, executor, journal.lacks_room)
        self._wake, self._told, self._turn = asyncio.Event(), asyncio.Event(), asyncio.Lock()
        self.desk = Desk(state, self.group, clock, principals, self._changed)
        self.wakes = Wakes(self._wake.set, speed, lambda: stands_above(self.state, clock.now_ns()))
        self.desk.on_pending, self.desk.on_hand = self._told.set, self.wakes.hand_moved
        self.desk.on_answers, self.desk.on_counted = self.wakes.answered, self.wakes.counted_heard
        self.cycle = Cycle(self.desk, pools)
        self.load_frac: dict[str, LoadFrac] = {}
        """Says of a pool what part of what it typically gives each row can give at an instant, as loads are told."""
        self.offerable = Offerable(state, self.cycle.pools, self.load_frac)
        self.desk.foresight = self.offerable
        self.cycle.upward.spawn, self.cycle.upward.sleep = supervisor.spawn, asyncio.sleep
        self.publishers: list[Publisher] = []
        self.published: Sequence[str] = ()
        self.event_programs: Sequence[str] = ()
        """Programs that people may call events under, beside those that contracts name."""
        self.snapshot: Snapshot | None = None
        self._groups: Groups | None = None
        self.before_beat: list[Callable[[], None]] = []
        self.first_in_beat: list[Callable[[int], Awaitable[None]]] = []  # before what is over is let go
        self.after_beat: list[Callable[[], Awaitable[None]]] = []
        self.next_due: list[Callable[[int], int]] = []
        """Asked after each beat for the next instant after a given one that wants a beat, before the minute's mark."""
        self.speed = speed
        self.on_kept: list[Callable[[Readings], None]] = []
        """Told of readings that have just been kept."""
        self.lost_readings = 0
        self.unkept = ""
        """How many readings were lost, and why, while the disk takes none; empty: it does."""
        self.unkept_s = 0.0
        """Since when the disk takes none, by the loop's clock."""

    def keep_readings(
        self, wal: Wal, historian: Historian, executor: Executor | None = None, keep_ns: int | None = None
    ) -> Ingest:
        """Log every reading that comes in, durable at each beat, and move the log into the historian each hour.

        Args:
            wal: The log.
            historian: Where its readings go after their hour.
            executor: Where the log is written; None: where the journal is.
            keep_ns: How long hours are kept in the historian; None: for ever.

        Returns where readings may be sent by hand: those are durable when they are answered.
        """
        waiting: list[Readings] = []
        executor = executor or self.group.executor
        group: GroupCommit[Readings] = GroupCommit(wal, self.supervisor.spawn, executor)
        hour = self.clock.now_ns() // HOUR_NS
        steady_ns, again_ns = self._steady(), 0
        self.desk.on_readings = waiting.append

        async def flush() -> None:
            nonlocal hour, again_ns
            batch = waiting.copy()
            waiting.clear()
            if batch:
                try:
                    await group.append(batch)
                    self._tell_kept(batch)
                    self.unkept = ""
                except StoreError as error:  # dispatch goes on without a log; what is not kept is said and counted
                    self.unkept_s = self.unkept_s if self.unkept else asyncio.get_running_loop().time()
                    self.lost_readings += sum(len(readings.rows) for readings in batch)
                    self.unkept = f"{self.lost_readings:,} so far: {getattr(error.__cause__, 'strerror', '') or error}"
                    _log.error("readings not kept", error=str(error), lost=self.lost_readings)
            now_hour = self.clock.now_ns() // HOUR_NS
            # A clock that was set back is followed, too.
            if now_hour != hour and steady_ns() >= again_ns:
                try:
                    await move()
                except OSError as error:  # the log has them still: they are moved once the disk takes them
                    again_ns = steady_ns() + MOVES_AGAIN_NS
                    _log.error("readings not moved to the historian", error=str(error))
                else:
                    hour = now_hour

        async def move() -> None:
            loop = asyncio.get_running_loop()
            moved = await loop.run_in_executor(executor, historian.compact, wal)
            _log.info("readings moved to the historian", count=moved)
            if keep_ns is not None:
                # A clock that jumped ahead must not delete what it makes old.
                before_ns = min(self.clock.now_ns(), steady_ns()) - keep_ns
                gone = await loop.run_in_executor(executor, historian.forget, before_ns)
                _log.info("hours of readings deleted", count=gone, older_than_s=keep_ns // SECOND_NS)

        self.after_beat.append(flush)

        def take(readings: Readings) -> None:
            self.desk.learn(readings)
            self._tell_kept([readings])

        return Ingest(
            self.state.fleet,
            take,
            group.append,
            self.clock,
            self.state.ahead_ns,
        )

    def _tell_kept(self, batch: Sequence[Readings]) -> None:
        for hear in self.on_kept:
            for readings in batch:
                hear(readings)

    def _steady(self) -> Callable[[], int]:
        """Return a clock that begins at our time now and never steps."""
        began_s, began_ns = asyncio.get_running_loop().time(), self.clock.now_ns()
        return lambda: began_ns + int((asyncio.get_running_loop().time() - began_s) * self.speed * SECOND_NS)

    @property
    def state(self) -> DeskState:
        """What the desk knows."""
        return self.desk.state

    def _changed(self, cause: str) -> None:
        if cause:
            self.cycle.because(cause)
        self._wake.set()

    def wake(self) -> None:
        """Have a beat now, as what is due next is another."""
        self._wake.set()

    async def end(self) -> None:
        """Decide nothing any more, and return once what is decided is recorded, or after `ENDS_S`; then stop the rest.

        Who asks meanwhile is refused as the server stops; who asked before has his answer by what is recorded.
        """
        await self.group.end(ENDS_S)

    def start(self, *, tells: bool = False) -> None:
        """Begin to beat; `tells`: and between beats to publish what is measured, and to look whether the journal is
        there (dear on virtual time)."""
        warm()
        if tells:
            self.supervisor.keep("telemetry", self._tells)
            asyncio.get_running_loop().call_later(STARTS_S / self.speed, self._wake.set)
            self.supervisor.keep("look at the journal", self._looks)
        self._looked_ns = self.clock.now_ns()
        self.supervisor.keep("beat", self._beats)
        self.supervisor.keep("answers", self._answers)
        self.supervisor.keep("without a journal", self._outages)

    async def _tells(self) -> None:
        """Publish what is measured every few seconds."""
        loop, wait_s = asyncio.get_running_loop(), TELLS_S
        while True:
            await asyncio.sleep(wait_s)
            async with self._turn:  # a beat that publishes is let end first, so that no older view follows a newer
                began_s = loop.time()
                await self._publish(self.clock.now_ns())
                wait_s = max(TELLS_S, (loop.time() - began_s) / TELLS_SHARE)

    async def _looks(self) -> None:
        """Notice a database that goes away while nothing is written, and one that is another's by now."""
        while True:
            await asyncio.sleep(LOOKS_S)
            await self.group.came_up.wait()  # what is away is tried again by who waits for it
            if self.desk.failed:
                continue
            with suppress(LinkDown):
                self.group.ready()
                await self.desk.record([])

    async def _answers(self) -> None:
        """Record what devices answer soon after it came: an operator who sees it move must not read "queued"."""
        while True:
            await self._told.wait()
            await asyncio.sleep(ANSWERS_S / self.speed)
            self._told.clear()
            try:
                await self.desk.flush()
            except LinkDown:
                await self.group.came_up.wait()

    async def _outages(self) -> None:
        """Go on showing and logging what is measured while the journal's database is away; decide nothing."""
        while True:
            await self.group.went_down.wait()
            _log.error("journal lost: nothing is decided until it is back", why=self.group.down)
            lost_s = asyncio.get_running_loop().time()
            while self.group.down:
                await self._show(self.clock.now_ns())
                try:
                    async with asyncio.timeout(SHOW_S / self.speed):
                        await self.group.came_up.wait()
                except TimeoutError:
                    pass
            # As an error, too: who was told of the loss is to be told of its end, however little his log lets through.
            away_s = round(asyncio.get_running_loop().time() - lost_s, 1)
            _log.error("journal back: decisions are recorded again", away_s=away_s)
            self._wake.set()

    async def _beats(self) -> None:
        while True:
            now_ns = self.clock.now_ns()
            # Asked from where the last beat looked: what fell due while it went on has had no beat of its own.
            due_ns, again_ns = self._due_ns(min(self._looked_ns, now_ns)), next_again_ns(self.state, now_ns)
            wait_s = (min(due_ns, again_ns) - now_ns) / SECOND_NS / self.speed
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                # Who was to be told anew has answered meanwhile, as nearly all do: then nothing is due.
                if again_ns < due_ns and next_again_ns(self.state, now_ns) > self.clock.now_ns():
                    continue
            try:
                await self.beat()
            except LinkDown:
                await self.group.came_up.wait()
                self._wake.set()  # what this beat would have done is still to do
            except InvariantError:
                if self.desk.failed:  # nothing is decided until a restart, but what is measured is shown and kept
                    await self._show(self.clock.now_ns())
                raise

    def _due_ns(self, now_ns: int) -> int:
        """Return the next instant that wants a beat whatever comes meanwhile: the minute's mark, or one before it."""
        # Who waits for what a lease held must not wait for the minute's mark as well: R18 gives us five seconds.
        lapse_ns = next_end_ns(self.state, now_ns) + LAPSES_NS
        room_ns, call_ns = next_room_ns(self.state, now_ns), next_call_ns(self.state, now_ns)
        mark_ns = now_ns - now_ns % MINUTE_NS + MINUTE_NS
        freed_ns = self.cycle.next_freed_ns(now_ns)
        return min(mark_ns, lapse_ns, call_ns, room_ns, freed_ns, *(ask(now_ns) for ask in self.next_due))

    async def beat(self) -> None:
        """Do what has to be done now: take causes, settle, send, publish. One that runs already is let end first."""
        async with self._turn:  # two at once would close an interval twice, and one decide by the other's half
            await self._beat()

    async def beat_at_once(self) -> None:
        """Beat within an act that can't wait: one that runs and waits for the journal is let on."""
        while True:
            try:
                async with asyncio.timeout(URGENT_S):
                    await self._turn.acquire()
                break
            except TimeoutError:
                await self.group.append([])  # puts aside what that one waits for
        try:
            await self._beat()
        finally:
            self._turn.release()

    async def _beat(self) -> None:
        self._wake.clear()
        self._looked_ns = self.clock.now_ns()
        for prepare in self.before_beat:
            prepare()
        now_ns, began_s = self.clock.now_ns(), asyncio.get_running_loop().time()
        for place in self.first_in_beat:
            await place(now_ns)
        await self.cycle.beat(now_ns)
        entries, batch = decide_reverts(self.state, now_ns)
        await self.desk.commit(entries + decide_contradicted(self.state, now_ns) + decide_given_up(self.state, now_ns))
        if batch is not None:
            await self.desk.send(batch)
        await self._show(now_ns)
        ended_s = asyncio.get_running_loop().time()
        self.wakes.rests_s = ended_s + (ended_s - began_s) * (1.0 / ANSWERED_SHARE - 1.0)

    async def _show(self, now_ns: int) -> None:
        """Publish what is known, and do what follows a beat."""
        await self._publish(now_ns)
        for follow in self.after_beat:
            try:
                await follow()
            except LinkDown:
                if not self.group.down:
                    raise
            except InvariantError:
                if not self.desk.failed:
                    raise

    async def _publish(self, now_ns: int) -> None:
        if self._groups is None or not self._groups.are(self.state.fleet, self.published):
            self._groups = Groups(self.state.fleet, self.published)
        self.snapshot = snapshot_of(self.state, self._groups, now_ns)
        for publisher in self.publishers:
            await publisher.publish(self.snapshot)
