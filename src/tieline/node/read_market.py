"""The market desk and settlement: what was forecast, offered, awarded, instructed, delivered, and paid."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import numpy as np

from tieline.desk.desk_views import (
    IntervalView,
    MarketHour,
    MarketView,
    ScheduleStep,
    ScheduleView,
    SettlementView,
    StatementLine,
    StatementView,
)
from tieline.desk.facts import IntervalTracked, LineSettled, StatementMade, from_record
from tieline.desk.obligation import ENERGY, awarded_w, holding, owed
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Offer
from tieline.desk.state import DeskState
from tieline.desk.tracking import counted_w
from tieline.desk.views import Overview
from tieline.fleet.columns import Fleet
from tieline.flow.record import Records
from tieline.ids import derive
from tieline.market.award import price_dispute
from tieline.market.settlement import LEAST_TOLD_WH
from tieline.node.kept_readings import BEYOND, named
from tieline.node.read_hours import HourMean
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import DAY_NS, HOUR_NS

MOST_INTERVALS = 600


class Tracked:
    """The tracked intervals of the last day; only what was recorded since the last look is read from the journal.

    A journal grows by gigabytes a month while the overview asks for the same six hours every second.
    """

    def __init__(self, journal: Records, last_seq: Callable[[], int]) -> None:
        """Look at a journal; it is read at the first question.

        Args:
            journal: Where the records are.
            last_seq: Gives the number of the last record that is durable.
        """
        self._journal, self._last_seq = journal, last_seq
        self._kept, self._seq = deque[tuple[int, IntervalTracked]](), -1

    def since(self, since_ns: int, now_ns: int) -> list[IntervalTracked]:
        """Return what was tracked since an instant of the last day, oldest first.

        Raises:
            LinkDown: The journal is away; nothing is lost, the next question reads on from here.
        """
        if (last_seq := self._last_seq()) > self._seq:
            after_seq = self._journal.seq_at(now_ns - DAY_NS - 1) if self._seq < 0 else self._seq
            for record in list(self._journal.of_kind("IntervalTracked", after_seq=after_seq)):
                fact = from_record(record)
                if isinstance(fact, IntervalTracked):
                    self._kept.append((record.recorded_at_ns, fact))
                last_seq = max(last_seq, record.seq)
            self._seq = last_seq
        while self._kept and self._kept[0][0] < now_ns - DAY_NS:
            self._kept.popleft()
        return [fact for at_ns, fact in self._kept if at_ns >= since_ns]


def delivery(state: DeskState, pool: PoolDesk, now_ns: int) -> tuple[float | None, float | None, float | None]:
    """Return what a pool owes now, what it delivers (W) and the price ($/MWh); None: nothing, unknown.

    Delivered is what the record of the interval counts: called devices, less what those take back that were let go,
    and that alone where nobody is called, nor need be for what others give that wait for their turn. Where nobody of
    the called is seen, delivery is unknown and not 0.
    """
    debt = owed(state, pool.pool, now_ns)
    called = np.abs(pool.share_w) > 1.0
    fit = (state.fleet.quality[pool.rows] & int(UNFIT_FOR_DISPATCH)) == 0
    gave_w = None
    if (fit[called] if called.any() else fit).any():
        side = 0.0 if debt is None else float(np.sign(debt.power_w or awarded_w(state, pool.pool, now_ns) or 0.0))
        beside_w = pool.gives_w if debt is not None and debt.power_w and not state.is_killed else 0.0
        gave_w = float(counted_w(state, pool.rows, pool.share_w, side, now_ns, beside_w=beside_w).sum())
    return (None if debt is None else debt.power_w, gave_w, None if debt is None else debt.price_per_mwh)


def market_view(
    state: DeskState,
    tracked: Tracked,
    pool: str,
    now_ns: int,
    is_live: bool,
    gate_ns: int | None,
    forecast: Mapping[int, float],
    seen_now: Overview,
    means: Mapping[int, HourMean],
) -> MarketView:
    """Return the market desk: a row an hour from the day before to the day after."""
    seen = tracked.since(now_ns - DAY_NS, now_ns)
    made = [o for o in state.offers.values() if o.pool == pool and state.offer_answers.get(o.id) is None]
    got = [a for a in state.awards.values() if a.pool == pool]
    seen = [one for one in seen if one.pool == pool]
    starts = {offer.start_ns for offer in made} | {award.start_ns for award in got} | means.keys()
    starts |= {at for at in forecast if now_ns - DAY_NS < at}
    hours = []
    for at in sorted(at for at in starts if abs(at - now_ns) < 2 * DAY_NS):
        of_hour = [o for o in made if o.start_ns == at], [a for a in got if a.start_ns == at]
        hours.append(_hour(state, pool, at, of_hour, seen, forecast.get(at), means.get(at)))
    return MarketView(
        state.revision, now_ns, pool, is_live, gate_ns, state.last_batch_uid, tuple(hours),
        seen_now.available_up_w, seen_now.available_down_w, declines(state), seen_now.is_stopped,
        seen_now.unstopped_up_w, seen_now.unstopped_down_w, schedule_view(state, pool, now_ns),
    )  # fmt: skip


def declines(state: DeskState) -> tuple[str, ...]:
    """Return why instructions of the last batches were declined, the newest last: of one in pieces each reason once."""
    told = [
        f"batch {uid}: {refusal}"
        for uid, answer in list(state.batches.items())[-50:]
        for refusal in dict.fromkeys(refusal for _, refusal in answer.declined)
    ]
    return tuple(told[-8:])


def schedule_view(state: DeskState, pool: str, now_ns: int) -> ScheduleView | None:
    """Return the schedule that a pool's awards are given by; None: there is none, or it is over."""
    made = state.award_plans.get(pool)
    if made is None:
        return None
    columns = (part.array().tolist() for part in (made.award_w, made.lacks_w, made.price_per_mwh))
    steps = tuple(
        ScheduleStep(made.start_ns + at * made.step_ns, made.start_ns + (at + 1) * made.step_ns, *values)
        for at, values in enumerate(zip(*columns, strict=True))
    )
    if steps[-1].end_ns <= now_ns:
        return None
    return ScheduleView(made.made_ns, made.rows, made.cost, made.bound, made.gap_frac, steps)


