"""What one device was told, how far that came, and what is watched afterwards.

A command is ACCEPTED when its writes were answered, DONE when the read-back shows them, REJECTED on an exception with
its code, UNCONFIRMED when no answer came (read back once, never sent again). Afterwards two things are watched. **The
timer**: a device that still holds a command after its own timer is let go by us and the command reported UNCONFIRMED;
from then on its timers are not trusted. **Another controller**: values that we did not write are an alarm, are answered
by one more write at most, and while they stand the device offers nothing, and no hand-back is written over them.

`act` is the readable course of one command, as a coroutine. `burst` carries the same steps for many devices by
callbacks; both end in `refused` and `confirmed` here, so that nothing is judged in two places.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from tieline.device.told import Unable, told
from tieline.errors import LinkDown, PeerError
from tieline.links.device.modbus.asking import asked_of, is_bound, is_held, share_of
from tieline.links.device.modbus.held import FREE, Held
from tieline.links.device.modbus.live import Live
from tieline.links.device.modbus.unit import Rejected, Unit
from tieline.links.device.modbus.watched import Watched
from tieline.links.life import KILLED
from tieline.resource.batch import CommandBatch
from tieline.resource.command import HELD, MADE, RejectWord, Stage

MISMATCH_FRAC = 0.05
"""By more than this share of the registry's rating a device's own WMax is a mismatch that people are told of."""
_WORDS = {1: RejectWord.NOT_SUPPORTED, 2: RejectWord.NOT_SUPPORTED, 3: RejectWord.RANGE, 4: RejectWord.HARDWARE}
_WORDS |= {5: RejectWord.BUSY, 6: RejectWord.BUSY, 10: RejectWord.TIMEOUT, 11: RejectWord.TIMEOUT}


class Commanded(Watched):
    """The commands of one row: the one that waits, the one in force, and what else the device was found to hold."""

    def measure_by(self, own_w: float) -> None:
        """Take the WMax that the device tells (W; NaN: none) as the power of which its limit is a share.

        The registry's stands where it tells none, and for a device that gives nothing. What it holds was told as a
        share of the former: the share of the new one is looked for from now on, and told if the device has another.
        """
        rated_w, live = self.rating.max_inject_w, self._live
        full_w = own_w if rated_w > 0.0 and own_w > 0.0 else rated_w
        if full_w == self.full_w:
            return
        self.full_w = full_w
        if abs(full_w - rated_w) > MISMATCH_FRAC * rated_w:
            limits = "limits are told as shares of its own; correct the registry, or the device"
            self._carrier.alarm(f"{self.name}: its WMax is {full_w:.0f} W, the registry says {rated_w:.0f} W: {limits}")
        if live is not None:
            what = told(self.profile, self.rating, *live.powers_w)
            if not isinstance(what, Unable):
                live.wish = replace(live.wish, limit_frac=share_of(what, full_w))
                live.held = replace(live.held, limit_frac=live.wish.limit_frac)

    def take(self, batch: CommandBatch, at: int) -> bool:
        """Take the command in row `at` of a batch; an older (epoch, seq), or the same again, is passed over: False."""
        if not self.life.takes(batch):
            return False
        if self.pending is not None:
            self.life.displace(self.pending)
        self.pending = Live(batch, at)
        return True

    def expire(self, batch: CommandBatch) -> None:
        """End a command that still waits when its time is over."""
        if self.pending is not None and self.pending.batch is batch:
            self.life.end(self.begun(), Stage.EXPIRED)

    @property
    def waits(self) -> bool:
        """Whether there is a command to carry out."""
        return self.pending is not None or self._resumed is not None

    def begun(self) -> Live:
        """Return what waits and leave it to the caller, who carries it out from here."""
        assert self.pending is not None
        live, self.pending = self.pending, None
        return live

    # --- one command, step by step -----------------------------------------------------------------------------------

    async def act(self, unit: Unit) -> None:
        """Do what is due: carry out a command, or see that one has ended. Raises LinkDown or PeerError in trouble."""
        if self._resumed is not None:
            live, self._resumed = self._resumed, None
            if self.life.may_leave(live):
                await self._write(unit, live)
            else:  # it was told SENT already
                self.life.end(live, Stage.REJECTED, RejectWord.BLOCKED, KILLED)
        elif self.pending is not None and await self._keeps(unit):
            await self._know(unit)
            if self.pending is not None and self._begins(unit, live := self.begun()):
                await self._write(unit, live)
        elif asyncio.get_running_loop().time() >= self.over_due_s:
            self.over_due_s = math.inf
            await self._check_timer(unit)

    def is_clear(self, unit: Unit) -> bool:
        """Return whether a device, as it was last read, holds nothing that its owner set, and none of his is kept."""
        return self.owner.is_clear(unit.seen, self._live is not None)

    async def _keeps(self, unit: Unit) -> bool:
        """Read what its owner has set, and return whether that would outlive us; else it is tried again once it does.

        A device that held nothing of the kind as it was last polled is not read again.
        """
        if not unit.seen or not self.is_clear(unit):
            held = await unit.read_back()
            self.owner.see(unit.seen)
            if self._live is None and not held.is_free and self.owner.own.is_none:
                self._carrier.alarm(
                    f"{self.name}: somebody else set {held.says}; it is written over and not given back"
                )
        return self.owner.is_kept()

    async def _know(self, unit: Unit) -> None:
        """Measure what a device does by itself that a limit alone is to hold, where that is not known yet."""
        assert self.pending is not None
        what = told(self.profile, self.rating, *self.pending.powers_w)
        if isinstance(what, Unable) or not is_held(what) or not math.isnan(self.own_w()):
            return
        self._ran_free = math.isnan((await unit.read_back()).target_w)
        if not self._ran_free:
            return  # what it does is what it was told
        try:
            values = await unit.measure(("power_w",))
        except PeerError:  # crooked registers are no reason to leave a limit untold
            return
        self.own.see(values.get("power_w", math.nan), asyncio.get_running_loop().time())

    def owner_limit_w(self, unit: Unit) -> float:
        """Return the most that the device's owner lets it give, by the limit that he set (W; inf: none)."""
        limit_frac = self.owner.held(unit).limit_frac
        return limit_frac * self.full_w if limit_frac < 1.0 and self.full_w > 0.0 else math.inf

    def own_w(self) -> float:
        """Return what the device does by itself (W; NaN: not known).

        A charger would take all that it may: what it is set is the most that a car gets, and one may come at any time.
        """
        if self.profile.draws_up_to_set:
            return -self.rating.max_absorb_w * self.profile.limits.absorb_frac
        return self.own.known_w(self._carrier.clock.now_ns(), asyncio.get_running_loop().time())

    def _begins(self, unit: Unit, live: Live) -> bool:
        """Lay out what to write and say that it is sent; False where the command has ended already."""
        if not self.life.begins(live):
            return False
        what = told(self.profile, self.rating, *live.powers_w)
        if isinstance(what, Unable):
            self.life.end(live, Stage.REJECTED, RejectWord.RANGE, what.why)
            return False
        if what.is_release and self.is_contended and not self._has_limit():
            self.life.sent(live)  # what it holds is somebody else's: there is nothing to hand back
            self.life.end(live, Stage.DONE)
            return False
        own_w = self.own_w()
        live.is_release = what.is_release
        live.wish = replace(self.owner.held(unit), revert_s=self.life.left_s(live))
        if not live.is_release:
            live.wish = asked_of(what, self.full_w, self.life.left_s(live), own_w)
        # A limit binds there too; his power is not ours to end.
        if self.is_contended and math.isnan(what.power_w) and not is_held(what):
            live.wish = replace(live.wish, leaves_power=True)
        live.held = live.wish if live.is_release else self.owner.narrowed(unit, live.wish, self.full_w)
        self.holds(live, is_held(what), is_bound(what), own_w)
        self.life.sent(live)
        return True

    def _has_limit(self) -> bool:
        """Whether it was seen to hold a limit of ours, beside whatever power somebody else set."""
        return self._live is not None and self._holds_limit(self._live, self._seen)

    def holds(self, live: Live, is_hold: bool, is_bound: bool, own_w: float) -> None:
        """Take that a command goes out: one that holds the device by a limit alone, or one that such a limit bounds."""
        live.is_hold = is_hold and not self.profile.draws_up_to_set
        found_w = 0.0 if is_hold and math.isnan(own_w) else own_w
        self.own.told(found_w if is_bound else math.nan, live.batch.valid_until_ns)

    async def _write(self, unit: Unit, live: Live) -> None:
        """Write one command and read it back."""
        try:
            await self._tell(unit, live.held, live.is_release)
        except (LinkDown, PeerError) as error:
            if self.refused(live, error):
                return
        else:
            self.heard(live, live.held.revert_s)
            self.life.accepted(live, unit.frame.hex())
        try:
            held = await unit.read_back()
        except (LinkDown, PeerError) as error:
            self.confirmed(live, error)
            raise
        live.held = unit.rounded(live.held)  # what its registers can't hold is not looked for in them
        self.seen(live, held, unit)
        self.confirmed(live, held)

    def seen(self, live: Live, held: Held, unit: Unit) -> None:
        """Take what was read back of a command for what it tells of the device's owner."""
        if not live.is_release:
            self.owner.heard(live.held, held, unit.seen)
            self._see_after(unit, live.held)
        self.owner.see(unit.seen)
        self._most_w = self.owner_limit_w(unit)

    def refused(self, live: Live, error: LinkDown | PeerError) -> bool:
        """Take that a write failed; False where it is not known whether it was taken: read back, never send again."""
        match error:
            case Rejected(code=code):
                word = _WORDS.get(code, RejectWord.HARDWARE)
                self.life.end(live, Stage.REJECTED, word, f"exception {code}")
            case PeerError():
                self.life.end(live, Stage.REJECTED, RejectWord.RANGE, str(error))
            case _:
                self._carrier.counts.trouble(self.name, f"{self.name}: {error}")
                return False
        return True

    def confirmed(self, live: Live, held: Held | LinkDown | PeerError) -> None:
        """Take what was read back (or why nothing was): the command has ended, and its time is watched."""
        before, self._live = self._live, live
        self._left, self.is_contended = FREE, self.is_contended and live.held.leaves_power
        if isinstance(held, Held):
            self.is_contended &= not math.isnan(held.target_w)
            self._ran_free = math.isnan(held.target_w)
            live.is_timed = not math.isnan(held.revert_s) and held.revert_s <= live.held.revert_s + 1.0
            live.is_confirmed = held.same(live.held)
            is_new = not held.same(self._seen) or (before is not None and held.same(before.made))
            is_made = is_new and not held.is_free and not live.is_release
            if not live.is_confirmed and live.stage is Stage.ACCEPTED and is_made:
                live.made = held  # cut short at its own limit, or rounded: it was answered, and read at once
            self._seen = held
            if not live.lets_go_ns:  # its write was never answered; what was asked after it now was
                self.heard(live, live.held.revert_s)
        self._watch(live)
        if live.is_release and isinstance(held, Held) and not live.held.leaves_power:
            self._left = held
        if live.is_release and live.is_confirmed and not self.owner.own.is_none:
            self._live = None  # it is its owner's from now on, whatever he makes of it
        if live.held.leaves_power and (live.is_release or live.held.is_free):
            self._live = None  # nothing of ours stands there any more
        if not isinstance(held, Held):
            self.life.end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, str(held))
        elif live.is_confirmed:
            is_his = live.is_release or math.isnan(live.wish.target_w)  # the power that it holds
            told_w = math.nan if is_his else held.target_w
            if not live.is_hold:
                told_w = min(told_w, self._most_w)  # NaN stays
            self.life.end(live, Stage.DONE, native=HELD if live.is_hold else "", observed_w=told_w)
        else:
            native = f"{MADE if live.made is held else ''}holds {held.says}"
            self.life.end(live, Stage.UNCONFIRMED, RejectWord.NONE, native, held.target_w)

    def resume(self, live: Live) -> None:
        """Carry a command on that was begun in one request and must be told value by value."""
        self._resumed = live

    def remember(self, batch: CommandBatch, at: int, held_w: float, is_taken: bool, made_w: float) -> None:
        """Take up a command that was done before a restart of ours: whether its device lets go is still to be seen.

        `held_w` is what a limit alone held it at (W; NaN: none did). `is_taken`: it was seen to hold the command, or
        `made_w` (W) of it (NaN: nothing else).
        """
        live = Live(batch, at, Stage.DONE, is_timed=True, is_remembered=True, is_taken=is_taken)
        what = told(self.profile, self.rating, *live.powers_w)
        if not isinstance(what, Unable):
            own_w = self.own_w() if self.profile.draws_up_to_set else held_w
            live.held = live.wish = asked_of(what, self.full_w, self.life.left_s(live), own_w)
            live.made = FREE if math.isnan(made_w) else replace(live.held, target_w=made_w)
            self.holds(live, is_held(what), is_bound(what), own_w)
            self._live = live
            self._watch(live)
