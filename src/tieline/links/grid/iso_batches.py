"""Dispatch batches on their way to the desk: which parts are still to be followed, and what is answered for the rest.

Batches come twice, out of order, late and revised. A segment counts only where no batch with a higher (revision, UID)
has spoken for that pool, product and time; what is left of it goes to the desk, the rest is declined with its reason.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from tieline.desk.ports import BatchAnswer, DispatchBatch, Instruction, number
from tieline.links.grid.iso_mended import as_first
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, Interval, iso, to_ns
from tieline.wire.ads.messages import DispatchBatch as WireBatch
from tieline.wire.ads.messages import Instruction as WireInstruction
from tieline.wire.ads.messages import Reply, RespondDispatchBatch

_EXPIRED, _OVER, _LATER = "batch has expired", "its time is over", "superseded by a later revision"
_UNTOLD = (_EXPIRED, _OVER, _LATER)
CHANGED = "batch differs from the one that was answered under its UID"
_MOST_REMEMBERED = 4096
_MOST_READ = 256
"""So many batches are kept whole, to know one that is corrected under its own UID: an ISO lists the newest again."""
_W_PER_MW = 1e6
Rank = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sorted:
    """A batch sorted: what goes to the desk, which instructions it is made of, and what is declined already."""

    batch: DispatchBatch | None
    parts: Mapping[str, tuple[str, ...]]
    declined: Mapping[str, Refusal]


class Batches:
    """What this link remembers of batches: answers given, and who spoke last for which time."""

    def __init__(self, pools: Mapping[str, str], link: str, protocol: str) -> None:
        self._link, self._protocol = link, protocol
        self._pool_of = {theirs: ours for ours, theirs in pools.items()}
        self._answers: OrderedDict[str, RespondDispatchBatch] = OrderedDict()
        self._spoken: dict[tuple[str, str], list[tuple[Interval, Rank]]] = {}
        self._read: OrderedDict[str, tuple[WireBatch, datetime]] = OrderedDict()

    def answer(self, uid: str) -> RespondDispatchBatch | None:
        """Return what was answered to a batch, or None."""
        return self._answers.get(uid)

    def remember(self, answer: RespondDispatchBatch) -> None:
        """Keep an answer; the oldest are forgotten, as the desk and the ISO know them too."""
        self._answers[answer.batch_uid] = answer
        while len(self._answers) > _MOST_REMEMBERED:
            self._answers.popitem(last=False)

    def forget(self, uid: str) -> None:
        """Forget a batch of which nothing was taken: it was sent anew, and is answered afresh."""
        self._answers.pop(uid, None)
        self._read.pop(uid, None)

    def ends_ns(self, wire: WireBatch) -> int:
        """Return when the last of a batch is over, as it reads now and as it was answered (ns); 0: it asks nothing."""
        before, _ = self._read.get(wire.batch_uid, (wire, wire.batch_sent))
        segments = [segment for each in (wire, before) for one in each.instructions for segment in one.segments]
        return max((to_ns(segment.end_time) for segment in segments), default=0)

    def note(self, wire: WireBatch, sent: datetime) -> Refusal | None:
        """Keep how a batch reads and as sent when; a refusal where it was answered in this run and reads otherwise now.

        What was answered stands: it may be commanded and sold by now, and the answer can't be taken back.
        """
        uid = wire.batch_uid
        before, _ = self._read.get(uid, (wire, sent)) if uid in self._answers else (wire, sent)
        return self._differs(wire, before, sent)

    def changed(self, wire: WireBatch, native: str, first: str) -> Refusal | None:
        """Return the refusal of a batch that was answered before a restart of ours, where it read otherwise then.

        `native` is its XML, and `first` as it came first; where that is not kept (empty), or came by another protocol
        under the same UID, nothing tells.
        """
        before = None if first in ("", native) else as_first(first)
        return None if before is None else self._differs(wire, before, wire.batch_sent)

    def _differs(self, wire: WireBatch, before: WireBatch, sent: datetime) -> Refusal | None:
        uid = wire.batch_uid
        self._read[uid] = before, sent
        while len(self._read) > _MOST_READ:
            self._read.popitem(last=False)
        # By its words: a power that is no number is equal to none, and it may have come just so before.
        names = [n for n in wire.__struct_fields__ if str(getattr(wire, n)) != str(getattr(before, n))]
        names = [name for name in names if name != "batch_sent"]
        if not names:
            return None
        now, then = (", ".join(_said(one, name) for name in names) for one in (wire, before))
        return Refusal(CHANGED, ", ".join(names), now, f"{then}, as it was answered", uid)

    def is_stale(self, uid: str, sent: datetime) -> bool:
        """Whether a batch that was answered in this run is shown with another time of sending than before."""
        return uid in self._answers and uid in self._read and self._read[uid][1] != sent

    def sort(self, wire: WireBatch, frame: str, native: str, now_ns: int) -> Sorted:
        """Return what is to be followed of a batch, in W and UTC, and what is not."""
        sent_ns, expires_ns = to_ns(wire.batch_sent), to_ns(wire.batch_expires)
        rank = wire.revision_no, number(wire.batch_uid)
        instructions: list[Instruction] = []
        parts: dict[str, tuple[str, ...]] = {}
        declined: dict[str, Refusal] = {}
        for one in wire.instructions:
            # Neither is followed: with one UID for two wishes, an answer could not say which of them was taken.
            if one.instruction_uid in parts or one.instruction_uid in declined:
                parts.pop(one.instruction_uid, None)
                declined[one.instruction_uid] = Refusal(
                    "instruction UID twice in one batch", "instructionUID", one.instruction_uid, "once in a batch"
                )
                continue
            found = self._follow(one, wire, rank, expires_ns, now_ns)
            if isinstance(found, Refusal):
                declined[one.instruction_uid] = found
                continue
            parts[one.instruction_uid] = tuple(part.id for part in found)
            instructions += found
        instructions = [part for part in instructions if any(part.id in ids for ids in parts.values())]
        batch = DispatchBatch(
            wire.batch_uid, sent_ns, now_ns, expires_ns, tuple(instructions), frame, native, self._link, self._protocol
        )
        return Sorted(batch if instructions else None, parts, declined)

    def unfollowed(self, wire: WireBatch, sorted_: Sorted) -> tuple[Refusal, int] | None:
        """Return why this link declines instructions by itself, and when the last of them is over (ns).

        None where it declines none, or for their time or a later revision alone: nobody counts on those.
        """
        found = {uid: why for uid, why in sorted_.declined.items() if why.reason not in _UNTOLD}
        if not found:
            return None
        (uid, why), ends = (
            next(iter(found.items())),
            [
                to_ns(segment.end_time)
                for one in wire.instructions
                if one.instruction_uid in found
                for segment in one.segments
            ],
        )
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return replace(why, reason=f"instruction {uid}{more}: {why.reason}"), max(ends, default=0)

    def settle(self, wire: WireBatch, sorted_: Sorted, answer: BatchAnswer | None) -> RespondDispatchBatch:
        """Return the reply to the ISO, and remember who spoke for the times that were accepted."""
        accepted = frozenset(answer.accepted) if answer else frozenset()
        refused = dict(answer.declined) if answer else {}
        rank = wire.revision_no, number(wire.batch_uid)
        taken = {part.id: part for part in sorted_.batch.instructions} if sorted_.batch else {}
        replies = []
        for one in wire.instructions:
            uid = one.instruction_uid
            ids = sorted_.parts.get(uid, ())
            for each in ids:
                if each in accepted:
                    part = taken[each]
                    self._speak((part.pool, part.product), Interval(part.start_ns, part.end_ns), rank)
            # ACCEPT is for the whole instruction: where one piece of it was refused, the ISO must not count on any.
            if ids and all(each in accepted for each in ids):
                replies.append(Reply(uid, "ACCEPT"))
                continue
            why = next((refused[each] for each in ids if each in refused), sorted_.declined.get(uid))
            replies.append(Reply(uid, "DECLINE", str(why or "not taken")[:2000]))
        return RespondDispatchBatch(wire.batch_uid, replies=tuple(replies))

    def again(self, wire: WireBatch, answer: BatchAnswer) -> RespondDispatchBatch:
        """Return the reply to a batch that the desk answered before a restart of ours: the same, whatever its time."""
        refused = dict(answer.declined)
        rank = wire.revision_no, number(wire.batch_uid)
        replies = []
        for one in wire.instructions:
            uid, pool = one.instruction_uid, self._pool_of.get(one.resource)
            taken = [each for each in answer.accepted if _is_part(each, uid)]
            why = [refusal for each, refusal in refused.items() if _is_part(each, uid)]
            if not taken or why or pool is None:
                replies.append(Reply(uid, "DECLINE", str(why[0] if why else "declined as it came first")[:2000]))
                continue
            for segment in one.segments:
                self._speak((pool, one.product), Interval(to_ns(segment.start_time), to_ns(segment.end_time)), rank)
            replies.append(Reply(uid, "ACCEPT"))
        return RespondDispatchBatch(wire.batch_uid, replies=tuple(replies))

    def declined_as_changed(self, wire: WireBatch, why: Refusal, answer: BatchAnswer) -> RespondDispatchBatch:
        """Return the reply to a batch that reads otherwise than it was answered before a restart of ours: as it reads
        now none of it is followed. What was taken of it is, and holds its time."""
        self.again(self._read[wire.batch_uid][0], answer)
        replies = tuple(Reply(one.instruction_uid, "DECLINE", str(why)[:2000]) for one in wire.instructions)
        return RespondDispatchBatch(wire.batch_uid, replies=replies)

    def _follow(
        self, one: WireInstruction, wire: WireBatch, rank: Rank, expires_ns: int, now_ns: int
    ) -> list[Instruction] | Refusal:
        if expires_ns <= now_ns:
            return Refusal(_EXPIRED, "batchExpires", iso(expires_ns), iso(now_ns))
        pool = self._pool_of.get(one.resource)
        if pool is None:
            return Refusal("unknown resource", "resource", one.resource)
        left: list[tuple[Interval, float]] = []
        for segment in one.segments:
            start_ns, end_ns = to_ns(segment.start_time), to_ns(segment.end_time)
            if end_ns <= start_ns:
                return Refusal("segment ends before it starts", "endTime", iso(end_ns), iso(start_ns))
            over = Interval(start_ns, end_ns)
            # Cut by time, not by batch: a revision that begins within a segment takes its own part and leaves the rest.
            pieces = without(over, [seen for seen, by in self._spoken.get((pool, one.product), ()) if by > rank])
            left += [(piece, segment.mw) for piece in pieces]
        if not left:
            return Refusal(_LATER, "revisionNo", str(wire.revision_no))
        left = [(piece, mw) for piece, mw in left if piece.end_ns > now_ns]
        if not left:
            return Refusal(_OVER, "endTime", iso(to_ns(one.segments[-1].end_time)), iso(now_ns))
        alone = len(left) == 1
        return [
            Instruction(
                one.instruction_uid if alone else f"{one.instruction_uid}#{at}",
                wire.batch_uid,
                pool,
                one.product,
                piece.start_ns,
                piece.end_ns,
                mw * _W_PER_MW,
                one.price,
                wire.revision_no,
                "" if alone else one.instruction_uid,
            )
            for at, (piece, mw) in enumerate(left)
        ]

    def _speak(self, of: tuple[str, str], over: Interval, rank: Rank) -> None:
        spoken = self._spoken.setdefault(of, [])
        # Only times that a late batch could still mean are kept.
        spoken[:] = [each for each in spoken if each[0].end_ns > over.start_ns - HOUR_NS]
        spoken.append((over, rank))


def without(over: Interval, taken: list[Interval]) -> list[Interval]:
    """Return what is left of an interval outside those that are taken, in order."""
    left = [over]
    for other in taken:
        left = [piece for each in left for piece in _minus(each, other)]
    return left


def _said(wire: WireBatch, name: str) -> str:
    """Return what a batch says in a field, for people: of its instructions what each resource is to give."""
    if name != "instructions":
        return f"{name} {getattr(wire, name)}"
    parts = [f"{one.resource} {part.mw:g} MW" for one in wire.instructions for part in one.segments]
    return f"{'; '.join(parts[:5])}{'; ...' if len(parts) > 5 else ''}"


def _is_part(part: str, uid: str) -> bool:
    """Whether an instruction of the desk is (a part of) that of the ISO's."""
    return part == uid or part.startswith(f"{uid}#")


def _minus(one: Interval, other: Interval) -> list[Interval]:
    if not one.overlaps(other):
        return [one]
    before = [Interval(one.start_ns, other.start_ns)] if one.start_ns < other.start_ns else []
    after = [Interval(other.end_ns, one.end_ns)] if other.end_ns < one.end_ns else []
    return before + after
