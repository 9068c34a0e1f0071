"""By what a pool's energy is shared out to its devices: what was seen of them, their own meters, or neither.

Theory of operation. The pool's energy of each interval is known from its meters; whose it is follows from what the desk
saw its devices give while it counted. Where nothing was counted (no server ran, what it had counted died with it, or
nobody was seen to give anything) it goes by what each device's own meter gave against its part of the pool's baseline.
Where that is not known either it goes by the rest of its interval, and else stays loose: its money is then shared as
that of the rest of the day is. How much went by what is told, in energy and in money.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tieline.contract.pay import CENT, NOTHING, PoolShares
from tieline.desk.facts import IntervalTracked
from tieline.desk.paid import STEP_NS, ByMeters, Metered
from tieline.market.settlement import MILLI, Line, Measured
from tieline.plan.apportion import apportion, apportion_rows
from tieline.times import iso

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SEEN, METERS, REST_OF_INTERVAL, REST_OF_DAY = "telemetry", "meters", "rest_of_interval", "rest_of_day"
WORDS = (SEEN, METERS, REST_OF_INTERVAL, REST_OF_DAY)
BY = {
    SEEN: "what the desk saw devices give as it called them",
    METERS: "what the devices' own meters gave against their baseline, where nothing was counted",
    REST_OF_INTERVAL: "the rest of its interval: its own part was neither counted nor metered by device",
    REST_OF_DAY: "the rest of the day: the interval was neither counted nor metered by device",
}
SAYS = {
    REST_OF_INTERVAL: "was neither counted nor metered by device, and is shared as the rest of its interval is",
    REST_OF_DAY: "was neither counted nor metered by device, and is shared as the rest of the day is",
}


@dataclass(slots=True)
class SharedOut:
    """Energy shared out (mWh): each row's, shape (n,), and how much in which intervals went by what (`WORDS`)."""

    row_milli_wh: Ints
    by: dict[str, dict[int, int]] = field(default_factory=lambda: {word: {} for word in WORDS})

    @property
    def loose_milli_wh(self) -> int:
        """What is nobody's."""
        return self.milli_wh(REST_OF_DAY)

    def milli_wh(self, word: str) -> int:
        """Return how much went by it."""
        return sum(self.by[word].values())

    def cents(self, owners_money: Decimal) -> dict[str, Decimal]:
        """Return how much of the owners' money went by what; it adds up to it, to the cent."""
        weights = [max(self.milli_wh(word), 0) for word in WORDS]
        if not any(weights):
            weights[-1] = 1  # nobody gave anything: nobody can be named
        parts = apportion(int(owners_money / CENT), weights)
        return {word: part * CENT for word, part in zip(WORDS, parts, strict=True)}

    def flags(self, shares: PoolShares) -> list[str]:
        """Say how much was shared by neither what was seen nor by meters; nothing where all was."""
        money = sum(shares.owners.values(), NOTHING) + shares.undistributed
        cents, found = self.cents(money), []
        for word, says in SAYS.items():
            if milli := self.by[word]:
                kwh, first_ns = sum(milli.values()) / MILLI / 1e3, min(milli)
                count = "1 interval" if len(milli) == 1 else f"{len(milli)} intervals"
                whose = f"{kwh:.3f} kWh ({cents[word]} of {money} for owners)"
                found.append(f"{whose} {says}: {count} from {iso(first_ns)} on")
        return found

    def body(self, shares: PoolShares) -> dict[str, dict[str, object]]:
        """Return, by word, the energy, the owners' money, and how many intervals went by it in whole or in part."""
        money = sum(shares.owners.values(), NOTHING) + shares.undistributed
        cents = self.cents(money)
        return {
            word: {"milli_wh": self.milli_wh(word), "amount": str(cents[word]), "intervals": len(milli)}
            for word, milli in self.by.items() if milli or cents[word]
        }  # fmt: skip

    def add(self, word: str, start_ns: int, milli: int, rows: Ints, weights: Floats) -> None:
        """Share energy (mWh) of an interval out to rows by weights; without any it is nobody's."""
        self.by[word][start_ns] = self.by[word].get(start_ns, 0) + milli
        self.row_milli_wh[rows] += apportion_rows(milli, weights)


