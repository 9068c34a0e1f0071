"""The reservation book over columns: what it holds and refuses is what the ledger does, promise by promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet.book import HELD, Book, spread, sums_by_level
from tieline.fleet.booking import SLOT_NS, Capacity
from tieline.fleet.ledger import Ledger

ROWS, SLOTS = 3, 6
CLASSES = ("energy", "reserve", "event")
asks = st.tuples(
    st.integers(0, ROWS - 1), st.sampled_from(CLASSES), st.integers(0, SLOTS - 1), st.integers(1, SLOTS),
    st.integers(1, 7_000),
)  # fmt: skip
stores = st.lists(
    st.one_of(st.none(), st.tuples(st.integers(0, 3_000), st.integers(0, 500))), min_size=ROWS, max_size=ROWS
)


@settings(max_examples=150, deadline=None)
@given(made=st.lists(asks, min_size=1, max_size=12), stores=stores, frac=st.sampled_from([1.0, 0.9, 0.5]))
def test_the_book_holds_and_refuses_what_the_ledger_does(made, stores, frac) -> None:
    first = 1_000
    # Energy shares with none, itself included: a product that nobody put into a class.
    ledger = Ledger(share_classes={name: name for name in CLASSES if name != "energy"})
    for row, store in enumerate(stores):
        held = (None, 0.0) if store is None else store
        ledger.set_capacity(
            str(row), Capacity(5_000.0, 0.0, held[0], 1e9, 0.0 if store is None else float(held[1]), 1.0, frac)
        )
    book = Book(
        first, SLOTS, np.full(ROWS, 5_000, np.int32), CLASSES, ("energy",),
        np.array([np.inf if one is None else float(one[0]) for one in stores]),
        np.array([0.0 if one is None else float(one[1]) for one in stores]), np.full(ROWS, frac),
    )  # fmt: skip
    for number, (row, share, begin, length, watts) in enumerate(made):
        end = min(begin + length, SLOTS)
        over = ((first + begin) * SLOT_NS, (first + end) * SLOT_NS)
        refusal = ledger.check(str(row), share, *over, up_w=float(watts), down_w=0.0)
        if refusal is None:
            ledger.reserve(str(number), str(row), share, *over, up_w=float(watts), down_w=0.0)
        wanted = np.zeros((ROWS, SLOTS), np.int32)
        wanted[row, begin:end] = watts
        holds = book.hold(share, wanted)
        assert (holds.word[row] == HELD) == (refusal is None), (number, refusal, holds)
        told = book.refusal(holds, row, share, wanted)
        assert (told is None) == (refusal is None)
        if refusal is not None and told is not None:
            assert (told.reason, told.field, told.value) == (refusal.reason, refusal.field, refusal.value)
    free = book.free_w()
    for row in range(ROWS):
        for slot in range(SLOTS):
            assert free[row, slot] == ledger.free_w(str(row), (first + slot) * SLOT_NS)[0]


def test_a_row_is_held_in_all_of_its_slots_or_in_none_and_others_go_on() -> None:
    book = Book(0, 3, np.array([100, 100], np.int32), ("a", "b"))
    wanted = np.array([[50, 50, 101], [100, 100, 100]], np.int32)
    holds = book.hold("a", wanted)
    assert holds.word.tolist() == [1, 0] and holds.slot.tolist() == [2, -1] and holds.count == 1
    assert book.taken_w[0].tolist() == [[0, 0, 0], [100, 100, 100]]
    assert str(book.refusal(holds, 0, "a", wanted)) == (
        "that is beyond the rating; up_w = 101; limit 100 W free of 100 W at 1970-01-01T00:10:00Z"
    )
    again = book.hold("b", np.ones((2, 3), np.int32))
    assert again.word.tolist() == [0, 1]
    assert book.refusal(again, 1, "b", np.ones((2, 3), np.int32)).holder == "a"


def test_two_offers_of_one_hour_add_up_and_two_promises_of_a_class_overlap() -> None:
    book = Book(0, 1, np.array([100], np.int32), ("energy", "reserve"), ("energy",))
    words = [book.hold(name, np.array([[60]], np.int32)).word[0] for name in ("energy", "energy")]
    assert words == [0, 1] and book.taken_w[:, 0, 0].tolist() == [60, 0]
    words = [book.hold("reserve", np.array([[30]], np.int32)).word[0] for _ in range(2)]
    assert words == [0, 0] and book.taken_w[:, 0, 0].tolist() == [60, 30]


def test_what_is_derated_is_not_sold() -> None:
    book = Book(0, 2, np.array([100, 100], np.int32), ("a",))
    book.derate(np.array([[0, 30], [0, 0]], np.int32))
    holds = book.hold("a", np.full((2, 2), 71, np.int32))
    assert holds.word.tolist() == [1, 0] and holds.slot.tolist() == [1, -1]
    # What a class holds beyond what is left stays promised: nothing more of it is sold, however little is asked.
    book.derate(np.array([[0, 0], [50, 50]], np.int32))
    assert book.hold("a", np.full((2, 2), 45, np.int32)).word.tolist() == [0, 1]


def test_a_class_that_the_book_does_not_have_a_wrong_shape_and_a_negative_power_are_refused() -> None:
    book = Book(0, 2, np.array([100], np.int32), ("a",))
    with pytest.raises(ValueError, match="share_class = 'b': give one of a"):
        book.hold("b", np.zeros((1, 2), np.int32))
    with pytest.raises(ValueError, match="wanted_w has shape"):
        book.hold("a", np.zeros((1, 3), np.int32))
    holds = book.hold("a", np.array([[5, -1]], np.int32))
    assert str(book.refusal(holds, 0, "a", np.array([[5, -1]], np.int32))).startswith("power must be 0 or more")


@settings(max_examples=100, deadline=None)
@given(
    given_w=st.lists(st.lists(st.integers(0, 9_000), min_size=3, max_size=3), min_size=1, max_size=8),
    frac=st.lists(st.floats(0, 1.2), min_size=3, max_size=3),
)
def test_shares_of_a_target_add_up_to_it_and_none_goes_beyond_what_its_leaf_can_give(given_w, frac) -> None:
    available = np.array(given_w, np.int32)
    whole = available.sum(axis=0).astype(np.int64)
    target = (whole * np.array(frac)).astype(np.int64)
    wanted = np.empty_like(available)
    left = spread(available, target, wanted)
    assert (wanted >= 0).all() and (wanted <= available).all()
    assert (wanted.sum(axis=0) + left == target).all()
    assert (left == np.maximum(target - whole, 0)).all()


def test_sums_of_a_pool_are_those_of_its_leaves() -> None:
    rng = np.random.default_rng(1)
    available, reach = rng.integers(0, 5_000, (50, 4)).astype(np.int32), rng.uniform(0.8, 1.0, 50)
    level = rng.integers(0, 3, 50).astype(np.int8)
    level_w, mean_w, variance = np.zeros((3, 4)), np.zeros(4), np.zeros(4)
    sums_by_level(available, reach, level, level_w, mean_w, variance)
    assert np.allclose(level_w, [available[level == k].sum(axis=0) for k in range(3)])
    assert np.allclose(mean_w, (available * reach[:, None]).sum(axis=0))
    assert np.allclose(variance, (available.astype(float) ** 2 * (reach * (1 - reach))[:, None]).sum(axis=0))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.one_of(st.none(), st.integers(0, 2_000))),
        min_size=1, max_size=8,
    ),
    frac=st.floats(0, 1), adds=st.sampled_from([(), ("energy",)]),
)  # fmt: skip
def test_what_a_pool_promises_is_held_watt_for_watt_or_told_to_be_without_a_resource(rows, frac, adds) -> None:
    """The nameplate is 5 kW; a reserve was sold before; stores may hold too little for what they say they can give."""
    count, slots = len(rows), 4
    energy = np.array([np.inf if wh is None else float(wh) for _, _, wh in rows])
    book = Book(0, slots, np.full(count, 5_000, np.int32), ("energy", "reserve"), adds, energy)
    reserve = np.repeat(np.array([min(w, 1_000) for _, w, _ in rows], np.int32)[:, None], slots, axis=1)
    book.hold("reserve", reserve)
    available = np.repeat(np.array([w for w, _, _ in rows], np.int32)[:, None], slots, axis=1)
    target = (available.sum(axis=0) * frac).astype(np.int64)
    before = book.taken_w[1].copy()
    held, left = book.place("energy", available, target)
    assert (book.taken_w[0] == held).all(), "what is said to be held stands in the book"
    assert (held.sum(axis=0) + left == target).all()
    assert (held <= available).all() and (held + before <= 5_000).all()
    stores = np.isfinite(energy)
    assert ((held + before)[stores].sum(axis=1) / 12.0 <= energy[stores] + 1e-6).all() or (held[stores] == 0).any()
