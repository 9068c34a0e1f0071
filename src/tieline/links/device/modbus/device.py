"""One SunSpec device of a link: found, polled, told, watched; its trouble is its own and stops no neighbour.

One task a device finds it, polls it and looks after its timers. Commands that come for many devices at once are not
its work, as ten thousand tasks that wake for every answer cost more than what they do: a `burst` tells those that are
at rest, and the task waits until it has ended.
"""

from __future__ import annotations

import asyncio
import math

import numpy as np

from tieline.desk.inverter_facts import Stands
from tieline.device.able import able
from tieline.device.profile import Profile
from tieline.errors import LinkDown, PeerError
from tieline.links.device.modbus.adopting import Adopting
from tieline.links.device.modbus.client import Client, GaveWay
from tieline.links.device.modbus.commanded import Commanded
from tieline.links.device.modbus.line import Failure
from tieline.links.device.modbus.live import Carrier
from tieline.links.device.modbus.unit import Unit
from tieline.resource.batch import CommandBatch
from tieline.resource.identity import Rating
from tieline.resource.quality import Quality
from tieline.rim.supervise import Backoff

_AGAIN = Backoff(2.0, 120.0)
RATED_S = 600.0
"""So often a device is asked for its WMax again: an installer may set another while it runs."""


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
        self.commanded = Commanded(row, name, profile, rating, carrier)
        self.commanded.owner.wake = self.wake
        self.adopting = Adopting(row, carrier.curves)
        self.unit: Unit | None = None
        self.is_found = False
        self._carrier, self._rng = carrier, rng
        self._poll_due_s = self._rate_due_s = 0.0
        self._wake = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._last: dict[str, float] = {}
        self._taken_ns = 0
        self._is_lost = True
        self._said_local = True  # it may have, before a start
        self._is_busy = self._is_lent = False
        self._is_measured = self._gave_way = False
        self._trouble: Failure | None = None

    # --- what the link asks ------------------------------------------------------------------------------------------

    def expire(self, batch: CommandBatch) -> None:
        """End a command that still waits when its time is over."""
        self.commanded.expire(batch)

    def wake(self) -> None:
        """Look again: something has changed."""
        self._wake.set()

    def hurry(self) -> None:
        """Look again: a command has come. What is being measured is given up for it, not twice in a row."""
        if self.unit is not None and self._is_busy:
            self.unit.client.hurry(self.number)
            if self._is_measured and not self._gave_way:
                self.unit.gives_way = True
                self.unit.client.withdraw(self.number)
        self._wake.set()

    def probe(self) -> None:
        """Ask a device that lives at once: does its connection still carry?"""
        if self.is_live:
            self._poll_due_s = 0.0
            self._wake.set()

    # --- lent to a burst ---------------------------------------------------------------------------------------------

    @property
    def is_at_rest(self) -> bool:
        """Whether a burst may tell it: it lives, its controls were read, takes a function at once, and does nothing."""
        unit, is_contended = self.unit, self.commanded.is_contended
        if (
            unit is None
            or is_contended
            or not self.is_live
            or self._is_busy
            or self._is_lent
            or self._trouble is not None
        ):
            return False
        return unit.takes_blocks and bool(unit.seen) and unit.client.is_open and self.commanded.is_clear(unit)

    def lend(self) -> None:
        """Let a burst tell it; the task keeps still until it is handed back."""
        self._is_lent = True
        if self.unit is not None:
            self.unit.client.hurry(self.number)

    def hand_back(self, trouble: Failure | None = None) -> None:
        """Take it back, with the trouble that it is in."""
        self._is_lent, self._trouble = False, trouble
        due_s, loop = self._due_s, asyncio.get_running_loop()
        if trouble is not None or self.commanded.waits or due_s <= loop.time():
            self._wake.set()
        elif self._alarm is None or self._alarm.when() > due_s + 0.001:
            self.stop()
            self._alarm = loop.call_at(due_s, self._ring)

    @property
    def _due_s(self) -> float:
        """When its task has something to do, if nothing comes (s of the loop)."""
        return min(self._poll_due_s, self.commanded.over_due_s, self.adopting.due_s)

    # --- its task ----------------------------------------------------------------------------------------------------

    async def run(self, client: Client) -> None:
        """Serve the device for as long as the connection lives."""
        takes_blocks = self._carrier.takes_blocks if self.unit is None else self.unit.takes_blocks
        unit = self.unit = Unit(client, self.number, takes_blocks)
        self.is_found, self._trouble = False, None
        tries, loop = 0, asyncio.get_running_loop()
        self._poll_due_s = 0.0
        while client.is_open:
            self._wake.clear()
            if self._is_lent:
                await self._wake.wait()  # the burst wakes us when it hands back what is due, the connection if it ends
                continue
            self._is_busy = True
            try:
                await self._turn(unit)
                tries, wait_s = 0, self._due_s - loop.time()
            except (LinkDown, PeerError) as error:
                tries += 1
                self._carrier.counts.trouble(self.name, f"{self.name}: {error}")
                self.lose()
                self._carrier.changed()
                wait_s = _AGAIN.delay_s(tries, self._rng)
                if isinstance(error, PeerError):
                    self.is_found = False  # it may have been changed for another: look afresh
                await self._rest(client, wait_s)
                continue
            finally:
                self._is_busy = False
            await self._pause(wait_s)

    async def _turn(self, unit: Unit) -> None:
        """Do what is due. Raises LinkDown or PeerError where it is in trouble."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        if not self.is_found:
            await unit.find()
            await self._rate(unit)
            self.is_found = True
            self.adopting.found()
            self._carrier.changed()
        if self.commanded.waits:
            unit.client.hurry(self.number)
        await self.commanded.act(unit)
        await self._adopt(unit)
        loop = asyncio.get_running_loop()
        if loop.time() >= self._poll_due_s:
            if self.commanded.waits and not self._gave_way:  # it came meanwhile
                self._gave_way = True
                return
            unit.client.ease(self.number)
            try:
                await self._poll(unit)
            except GaveWay:
                self._gave_way = True
                return
            self._gave_way = False
            self._poll_due_s = loop.time() + self._carrier.poll_s * (0.95 + 0.1 * float(self._rng.random()))

    async def _adopt(self, unit: Unit) -> None:
        """Go on with the curves that it is to follow; people are told of a refusal, once."""
        before = self.adopting.stood
        await self.adopting.act(unit)
        for one in self.adopting.stood:
            if one not in before and one.stands in (Stands.REFUSED, Stands.DISPLACED):
                self._carrier.alarm(f"{self.name}: {one.function} {one.stands}: {one.why}")

    async def _rate(self, unit: Unit) -> None:
        """Ask the device for its own WMax; where it can't be read the registry's stands for it, and people are told."""
        self._rate_due_s = asyncio.get_running_loop().time() + RATED_S
        try:
            full_w = await unit.full_w()
        except PeerError as error:
            full_w = math.nan
            self._carrier.alarm(f"{self.name}: its WMax can't be read, limits are told by the registry's: {error}")
        self.commanded.measure_by(full_w)

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

    def _local(self, panel: float) -> dict[str, float]:
        """Return the word of LOCAL: of its panel (model 715; NaN: it has none), or of the hand that was found at it.

        Who has neither is silent: a gateway beside this link may know, and a 0 would overwrite it. What this link said
        last it takes back itself, once; as it starts, too, since what it said before its end is kept.
        """
        is_hand, is_panel = self.commanded.is_contended, panel > 0.5
        if math.isnan(panel) and not is_hand and not self._said_local:
            return {}
        self._said_local = is_hand or is_panel
        return {"is_local": float(self._said_local)}

    async def _poll(self, unit: Unit) -> None:
        if asyncio.get_running_loop().time() >= self._rate_due_s:
            await self._rate(unit)
        self._is_measured, unit.gives_way = True, False
        try:
            values = await unit.measure((*self.profile.measures, "is_local"))
        finally:
            self._is_measured = unit.gives_way = False
        await self.commanded.look(unit, values.get("power_w", math.nan))
        values |= self._local(values.pop("is_local", math.nan))
        is_local = values.get("is_local", 0.0) > 0.5
        values |= able(self.profile, self.rating, values, is_local)
        if "available_up_w" in values:  # its owner's limit holds beside whatever we ask
            left_w = max(self.commanded.owner_limit_w(unit) - values["power_w"], 0.0)
            values["available_up_w"] = min(values["available_up_w"], left_w)
        self._last, self._taken_ns = values, self._carrier.clock.now_ns()
        was_lost, self._is_lost = self._is_lost, False
        self._carrier.counts.healed(self.name)
        self._carrier.teller.bring(self.row, values, Quality.GOOD, self._taken_ns)
        if was_lost:
            self._carrier.changed(True)
