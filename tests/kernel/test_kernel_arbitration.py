"""Arbitration is one rule in three forms: scalar, columns, and an independent oracle."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet import settle
from tieline.fleet.claims import ClaimBatch, ClaimBook, Settled
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.resource.admission import LEASE_CAP_NS, Principal, admit
from tieline.resource.arbitrate import arbitrate
from tieline.resource.claim import Claim, ClaimEnd, ClaimKind, Quantity
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.resource.setpoint import Bounds
from tieline.times import FOREVER_NS, HOUR_NS, SECOND_NS

sys.path.insert(0, str(Path(__file__).parent))
import oracle

RATING = 5_000.0


def fleet_of(count: int) -> Fleet:
    ones = np.ones(count)
    return Fleet(
        [f"battery-{n}" for n in range(count)],
        np.full(count, KIND_CODE[Kind.BATTERY], np.uint8),
        RATING * ones, RATING * ones, 10_000 * ones, 0 * ones, 0 * ones,
        [Group("pool-1", Kind.POOL, Purpose.POOL, -1)],
        {Purpose.POOL: np.zeros(count, np.int32)},
    )  # fmt: skip


KINDS_OF_CLAIM = (ClaimKind.LIMIT, ClaimKind.SET, ClaimKind.DELTA, ClaimKind.GATE)


def random_batches(rng: np.random.Generator, count: int, rows: int) -> list:
    """Random decisions over random rows; values are whole tens so that ties and meetings happen."""
    batches = []
    for n in range(count):
        kind = KINDS_OF_CLAIM[rng.choice(4, p=[0.4, 0.4, 0.12, 0.08])]
        mine = np.sort(rng.choice(rows, rng.integers(1, rows + 1), replace=False)).astype(np.int32)
        ends = np.sort(rng.integers(-700, 701, (2, len(mine))) * 10.0, axis=0)
        low = np.where(rng.random(len(mine)) < 0.3, -np.inf, ends[0])
        high = np.where(rng.random(len(mine)) < 0.3, np.inf, ends[1])
        start = int(rng.integers(0, 40))
        batches.append(
            ClaimBatch(
                id=f"b{n:05d}", source=f"s{rng.integers(4)}", principal="p", program=f"g{rng.integers(3)}",
                level=Level(int(rng.integers(1, 11))), primacy=int(rng.integers(3)),
                quantity=Quantity.CONNECT if kind is ClaimKind.GATE else Quantity.P, kind=kind,
                because="test", source_version=n + 1, created_ns=int(rng.integers(5)), start_ns=start,
                end_ns=start + int(rng.integers(1, 80)), rows=mine, low=low, high=high,
                value=rng.integers(0, 2, len(mine)) * 1.0 if kind is ClaimKind.GATE else
                rng.integers(-700, 701, len(mine)) * 10.0,
                reservation_id=f"r{rng.integers(3)}" if kind is ClaimKind.DELTA else None,
                scope=["", "feeder-1", "pool-1"][rng.integers(3)],
            )
        )  # fmt: skip
    return batches


def by_oracle(claims: list, now: int, is_local: bool, reserved: dict, safe: float, hold: tuple | None) -> tuple:
    """(target, low, high, winner, conflict) said without folding or sorting."""
    newest = {}
    for c in claims:
        key = (c.source, c.program, c.quantity, c.scope)
        newest[key] = max(newest.get(key, 0), c.source_version)
    live = [
        c
        for c in claims
        if c.source_version == newest[(c.source, c.program, c.quantity, c.scope)]
        and c.start_ns <= now < c.end_ns
        and not (is_local and c.level >= 5)
    ]
    closed = oracle.closed_level([c for c in live if c.kind is ClaimKind.GATE])
    by_level: dict = {}
    for c in live:
        if c.kind is ClaimKind.LIMIT:
            by_level.setdefault(c.level, []).append((c.low, c.high))
    clash = any(max(lo for lo, _ in ls) > min(hi for _, hi in ls) for ls in by_level.values())
    if closed is not None and closed <= 3:
        by_level[closed + 0.5] = [(safe, safe)]
    low, high = oracle.allowed((-RATING, RATING), by_level, safe, hold)
    moves = [c for c in live if closed is None or c.level <= closed]
    targets = [c for c in moves if c.kind is ClaimKind.SET]
    winner = next((c for c in targets if all(c is o or oracle.beats(c, o) for o in targets)), None)
    same = [c for c in targets if winner and (c.level, c.primacy) == (winner.level, winner.primacy)]
    wanted = (winner.value if winner else 0.0) + oracle.counted(
        [c for c in moves if c.kind is ClaimKind.DELTA], reserved
    )
    conflict = clash or len({c.value for c in same}) > 1
    return min(max(wanted, low), high), low, high, winner.id if winner else None, conflict


RESERVED = {"r1": (3_000.0, 2_000.0), "r2": (9_000.0, 500.0)}


def compare(seed: int, batches: int, rows: int) -> int:
    """Settle random claims in all forms and hold each row to the oracle; returns how many claims were seen."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rows)
    fleet.safe_w[:] = rng.integers(-30, 31, rows) * 100.0
    book = ClaimBook(fleet)
    book.reserved_w = dict(RESERVED)
    book.set_local(rng.random(rows) < 0.2)
    timed = np.flatnonzero(rng.random(rows) < 0.3).astype(np.int32)
    ends = np.sort(rng.integers(-50, 51, (2, len(timed))) * 100.0, axis=0)
    book.hold(timed, ends[0], ends[1], rng.integers(0, 80, len(timed)))
    placed = random_batches(rng, batches, rows)
    everything: dict = {row: [] for row in range(rows)}
    for n in rng.permutation(len(placed)):
        batch = placed[n]
        book.place(batch)
        book.place(batch)
        for k, row in enumerate(batch.rows):
            everything[int(row)].append(
                Claim(
                    id=f"{batch.id}/{fleet.id_of(int(row))}", source=batch.source, principal="p", program=batch.program,
                    level=batch.level, resource="r", quantity=batch.quantity, kind=batch.kind, start_ns=batch.start_ns,
                    created_ns=batch.created_ns, because="", end_ns=batch.end_ns, low=float(batch.low[k]),
                    high=float(batch.high[k]), value=float(batch.value[k]), primacy=batch.primacy,
                    source_version=batch.source_version, reservation_id=batch.reservation_id, scope=batch.scope,
                )
            )  # fmt: skip
    now = int(rng.integers(0, 60))
    settled = book.arbitrate(now)
    assert list(settled.rows) == list(range(rows))
    some = np.flatnonzero(rng.random(rows) < 0.4).astype(np.int32)  # none of them, too
    part = book.arbitrate(now, some)
    for name in ("target_w", "low_w", "high_w", "winner", "limited_low", "limited_high", "conflict"):
        assert (getattr(part, name) == getattr(settled, name)[some]).all(), name
    for row in range(rows):
        until, pair = book.holds.until_ns[row], (float(book.holds.low_w[row]), float(book.holds.high_w[row]))
        agree(rng, book, settled, row, everything[row], now, pair if until > now else None)
    return sum(len(claims) for claims in everything.values())


