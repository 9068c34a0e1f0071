"""A program event that gets too much, as what is on or off stays beside those that are back, says so."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from test_desk_event_makeup import ASKED_W, MIXED, SIZE_W, Territory

from tieline.desk.event_over import stays_over_w
from tieline.desk.views import AlarmView
from tieline.node.read_over import LASTS_NS, event_over
from tieline.resource.identity import Kind
from tieline.times import iso


def told(stage: Territory) -> list[AlarmView]:
    """The alarms of events that get too much now."""
    return [alarm for alarm, _ in event_over(stage.state, {}, stage.clock.ns)]


def test_rooms_called_for_others_that_are_back_are_told_with_how_much_and_until_when() -> None:
    async def play() -> None:
        stage = Territory([Kind.THERMOSTAT] * 50)
        name = await stage.begin()
        event, at_first = stage.state.events[name], stage.called()
        await stage.minutes(5)
        assert at_first.sum() == ASKED_W / SIZE_W and not told(stage)
        stage.warm = at_first.copy()
        await stage.minutes(12)
        assert stage.called().sum() > at_first.sum() and not told(stage), "others make it up: that is not too much"
        stage.warm[:] = False
        given_w = (await stage.minutes(15))[-1]
        assert given_w > 1.1 * ASKED_W, "who is on or off stays"
        ((alarm, after_ns),) = event_over(stage.state, {}, stage.clock.ns)
        over = f"gets {(given_w - ASKED_W) / 1e3:.1f} kW more than the {ASKED_W / 1e3:.1f} kW asked"
        assert alarm.title.startswith(
            f"Event {event.program} {over}: {stage.called().sum()} devices that are on or off"
        )
        assert alarm.title.endswith(iso(event.end_ns)) and alarm.subject == event.group
        assert (alarm.priority, alarm.link, after_ns) == (3, "/events", LASTS_NS)
        stage.clock.ns = event.end_ns
        await stage.beat()
        assert not told(stage), "it is over"

    asyncio.run(play())


def test_what_stores_give_too_much_is_let_go_and_not_told() -> None:
    async def play() -> None:
        stage = Territory(MIXED)
        await stage.begin()
        await stage.minutes(5)
        stage.warm = stage.called() & stage.rooms
        await stage.minutes(10)
        stage.warm[:] = False
        for _ in range(15):
            (given_w,) = await stage.minutes(1)
            rooms_w = SIZE_W * float((stage.called() & stage.rooms).sum())
            assert bool(told(stage)) == (rooms_w > 1.1 * ASKED_W), (given_w, rooms_w)

    asyncio.run(play())


@given(st.integers(1, 30), st.integers(0, 10), st.integers(0, 20))
def test_never_more_is_told_than_the_devices_give_beyond_what_was_approved(rooms: int, stores: int, back: int) -> None:
    """However many rooms and stores, and however many of those called do not do it."""

    async def play() -> None:
        stage = Territory([Kind.THERMOSTAT] * rooms + [Kind.BATTERY] * stores)
        name = await stage.begin()
        stage.warm[: min(back, rooms)] = True
        for count in (3, 9):
            given_w = (await stage.minutes(count))[-1]
            over_w, stay = stays_over_w(stage.state, name, stage.clock.ns)
            assert 0.0 <= over_w <= max(given_w - ASKED_W, 0.0) + 1.0 and stay <= rooms

    asyncio.run(play())
