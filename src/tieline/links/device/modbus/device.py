"""One SunSpec device of a link: found, polled, told, watched; its trouble is its own and stops no neighbour.

A command is ACCEPTED when its writes were answered, DONE when the read-back shows them, REJECTED on an exception with
its code, UNCONFIRMED when no answer came (read back once, never sent again). Afterwards two things are watched. **The
timer**: a device that still holds a command after its own timer is let go by us and the command reported UNCONFIRMED;
from then on its timers are not trusted. **Another controller**: values that we did not write are an alarm, are answered
by one more write at most, and while they stand the device offers nothing.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tieline.device.able import able
from tieline.device.profile import Profile
from tieline.device.told import Told, Unable, told
from tieline.errors import LinkDown, PeerError
from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.unit import FREE, Held, Rejected, Unit
from tieline.links.device.telling import Teller
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.resource.identity import Rating
from tieline.resource.quality import Quality
from tieline.rim.supervise import Backoff
from tieline.times import SECOND_NS, Clock

_WORDS = {1: RejectWord.NOT_SUPPORTED, 2: RejectWord.NOT_SUPPORTED, 3: RejectWord.RANGE, 4: RejectWord.HARDWARE}
_WORDS |= {5: RejectWord.BUSY, 6: RejectWord.BUSY, 10: RejectWord.TIMEOUT, 11: RejectWord.TIMEOUT}
_AGAIN = Backoff(2.0, 120.0)


class Carrier(Protocol):
    """The link, as one of its devices sees it: counters, clock, and where to tell."""

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
class _Live:
    """The newest command that the device took."""

    batch: CommandBatch
    held: Held
    is_confirmed: bool = False
    is_timed: bool = False
    retries: int = 0


class Device:
    """One row of a link, behind a unit of a connection."""

    def __init__(
        self,
        row: int,
        name: str,
        number: int,
        profile: Profile,
        rating: Rating,
        carrier: Carrier,
        rng: np.random.Generator,
    ) -> None:
        self.row, self.name, self.number = row, name, number
        self.profile, self.rating = profile, rating
        self.unit: Unit | None = None
        self.is_found = False
        self.is_contended = False
        self.lies = False
        self._carrier, self._rng = carrier, rng
        self._stamp = (-1, -1)
        self._pending: CommandBatch | None = None
        self._at = 0  # where it stands in the batch that waits
        self._live: _Live | None = None
        self._left: Held | None = None  # what was found at first sight: it may be our own, from before a restart
        self._poll_due_s, self._over_due_s = 0.0, math.inf
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._last: dict[str, float] = {}
        self._taken_ns = 0
        self._is_lost = True

    # --- what the link asks ------------------------------------------------------------------------------------------

    def take(self, batch: CommandBatch, at: int) -> None:
        """Take the command in row `at` of a batch; an older (epoch, seq), or the same again, is passed over."""
        stamp = (batch.epoch, batch.seq)
        if stamp <= self._stamp:
            return
        self._stamp = stamp
        if self._pending is not None:
            self._carrier.displaced += 1
            self._tell(self._pending, Stage.CANCELLED)
        self._pending, self._at = batch, at
        self._wake.set()

    def expire(self, batch: CommandBatch) -> None:
        """End a command that still waits when its time is over."""
        if self._pending is batch:
            self._pending = None
            self._end(batch, Stage.EXPIRED)

    def wake(self) -> None:
        """Look again: something has changed."""
        self._wake.set()

    def probe(self) -> None:
        """Ask a device that lives at once: does its connection still carry?"""
        if self.is_live:
            self._poll_due_s = 0.0
            self._wake.set()

    async def run(self, client: Client) -> None:
        """Serve the device for as long as the connection lives."""
        takes_blocks = self._carrier.takes_blocks if self.unit is None else self.unit.takes_blocks
        self.unit, self.is_found = Unit(client, self.number, takes_blocks), False
        tries, loop = 0, asyncio.get_running_loop()
        self._poll_due_s = 0.0
        while client.is_open:
            self._wake.clear()
            try:
                if not self.is_found:
                    await self.unit.find()
                    self.is_found = True
                    self._carrier.changed()
                await self._act()
                if loop.time() >= self._poll_due_s:
                    await self._poll()
                    self._poll_due_s = loop.time() + self._carrier.poll_s * (0.95 + 0.1 * float(self._rng.random()))
                tries, wait_s = 0, min(self._poll_due_s, self._over_due_s) - loop.time()
            except (LinkDown, PeerError) as error:
                tries += 1
                self._carrier.last_error = f"{self.name}: {error}"
                self.lose()
                wait_s = _AGAIN.delay_s(tries, self._rng)
                if isinstance(error, PeerError):
                    self.is_found = False  # it may have been changed for another: look afresh
                await self._rest(client, wait_s)
                continue
            await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until there is something to do; it may end early. An alarm that is due by then is kept."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + max(seconds, 0.001)
        if self._alarm is None or self._alarm.when() > due_s + 0.001:
            self.stop()
            self._alarm = loop.call_at(due_s, self._ring)
        await self._wake.wait()

    def _ring(self) -> None:
        self._alarm = None
        self._wake.set()

    async def _rest(self, client: Client, seconds: float) -> None:
        """Leave a device in trouble in peace for its delay, whatever comes meanwhile; the connection's end ends it."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + seconds
        while client.is_open and loop.time() < until_s:
            self._wake.clear()
            await self._pause(until_s - loop.time())

    def lose(self) -> None:
        """Mark all points lost, with their last value and source time; once."""
        if not self._is_lost:
            self._is_lost = True
            self._carrier.teller.bring(self.row, self._last, Quality.COMM_LOST, self._taken_ns)
            self._carrier.changed(False)

    @property
    def is_live(self) -> bool:
        """Whether its values are fresh."""
        return self.is_found and not self._is_lost

    def stop(self) -> None:
        """Let the alarm go."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _act(self) -> None:
        if self._pending is not None:
            batch, self._pending = self._pending, None
            await self._carry_out(batch)
        elif asyncio.get_running_loop().time() >= self._over_due_s:
            self._over_due_s = math.inf
            await self._check_timer()

    async def _carry_out(self, batch: CommandBatch) -> None:
        """Write one command and read it back."""
        left_s = (batch.valid_until_ns - self._carrier.clock.now_ns()) / SECOND_NS
        if left_s <= 0:
            self._end(batch, Stage.EXPIRED)
            return
        at = self._at
        powers = float(batch.target_w[at]), float(batch.low_w[at]), float(batch.high_w[at])
        what = told(self.profile, self.rating, *powers)
        if isinstance(what, Unable):
            self._end(batch, Stage.REJECTED, RejectWord.RANGE, what.why)
            return
        asked = self._asked(what, left_s)
        assert self.unit is not None
        self._carrier.sent += 1
        self._tell(batch, Stage.SENT)
        try:
            await self.unit.tell(asked)
        except Rejected as error:
            self._end(batch, Stage.REJECTED, _WORDS.get(error.code, RejectWord.HARDWARE), f"exception {error.code}")
            return
        except LinkDown as error:
            self._carrier.last_error = f"{self.name}: {error}"
        except PeerError as error:
            self._end(batch, Stage.REJECTED, RejectWord.RANGE, str(error))
            return
        else:
            self._carrier.acknowledged += 1
            now_ns = self._carrier.clock.now_ns()
            self._carrier.delays_s.append((now_ns - batch.issued_at_ns) / SECOND_NS)
            self._tell(batch, Stage.ACCEPTED, frame=self.unit.frame.hex())
        await self._confirm(batch, asked)

    def _asked(self, what: Told, left_s: float) -> Held:
        """Return what to write. Model 704 has no limit of absorption: one that binds alone is kept by a target."""
        target_w = what.power_w
        if math.isnan(target_w) and not math.isinf(what.low_w):
            target_w = min(max(0.0, what.low_w), what.high_w)
        most_w = self.rating.max_inject_w
        is_limited = not math.isinf(what.high_w) and most_w > 0
        limit_frac = min(max(what.high_w / most_w, 0.0), 1.0) if is_limited else 1.0
        return Held(target_w, limit_frac, left_s)

    async def _confirm(self, batch: CommandBatch, asked: Held) -> None:
        assert self.unit is not None
        live = self._live = _Live(batch, asked)
        self._left = FREE
        self.is_contended = False
        try:
            held = await self.unit.read_back()
        except (LinkDown, PeerError) as error:
            self._watch(live)
            self._end(batch, Stage.UNCONFIRMED, RejectWord.TIMEOUT, str(error))
            raise
        live.is_timed = not math.isnan(held.revert_s) and held.revert_s <= asked.revert_s + 1.0
        live.is_confirmed = held.same(asked)
        self._watch(live)
        if live.is_confirmed:
            self._carrier.observed += 1
            self._end(batch, Stage.DONE, observed_w=held.target_w)
        else:
            native = f"holds {held.target_w:g} W, limit {held.limit_frac:.0%}"
            self._end(batch, Stage.UNCONFIRMED, RejectWord.NONE, native, held.target_w)

    # --- after the command -------------------------------------------------------------------------------------------

    def _watch(self, live: _Live) -> None:
        """Look at the device when its command has run out: a little later where it has a timer of its own."""
        self._over_due_s = math.inf
        if not live.held.is_free:
            grace_s = self._carrier.grace_s if live.is_timed and not self.lies else 0.0
            wait_s = (self._left_s(live.batch) + grace_s) / self._carrier.speed
            self._over_due_s = asyncio.get_running_loop().time() + wait_s

    async def _check_timer(self) -> None:
        """Let go of what a command left behind. Releasing is absolute, so that twice does no harm."""
        live, unit = self._live, self.unit
        if live is None or unit is None:
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
                self._end(live.batch, Stage.UNCONFIRMED, RejectWord.TIMEOUT, native, held.target_w)
            await unit.tell(FREE)
            if not (await unit.read_back()).is_free:
                self._carrier.alarm(f"{self.name}: does not let go of a command that has run out")
            self._live = None
        except (LinkDown, PeerError):
            self._over_due_s = 0.0  # the safe side: again when it answers
            raise

    async def _poll(self) -> None:
        assert self.unit is not None
        values = await self.unit.measure(self.profile.measures)
        self._see(await self.unit.read_back())
        if self._live is not None and self._live.retries == 1 and not self.is_contended:
            self._live.retries = 2
            left_s = self._left_s(self._live.batch)
            if left_s > 1.0:
                again = Held(self._live.held.target_w, self._live.held.limit_frac, left_s)
                await self.unit.tell(again)
        values |= able(self.profile, self.rating, values, self.is_contended)
        values["is_local"] = float(self.is_contended)
        self._last, self._taken_ns = values, self._carrier.clock.now_ns()
        was_lost, self._is_lost = self._is_lost, False
        self._carrier.teller.bring(self.row, values, Quality.GOOD, self._taken_ns)
        if was_lost:
            self._carrier.changed(True)

    def _see(self, held: Held) -> None:
        """Compare what the device holds with what we wrote."""
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

    def _end(
        self,
        batch: CommandBatch,
        stage: Stage,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
    ) -> None:
        carrier = self._carrier
        carrier.expired += stage is Stage.EXPIRED
        carrier.rejected += stage is Stage.REJECTED
        carrier.unconfirmed += stage is Stage.UNCONFIRMED
        if native:
            carrier.last_error = f"{self.name}: {native}"
        self._tell(batch, stage, reject, native, observed_w)

    def _tell(
        self,
        batch: CommandBatch,
        stage: Stage,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
        frame: str = "",
    ) -> None:
        self._carrier.teller.stage(batch.id, self.row, stage, reject, native, observed_w, frame)