def agree(rng, book: ClaimBook, settled: Settled, row: int, claims: list, now: int, hold: tuple | None) -> None:
    fleet, is_local, safe = book._fleet, bool(book.is_local[row]), float(book._fleet.safe_w[row])
    expected = by_oracle(claims, now, is_local, RESERVED, safe, hold)
    order = rng.permutation(len(claims))
    scalar = arbitrate(
        Bounds(-RATING, RATING), [claims[i] for i in (*order, *order[:2])], now_ns=now, is_local=is_local,
        reserved_w=RESERVED, safe_w=safe, hold=None if hold is None else Bounds(*hold),
    )  # fmt: skip
    got = scalar.setpoint
    assert (got.by, bool(scalar.conflicts)) == expected[3:]
    assert (got.target_w, got.bounds.low_w, got.bounds.high_w) == pytest.approx(expected[:3])
    column = (settled.target_w[row], settled.low_w[row], settled.high_w[row])
    assert column == pytest.approx(expected[:3])
    name = book.batch_ids(settled.winner[row : row + 1])
    assert (name[0] + f"/{fleet.id_of(row)}" if name else None) == expected[3]
    assert bool(settled.conflict[row]) == expected[4]
    told = book.explain(row, now)
    assert (told.setpoint.target_w, told.setpoint.by) == (pytest.approx(expected[0]), expected[3])
    told_of = {lost.claim for lost in told.losers} | {told.setpoint.by}
    moves = {c.id for c in book.claims_on(row) if c.kind is ClaimKind.SET}
    assert moves <= told_of, "every target either wins or is told why it does not"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 12))
def test_scalar_columns_and_oracle_agree_on_random_claims(seed: int, batches: int, rows: int) -> None:
    compare(seed, batches, rows)


@pytest.mark.long
def test_they_agree_on_a_million_random_claims() -> None:
    claims, seed = 0, int(os.environ.get("TIELINE_SEED", "0"))
    while claims < 1_000_000:
        claims += compare(seed, 40, 400)
        seed += 1


def some_claim(name: str, grade: Level, sort: ClaimKind = ClaimKind.SET, **what: object) -> Claim:
    base = {
        "id": name, "source": name, "principal": "p", "program": "t", "level": grade, "resource": "r",
        "quantity": Quantity.P, "kind": sort, "start_ns": 0, "created_ns": 0, "because": "test", "end_ns": HOUR_NS,
    }  # fmt: skip
    return Claim(**{**base, **what})


