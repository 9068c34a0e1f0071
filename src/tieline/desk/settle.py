"""Settlement of a pool's day: performance against its baseline, two settlements, a cause on each shortfall, shares.

Theory of operation. `settle_day` is a pure function of its inputs; their hash names the statement, so that the same
inputs give the same statement bit for bit, and other inputs (a corrected meter, price or award) another. `amend` turns
a later result into version n+1: only its differences become lines. Pool energy is shared out to rows in whole
milliwatt-hours, so that rows sum to the pool exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.contract.pay import PoolShares, owner_shares
from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked, LineSettled, StatementMade
from tieline.desk.paid import STEP_NS, Metered, Paid, steps_of
from tieline.desk.ports import Award
from tieline.desk.sharing import SharedOut, share_out, unseen
from tieline.ids import derive
from tieline.market.baseline import Baseline
from tieline.market.settlement import (
    DAY_AHEAD,
    MILLI,
    SHORTFALL,
    Basis,
    Line,
    Measured,
    adjustments,
    award_lines,
    split_lack,
)
from tieline.times import iso

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NOTHING = Decimal("0.00")


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """Which owner each row belongs to, their names, and the operator's share of what is earned."""

    owner_of: NDArray[np.int32]
    names: Sequence[str]
    operator_frac: Decimal


@dataclass(frozen=True, slots=True, eq=False)
class Settlement:
    """A statement: its lines, what each row gave and each owner gets, and the check that all adds up."""

    statement: str
    version: int
    basis: Basis
    lines: tuple[Line, ...]
    shares: PoolShares
    shared: SharedOut
    baselines: tuple[Baseline, ...]
    adjusting: tuple[Line, ...] = ()
    former: str = ""
    rows_of: Mapping[str, Ints] = field(default_factory=dict)
    """The rows of each owner with a share that gave or took anything in awarded hours."""

    @property
    def row_milli_wh(self) -> Ints:
        """What each row gave (mWh); shape (n,)."""
        return self.shared.row_milli_wh

    @property
    def loose_milli_wh(self) -> int:
        """What the pool gave and nobody can be named for (mWh)."""
        return self.shared.loose_milli_wh

    @property
    def flags(self) -> list[str]:
        """What is to be known of the statement's baselines and of by what it was shared."""
        return [*(flag for base in self.baselines for flag in base.flags), *self.shared.flags(self.shares)]

    @property
    def total(self) -> Decimal:
        """Sum of all lines."""
        return sum((line.amount for line in self.lines), NOTHING)

    @property
    def revenue(self) -> Decimal:
        """What was earned before shortfalls are charged."""
        return self.total + sum(self.bought_back.values(), NOTHING)

    @property
    def bought_back(self) -> dict[str, Decimal]:
        """What energy that was awarded and not delivered cost at real-time prices, by cause.

        Negative where the price was: then a shortfall earned. Excused causes are among them, as two-settlement knows
        no excuse: whoever doesn't deliver buys what he sold.
        """
        found: dict[str, Decimal] = {}
        for line in self.lines:
            if line.kind == SHORTFALL:
                found[line.cause] = found.get(line.cause, NOTHING) - line.amount
        return found

    @property
    def delivered_wh(self) -> float:
        """Energy that the meters saw delivered in awarded hours."""
        return (int(self.row_milli_wh.sum()) + self.loose_milli_wh) / MILLI

    @property
    def performance_frac(self) -> float:
        """Delivered over awarded energy, whatever lacked (0 to 1 and beyond); 1 where nothing was awarded."""
        return self._over_awarded(self.delivered_wh)

    @property
    def excused_wh(self) -> dict[str, float]:
        """Energy that was lacking by causes which the table excuses, by cause: bought back, and not held against us."""
        found: dict[str, float] = {}
        for line in self.lines:
            if line.excused:
                found[line.cause] = found.get(line.cause, 0.0) - line.energy_wh
        return found

    @property
    def performance_excused_frac(self) -> float:
        """Performance with what was excused counted as delivered: what the pool itself answers for."""
        return self._over_awarded(self.delivered_wh + math.fsum(self.excused_wh.values()))

    def _over_awarded(self, energy_wh: float) -> float:
        owed_wh = math.fsum(line.energy_wh for line in self.lines if line.kind == DAY_AHEAD)
        return energy_wh / owed_wh if owed_wh > 0 else 1.0

    @property
    def adds_up(self) -> bool:
        """Whether lines, owners' and operator's shares are the same money to the cent, and rows the pool's energy."""
        awarded = {line.award: line.energy_wh for line in self.lines if line.kind == DAY_AHEAD}
        deviates = sum(round(line.energy_wh * MILLI) for line in self.lines if line.kind != DAY_AHEAD)
        pool_milli = sum(round(energy_wh * MILLI) for energy_wh in awarded.values()) + deviates
        rows_milli = int(self.row_milli_wh.sum()) + self.loose_milli_wh
        return self.shares.total == self.total and pool_milli == rows_milli


