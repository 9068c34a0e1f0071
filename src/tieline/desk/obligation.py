"""What a pool owes at an instant, and because of what: an instruction before an award."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

from tieline.desk.ports import Award, Instruction
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.times import DAY_NS, FOREVER_NS, HOUR_NS, MINUTE_NS, floor_ns

DISPATCH_STEP_NS, LONGEST_NS = 5 * MINUTE_NS, DAY_NS
"""The step of a real-time market, and how long an instruction may last."""
AHEAD_NS = DAY_NS
"""How far ahead what is sold counts for what the market is told."""
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


def awards_at(state: DeskState, pool: str, instant_ns: int, product: str = "") -> list[Award]:
    """Return the awards that cover an instant, of a product or ("") of all, those of energy first."""
    covering = [a for a in state.awards.values() if a.pool == pool and a.start_ns <= instant_ns < a.end_ns]
    return sorted((a for a in covering if product in ("", a.product)), key=lambda award: award.product != ENERGY)


def award_at(state: DeskState, pool: str, instant_ns: int, product: str = "") -> Award | None:
    """Return the first of `awards_at`, if there is one."""
    return next(iter(awards_at(state, pool, instant_ns, product)), None)


def awarded_w(state: DeskState, pool: str, instant_ns: int) -> float | None:
    """Return the energy awarded for an instant by all awards together (W); None: there is none."""
    awards = awards_at(state, pool, instant_ns, ENERGY)
    return math.fsum(award.power_w for award in awards) if awards else None


def instruction_at(state: DeskState, pool: str, instant_ns: int, product: str = ENERGY) -> Instruction | None:
    """Return the instruction of a product that covers an instant; None: none does.

    Of several the highest revision holds, of one revision the later batch by its UID, and where that is no number what
    came last, wherever each begins: two never add. What it supersedes holds until then and, where that lasts longer,
    after it.
    """
    told = reversed(state.instructions.get((pool, product), {}).values())
    # The newest came last: those of past days are not gone through.
    return holding(takewhile(lambda one: one.start_ns >= instant_ns - LONGEST_NS, told), instant_ns)


def holding(newest_first: Iterable[Instruction], instant_ns: int) -> Instruction | None:
    """Return which of a product's instructions, given from the newest on, holds at an instant; None: none does."""
    found = None
    for one in newest_first:
        if one.start_ns <= instant_ns < one.end_ns and (found is None or one.rank > found.rank):
            found = one
    return found


def calls_at(state: DeskState, pool: str, instant_ns: int) -> list[Instruction]:
    """Return the instructions that hold at an instant, one a product at most."""
    products = sorted(product for of, product in state.instructions if of == pool)
    found = (instruction_at(state, pool, instant_ns, product) for product in products)
    return [call for call in found if call is not None]


def owed(state: DeskState, pool: str, instant_ns: int) -> Obligation | None:
    """Return what the pool owes at an instant: what is instructed, else awarded, of energy, and what calls of reserves,
    regulation and capacity ask beside it; None: nothing.
    """
    energy = _energy_owed(state, pool, instant_ns)
    calls = [call for call in calls_at(state, pool, instant_ns) if call.product != ENERGY]
    if not calls:
        return energy
    newest = max(calls, key=lambda call: (call.start_ns, *call.rank))
    parts: list[Instruction | Obligation] = [*calls, *([] if energy is None else [energy])]
    return Obligation(
        pool, math.fsum(part.power_w for part in parts), max(part.start_ns for part in parts),
        min(part.end_ns for part in parts), derive("batch", newest.batch), newest.price_per_mwh, True,
    )  # fmt: skip


def _energy_owed(state: DeskState, pool: str, instant_ns: int) -> Obligation | None:
    """Return what is instructed, else all that is awarded, whatever was declared since: less is no agreement.

    An award binds until the market instructs otherwise. That we told it less is known to it once it instructs by that;
    one whose instruction is late or lost may count on the whole, and pays for no less.
    """
    step_ns = floor_ns(instant_ns, DISPATCH_STEP_NS)
    instruction = instruction_at(state, pool, instant_ns)
    if instruction is not None:
        return Obligation(
            pool, instruction.power_w, instruction.start_ns, instruction.end_ns, derive("batch", instruction.batch),
            instruction.price_per_mwh, True,
        )  # fmt: skip
    awards = awards_at(state, pool, instant_ns, ENERGY)
    if not awards:
        return None
    largest = max(awards, key=lambda award: abs(award.power_w))
    end_ns = min(step_ns + DISPATCH_STEP_NS, *(award.end_ns for award in awards))
    because, price = derive("award", largest.id), largest.price_per_mwh
    return Obligation(pool, math.fsum(a.power_w for a in awards), step_ns, end_ns, because, price, False)


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


def sold_ahead_w(state: DeskState, pool: str, now_ns: int) -> tuple[float, float]:
    """Return the most that a pool owes up and down by awards that are in force or begin within a day (W, 0 or more)."""
    owed_w = [
        award.power_w
        for award in state.awards.values()
        if award.pool == pool and award.start_ns < now_ns + AHEAD_NS and award.end_ns > now_ns
    ]
    return max((*owed_w, 0.0)), max((*(-watts for watts in owed_w), 0.0))
