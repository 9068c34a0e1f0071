"""What only says again what holds moves nobody: a renewed limit waits for the minute's beat, all else is acted on."""

import asyncio
from typing import Any

import pytest
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk.desk import Desk
from tieline.desk.ports import Granted
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS

LEASE_NS = 5 * MINUTE_NS
AGAIN_NS = START_NS + 4 * MINUTE_NS


def wakes(**other: Any) -> list[int]:
    """Limit a feeder and four minutes later again, with what is other then; how many beats each wanted at once."""
    stage = Stage1(fleet_of([Kind.BATTERY, Kind.BATTERY]))
    causes: list[str] = []
    desk = Desk(stage.state, stage.journal, stage.clock, PEOPLE, causes.append)

    async def play() -> list[int]:
        counts = []
        for at_ns, changed in ((START_NS, {}), (max(AGAIN_NS, other.pop("at_ns", 0)), other)):
            stage.clock.ns = at_ns
            wish = {"low": -4_000.0, "high": 4_000.0, "start_ns": at_ns, "end_ns": at_ns + LEASE_NS, **changed}
            kind = wish.pop("kind", ClaimKind.LIMIT)
            level = wish.pop("level", Level.ENVELOPE)
            answer = await desk.ask(stage.ask("dso", level, wish.pop("resource", "feeder-1"), kind, **wish))
            assert isinstance(answer, Granted), str(answer)
            counts.append(len(causes))
        return counts

    return asyncio.run(play())


def test_a_limit_that_is_only_said_again_wants_no_beat_of_its_own() -> None:
    assert wakes() == [1, 1]


@pytest.mark.parametrize(
    "changed",
    [
        {"low": -3_999.0}, {"high": 4_001.0}, {"primacy": 3}, {"randomise_s": 30.0}, {"resource": "sub-1"},
        {"end_ns": START_NS + LEASE_NS - 1}, {"start_ns": AGAIN_NS + MINUTE_NS}, {"at_ns": START_NS + LEASE_NS},
        {"kind": ClaimKind.SET, "value": 1_000.0, "low": float("-inf"), "high": float("inf")},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_whatever_a_limit_says_anew_is_acted_on_at_once(changed: dict[str, Any]) -> None:
    assert wakes(**changed) == [1, 2]


def test_a_target_that_is_said_again_is_acted_on_as_its_shares_may_have_moved() -> None:
    target = {"kind": ClaimKind.SET, "value": 1_000.0, "low": float("-inf"), "high": float("inf")}
    assert wakes(**target) == [1, 2]
