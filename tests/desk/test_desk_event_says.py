"""An event's amount has a sign and no word for its direction: preview and answer say in words what it asks."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs
from programs_stage import START, Programs
from test_desk_event_sum import Called

from tieline.desk.desk_views import EventPreview
from tieline.desk.events import preview, view_of
from tieline.desk.ports import Award
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.times import HOUR_NS, SECOND_NS


@pytest.mark.parametrize(
    ("power_w", "asks"),
    [
        (1_000.0, "asks for 1,000 W less consumption, or as much more generation"),
        (-1_000.0, "asks for 1,000 W more consumption, or as much less generation"),
    ],
)
def test_what_an_event_asks_is_said_in_words_by_its_preview_and_by_the_answer_to_it(power_w: float, asks: str) -> None:
    async def play() -> None:
        stage = Programs()
        made = await stage.approved(power_w)
        assert isinstance(made, ProgramEvent)
        wish = ComposeEvent(made.program, made.group, START, START + HOUR_NS, power_w)
        shown = preview(stage.state, wish, stage.clock.ns)
        assert isinstance(shown, EventPreview), str(shown)
        assert (shown.asks, view_of(stage.state, made).asks) == (asks, asks)

    asyncio.run(play())


@pytest.mark.parametrize(("power_w", "says"), [(8_000.0, "could give any of"), (-8_000.0, "could take any of")])
def test_who_can_move_no_further_that_way_is_warned_of_in_its_words(power_w: float, says: str) -> None:
    stage = Programs()
    stage.state.fleet.quality[:] = 64
    shown = preview(stage.state, ComposeEvent("p", "pool-1", START, START + HOUR_NS, power_w), stage.clock.ns)
    assert isinstance(shown, EventPreview) and f"nobody {says} the 8.0 kW now" in shown.warning


@pytest.mark.parametrize("power_w", [8_000.0, -8_000.0])
def test_what_is_free_in_the_book_is_said_beside_what_devices_can_move_now(power_w: float) -> None:
    """Half of the devices can't move at all: of 100 kW that are promised to nobody 25 kW could be had now."""
    stage = Programs()
    stage.state.fleet.available_up_w[:5] = stage.state.fleet.available_down_w[:5] = 0.0
    shown = preview(stage.state, ComposeEvent("peak", "pool-1", START, START + HOUR_NS, power_w), stage.clock.ns)
    assert isinstance(shown, EventPreview), str(shown)
    assert abs(shown.can_give_w) < shown.free_w
    assert shown.free_says == (
        "by ratings 100.0 kW are promised to nobody in its hours; of those devices could move 25.0 kW now"
    )


