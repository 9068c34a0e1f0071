"""Two people stand behind a dangerous ask, whatever way it comes to the desk."""

from __future__ import annotations

import asyncio

import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk.people import GROUP_DEVICES
from tieline.resource.claim import ClaimKind, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level


@pytest.mark.parametrize(
    ("people", "level", "refused"),
    [
        (("ada",), Level.ENVELOPE, True),
        (("ada", "bo"), Level.ENVELOPE, False),
        (("ada", " ada"), Level.ENVELOPE, True),
        ((), Level.GRID_EMERGENCY, True),
    ],
)
def test_the_desk_itself_wants_two_people_for_a_dangerous_ask(people: tuple, level: Level, refused: bool) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * GROUP_DEVICES))
        ask = stage.ask("operator", level, "pool-1", ClaimKind.LIMIT, low=-1e6, high=0.0, people=people)
        answer = await stage.desk.ask(ask)
        assert isinstance(answer, Refusal) == refused
        if refused:
            assert (answer.field, answer.rule) == ("people", "two people")
            assert stage.state.claims.count() == 0
        one = stage.ask("operator", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-1e3, high=0.0, people=("ada",))
        assert not isinstance(await stage.desk.ask(one), Refusal), "one device is one person's"

    asyncio.run(play())
