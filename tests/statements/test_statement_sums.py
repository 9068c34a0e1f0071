"""Sum of lines = statement to the cent, for market, program and owners, over versions and agreements."""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from settled_made import issued_in, put, settled_event

from tieline.pool.document import Column, Document, Table
from tieline.pool.owner_lines import owner_lines
from tieline.pool.statement import market_statement, owner_statement, program_statement
from tieline.pool.statement_book import StatementBook, adjust
from tieline.pool.statement_facts import Adjusted
from tieline.store.document_files import HEAD, as_csv

CENT = Decimal("0.01")
MW = st.floats(-2, 9, allow_nan=False)
PRICE = st.floats(-200, 9_000, allow_nan=False)
INTERVALS = st.lists(st.tuples(MW, PRICE), min_size=1, max_size=24)
OWNERS = st.dictionaries(st.sampled_from("abcdefg"), st.floats(-3, 20).map(lambda x: round(x, 6)), min_size=1)
CAUSES = st.dictionaries(st.sampled_from(["opt_out", "offline", "dno_limit", "refused"]), st.floats(0.1, 5e6))


def by_hand(delivered_mw: list[float], prices: list[float], sold_mw: float, da_price: float) -> Decimal:
    """Return day-ahead plus each interval's deviation, each rounded once, from the drawn numbers alone."""
    hours = len(prices) / 12
    total = Decimal(repr(sold_mw * 1e6 * hours / 1e6 * da_price)).quantize(CENT, ROUND_HALF_EVEN)
    for mw, price in zip(delivered_mw, prices, strict=True):
        off_wh = (mw * 1e6 - sold_mw * 1e6) * 300 / 3600
        total += Decimal(repr(off_wh / 1e6 * price)).quantize(CENT, ROUND_HALF_EVEN)
    return total


@given(INTERVALS, OWNERS, CAUSES)
@settings(max_examples=60, deadline=None)
def test_lines_of_each_statement_are_its_total_and_shares_are_the_same_money(intervals, owners, causes) -> None:
    mw, prices = [list(column) for column in zip(*intervals, strict=True)]
    book = StatementBook()
    made = issued_in(book, settled_event(mw, prices, owners, causes=causes))
    series = book.series[made.series]
    assert abs(made.settled.total - by_hand(mw, prices, 4.0, 62.15)) <= CENT  # half a cent may fall either way once
    assert made.due.is_even
    market, program = market_statement(series, made), program_statement(series, made)
    assert market.tables[0].money() == market.tables[0].total == made.settled.total
    assert program.tables[0].money() == program.tables[1].money() == made.settled.total
    each = [owner_statement(series, made, owner).tables[0].total for owner in owners]
    assert sum(each, Decimal(0)) + made.due.operator + made.due.undistributed == made.settled.total


@given(st.lists(st.tuples(INTERVALS, OWNERS), min_size=2, max_size=4), st.integers(-5_000, 5_000).filter(bool))
@settings(max_examples=40, deadline=None)
def test_whatever_versions_and_agreements_come_all_that_changed_hands_is_what_is_right(versions, cents) -> None:
    """Dues of all versions and what was agreed are the shares of the newest total with it: nothing is lost between."""
    book, agreed = StatementBook(), Decimal(0)
    before = None
    for k, (intervals, owners) in enumerate(versions):
        mw, prices = [list(column) for column in zip(*intervals[:1], strict=True)]
        settled = settled_event(mw, prices, owners)
        if settled == before:
            continue
        made = issued_in(book, settled)
        before = settled
        series = book.series[made.series]
        assert sum((line.amount for line in made.adjusting), Decimal(0)) == (
            settled.total - series.issued[-2][1].settled.total if k and len(series.issued) > 1 else 0
        )
        if k == 0:
            one = adjust(book, made.statement, settled.lines[0].id, cents * CENT, "", "agreed", "")
            assert isinstance(one, Adjusted) and one.due.is_even
            put(book, one)
            agreed = cents * CENT
        right = settled.shares_of(settled.total + agreed)
        held = series.shared()
        assert held.is_even
        assert (held.market, held.operator, held.undistributed) == (
            settled.total + agreed, right.operator, right.undistributed
        )  # fmt: skip
        assert {owner: amount for owner, amount in held.owners.items() if amount} == {
            owner: amount for owner, amount in right.owners.items() if amount
        }
        for owner in owner_lines(made):
            assert owner_statement(series, made, owner).tables[0].total == series.owner_total(owner)


