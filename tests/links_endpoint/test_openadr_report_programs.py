"""A report belongs to the program of its event: it is told and found by that, and told of when its event is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from openadr_calls import event, program
from openadr_room import Room, play
from test_openadr_webhooks import Callback, subscribe


async def report(room: Room, of: str, name: str, **more: Any) -> dict[str, Any]:
    said = [{"resourceName": "fridge", "intervals": [{"id": 0, "payloads": [{"type": "USAGE", "values": [1]}]}]}]
    body = {"eventID": of, "clientName": "x", "reportName": name, "resources": said, **more}
    status, made = await room.call("site-6", "POST", "/reports", body)
    assert status == 201, made
    return dict(made)


def told(callback: Callback) -> list[str]:
    return [f"{said['operation']} {said['object']['reportName']}" for _, said in callback.seen]


async def found(room: Room, query: str) -> set[str]:
    status, things = await room.call("bl", "GET", f"/reports?{query}")
    assert status == 200, things
    return {each["reportName"] for each in things}


@pytest.mark.parametrize("seed", range(4))
def test_who_subscribed_to_the_reports_of_a_program_is_told_of_those_of_its_events_and_of_no_others(seed: int) -> None:
    rng, hooks = np.random.default_rng(seed), {name: Callback() for name in "abc"}
    expected: dict[str, list[str]] = {name: [] for name in hooks}
    finds: list[tuple[set[str], set[str]]] = []

    async def scene(room: Room) -> None:
        programs = {name: await program(room, name) for name in hooks}
        for name, hook in hooks.items():
            await subscribe(room, "bl", await hook.start(), ["REPORT"], programID=programs[name])
        events: dict[str, list[str]] = {name: [] for name in hooks}
        reports: dict[str, dict[str, dict[str, str]]] = {}
        for name, of in programs.items():
            made = await event(room, of)
            events[name], reports[made["id"]] = [made["id"]], {}
            reports[made["id"]][f"first {name}"] = await report(room, made["id"], f"first {name}")
            expected[name].append(f"CREATE first {name}")
        for n in range(40):
            name = str(rng.choice(list(hooks)))
            mine = events[name]
            live = [each for each in mine if reports[each]]
            match int(rng.integers(6)):
                case 0:
                    made = await event(room, programs[name])
                    mine.append(made["id"])
                    reports[made["id"]] = {}
                case 1 | 2 | 3 if mine:
                    of = str(rng.choice(mine))
                    # Who speaks as 3.0 did names a program too: the event's counts.
                    more = {} if n % 2 else {"programID": programs["a"]}
                    reports[of][f"r{n}"] = await report(room, of, f"r{n}", **more)
                    expected[name].append(f"CREATE r{n}")
                case 4 if live:
                    of = str(rng.choice(live))
                    at = str(rng.choice(list(reports[of])))
                    made = reports[of].pop(at)
                    assert (await room.call("site-6", "DELETE", f"/reports/{made['id']}"))[0] == 200
                    expected[name].append(f"DELETE {at}")
                case 5 if mine:
                    of = mine.pop(int(rng.integers(len(mine))))
                    assert (await room.call("bl", "DELETE", f"/events/{of}"))[0] == 200
                    expected[name] += [f"DELETE {at}" for at in reports.pop(of)]
                case _:
                    pass
        for name, of in programs.items():
            names = {at for each in events[name] for at in reports[each]}
            finds.append((await found(room, f"programID={of}"), names))
        await asyncio.sleep(30)
        for name, of in programs.items():
            assert (await room.call("bl", "DELETE", f"/programs/{of}"))[0] == 200
            expected[name] += [f"DELETE {at}" for each in events[name] for at in reports[each]]
        await asyncio.sleep(30)

    play(scene, keep_ven=False, is_bound=False)
    assert {name: told(hook) for name, hook in hooks.items()} == expected
    assert all(expected.values()) and all(seen == names for seen, names in finds)


def test_a_report_whose_event_moved_to_another_program_moved_with_it() -> None:
    hook = Callback()

    async def scene(room: Room) -> None:
        first, second = await program(room, "first"), await program(room, "second")
        await subscribe(room, "bl", await hook.start(), ["REPORT"], programID=second)
        made = await event(room, first)
        await report(room, made["id"], "r")
        assert await found(room, f"programID={first}") == {"r"}
        status, _ = await room.call("bl", "PUT", f"/events/{made['id']}", {**made, "programID": second})
        assert status == 200
        assert await found(room, f"programID={first}") == set()
        assert await found(room, f"programID={second}&eventID={made['id']}") == {"r"}
        assert (await room.call("bl", "DELETE", f"/events/{made['id']}"))[0] == 200
        await asyncio.sleep(10)

    play(scene, keep_ven=False, is_bound=False)
    assert told(hook) == ["DELETE r"]
