"""What an adapter that brings wishes up to the desk gives the contract suite: its link, its peer, ways to disturb both.

To plug one in, write a class with these members in a file of its own, and name it in `UPWARD` of
`test_contract_upward.py`. Everything runs on virtual time. Powers are W, positive from the resource into the grid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tieline.desk.ports import Ask, Award, BatchAnswer, DispatchBatch, Granted, LinkHealth, Session
from tieline.errors import LinkDown
from tieline.resource.claim import Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.selects import Selects
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock
from tieline.times import SECOND_NS

POOL = "pool:north"


@dataclass
class RecordingDesk:
    """A fake of the desk's inlets: it keeps each wish that it took, and can be slow, refuse, or fail."""

    effects: list[float] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    natives: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    asked: int = 0
    refusing: Refusal | None = None
    is_failing: bool = False
    delay_s: float = 0.0
    last: str = "-1"
    selects: Selects = field(default_factory=Selects)

    async def ask(self, ask: Ask) -> Granted | Refusal:
        await self._turn()
        if self.refusing is not None:
            return self.refusing
        self._take(ask.value, ask.frame, ask.native)
        return Granted(f"claim:{len(self.effects)}", len(self.effects) + 1)

    async def refuse(self, ask: Ask, refusal: Refusal) -> None:
        pass

    async def withdraw(
        self, source: str, program: str, resource: str, quantity: Quantity, frame: str, why: str = "withdrawn"
    ) -> bool:
        return True

    def select(
        self, source: str, resource: str, quantity: Quantity, level: Level, lease_s: float = 5.0
    ) -> Refusal | None:
        now_ns = int(asyncio.get_running_loop().time() * SECOND_NS)
        return self.selects.take((source.partition(":")[0], resource, quantity, level), source, now_ns)

    def deselect(self, source: str) -> int:
        return self.selects.release(source)

    async def awards(self, awards: Sequence[Award], frame: str) -> list[Refusal | None]:
        return [None] * len(awards)

    async def unawarded(self, pools: Sequence[str], start_ns: int, end_ns: int) -> list[str]:
        return []

    async def cleared(self, offers: Sequence[str], frame: str) -> None:
        pass

    async def dispatch(self, batch: DispatchBatch) -> BatchAnswer:
        await self._turn()
        self.last = str(max(int(self.last), int(batch.uid)))
        ids = tuple(one.id for one in batch.instructions)
        if self.refusing is not None:
            return BatchAnswer(batch.uid, (), tuple((one, self.refusing) for one in ids))
        for one in batch.instructions:
            self._take(one.power_w, batch.frame, batch.native)
        return BatchAnswer(batch.uid, ids, ())

    async def corrected(self, uid: str, refusal: Refusal, frame: str) -> None:
        raise AssertionError("no batch was corrected")

    async def unread(self, uid: str, refusal: Refusal, link: str, end_ns: int = 0) -> bool:
        return True

    async def answered(self, uid: str) -> BatchAnswer | None:
        return None

    async def as_taken(self, uid: str) -> str:
        return ""

    async def last_batch_uid(self) -> str:
        return self.last

    def health(self, health: LinkHealth) -> None:
        self.sessions.append(health.session)

    async def _turn(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.is_failing:
            raise LinkDown("the journal is away")

    def _take(self, power_w: float, frame: str, native: str) -> None:
        self.effects.append(power_w)
        self.frames.append(frame)
        self.natives.append(native)


@dataclass(frozen=True)
class Answer:
    """What a peer was told of its wish: whether it was taken, and the protocol's own word."""

    is_taken: bool
    word: str


class UpwardHarness(Protocol):
    """An adapter under test. `alone`: its session while no peer is there; `answer_s`: how long an answer may take."""

    alone: Session
    answer_s: float
    back_s: float
    bad_settings: list[tuple[dict[str, object], str]]

    async def start(self, clock: VirtualClock, supervisor: Supervisor, desk: RecordingDesk) -> None:
        """Raise the link and its peer."""
        ...

    async def stop(self) -> None:
        """Take both down."""
        ...

    def health(self) -> LinkHealth:
        """Return the link's health."""
        ...

    async def wish(self, power_w: float) -> Answer:
        """Have the peer ask the pool for a power, and return what it was told."""
        ...

    async def again(self) -> None:
        """Have the peer's last wish come once more, as it was."""
        ...

    async def late(self, power_w: float) -> Answer:
        """Have the peer ask for a power too late by the protocol's own rule."""
        ...

    async def stranger(self, power_w: float) -> None:
        """Have somebody ask who, or for what, stands on no list."""
        ...

    async def spoil(self) -> None:
        """Have bytes come that can't be read."""
        ...

    async def drop(self) -> None:
        """Take the peer away."""
        ...

    async def restore(self) -> None:
        """Bring the peer back."""
        ...

    def check(self, settings: dict[str, object]) -> None:
        """Make the link's settings of a document. Raises ConfigError or ValidationError for what can't be."""
        ...
