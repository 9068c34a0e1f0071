"""What one device was told, how far that came, and what is watched afterwards.

A command is ACCEPTED when its writes were answered, DONE when the read-back shows them, REJECTED on an exception with
its code, UNCONFIRMED when no answer came (read back once, never sent again). Afterwards two things are watched. **The
timer**: a device that still holds a command after its own timer is let go by us and the command reported UNCONFIRMED;
from then on its timers are not trusted. **Another controller**: values that we did not write are an alarm, are answered
by one more write at most, and while they stand the device offers nothing.

`act` is the readable course of one command, as a coroutine. `burst` carries the same steps for many devices by
callbacks; both end in `refused`, `wrote` and `confirmed` here, so that nothing is judged in two places.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

from tieline.desk.ports import LastHop
from tieline.device.profile import Profile
from tieline.device.told import Told, Unable, told
from tieline.errors import LinkDown, PeerError
from tieline.links.device.last_hop import KILLED, may_leave
from tieline.links.device.modbus.unit import FREE, Held, Rejected, Unit
from tieline.links.device.telling import Teller
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.resource.identity import Rating
from tieline.times import SECOND_NS, Clock

_WORDS = {1: RejectWord.NOT_SUPPORTED, 2: RejectWord.NOT_SUPPORTED, 3: RejectWord.RANGE, 4: RejectWord.HARDWARE}
_WORDS |= {5: RejectWord.BUSY, 6: RejectWord.BUSY, 10: RejectWord.TIMEOUT, 11: RejectWord.TIMEOUT}


class Carrier(Protocol):
    """The link, as one of its devices sees it: counters, clock, and where to tell."""

    last_hop: LastHop | None
    clock: Clock
    teller: Teller
    poll_s: float
    grace_s: float
    speed: float
    takes_blocks: bool
    sent: int
    acknowledged: int
    observed: int
    rejected: int
    unconfirmed: int
    displaced: int
    expired: int
    contended: int
    lies: int
    delays_s: list[float]
    last_error: str

    def alarm(self, text: str) -> None:
        """Tell the operator."""
        ...

    def changed(self, is_live: bool | None = None) -> None:
        """Say that a device lives from now on (True), or no more (False)."""
        ...


@dataclass
class Live:
    """The newest command that the device took."""

    batch: CommandBatch
    held: Held
    is_confirmed: bool = False
    is_timed: bool = False
    retries: int = 0


class Commanded:
    """The commands of one row: the one that waits, the one in force, and what else the device was found to hold."""

    def __init__(self, row: int, name: str, profile: Profile, rating: Rating, carrier: Carrier) -> None:
        self.row, self.name, self.profile, self.rating = row, name, profile, rating
        self.pending: CommandBatch | None = None
        self.at = 0  # where it stands in the batch that waits
        self.over_due_s = math.inf
        self.is_contended = False
        self.lies = False
        self._carrier = carrier
        self._stamp = (-1, -1)
        self._live: Live | None = None
        self._left: Held | None = None  # what was found at first sight: it may be our own, from before a restart
        self._resumed: tuple[CommandBatch, Held] | None = None

    def take(self, batch: CommandBatch, at: int) -> bool:
        """Take the command in row `at` of a batch; an older (epoch, seq), or the same again, is passed over: False."""
        stamp = (batch.epoch, batch.seq)
        if stamp <= self._stamp:
            return False
        self._stamp = stamp
        if self.pending is not None:
            self._carrier.displaced += 1
            self.tell(self.pending, Stage.CANCELLED)
        self.pending, self.at = batch, at
        return True

    def expire(self, batch: CommandBatch) -> None:
        """End a command that still waits when its time is over."""
        if self.pending is batch:
            self.pending = None
            self.end(batch, Stage.EXPIRED)

    @property
    def waits(self) -> bool:
        """Whether there is a command to carry out."""
        return self.pending is not None or self._resumed is not None

    def begun(self) -> None:
        """Leave what waits to a burst, which carries it out from here."""
        self.pending = None

    # --- one command, step by step -----------------------------------------------------------------------------------

    async def act(self, unit: Unit) -> None:
        """Do what is due: carry out a command, or see that one has ended. Raises LinkDown or PeerError in trouble."""
        if self._resumed is not None:
            (batch, asked), self._resumed = self._resumed, None
            if may_leave(self._carrier.last_hop, batch, self.row):
                await self._write(unit, batch, asked)
            else:  # it was told SENT already
                self.end(batch, Stage.REJECTED, RejectWord.BLOCKED, KILLED)
        elif self.pending is not None:
            batch, self.pending = self.pending, None
            asked_or_not = self._begin(batch)
            if asked_or_not is not None:
                await self._write(unit, batch, asked_or_not)
        elif asyncio.get_running_loop().time() >= self.over_due_s:
            self.over_due_s = math.inf
            await self._check_timer(unit)

    def _begin(self, batch: CommandBatch) -> Held | None:
        """Return what to write, having said that it is sent; None where the command has ended already."""
        left_s = (batch.valid_until_ns - self._carrier.clock.now_ns()) / SECOND_NS
        if left_s <= 0:
            self.end(batch, Stage.EXPIRED)
            return None
        if not may_leave(self._carrier.last_hop, batch, self.row):
            self.end(batch, Stage.CANCELLED, RejectWord.BLOCKED, KILLED)
            return None
        at = self.at
        powers = float(batch.target_w[at]), float(batch.low_w[at]), float(batch.high_w[at])
        what = told(self.profile, self.rating, *powers)
        if isinstance(what, Unable):
            self.end(batch, Stage.REJECTED, RejectWord.RANGE, what.why)
            return None
        self._carrier.sent += 1
        self.tell(batch, Stage.SENT)
        return asked_of(what, self.rating.max_inject_w, left_s)

    async def _write(self, unit: Unit, batch: CommandBatch, asked: Held) -> None:
        """Write one command and read it back."""
        try:
            await unit.tell(asked)
        except (LinkDown, PeerError) as error:
            if self.refused(batch, error):
                return
        else:
            self.wrote(batch, unit.frame)
        try:
            held = await unit.read_back()
        except (LinkDown, PeerError) as error:
            self.confirmed(batch, asked, error)
            raise
        self.confirmed(batch, asked, held)

    def refused(self, batch: CommandBatch, error: LinkDown | PeerError) -> bool:
        """Take that a write failed; False where it is not known whether it was taken: read back, never send again."""
        match error:
            case Rejected(code=code):
                self.end(batch, Stage.REJECTED, _WORDS.get(code, RejectWord.HARDWARE), f"exception {code}")
            case PeerError():
                self.end(batch, Stage.REJECTED, RejectWord.RANGE, str(error))
            case _:
                self._carrier.last_error = f"{self.name}: {error}"
                return False
        return True

    def wrote(self, batch: CommandBatch, frame: bytes) -> None:
        """Take that all writes of a command were answered."""
        self._carrier.acknowledged += 1
        now_ns = self._carrier.clock.now_ns()
        self._carrier.delays_s.append((now_ns - batch.issued_at_ns) / SECOND_NS)
        self.tell(batch, Stage.ACCEPTED, frame=frame.hex())

    def confirmed(self, batch: CommandBatch, asked: Held, held: Held | LinkDown | PeerError) -> None:
        """Take what was read back (or why nothing was): the command has ended, and its time is watched."""
        live = self._live = Live(batch, asked)
        self._left, self.is_contended = FREE, False
        if isinstance(held, Held):
            live.is_timed = not math.isnan(held.revert_s) and held.revert_s <= asked.revert_s + 1.0
            live.is_confirmed = held.same(asked)
        self._watch(live)
        if not isinstance(held, Held):
            self.end(batch, Stage.UNCONFIRMED, RejectWord.TIMEOUT, str(held))
        elif live.is_confirmed:
            self._carrier.observed += 1
            self.end(batch, Stage.DONE, observed_w=held.target_w)
        else:
            native = f"holds {held.target_w:g} W, limit {held.limit_frac:.0%}"
            self.end(batch, Stage.UNCONFIRMED, RejectWord.NONE, native, held.target_w)

    def resume(self, batch: CommandBatch, asked: Held) -> None:
        """Carry a command on that was begun in one request and must be told value by value."""
        self._resumed = batch, asked

    # --- after the command -------------------------------------------------------------------------------------------

    def _watch(self, live: Live) -> None:
        """Look at the device when its command has run out: a little later where it has a timer of its own."""
        self.over_due_s = math.inf
        if not live.held.is_free:
            grace_s = self._carrier.grace_s if live.is_timed and not self.lies else 0.0
            wait_s = (self._left_s(live.batch) + grace_s) / self._carrier.speed
            self.over_due_s = asyncio.get_running_loop().time() + wait_s

    async def _check_timer(self, unit: Unit) -> None:
        """Let go of what a command left behind. Releasing is absolute, so that twice does no harm."""
        live = self._live
        if live is None:
            return
        try:
            held = await unit.read_back()
            if held.is_free or not held.same(live.held):
                self._live = None  # it let go, or is somebody else's by now
                return
            if live.is_timed and not self.lies:
                self.lies = True
                self._carrier.lies += 1
                self._carrier.alarm(f"{self.name}: held its command after its own timer; its timers are not trusted")
                native = "held its command after its timer"
                self.end(live.batch, Stage.UNCONFIRMED, RejectWord.TIMEOUT, native, held.target_w)
            await unit.tell(FREE)
            if not (await unit.read_back()).is_free:
                self._carrier.alarm(f"{self.name}: does not let go of a command that has run out")
            self._live = None
        except (LinkDown, PeerError):
            self.over_due_s = 0.0  # the safe side: again when it answers
            raise

    async def look(self, unit: Unit) -> None:
        """Compare what the device holds with what we wrote, and answer another controller by one more write at most."""
        self._see(await unit.read_back())
        live = self._live
        if live is not None and live.retries == 1 and not self.is_contended:
            live.retries = 2
            left_s = self._left_s(live.batch)
            if left_s > 1.0 and may_leave(self._carrier.last_hop, live.batch, self.row):
                await unit.tell(Held(live.held.target_w, live.held.limit_frac, left_s))

    def _see(self, held: Held) -> None:
        live = self._live
        is_running = live is not None and live.is_confirmed and self._left_s(live.batch) > self._carrier.grace_s
        if self._left is None or held.is_free:
            self._left = held
        expected = live.held if live is not None and is_running else self._left
        if live is not None and not is_running:
            return  # its end is the timer's, and what an unconfirmed one left is not known
        if held.same(expected):
            self.is_contended = False
            return
        if self.is_contended:
            return
        self._carrier.contended += 1
        said = "nothing" if held.is_free else f"{held.target_w:g} W, limit {held.limit_frac:.0%}"
        self._carrier.alarm(f"{self.name}: holds {said}, which we did not write")
        if live is not None and live.retries < self.profile.retries:
            live.retries = 1
        else:
            self.is_contended = True

    # --- small things ------------------------------------------------------------------------------------------------

    def _left_s(self, batch: CommandBatch) -> float:
        return max((batch.valid_until_ns - self._carrier.clock.now_ns()) / SECOND_NS, 0.0)

    def end(
        self,
        batch: CommandBatch,
        stage: Stage,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
    ) -> None:
        """Tell how a command ended, and count it."""
        carrier = self._carrier
        carrier.expired += stage is Stage.EXPIRED
        carrier.rejected += stage is Stage.REJECTED
        carrier.unconfirmed += stage is Stage.UNCONFIRMED
        if native:
            carrier.last_error = f"{self.name}: {native}"
        self.tell(batch, stage, reject, native, observed_w)

    def tell(
        self,
        batch: CommandBatch,
        stage: Stage,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
        frame: str = "",
    ) -> None:
        """Tell how far a command has come."""
        self._carrier.teller.stage(batch.id, self.row, stage, reject, native, observed_w, frame)


def asked_of(what: Told, most_w: float, left_s: float) -> Held:
    """Return what to write. Model 704 has no limit of absorption: one that binds alone is kept by a target.

    Args:
        what: What the device is told.
        most_w: The greatest power it can inject (W), of which its limit is a share.
        left_s: For how long (s).
    """
    target_w = what.power_w
    if math.isnan(target_w) and not math.isinf(what.low_w):
        target_w = min(max(0.0, what.low_w), what.high_w)
    is_limited = not math.isinf(what.high_w) and most_w > 0
    limit_frac = min(max(what.high_w / most_w, 0.0), 1.0) if is_limited else 1.0
    return Held(target_w, limit_frac, left_s)