def _hour(
    state: DeskState,
    pool: str,
    start_ns: int,
    of_hour: tuple[list[Offer], list[Award]],
    seen: list[IntervalTracked],
    forecast: float | None,
    mean: HourMean | None,
) -> MarketHour:
    end_ns = start_ns + HOUR_NS
    offers, awards = of_hour
    # What its market cleared without stands for nothing any more, as it holds nothing: nobody can call it.
    standing = [offer for offer in offers if offer.id not in state.unawarded]
    steps = [step for offer in standing for step in offer.segments]
    awarded_w = math.fsum(award.power_w for award in awards) if awards else None
    if not awards and offers and not standing:
        awarded_w = 0.0  # said, not unknown: the hour is cleared without us
    gave = [i for i in seen if start_ns <= i.start_ns < end_ns]
    # Over the same intervals, so that the three agree on one line; before the first of them, what was told.
    asked = [(i.asked_w, i.end_ns - i.start_ns) for i in gave]
    instructed_w = _mean(asked or _told(state, pool, start_ns, end_ns))
    delivered_w = _mean([(i.delivered_w, i.end_ns - i.start_ns) for i in gave])
    imbalance_w = None if delivered_w is None or instructed_w is None else delivered_w - instructed_w
    return MarketHour(
        start_ns, end_ns, forecast, _mean([(award.price_per_mwh, abs(award.power_w)) for award in awards]),
        math.fsum(step.power_w for step in steps) if offers else None,
        max((step.price_per_mwh for step in steps), default=None),
        awarded_w, instructed_w, delivered_w,
        mean.base_w if mean and mean.samples else None, mean.power_w if mean and mean.samples else None,
        imbalance_w, tuple(gap for i in gave for gap in i.uncounted), tuple(disputes(state, awards).values()),
        beyond_says(state.fleet, mean.beyond) if mean else "",
    )  # fmt: skip


