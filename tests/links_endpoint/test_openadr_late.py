"""Reports that come late, and in another order than they were made: the newest word of an end-point holds."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from openadr_room import Room, play

from tieline.resource.command import Stage
from tieline.times import SECOND_NS, iso

IN, OUT, FAULT = ("RUNNING_HEIGHTENED", "IDLE_NORMAL", "NORMAL"), ("IDLE_OPTED_OUT", "RUNNING_OPTED_OUT"), ("ERROR",)


@dataclass
class Word:
    """What a VEN said at a second: a state (or none), on the event or as telemetry."""

    second: int
    state: str
    is_on_event: bool

    def body(self, event: str, telemetry: str, start_ns: int) -> dict[str, Any]:
        payloads = [{"type": "DEMAND", "values": [0.5]}, {"type": "UP_REGULATION_AVAILABLE", "values": [1.0]}]
        if self.state:
            payloads.append({"type": "OPERATING_STATE", "values": [self.state]})
        period = {"start": iso(start_ns + self.second * SECOND_NS), "duration": "PT0S"}
        said = {"resourceName": "site-5", "intervalPeriod": period, "intervals": [{"id": 0, "payloads": payloads}]}
        return {
            "eventID": event if self.is_on_event else telemetry, "clientName": "x", "reportName": f"r{self.second}",
            "resources": [said],
        }  # fmt: skip


def words(rng: np.random.Generator) -> list[Word]:
    """Return what a VEN says, in order; the first acknowledges its event."""
    found = [Word(0, IN[0], True)]
    for second in range(1, int(rng.integers(3, 10))):
        kind = (IN, OUT, FAULT, ("",))[int(rng.choice(4, p=[0.4, 0.3, 0.1, 0.2]))]
        state = kind[int(rng.integers(len(kind)))]
        found.append(Word(second, state, bool(state) and bool(rng.integers(2))))
    return found


def late(said: list[Word], rng: np.random.Generator) -> list[Word]:
    """Return the order in which they come: each up to four seconds late."""
    at = [word.second + float(rng.uniform(0.0, 4.0)) * float(rng.integers(2)) for word in said]
    return [said[k] for k in np.argsort(at, kind="stable")]


def refuses(come: list[Word]) -> bool:
    """Return whether a word on the event refuses it: one that is the newest of all that were heard when it came."""
    newest = -1
    for word in come:
        if word.is_on_event and word.state in (*OUT, *FAULT) and word.second > newest:
            return True
        newest = max(newest, word.second if word.state else newest)
    return False


@pytest.mark.parametrize("seed", range(60))
def test_the_newest_word_holds_in_whichever_order_reports_come(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = words(rng)
    come = late(said, rng)
    owners: list[bool] = []

    async def scene(room: Room) -> None:
        room.link.on_owner = lambda row, is_out: owners.append(is_out)
        telemetry = next(str(e["id"]) for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        await room.command(-3_000.0)
        event = str(room.events()[0]["id"])
        await room.call("site-5", "GET", "/events?targets=site-5")
        start_ns = room.clock.now_ns()
        await asyncio.sleep(20)
        for word in come:
            status, made = await room.call("site-5", "POST", "/reports", word.body(event, telemetry, start_ns))
            assert status == 201, made

    room = play(scene, keep_ven=False)
    stated = [word for word in said if word.state]
    is_out = stated[-1].state in OUT
    about = (said, come, room.log.stages)
    assert (room.log.last("is_local")[0], owners[-1]) == (float(is_out), is_out), about
    if is_out:  # an owner who is out offers nothing, whatever a meter says that knows nothing of owners
        assert room.log.last("available_up_w")[0] == 0.0, about
    assert (Stage.REJECTED in room.log.stages) is refuses(come), about