def blind_ns(fact: IntervalTracked) -> int:
    """Return for how long an interval was not counted (ns)."""
    return sum(
        max(min(until_ns, fact.end_ns) - max(since_ns, fact.start_ns), 0) for since_ns, until_ns in fact.uncounted
    )


def seen_weights(fact: IntervalTracked, unmetered: frozenset[int]) -> Floats:
    """Return what each row of an interval was seen to give the way that was asked (W); of those without readings 0."""
    weights: Floats = np.maximum(fact.row_w.array() * np.sign(fact.asked_w or 1.0), 0.0)
    if unmetered:
        weights = np.where(np.isin(fact.rows.array(), np.array(sorted(unmetered), np.int64)), 0.0, weights)
    return weights


def unseen(
    starts: Iterable[int], tracked: Mapping[int, IntervalTracked], unmetered: frozenset[int] = frozenset()
) -> list[int]:
    """Return which intervals can't be shared out whole by what was seen, by their starts (ns)."""
    return [
        at for at in starts
        if (fact := tracked.get(at)) is None or blind_ns(fact) or not seen_weights(fact, unmetered).sum() > 0
    ]  # fmt: skip


def share_out(
    into: SharedOut,
    lines: Sequence[Line],
    steps: Sequence[Measured],
    tracked: Mapping[int, IntervalTracked],
    metered: Metered,
) -> None:
    """Share out what the pool delivered of one award.

    The pool's energy is what its lines say: a share of the day-ahead quantity and the deviation. Rows without readings
    of the day have no part: the pool's energy is what the meters of the others sum to.

    Args:
        into: Where to add it.
        lines: The award's lines, the day-ahead one first.
        steps: Its intervals.
        tracked: What was tracked, by the start of its interval.
        metered: What meters say.
    """
    first = lines[0]
    awarded = round(first.energy_wh * MILLI)
    part, left = divmod(awarded, len(steps))
    off: dict[int, int] = {}
    for line in lines[1:]:
        off[line.start_ns] = off.get(line.start_ns, 0) + round(line.energy_wh * MILLI)
    for at, step in enumerate(steps):
        milli, fact = part + (1 if at < left else 0) + off.get(step.start_ns, 0), tracked.get(step.start_ns)
        rows, seen = np.zeros(0, np.int64), np.zeros(0)
        if fact is not None:
            rows, seen = fact.rows.array().astype(np.int64), seen_weights(fact, metered.unmetered)
        is_seen = bool(seen.sum() > 0)
        blind = milli
        if fact is not None and is_seen:
            blind = milli * blind_ns(fact) // STEP_NS
        if milli != blind:
            into.add(SEEN, step.start_ns, milli - blind, rows, seen)
        if not blind:
            continue
        of_meters = _meter_weights(metered.by_meters, step.start_ns, blind, metered.unmetered)
        if of_meters.sum() > 0:
            into.add(METERS, step.start_ns, blind, metered.by_meters.rows, of_meters)
        elif is_seen:
            into.add(REST_OF_INTERVAL, step.start_ns, blind, rows, seen)
        else:
            into.add(REST_OF_DAY, step.start_ns, blind, np.zeros(0, np.int64), np.zeros(0))


def _meter_weights(by_meters: ByMeters, start_ns: int, milli: int, unmetered: frozenset[int]) -> Floats:
    """Return by what energy of an interval goes to the rows of `by_meters` (W, 0 or more).

    What was given goes to those who gave, and what was taken beyond the baseline to those who took it.
    """
    gave_w = by_meters.gave_w.get(start_ns)
    if gave_w is None:
        return np.zeros(len(by_meters.rows))
    known = np.isfinite(gave_w) & ~np.isin(by_meters.rows, np.array(sorted(unmetered), np.int64))
    weights: Floats = np.where(known, np.maximum(np.nan_to_num(gave_w) * np.sign(milli), 0.0), 0.0)
    return weights
