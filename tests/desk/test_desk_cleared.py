"""Offers that a market cleared without: told so, their power free at once, and an award after all taken where it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from programs_stage import START, Programs

from tieline.desk.awards import UNAWARDED, decide_offer_answers
from tieline.desk.ports import Award, Offer, Segment
from tieline.desk.programs import EventState
from tieline.desk.trading import view_of
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS

NAMEPLATE_W = 100_000.0


def play(scene: Callable[[Programs], Awaitable[None]]) -> Programs:
    async def main() -> Programs:
        stage = Programs()
        await scene(stage)
        return stage

    return asyncio.run(main())


async def offered(stage: Programs, name: str, power_w: float, start_ns: int = START) -> Refusal | None:
    made = Offer(name, "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, (Segment(power_w, 50.0),))
    return (await stage.desk.offer([made]))[0]


def award(name: str, power_w: float) -> Award:
    return Award(f"w-{name}", name, "pool-1", "ENERGY", START, START + HOUR_NS, power_w, 60.0)


async def clear(stage: Programs, end_ns: int = START + HOUR_NS) -> None:
    """Say that what begins from START to an instant is cleared, with what was awarded of it by now."""
    await stage.desk.cleared(await stage.desk.unawarded(["pool-1"], START, end_ns), "rows")


def word(stage: Programs, name: str) -> str:
    return view_of(stage.state, stage.state.offers[name], stage.clock.ns).state


def free_w(stage: Programs, at_ns: int = START) -> float:
    return stage.ledger.free_w("pool-1", at_ns)[0]


def test_a_program_event_takes_what_a_day_was_cleared_without() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "dear", NAMEPLATE_W)
        refusal = await stage.compose(30_000.0)
        assert isinstance(refusal, Refusal) and refusal.holder.startswith("ENERGY"), "held until the market answers"
        await clear(stage)
        assert free_w(stage) == NAMEPLATE_W
        approved = await stage.approved(30_000.0)
        assert not isinstance(approved, Refusal) and approved.state is EventState.SCHEDULED

    play(scene)


def test_an_offer_without_an_award_says_so_and_one_of_a_day_that_is_not_cleared_keeps_its_hold() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "won", 40_000.0)
        await offered(stage, "lost", 60_000.0)
        await offered(stage, "unsaid", 50_000.0, START + HOUR_NS)
        assert await stage.desk.awards([award("won", 40_000.0)], "f") == [None]
        await clear(stage)
        assert [word(stage, name) for name in ("won", "lost", "unsaid")] == ["awarded", "unawarded", "held"]
        assert view_of(stage.state, stage.state.offers["lost"], stage.clock.ns).reason == UNAWARDED
        assert (free_w(stage), free_w(stage, START + HOUR_NS)) == (60_000.0, 50_000.0)
        refusal = await offered(stage, "lost", 60_000.0)
        assert refusal is not None and refusal.reason == UNAWARDED, "sent again it sells nothing"

    play(scene)


def test_what_an_award_leaves_of_its_offer_is_free() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "a", 80_000.0)
        assert await stage.desk.awards([award("a", 30_000.0)], "f") == [None]
        await clear(stage)
        assert free_w(stage) == 70_000.0 and word(stage, "a") == "awarded"

    play(scene)


def test_a_day_that_is_said_to_be_cleared_again_has_one_effect_and_a_replay_frees_the_same() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "a", 80_000.0)
        names = await stage.desk.unawarded(["pool-1"], START, START + HOUR_NS)
        for _ in range(2):
            await stage.desk.cleared([*names, *names, "unknown"], "rows")
        assert await stage.desk.unawarded(["pool-1"], START, START + HOUR_NS) == []
        assert [record.kind for record in stage.journal.records].count("OfferUnawarded") == 1
        await offered(stage, "b", NAMEPLATE_W)
        await stage.desk.cleared(["b"], "rows")
        assert await stage.desk.awards([award("a", 70_000.0)], "late") == [None]
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(NAMEPLATE_W, NAMEPLATE_W))
        again = stage.replayed(ledger)
        assert again.digest() == stage.state.digest() and again.unawarded.keys() == {"b"}
        assert ledger.free_w("pool-1", START)[0] == 30_000.0

    play(scene)


def test_an_award_after_all_is_taken_where_its_power_is_still_free_and_holds_no_more_than_that() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "a", 80_000.0)
        await clear(stage)
        await offered(stage, "b", 30_000.0)
        assert await stage.desk.awards([award("a", 70_000.0)], "late") == [None]
        assert word(stage, "a") == "awarded" and free_w(stage) == 0.0
        await clear(stage)
        assert [word(stage, name) for name in "ab"] == ["awarded", "unawarded"], "what has an award stays awarded"

    play(scene)


@pytest.mark.parametrize("power_w", [70_001.5, 80_000.0])
def test_an_award_after_all_of_what_was_sold_again_is_refused_and_names_who_holds_it(power_w: float) -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "a", 80_000.0)
        await clear(stage)
        await offered(stage, "b", 30_000.0)
        (refusal,) = await stage.desk.awards([award("a", power_w)], "late")
        assert refusal is not None and refusal.field == "up_w" and refusal.holder.startswith("ENERGY")
        assert word(stage, "a") == "unawarded" and "w-a" not in stage.state.awards
        # What the ISO mends under the same id is looked at anew.
        assert await stage.desk.awards([award("a", 70_000.0)], "mended") == [None]

    play(scene)


def test_of_two_late_awards_the_second_sees_what_the_first_took() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "a", 80_000.0)
        await clear(stage)
        await offered(stage, "b", 80_000.0)
        await clear(stage)
        first, second = await stage.desk.awards([award("a", 80_000.0), award("b", 80_000.0)], "late")
        assert first is None and second is not None and second.limit.startswith("20000 W free")

    play(scene)


def test_an_offer_that_the_market_refused_stays_refused_when_its_day_is_cleared() -> None:
    async def scene(stage: Programs) -> None:
        await offered(stage, "a", 80_000.0)
        said = Refusal("after the gate", "bidUID", "a")
        await stage.desk.commit(decide_offer_answers(stage.state, [stage.state.offers["a"]], [said]))
        await stage.desk.cleared(["a"], "rows")
        assert word(stage, "a") == "refused" and not stage.state.unawarded

    play(scene)
