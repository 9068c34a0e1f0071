"""What the market of the web service knows: rows of bid sets and what became of them, awards, plans and instructions.

Beneath lies the ISO in small (`simulate.iso.market`): its auction on real prices, its dispatch, its faults. Here its
bids, batches and answers are put into the words of the web service. A row is `SUBMITTED` when it comes and accepted or
refused `accept_s` later. Energy that was sold from no resource in particular is dispatched all the same, as the
resource of its settlement point, so that a world has something to follow: the real market settles it by prices alone.

A reserve clears at a tenth of the hour's energy price, which is our assumption: no prices of reserves are at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tieline.simulate.iso.market import IsoMarket, Published
from tieline.simulate.iso.prices import ZONE, last_day, prices_of
from tieline.times import HOUR_NS, SECOND_NS, from_ns, to_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import unpack
from tieline.wire.ads.errors import AdsError
from tieline.wire.ads.hours import hour_ns, hour_of
from tieline.wire.ews import messages as ews
from tieline.wire.ews.mrid import Rowed, hour_suffix, mrid

RESERVE_SHARE = 0.1
LISTED_NS = 6 * HOUR_NS
PER_BATCH = 100


@dataclass(slots=True)
class Kept:
    """One hour of a row, and what the market will say of it from `shown_at_ns` on."""

    row: Rowed
    bid: ads.Bid
    shown_at_ns: int
    refusal: str
    is_canceled: bool = False


class EwsMarket:
    """The market behind the web service; `iso.advance()` brings it up to now."""

    def __init__(
        self, iso: IsoMarket, qse: str, points: Mapping[str, str], zone: ZoneInfo = ZONE, accept_s: float = 3.0,
        point: str = "HB_NORTH",
    ) -> None:  # fmt: skip
        self.iso, self.qse, self.zone, self._point = iso, qse, zone, point
        self._resource_of = {sp: resource for resource, sp in points.items()}
        self._points = dict(points)
        self._accept_ns = int(accept_s * SECOND_NS)
        self.kept: dict[str, Kept] = {}
        self.plans: dict[tuple[str, date], ews.Cop] = {}
        self._replies: dict[str, dict[str, ads.Reply]] = {}

    # --- bid sets -----------------------------------------------------------------------------------------------------

    def create(self, bids: ews.BidSet) -> ews.BidSet:
        """Take rows, and return each with its key and `SUBMITTED`, or `ERRORS` and why."""
        rows: list[Rowed] = []
        for row in bids.rows:
            key = mrid(self.qse, bids.trading_date, row)
            why = self._take(bids.trading_date, key, row)
            problem = (ews.Problem(severity="ERROR", text=why),) if why else ()
            answer = type(row)(
                mrid=key, external_id=row.external_id, status="ERRORS" if why else "SUBMITTED", errors=problem
            )
            rows.append(answer)
        return ews.bid_set(bids.trading_date, rows)

    def _take(self, day: date, key: str, row: Rowed) -> str:
        if row.start_time is None or row.end_time is None:
            return "startTime and endTime are needed"
        if isinstance(row, ews.Cop):
            return self._plan(day, row)
        hours = range(to_ns(row.start_time), to_ns(row.end_time), HOUR_NS)
        for start_ns in hours:
            try:
                in_day, hour_ending, repeated = hour_of(start_ns, self.zone)
            except AdsError as error:
                return str(error)
            if in_day != day:
                return f"{row.start_time.isoformat()} is not of trading date {day}"
            name = f"{key}.{hour_suffix(hour_ending, repeated)}"
            bid = self._bid(row, name, start_ns)
            if isinstance(bid, str):
                return bid
            refusal = self._refusal(bid)
            self.kept[name] = Kept(row, bid, self.iso.now_ns + self._accept_ns, refusal)
        return ""

    def _refusal(self, bid: ads.Bid) -> str:
        if bid.product == "ENERGY":
            said = self.iso.submit(bid)
            return said.reason if said.status == "REJECTED" else ""
        gate_ns = self.iso.gate_ns(bid.market_date)
        return "the gate is closed" if self.iso.now_ns >= gate_ns else ""

    def _bid(self, row: Rowed, name: str, start_ns: int) -> ads.Bid | str:
        resource = self._resource_of.get(row.sp or "") if isinstance(row, ews.EnergyOnlyOffer) else row.resource
        if resource not in self._points:
            return f"unknown resource or settlement point {resource or getattr(row, 'sp', '')}"
        product, steps = ("ENERGY", _steps(row)) if not isinstance(row, ews.AsOffer) else _reserve(row)
        if not steps:
            return "no curve with a quantity above 0"
        day, hour_ending, repeated = hour_of(start_ns, self.zone)
        return ads.Bid(name, resource, product, day, hour_ending, repeated, tuple(steps))

    def _plan(self, day: date, plan: ews.Cop) -> str:
        if plan.resource not in self._points or not plan.limits:
            return f"no limits, or unknown resource {plan.resource}"
        self.plans[plan.resource, day] = plan
        for limits in plan.limits:
            self.iso.declare(ads.RedeclareAvailability(plan.resource, limits.start_time, limits.hsl, 0.0, "COP"))
        return ""

    def status(self, ids: tuple[str, ...]) -> ews.BidSet | None:
        """Return what became of rows by their keys; None: none of them is known."""
        found = self._found(ids)
        return self._told(found) if found else None

    def cancel(self, ids: tuple[str, ...]) -> ews.BidSet | None:
        """Withdraw rows whose gate is open, and return what became of each; None: none of them is known."""
        found = self._found(ids)
        for name, kept in found:
            if self.iso.now_ns < self.iso.gate_ns(kept.bid.market_date):
                kept.is_canceled = True
                self.iso.bids.pop(name, None)
        return self._told(found, asked_to_cancel=True) if found else None

    def _found(self, ids: tuple[str, ...]) -> list[tuple[str, Kept]]:
        """Return the hours of rows that keys name; a key without an hour names all of its row's."""
        asked = frozenset(ids)
        return [(name, kept) for name, kept in self.kept.items() if asked & {name, name.rpartition(".")[0]}]

    def _told(self, found: list[tuple[str, Kept]], asked_to_cancel: bool = False) -> ews.BidSet:
        rows: list[Rowed] = []
        for name, kept in found:
            status, why = self.standing(kept)
            if asked_to_cancel and status != "CANCELED":
                status, why = "REJECTED", "the gate is closed"
            problems = (ews.Problem(severity="ERROR", text=why),) if why else ()
            row = type(kept.row)(mrid=name, external_id=kept.row.external_id, status=status, errors=problems)
            rows.append(row)
        return ews.bid_set(found[0][1].bid.market_date, rows)

    def standing(self, kept: Kept) -> tuple[str, str]:
        """Return (status, why) of one hour of a row, as it is shown now."""
        if kept.is_canceled:
            return "CANCELED", ""
        if self.iso.now_ns < kept.shown_at_ns:
            return "PENDING", ""
        return ("REJECTED", kept.refusal) if kept.refusal else ("ACCEPTED", "")

    # --- awards -------------------------------------------------------------------------------------------------------

    def awards(self, day: date) -> ews.AwardSet | None:
        """Return the awards of a trading date, to a tenth of a megawatt; None: it is not cleared."""
        if day not in self.iso.awards:
            return None
        only, three = [], []
        for won in self.iso.awards[day]:
            kept, mw = self.kept.get(won.bid_uid), math.floor(won.mw * 10 + 1e-6) / 10
            if kept is None or mw <= 0:
                continue
            head = self._head(day, kept.bid)
            if isinstance(kept.row, ews.EnergyOnlyOffer):
                told: dict[str, Any] = {
                    "spp": round(won.price, 2),
                    "bid_id": kept.row.bid_id or "",
                    "sp": kept.row.sp or "",
                }
                only.append(ews.AwardedEnergyOnlyOffer(**head, awarded_mwh=mw, **told))
            else:
                three.append(ews.AwardedEnergyOffer(**head, resource=won.resource, awarded_mwh=mw))
        return ews.AwardSet(
            trading_date=day, market_type="DAM", energy_only=tuple(only), three_part=tuple(three),
            reserves=tuple(self._reserves(day)),
        )  # fmt: skip

    def _reserves(self, day: date) -> list[ews.AwardedAs]:
        prices, found = prices_of(self._point, day), []
        for kept in self.kept.values():
            if not isinstance(kept.row, ews.AsOffer) or kept.refusal or kept.is_canceled or kept.bid.market_date != day:
                continue
            head = self._head(day, kept.bid)
            price = round(RESERVE_SHARE * max(prices[to_ns(head["start_time"])], 0.0), 2)
            mw = round(sum(step.mw for step in kept.bid.segments if step.price <= price), 1)
            if mw <= 0:
                continue
            span = {"start_time": head["start_time"], "end_time": head["end_time"]}
            match kept.bid.product:
                case "NSPIN":
                    kind, off = "Off-Non-Spin", (ews.OffLineNonSpin(xvalue=mw, offns=price),)
                    curve = ews.AsPriceCurve(**span, off_line=off)
                case "ECRS":
                    kind, curve = (
                        "ECRSS",
                        ews.AsPriceCurve(**span, on_line=(ews.OnLineReserves(xvalue=mw, ecrs=price),)),
                    )
                case _:
                    kind, curve = (
                        "RRSUF",
                        ews.AsPriceCurve(**span, on_line=(ews.OnLineReserves(xvalue=mw, rrsuf=price),)),
                    )
            found.append(ews.AwardedAs(**head, resource=kept.bid.resource, as_type=kind, blocks=(curve,)))
        return found

    def _head(self, day: date, bid: ads.Bid) -> dict[str, Any]:
        start_ns, end_ns = hour_ns(bid.market_date, bid.hour_ending, bid.repeated_hour, self.zone)
        span: dict[str, Any] = {"start_time": self._local(start_ns), "end_time": self._local(end_ns)}
        return {**span, "qse": self.qse, "trading_date": day, "market_type": "DAM"}

    def prices(self, day: date) -> ews.Spps | None:
        """Return the settlement point prices of a cleared trading date, hour by hour; None: it is not cleared."""
        if day not in self.iso.awards or day > last_day(self._point):
            return None
        rows = (
            ews.Spp(time=self._local(at), ending=self._local(at + HOUR_NS), value1=round(price, 2), sp=sp)
            for sp in self._resource_of for at, price in prices_of(self._point, day).items()
        )  # fmt: skip
        return ews.Spps(rows=tuple(rows))

    # --- instructions -------------------------------------------------------------------------------------------------

    def instructions(self) -> tuple[ews.Vdis, frozenset[str]]:
        """Return the instructions that are shown and not acknowledged, some twice, and those that are to be spoiled."""
        now_ns, seen = self.iso.now_ns, set[str]()
        rows, spoiled = [], set[str]()
        for header in self.iso.since(-1):
            made = self.iso.batches[header.batch_uid]
            again = header.batch_uid in seen
            seen.add(header.batch_uid)
            if now_ns - made.shown_at_ns > LISTED_NS or (made.status == "ANSWERED" and not again):
                continue
            made.fetched += 1
            mine = [self._vdi(made, at, one) for at, one in enumerate(made.batch.instructions)]
            rows += mine
            if _is_spoiled(made):
                spoiled |= {vdi.details.vdi_ref_num for vdi in mine}
        return ews.Vdis(rows=tuple(rows)), frozenset(spoiled)

    def _vdi(self, made: Published, at: int, one: ads.Instruction) -> ews.Vdi:
        segment, batch = one.segments[0], made.batch
        end_ns = min(to_ns(segment.end_time), to_ns(batch.batch_expires))
        details = ews.VdiDetails(
            ercot_operator_name="emulator", instruction_type="AT_PQ_LEV",
            notification_time=self._local(to_ns(batch.batch_sent)),
            initiation_time=self._local(to_ns(segment.start_time)), completion_time=self._local(end_ns),
            vdi_ref_num=str(int(batch.batch_uid) * PER_BATCH + at), final_opr_level=round(segment.mw, 1),
        )  # fmt: skip
        return ews.Vdi(
            mrid=f"{self.qse}.VDI.{one.resource}", status="SUBMITTED", resource=one.resource, details=details
        )

    def acknowledge(self, vdi: ews.Vdi) -> str:
        """Take what a participant says to an instruction; return why it can't be taken, or nothing."""
        reference = vdi.details.vdi_ref_num
        uid = str(int(reference) // PER_BATCH) if reference.isdigit() else ""
        made = self.iso.batches.get(uid)
        at = int(reference) % PER_BATCH if made is not None else 0
        if made is None or at >= len(made.batch.instructions):
            return f"no instruction {reference}"
        mine = made.batch.instructions[at].instruction_uid
        word = "ACCEPT" if vdi.status == "ACKNOWLEDGED" else "DECLINE"
        reason = "; ".join(problem.text for problem in vdi.errors)[:2000]
        said = self._replies.setdefault(uid, {})
        said[mine] = ads.Reply(mine, word, reason)
        if len(said) == len(made.batch.instructions):
            self.iso.reply(ads.RespondDispatchBatch(uid, replies=tuple(said.values())))
        return ""

    def _local(self, at_ns: int) -> datetime:
        return from_ns(at_ns).astimezone(self.zone)


def _steps(row: ews.ThreePartOffer | ews.EnergyOnlyOffer | ews.Cop) -> list[ads.BidSegment]:
    """Return a curve as steps: between two points at the price of the upper, as no part is sold for less."""
    if isinstance(row, ews.Cop) or not row.curves:
        return []
    found, upto = [], 0.0
    for point in row.curves[0].points:
        if round(point.xvalue - upto, 6) > 0:
            found.append(ads.BidSegment(round(point.xvalue - upto, 6), point.y1value))
            upto = point.xvalue
    return found


def _reserve(row: ews.AsOffer) -> tuple[str, list[ads.BidSegment]]:
    curve = row.curves[0] if row.curves else None
    if curve is None:
        return "", []
    off = [ads.BidSegment(each.xvalue, each.offns or 0.0) for each in curve.off_line if each.xvalue > 0]
    if off:
        return "NSPIN", off
    is_ecrs = any(each.ecrs is not None for each in curve.on_line)
    on = [(each.xvalue, (each.ecrs if is_ecrs else each.rrsuf) or 0.0) for each in curve.on_line if each.xvalue > 0]
    return "ECRS" if is_ecrs else "RRS", [ads.BidSegment(mw, price) for mw, price in on]


def _is_spoiled(made: Published) -> bool:
    try:
        unpack(made.payload)
    except AdsError:
        return True
    return False
