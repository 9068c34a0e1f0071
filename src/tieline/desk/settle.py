"""Settlement of a pool's day: performance against its baseline, two settlements, a cause on each shortfall, shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tieline.contract.pay import owner_shares
from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked, LineSettled, StatementMade
from tieline.desk.ports import Award
from tieline.ids import derive
from tieline.market.baseline import Baseline
from tieline.market.settlement import Line, award_lines
from tieline.times import MINUTE_NS

Floats = NDArray[np.float64]
STEP_NS = 5 * MINUTE_NS


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """A statement: its lines, what each owner gets, and the check that all adds up."""

    statement: str
    lines: tuple[Line, ...]
    revenue: Decimal
    penalties: dict[str, Decimal]
    operator: Decimal
    shares: dict[str, Decimal]
    baseline: Baseline

    @property
    def total(self) -> Decimal:
        """Sum of all lines."""
        return sum((line.amount for line in self.lines), Decimal("0.00"))

    @property
    def adds_up(self) -> bool:
        """Whether lines, owner shares and the operator's share are the same money to the cent."""
        return self.operator + sum(self.shares.values(), Decimal("0.00")) == self.total


def settle_day(
    pool: str,
    awards: Sequence[Award],
    tracked: Mapping[int, IntervalTracked],
    performance_w: Mapping[int, float],
    rt_price: Mapping[int, float],
    baseline: Baseline,
    owner_kwh: Mapping[str, float],
    operator_frac: Decimal,
) -> Settlement:
    """Return the settlement of a day's awards.

    Args:
        pool: Whose.
        awards: The day-ahead awards.
        tracked: What was tracked, by the start of its interval.
        performance_w: Metered performance against the baseline by interval start (W); a missing interval is none.
        rt_price: Real-time price by interval start ($/MWh).
        baseline: The baseline that performance came from.
        owner_kwh: Delivered energy of each owner.
        operator_frac: The operator's share of what is earned.
    """
    statement = derive("statement", pool, *(award.id for award in awards), baseline.input_hash, baseline.version)
    lines: list[Line] = []
    for award in sorted(awards, key=lambda award: award.start_ns):
        intervals = []
        for start_ns in range(award.start_ns, award.end_ns, STEP_NS):
            fact = tracked.get(start_ns)
            records = (derive("interval", pool, start_ns),) if fact is not None else ()
            cause = _cause(fact)
            delivered_w = performance_w.get(start_ns, 0.0)
            intervals.append((start_ns, start_ns + STEP_NS, delivered_w, rt_price[start_ns], cause, records))
        record = derive("award", award.id)
        lines += award_lines(
            statement, record, award.start_ns, award.end_ns, award.power_w, award.price_per_mwh, intervals
        )
    total = sum((line.amount for line in lines), Decimal("0.00"))
    penalties: dict[str, Decimal] = {}
    for line in lines:
        if line.cause:
            penalties[line.cause] = penalties.get(line.cause, Decimal("0.00")) + line.amount
    operator, shares = owner_shares(total, Decimal("0.00"), operator_frac, owner_kwh)
    return Settlement(statement, tuple(lines), total, penalties, operator, shares, baseline)


def _cause(fact: IntervalTracked | None) -> str:
    if fact is None:
        return "not_dispatched"
    if not fact.causes:
        return "baseline_error"
    return max(fact.causes.items(), key=lambda item: (item[1], item[0]))[0]


def entries_of(pool: str, settlement: Settlement, awards: Sequence[Award]) -> list[Entry]:
    """Return the facts of a statement: itself and each of its lines, caused by award and tracked interval."""
    base = settlement.baseline
    body = {
        "days": [day.isoformat() for day in base.days],
        "excluded": [[day.isoformat(), why] for day, why in base.excluded],
        "factor": base.factor,
        "source": base.source,
        "input_hash": base.input_hash,
        "operator": str(settlement.operator),
        "shares": {owner: str(amount) for owner, amount in settlement.shares.items()},
    }
    start_ns, end_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    fact = StatementMade(settlement.statement, pool, start_ns, end_ns, base.rule, 1, str(settlement.total), "USD", body)
    entries = [
        Entry(
            line.id,
            LineSettled(
                settlement.statement, line.id, line.start_ns, line.end_ns, line.kind, line.energy_wh, str(line.amount),
                line.cause,
            ),
            pool,
            line.caused_by,
        )
        for line in settlement.lines
    ]  # fmt: skip
    return [*entries, Entry(settlement.statement, fact, pool, tuple(line.id for line in settlement.lines))]
