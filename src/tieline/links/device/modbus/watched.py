"""What is watched at one device after it was told something: its timer, other controllers, and what its owner had set.

A device that still holds a command after its own timer is let go by us; from then on its timers are not trusted.
Values that we did not write are an alarm, are answered by one more write at most, and while they stand nothing is
written over them. What its owner had set before us is written back once nothing of ours stands (`owner`).
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from tieline.device.profile import Profile
from tieline.errors import LinkDown, PeerError
from tieline.links.device.modbus.held import FREE, Held
from tieline.links.device.modbus.live import Carrier, Live
from tieline.links.device.modbus.own_power import FRESH_POLLS, OwnPower
from tieline.links.device.modbus.owner import TRIES, Mark, Owner, marks
from tieline.links.device.modbus.reversion import keeps
from tieline.links.device.modbus.unit import Unit
from tieline.links.life import Life
from tieline.resource.command import RejectWord, Stage
from tieline.resource.identity import Rating
from tieline.times import SECOND_NS


class Watched:
    """One row, its newest command, and what the device is found to hold."""

    def __init__(self, row: int, name: str, profile: Profile, rating: Rating, carrier: Carrier) -> None:
        self.row, self.name, self.profile, self.rating = row, name, profile, rating
        self.full_w = rating.max_inject_w  # the power of which its limit is a share, until the device tells its own
        self.life = Life(row, name, carrier)
        self.pending: Live | None = None
        self.over_due_s = math.inf
        self.is_contended = False
        self.lies = False
        most_w = rating.max_inject_w * profile.limits.inject_frac
        least_w = rating.max_absorb_w * profile.limits.absorb_frac
        self.own = OwnPower(-least_w, most_w, FRESH_POLLS * carrier.poll_s)
        self._ran_free = True  # as last read back: it was told no power
        self._carrier = carrier
        self._live: Live | None = None  # the newest command that was written
        self._left: Held | None = None  # what was found at first sight: it may be our own, from before a restart
        self._resumed: Live | None = None
        self._seen = FREE  # as last read back
        self._most_w = math.inf  # by its owner's limit, as it was then
        self.owner = Owner(row, carrier.controls)
        self._left_until_s = math.inf
        self._reverts = True  # it takes what is to hold after its timer

    async def _tell(self, unit: Unit, what: Held, is_release: bool = False) -> None:
        """Write a command; or what its owner had set, where it is let go."""
        if is_release and not self.owner.own.is_none:
            self.owner.tries += 1
            await unit.give_back(self.owner.own.words, what.leaves_power)
        else:
            if not is_release:
                self.owner.told()
            await unit.tell(what, self.owner.after(unit, what, self.full_w))

    def _see_after(self, unit: Unit, what: Held) -> None:
        """Tell people, once, of a device that can't be made to go back to what its owner had set by itself."""
        told = self.owner.after(unit, what, self.full_w)
        if self._reverts and not keeps(unit.seen, told):
            self._reverts = False
            lost = "what its owner had set holds again only once a server of ours lives"
            self._carrier.alarm(f"{self.name}: does not take what is to hold after its timer; {lost}")

    def heard(self, live: Live, revert_s: float) -> None:
        """Take that a device has heard by now what it was told for so long (s): its timer started no later."""
        live.lets_go_ns = self._carrier.clock.now_ns() + int(revert_s * SECOND_NS)

    def _holds_limit(self, live: Live, held: Held) -> bool:
        return live.held.limit_frac < 1.0 and held.same(replace(live.held, leaves_power=True))

    def _watch(self, live: Live) -> None:
        """Look at the device when its command has run out: a little later where it has a timer of its own."""
        self.over_due_s = math.inf
        if not live.held.is_free and not live.is_release:
            # A device whose timer we trust gets a little longer to let go by itself; without one we are the timer.
            wait_s = self.life.left_s(live)
            if live.is_timed and not self.lies:
                timer_s = (live.lets_go_ns - self._carrier.clock.now_ns()) / SECOND_NS
                wait_s = max(wait_s, timer_s) + self._carrier.grace_s
            self.over_due_s = asyncio.get_running_loop().time() + wait_s / self._carrier.speed

    async def _check_timer(self, unit: Unit) -> None:
        """Let go of what a command left behind. Releasing is absolute, so that twice does no harm."""
        live = self._live
        if live is None:
            return
        try:
            held = await unit.read_back()
            self.owner.see(unit.seen)
            self._narrow(live, unit)
            if not self.is_contended and self.owner.is_back(unit, held, self.full_w):
                self._live, self._left = None, held  # its timer let go of ours
                await self._give_back(unit)
                return
            his = self.is_contended and self._holds_limit(live, held)
            if held.is_free or not (his or held.same(live.held) or held.same(live.made)):
                self._live = None  # it let go, or is somebody else's by now
                if held.is_free:
                    await self._give_back(unit)
                return
            if live.is_remembered and math.isnan(held.revert_s):
                # We were its timer, and were not there.
                native = "held its command after its time, as no server ran"
                self.life.end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, native, held.target_w)
            elif live.is_timed and not self.lies:
                self.lies = True
                self._carrier.counts.lies += 1
                self._carrier.alarm(f"{self.name}: held its command after its own timer; its timers are not trusted")
                native = "held its command after its timer"
                self.life.end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, native, held.target_w)
            free = replace(self.owner.held(unit), leaves_power=his or live.held.leaves_power)
            await self._tell(unit, free, is_release=True)
            held = await unit.read_back()
            self.owner.see(unit.seen)
            if not free.leaves_power:
                self._left = held
            if not held.same(free):
                self._carrier.alarm(f"{self.name}: does not let go of a command that has run out")
            self._live = None
        except (LinkDown, PeerError):
            self.over_due_s = 0.0  # the safe side: again when it answers
            raise

    async def _give_back(self, unit: Unit) -> None:
        """Write what its owner had set, where it was written over and nothing of ours stands any more."""
        if not self.owner.is_owed or self.owner.tries >= TRIES or not self.owner.is_kept():
            return
        await self._tell(unit, FREE, is_release=True)
        self._left = self._seen = await unit.read_back()
        self.owner.see(unit.seen)
        if self.owner.is_owed and self.owner.tries >= TRIES:
            self._carrier.alarm(f"{self.name}: does not take back what its owner had set")

    async def look(self, unit: Unit, power_w: float) -> None:
        """Compare what the device holds with what we wrote, and answer another controller by one more write at most.

        `power_w` is what it has just measured (W; NaN: nothing).
        """
        held, live = await unit.read_back(), self._live
        ran_free, self._ran_free = self._ran_free, math.isnan(held.target_w)
        if ran_free and self._ran_free:  # before the measurement and after it
            self.own.see(power_w, asyncio.get_running_loop().time())
        if live is not None and not live.is_release:
            self.owner.heard(live.held, held, unit.seen)
            if held.is_free and self._is_running(live):
                self.owner.forget()
            elif self._has_his_power(live) and math.isnan(held.target_w) and self._is_running(live):
                self.owner.forget_power()
        words, was_owed = self.owner.own.words, self.owner.is_owed
        self.owner.see(unit.seen)
        was_his = was_owed and words == self.owner.own.words  # what he sets by now is a hand that is told of
        is_back = was_his and not self.is_contended and self.owner.is_back(unit, held, self.full_w)
        if live is not None and not live.is_release:
            self._narrow(live, unit)
        self._see(held, unit, is_back)
        if (live is None or live.is_release) and self.pending is None and self._is_left(held, unit):
            await self._give_back(unit)
        elif live is not None and live.retries == 1 and not self.is_contended and self.owner.is_kept():
            live.retries = 2
            left_s = self.life.left_s(live)
            if left_s > 1.0 and self.life.may_leave(live):
                await self._tell(unit, replace(live.held, revert_s=left_s), live.is_release)
                self.heard(live, left_s)
                self._watch(live)

    def _recall(self, live: Live, held: Held) -> None:
        """Hold what was told before a restart against what the device holds now, as it is seen first.

        Who took it and holds something else was told that by somebody else meanwhile: his hand is not written over. One
        that holds nothing may only have rebooted.
        """
        live.is_confirmed, live.is_taken = True, False
        if not held.same(live.held) and not held.is_free:
            live.retries = self.profile.retries

    def _is_running(self, live: Live) -> bool:
        """Return whether a command was seen there, and is not about to end."""
        return live.is_confirmed and self.life.left_s(live) > self._carrier.grace_s

    def _narrow(self, live: Live, unit: Unit) -> None:
        """Take what its owner has set by now for what a device is to hold beside a command."""
        live.held = unit.rounded(self.owner.narrowed(unit, live.wish, self.full_w))

    def _has_his_power(self, live: Live) -> bool:
        """Return whether a device was told the power that its owner set, beside a limit of ours."""
        return math.isnan(live.wish.target_w) and not math.isnan(live.held.target_w)

    def _is_left(self, held: Held, unit: Unit) -> bool:
        """Return whether nothing of anybody's stands any more where its owner had set something, or his, by a timer.

        Nor is it in the way what was found at first sight and its timer should have ended long ago: a server before us
        told it and never heard of it.
        """
        now_s = asyncio.get_running_loop().time()
        if self._left is None or not held.same(self._left) or not held.revert_s > 0.0 or self.is_contended:
            self._left_until_s = math.inf
        elif math.isinf(self._left_until_s):
            self._left_until_s = now_s + (held.revert_s + self._carrier.grace_s) / self._carrier.speed
        return held.is_free or self.owner.is_back(unit, held, self.full_w) or now_s >= self._left_until_s

    def _see(self, held: Held, unit: Unit, is_back: bool) -> None:
        live, self._seen = self._live, held
        if live is not None and live.is_taken:
            self._recall(live, held)
        is_running = live is not None and self._is_running(live)
        if self._left is None or held.is_free or is_back:
            self._left = held
        expected = live.held if live is not None and is_running else self._left
        if live is not None and not is_running:
            return  # its end is the timer's, and what an unconfirmed one left is not known
        if held.same(expected):
            self.is_contended = expected.leaves_power and not math.isnan(held.target_w)
            return
        if self.is_contended:
            return
        self._carrier.counts.contended += 1
        if held.is_free and not held.unread:
            said = "no longer holds what it was told, and we did not end it"
        else:
            said = f"holds {held.says}, which we did not write"
        self._carrier.alarm(f"{self.name}: {said}")
        is_owners = live is not None and live.is_release and Mark.LASTING in marks(unit.seen)
        if live is not None and live.retries < self.profile.retries and not is_owners:
            live.retries = 1
        else:
            self.is_contended = True
