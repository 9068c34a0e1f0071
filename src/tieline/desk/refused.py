"""What a market asked that was refused, and that it may count on until it takes it back or its time is over.

A market is answered, but not every market listens: one counts on what it was refused. So each is kept under the name of
its batch, or award, until something that came later stands in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from tieline.desk.market_facts import AwardTaken, BatchChanged, BatchTaken, BatchUnread
from tieline.desk.ports import Award, DispatchBatch, Instruction
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS

if TYPE_CHECKING:
    from tieline.desk.state import DeskState

EXPIRED, OVER, NEWER = "the batch has expired", "the interval is over", "a newer revision is in force"
BY_KILL = "kill_switch"
MOST_UNREAD = 1_000
"""So many batches that could not be read are kept; the oldest gives way."""
DISPUTED_NS = 60 * DAY_NS
"""So long after its time a price that is disputed is kept: markets close their books in less."""
UNTOLD = (EXPIRED, OVER, NEWER)
"""Why nobody counts on what was refused: its own time says so, or the market has said something else since."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked in one batch, or by one award, of one pool and product, and why it is refused, or disputed."""

    name: str
    asked: tuple[Instruction | Award, ...]
    refusal: Refusal
    at_ns: int
    record: str

    @property
    def is_award(self) -> bool:
        """Whether it is an award; else instructions of a batch."""
        return isinstance(self.asked[0], Award)

    @property
    def end_ns(self) -> int:
        """When its time is over (ns)."""
        return max(one.end_ns for one in self.asked)


@dataclass(frozen=True, slots=True)
class Unread:
    """What a link could not read, or what reads otherwise than it was answered, since when, and its record."""

    fact: BatchUnread | BatchChanged
    at_ns: int
    record: str


def note(
    state: DeskState, record_id: str, fact: AwardTaken | BatchTaken | BatchUnread | BatchChanged, at_ns: int
) -> None:
    """Note what a market is refused, and forget what it asked otherwise since."""
    old = [key for key, one in state.refused.items() if one.end_ns <= at_ns - DAY_NS]
    for key in old:
        del state.refused[key]
    if isinstance(fact, AwardTaken):
        _note_award(state, record_id, fact, at_ns)
    elif isinstance(fact, BatchUnread):
        _keep(state.unread, Unread(fact, at_ns, record_id))
    elif isinstance(fact, BatchChanged):
        if fact.link:  # a record of before says neither of which link it is nor when it is over
            _keep(state.changed, Unread(fact, at_ns, record_id))
    else:
        for kept in (state.unread, state.changed):
            kept.pop((fact.batch.link, fact.batch.uid), None)
        _note_batch(state, record_id, fact, at_ns)


def _keep(kept: dict[tuple[str, str], Unread], one: Unread) -> None:
    kept.pop((one.fact.link, one.fact.uid), None)
    kept[one.fact.link, one.fact.uid] = one
    if len(kept) > MOST_UNREAD:
        del kept[next(iter(kept))]


def _note_award(state: DeskState, record_id: str, fact: AwardTaken, at_ns: int) -> None:
    award, key = fact.award, ("award", fact.award.id, "", "")
    if fact.refusal is not None:
        state.refused[key] = Refused(award.id, (award,), fact.refusal, at_ns, record_id)
        return
    for name in [name for name, one in state.disputed.items() if one.end_ns <= at_ns - DISPUTED_NS]:
        del state.disputed[name]
    if fact.dispute is not None:
        state.disputed[award.id] = Refused(award.id, (award,), fact.dispute, at_ns, record_id)
    elif (held := state.disputed.get(award.id)) is not None and held.asked != (award,):
        del state.disputed[award.id]  # told again at another price
    # A mended one may come under another name: an offer has one award a time.
    for other, one in list(state.refused.items()):
        was = one.asked[0]
        same = isinstance(was, Award) and was.offer == award.offer and _spans(was) == _spans(award)
        if other == key or same:
            del state.refused[other]


def _note_batch(state: DeskState, record_id: str, fact: BatchTaken, at_ns: int) -> None:
    accepted = set(fact.answer.accepted)
    state.batch_asks[fact.batch.uid] = asks_of(fact.batch)
    taken = [one for one in fact.batch.instructions if one.id in accepted]
    if fact.batch.is_mended:  # it stands in the place of what was refused under its own name
        for key in [key for key in state.refused if key[:2] == ("batch", fact.batch.uid)]:
            del state.refused[key]
    for key, one in list(state.refused.items()):
        left = tuple(was for was in one.asked if not _stands_for(taken, was, at_ns))
        if not left:
            del state.refused[key]
        elif len(left) < len(one.asked):
            state.refused[key] = Refused(one.name, left, one.refusal, one.at_ns, one.record)
    why = dict(fact.answer.declined)
    found: dict[tuple[str, str], list[Instruction]] = {}
    for each in fact.batch.instructions:
        refusal = why.get(each.id)
        # Behind the kill switch the market is told that nothing is to be had, and an alarm would come with each batch.
        if refusal is not None and refusal.reason not in UNTOLD and not refusal.reason.startswith(BY_KILL):
            found.setdefault((each.pool, each.product), []).append(each)
    for (pool, product), asked in found.items():
        key = ("batch", fact.batch.uid, pool, product)
        state.refused[key] = Refused(fact.batch.uid, tuple(asked), why[asked[0].id], at_ns, record_id)


def asks_of(batch: DispatchBatch) -> str:
    """Return a name of what a batch asks: the same for one that is sent anew as it was, whenever that is."""
    return derive("batch-asks", repr((batch.expires_ns, batch.instructions)))


def is_repriced(was: Award, award: Award) -> bool:
    """Whether an award differs from what it was in its price, and in nothing else."""
    return was != award and structs.replace(was, price_per_mwh=award.price_per_mwh) == award


def _spans(award: Award) -> tuple[int, int]:
    return award.start_ns, award.end_ns


def _stands_for(taken: list[Instruction], was: Instruction | Award, at_ns: int) -> bool:
    """Whether instructions that were taken stand over all that is left of one that was refused."""
    if isinstance(was, Award):
        return False
    from_ns = max(was.start_ns, at_ns)
    mine = [one for one in taken if (one.pool, one.product) == (was.pool, was.product) and one.rank >= was.rank]
    for one in sorted(mine, key=lambda one: one.start_ns):
        if one.start_ns <= from_ns:
            from_ns = max(from_ns, one.end_ns)
    return from_ns >= was.end_ns
