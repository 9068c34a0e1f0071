"""A feeder's operating envelopes are taken whole or not at all, and each interval's bounds hold from when it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of, with_sites
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.asks import decide_opt_ins
from tieline.desk.cycle import Cycle
from tieline.desk.envelope_facts import EnvelopesTaken
from tieline.desk.operating import (
    AT_ONCE,
    decide_place,
    decide_take,
    decide_withdraw_envelopes,
    foretold,
    next_edge_ns,
    views_of,
)
from tieline.desk.state import DeskState
from tieline.fleet.ledger import Ledger
from tieline.grid.envelope_file import EnvelopeSet, Span
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, iso

WHO = PEOPLE["operator"]
HALF_NS = HOUR_NS // 2


def spans(*edges_ns: int) -> tuple[Span, ...]:
    return tuple(Span(iso(START_NS + a), iso(START_NS + b)) for a, b in pairwise(edges_ns))


def made(
    low_w: Sequence[Sequence[float | None]],
    high_w: Sequence[Sequence[float | None]],
    customers: Sequence[str] = ("r0", "r1"),
    intervals: tuple[Span, ...] = spans(0, HALF_NS, 2 * HALF_NS),
    version: int = 1,
    **what: object,
) -> EnvelopeSet:
    base = EnvelopeSet(
        "lv-7", version, "robust, max-min", iso(START_NS), tuple(customers), intervals,
        tuple(tuple(row) for row in low_w), tuple(tuple(row) for row in high_w),
    )  # fmt: skip
    return msgspec.structs.replace(base, **what)


TWO = made([[-2_000.0, -3_000.0], [-1_000.0, -500.0]], [[1_000.0, 0.0], [4_000.0, 2_500.0]])


class Scene:
    """A desk that is told the time; at each instant it does what a beat does of envelopes."""

    def __init__(self, stage: Stage1 | None = None) -> None:
        self.stage = stage or Stage1(fleet_of([Kind.BATTERY] * 3))
        self.cycle = Cycle(self.stage.desk, {})

    @property
    def state(self) -> DeskState:
        return self.stage.state

    async def take(self, sent: EnvelopeSet, by: str = "ada") -> EnvelopesTaken | Refusal:
        entries, answer = decide_take(self.state, sent, WHO, by, self.stage.clock.ns)
        await self.stage.desk.commit(entries)
        return answer

    async def withdraw(self) -> bool:
        entries, found = decide_withdraw_envelopes(self.state, "lv-7", "bo", self.stage.clock.ns)
        await self.stage.desk.commit(entries)
        return found

    async def at(self, after_ns: int) -> None:
        now_ns = self.stage.clock.ns = START_NS + after_ns
        while entries := decide_place(self.state, WHO, now_ns):
            await self.stage.desk.commit(entries)
        await self.cycle.beat(now_ns)

    def limits_w(self) -> list[tuple[float, float]]:
        """What the last command lets each device do (W)."""
        devices, now_ns = self.stage.devices, self.stage.clock.ns
        alive = devices.until_ns > now_ns
        pairs = zip(
            np.where(alive, devices.low_w, -5e3).tolist(), np.where(alive, devices.high_w, 5e3).tolist(), strict=True
        )
        return list(pairs)

    def kinds(self) -> list[str]:
        return [record.kind for record in self.stage.journal.records]


def test_each_interval_bounds_its_customers_from_its_beginning_and_nothing_does_once_the_last_is_over() -> None:
    scene, seen = Scene(), {}

    async def play() -> None:
        await scene.take(TWO)
        for after_ns in (0, HALF_NS - MINUTE_NS, HALF_NS, 2 * HALF_NS):
            await scene.at(after_ns)
            seen[after_ns] = scene.limits_w(), views_of(scene.state, scene.stage.clock.ns)[0].stands

    asyncio.run(play())
    first, second = [(-2e3, 1e3), (-3e3, 0.0), (-5e3, 5e3)], [(-1e3, 4e3), (-500.0, 2_500.0), (-5e3, 5e3)]
    assert seen[0] == (first, "in force")
    assert seen[HALF_NS - MINUTE_NS] == (first, "in force")
    assert seen[HALF_NS] == (second, "in force")
    assert seen[2 * HALF_NS] == ([(-5e3, 5e3)] * 3, "ended")


def test_from_one_interval_to_the_next_no_device_is_let_go_in_between() -> None:
    scene = Scene()

    async def play() -> None:
        await scene.take(TWO)
        for after_ns in (0, HALF_NS - MINUTE_NS, HALF_NS):
            await scene.at(after_ns)

    asyncio.run(play())
    told = [batch for batch in scene.stage.devices.batches if 0 in batch.rows.tolist()]
    widest = max(float(batch.high_w[batch.rows.tolist().index(0)]) for batch in told)
    assert widest == 4_000.0
    assert "AskLapsed" not in scene.kinds()


def test_the_same_set_twice_has_one_effect_whoever_sends_it_again() -> None:
    scene = Scene()

    async def play() -> tuple[object, object, int]:
        first = await scene.take(TWO)
        count = len(scene.stage.journal.records)
        second = await scene.take(TWO, by="cy")
        return first, second, len(scene.stage.journal.records) - count

    first, second, more = asyncio.run(play())
    assert first == second
    assert more == 0


def test_a_newer_version_takes_the_place_of_the_one_before_at_once_and_frees_whom_it_leaves_out() -> None:
    scene = Scene()

    async def play() -> None:
        await scene.take(TWO)
        await scene.at(0)
        answer = await scene.take(made([[-100.0]], [[200.0]], ["r1"], spans(0, HALF_NS), version=2))
        assert not isinstance(answer, Refusal)
        await scene.at(MINUTE_NS)

    asyncio.run(play())
    assert scene.limits_w() == [(-5e3, 5e3), (-100.0, 200.0), (-5e3, 5e3)]


def test_a_version_that_begins_later_frees_everybody_until_then() -> None:
    scene = Scene()

    async def play() -> list[list[tuple[float, float]]]:
        await scene.take(TWO)
        await scene.at(0)
        await scene.take(made([[-100.0]], [[200.0]], ["r1"], spans(HALF_NS, HOUR_NS), version=2))
        seen = []
        for after_ns in (MINUTE_NS, HALF_NS):
            await scene.at(after_ns)
            seen.append(scene.limits_w()[:2])
        return seen

    assert asyncio.run(play()) == [[(-5e3, 5e3)] * 2, [(-5e3, 5e3), (-100.0, 200.0)]]


def test_envelopes_that_are_taken_back_bound_nobody_and_their_version_does_not_come_again() -> None:
    scene = Scene()

    async def play() -> tuple[bool, bool, object]:
        await scene.take(TWO)
        await scene.at(0)
        found, again = await scene.withdraw(), await scene.withdraw()
        await scene.at(MINUTE_NS)
        return found, again, await scene.take(TWO)

    found, again, late = asyncio.run(play())
    assert (found, again) == (True, False)
    assert scene.limits_w() == [(-5e3, 5e3)] * 3
    assert isinstance(late, Refusal)
    assert (late.field, late.value, late.limit) == ("version", "1", "> 1")
    assert views_of(scene.state, scene.stage.clock.ns)[0].stands == "withdrawn"
    assert foretold(scene.state, scene.stage.clock.ns) == {}
    assert next_edge_ns(scene.state, scene.stage.clock.ns) == FOREVER_NS


OTHER = made([[0.0, 0.0], [0.0, 0.0]], [[9.0, 9.0], [9.0, 9.0]])
LATER = spans(0, HALF_NS)[0]


@pytest.mark.parametrize(
    ("sent", "field", "value", "limit"),
    [
        (made([[0.0], [0.0]], [[1.0], [1.0]], ["r9"]), "customers[0]", "r9", "a resource of the registry"),
        (
            made([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2, ["a", "b"], resources=("r0", "nobody")), "resources[1]", "nobody",
            "a resource of the registry",
        ),
        (made([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2, ["r0", "feeder-1"]), "customers[1]", "feeder-1", "nothing of r0"),
        (made([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2, ["r0", "r0"]), "customers[1]", "r0", "customers[0] already"),
        (made([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2, resources=("r0",)), "resources", "1 names", "2, one a customer"),
        (made([[0.0, 0.0], [0.0, None]], [[1.0, 1.0]] * 2), "low_w[1][1]", "no number", "W"),
        (made([[0.0, 0.0]] * 2, [[1.0, 1.0], [float("nan"), 1.0]]), "high_w[1][0]", "no number", "W"),
        (made([[0.0, 0.0]] * 2, [[1.0, float("inf")], [1.0, 1.0]]), "high_w[0][1]", "inf", "W"),
        (made([[0.0, 2.0], [0.0, 0.0]], [[1.0, 1.0]] * 2), "low_w[0][1]", "2", "<= high_w 1"),
        (made([[0.0, 0.0]], [[1.0, 1.0]] * 2), "low_w", "1 rows", "2, one an interval"),
        (made([[0.0, 0.0]] * 2, [[1.0, 1.0], [1.0]]), "high_w[1]", "1 values", "2"),
        (
            made([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2, intervals=(LATER, spans(HALF_NS - MINUTE_NS, HOUR_NS)[0])),
            "intervals[1].start", iso(START_NS + HALF_NS - MINUTE_NS), f"from {iso(START_NS + HALF_NS)} on",
        ),
        (
            made([[0.0, 0.0]], [[1.0, 1.0]], intervals=(Span(LATER.end, LATER.start),)), "intervals[0].end",
            LATER.start, f"after {LATER.end}",
        ),
        (
            made([[0.0, 0.0]], [[1.0, 1.0]], intervals=(Span("2026-06-01T12:00:00", LATER.end),)),
            "intervals[0].start", "2026-06-01T12:00:00", "ISO 8601 with an offset",
        ),
        (made([[0.0, 0.0]], [[1.0, 1.0]], intervals=spans(-HOUR_NS, 0)), "intervals", "until", "after"),
        (made([[0.0, 0.0]], [[1.0, 1.0]], intervals=spans(0, 49 * HOUR_NS)), "intervals", "176400 s", "172800 s"),
        (made([], [], intervals=()), "intervals", "none", "one interval or more"),
        (made([[]] * 2, [[]] * 2, []), "customers", "none", "one customer or more"),
        (msgspec.structs.replace(OTHER, version=0), "version", "0", "1 to"),
        (msgspec.structs.replace(OTHER, feeder=" "), "feeder", " ", "a letter or digit first"),
        (msgspec.structs.replace(OTHER, made_at="yesterday"), "made_at", "yesterday", "ISO 8601"),
    ],
)  # fmt: skip
def test_a_set_with_one_fault_is_refused_whole_and_the_refusal_names_its_place(
    sent: EnvelopeSet, field: str, value: str, limit: str
) -> None:
    scene = Scene()
    answer = asyncio.run(scene.take(sent))
    assert isinstance(answer, Refusal), answer
    assert answer.field == field
    assert value in answer.value
    assert limit in answer.limit
    assert scene.stage.journal.records == []


@pytest.mark.parametrize("version", [1, 3])
def test_a_stale_version_and_one_that_is_known_with_other_content_are_refused(version: int) -> None:
    scene = Scene()

    async def play() -> object:
        await scene.take(msgspec.structs.replace(TWO, version=3))
        return await scene.take(msgspec.structs.replace(OTHER, version=version))

    answer = asyncio.run(play())
    assert isinstance(answer, Refusal)
    assert (answer.field, answer.value, answer.limit) == ("version", str(version), "> 3")


def test_a_site_of_several_devices_is_held_together_and_only_who_is_alone_knows_it_beforehand() -> None:
    stage = with_sites([Kind.BATTERY] * 3, [0, 0, 1])
    scene = Scene(stage)
    stage.state.fleet.power_w[:] = 4_000.0
    sent = made(
        [[-2e3, -3e3]], [[3_000.0, 1_000.0]], ["meter-1", "meter-2"], spans(0, HALF_NS), resources=("site-0", "site-1")
    )

    async def play() -> None:
        assert not isinstance(await scene.take(sent), Refusal)
        await scene.at(0)

    asyncio.run(play())
    high_w = [high for _, high in scene.limits_w()]
    assert 2_900.0 <= high_w[0] + high_w[1] <= 3_000.0
    assert 900.0 < high_w[2] <= 1_000.0
    ((row, (told,)),) = foretold(stage.state, START_NS).items()
    assert (row, told.steps) == (2, ((START_NS, START_NS + HALF_NS, -3e3, 1e3),))


def test_a_set_of_more_customers_than_are_placed_at_once_is_in_force_as_a_whole_with_the_next_beat() -> None:
    count = 2 * AT_ONCE + 7
    scene, names = Scene(Stage1(fleet_of([Kind.BATTERY] * count))), [f"r{n}" for n in range(count)]
    high_w = np.linspace(100.0, 4_000.0, count).round().tolist()

    async def play() -> list[int]:
        seen = []
        await scene.take(made([[-1e3] * count], [high_w], names, spans(0, HALF_NS)))
        seen.append(views_of(scene.state, START_NS)[0].in_force)
        await scene.at(0)
        seen.append(views_of(scene.state, START_NS)[0].in_force)
        return seen

    assert asyncio.run(play()) == [AT_ONCE, count]
    assert [high for _, high in scene.limits_w()] == high_w
    assert scene.state.digest() == scene.stage.replayed(Ledger(scene.stage.ledger.capacities)).digest()


def test_the_limit_says_which_feeder_method_version_and_interval_it_comes_of() -> None:
    scene = Scene()

    async def play() -> None:
        await scene.take(TWO)
        await scene.at(0)

    asyncio.run(play())
    (live,) = [live for key, live in scene.state.asks.items() if key[2] == "r0"]
    for word in ("lv-7", "robust, max-min", "version 1", f"{iso(START_NS)}/{iso(START_NS + HALF_NS)}"):
        assert word in live.ask.because
    by_id = {record.id: record for record in scene.stage.journal.records}
    (brought,) = (by_id[cause] for cause in by_id[live.record].caused_by)
    assert brought.kind == "EnvelopesTaken"


@settings(max_examples=60, deadline=None)
@given(
    acts=st.lists(st.tuples(st.sampled_from(["take", "withdraw", "beat", "again"]), st.integers(0, 2)), max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_comes_the_limits_in_force_are_those_of_the_newest_set_s_running_interval_and_a_replay_has_them(
    acts: list[tuple[str, int]], seed: int
) -> None:
    rng, scene = np.random.default_rng(seed), Scene()
    newest: EnvelopeSet | None = None

    async def play() -> None:
        nonlocal newest
        version, after_ns = 0, 0
        for act, steps in acts:
            if act == "take":
                version += 1 + steps
                begins, count = int(rng.integers(-1, 3)), int(rng.integers(1, 4))
                edges = [after_ns + (begins + n) * HALF_NS for n in range(count + 1)]
                low_w = -rng.integers(0, 4_000, (count, 2)).astype(float)
                sent = made(low_w.tolist(), (low_w + 3_000.0).tolist(), intervals=spans(*edges), version=version)
                if not isinstance(await scene.take(sent), Refusal):
                    newest = sent
            elif act == "again" and newest is not None:
                await scene.take(newest)
            elif act == "withdraw":
                await scene.withdraw()
                newest = None
            after_ns += steps * HALF_NS // 2
            await scene.at(after_ns)
            check(after_ns)

    def check(after_ns: int) -> None:
        now = iso(START_NS + after_ns)
        wanted: list[tuple[float | None, float | None]] = [(-5e3, 5e3)] * 2
        for span, low, high in (
            () if newest is None else zip(newest.intervals, newest.low_w, newest.high_w, strict=True)
        ):
            if span.start <= now < span.end:
                wanted = list(zip(low, high, strict=True))
        assert scene.limits_w()[:2] == wanted
        assert scene.state.digest() == scene.stage.replayed(Ledger(scene.stage.ledger.capacities)).digest()

    asyncio.run(play())


def test_a_desk_that_was_away_as_an_interval_began_places_it_when_it_is_back_and_only_once() -> None:
    scene = Scene()
    asyncio.run(scene.take(TWO))
    again = Scene(Stage1(fleet_of([Kind.BATTERY] * 3)))
    again.stage.desk.state = again.stage.state = scene.stage.replayed(Ledger())
    again.stage.clock.ns = START_NS + HALF_NS + MINUTE_NS

    async def play() -> int:
        now_ns = again.stage.clock.ns
        await again.stage.desk.commit(decide_opt_ins(again.state, now_ns))
        first = decide_place(again.state, WHO, now_ns)
        await again.stage.desk.commit(first)
        return len(first) + 100 * len(decide_place(again.state, WHO, now_ns))

    assert asyncio.run(play()) == 4  # an ask and its claims, of two customers
    assert [live.ask.high for live in again.state.asks.values()] == [4_000.0, 2_500.0]
