"""What the ISO knows and does: takes bids until the gate, clears the day ahead, dispatches, and hears our answers.

A market day D is cleared at `clears_at` local time on D-1 for the bids that came by then; one day may have an auction
of its own, on the day itself. A day without prices takes no bids. With a participation model (`participation`) bids
that break one of its rules are rejected in words.

Dispatch of a five-minute step is published `lead_s` ahead of it: what was awarded for the hour, or what the curve
offers at the step's price where that is more, never beyond the availability last declared. Instructions follow a
re-declaration from the next step on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from tieline.ids import derive
from tieline.simulate.iso.admission import rejection
from tieline.simulate.iso.auction import clear, supplied
from tieline.simulate.iso.faults import Faults
from tieline.simulate.iso.prices import ZONE, last_day, prices_of
from tieline.simulate.iso.real_time import STEP_NS, real_time
from tieline.times import HOUR_NS, SECOND_NS, Clock, from_ns, hour_start_ns, to_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import pack
from tieline.wire.ads.errors import Malformed
from tieline.wire.ads.hours import hour_ns

Sold = dict[tuple[str, str], list[ads.AwardRow]]
"""What was awarded for one hour, by resource and product."""


@dataclass(slots=True)
class Published:
    """One batch as it was or will be published, and what became of it."""

    batch: ads.DispatchBatch
    shown_at_ns: int
    payload: str
    twice: bool = False
    status: str = "PENDING"
    fetched: int = 0


@dataclass(frozen=True, slots=True)
class Declared:
    """What a resource said that it can do (MW), from an instant on."""

    from_ns: int
    up_mw: float
    down_mw: float
    reason: str


@dataclass(frozen=True, slots=True)
class SameDay:
    """The auction of a day that is held on the day itself: its gate and when it clears, by local time.

    With a notice it waits for its first bid, and its gate is no sooner than so long after that: who is late by what a
    busy machine takes has an auction all the same. With none it waits for nobody.
    """

    day: date
    gate: time
    clears_at: time
    notice_ns: int = 0


@dataclass(slots=True)
class Seen:
    """All that participants told us, for whoever wants to check it."""

    replies: dict[str, ads.RespondDispatchBatch] = field(default_factory=dict)
    reply_count: dict[str, int] = field(default_factory=dict)
    declared: dict[str, list[Declared]] = field(default_factory=dict)
    telemetry: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


class IsoMarket:
    """One ISO's market on a clock that is handed in; `advance` brings it up to now."""

    def __init__(
        self,
        clock: Clock,
        rng: np.random.Generator,
        faults: Faults,
        *,
        point: str = "HB_NORTH",
        zone: ZoneInfo = ZONE,
        gate: time = time(10),
        clears_at: time = time(13, 30),
        lead_s: float = 75.0,
        same_day: SameDay | None = None,
        seed_prices: int = 0,
        participation: str = "",
    ) -> None:
        self._participation = participation
        self._clock, self._rng, self._faults = clock, rng, faults
        self._point, self._zone, self._gate, self._clears_at = point, zone, gate, clears_at
        self._lead_ns = int(lead_s * SECOND_NS)
        self._same_day = same_day
        self._first_bid_ns: int | None = None  # when the first bid of the day with an auction of its own came
        self._seed_prices = seed_prices
        self.bids: dict[str, ads.Bid] = {}
        self.awards: dict[date, tuple[ads.AwardRow, ...]] = {}
        self.batches: dict[str, Published] = {}
        self.seen = Seen()
        self._real_time: dict[date, dict[int, float]] = {}
        self._held: list[Published] = []
        self._uid = 0
        first = clock.now_ns() + self._lead_ns
        self._next_step_ns = first - first % STEP_NS + STEP_NS

    @property
    def now_ns(self) -> int:
        """The ISO's own time, wrong by the skew of the fault menu."""
        return self._clock.now_ns() + int(self._faults.menu.skew_s * SECOND_NS)

    def prices(self, day: date) -> Mapping[int, float]:
        """Return the real-time prices of a market day by step; the same for a seed, whatever was asked before."""
        if day not in self._real_time:
            rng = np.random.default_rng([self._seed_prices, day.toordinal()])
            self._real_time[day] = real_time(prices_of(self._point, day), rng)
        return self._real_time[day]

    def advance(self) -> None:
        """Clear the days and publish the steps that are due."""
        now = self._clock.now_ns()
        local = from_ns(now).astimezone(self._zone)
        for day in (local.date(), local.date() + timedelta(days=1)):
            if day not in self.awards and now >= self.clears_ns(day):
                self._clear(day)
        while self._next_step_ns - self._lead_ns <= now:
            self._publish(self._next_step_ns)
            self._next_step_ns += STEP_NS

    # --- the day ahead ------------------------------------------------------------------------------------------------

    def submit(self, bid: ads.Bid) -> ads.BidResult:
        """Take a bid before the gate of its day, or say why not."""
        try:
            hour_ns(bid.market_date, bid.hour_ending, bid.repeated_hour, self._zone)
        except Malformed as error:
            return ads.BidResult(bid.bid_uid, "REJECTED", str(error))
        gate_ns = self.gate_ns(bid.market_date)
        if self._clock.now_ns() >= gate_ns:
            closed = from_ns(gate_ns).astimezone(self._zone)
            return ads.BidResult(bid.bid_uid, "REJECTED", f"the gate closed at {closed:%Y-%m-%d %H:%M}")
        if bid.market_date > (last := last_day(self._point)):
            return ads.BidResult(bid.bid_uid, "REJECTED", f"no prices of {bid.market_date}: give {last} at most")
        prices = [segment.price for segment in bid.segments]
        if prices != sorted(prices):
            return ads.BidResult(bid.bid_uid, "REJECTED", "prices must rise")
        why = rejection(bid, self._participation, self._zone) if self._participation else ""
        if why:
            return ads.BidResult(bid.bid_uid, "REJECTED", why)
        if self._same_day and bid.market_date == self._same_day.day and self._first_bid_ns is None:
            self._first_bid_ns = self._clock.now_ns()
        self.bids[bid.bid_uid] = bid
        return ads.BidResult(bid.bid_uid, "SUBMITTED")

    def gate_ns(self, day: date) -> int:
        """Return when the gate of a market day closes."""
        own = self._same_day
        if own and own.day == day:
            return self._on(day, own.gate) + self._put_off_ns(own)
        return self._on(day - timedelta(days=1), self._gate)

    def clears_ns(self, day: date) -> int:
        """Return when a market day is cleared."""
        own = self._same_day
        if own and own.day == day:
            return self._on(day, own.clears_at) + self._put_off_ns(own)
        return self._on(day - timedelta(days=1), self._clears_at)

    def _put_off_ns(self, own: SameDay) -> int:
        """Return by how much a day's own auction is put off, as its first bid came late or is still to come.

        At most until the day's last hour begins: of what is left then nothing can be sold.
        """
        if not own.notice_ns:
            return 0
        heard_ns = self._clock.now_ns() if self._first_bid_ns is None else self._first_bid_ns
        last_ns = self._on(own.day + timedelta(days=1), time(0)) - HOUR_NS
        return max(min(heard_ns + own.notice_ns, last_ns) - self._on(own.day, own.gate), 0)

    def _on(self, day: date, local: time) -> int:
        return to_ns(datetime.combine(day, local, tzinfo=self._zone))

    def _clear(self, day: date) -> None:
        prices = prices_of(self._point, day)
        rows = []
        for bid, start_ns in self._bids_of(day):
            if start_ns not in prices:
                continue
            mw, price = clear(_curve(bid), prices[start_ns])
            if mw > 0:
                rows.append(award_row(bid, mw, price))
        self.awards[day] = tuple(rows)

    def _bids_of(self, day: date) -> list[tuple[ads.Bid, int]]:
        """Return the bids of a market day, each with the start of its hour (ns)."""
        bids = [bid for bid in self.bids.values() if bid.market_date == day]
        return [(bid, hour_ns(day, bid.hour_ending, bid.repeated_hour, self._zone)[0]) for bid in bids]

    def foreseen(self, day: date) -> Mapping[int, float] | None:
        """Return what a participant foresees of a day's prices by the days before ($/MWh, by the hour's start).

        None: the days before are in the published data.
        """
        return None

    # --- real time ----------------------------------------------------------------------------------------------------

    def _publish(self, step_ns: int) -> None:
        instructions = self._instructions(step_ns, step_ns + STEP_NS)
        if not instructions:
            return
        faults = self._faults.batch()
        shown_ns = step_ns - self._lead_ns + (int(self._faults.menu.late_s * SECOND_NS) if "late" in faults else 0)
        made = self._make(step_ns, instructions, 1, shown_ns, "expire" in faults)
        made.twice = "duplicate" in faults
        if "malformed" in faults:
            made.payload = _spoiled(made.payload, self._rng)
        if "reorder" in faults:
            self._held.append(made)
            return
        self._show(made)
        if "supersede" in faults:
            self._supersede(step_ns, instructions, shown_ns)
        # What was held back comes after its successor: out of order.
        for held in self._held:
            held.shown_at_ns = max(held.shown_at_ns, shown_ns + SECOND_NS)
            self._show(held)
        self._held.clear()

    def _supersede(self, step_ns: int, instructions: tuple[ads.Instruction, ...], shown_ns: int) -> None:
        """Publish a revision that changes the second half of the step: its start lies within the interval."""
        middle = from_ns(step_ns + STEP_NS // 2)
        end = from_ns(step_ns + STEP_NS)
        factor = 0.5 + 0.5 * float(self._rng.random())
        changed = tuple(
            replace_segments(one, (ads.Segment(middle, end, round(one.segments[0].mw * factor, 6)),), "r2")
            for one in instructions
        )
        self._show(self._make(step_ns, changed, 2, shown_ns + 10 * SECOND_NS, False))

    def _make(
        self, step_ns: int, instructions: tuple[ads.Instruction, ...], revision: int, shown_ns: int, expired: bool
    ) -> Published:
        self._uid += 1
        skew_ns = int(self._faults.menu.skew_s * SECOND_NS)
        expires_ns = shown_ns - SECOND_NS if expired else step_ns + STEP_NS
        batch = ads.DispatchBatch(
            str(self._uid),
            "RT5",
            "ACTIVE",
            from_ns(shown_ns + skew_ns),
            from_ns(expires_ns + skew_ns),
            "RTD",
            from_ns(step_ns),
            "NORMAL",
            True,
            revision,
            instructions,
        )
        return Published(batch, shown_ns, pack(batch))

    def _show(self, made: Published) -> None:
        self.batches[made.batch.batch_uid] = made

    def _instructions(self, start_ns: int, end_ns: int) -> tuple[ads.Instruction, ...]:
        price, called_mw = self._dispatched(start_ns, sold := self._sold_at(start_ns))
        made = []
        for (resource, product), mw in called_mw.items():
            # A resource has one operating point, for all that it sold.
            uid = derive("instruction", sold[resource, product][0].award_uid, start_ns)
            segment = ads.Segment(from_ns(start_ns), from_ns(end_ns), mw)
            made.append(ads.Instruction(uid, resource, product, price, (segment,)))
        return tuple(made)

    def _sold_at(self, start_ns: int) -> Sold:
        """Return what was awarded for the hour of a step."""
        sold: Sold = {}
        began_ns = hour_start_ns(start_ns, self._zone)
        for award in self.awards.get(from_ns(start_ns).astimezone(self._zone).date(), ()):
            award_start_ns, _ = hour_ns(award.market_date, award.hour_ending, award.repeated_hour, self._zone)
            if award_start_ns == began_ns:
                sold.setdefault((award.resource, award.product), []).append(award)
        return sold

    def _dispatched(self, start_ns: int, sold: Sold) -> tuple[float, dict[tuple[str, str], float]]:
        """Return the price of a step ($/MWh) and what is called of each resource and product (MW)."""
        price = self.prices(from_ns(start_ns).astimezone(self._zone).date()).get(start_ns)
        if price is None:
            return 0.0, {}
        return price, {key: self._limited(key[0], awards, price, start_ns) for key, awards in sold.items()}

    def _limited(self, resource: str, awards: list[ads.AwardRow], price: float, start_ns: int) -> float:
        wanted = math.fsum(max(award.mw, supplied(_curve(self.bids[award.bid_uid]), price)) for award in awards)
        return round(min(wanted, self._available_mw(resource, start_ns)), 6)

    def _available_mw(self, resource: str, start_ns: int) -> float:
        """Return what a resource last declared that it can give from an instant on (MW); infinite: nothing."""
        declared = [each for each in self.seen.declared.get(resource, ()) if each.from_ns <= start_ns]
        return max(declared[-1].up_mw, 0.0) if declared else math.inf

    # --- what participants ask and say --------------------------------------------------------------------------------

    def since(self, last_uid: int) -> list[ads.BatchHeader]:
        """Return the batches after a UID that are shown by now, in the order of showing; some twice, as faults say."""
        now = self._clock.now_ns()
        shown = [made for made in self.batches.values() if made.shown_at_ns <= now]
        found = [made for made in shown if int(made.batch.batch_uid) > last_uid]
        # A duplicating ISO lists a batch again, though it was asked only for what comes after.
        again = [made for made in shown if made.twice and now - made.shown_at_ns < HOUR_NS]
        listed = sorted([*found, *again], key=lambda made: made.shown_at_ns)
        return [ads.BatchHeader(m.batch.batch_uid, m.batch.batch_sent, m.batch.batch_type) for m in listed]

    def mend(self, made: Published) -> None:
        """Send a batch anew under its own UID; the next answer to it counts, as its first was to another content."""
        self.batches[made.batch.batch_uid] = made
        self.seen.replies.pop(made.batch.batch_uid, None)

    def reply(self, reply: ads.RespondDispatchBatch) -> None:
        """Take an answer; the first stands, as a second of the same batch is a repeat."""
        uid = reply.batch_uid
        self.seen.reply_count[uid] = self.seen.reply_count.get(uid, 0) + 1
        self.seen.replies.setdefault(uid, reply)
        self.batches[uid].status = "ANSWERED"

    def declare(self, said: ads.RedeclareAvailability) -> None:
        """Take what a resource can do from now on."""
        made = Declared(to_ns(said.from_time), said.up_mw, said.down_mw, said.reason)
        self.seen.declared.setdefault(said.resource, []).append(made)

    def trajectory(self, resource: str, start_ns: int, end_ns: int) -> list[tuple[int, float]]:
        """Return (instant, MW) of the instructions published for a resource, the newest revision of each step."""
        points: dict[int, float] = {}
        for made in sorted(self.batches.values(), key=lambda made: made.batch.revision_no):
            for one in made.batch.instructions:
                for segment in one.segments:
                    if one.resource == resource and start_ns <= to_ns(segment.start_time) < end_ns:
                        points[to_ns(segment.start_time)] = segment.mw
        return sorted(points.items())


def award_row(bid: ads.Bid, mw: float, price: float) -> ads.AwardRow:
    """Return what a bid is awarded (MW) at a price ($/MWh)."""
    row = (bid.bid_uid, bid.resource, bid.product, bid.market_date, bid.hour_ending, bid.repeated_hour)
    return ads.AwardRow(derive("award", bid.bid_uid), *row, round(mw, 6), round(price, 4))


def replace_segments(one: ads.Instruction, segments: tuple[ads.Segment, ...], mark: str) -> ads.Instruction:
    """Return an instruction with other segments, under a UID derived from its own."""
    uid = derive("instruction", one.instruction_uid, mark)
    return ads.Instruction(uid, one.resource, one.product, one.price, segments)


def _curve(bid: ads.Bid) -> list[tuple[float, float]]:
    return [(segment.mw, segment.price) for segment in bid.segments]


def _spoiled(payload: str, rng: np.random.Generator) -> str:
    """Return a payload that is cut off, not base64, or scrambled inside."""
    at = int(rng.integers(8, max(len(payload) - 8, 9)))
    kind = int(rng.integers(3))
    return (payload[:at], payload[:at] + "*" + payload[at:], payload[:at] + "AAAA" + payload[at + 4 :])[kind]
