"""The market's web service as a client: offers, watches what became of them, takes awards, follows instructions, plans.

Theory of operation. The market answers an offer at once with a key of its own and `SUBMITTED`, and says later whether
it is taken: an offer waits `accept_s` for that, and is watched further; one that is refused after all is given back to
the desk. Every few seconds the instructions that we have not acknowledged are asked for: the service itself remembers
them over a restart of ours. Each is sorted as a batch of one (`iso_batches`), handed to the desk, and sent back
acknowledged until the market has it; one that we don't follow is left, or answered with our reason, as the settings
say. Awards of today and tomorrow are asked for every `awards_s`, and again once they are there. A notice (`ews_listen`)
only makes us ask sooner: what it says is asked for, so that one that is late, comes twice or is lost changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta

import numpy as np
import structlog

from tieline.desk.ports import Award, Intake, MarketInlet, Offer, Session, number
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.ids import derive
from tieline.links.grid.ews_awards import Won, prices_of, won
from tieline.links.grid.ews_call import EwsCaller, Seal
from tieline.links.grid.ews_offers import Sold, plans_of, sold_as
from tieline.links.grid.ews_settings import EwsSettings, check_ews, zone_of
from tieline.links.grid.ews_vdis import batch_of, said_back, uid_of
from tieline.links.grid.iso_batches import Batches
from tieline.links.grid.market_call import Refused
from tieline.links.grid.polling import Poller
from tieline.resource.claim import Refusal
from tieline.rim.http import HttpClient
from tieline.times import DAY_NS, HOUR_NS, SECOND_NS, Clock, from_ns, market_day, to_ns
from tieline.wire.ads.messages import Reply, RespondDispatchBatch
from tieline.wire.ews import messages as ews
from tieline.wire.ews.codec import payload_tree
from tieline.wire.ews.mrid import bid_id_of
from tieline.wire.ews.tree import serialise

_log = structlog.get_logger("tieline.ews")
TAKEN, OPEN = ("ACCEPTED", "ACKNOWLEDGED"), ("SUBMITTED", "PENDING", "UNCONFIRMED", None)
ASKS_S = 2.0
"""How long an offer that waits to be taken is left before the market is asked again."""
DECLARES_S = 4.0
"""For how long a declaration may keep the desk waiting, as the ISO's own link has it (rule R18)."""
PATIENCE_S = 1.3
"""So much of that is given to a first try: a connection that is half open answers nobody, and another one may."""
_W_PER_MW = 1e6


