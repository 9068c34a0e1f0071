"""Settled events for properties: intervals, causes and meters as drawn, lines made by the two-settlement itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from tieline.ids import derive
from tieline.market.rule import baseline_rule
from tieline.market.settlement import Basis, Measured, award_lines
from tieline.pool.settled import Part, Settled, Step
from tieline.pool.statement_book import StatementBook, add, issue
from tieline.pool.statement_facts import Entry, Fact, Issued, Opened
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS

START_NS = 1_722_466_800 * 10**9  # 2024-07-31T23:00:00Z, four in the afternoon in California
STEP_NS = 5 * MINUTE_NS
OPENED = Opened(operator="manager", currency="USD", dispute_days=30, resettle_days=365)


def settled_event(
    delivered_mw: Sequence[float],
    prices: Sequence[float],
    owner_kwh: Mapping[str, float],
    *,
    sold_mw: float = 4.0,
    da_price: float = 62.15,
    operator_frac: str = "0.2",
    causes: Mapping[str, float] | None = None,
    start_ns: int = START_NS,
    program: str = "peak",
) -> Settled:
    """Return an event of one award over so many five-minute intervals; each owner has one meter of his name."""
    count = len(delivered_mw)
    inputs = derive("inputs", repr((list(delivered_mw), list(prices), sorted(owner_kwh.items()), sold_mw)))
    basis = Basis(derive("statement", inputs, program, start_ns), "caiso-10-in-10", "2024.1", inputs, "data")
    end_ns = start_ns + count * STEP_NS
    steps = [
        Measured(start_ns + k * STEP_NS, start_ns + (k + 1) * STEP_NS, mw * 1e6, price, dict(causes or {}))
        for k, (mw, price) in enumerate(zip(delivered_mw, prices, strict=True))
    ]
    lines = award_lines(basis, derive("award", start_ns), start_ns, end_ns, sold_mw * 1e6, da_price, steps)
    return Settled(
        program=program, market="iso", operator="manager", currency="USD", zone="America/Los_Angeles",
        start_ns=start_ns, end_ns=end_ns, step_ns=STEP_NS, level="meter", rule=baseline_rule("caiso-10-in-10").as_rows(),
        causes_hash="", files={}, basis=basis, operator_frac=Decimal(operator_frac), lines=tuple(lines),
        parts=tuple(part_of(owner, kwh, start_ns) for owner, kwh in owner_kwh.items()), flags=(),
        excused=("dno_limit", "iso_instruction"),
    )  # fmt: skip


def part_of(owner: str, kwh: float, start_ns: int = START_NS) -> Part:
    """Return a meter of an owner that gained so much in one interval."""
    return Part(
        meter=owner, owner=owner, days=("2024-07-30",), weights=(1.0,), excluded=(("2024-07-24", "an event day"),),
        factor=1.0, addend=0.0, is_capped=False, input_hash="", flags=(),
        steps=(Step(start_ns, kwh + 1.0, 1.0, kwh),), adjustment_kwh=0.0, rebound_kwh=0.0, committed_kwh=kwh,
        lacks_kwh={},
    )  # fmt: skip


def put(book: StatementBook, fact: Fact, at_ns: int = START_NS + DAY_NS) -> None:
    """Record a fact in a book."""
    add(book, Entry(book.last_seq + 1, at_ns, "test", fact))


def issued_in(book: StatementBook, settled: Settled, at_ns: int = START_NS + DAY_NS) -> Issued:
    """Issue an event's next version in a book, once it is over, and record it."""
    at_ns = max(at_ns, settled.end_ns)
    if book.opened is None:
        put(book, OPENED, at_ns)
    made = issue(book, settled, at_ns)
    assert isinstance(made, Issued), made
    put(book, made, at_ns)
    return made


def hours_ns(count: float) -> int:
    """Return so many hours in nanoseconds."""
    return round(count * HOUR_NS)
