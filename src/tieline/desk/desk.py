"""The desk: every decision passes here, is recorded, applied, and only then acted upon.

Theory of operation. A decision is a pure function of the state that returns entries. `_commit` applies them to memory
at once, in the order of the journal, and returns when they are durable; answers and commands leave after that. Should
the journal fail, memory is ahead of it: the desk then refuses everything until it is rebuilt by replay. A journal that
is away for a while (a database server) refuses before anything is applied, and what was under way waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tieline.desk import asks, awards, dispatch
from tieline.desk.apply import HEARD, apply
from tieline.desk.authority import may_pass
from tieline.desk.base import learn, tells_of_a_hand
from tieline.desk.entry import Entry, Recorder
from tieline.desk.facts import AskRefused, BatchChanged, BatchUnread, CommandsReported
from tieline.desk.packed import Packed
from tieline.desk.ports import (
    Admission,
    Ask,
    Award,
    BatchAnswer,
    CommandLink,
    DispatchBatch,
    Foresight,
    Granted,
    LinkHealth,
    MarketLink,
    Offer,
)
from tieline.desk.state import DeskState
from tieline.desk.withheld import answered
from tieline.errors import InvariantError
from tieline.flow.record import Record
from tieline.ids import derive
from tieline.resource.admission import Principal
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.claim import Quantity, Refusal
from tieline.resource.command import RejectWord, Stage
from tieline.resource.level import Level
from tieline.resource.selects import SELECT_S
from tieline.times import Clock

CARRIED = frozenset({Quantity.P, Quantity.CONNECT})
"""What a link tells its devices where it says nothing else by an attribute `carries`."""


class Desk:
    """Implements the desk's inlets over one state, one journal and the links that are bound to it."""

    def __init__(
        self,
        state: DeskState,
        recorder: Recorder,
        clock: Clock,
        principals: Mapping[str, Principal],
        on_change: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self.state = state
        state.inherited = len(state.command_batches)
        self.market: MarketLink | None = None
        self.admission: Admission | None = None
        """What holds every offer before it leaves; none: the market alone says what it takes."""
        self.foresight: Foresight | None = None
        """What offers are held against beside ratings; none: nothing is foreseen here."""
        self._recorder, self._clock = recorder, clock
        self._principals = principals
        self._on_change = on_change
        self._links: dict[int, CommandLink] = {}
        self._link_of_row = np.full(len(state.fleet), -1, np.int16)
        self._addresses: dict[str, dict[int, str]] = {}
        self._pending: list[Entry] = []
        self.on_pending: Callable[[], None] = lambda: None
        """Told when something waits for the next flush."""
        self._broken = ""
        self.on_readings: Callable[[Readings], None] = lambda readings: None
        self.on_hand: Callable[[], None] = lambda: None
        """Told when a device says that somebody else has it (LOCAL), or no more: others stand in at the next beat."""
        self.on_counted: Callable[[], None] = lambda: None  # told of readings where loads count at what they draw
        self.on_answers: Callable[[bool], None] = lambda are_all: None
        """Told when a device answers whose answer a limit's growth waits for, and whether all of those have."""
        self.last_reports: dict[int, CommandReports] = {}

    # --- bindings ------------------------------------------------------------------------------------------------

    def bind(self, link: CommandLink, protocol: str, addresses: Mapping[int, str]) -> None:
        """Bind rows to the link that carries their commands; each row has one."""
        code = len(self._links)
        self._links[code] = link
        rows = np.fromiter(addresses, np.int32, len(addresses))
        taken = rows[self._link_of_row[rows] >= 0]
        if len(taken):
            raise InvariantError(f"row {taken[0]} is bound to a link already: one writer a resource")
        self._link_of_row[rows] = code
        if hasattr(link, "last_hop"):
            link.last_hop = self
        for quantity in getattr(link, "carries", CARRIED):
            able = self.state.carries.setdefault(quantity, np.zeros(len(self.state.fleet), np.bool_))
            able[rows] = True
        self.state.is_switched[[row for row in link.switched if row in addresses]] = True
        self._addresses.setdefault(protocol, {}).update(addresses)

    def row(self, resource: str) -> int:
        """Return the fleet row of a resource. Raises KeyError where there is none."""
        return self.state.fleet.row(resource)

    def resource(self, row: int) -> str:
        """Return the id of the resource in a row."""
        return self.state.fleet.id_of(row)

    def now_ns(self) -> int:
        """Return the instant of the desk's clock."""
        return self._clock.now_ns()

    def addresses(self, protocol: str) -> Mapping[int, str]:
        """Return the address of every row bound to a protocol."""
        return self._addresses.get(protocol, {})

    # --- recording -----------------------------------------------------------------------------------------------

    async def commit(self, entries: Sequence[Entry]) -> None:
        """Apply entries now and return when they are durable.

        Raises:
            LinkDown: The journal is away for now; nothing was applied.
            Unrecordable: No record can hold what was asked; nothing was applied, and all else goes on.
            InvariantError: The journal failed; nothing may be answered or sent.
        """
        if not entries:
            return
        self._ready()
        now_ns = self._clock.now_ns()
        records = [entry.record(now_ns) for entry in entries]
        for entry in entries:
            apply(self.state, entry.id, entry.fact, now_ns)
        await self.record(records)

    async def record(self, records: Sequence[Record]) -> None:
        """Return once what is applied is durable; of none, once it shows that some could be. Raises as `commit`."""
        try:
            await self._recorder.append(records)
        except Exception as error:
            self._broken = str(error)
            raise InvariantError(f"the journal failed: {error}") from error

    @property
    def failed(self) -> str:
        """Why nothing is decided any more until a restart, as the journal failed; empty: it did not."""
        return self._broken

    def _ready(self) -> None:
        """Do nothing where decisions can be recorded; who would lose what he holds asks before he decides."""
        if self._broken:
            raise InvariantError(f"the journal failed ({self._broken}): restart to rebuild the state from it")
        self._recorder.ready()

    def _because(self, record: str) -> None:
        """Let a beat come because of a record that is about to be applied.

        Said before: the state has it at once, and a beat that runs while it becomes durable must know why it moved.
        """
        self._ready()
        self._on_change(record)

    async def flush(self) -> None:
        """Record what came in through synchronous ports since the last time."""
        self._ready()
        entries, self._pending = self._pending, []
        await self.commit(entries)

    # --- asks ----------------------------------------------------------------------------------------------------

    async def ask(self, ask: Ask) -> Granted | Refusal:
        """Admit or refuse one wish; durable before it is answered."""
        principal = self._principals.get(ask.principal)
        now_ns = self._clock.now_ns()
        entries, answer = asks.decide_ask(self.state, ask, principal, now_ns)
        # A control room says its limits again each few minutes: what is only said again waits for the minute's beat.
        if isinstance(answer, Granted) and entries and not asks.renews(self.state, ask, now_ns):
            self._because(answer.claim)
        await self.commit(entries)
        return answer

    def select(
        self, source: str, resource: str, quantity: Quantity, level: Level, lease_s: float = SELECT_S
    ) -> Refusal | None:
        """Give a source the exclusive lease on what it is about to operate, or say who holds it (R13)."""
        if not self.state.fleet.holds(resource):
            return Refusal("no such resource", "resource", resource, "a resource of the registry")
        key = asks.select_key(source, resource, quantity, level)
        return self.state.selects.take(key, source, self._clock.now_ns(), lease_s)

    def changed(self, record: str) -> None:
        """Let the next beat come now, because of a record."""
        self._on_change(record)

    def deselect(self, source: str) -> int:
        """Free all that a source had selected, and return how many that were."""
        return self.state.selects.release(source)

    async def refuse(self, ask: Ask, refusal: Refusal) -> None:
        """Record a refusal that a link gave by itself."""
        record = derive("ask", *asks.key_of(ask), ask.version, ask.frame)
        await self.commit([Entry(record, AskRefused(ask, refusal), ask.resource)])

    async def withdraw(
        self, source: str, program: str, resource: str, quantity: Quantity, frame: str, why: str = "withdrawn"
    ) -> bool:
        """Cancel the live claim of a source, in words that say who did; the next valid claim holds again."""
        key = (source, program, resource, quantity.value)
        entries = asks.decide_withdraw(self.state, key, frame, why, self._clock.now_ns())
        if entries:
            self._because(entries[-1].id)
        await self.commit(entries)
        return bool(entries)

    # --- market --------------------------------------------------------------------------------------------------

    async def offer(self, offers: Sequence[Offer]) -> list[Refusal | None]:
        """Reserve, record and submit offers; one answer a row."""
        held: list[Refusal | None] = []
        for offer in offers:  # one after the other: each sees what those before it hold, or one list sells a kW twice
            fault = self._not_admitted(offer)
            if fault is not None:
                # What is held for an offer that may no longer leave is given back.
                known = offer.id in self.state.offers and offer.id not in self.state.offer_answers
                await self.commit(awards.decide_offer_answers(self.state, [offer], [fault]) if known else [])
                held.append(fault)
                continue
            entries, answers = self.decide_offer(offer)
            await self.commit(entries)
            held += answers
        good = [offer for offer, refusal in zip(offers, held, strict=True) if refusal is None]
        if self.market is None or not good:
            return held
        said = await self.market.submit(good)
        await self.commit(awards.decide_offer_answers(self.state, good, said))
        answer_of = dict(zip((offer.id for offer in good), said, strict=True))
        return [refusal or answer_of.get(offer.id) for offer, refusal in zip(offers, held, strict=True)]

    def decide_offer(self, offer: Offer) -> tuple[list[Entry], list[Refusal | None]]:
        """Return the facts of an offer, and whether it can be held against what is foreseen for its hour."""
        foresight, now_ns = self.foresight, self._clock.now_ns()
        if foresight is None:
            return awards.decide_offers(self.state, [offer])
        return awards.decide_offers(self.state, [offer], lambda each: foresight.most_w(each, now_ns))

    def _not_admitted(self, offer: Offer) -> Refusal | None:
        return None if self.admission is None else self.admission.refusal(offer, self._clock.now_ns())

    async def awards(self, awarded: Sequence[Award], frame: str) -> list[Refusal | None]:
        """Take day-ahead awards; one answer a row."""
        answers: list[Refusal | None] = []
        for award in awarded:  # one after the other: each sees what those before it took
            entries, answer = awards.decide_award(self.state, award, frame)
            await self.commit(entries)
            answers.append(answer)
        self._on_change("")
        return answers

    async def unawarded(self, pools: Sequence[str], start_ns: int, end_ns: int) -> list[str]:
        """Return our offers of pools that begin within an interval and have no award, refusal or `cleared` yet."""
        return awards.waiting(self.state, pools, start_ns, end_ns)

    async def cleared(self, offers: Sequence[str], frame: str) -> None:
        """Take that the market cleared without these offers; said again it has one effect."""
        await self.commit(awards.decide_cleared(self.state, offers, frame))

    async def dispatch(self, batch: DispatchBatch) -> BatchAnswer:
        """Take a dispatch batch; the same twice has one effect and the same answer, a mended one is answered afresh."""
        entries, answer = awards.decide_batch(self.state, batch, self._clock.now_ns())
        await self.commit(entries)
        if entries:
            self._on_change("")
        return answer

    async def corrected(self, uid: str, refusal: Refusal, frame: str, link: str = "", end_ns: int = 0) -> None:
        """Take that a batch reads otherwise than when it was answered; what was answered stands."""
        await self.commit(awards.decide_corrected(self.state, BatchChanged(uid, refusal, frame, link, end_ns)))

    async def unread(self, uid: str, refusal: Refusal, link: str, end_ns: int = 0) -> bool:
        """Take that a link can't read a batch, or instructions of it, and declined them; return if that is news."""
        entries = awards.decide_unread(self.state, BatchUnread(uid, refusal, link, end_ns), self._clock.now_ns())
        await self.commit(entries)
        return bool(entries)

    async def answered(self, uid: str) -> BatchAnswer | None:
        """Return what was answered to a batch before, in this run or an earlier one; None: it never came here."""
        return self.state.batches.get(uid)

    async def as_taken(self, uid: str) -> str:
        """Return a batch as it came first, in its protocol's own words; empty: that is not kept."""
        return self.state.batch_texts.get(uid, "")

    async def last_batch_uid(self) -> str:
        """Return the uid after which the ISO should be asked for more."""
        return self.state.last_batch_uid

    # --- what links bring ----------------------------------------------------------------------------------------

    def readings(self, readings: Readings) -> None:
        """Take measurements into the columns, learn the base of rows that run freely, and pass them on."""
        readings = self.state.fleet.checked(readings, self.state.ahead_ns)
        self.on_readings(readings)
        self.learn(readings)

    def learn(self, readings: Readings) -> None:
        """Take measurements that were checked into the columns, and say so where a hand at a device has moved."""
        learn(self.state, readings, self._clock.now_ns())
        if tells_of_a_hand(self.state, readings):
            self.on_hand()
        if self.state.counted:
            self.on_counted()

    def reports(self, reports: CommandReports) -> None:
        """Take the progress of commands; it is recorded at the next flush."""
        fact = CommandsReported(
            reports.batch, reports.link, Packed.of(reports.rows), Packed.of(reports.stage), Packed.of(reports.at_ns),
            Packed.of(reports.reject), Packed.of(reports.observed_w), reports.native, reports.frames,
        )  # fmt: skip
        body = reports.rows.tobytes() + reports.stage.tobytes() + reports.at_ns.tobytes()
        record = derive("reports", reports.batch, reports.link, body)
        self._pending.append(Entry(record, fact, "", (reports.batch,)))
        self.on_pending()
        self._tell_answered(fact)

    def _tell_answered(self, fact: CommandsReported) -> None:
        if self.state.withheld:
            are_all = answered(self.state, fact.rows.array()[HEARD[fact.stage.array()]])
            if are_all is not None:
                self.on_answers(are_all)

    def look_for_answers(self) -> None:
        """Tell of answers that a limit's growth waits for since a moment ago, and that came before: since the last
        flush."""
        for entry in self._pending:
            if isinstance(entry.fact, CommandsReported):
                self._tell_answered(entry.fact)

    def health(self, health: LinkHealth) -> None:
        """Take a change of a link's session."""
        self.state.health[health.name] = health

    # --- dispatch ------------------------------------------------------------------------------------------------

    async def settle(self, rows: NDArray[np.int32] | None = None) -> CommandBatch | None:
        """Settle the claims of rows (None: those that may have changed), and send what changed to their links."""
        await self.flush()
        now_ns = self._clock.now_ns()  # a journal that was away may have kept us waiting
        self.state.claims.expire(now_ns)
        self._note_local()
        if rows is None:
            self.state.claims.touch(dispatch.due(self.state, now_ns))
        settled = self.state.claims.arbitrate(now_ns, rows)
        entries, batch = dispatch.decide_commands(self.state, settled, now_ns)
        await self.commit(entries)
        if batch is not None:
            await self.send(batch)
        return batch

    def _note_local(self) -> None:
        """Take down which devices say by now that they are in LOCAL, or no more: no beat is waited for."""
        known, said = self.state.claims.is_local, self.state.fleet.column("is_local")
        is_local = np.where(np.isnan(said), known, said > 0.5)
        if (is_local != known).any():
            self.state.claims.set_local(is_local)

    async def send(self, batch: CommandBatch) -> None:
        """Hand each link its rows of a durable batch; what the kill switch bars by now ends CANCELLED."""
        for code, link in self._links.items():
            mine = self._link_of_row[batch.rows] == code
            if not mine.any():
                continue
            passes = self.passes(batch)
            if (mine & ~passes).any():
                self._bar(batch.take(mine & ~passes), link.name)
            if (mine & passes).any():
                await link.send(batch.take(mine & passes))

    def passes(self, batch: CommandBatch) -> NDArray[np.bool_]:
        """Return which commands of a batch may leave at this instant; links that queue ask again before they write."""
        passes = may_pass(self.state, batch.rows, batch.target_w, batch.low_w, batch.high_w)
        if not passes.all():
            self.state.claims.touch(batch.rows[~passes])  # decided again once the switch is released
        return passes

    def _bar(self, batch: CommandBatch, link: str) -> None:
        count = len(batch)
        self.reports(
            CommandReports(
                batch.id, link, batch.rows, np.full(count, Stage.CANCELLED, np.uint8),
                np.full(count, self._clock.now_ns(), np.int64), np.full(count, RejectWord.BLOCKED, np.uint8),
                np.full(count, np.nan), ("the kill switch is pressed",), (),
            )
        )  # fmt: skip
