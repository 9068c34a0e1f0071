"""Offers, awards and dispatch from a market: matched, reserved, taken once, answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tieline.desk.entry import Entry
from tieline.desk.facts import (
    AwardTaken,
    BatchChanged,
    BatchTaken,
    BatchUnread,
    CapacityReserved,
    OfferAnswered,
    OfferMade,
    OfferUnawarded,
)
from tieline.desk.obligation import LONGEST_NS, awards_at
from tieline.desk.ports import Award, BatchAnswer, DispatchBatch, Instruction, Offer
from tieline.desk.redispatch import BY_KILL
from tieline.desk.refused import EXPIRED, NEWER, OVER, asks_of, is_repriced
from tieline.desk.state import DeskState
from tieline.fleet.ledger import Held
from tieline.ids import derive
from tieline.market.award import TOLERANCE_W, award_refusal, price_dispute
from tieline.resource.claim import Refusal
from tieline.times import FOREVER_NS, HOUR_NS, iso

PROGRAM_OF = {"ENERGY": "energy", "CAPACITY": "capacity", "REG": "ancillary", "SPIN": "ancillary", "NSPIN": "ancillary"}
"""Under which eligibility program each product is sold."""
CHANGED = "an award that was taken has changed: the first stands"
UNAWARDED = "the market cleared its day without it"


def decide_offers(
    state: DeskState, offers: Sequence[Offer], foreseen_w: Callable[[Offer], float] = lambda offer: math.inf
) -> tuple[list[Entry], list[Refusal | None]]:
    """Return the facts of new offers, and for each whether its capacity can be held; a second sale is refused, and what
    is beyond what its pool can be counted on to give then (`foreseen_w`).

    The whole of an offer's power is held until the market answers: an award makes it firm, as far as it goes; a refusal
    gives it back, and so does a day that is cleared without it; without an answer the hold lapses with the interval.
    """
    entries: list[Entry] = []
    answers: list[Refusal | None] = []
    for offer in offers:
        if offer.id in state.unawarded:
            answers.append(Refusal(UNAWARDED, "id", offer.id, "an offer of a day to come"))
            continue
        # The market was asked before a restart, or twice: what is held is held, and asking again sells nothing more.
        if offer.id in state.offers:
            answers.append(None)
            continue
        refusal = _hold(state, offer, entries, foreseen_w(offer))
        answers.append(refusal)
        if refusal is None:
            entries.append(Entry(derive("offer", offer.id), OfferMade(offer), offer.pool))
    return entries, answers


def _hold(state: DeskState, offer: Offer, entries: list[Entry], foreseen_w: float) -> Refusal | None:
    power_w = math.fsum(segment.power_w for segment in offer.segments)
    up_w, down_w = max(power_w, 0.0), max(-power_w, 0.0)
    hours = (offer.end_ns - offer.start_ns) / HOUR_NS
    reservation = derive("reservation", offer.id)
    refusal = state.ledger.check(
        offer.pool, offer.product, offer.start_ns, offer.end_ns, up_w=up_w, down_w=down_w, energy_wh=power_w * hours,
        foreseen_w=foreseen_w,
    )  # fmt: skip
    # What the book knows says more than a rule, and a rule more than that the book knows nothing of it.
    if refusal is None or offer.pool not in state.ledger.capacities:
        refusal = _ineligible(state, offer, abs(power_w)) or refusal
    fact = CapacityReserved(
        reservation, offer.pool, offer.product, offer.start_ns, offer.end_ns, up_w, down_w, power_w * hours, refusal,
        holds_until_ns=offer.end_ns,
    )  # fmt: skip
    entry = Entry(reservation, fact, offer.pool, (derive("offer", offer.id),))
    if refusal is not None:  # a refused offer is no record: the refusal, which holds what was asked, is the first of it
        entry = Entry(derive("reservation-refused", offer.id), fact, offer.pool)
    entries.append(entry)
    return refusal


def _ineligible(state: DeskState, offer: Offer, power_w: float) -> Refusal | None:
    """Return why an offer can't be held where the rules leave too few of its resources, naming the rule."""
    if not (state.enrolments or state.agreed) or not state.fleet.holds(offer.pool):
        return None
    fleet, rows = state.fleet, state.fleet.leaves(offer.pool)
    program = PROGRAM_OF.get(offer.product, offer.product)
    agrees = state.agrees((program,), rows)
    may = state.may_serve(program, rows) & agrees
    most_w = float((fleet.max_inject_w + fleet.max_absorb_w)[rows[may]].sum())
    # Bounded by the eligible ratings alone, as availability of a day ahead is the forecast's business.
    if power_w <= most_w + TOLERANCE_W:
        return None
    enrolled = state.enrolments.get(program)
    rule = "default-deny 1"
    if enrolled is not None:
        denied = [enrolled.verdicts[at] for at in np.unique(enrolled.verdict_of[rows[~may]]).tolist()]
        rule = ", ".join(sorted({f"{each.rule} {each.version}" for each in denied})) or "rating"
    if state.agreed is not None and not agrees.all():
        names = state.agreed.of_rows(rows[~agrees])
        rule = ", ".join([rule, f"contracts {', '.join(names[:3])}" if names else "contracts.without"])
    limit = f"{most_w:.0f} W of eligible resources"
    return Refusal("more than what the rules let serve", "power_w", f"{power_w:.0f}", limit, rule=rule)