def settle_day(
    pool: str,
    awards: Sequence[Award],
    tracked: Mapping[int, IntervalTracked],
    metered: Metered,
    owners: Owners,
) -> Settlement:
    """Return the first version of the settlement of a day's awards.

    Args:
        pool: Whose.
        awards: The day-ahead awards.
        tracked: What was tracked, by the start of its interval.
        metered: What meters and prices say.
        owners: Who gets what.

    Raises:
        ValueError: An awarded interval has no real-time price.
    """
    ordered = sorted(awards, key=lambda award: (award.start_ns, award.id))
    input_hash = _input_hash(pool, ordered, tracked, metered, owners)
    rules = tuple(dict.fromkeys(base.rule for base in metered.baselines))
    versions = tuple(dict.fromkeys(base.version for base in metered.baselines))
    statement = derive("statement", pool, input_hash)
    basis = Basis(statement, "+".join(rules), "+".join(versions), input_hash, metered.data_version)
    lines: list[Line] = []
    shared = SharedOut(np.zeros(len(owners.owner_of), np.int64))
    paid = Paid(pool, ordered, metered)
    for award in ordered:
        steps = [_measured(award, start_ns, tracked, metered, paid) for start_ns in steps_of(award)]
        mine = award_lines(
            basis, derive("award", award.id), award.start_ns, award.end_ns, award.power_w, award.price_per_mwh, steps
        )
        lines += mine
        share_out(shared, mine, steps, tracked, metered)
    rows = shared.row_milli_wh
    total = sum((line.amount for line in lines), NOTHING)
    # What an owner's devices gave is summed signed, then cut off at 0: one device's gain pays for another's loss.
    by_owner = np.bincount(owners.owner_of, rows.astype(np.float64), len(owners.names))
    gave = {owners.names[at]: int(by_owner[at]) for at in np.flatnonzero(by_owner > 0).tolist()}
    shares = owner_shares(total, NOTHING, owners.operator_frac, gave)
    rows_of = {name: mine for name, mine in _by_owner(owners, np.flatnonzero(rows)).items() if name in gave}
    return Settlement(statement, 1, basis, tuple(lines), shares, shared, metered.baselines, rows_of=rows_of)


def _by_owner(owners: Owners, rows: Ints) -> dict[str, Ints]:
    """Return which of some rows are each owner's, in their order; owners of none are left out."""
    order = np.argsort(owners.owner_of[rows], kind="stable")
    mine, first = np.unique(owners.owner_of[rows][order], return_index=True)
    pieces = np.split(rows[order], first[1:]) if len(mine) else []
    return {owners.names[int(at)]: piece for at, piece in zip(mine, pieces, strict=True)}