def test_a_shortfall_line_has_its_cause_and_says_whether_it_is_excused() -> None:
    causes = {"dno_limit": 1e6, "opt_out": 3e6}
    made = issued_in(StatementBook(), settled_event([0.0] * 12, [100.0] * 12, {"a": 1.0}, causes=causes))
    short = [line for line in made.settled.lines if line.kind == "shortfall"]
    assert {(line.cause, line.excused) for line in short} == {("dno_limit", True), ("opt_out", False)}
    assert sum(line.amount for line in short) == -12 * Decimal("33.33")  # 4 MW of 5 minutes at 100, rounded once


@pytest.mark.parametrize(("count", "seed"), [(2_000, 1)])
def test_lines_of_many_intervals_are_the_statement_to_the_cent(count: int, seed: int) -> None:
    require_exact(count, seed)


@pytest.mark.long
def test_lines_of_a_million_intervals_are_the_statement_to_the_cent() -> None:
    require_exact(1_000_000, 7)


def require_exact(count: int, seed: int) -> None:
    """Sum lines in three ways that share nothing: intervals by hand in whole cents, the statement, and its CSV."""
    rng = np.random.default_rng(seed)
    mw, prices = rng.uniform(0, 6, count).round(3).tolist(), rng.normal(60, 300, count).round(2).tolist()
    owners = {f"o{k}": float(v) for k, v in enumerate(rng.uniform(-1, 9, 50).round(6))}
    causes = {"opt_out": 2.0, "offline": 1.0, "dno_limit": 0.7}
    book = StatementBook()
    made = issued_in(book, settled_event(mw, prices, owners, causes=causes))
    cents = round(made.settled.lines[0].amount / CENT)
    off = (np.array(mw) * 1e6 - 4e6) * 300 / 3600
    amounts = off / 1e6 * np.array(prices)
    # Half to even on the shortest decimal that names the float, as the rule is written.
    cents += sum(int(Decimal(repr(amount)).quantize(CENT, ROUND_HALF_EVEN) / CENT) for amount in amounts.tolist())
    document = market_statement(book.series[made.series], made)
    assert made.settled.total == cents * CENT == document.tables[0].money()
    rows = csv.DictReader(io.StringIO(as_csv(document)))
    assert sum(round(Decimal(row["amount"]) / CENT) for row in rows if row["section"] == "line") == cents


NAMES = st.sampled_from(["statement", "rule", "inputs", "meter_data", "section", "id", "kwh", "amount", "day"])
TABLES = st.builds(
    lambda section, names: Table(section, section, tuple(Column(n, n) for n in names), (tuple(map(str, names)),)),
    st.sampled_from(["line", "baseline", "share"]), st.lists(NAMES, unique=True, min_size=1),
)  # fmt: skip


@given(st.lists(TABLES, min_size=1, max_size=4), st.sets(st.sampled_from(HEAD)))
def test_no_csv_has_two_columns_of_one_name_and_none_of_its_cells_is_lost(tables, facts) -> None:
    document = Document("d", "d", tuple((fact, f"the {fact}") for fact in sorted(facts)), tuple(tables))
    rows = list(csv.reader(io.StringIO(as_csv(document))))
    assert len(rows[0]) == len(set(rows[0])) and {len(row) for row in rows} == {len(rows[0])}
    for table, row in zip(tables, csv.DictReader(io.StringIO(as_csv(document))), strict=True):
        assert row["section"] == table.section
        assert sorted(cell for cell in row.values() if cell) == sorted(
            [table.section, *(c.name for c in table.columns), *(f"the {fact}" for fact in facts)]
        )
        assert all(row[fact.replace(" ", "_")] == f"the {fact}" for fact in facts)