def disputes(state: DeskState, awards: Sequence[Award]) -> dict[str, str]:
    """Return of each of some awards whose price our offer rules out why, by its name."""
    found = {award.id: price_dispute(award, state.offers.get(award.offer)) for award in awards}
    return {name: f"award {name}: {why}" for name, why in found.items() if why is not None}


def beyond_says(fleet: Fleet, rows: Collection[int]) -> str:
    """Say whose power an hour's telemetry and baseline leave out at some instant; "": nobody's."""
    if not rows:
        return ""
    return f"readings {BEYOND} were left out: {named(fleet.id_of(row) for row in sorted(rows))}"


def _told(state: DeskState, pool: str, start_ns: int, end_ns: int) -> list[tuple[float, float]]:
    """Return the powers instructed within an hour, and for how long each holds (ns) by what superseded it."""
    told = [
        one for one in reversed(state.instructions.get((pool, ENERGY), {}).values())
        if one.start_ns < end_ns and one.end_ns > start_ns
    ]  # fmt: skip
    marks = sorted({min(max(at, start_ns), end_ns) for one in told for at in (one.start_ns, one.end_ns)})
    pieces = ((holding(told, since_ns), until_ns - since_ns) for since_ns, until_ns in pairwise(marks))
    return [(one.power_w, length_ns) for one, length_ns in pieces if one is not None]


def _mean(weighted: Sequence[tuple[float, float]]) -> float | None:
    """Return the mean of values by their weights, a plain one where all of these are 0; None where there are none."""
    total = math.fsum(weight for _, weight in weighted)
    if not weighted or total <= 0.0:
        return math.fsum(value for value, _ in weighted) / len(weighted) if weighted else None
    return math.fsum(value * weight for value, weight in weighted) / total


def settlement_view(state: DeskState, journal: Records, now_ns: int, tracked: Tracked | None = None) -> SettlementView:
    """Return all statements with their lines, and (given `tracked`) what was tracked in the last day."""
    lines: dict[str, list[StatementLine]] = {}
    for record in journal.of_kind("LineSettled"):
        fact = from_record(record)
        if isinstance(fact, LineSettled):
            line = StatementLine(
                fact.line, fact.start_ns, fact.end_ns, fact.kind, fact.energy_wh, fact.amount, fact.cause
            )
            lines.setdefault(fact.statement, []).append(line)
    statements = []
    for record in journal.of_kind("StatementMade"):
        fact = from_record(record)
        if isinstance(fact, StatementMade):
            mine = tuple(lines.get(fact.statement, ()))
            statements.append(
                StatementView(
                    fact.statement, fact.pool, fact.start_ns, fact.end_ns, fact.rule, fact.version, fact.total,
                    fact.currency, mine, _by_cause(mine), fact.body,
                )
            )  # fmt: skip
    intervals = tuple(
        IntervalView(
            i.start_ns, i.end_ns, awarded_w(state, i.pool, i.start_ns), i.asked_w, i.delivered_w, i.causes, i.withheld,
            derive("interval", i.pool, i.start_ns), i.uncounted,
        )
        for i in (tracked.since(now_ns - DAY_NS, now_ns)[-MOST_INTERVALS:] if tracked else ())
    )  # fmt: skip
    return SettlementView(state.revision, now_ns, tuple(statements), intervals)


def _by_cause(lines: tuple[StatementLine, ...]) -> dict[str, str]:
    sums: dict[str, Decimal] = {}
    energy_wh: dict[str, float] = {}
    for line in lines:
        key = line.cause or line.kind
        sums[key] = sums.get(key, Decimal("0.00")) + Decimal(line.amount)
        energy_wh[key] = energy_wh.get(key, 0.0) + line.energy_wh
    told = {key for key, amount in sums.items() if amount or abs(energy_wh[key]) >= LEAST_TOLD_WH}
    return {key: str(amount) for key, amount in sorted(sums.items()) if key in told}