LIMITS = st.tuples(st.integers(1, 10), st.integers(-60, 60), st.integers(0, 60))


@given(st.lists(LIMITS, max_size=8), st.integers(1, 10), st.integers(-60, 60), st.integers(0, 60))
def test_a_weaker_level_never_escapes_a_stronger_one(limits: list, level: int, low: int, width: int) -> None:
    """Adding a weaker limit leaves the result inside what was allowed without it."""
    claims = [
        some_claim(f"l{n}", Level(lv), ClaimKind.LIMIT, low=float(a), high=float(a + w))
        for n, (lv, a, w) in enumerate(limits)
        if lv < level
    ]
    weaker = some_claim("weak", Level(level), ClaimKind.LIMIT, low=float(low), high=float(low + width))
    rating = Bounds(-50.0, 50.0)
    before = arbitrate(rating, claims, now_ns=1).setpoint.bounds
    after = arbitrate(rating, [*claims, weaker], now_ns=1).setpoint.bounds
    assert before.low_w <= after.low_w <= after.high_w <= before.high_w


@given(st.lists(LIMITS, max_size=8), st.floats(-80, 80), st.floats(-80, 80))
def test_the_output_never_moves_further_than_the_target_did(limits: list, one: float, two: float) -> None:
    claims = [
        some_claim(f"l{n}", Level(lv), ClaimKind.LIMIT, low=float(a), high=float(a + w))
        for n, (lv, a, w) in enumerate(limits)
    ]
    rating = Bounds(-50.0, 50.0)
    results = [
        arbitrate(rating, [*claims, some_claim("t", Level.MARKET, value=value)], now_ns=1).setpoint.target_w
        for value in (one, two)
    ]
    assert abs(results[0] - results[1]) <= abs(one - two) + 1e-9


def place(book: ClaimBook, name: str, level: Level, value: float, rows: list, **what: object) -> None:
    count = len(rows)
    base = {
        "id": name, "source": name, "principal": "p", "program": "t", "level": level, "primacy": 0,
        "quantity": Quantity.P, "kind": ClaimKind.SET, "because": "test", "source_version": 1, "created_ns": 0,
        "start_ns": 0, "end_ns": FOREVER_NS, "rows": np.array(rows, np.int32), "low": np.full(count, -np.inf),
        "high": np.full(count, np.inf), "value": np.full(count, value),
    }  # fmt: skip
    book.place(ClaimBatch(**{**base, **what}))


def test_a_cancel_restores_the_next_valid_claim() -> None:
    book = ClaimBook(fleet_of(3))
    place(book, "market", Level.MARKET, 1_000.0, [0, 1, 2])
    place(book, "dso", Level.GRID_EMERGENCY, -500.0, [1])
    assert list(book.arbitrate(0).target_w) == [1_000.0, -500.0, 1_000.0]
    assert book.cancel("dso", "t", Quantity.P) == 1
    again = book.arbitrate(1)
    assert (list(again.rows), list(again.target_w)) == ([1], [1_000.0])


def test_an_expiry_restores_the_next_valid_claim_and_is_counted() -> None:
    book = ClaimBook(fleet_of(1))
    place(book, "market", Level.MARKET, 700.0, [0])
    place(book, "cap", Level.UTILITY, 100.0, [0], end_ns=10)
    assert list(book.arbitrate(5).target_w) == [100.0]
    assert book.next_change_ns(5) == 10
    assert book.expire(10) == 1
    assert list(book.arbitrate(10).target_w) == [700.0]
    assert book.ends[ClaimEnd.EXPIRED] == 1


def test_only_rows_that_may_have_changed_are_settled_again() -> None:
    book = ClaimBook(fleet_of(1_000))
    assert len(book.arbitrate(0).rows) == 1_000
    assert len(book.arbitrate(1).rows) == 0
    place(book, "later", Level.PROGRAM, 5.0, [7, 9], start_ns=50)
    assert list(book.arbitrate(2).rows) == [7, 9]
    assert len(book.arbitrate(49).rows) == 0
    assert list(book.arbitrate(50).target_w) == [5.0, 5.0]


def test_equal_priorities_are_settled_and_reported_as_a_conflict() -> None:
    book = ClaimBook(fleet_of(1))
    place(book, "a", Level.PROGRAM, 10.0, [0])
    place(book, "b", Level.PROGRAM, 20.0, [0])
    settled = book.arbitrate(0)
    assert (settled.target_w[0], bool(settled.conflict[0])) == (10.0, True)
    assert book.explain(0, 0).conflicts == (("a/battery-0", "b/battery-0"),)