def decide_offer_answers(state: DeskState, offers: Sequence[Offer], answers: Sequence[Refusal | None]) -> list[Entry]:
    """Return the facts of what the market said to our offers."""
    return [
        Entry(
            derive("offer-answer", offer.id),
            OfferAnswered(offer.id, answer),
            offer.pool,
            (derive("offer", offer.id),),
        )
        for offer, answer in zip(offers, answers, strict=True)
    ]


def waiting(state: DeskState, pools: Sequence[str], start_ns: int, end_ns: int) -> list[str]:
    """Return the offers of pools that begin within an interval and of which the market has yet to say what they got."""
    awarded = {award.offer for award in state.awards.values()}
    return [
        offer.id for offer in state.offers.values()
        if offer.pool in pools and start_ns <= offer.start_ns < end_ns
        and offer.id not in awarded and offer.id not in state.unawarded and state.offer_answers.get(offer.id) is None
    ]  # fmt: skip


def decide_cleared(state: DeskState, offers: Sequence[str], frame: str) -> list[Entry]:
    """Return the facts of offers that the market cleared without: what they hold is free from then on."""
    found = [state.offers[name] for name in dict.fromkeys(offers) if name in state.offers]
    pools = {offer.pool for offer in found}
    still = {name for pool in pools for name in waiting(state, (pool,), 0, FOREVER_NS)}
    return [
        Entry(derive("offer-unawarded", one.id), OfferUnawarded(one.id, frame), one.pool, (derive("offer", one.id),))
        for one in found if one.id in still
    ]  # fmt: skip


def decide_award(state: DeskState, award: Award, frame: str) -> tuple[list[Entry], Refusal | None]:
    """Return the facts and the answer of a day-ahead award, matched to the offer that it answers."""
    taken = state.awards.get(award.id)
    if taken == award:
        # As it was taken, after the market had said something else under its name.
        again = derive("award-again", award.id, frame, state.revision)
        is_back = ("award", award.id, "", "") in state.refused
        return [Entry(again, AwardTaken(award, None, frame), award.pool, ()) for _ in range(is_back)], None
    offer = state.offers.get(award.offer)
    if taken is not None and _mends_price(taken, award, offer):
        mended = derive("award-repriced", award.id, frame, state.revision)
        return [Entry(mended, AwardTaken(award, None, frame), award.pool, (derive("award", award.id),))], None
    if taken is not None:
        refusal: Refusal | None = _changed(taken, award)
    else:
        refusal = award_refusal(award, offer, state.awards.values()) or _resold(state, award)
    known = state.refused.get(("award", award.id, "", ""))
    # By its words: a price that is no number is equal to none, and it stands so already.
    if refusal is not None and known is not None and str((known.asked, known.refusal)) == str(((award,), refusal)):
        return [], refusal
    # A refused award is keyed by the revision too: a market may send others under the same id, and then this one again.
    record = derive("award", award.id)
    if refusal is not None:
        record = derive("award-refused", award.id, frame, state.revision)
    dispute = price_dispute(award, offer) if refusal is None else None
    fact = AwardTaken(award, refusal, frame, dispute)
    return [Entry(record, fact, award.pool, (derive("offer", award.offer),))], refusal


def _mends_price(taken: Award, award: Award, offer: Offer | None) -> bool:
    """Whether an award is told again with nothing changed but its price, from one that we dispute to one that we don't.

    It moves no obligation, and is what was asked for: the hour settles at it.
    """
    if not is_repriced(taken, award) or not math.isfinite(award.price_per_mwh):
        return False
    return price_dispute(taken, offer) is not None and price_dispute(award, offer) is None


def _changed(taken: Award, award: Award) -> Refusal:
    """Return that an award has changed since it was taken: what was dispatched and sold by it can't be taken back.

    The first stands, and people settle the difference with the market: to pass over it would hide what the market's
    books say, and to take it would put another obligation in the place of one that may be over.
    """
    names = [name for name in award.__struct_fields__ if getattr(award, name) != getattr(taken, name)]
    now, before = (", ".join(str(getattr(one, name)) for name in names) for one in (award, taken))
    return Refusal(CHANGED, ", ".join(names), now, f"{before}, as it was taken", award.id)


