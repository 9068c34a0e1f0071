"""What `why` of a folder says of devices that somebody else set by hand: no program controls them (R5)."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_why_parts import asked, play

from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsPlaced
from tieline.desk.packed import Packed
from tieline.node.operator import NodeOperator
from tieline.node.plain import finite
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.record import Recorder, state_at
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS, SECOND_NS, iso, parse_iso

MINUTES = 6
BY_HAND = range(2, 4)
"""The minutes in which the first battery's owner has it in LOCAL; the third never says a word of that."""
ALL = ("home-1", "home-2", "home-3", "pool-1", "feeder-1")
PROGRAM = "controlled by program (PROGRAM): 0 W"


def readings(node: Node, rows: list[int], point: str, values: list[float]) -> Readings:
    now = np.full(len(rows), node.clock.now_ns())
    codes, good = np.full(len(rows), code(point), np.uint16), np.zeros(len(rows), np.uint32)
    return Readings(np.array(rows, np.int32), codes, np.array(values), good, now, now, "meter")


def program(now_ns: int) -> Entry:
    rows, at = np.arange(3, dtype=np.int32), now_ns - SECOND_NS
    low, high, value = (Packed.of(np.full(3, watts)) for watts in (-np.inf, np.inf, 0.0))
    fact = ClaimsPlaced(
        "batch-1", "program", "program", "saver", int(Level.PROGRAM), 0, Quantity.P.value, ClaimKind.SET.value, "an event", 1, at, at,
        now_ns + 5 * HOUR_NS, Packed.of(rows), low, high, value,
    )  # fmt: skip
    return Entry("batch-1", fact, "program")


def story(tmp_path: Path, is_moved: bool = False, says_nothing: bool = False) -> dict[str, dict[str, object]]:
    """Return what the running desk told of each resource at each half minute, by the instant."""
    found = dict[str, dict[str, object]]()

    async def act(node: Node, operator: NodeOperator) -> None:
        wal, kept = Wal(tmp_path / "works" / "readings"), Recorder()
        node.start()
        await node.desk.commit([program(node.clock.now_ns())])
        for minute in range(MINUTES):
            told = [readings(node, [0, 1, 2], "power_w", [0.0, 0.0, 0.0])]
            told += [] if says_nothing else [readings(node, [0, 1], "is_local", [float(minute in BY_HAND), 0.0])]
            for one in told:
                node.desk.readings(one)
            wal.append(told)
            await node.desk.settle()
            await asyncio.sleep(30.0)
            now_ns = node.clock.now_ns()
            found[iso(now_ns)] = {name: told_of(node.state, node.journal, [], name, now_ns) for name in ALL}
            kept.keep(node.state, {}, {}, (), node.journal.last_seq, now_ns)
            await asyncio.sleep(30.0)
        for frame, at in zip(kept.frames, found, strict=True):
            then = state_at(node.state, node.journal, frame)
            found[at]["past"] = resource_view(then, {}, "home-1", {}, frame.at_ns).controls
        wal.close()
        if is_moved:
            Historian(tmp_path / "works" / "historian").compact(wal)

    play(tmp_path, act)
    return found


@pytest.mark.parametrize("is_moved", [False, True], ids=["log", "historian"])
def test_the_folder_tells_of_a_device_in_local_what_the_running_desk_told_at_each_instant(
    tmp_path: Path, is_moved: bool
) -> None:
    found = story(tmp_path, is_moved)
    assert len(found) == MINUTES
    for minute, (at, told) in enumerate(found.items()):
        for name in ALL:
            over_command = json.loads(asked(tmp_path, name, "--at", at, "--json"))
            live = {**told[name], "missing": [], "recorded_until": over_command["recorded_until"]}  # type: ignore[dict-item]
            assert finite(live) == over_command, (name, at)
        text = asked(tmp_path, "home-1", "--at", at)
        is_by_hand = minute in BY_HAND
        assert (PROGRAM in text) is not is_by_hand
        assert ("nobody controls it: it was set by somebody else (LOCAL)" in text) is is_by_hand
        assert (" (PROGRAM): held: the device is in LOCAL" in text) is is_by_hand
        assert ("somebody else set it" in str(told["past"])) is is_by_hand, "the same on the screen of then"
        assert ("1 are set by somebody else" in asked(tmp_path, "feeder-1", "--at", at)) is is_by_hand
        assert PROGRAM in asked(tmp_path, "home-3", "--at", at)


def test_devices_that_say_nothing_of_local_are_told_as_before(tmp_path: Path) -> None:
    for at in story(tmp_path, is_moved=True, says_nothing=True):
        text = asked(tmp_path, "home-1", "--at", at)
        assert PROGRAM in text and "LOCAL" not in text


def test_where_no_reading_of_then_is_kept_it_is_said_that_nobody_knows_who_was_in_local(tmp_path: Path) -> None:
    at = list(story(tmp_path))[BY_HAND[0]]
    for path in (tmp_path / "works" / "readings").glob("*.arrows"):
        path.unlink()
    says = "whether somebody else set it (LOCAL) is not known, as no reading of then is kept"
    text = asked(tmp_path, "home-1", "--at", at)
    assert f"  {says}: if nobody did, {PROGRAM}" in text
    assert f"  {PROGRAM}" not in text.splitlines()
    assert json.loads(asked(tmp_path, "home-1", "--at", at, "--json"))["in_local"] is None
    assert f"of each of them {says}" in asked(tmp_path, "feeder-1", "--at", at)
    # A folder that never had readings, as that of a story on virtual time, tells of no devices that anybody moves.
    shutil.rmtree(tmp_path / "works" / "readings")
    assert PROGRAM in asked(tmp_path, "home-1", "--at", at) and "LOCAL" not in asked(tmp_path, "home-1", "--at", at)


def test_a_hand_after_the_last_record_is_told_where_no_instant_is_asked_for(tmp_path: Path) -> None:
    """Nobody decides anything as a device is moved: the last record knows nothing of it."""
    at = list(story(tmp_path))[-1]
    assert PROGRAM in asked(tmp_path, "home-1")
    said_ns = np.array([parse_iso(at) + 20 * SECOND_NS])
    wal = Wal(tmp_path / "works" / "readings")
    codes, good = np.array([code("is_local")], np.uint16), np.zeros(1, np.uint32)
    wal.append([Readings(np.zeros(1, np.int32), codes, np.ones(1), good, said_ns, said_ns, "meter")])
    wal.close()
    text = asked(tmp_path, "home-1")
    assert "nobody controls it: it was set by somebody else (LOCAL)" in text and PROGRAM not in text
    assert "1 are set by somebody else" in asked(tmp_path, "feeder-1")
    assert PROGRAM in asked(tmp_path, "home-1", "--at", at), "at that instant nobody had"
