"""What a pool owes at an instant, and because of what: an instruction before an award."""

from __future__ import annotations

from dataclasses import dataclass

from tieline.desk.ports import Award, Instruction
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, floor_ns

DISPATCH_STEP_NS = 5 * MINUTE_NS
ENERGY = "ENERGY"
"""The product whose award asks for power by itself. Of reserves, regulation and capacity it holds the power, and an
instruction calls it."""


@dataclass(frozen=True, slots=True)
class Obligation:
    """So much power (W above base, positive into the grid) until `end_ns`; `because` is the record that says so."""

    pool: str
    power_w: float
    start_ns: int
    end_ns: int
    because: str
    price_per_mwh: float
    is_instructed: bool


def award_at(state: DeskState, pool: str, instant_ns: int, product: str = "") -> Award | None:
    """Return the award that covers an instant, if there is one: of a product, else of energy before any other."""
    covering = [a for a in state.awards.values() if a.pool == pool and a.start_ns <= instant_ns < a.end_ns]
    if product:
        return next((award for award in covering if award.product == product), None)
    return min(covering, key=lambda award: award.product != ENERGY, default=None)


def instruction_at(state: DeskState, pool: str, instant_ns: int) -> Instruction | None:
    """Return the newest instruction of the dispatch step that an instant lies in; None: nothing was told of it.

    A revision may begin within the step, and holds from there on: the step's first instruction then holds until it.
    """
    step_ns, told = floor_ns(instant_ns, DISPATCH_STEP_NS), state.instructions.get(pool, {})
    begun = [start_ns for start_ns in told if step_ns <= start_ns <= instant_ns < told[start_ns].end_ns]
    return told[max(begun)] if begun else None


def owed(state: DeskState, pool: str, instant_ns: int) -> Obligation | None:
    """Return what the pool owes at an instant: its newest instruction, else its award of energy, else nothing."""
    step_ns = floor_ns(instant_ns, DISPATCH_STEP_NS)
    instruction = instruction_at(state, pool, instant_ns)
    if instruction is not None:
        return Obligation(
            pool,
            instruction.power_w,
            instruction.start_ns,
            instruction.end_ns,
            derive("batch", instruction.batch),
            instruction.price_per_mwh,
            True,
        )
    award = award_at(state, pool, instant_ns, ENERGY)
    if award is None:
        return None
    end_ns = min(award.end_ns, step_ns + DISPATCH_STEP_NS)
    return Obligation(pool, award.power_w, step_ns, end_ns, derive("award", award.id), award.price_per_mwh, False)


def next_call_ns(state: DeskState, now_ns: int) -> int:
    """Return when the next instruction of any pool begins or ends; `FOREVER_NS` where none does."""
    next_ns = FOREVER_NS
    for told in state.instructions.values():
        for one in reversed(told.values()):  # the newest came last: those of past days are not gone through
            if one.end_ns <= now_ns - HOUR_NS:
                break
            next_ns = min(next_ns, *(at for at in (one.start_ns, one.end_ns) if at > now_ns), FOREVER_NS)
    return next_ns


def committed_until(state: DeskState, pool: str, instant_ns: int) -> int:
    """Return the end of the unbroken run of awards that covers an instant; the instant itself where none does."""
    end_ns = instant_ns
    while (award := award_at(state, pool, end_ns)) is not None:
        end_ns = award.end_ns
    return end_ns
