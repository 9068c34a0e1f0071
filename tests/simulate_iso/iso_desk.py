"""A small desk behind the ISO link under test: a schedule that instructions change, by the rules of the port."""

from collections.abc import Sequence

from tieline.desk.ports import Award, BatchAnswer, DispatchBatch, Instruction, Offer
from tieline.resource.claim import Refusal


class ScheduleDesk:
    """Keeps what each batch did, answers the same batch alike, and counts every effect on the schedule."""

    def __init__(self) -> None:
        self.got: list[Award] = []
        self.batches: list[DispatchBatch] = []
        self.effects: dict[str, int] = {}
        self.schedule: list[Instruction] = []
        self.last = "-1"
        self.refuse: dict[str, Refusal] = {}
        self.answers: dict[str, BatchAnswer] = {}
        self.offered: list[Offer] = []
        self.without: list[str] = []
        self.unfollowed: dict[str, Refusal] = {}
        self.disputed: list[tuple[str, Refusal]] = []

    async def awards(self, awards: Sequence[Award], frame: str) -> list[Refusal | None]:
        known = {award.id for award in self.got}
        self.got += [award for award in awards if award.id not in known]
        return [None] * len(awards)

    async def unawarded(self, pools: Sequence[str], start_ns: int, end_ns: int) -> list[str]:
        told = {award.offer for award in self.got} | set(self.without)
        mine = [one for one in self.offered if one.pool in pools and start_ns <= one.start_ns < end_ns]
        return [one.id for one in mine if one.id not in told]

    async def cleared(self, offers: Sequence[str], frame: str) -> None:
        self.without += offers

    async def dispatch(self, batch: DispatchBatch) -> BatchAnswer:
        self.batches.append(batch)
        self.last = str(max(int(self.last), int(batch.uid)))
        accepted, declined = [], []
        for one in batch.instructions:
            if one.pool in self.refuse:
                declined.append((one.id, self.refuse[one.pool]))
                continue
            self.effects[one.id] = self.effects.get(one.id, 0) + 1
            self.schedule.append(one)
            accepted.append(one.id)
        return self.answers.setdefault(batch.uid, BatchAnswer(batch.uid, tuple(accepted), tuple(declined)))

    async def corrected(self, uid: str, refusal: Refusal, frame: str, link: str = "", end_ns: int = 0) -> None:
        self.disputed.append((uid, refusal))

    async def unread(self, uid: str, refusal: Refusal, link: str, end_ns: int = 0) -> bool:
        is_news = self.unfollowed.get(uid) != refusal
        self.unfollowed[uid] = refusal
        return is_news

    async def answered(self, uid: str) -> BatchAnswer | None:
        return self.answers.get(uid)

    async def as_taken(self, uid: str) -> str:
        return next((batch.native for batch in self.batches if batch.uid == uid), "")

    async def last_batch_uid(self) -> str:
        return self.last

    def holds(self, at_ns: int) -> float | None:
        """Return the power that the newest revision asks at an instant, however the batches came."""
        told = [one for one in self.schedule if one.start_ns <= at_ns < one.end_ns]
        return max(told, key=lambda one: (one.revision, int(one.batch))).power_w if told else None