def _measured(
    award: Award, start_ns: int, tracked: Mapping[int, IntervalTracked], metered: Metered, paid: Paid
) -> Measured:
    """Return what one interval came to: what was delivered and may be paid, and why the rest is lacking.

    What is known of a lack is known of the pool: of several awards each bears its part of every cause.
    """
    price = metered.rt_price.get(start_ns)
    if price is None or not np.isfinite(price):
        raise ValueError(f"no real-time price for the interval at {iso(start_ns)}: never an average instead")
    shared, fact = paid.at(start_ns), tracked.get(start_ns)
    known: dict[str, float] = {"prohibited": shared.off_w, "claimed_elsewhere": shared.elsewhere_w}
    otherwise = "baseline_error" if shared.has_meter else "no_meter_data"
    if fact is None:
        otherwise = "not_dispatched" if shared.has_meter else otherwise
    elif shared.has_meter:
        for part in (fact.withheld, fact.causes):
            for cause, watts in part.items():
                known[cause] = known.get(cause, 0.0) + watts
    records = () if fact is None else (derive("interval", fact.pool, start_ns),)
    delivered_w = shared.delivered_w[award.id]
    part_frac = max(award.power_w - delivered_w, 0.0) / shared.lacking_w if shared.lacking_w > 0 else 0.0
    mine = {cause: watts * part_frac for cause, watts in known.items()}
    causes = split_lack(award.power_w - delivered_w, mine, otherwise)
    return Measured(start_ns, start_ns + STEP_NS, delivered_w, price, causes, records)


