"""The facts of trade: what was offered, awarded, planned, given and settled, and what the market was told."""

from __future__ import annotations

from typing import Any

from tieline.desk.fact import Fact
from tieline.desk.packed import Packed
from tieline.desk.ports import Award, BatchAnswer, DispatchBatch, Offer
from tieline.resource.claim import Refusal


class OfferMade(Fact, frozen=True):
    """We bid."""

    offer: Offer


class OfferAnswered(Fact, frozen=True):
    """The market took or refused an offer."""

    offer: str
    refusal: Refusal | None


class OfferUnawarded(Fact, frozen=True):
    """The market cleared an offer's day and gave it no award: what it held is free. `frame`: what the market said."""

    offer: str
    frame: str


class AwardTaken(Fact, frozen=True):
    """An award arrived and was matched, or refused.

    `dispute`: it binds us, but at a price that our offer rules out; what was offered is in the record that caused it.
    """

    award: Award
    refusal: Refusal | None
    frame: str
    dispute: Refusal | None = None


class BatchTaken(Fact, frozen=True):
    """A dispatch batch arrived; with the answer that we gave."""

    batch: DispatchBatch
    answer: BatchAnswer


class BatchChanged(Fact, frozen=True):
    """A batch that was answered reads otherwise now, under the same UID: refused, the first stands.

    Of which link, and when the last of both is over (0: neither asks anything); records of before have neither.
    """

    uid: str
    refusal: Refusal
    frame: str
    link: str = ""
    end_ns: int = 0


class BatchUnread(Fact, frozen=True):
    """A link can't read a batch, or what it asks, and declined it; `end_ns`: when that is over, 0: it can't be told."""

    uid: str
    refusal: Refusal
    link: str
    end_ns: int = 0


class PositionChanged(Fact, frozen=True):
    """What a pool can do changed for a cause that stands above the market; told upward."""

    pool: str
    cause: str
    before_up_w: float
    after_up_w: float
    before_down_w: float
    after_down_w: float
    owed_w: float
    feasible_w: float
    substitutes: tuple[str, ...]
    declared: bool


class AvailabilityDeclared(Fact, frozen=True):
    """The market was told what a pool can give (W), and took it; the instructions that follow rest on that."""

    pool: str
    cause: str
    at_ns: int
    up_w: float
    down_w: float


class IntervalTracked(Fact, frozen=True):
    """What a pool was asked and delivered over one interval, and why it fell short.

    `causes` splits what lacks of what was asked, `withheld` what was asked below the award (W, by cause). `uncalled_w`
    is the part of the delivered of devices that were not called in it, but within the hour: what strays from its base.
    All of these are means over what was counted of it: not the stretches `uncounted` ([start, end) in ns), in which no
    server ran, or of which what it had counted died with it.
    """

    pool: str
    start_ns: int
    end_ns: int
    asked_w: float
    delivered_w: float
    causes: dict[str, float]
    rows: Packed
    row_w: Packed
    readings: int
    withheld: dict[str, float] = {}
    uncalled_w: float = 0.0
    uncounted: tuple[tuple[int, int], ...] = ()


class ScheduleMade(Fact, frozen=True):
    """What a pool's stores are to take between awards: a row of steps for each store (W, negative: it takes)."""

    schedule: str
    pool: str
    start_ns: int
    step_ns: int
    steps: int
    awards: tuple[str, ...]
    rows: Packed
    power_w: Packed


class AwardPlanned(Fact, frozen=True):
    """How a pool is to give what was awarded: asked, lacking and what one more MWh costs at each step; and the proof.

    Of `award_w` there lacks what the rows can't give, with what the meters have shown that they give too little.
    `rows` devices were scheduled for `cost` in all; no schedule costs less than `bound`.
    """

    pool: str
    awards: tuple[str, ...]
    made_ns: int
    start_ns: int
    step_ns: int
    rows: int
    award_w: Packed
    lacks_w: Packed
    price_per_mwh: Packed
    cost: float
    bound: float
    gap_frac: float


class PricesTaken(Fact, frozen=True):
    """Prices of a market zone came in ($/MWh, one a step); later ones take the place of earlier."""

    zone: str
    market: str
    step_ns: int
    starts: Packed
    prices: Packed
    by: str


class StatementMade(Fact, frozen=True):
    """A settlement statement was computed; its lines are facts of their own."""

    statement: str
    pool: str
    start_ns: int
    end_ns: int
    rule: str
    version: int
    total: str
    currency: str
    body: dict[str, Any] = {}


class LineSettled(Fact, frozen=True):
    """One line of a statement: money (decimal text) for an interval and cause; `of`: the kind of line it adjusts."""

    statement: str
    line: str
    start_ns: int
    end_ns: int
    kind: str
    energy_wh: float
    amount: str
    cause: str = ""
    award: str = ""
    of: str = ""
    excused: bool = False
    price_per_mwh: float = 0.0
    rule: str = ""
    rule_version: str = ""
    input_hash: str = ""
    data_version: str = ""


class SettlementRefused(Fact, frozen=True):
    """An awarded day could not be settled yet, and why; somebody has to know."""

    pool: str
    start_ns: int
    end_ns: int
    refusal: Refusal