def test_awards_in_an_events_hours_are_said_with_what_they_may_take_of_it() -> None:
    """The market goes before programs: its hours that touch the event count, those that only meet it don't."""
    stage = Programs()
    wish = ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 20_000.0)

    def says() -> str:
        shown = preview(stage.state, wish, stage.clock.ns)
        assert isinstance(shown, EventPreview), str(shown)
        return shown.awards_say

    def awarded(name: str, start_ns: int, power_w: float) -> None:
        stage.state.awards[name] = Award(name, "o", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, power_w, 50.0)

    assert says() == ""
    awarded("before", START - HOUR_NS, 90_000.0)
    awarded("elsewhere", START, 90_000.0)
    stage.state.awards["elsewhere"] = structs.replace(stage.state.awards["elsewhere"], pool="site-0")
    assert says() == ""
    awarded("small", START + HOUR_NS // 2, 6_000.0)
    assert says().startswith(
        "awards in its hours stand at up to 6.0 kW of pool-1 and go first: they may take up to 6.0 of"
    )
    awarded("large", START - HOUR_NS // 2, 158_000.0)
    assert "up to 158.0 kW of pool-1" in says() and "may take up to 20.0 of the 20.0 kW" in says()


@pytest.mark.parametrize(("group", "most_w"), [("pool-1", 100_000.0), ("feeder-1", 50_000.0), ("r3", 10_000.0)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_event_beyond_what_its_devices_are_rated_to_move_is_taken_and_says_so_at_each_step(
    group: str, most_w: float, sign: float
) -> None:
    """Batteries of 5 kW each way: from taking all to giving all is twice that, and no call moves them further."""

    async def play() -> None:
        stage = Programs()
        # What a program alone calls: no pool promises it, so that no book refuses it either.
        stage.state.ledger.capacities.clear()
        for times, is_beyond in ((0.2, False), (1.0, False), (1.01, True), (20.0, True)):
            power_w = sign * times * most_w
            wish = ComposeEvent("peak", group, START, START + HOUR_NS, power_w)
            shown = preview(stage.state, wish, stage.clock.ns)
            assert isinstance(shown, EventPreview), str(shown)
            made = await stage.compose(power_w, group=group)
            assert isinstance(made, ProgramEvent), str(made)
            said = [shown.unmet, stage.seen(made.id).unmet]
            for to in (EventState.SUBMITTED, EventState.APPROVED):
                await stage.step(made.id, to)
                said.append(stage.seen(made.id).unmet)
            assert len(set(said)) == 1, said
            assert bool(said[0]) is is_beyond, (power_w, said)
            if is_beyond:
                assert said[0] == (
                    f"it can't be met: {group} is rated for {-most_w / 2:.0f} to {most_w / 2:.0f} W and can move by "
                    f"{most_w:.0f} W at most, which is less than the {abs(power_w):.0f} W asked"
                )
            await stage.step(made.id, EventState.CANCELED)
            assert stage.seen(made.id).unmet == "", "what is over asks nothing any more"

    asyncio.run(play())


def test_of_devices_whose_rating_nobody_knows_no_event_is_said_to_be_beyond_it() -> None:
    stage = Programs()
    stage.state.ledger.capacities.clear()
    stage.state.fleet.max_inject_w[3] = stage.state.fleet.max_absorb_w[3] = 0.0
    shown = preview(stage.state, ComposeEvent("p", "pool-1", START, START + HOUR_NS, 1e9), stage.clock.ns)
    assert isinstance(shown, EventPreview) and shown.unmet == ""


def test_an_event_equal_to_one_that_stands_says_so_in_its_preview_and_its_answer_and_that_amounts_add_up() -> None:
    async def play() -> None:
        stage = Called()
        first = await stage.compose(10_000.0)
        assert isinstance(first, ProgramEvent)
        assert view_of(stage.state, first).equal == ""
        wish = ComposeEvent(first.program, first.group, START + 59 * SECOND_NS, START + HOUR_NS, 10_000.0)
        shown = preview(stage.state, wish, stage.clock.ns)
        assert isinstance(shown, EventPreview), str(shown)
        said = (
            f"an equal event stands already: {first.id} by ada (New), under the same program, for the same group, minutes "
            "and power; each is met for itself, so that together it asks for 20,000 W less consumption, or as much more "
            "generation: cancel one if it was meant once"
        )
        assert shown.equal == said
        second = await stage.compose(10_000.0)
        assert isinstance(second, ProgramEvent)
        assert view_of(stage.state, second).equal == said
        for event in (first.id, second.id):
            await stage.step(event, EventState.SUBMITTED, "ada")
            assert isinstance(await stage.step(event, EventState.APPROVED), ProgramEvent)
        assert await stage.minutes(3) == pytest.approx([20_000.0] * 3), "what is said is what comes of it"
        third = preview(stage.state, wish, stage.clock.ns)
        assert isinstance(third, EventPreview)
        assert third.equal.startswith(
            f"2 equal events stand already: {first.id} by ada (In Progress), {second.id} by ada"
        )
        await stage.step(first.id, EventState.CANCELED, "ada")
        assert stage.seen(second.id).equal == ""
        assert await stage.minutes(1) == pytest.approx([10_000.0])

    asyncio.run(play())


@pytest.mark.parametrize(
    "other",
    [{"program": "other"}, {"group": "feeder-1"}, {"power_w": 9_000.0}, {"power_w": -10_000.0},
     {"start_ns": START + HOUR_NS // 2}, {"end_ns": START + 2 * HOUR_NS}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_an_event_that_differs_in_program_group_time_or_power_is_said_to_equal_none(other: dict[str, object]) -> None:
    async def play() -> None:
        stage = Programs()
        made = await stage.compose(10_000.0)
        assert isinstance(made, ProgramEvent)
        wish = structs.replace(ComposeEvent(made.program, made.group, START, START + HOUR_NS, 10_000.0), **other)
        shown = preview(stage.state, wish, stage.clock.ns)
        assert isinstance(shown, EventPreview), str(shown)
        assert shown.equal == ""

    asyncio.run(play())