def _resold(state: DeskState, award: Award) -> Refusal | None:
    """Return who holds what an offer gave back, where an award of it comes after all; None: it is free, or was kept.

    A market's award stands, but no kW is sold twice: what was freed by its own word may be another's by now.
    """
    offer, booking = state.offers[award.offer], state.ledger.bookings.get(derive("reservation", award.offer))
    if booking is None or booking.state is not Held.RELEASED:
        return None
    hours = (offer.end_ns - offer.start_ns) / HOUR_NS
    return state.ledger.check(
        offer.pool, offer.product, offer.start_ns, offer.end_ns, up_w=max(award.power_w, 0.0),
        down_w=max(-award.power_w, 0.0), energy_wh=award.power_w * hours,
    )  # fmt: skip


def decide_batch(state: DeskState, batch: DispatchBatch, now_ns: int) -> tuple[list[Entry], BatchAnswer]:
    """Return the facts and the answer of a dispatch batch; the same uid twice gets the first answer."""
    known = state.batches.get(batch.uid)
    if known is not None and (known.accepted or not batch.is_mended):
        return [], known
    accepted: list[str] = []
    declined: list[tuple[str, Refusal]] = []
    causes: list[str] = []
    refusals = _refusals(state, batch, now_ns)
    for instruction in batch.instructions:
        refusal = refusals.get(_whole(instruction))
        if refusal is None:
            accepted.append(instruction.id)
        else:
            declined.append((instruction.id, refusal))
        for award in awards_at(state, instruction.pool, instruction.start_ns, instruction.product):
            if derive("award", award.id) not in causes:
                causes.append(derive("award", award.id))
    if known is not None and not accepted and state.batch_asks.get(batch.uid) == asks_of(batch):
        return [], known  # sent anew as it was, and refused as it was: for one reason, the first
    answer = BatchAnswer(batch.uid, tuple(accepted), tuple(declined))
    subject = batch.instructions[0].pool if batch.instructions else ""
    # One that takes effect has the id that its consequences name; the ISO may send a refused one anew under its UID.
    record = derive("batch", batch.uid) if accepted else derive("batch-refused", batch.uid, batch.frame)
    return [Entry(record, BatchTaken(batch, answer), subject, tuple(causes))], answer


def _refusals(state: DeskState, batch: DispatchBatch, now_ns: int) -> dict[str, Refusal]:
    """Return why instructions of a batch are declined, by the ISO's own: one piece that can't be followed declines all.

    The ISO is answered for the whole, and counts on all of it or on nothing.
    """
    refusals: dict[str, Refusal] = {}
    for instruction in batch.instructions:
        refusal = _contradiction(batch, instruction) or _instruction_refusal(state, batch, instruction, now_ns)
        if refusal is not None:
            refusals.setdefault(_whole(instruction), refusal)
    return refusals


def _whole(instruction: Instruction) -> str:
    return instruction.whole or instruction.id


def decide_corrected(state: DeskState, fact: BatchChanged) -> list[Entry]:
    """Return the fact that a batch reads otherwise than when it was answered, once for each way in which it reads."""
    known, answer = state.changed.get((fact.link, fact.uid)), state.batches.get(fact.uid)
    if known is not None and known.fact == fact:
        return []
    causes = (derive("batch", fact.uid),) if answer is not None and answer.accepted else ()
    return [Entry(derive("batch-changed", fact.uid, fact.frame), fact, "", causes)]


def decide_unread(state: DeskState, fact: BatchUnread, now_ns: int) -> list[Entry]:
    """Return the fact that a batch can't be read; none where it was the same before, as a link reads it again."""
    known = state.unread.get((fact.link, fact.uid))
    if known is not None and known.fact == fact:
        return []
    return [Entry(derive("batch-unread", fact.link, fact.uid, now_ns), fact, "", ())]


def _contradiction(batch: DispatchBatch, instruction: Instruction) -> Refusal | None:
    """Return why none of a batch's instructions for one pool, product and time can be followed: there are several.

    None says which of them is meant, nor whether all are meant together: following one would drop the other unsaid.
    """
    of = instruction.pool, instruction.product
    same = [each for each in batch.instructions if (each.pool, each.product) == of and _overlap(each, instruction)]
    if len(same) < 2:
        return None
    other = next((each.id for each in same if each.id != instruction.id), instruction.id)
    limit = "one instruction of a pool, product and time in a batch"
    return Refusal("the batch contradicts itself", "start", iso(instruction.start_ns), limit, other)


