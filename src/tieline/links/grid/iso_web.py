"""The ISO's dispatch web service as a client: polls batches and awards, answers, bids, and re-declares.

Theory of operation. Every few seconds the batches after the last known UID are asked for, and a few before it again,
as one may have been published late. Each is fetched, sorted (`iso_batches`), handed to the desk, and answered; the
answer is kept and sent again until the ISO has it. What comes twice is answered from memory. One that can't be read is
fetched again with every poll, however many newer ones came, and then declined whole. The first poll after a start looks
further back, for what was shown to an earlier run and never answered. Awards of today and tomorrow are asked for every
`awards_s`: until the ISO says that the day is cleared, and then again, as it corrects them; a look at a day that was
read never keeps dispatch waiting. Offers that were there before it first said so, and of which it named none, got no
award.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import structlog
from msgspec.structs import replace

from tieline.desk.ports import Intake, MarketInlet, Offer, Session, number
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.ids import derive
from tieline.links.grid.iso_awards import AwardDays
from tieline.links.grid.iso_batches import Batches
from tieline.links.grid.iso_call import M, call
from tieline.links.grid.iso_mended import Untaken, as_first, content
from tieline.links.grid.iso_offers import W_PER_MW, answers_of, bid_of
from tieline.links.grid.iso_settings import IsoSettings, check_iso
from tieline.links.grid.market_call import Refused, Unreadable
from tieline.links.grid.polling import Poller
from tieline.resource.claim import Refusal
from tieline.rim.http import HttpClient
from tieline.times import SECOND_NS, Clock, from_ns, market_day, to_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import unpack
from tieline.wire.ads.errors import Malformed

_log = structlog.get_logger("tieline.iso")
DECLARES_S = 4.0
"""For how long a declaration may keep the desk waiting: a lease that ends meanwhile is to be passed on, too (R18)."""
PATIENCE_S = 1.3
"""So much of that is given to the first try: a connection that is half open answers nobody, and another one may."""
LOOK_BACK = 4096
"""So many batches before the last known are looked at after a start: two weeks of one every five minutes."""

UNHEARD = ("PENDING", "RECEIVED")
"""What the ISO says became of a batch that it has no answer to, and waits for one."""


class IsoWeb(Poller):
    """Our side of the ISO's web service. A `desk.ports.MarketLink`; run it with `Supervisor.keep(name, link.run)`."""

    def __init__(
        self,
        settings: IsoSettings,
        client: HttpClient,
        inlet: MarketInlet,
        clock: Clock,
        rng: np.random.Generator,
        intake: Intake | None = None,
        name: str = "iso",
    ) -> None:
        check_iso(settings)
        try:
            self._zone = ZoneInfo(settings.zone)
        except (KeyError, ValueError):
            raise ConfigError(f"$.iso.zone = {settings.zone!r}: give an IANA zone such as America/Chicago") from None
        super().__init__(name, "iso_web", settings.poll_s, clock, rng, intake)
        self._settings, self._client, self._inlet = settings, client, inlet
        self._batches = Batches(settings.pools, name, "iso_web")
        self._unsent: dict[str, ads.RespondDispatchBatch] = {}
        self._unreadable: dict[str, int] = {}
        self._sent: dict[str, datetime] = {}
        """When each batch that the ISO lists was sent, by its list."""
        self._untaken, self._mended = Untaken(), set[str]()
        self._has_looked_back = False
        self._days = AwardDays(settings.pools, self._zone)
        self._awards_due_ns = 0

    # --- polling ----------------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Ask once for batches, and for awards when they are due.

        Raises:
            LinkDown: The ISO can't be reached, or asks us to wait.
            PeerError: It broke the protocol.
        """
        await self._send_answers()
        last = number(await self._inlet.last_batch_uid())
        near = last - self._settings.overlap
        since = near if self._has_looked_back else min(near, last - LOOK_BACK)
        since = max(self._untaken.since(since, self._unreadable, self._clock.now_ns()), -1)
        found, _ = await self._call(ads.GetDispatchBatchesSinceUID(str(since)), ads.DispatchBatches)
        skew_s = (to_ns(found.server_time) - self._clock.now_ns()) / SECOND_NS
        self._sent = {header.batch_uid: header.batch_sent for header in found.batches}
        for uid in self._untaken.mended(found.batches):
            self._batches.forget(uid)
            self._mended.add(uid)
            self._unreadable.setdefault(uid, 0)
        # The ISO lists what comes after the newest; one that was not read yet stands before it.
        uids = dict.fromkeys((*self._unreadable, *(header.batch_uid for header in found.batches)))
        if uids and not self._has_looked_back:
            # What was awarded while no server ran, before what is called of it: an answer can't be taken back.
            with suppress(PeerError):  # it is asked again below
                await self._take_awards()
                self._awards_due_ns = self._clock.now_ns() + int(self._settings.awards_s * SECOND_NS)
        for uid in sorted(uids, key=number):
            if self._batches.answer(uid) is None and await self._is_open(uid, number(uid) > near):
                await self._take(uid)
        for header in found.batches:
            if self._batches.is_stale(header.batch_uid, header.batch_sent):
                await self._compare(header)
        self._has_looked_back = True
        await self._send_answers()
        if self._clock.now_ns() >= self._awards_due_ns:
            await self._take_awards()
            self._awards_due_ns = self._clock.now_ns() + int(self._settings.awards_s * SECOND_NS)
        if abs(skew_s) > self._settings.most_skew_s:
            self._become(Session.DEGRADED, f"the ISO's clock is {skew_s:+.1f} s from ours")
        else:
            self._become(Session.LIVE, "")

    async def _is_open(self, uid: str, is_near: bool) -> bool:
        """Whether a batch that is new (`is_near`), of an earlier run, or was not read, still waits for our answer."""
        if uid in self._unreadable or (is_near and self._has_looked_back):
            return True
        earlier = await self._inlet.answered(uid)
        if is_near and earlier is not None and earlier.accepted:
            return True
        # What was declined whole is known to the ISO alone.
        if (is_near or earlier is None) and await self._status(uid) != "ANSWERED":
            return True
        self._batches.remember(ads.RespondDispatchBatch(uid))
        if is_near and uid in self._sent:
            first = as_first(await self._inlet.as_taken(uid))
            sent, said = (self._sent[uid], "") if first is None else (first.batch_sent, content(first))
            self._untaken.keep(uid, sent, self._clock.now_ns(), said)
        return False

    async def _status(self, uid: str) -> str:
        """Return what the ISO says became of a batch; empty: it can't tell, or doesn't know the question."""
        try:
            return await self.status(uid)
        except PeerError:
            return ""

    async def _is_known(self, uid: str, said: str) -> bool:
        """Whether a batch that is listed as sent anew says what was declined before, and the ISO doesn't say that it
        has no answer to that: then it is left alone."""
        if uid not in self._mended or not self._untaken.is_known(uid, said):
            return False
        if await self._status(uid) in UNHEARD:
            return False
        self._mended.discard(uid)
        self._unreadable.pop(uid, None)
        self._batches.remember(ads.RespondDispatchBatch(uid))
        return True

    async def _take(self, uid: str) -> None:
        """Fetch one batch, bring it to the desk, and keep its answer for sending."""
        try:
            packed, _ = await self._call(ads.GetDispatchBatch(uid), ads.PackedBatch)
            wire, native = unpack(packed.payload)
            if wire.batch_uid != uid:
                raise Malformed(f"batchUID = {wire.batch_uid}: asked for {uid}")
        except (Malformed, Refused, Unreadable) as error:
            await self._not_read(uid, str(error))
            return
        said, sent = content(wire), self._sent.get(uid, wire.batch_sent)
        if await self._is_known(uid, said):
            return
        frame = derive("frame", self.name, uid, packed.payload)
        self._batches.note(wire, sent)
        if not wire.binding_flag:
            await self._read_again(uid, said)
            self._untaken.drop(uid)
            self._batches.remember(ads.RespondDispatchBatch(uid))
            self._unreadable.pop(uid, None)
            return
        reply, is_taken = await self._reply(wire, native, frame, said)
        if is_taken:
            self._untaken.drop(uid)
        else:
            self._untaken.keep(uid, sent, self._clock.now_ns(), said)
        self._mended.discard(uid)
        self._unreadable.pop(uid, None)
        self._keep(reply)
        await self._call(ads.ValidateDispatchBatch(uid), ads.Acknowledged)

    async def _reply(
        self, wire: ads.DispatchBatch, native: str, frame: str, said: str
    ) -> tuple[ads.RespondDispatchBatch, bool]:
        """Bring a batch to the desk; return the reply to it, and whether something of it was taken, now or before."""
        uid, earlier = wire.batch_uid, await self._inlet.answered(wire.batch_uid)
        first = "" if earlier is None else await self._inlet.as_taken(uid)
        # Fetched again, as after a restart: its time may be over, its answer stands.
        if earlier is not None and earlier.accepted:
            changed = self._batches.changed(wire, native, first)
            if changed is None:
                return self._batches.again(wire, earlier), True
            reply = self._batches.declined_as_changed(wire, changed, earlier)
            await self._say_changed(wire, changed, frame)
            return reply, True
        before = as_first(first)
        is_mended = uid in self._mended or (before is not None and content(before) != said)
        if earlier is not None and not is_mended:
            return self._batches.again(wire, earlier), False
        sorted_ = self._batches.sort(wire, frame, native, self._clock.now_ns())
        batch = sorted_.batch if sorted_.batch is None else replace(sorted_.batch, is_mended=is_mended)
        answer = await self._inlet.dispatch(batch) if batch is not None else None
        reply = self._batches.settle(wire, sorted_, answer)
        self._counts["refused"] += sum(each.response == "DECLINE" for each in reply.replies)
        unfollowed = self._batches.unfollowed(wire, sorted_)
        if unfollowed is not None:
            await self._inlet.unread(uid, unfollowed[0], self.name, unfollowed[1])
        elif batch is None:
            await self._read_again(uid, said)
        return reply, any(each.response == "ACCEPT" for each in reply.replies)

    async def _compare(self, header: ads.BatchHeader) -> None:
        """Fetch an answered batch that the ISO sent again, and refuse by name what it corrects under the same UID."""
        uid = header.batch_uid
        try:
            packed, _ = await self._call(ads.GetDispatchBatch(uid), ads.PackedBatch)
            wire, _ = unpack(packed.payload)
        except (Malformed, Refused, Unreadable) as error:
            self._fault(f"batch {uid}, sent again: {error}")
            return
        refusal = self._batches.note(wire, header.batch_sent) if wire.batch_uid == uid else None
        if refusal is None:
            return
        await self._say_changed(wire, refusal, derive("frame", self.name, uid, packed.payload))

    async def _say_changed(self, wire: ads.DispatchBatch, refusal: Refusal, frame: str) -> None:
        """Refuse by name what the ISO corrects under the UID of a batch that was answered."""
        uid = wire.batch_uid
        await self._inlet.corrected(uid, refusal, frame, self.name, self._batches.ends_ns(wire))
        self._counts["refused"] += 1
        self._fault(f"batch {uid}: {refusal}; a correction needs a batch UID of its own and a higher revision")
        _log.warning("a corrected batch is not followed", batch=uid, refusal=str(refusal))

    async def _read_again(self, uid: str, said: str) -> None:
        """Tell the desk of a batch that was mended, and of which there is nothing to follow, that it was read."""
        if uid in self._mended and not any(self._untaken.is_known(uid, each) for each in (said, "")):
            why = Refusal("it was sent anew, and there is nothing to follow in it", "batchUID", uid)
            await self._inlet.unread(uid, why, self.name, self._clock.now_ns())
        self._mended.discard(uid)

    async def _not_read(self, uid: str, why: str) -> None:
        """Count a batch that could not be read; after some tries decline it whole, as no fetch will mend it."""
        if await self._is_known(uid, why):
            return
        self._fault(f"batch {uid}: {why}")
        tries = self._unreadable[uid] = self._unreadable.get(uid, 0) + 1
        if tries < self._settings.read_tries:
            return
        del self._unreadable[uid]
        if uid in self._sent:
            self._untaken.keep(uid, self._sent[uid], self._clock.now_ns(), why)
        self._counts["refused"] += 1
        self._keep(ads.RespondDispatchBatch(uid, f"malformed: {why}"[:2000]))
        # Read again after a restart, it is no news.
        if not await self._inlet.unread(uid, Refusal(f"malformed: {why}"[:500], "batchUID", uid), self.name):
            return
        # A warning: the fault is the other side's, it is told so, and nothing is left for us to do.
        _log.warning(
            f"{self.name}: dispatch batch {uid} could not be read in {tries} tries and is declined whole; "
            f"the ISO is told why, and other batches are followed as they come",
            batch=uid,
            why=why,
        )

    def _keep(self, reply: ads.RespondDispatchBatch) -> None:
        self._batches.remember(reply)
        self._unsent[reply.batch_uid] = reply

    async def _send_answers(self) -> None:
        for uid, reply in list(self._unsent.items()):
            try:
                await self._call(reply, ads.Acknowledged)
            except Refused as error:
                # The ISO will not take it, now or later: say so once, and let the batch's own status tell.
                self._counts["errors"] += 1
                self._last_error = str(error)
                _log.warning("answer refused", uid=uid, error=str(error))
            self._unsent.pop(uid, None)

    async def _take_awards(self) -> None:
        today = from_ns(self._clock.now_ns()).astimezone(self._zone).date()
        for day in sorted((today, today + timedelta(days=1)), key=self._days.is_read):
            if not self._days.is_read(day):
                await self._take_day(day, today)
                continue
            # What was read stands. Whatever comes of another look, the next is as late as any other.
            self._awards_due_ns = self._clock.now_ns() + int(self._settings.awards_s * SECOND_NS)
            try:
                await self._take_day(day, today)
            except PeerError as error:
                self._counts["errors"] += 1
                self._last_error = str(error)

    async def _take_day(self, day: date, today: date) -> None:
        over, is_first = market_day(day, self._zone), not self._days.is_read(day)
        waiting = await self._inlet.unawarded(tuple(self._settings.pools), over.start_ns, over.end_ns)
        rows, body = await self._call(ads.GetAwards(day), ads.AwardRows)
        awards, faults = self._days.unread(rows)
        if not rows.cleared or not (is_first or awards or faults):
            return
        self._counts["errors"] += len(faults)
        self._last_error = faults[-1] if faults else self._last_error
        frame = derive("frame", self.name, "awards", body)
        answers = await self._inlet.awards(awards, frame) if awards else []
        for award, refusal in zip(awards, answers, strict=True):
            if refusal is not None:
                self._counts["refused"] += 1
                self._last_error = f"award {award.id}: {refusal}"
                _log.warning("award refused", award=award.id, refusal=str(refusal))
        # One that is named in a row that we could not read or take has an award all the same, by the ISO's books.
        named = {row.bid_uid for row in rows.awards}
        if is_first:
            await self._inlet.cleared([offer for offer in waiting if offer not in named], frame)
        self._days.note(rows, today)

    # --- our side of the business -------------------------------------------------------------------------------------

    async def submit(self, offers: Sequence[Offer]) -> list[Refusal | None]:
        """Submit offers before the gate; one answer a row. Raises LinkDown or PeerError where the ISO gave none."""
        made = [bid_of(offer, self._settings.pools, self._zone) for offer in offers]
        bids = tuple(bid for bid in made if isinstance(bid, ads.Bid))
        answer = (await self._call(ads.SubmitBids(bids), ads.BidResults))[0] if bids else ads.BidResults(())
        return answers_of(made, answer)

    async def declare(self, pool: str, available_up_w: float, available_down_w: float, reason: str) -> None:
        """Re-declare what the pool can do from now on; the desk waits for it, and has devices to look after.

        Raises:
            ConfigError: A pool that the ISO doesn't know.
            LinkDown: It is not reached, or did not take it within seconds.
            PeerError: It refused.
        """
        if self._session is Session.DOWN and self._last_error:  # polling finds out when it is back
            raise LinkDown(self._last_error)
        message = ads.RedeclareAvailability(
            self._resource(pool),
            from_ns(self._clock.now_ns()),
            available_up_w / W_PER_MW,
            available_down_w / W_PER_MW,
            reason,
        )
        # A market that is busy for a moment, or whose kept connection is half open, must still hear of it within
        # seconds (rule R18). A connection whose call was given up is not used again.
        try:
            async with asyncio.timeout(DECLARES_S):
                for patience_s in (PATIENCE_S, None):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(patience_s):
                            try:
                                await self._call(message, ads.Acknowledged)
                                return
                            except (LinkDown, PeerError):
                                await asyncio.sleep(1.0)
                await self._call(message, ads.Acknowledged)
        except TimeoutError:
            raise LinkDown(f"the ISO did not take a declaration within {DECLARES_S:g} s") from None

    async def report(self, pool: str, power_w: float) -> None:
        """Tell the ISO what the pool does now."""
        at = from_ns(self._clock.now_ns())
        await self._call(ads.SubmitTelemetry(self._resource(pool), at, power_w / W_PER_MW), ads.Acknowledged)

    async def trajectory(self, pool: str, start_ns: int, end_ns: int) -> list[tuple[int, float]]:
        """Return what the ISO expects of a pool: (instant, W), oldest first."""
        message = ads.GetTrajectoryData(self._resource(pool), from_ns(start_ns), from_ns(end_ns))
        answer, _ = await self._call(message, ads.Trajectory)
        return [(to_ns(point.at_time), point.mw * W_PER_MW) for point in answer.waypoints]

    async def status(self, uid: str) -> str:
        """Return what the ISO says became of a batch."""
        answer, _ = await self._call(ads.GetBatchStatus(uid), ads.BatchStatus)
        return answer.status

    def _resource(self, pool: str) -> str:
        if pool not in self._settings.pools:
            raise ConfigError(f"$.iso.pools: no ISO name for pool {pool!r}")
        return self._settings.pools[pool]

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _call(self, message: ads.Message, kind: type[M]) -> tuple[M, bytes]:
        self._counts["sent"] += 1
        answer = await call(self._client, self._settings.url, message, kind, self._clock.now_ns())
        self._counts["received"] += 1
        return answer
