"""Bounds that were asked for a moment ago are those that a book without memory tells, whatever happened since."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import SECOND_NS

COUNT = 4
steps = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from([Level.ENVELOPE, Level.OWNER_NEED, Level.PROGRAM]),
                  st.integers(0, 2), st.integers(1, 9), st.integers(1, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 2)),
        st.tuples(st.just("local"), st.integers(0, COUNT - 1)),
        st.tuples(st.just("timer"), st.integers(0, COUNT - 1), st.integers(1, 9)),
        st.tuples(st.just("wait"), st.integers(1, 12)),
    ),
    max_size=14,
)  # fmt: skip


def fleet() -> Fleet:
    size, none = np.full(COUNT, 10_000.0), np.zeros(COUNT)
    codes = np.full(COUNT, KIND_CODE[Kind.BATTERY], np.uint8)
    return Fleet([f"r{k}" for k in range(COUNT)], codes, size, size.copy(), none, none.copy(), none.copy(), [], {})


def step(book: ClaimBook, number: int, now_ns: int, what: str, *how: int) -> int:
    """Do one thing to a book, and return the instant after it (ns)."""
    if what == "place":
        level, who, kw, lasts = how
        rows = np.arange(who, COUNT, dtype=np.int32)
        high = np.full(len(rows), 1e3 * kw)
        book.place(ClaimBatch(
            f"c{number}", f"s{who}", "p", "x", Level(level), 0, Quantity.P, ClaimKind.LIMIT, "", number, now_ns, now_ns,
            now_ns + lasts * SECOND_NS, rows, -high, high, np.full(len(rows), np.nan),
        ))  # fmt: skip
    elif what == "cancel":
        book.cancel(f"s{how[0]}", "x", Quantity.P)
    elif what == "local":
        book.set_local(np.arange(COUNT) == how[0])
    elif what == "timer":
        row, low = np.array([how[0]], np.int32), np.array([100.0 * how[1]])
        book.hold(row, low, low + 50.0, np.array([now_ns + 5 * SECOND_NS]))
    else:
        return now_ns + how[0] * SECOND_NS
    return now_ns


@settings(max_examples=300, deadline=None)
@given(made=steps)
def test_a_book_that_is_asked_at_every_step_never_tells_what_was(made: list[tuple]) -> None:
    """One book lives through all, asked before each change; its answers are those of its own whole settlement."""
    rows = np.arange(COUNT, dtype=np.int32)
    book, now_ns = ClaimBook(fleet()), SECOND_NS
    for number, what in enumerate(made):
        book.bounds_above(rows, Level.LOCAL, now_ns)
        now_ns = step(book, number, now_ns, *what)
        low_w, high_w = book.bounds_above(rows, Level.LOCAL, now_ns)
        settled = book.arbitrate(now_ns, rows)
        assert np.array_equal(low_w, settled.low_w) and np.array_equal(high_w, settled.high_w)


def test_nobody_can_write_into_what_is_kept() -> None:
    book = ClaimBook(fleet())
    low_w, _ = book.bounds_above(np.arange(COUNT, dtype=np.int32), Level.MARKET, 0)
    with pytest.raises(ValueError, match="read-only"):
        low_w[0] = 0.0
