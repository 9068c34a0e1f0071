"""No kW is sold twice: the reservation book against a brute-force count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet.ledger import SLOT_NS, Capacity, Held, Ledger
from tieline.fleet.split import split_even, split_merit
from tieline.resource.split import split_merit as split_merit_scalar

CLASSES = {"energy": "energy", "energy-rt": "energy", "spin": "spin", "regulation": "regulation"}


def book() -> Ledger:
    ledger = Ledger(share_classes=dict(CLASSES))
    ledger.set_capacity("pool-1", Capacity(1_000.0, 600.0))
    return ledger


def test_a_second_sale_is_refused_naming_the_holder() -> None:
    ledger = book()
    assert ledger.check("pool-1", "energy", 0, SLOT_NS, 800.0, 0.0) is None
    ledger.reserve("first", "pool-1", "energy", 0, SLOT_NS, 800.0, 0.0)
    refusal = ledger.check("pool-1", "spin", 0, SLOT_NS, 300.0, 0.0)
    assert refusal is not None
    assert refusal.holder == "energy (first)"
    assert "200 W free of 1000 W" in refusal.limit
    assert ledger.check("pool-1", "spin", SLOT_NS, 2 * SLOT_NS, 300.0, 0.0) is None


@pytest.mark.parametrize(
    ("firm_w", "derated_w", "says"),
    [
        (None, None, "that is beyond the rating; down_w = 5000; limit 600 W free of 600 W at"),
        (450.0, None, "that is beyond what its leaves can be counted on for; down_w = 5000; limit 450 W free of 450 W"),
        (None, 100.0, "that is beyond what a stronger authority has left; down_w = 5000; limit 100 W free of 100 W"),
    ],
)
def test_who_holds_nothing_on_the_side_asked_is_in_nobodys_way(
    firm_w: float | None, derated_w: float | None, says: str
) -> None:
    ledger = book()
    ledger.reserve("sold", "pool-1", "energy", 0, SLOT_NS, 800.0, 0.0)
    if firm_w is not None:
        ledger.set_firm("pool-1", 1_000.0, firm_w)
    if derated_w is not None:
        ledger.derate("pool-1", 1_000.0, derated_w, 0)
    refusal = ledger.check("pool-1", "spin", 0, SLOT_NS, 0.0, 5_000.0)
    assert refusal is not None
    assert refusal.holder == ""
    assert str(refusal).startswith(says)
    ledger.reserve("also", "pool-1", "regulation", 0, SLOT_NS, 0.0, 50.0)
    again = ledger.check("pool-1", "spin", 0, SLOT_NS, 0.0, 5_000.0)
    assert again is not None and again.holder == "regulation (also)"


def test_within_a_share_class_promises_overlap() -> None:
    ledger = book()
    ledger.reserve("da", "pool-1", "energy", 0, SLOT_NS, 800.0, 0.0)
    assert ledger.check("pool-1", "energy-rt", 0, SLOT_NS, 900.0, 0.0) is None


def test_two_promises_of_one_product_add_up_unless_it_was_put_into_a_class() -> None:
    """A market adds up two offers of one hour: 4.5 and 4.0 MW of 4.9 is a second sale."""
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(4_900.0, 4_900.0))
    ledger.reserve("one", "pool-1", "ENERGY", 0, SLOT_NS, 4_500.0, 0.0)
    refusal = ledger.check("pool-1", "ENERGY", 0, SLOT_NS, 4_000.0, 0.0)
    assert refusal is not None
    assert refusal.holder == "ENERGY (one)"
    assert "400 W free of 4900 W" in refusal.limit
    assert ledger.check("pool-1", "ENERGY", 0, SLOT_NS, 400.0, 0.0) is None
    ledger.reserve("two", "pool-1", "ENERGY", 0, SLOT_NS, 400.0, 0.0)
    assert ledger.free_w("pool-1", 0) == (0.0, 4_900.0)


def test_a_hold_lapses_by_itself_and_then_can_not_be_committed() -> None:
    ledger = book()
    ledger.reserve("hold", "pool-1", "energy", 0, SLOT_NS, 900.0, 0.0, state=Held.HOLD, holds_until_ns=100)
    assert ledger.check("pool-1", "spin", 0, SLOT_NS, 500.0, 0.0, now_ns=99) is not None
    assert ledger.check("pool-1", "spin", 0, SLOT_NS, 500.0, 0.0, now_ns=100) is None
    assert ledger.commit("hold", 100) is not None


def test_the_sum_of_energies_is_not_enough_the_trajectory_decides() -> None:
    """10 Wh stored, a call up of 8 Wh now and one down of 8 Wh later: up must not lean on the later charge."""
    ledger = Ledger()
    ledger.set_capacity("b", Capacity(1_000.0, 1_000.0, energy_wh=10.0, max_energy_wh=20.0))
    hour_slots = 12
    watts = 8.0 * hour_slots  # 8 Wh in one slot
    ledger.reserve("up", "b", "x", 0, SLOT_NS, watts, 0.0)
    ledger.reserve("down", "b", "y", SLOT_NS, 2 * SLOT_NS, 0.0, watts)
    refusal = ledger.check("b", "z", 2 * SLOT_NS, 3 * SLOT_NS, watts, 0.0)
    assert refusal is not None
    assert "energy" in refusal.reason


def test_a_derating_names_the_newest_promises_first() -> None:
    ledger = book()
    ledger.reserve("old", "pool-1", "energy", 0, SLOT_NS, 500.0, 0.0)
    ledger.reserve("new", "pool-1", "spin", 0, SLOT_NS, 400.0, 0.0)
    short = ledger.derate("pool-1", 600.0, 600.0, 0)
    assert [(s.booking, s.up_w) for s in short] == [("new", 300.0)]


def run(seed: int, steps: int) -> None:
    """Random operations; after each, no slot holds more than the rating, counted by hand."""
    rng = np.random.default_rng(seed)
    ledger, mine = book(), {}
    names = list(CLASSES)
    for n in range(steps):
        if mine and rng.random() < 0.3:
            gone = list(mine)[int(rng.integers(len(mine)))]
            ledger.release(gone)
            del mine[gone]
            continue
        product = names[int(rng.integers(4))]
        first, length = int(rng.integers(0, 10)), int(rng.integers(1, 5))
        up, down = float(rng.integers(0, 8) * 100), float(rng.integers(0, 5) * 100)
        span = (first * SLOT_NS, (first + length) * SLOT_NS)
        fits = True
        for slot in range(first, first + length):
            for side, _, most in ((0, up, 1_000.0), (1, down, 600.0)):
                held = {}
                for p, f, le, *powers in [*mine.values(), (product, first, length, up, down)]:
                    if f <= slot < f + le:
                        held[CLASSES[p]] = max(held.get(CLASSES[p], 0.0), powers[side])
                fits = fits and sum(held.values()) <= most
        assert (ledger.check("pool-1", product, *span, up, down) is None) == fits
        if fits:
            ledger.reserve(f"r{n}", "pool-1", product, *span, up, down)
            mine[f"r{n}"] = (product, first, length, up, down)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_the_book_lets_pass_is_what_fits(seed: int) -> None:
    run(seed, 80)


@pytest.mark.long
def test_it_holds_over_a_million_operations() -> None:
    for seed in range(2_000):
        run(seed, 500)


ROWS = st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 5)), min_size=1, max_size=30)


@given(ROWS, st.floats(0, 2e5))
def test_a_split_adds_up_or_takes_all_and_equals_its_scalar_twin(rows: list, target: float) -> None:
    room = np.array([r for r, _ in rows])
    price = np.array([float(p) for _, p in rows])
    share = split_merit(target, room, price)
    assert share.sum() == pytest.approx(min(target, room.sum()), abs=1e-6)
    assert ((share >= 0) & (share <= room)).all()
    assert share == pytest.approx(np.array(split_merit_scalar(target, list(room), list(price))), abs=1e-6)


@given(ROWS, st.floats(0, 2e5))
def test_an_even_split_fills_equally_until_a_row_is_full(rows: list, target: float) -> None:
    room = np.array([r for r, _ in rows])
    weight = np.array([float(p + 1) for _, p in rows])
    share = split_even(target, room, weight)
    assert share.sum() == pytest.approx(min(target, room.sum()), rel=1e-9, abs=1e-6)
    assert ((share >= 0) & (share <= room + 1e-9)).all()
    below = share < room - 1e-6
    if below.any():
        level = (share / weight)[below]
        assert level == pytest.approx(np.full(below.sum(), level.max()), rel=1e-6, abs=1e-6)
