"""Eight clients at one reservation book: never over-committed, and every slot adds up to the nameplate."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet.firm import firm_w
from tieline.fleet.ledger import SLOT_NS, Capacity, Held, Ledger

SLOTS, UP, DOWN = 12, 1_000.0, 600.0
CLASSES = {"energy": "energy", "energy-rt": "energy", "spin": "spin", "regulation": "regulation"}


def counted(ledger: Ledger, slot: int, side: str, now: int) -> tuple[float, float]:
    """What a slot holds, and of that firmly, counted from the bookings alone."""
    whole: dict[str, float] = {}
    firm: dict[str, float] = {}
    for b in ledger.bookings.values():
        lives = b.state in (Held.COMMITTED, Held.DELIVERED) or (b.state is Held.HOLD and now < b.holds_until_ns)
        if lives and b.first <= slot < b.last:
            name = CLASSES[b.product]
            whole[name] = max(whole.get(name, 0.0), getattr(b, side))
            if b.state is not Held.HOLD:
                firm[name] = max(firm.get(name, 0.0), getattr(b, side))
    return sum(whole.values()), sum(firm.values())


class Clients:
    """Clients that check, wait for the journal, hold, wait, and commit, release or let lapse."""

    def __init__(self, seed: int, steps: int) -> None:
        self.ledger = Ledger(share_classes=dict(CLASSES))
        self.ledger.set_capacity("pool-1", Capacity(UP, DOWN))
        self.rng = np.random.default_rng(seed)
        self.now, self.done, self.steps, self.refused = 1, 0, steps, 0

    async def client(self, name: int) -> None:
        rng, ledger = self.rng, self.ledger
        while self.done < self.steps:
            self.done += 1
            self.now += int(rng.integers(0, 3))
            product = list(CLASSES)[int(rng.integers(4))]
            first, length = int(rng.integers(0, SLOTS - 3)), int(rng.integers(1, 4))
            up, down = float(rng.integers(0, 8) * 100), float(rng.integers(0, 5) * 100)
            span = (first * SLOT_NS, (first + length) * SLOT_NS)
            booking = f"{name}-{self.done}"
            # Between the check and the hold nobody else runs: the desk decides and applies in one go.
            if ledger.check("pool-1", product, *span, up, down, now_ns=self.now) is None:
                ledger.reserve(
                    booking, "pool-1", product, *span, up, down, state=Held.HOLD, holds_until_ns=self.now + 40
                )
            else:
                self.refused += 1
            await asyncio.sleep(0)
            turn = rng.random()
            if turn < 0.5:
                ledger.commit(booking, self.now, up * float(rng.choice([0.5, 1.0])), down)
            if turn < 0.35 or len(ledger.bookings) > 30:
                ledger.release(str(rng.choice(list(ledger.bookings)))) if ledger.bookings else None
            self.forget()
            await asyncio.sleep(0)

    def forget(self) -> None:
        """Drop what ended long ago, as a book that is rebuilt each day would."""
        ended = [n for n, b in self.ledger.bookings.items() if b.state is Held.RELEASED or b.holds_until_ns <= self.now]
        for name in ended:
            self.ledger.release(name)
            del self.ledger.bookings[name]

    def check(self) -> None:
        for slot in range(SLOTS):
            for side, most in (("up_w", UP), ("down_w", DOWN)):
                whole, firm = counted(self.ledger, slot, side, self.now)
                assert whole <= most + 1e-6, "over-committed"
                b = self.ledger.balance("pool-1", slot * SLOT_NS, side, self.now)
                assert b.free_w + b.held_w + b.committed_w + b.derated_w == pytest.approx(most)
                assert (b.committed_w, b.held_w) == (pytest.approx(firm), pytest.approx(whole - firm))
                assert b.short_w == 0.0


async def run(seed: int, steps: int, clients: int = 8, check_every: int = 1) -> Clients:
    book = Clients(seed, steps)

    async def auditor() -> None:
        while book.done < steps:
            book.check()
            for _ in range(check_every):
                await asyncio.sleep(0)

    await asyncio.gather(auditor(), *(book.client(n) for n in range(clients)))
    book.check()
    return book


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_eight_clients_never_over_commit_and_every_slot_adds_up(seed: int) -> None:
    book = asyncio.run(run(seed, 300))
    assert book.refused > 0


@pytest.mark.long
def test_eight_clients_never_over_commit_in_a_million_operations() -> None:
    refused = sum(asyncio.run(run(seed, 10_000, check_every=20)).refused for seed in range(100))
    assert refused > 10_000


# --- energy, firm capacity, deratings ---------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1))
def test_what_energy_lets_pass_survives_every_call_of_it(seed: int) -> None:
    """Whichever promises are called, fully and in whatever mix, the store stays within its bounds."""
    rng = np.random.default_rng(seed)
    ledger = Ledger()
    ledger.set_capacity(
        "b", Capacity(1e9, 1e9, energy_wh=500.0, max_energy_wh=1_000.0, charge_frac=0.9, discharge_frac=0.9)
    )
    taken = []
    for n in range(8):
        first, last = np.sort(rng.choice(SLOTS, 2, replace=False)).tolist()
        up, down = float(rng.integers(0, 20) * 100), float(rng.integers(0, 20) * 100)
        energy = float(rng.integers(0, 3) * 40)
        if ledger.check("b", f"p{n}", first * SLOT_NS, last * SLOT_NS, up, down, energy) is None:
            ledger.reserve(f"r{n}", "b", f"p{n}", first * SLOT_NS, last * SLOT_NS, up, down, energy_wh=energy)
            taken.append((first, last, up, down, energy))
    for side, sign in ((2, -1.0), (3, 1.0)):
        for _ in range(4):
            called = [b for b in taken if rng.random() < 0.7]
            stored, used = 500.0, [0.0] * len(called)
            for slot in range(SLOTS):
                for k, b in enumerate(called):
                    if b[0] <= slot < b[1]:
                        wants = b[side] / 12
                        gives = wants if b[4] == 0 else min(wants, b[4] - used[k])
                        used[k] += gives
                        stored += sign * gives * (0.9 if sign > 0 else 1 / 0.9)
                assert -1e-6 <= stored <= 1_000.0 + 1e-6


def test_a_promise_bounded_in_energy_leaves_the_rest_of_the_store_to_others() -> None:
    ledger = Ledger()
    ledger.set_capacity("b", Capacity(1e6, 0.0, energy_wh=100.0, max_energy_wh=100.0))
    ledger.reserve("bounded", "b", "x", 0, 12 * SLOT_NS, 1_000.0, 0.0, energy_wh=60.0)
    assert ledger.check("b", "y", 0, 12 * SLOT_NS, 40.0, 0.0) is None
    assert ledger.check("b", "y", 0, 12 * SLOT_NS, 41.0, 0.0) is not None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.3, 1.0)), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_firm_capacity_is_there_at_least_95_times_of_100(leaves: list, seed: int) -> None:
    power, reach = np.array([p * 100.0 for p, _ in leaves]), np.array([r for _, r in leaves])
    firm = firm_w(power, reach)
    sums = (np.random.default_rng(seed).random((8_000, len(leaves))) < reach) @ power
    # Beyond a dozen leaves the sum is taken as normal, which is right to some points of a hundred.
    assert (sums >= firm - 1e-6).mean() >= (0.94 if len(leaves) <= 12 else 0.90)
    assert 0.0 <= firm <= power.sum()


def test_no_promise_goes_beyond_what_the_leaves_can_be_counted_on_for() -> None:
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(UP, DOWN))
    ledger.set_firm("pool-1", 900.0, 500.0)
    assert ledger.check("pool-1", "energy", 0, SLOT_NS, 900.0, 0.0) is None
    assert "counted on" in ledger.check("pool-1", "energy", 0, SLOT_NS, 901.0, 0.0).limit


def test_what_is_derated_adds_up_with_the_rest_and_the_shortfall_is_named_by_class() -> None:
    ledger = Ledger(share_classes=dict(CLASSES), strengths={"spin": 2, "regulation": 1})
    ledger.set_capacity("pool-1", Capacity(UP, DOWN))
    ledger.reserve("da", "pool-1", "energy", 0, SLOT_NS, 400.0, 0.0)
    ledger.reserve("rt", "pool-1", "energy-rt", 0, SLOT_NS, 500.0, 0.0)
    ledger.reserve("spin", "pool-1", "spin", 0, 2 * SLOT_NS, 300.0, 0.0)
    short = ledger.derate("pool-1", 600.0, 600.0, 0)
    # 800 W are promised (energy overlaps: 500, spin 300), 600 are left: the class energy sinks to 300.
    assert [(s.booking, s.slot, s.up_w) for s in short] == [("da", 0, 100.0), ("rt", 0, 200.0)]
    b = ledger.balance("pool-1", 0, "up_w")
    assert (b.free_w, b.committed_w, b.derated_w, b.short_w) == (0.0, 600.0, 400.0, 200.0)
    assert ledger.derate("pool-1", UP, DOWN, 0) == []
    assert ledger.balance("pool-1", 0, "up_w").free_w == 200.0


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ((0, SLOT_NS, float("nan"), 0.0), "up_w, down_w"),
        ((0, SLOT_NS, 0.0, float("inf")), "up_w, down_w"),
        ((0, SLOT_NS, -1.0, 0.0), "up_w, down_w"),
        ((SLOT_NS, SLOT_NS, 1.0, 0.0), "end"),
        ((0, 2**62, 1.0, 0.0), "end"),
        ((0, SLOT_NS, 1.0, 0.0, float("nan")), "energy_wh"),
    ],
)
def test_a_bad_promise_is_refused_by_field(what: tuple, field: str) -> None:
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(UP, DOWN))
    assert ledger.check("pool-1", "energy", *what).field == field
    assert Ledger().check("pool-1", "energy", 0, SLOT_NS, 1.0, 0.0).field == "resource"