def _instruction_refusal(
    state: DeskState, batch: DispatchBatch, instruction: Instruction, now_ns: int
) -> Refusal | None:
    if now_ns >= batch.expires_ns:
        return Refusal(EXPIRED, "expires", iso(batch.expires_ns), f"after {iso(now_ns)}")
    if instruction.end_ns - instruction.start_ns > LONGEST_NS:
        given = iso(instruction.end_ns)
        return Refusal("the instruction is too long", "end", given, f"{LONGEST_NS // HOUR_NS} h after its start")
    if now_ns >= instruction.end_ns:
        return Refusal(OVER, "end", iso(instruction.end_ns), f"after {iso(now_ns)}")
    if not state.fleet.holds(instruction.pool):
        return Refusal("no such pool", "pool", instruction.pool, "a pool of the registry")
    for at_ns in _marks(state, instruction):
        refusal = _unsold(state, instruction, at_ns)
        if refusal is not None:
            return refusal
    newest = _newer(state, instruction)
    if newest is not None:
        return Refusal(
            NEWER,
            "revision",
            str(instruction.revision),
            _above(newest, instruction),
            newest.id,
        )
    return _stopped(state, instruction)


def _stopped(state: DeskState, instruction: Instruction) -> Refusal | None:
    """Return why an instruction for power can't be followed behind the kill switch.

    No command would reach a device, and nobody knows when two people will release it: to accept would be untrue. What
    was owed without the instruction stays owed, and is recorded as lacking because of the switch.
    """
    if not state.is_killed or abs(instruction.power_w) <= TOLERANCE_W:
        return None
    given, limit = f"{instruction.power_w:.0f}", "0 W until two people release it"
    return Refusal(f"{BY_KILL}: an operator stopped what markets call", "power_w", given, limit)


def _newer(state: DeskState, instruction: Instruction) -> Instruction | None:
    """Return what leaves an instruction no time to hold: batches may overtake each other on their way."""
    for one in reversed(state.instructions.get((instruction.pool, instruction.product), {}).values()):
        if one.start_ns < instruction.start_ns - LONGEST_NS:
            break
        covers = one.start_ns <= instruction.start_ns and one.end_ns >= instruction.end_ns
        if covers and one.rank > instruction.rank:
            return one
    return None


def _above(newest: Instruction, instruction: Instruction) -> str:
    """Return what an instruction would need to come before another."""
    if newest.revision > instruction.revision:
        return f"> {newest.revision}"
    return f"> {newest.revision}, or a batch UID above {newest.batch}"


def _overlap(one: Instruction, other: Instruction) -> bool:
    """Whether two instructions share an instant, or a start: one without any time is none, and its end says so."""
    return one.start_ns == other.start_ns or max(one.start_ns, other.start_ns) < min(one.end_ns, other.end_ns)


def _marks(state: DeskState, instruction: Instruction) -> list[int]:
    """Return the instants of an instruction at which what was sold may be another: its start, and ends of awards."""
    ends = {award.end_ns for award in state.awards.values() if award.pool == instruction.pool}
    return [instruction.start_ns, *sorted(at for at in ends if instruction.start_ns < at < instruction.end_ns)]


def _unsold(state: DeskState, instruction: Instruction, at_ns: int) -> Refusal | None:
    """Return why an instruction asks for what was not sold: a market may call what the offers of its awards hold.

    An award may be for less than its offer; in real time the rest may be called, at the offer's price, and no more.
    """
    pool, field = instruction.pool, "start" if at_ns == instruction.start_ns else "end"
    sold = [a for a in state.awards.values() if a.pool == pool and a.start_ns <= at_ns < a.end_ns]
    if not sold:
        given = iso(instruction.start_ns if field == "start" else instruction.end_ns)
        return Refusal("no award covers the instruction", field, given, "an awarded interval")
    products = sorted({award.product for award in sold})
    if instruction.product not in products:
        given, limit = instruction.product[:64], f"awarded then: {', '.join(products)}"
        return Refusal("no award of this product covers the instruction", "product", given, limit)
    offered_w = 0.0
    for award in sold:
        if award.product == instruction.product:
            offer = state.offers.get(award.offer)
            offered_w += award.power_w if offer is None else math.fsum(part.power_w for part in offer.segments)
    low_w, high_w = min(offered_w, 0.0) - TOLERANCE_W, max(offered_w, 0.0) + TOLERANCE_W
    if low_w <= instruction.power_w <= high_w:
        return None
    given, limit = f"{instruction.power_w:.0f}", f"{min(offered_w, 0.0):.0f} to {max(offered_w, 0.0):.0f} W"
    return Refusal("the instruction is for what was not offered", "power_w", given, limit)
