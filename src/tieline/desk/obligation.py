"""What a pool owes at an instant, and because of what: an instruction before an award."""

from __future__ import annotations

from dataclasses import dataclass

from tieline.desk.ports import Award, Instruction
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.times import MINUTE_NS, floor_ns

DISPATCH_STEP_NS = 5 * MINUTE_NS


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


def award_at(state: DeskState, pool: str, instant_ns: int) -> Award | None:
    """Return the award that covers an instant, if there is one."""
    covering = (a for a in state.awards.values() if a.pool == pool and a.start_ns <= instant_ns < a.end_ns)
    return next(covering, None)


def instruction_at(state: DeskState, pool: str, instant_ns: int) -> Instruction | None:
    """Return the newest instruction of the dispatch step that an instant lies in; None: nothing was told of it.

    A revision may begin within the step, and holds from there on: the step's first instruction then holds until it.
    """
    step_ns, told = floor_ns(instant_ns, DISPATCH_STEP_NS), state.instructions.get(pool, {})
    begun = [start_ns for start_ns in told if step_ns <= start_ns <= instant_ns < told[start_ns].end_ns]
    return told[max(begun)] if begun else None


def owed(state: DeskState, pool: str, instant_ns: int) -> Obligation | None:
    """Return what the pool owes at an instant: the newest instruction for it, else the award, else nothing."""
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
    award = award_at(state, pool, instant_ns)
    if award is None:
        return None
    end_ns = min(award.end_ns, step_ns + DISPATCH_STEP_NS)
    return Obligation(pool, award.power_w, step_ns, end_ns, derive("award", award.id), award.price_per_mwh, False)


def committed_until(state: DeskState, pool: str, instant_ns: int) -> int:
    """Return the end of the unbroken run of awards that covers an instant; the instant itself where none does."""
    end_ns = instant_ns
    while (award := award_at(state, pool, end_ns)) is not None:
        end_ns = award.end_ns
    return end_ns