def test_every_claim_that_was_placed_lives_or_ended_exactly_once() -> None:
    rng = np.random.default_rng(5)
    book = ClaimBook(fleet_of(50))
    for batch in random_batches(rng, 60, 50):
        book.place(batch)
        if rng.random() < 0.2:
            book.cancel(batch.source, batch.program, Quantity.P, batch.rows[::2])
    book.expire(30)
    assert book.count() + sum(book.ends.values()) == book.placed


PRINCIPAL = Principal("dso", Level.ENVELOPE)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"level": Level.GRID_EMERGENCY}, "level"),
        ({"level": Level.PHYSICS}, "level"),
        ({"end_ns": 0}, "end"),
        ({"end_ns": FOREVER_NS}, "end"),
        ({"end_ns": 49 * HOUR_NS}, "end"),
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"kind": ClaimKind.LIMIT, "low": 5.0, "high": 4.0}, "low"),
        ({"kind": ClaimKind.LIMIT, "low": float("nan")}, "low, high"),
        ({"kind": ClaimKind.DELTA}, "reservation_id"),
        ({"source_version": 0}, "source_version"),
        ({"randomise_s": -1.0}, "randomise_s"),
    ],
)
def test_a_bad_wish_is_refused_naming_field_value_and_limit(change: dict, field: str) -> None:
    refusal = admit(some_claim("x", Level.ENVELOPE, **change), PRINCIPAL, now_ns=0, last_version=0)
    assert refusal is not None
    assert refusal.field == field
    assert refusal.value
    assert refusal.limit


def test_a_stranger_and_a_stale_time_tag_are_refused_and_a_good_wish_is_not() -> None:
    wish = some_claim("x", Level.ENVELOPE)
    assert admit(wish, None, now_ns=0, last_version=0).field == "principal"
    assert admit(wish, PRINCIPAL, now_ns=31 * SECOND_NS, last_version=0, tagged_ns=0).field == "tagged"
    assert admit(wish, PRINCIPAL, now_ns=29 * SECOND_NS, last_version=0, tagged_ns=0) is None


def test_only_levels_that_need_no_renewal_may_last_without_end() -> None:
    assert {level for level, cap in LEASE_CAP_NS.items() if cap is None} == {
        Level.PHYSICS, Level.SAFETY, Level.OWNER_NEED, Level.LOCAL,
    }  # fmt: skip


def test_a_closed_gate_bars_weaker_targets_and_not_those_of_its_own_level() -> None:
    book = ClaimBook(fleet_of(1))
    place(book, "owner-target", Level.OWNER_NEED, 300.0, [0])
    place(book, "market", Level.MARKET, 900.0, [0])
    gate = {"quantity": Quantity.CONNECT, "kind": ClaimKind.GATE}
    place(book, "gate", Level.OWNER_NEED, 0.0, [0], **gate)
    assert book.arbitrate(0).target_w[0] == 300.0
    book.cancel("owner-target", "t", Quantity.P)
    assert (book.arbitrate(1).winner[0], book.explain(0, 1).setpoint.by) == (-1, None)
    place(book, "stronger-opens", Level.GRID_EMERGENCY, 1.0, [0], **gate)
    assert book.arbitrate(2).target_w[0] == 900.0


def test_deltas_of_one_reservation_count_together_and_each_way_by_itself() -> None:
    book = ClaimBook(fleet_of(1))
    book.reserved_w = {"r": (1_000.0, 400.0)}
    for n, value in enumerate((700.0, 700.0, 300.0, -400.0, -1.0)):
        drawn = {"kind": ClaimKind.DELTA, "reservation_id": "r", "created_ns": -n}
        place(book, f"d{n}", Level.RELIABILITY, value, [0], **drawn)
    # In order of rank 700 counts, the second 700 finds 300 left, the 300 fits; downward 400 is all there is.
    assert book.arbitrate(0).target_w[0] == 700.0 + 300.0 - 400.0
    assert {lost.claim for lost in book.explain(0, 0).losers} == {"d1/battery-0", "d4/battery-0"}


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"kind": ClaimKind.GATE, "quantity": Quantity.CONNECT, "value": 0.0}, False),
        ({"kind": ClaimKind.GATE, "quantity": Quantity.CONNECT, "value": 1.0}, True),
        ({"kind": ClaimKind.LIMIT, "low": -5.0, "high": 5.0}, False),
        ({"value": -50.0}, False),
        ({"value": 100.0}, True),
    ],
)
def test_only_what_leads_to_safety_may_be_without_end(change: dict, refused: bool) -> None:
    wish = some_claim("x", Level.OWNER_NEED, end_ns=FOREVER_NS, **{"sort": change.pop("kind", ClaimKind.SET), **change})
    refusal = admit(wish, PRINCIPAL, now_ns=0, last_version=0, safe_w=-50.0)
    assert (refusal is not None) == refused
    assert refusal is None or refusal.rule == "R2"


def test_every_kernel_is_warmed_with_arguments_that_it_takes() -> None:
    settle.warm()