def _input_hash(
    pool: str,
    awards: Sequence[Award],
    tracked: Mapping[int, IntervalTracked],
    metered: Metered,
    owners: Owners,
) -> str:
    """Return the hash of everything that a statement follows from: whatever changes, the statement is another."""
    digest = blake2b(pool.encode(), digest_size=16)
    for award in awards:
        digest.update(repr(award).encode())
        for start_ns in steps_of(award):
            numbers = (
                metered.performance_w.get(start_ns), metered.rt_price.get(start_ns),
                metered.prohibited_w.get(start_ns, 0.0), metered.claimed_w.get(start_ns, 0.0),
            )  # fmt: skip
            digest.update(repr([None if n is None else float(n) for n in numbers]).encode())
            fact = tracked.get(start_ns)
            if fact is not None:
                told = (fact.asked_w, fact.delivered_w, sorted(fact.causes.items()), sorted(fact.withheld.items()))
                digest.update(repr(told).encode() + fact.rows.data + fact.row_w.data)
    digest.update(repr([(b.rule, b.version, b.input_hash) for b in metered.baselines]).encode())
    by_meters = metered.by_meters
    for at in unseen(sorted(by_meters.gave_w), tracked, metered.unmetered):
        digest.update(repr(at).encode() + by_meters.rows.tobytes() + by_meters.gave_w[at].tobytes())
        digest.update(repr(() if (fact := tracked.get(at)) is None else fact.uncounted).encode())
    if metered.unmetered:
        digest.update(repr(sorted(metered.unmetered)).encode())
    digest.update(owners.owner_of.tobytes() + repr(list(owners.names)).encode() + str(owners.operator_frac).encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Former:
    """What was settled before: the newest statement, its version and inputs, and every line of all versions."""

    statement: str
    version: int
    input_hash: str
    lines: tuple[Line, ...]


def amend(before: Former, now: Settlement) -> Settlement | None:
    """Return `now` as the version after `before`, whose adjusting lines are the differences; None where inputs agree.

    The id holds the version too: inputs that return to what they once were are a new statement again.
    """
    if before.input_hash == now.basis.input_hash:
        return None
    version = before.version + 1
    statement = derive("statement", before.statement, now.basis.input_hash, version)
    was = now.basis
    basis = Basis(statement, was.rule, was.rule_version, was.input_hash, was.data_version)
    return replace(
        now, statement=statement, version=version, basis=basis, former=before.statement,
        adjusting=tuple(adjustments(basis, before.lines, now.lines)),
    )  # fmt: skip


def entries_of(
    pool: str,
    settlement: Settlement,
    awards: Sequence[Award],
    row_names: Mapping[int, str] | None = None,
    disputed: Mapping[str, str] | None = None,
) -> list[Entry]:
    """Return the facts of a statement: its lines (of a later version: its adjustments) and the statement itself.

    Args:
        pool: Whose.
        settlement: What it came to.
        awards: What was awarded.
        row_names: Names of rows; one without is told by its number.
        disputed: Why the price of an award is an error, by the award: it is settled at it, and said to be disputed.
    """
    lines = settlement.adjusting if settlement.former else settlement.lines
    start_ns, end_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    body = _body(settlement, row_names or {}, disputed or {})
    fact = StatementMade(
        settlement.statement, pool, start_ns, end_ns, settlement.basis.rule, settlement.version,
        str(settlement.total), "USD", body,
    )  # fmt: skip
    entries = [Entry(line.id, _line_fact(settlement.statement, line), pool, line.caused_by) for line in lines]
    causes = tuple(line.id for line in lines)
    causes = (*causes, settlement.former) if settlement.former else causes
    return [*entries, Entry(settlement.statement, fact, pool, causes)]


def _line_fact(statement: str, line: Line) -> LineSettled:
    basis = line.basis
    return LineSettled(
        statement, line.id, line.start_ns, line.end_ns, line.kind, line.energy_wh, str(line.amount), line.cause,
        line.award, line.of, line.excused, line.price_per_mwh, basis.rule, basis.rule_version, basis.input_hash,
        basis.data_version,
    )  # fmt: skip


def line_of(fact: LineSettled, caused_by: tuple[str, ...] = ()) -> Line:
    """Return the line that a fact records."""
    basis = Basis(fact.statement, fact.rule, fact.rule_version, fact.input_hash, fact.data_version)
    return Line(
        fact.line, fact.kind, fact.award, fact.start_ns, fact.end_ns, fact.energy_wh, fact.price_per_mwh,
        Decimal(fact.amount), basis, fact.cause, fact.excused, caused_by, fact.of,
    )  # fmt: skip


def _body(settlement: Settlement, row_names: Mapping[int, str], disputed: Mapping[str, str]) -> dict[str, object]:
    bases = settlement.baselines
    rows = np.flatnonzero(settlement.row_milli_wh)
    return {
        "days": [day.isoformat() for day in bases[0].days],
        "excluded": [[day.isoformat(), why] for day, why in bases[0].excluded],
        "factor": bases[0].factor,
        "source": bases[0].source,
        "flags": [*settlement.flags, *(f"settled at a price that is disputed: {says}" for says in disputed.values())],
        "disputed": dict(disputed),
        "baselines": [
            {"rule": b.rule, "version": b.version, "source": b.source, "factor": b.factor, "input_hash": b.input_hash}
            for b in bases
        ],
        "input_hash": settlement.basis.input_hash,
        "data_version": settlement.basis.data_version,
        "former": settlement.former,
        "adjustment": str(sum((line.amount for line in settlement.adjusting), NOTHING)),
        "performance": settlement.performance_frac,
        "performance_excused": settlement.performance_excused_frac,
        "excused_wh": dict(sorted(settlement.excused_wh.items())),
        "operator": str(settlement.shares.operator),
        "undistributed": str(settlement.shares.undistributed),
        "shares": {owner: str(amount) for owner, amount in settlement.shares.owners.items()},
        "resources_milli_wh": {row_names.get(int(at), str(int(at))): int(settlement.row_milli_wh[at]) for at in rows},
        "loose_milli_wh": settlement.loose_milli_wh,
        "shared_by": settlement.shared.body(settlement.shares),
        "shared_says": settlement.shared.flags(settlement.shares),
        "devices": {
            owner: [row_names.get(at, str(at)) for at in mine.tolist()] for owner, mine in settlement.rows_of.items()
        },
    }