class EwsWeb(Poller):
    """Our side of the market's web service: a `desk.ports.MarketLink` that a supervisor keeps running."""

    def __init__(
        self,
        settings: EwsSettings,
        client: HttpClient,
        seal: Seal,
        inlet: MarketInlet,
        clock: Clock,
        rng: np.random.Generator,
        intake: Intake | None = None,
        name: str = "ews",
    ) -> None:
        check_ews(settings)
        super().__init__(name, "ews", settings.poll_s, clock, rng, intake)
        self._settings, self._inlet = settings, inlet
        self._zone = zone_of(settings.zone, "$.ews.zone")
        self._caller = EwsCaller(settings, client, seal, clock, rng)
        self._batches = Batches({mine: pool.resource for mine, pool in settings.pools.items()}, name, "ews")
        self._unsent: dict[str, ews.Vdi] = {}
        self._unreadable: dict[str, int] = {}
        self._watched: dict[str, Sold] = {}
        self._waited_for: set[str] = set()
        self._refused: dict[str, Refusal] = {}
        self._offered: dict[tuple[str, str, int, str], str] = {}
        self._read: dict[date, frozenset[str]] = {}
        self._awards_due_ns = 0

    # --- polling ------------------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Ask once for instructions, for what became of offers, and for awards when they are due.

        Raises:
            LinkDown: The market can't be reached, or asks us to wait.
            PeerError: It broke the protocol.
        """
        await self._send_back()
        told = await self._ask("get", "VDIs", ews.Request(ids=(f"{self._settings.qse}.VDI",)))
        skew_s = 0.0
        if told.reply is not None and told.reply.timestamp is not None:
            skew_s = (to_ns(told.reply.timestamp) - self._clock.now_ns()) / SECOND_NS
        for reference, why in told.faults:
            await self._not_read(reference, why)
        rows = told.payload.rows if isinstance(told.payload, ews.Vdis) else ()
        for vdi in sorted(rows, key=lambda one: (one.details.notification_time, number(uid_of(one)))):
            await self._take(vdi)
        await self._send_back()
        await self._watch()
        if self._clock.now_ns() >= self._awards_due_ns:
            await self._take_awards()
            self._awards_due_ns = self._clock.now_ns() + int(self._settings.awards_s * SECOND_NS)
        if abs(skew_s) > self._settings.most_skew_s:
            self._become(Session.DEGRADED, f"the market's clock is {skew_s:+.1f} s from ours")
        else:
            self._become(Session.LIVE, "")

    def noticed(self, noun: str) -> None:
        """Ask now for what a notice was about: awards at once, whatever `awards_s` says."""
        if noun.startswith("Award"):
            self._awards_due_ns = 0
        self.wake()

    async def _take(self, vdi: ews.Vdi) -> None:
        """Bring one instruction to the desk, and keep what is said back for sending."""
        uid = uid_of(vdi)
        known = self._batches.answer(uid)
        if known is not None:
            self._keep(vdi, known)
            return
        native = serialise(payload_tree(ews.Vdis(rows=(vdi,)))).decode()
        batch = batch_of(vdi)
        if isinstance(batch, Refusal):
            await self._inlet.unread(uid, batch, self.name)
            self._settle(vdi, RespondDispatchBatch(uid, replies=(Reply(uid, "DECLINE", str(batch)[:2000]),)))
            return
        earlier = await self._inlet.answered(uid)
        if earlier is not None:  # asked for again, as after a restart: its answer stands
            self._settle(vdi, self._batches.again(batch, earlier))
            return
        frame = derive("frame", self.name, uid, native)
        sorted_ = self._batches.sort(batch, frame, native, self._clock.now_ns())
        answer = await self._inlet.dispatch(sorted_.batch) if sorted_.batch is not None else None
        self._settle(vdi, self._batches.settle(batch, sorted_, answer))
        if (unfollowed := self._batches.unfollowed(batch, sorted_)) is not None:
            await self._inlet.unread(uid, unfollowed[0], self.name, unfollowed[1])

    def _settle(self, vdi: ews.Vdi, answer: RespondDispatchBatch) -> None:
        self._batches.remember(answer)
        declined = [reply for reply in answer.replies if reply.response == "DECLINE"]
        self._counts["refused"] += len(declined)
        reference = vdi.details.vdi_ref_num
        for reply in declined:
            # Where the market is not told, its operator asks: who is asked must find why.
            _log.warning("instruction not followed", link=self.name, reference=reference, why=reply.reason)
            self._last_error = f"instruction {reference}: {reply.reason}"
        self._keep(vdi, answer)

    def _keep(self, vdi: ews.Vdi, answer: RespondDispatchBatch) -> None:
        back = said_back(vdi, answer)
        if back.status == "ACKNOWLEDGED" or self._settings.declined == "answered":
            self._unsent[uid_of(vdi)] = back

    async def _not_read(self, reference: str, why: str) -> None:
        """Count an instruction that could not be read; it is listed again with each poll until somebody mends it."""
        tries = self._unreadable[reference] = self._unreadable.get(reference, 0) + 1
        if tries <= self._settings.read_tries:
            self._fault(f"instruction {reference or '?'}: {why}")
        if tries == self._settings.read_tries:
            self._counts["refused"] += 1
            why_not = Refusal(f"malformed: {why}"[:500], "vdiRefNum", reference or "?")
            if await self._inlet.unread(reference or "without a reference", why_not, self.name):
                _log.warning("instruction can't be read", link=self.name, reference=reference, why=why)

    async def _send_back(self) -> None:
        for uid, vdi in list(self._unsent.items()):
            try:
                await self._ask("change", "VDIs", payload=ews.Vdis(rows=(vdi,)))
            except Refused as error:
                # The market will not take it, now or later: say so once; it lists the instruction again.
                self._fault(str(error))
                _log.warning("acknowledgement refused", uid=uid, error=str(error))
            self._unsent.pop(uid, None)

    # --- offers -------------------------------------------------------------------------------------------------------

    async def submit(self, offers: Sequence[Offer]) -> list[Refusal | None]:
        """Submit offers before the gate; one answer a row. Raises LinkDown or PeerError where the market gave none."""
        made = [sold_as(offer, self._settings.pools, self._settings.qse, self._zone) for offer in offers]
        answers: list[Refusal | None] = [each if isinstance(each, Refusal) else None for each in made]
        sets: dict[tuple[date, type], list[tuple[int, Sold]]] = {}
        for at, each in enumerate(made):
            if isinstance(each, Sold):
                sets.setdefault((each.day, type(each.row)), []).append((at, each))
        for (day, _), rows in sets.items():
            payload = ews.bid_set(day, [sold.row for _, sold in rows])
            told = await self._ask("create", "BidSet", ews.Request(market_type="DAM"), payload)
            said = told.payload.rows if isinstance(told.payload, ews.BidSet) else ()
            for k, (at, sold) in enumerate(rows):
                answers[at] = self._submitted(sold, said[k] if len(said) == len(rows) else None)
        mine = {each.key: at for at, each in enumerate(made) if isinstance(each, Sold) and answers[at] is None}
        self._waited_for |= mine.keys()
        try:
            await self._wait_for(mine)
        finally:
            self._waited_for -= mine.keys()
        for key, at in mine.items():
            answers[at] = self._refused.pop(key, None)
        return answers

    def _submitted(self, sold: Sold, said: ews.Row | None) -> Refusal | None:
        if said is None:
            return Refusal("the market said nothing of this row", "mRID", sold.key)
        if said.status not in (*TAKEN, *OPEN):
            return _refusal(sold.key, said)
        bid_id = sold.row.bid_id or "" if isinstance(sold.row, ews.EnergyOnlyOffer) else ""
        self._offered[sold.offer.pool, sold.offer.product, sold.offer.start_ns, bid_id] = sold.offer.id
        if said.status not in TAKEN:
            self._watched[sold.key] = sold
        return None

    async def _wait_for(self, keys: dict[str, int]) -> None:
        """Wait until the market has said of each row whether it is taken, for `accept_s` at most."""
        until_ns = self._clock.now_ns() + int(self._settings.accept_s * SECOND_NS)
        while any(key in self._watched for key in keys) and self._clock.now_ns() < until_ns:
            await asyncio.sleep(ASKS_S)
            with suppress(LinkDown, PeerError):  # it was submitted: that the market is busy now changes nothing of it
                await self._watch()

    async def _watch(self) -> None:
        """Ask what became of rows that the market has yet to take; those that nobody waits for are given back."""
        since_ns = self._clock.now_ns() - DAY_NS
        self._watched = {key: sold for key, sold in self._watched.items() if sold.offer.start_ns > since_ns}
        if not self._watched:
            return
        told = await self._ask("get", "BidSet", ews.Request(ids=tuple(self._watched)))
        for row in told.payload.rows if isinstance(told.payload, ews.BidSet) else ():
            for key in [key for key in self._watched if row.mrid in (key, key.rpartition(".")[0])]:
                if row.status in OPEN or (row.mrid != key and not _same_hour(row, self._watched[key].row)):
                    continue
                sold = self._watched.pop(key)
                if row.status in TAKEN:
                    continue
                refusal = _refusal(key, row)
                self._counts["refused"] += 1
                if key in self._waited_for:
                    self._refused[key] = refusal
                    continue
                _log.warning("offer refused after all", offer=sold.offer.id, why=str(refusal))
                self._last_error = f"offer {sold.offer.id}: {refusal}"
                await self._inlet.cleared([sold.offer.id], derive("frame", self.name, key, str(refusal)))

    async def cancel(self, offers: Sequence[Offer]) -> list[Refusal | None]:
        """Withdraw offers before the gate; one answer a row. Raises LinkDown or PeerError where there was none."""
        made = [sold_as(offer, self._settings.pools, self._settings.qse, self._zone) for offer in offers]
        keys = [each.key for each in made if isinstance(each, Sold)]
        said: dict[str, ews.Row] = {}
        if keys:
            told = await self._ask("cancel", "BidSet", ews.Request(ids=tuple(keys)))
            rows = told.payload.rows if isinstance(told.payload, ews.BidSet) else ()
            said = {row.mrid: row for row in rows if row.mrid}
        answers: list[Refusal | None] = []
        for each in made:
            if isinstance(each, Refusal):
                answers.append(each)
                continue
            row = said.get(each.key)
            is_gone = row is None or row.status == "CANCELED"
            answers.append(None if is_gone or row is None else _refusal(each.key, row))
            if is_gone:
                self._watched.pop(each.key, None)
        return answers

    async def status(self, offer: Offer) -> str:
        """Return what the market says became of an offer: ACCEPTED, PENDING, REJECTED, ... Raises as a poll does."""
        sold = sold_as(offer, self._settings.pools, self._settings.qse, self._zone)
        if isinstance(sold, Refusal):
            raise ConfigError(str(sold))
        told = await self._ask("get", "BidSet", ews.Request(ids=(sold.key,)))
        rows = told.payload.rows if isinstance(told.payload, ews.BidSet) else ()
        return rows[0].status or "UNKNOWN" if rows else "UNKNOWN"

    # --- awards -------------------------------------------------------------------------------------------------------

    async def _take_awards(self) -> None:
        today = from_ns(self._clock.now_ns()).astimezone(self._zone).date()
        for day in (today, today + timedelta(days=1)):
            over = market_day(day, self._zone)
            waiting = await self._inlet.unawarded(tuple(self._settings.pools), over.start_ns, over.end_ns)
            try:
                await self._take_day(day, waiting)
            except PeerError as error:
                # A day that is not cleared is answered with an error as well: a fault where it should be long since.
                if waiting and self._clock.now_ns() >= over.start_ns:
                    self._fault(str(error))
        self._read = {day: keys for day, keys in self._read.items() if day >= today}
        since_ns = market_day(today, self._zone).start_ns
        self._offered = {key: offer for key, offer in self._offered.items() if key[2] >= since_ns}

    async def _take_day(self, day: date, waiting: Sequence[str]) -> None:
        known = self._read.get(day)
        told = await self._ask("get", "AwardSet", ews.Request(market_type="DAM", trading_date=day))
        rows = told.payload
        if not isinstance(rows, ews.AwardSet) or rows.trading_date != day:
            return None
        found, faults = won(rows, self._settings.pools, self._zone)
        fresh = [each for each in found if known is None or each.key not in known]
        for fault in faults if known is None or fresh else ():
            self._fault(fault)
        prices = await self._prices(day) if any(each.price is None for each in fresh) else {}
        priced = [each for each in fresh if each.price is not None or (each.sp, each.start_ns) in prices]
        frame = derive("frame", self.name, "awards", serialise(payload_tree(rows)))
        awards = [await self._award(each, prices) for each in priced]
        answers = await self._inlet.awards(awards, frame) if awards else []
        for award, refusal in zip(awards, answers, strict=True):
            if refusal is not None:
                self._counts["refused"] += 1
                _log.warning("award refused", award=award.id, refusal=str(refusal))
        if len(priced) < len(fresh):
            return self._fault(f"awards of {day}: no price yet of {fresh[0].sp}")
        if known is None:
            # What could not be read has an award all the same, by the market's books: nothing is given back then.
            named = {award.offer for award in awards}
            await self._inlet.cleared([] if faults else [offer for offer in waiting if offer not in named], frame)
        self._read[day] = (known or frozenset()) | {each.key for each in priced}
        return None

    async def _prices(self, day: date) -> dict[tuple[str, int], float]:
        told = await self._ask("get", "SPPs", ews.Request(market_type="DAM", trading_date=day))
        return prices_of(told.payload) if isinstance(told.payload, ews.Spps) else {}

    async def _award(self, each: Won, prices: dict[tuple[str, int], float]) -> Award:
        pool, offer = await self._offer_of(each)
        price = each.price if each.price is not None else prices[each.sp, each.start_ns]
        name = derive("award", each.key)
        return Award(name, offer, pool, each.product, each.start_ns, each.end_ns, each.mw * _W_PER_MW, price)

    async def _offer_of(self, each: Won) -> tuple[str, str]:
        """Return the pool and the offer that an award answers; one that we can't name is the desk's to refuse."""
        for pool in each.pools:
            offer = self._offered.get((pool, each.product, each.start_ns, each.bid_id))
            if offer is not None:
                return pool, offer
        # Offered by an earlier run of ours: the desk knows what was, and the bid id is made of the offer's own name.
        for pool in each.pools:
            open_ = await self._inlet.unawarded((pool,), each.start_ns, each.start_ns + HOUR_NS)
            fitting = [offer for offer in open_ if not each.bid_id or bid_id_of(offer) == each.bid_id]
            if len(fitting) == 1:
                return pool, fitting[0]
        return each.pools[0], each.bid_id or each.key

    # --- what a pool can do -------------------------------------------------------------------------------------------

    async def declare(self, pool: str, available_up_w: float, available_down_w: float, reason: str) -> None:
        """Re-plan what the pool can give from the first hour that is still open; the desk waits for it.

        Raises:
            ConfigError: A pool that the market doesn't know.
            LinkDown: It is not reached, or did not take it within seconds.
            PeerError: It refused.
        """
        if pool not in self._settings.pools:
            raise ConfigError(f"$.ews.pools: no name of the market's for pool {pool!r}")
        if self._session is Session.DOWN and self._last_error:  # polling finds out when it is back
            raise LinkDown(self._last_error)
        plans = plans_of(
            self._settings.pools[pool], available_up_w, self._clock.now_ns(), self._settings.plan_lead_s, self._zone
        )
        try:
            async with asyncio.timeout(DECLARES_S):
                for plan in plans:
                    await self._plan(plan)
        except TimeoutError:
            raise LinkDown(f"the market did not take a plan within {DECLARES_S:g} s") from None

    async def _plan(self, plan: ews.BidSet) -> None:
        """Submit a plan, once more where the market was busy for a moment or the kept connection was half open."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                told = await self._ask("create", "BidSet", payload=plan)
        except TimeoutError:
            told = await self._ask("create", "BidSet", payload=plan)
        except (LinkDown, PeerError):
            await asyncio.sleep(1.0)
            told = await self._ask("create", "BidSet", payload=plan)
        for row in told.payload.rows if isinstance(told.payload, ews.BidSet) else ():
            if row.status not in (*TAKEN, *OPEN):
                raise PeerError(f"plan of {plan.trading_date}: {_refusal(row.mrid or '', row)}")

    async def _ask(
        self, verb: str, noun: str, request: ews.Request | None = None, payload: ews.Payload | None = None
    ) -> ews.Told:
        self._counts["sent"] += 1
        told = await self._caller.ask(verb, noun, request, payload)
        self._counts["received"] += 1
        return told


def _refusal(key: str, row: ews.Row) -> Refusal:
    said = "; ".join(problem.text for problem in row.errors if problem.severity != "INFORMATIVE" and problem.text)
    return Refusal(said[:500] or f"the market says {row.status}", "mRID", row.mrid or key)


def _same_hour(told: ews.Row, mine: ews.Row) -> bool:
    """Whether what is told of a key without its hour is about this hour: of all hours, where it names none."""
    return told.start_time is None or told.start_time == mine.start_time
