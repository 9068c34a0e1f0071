"""What `why` says holds a device: its share of a limit and its turn, or that nothing reaches it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import test_why_parts
from test_why_parts import START_NS, asked, play

from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.plain import finite
from tieline.node.read_resource import in_control, resource_view
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.batch import CommandReports, Readings
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage
from tieline.resource.point import code
from tieline.store.series import Historian, Wal
from tieline.times import MINUTE_NS, iso, parse_iso

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
heater-1,water_heater,0,3000,0,feeder-1,site-1,pool-1
heater-2,water_heater,0,3000,0,feeder-1,site-2,pool-1
heater-3,water_heater,0,3000,0,feeder-1,site-3,pool-1
store-1,battery,5000,5000,10000,feeder-1,site-4,pool-1
store-2,battery,5000,5000,10000,feeder-1,site-5,pool-1
"""
LIMIT_W = -7_500.0
LOST_AT = 4
"""The minute from which the last store is not heard."""


def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, is_moved: bool = False) -> dict[str, object]:
    """Three heaters of 3 kW and two stores that charge, under a limit that has no room for all; a store is lost."""
    monkeypatch.setattr(test_why_parts, "TABLE", TABLE)
    found = dict[str, object]()

    async def act(node: Node, operator: NodeOperator) -> None:
        wal = Wal(tmp_path / "works" / "readings")
        node.start()
        last = node.state.commands
        for minute in range(minutes):
            rows = np.arange(5 if minute < LOST_AT else 4, dtype=np.int32)
            now = np.full(len(rows), node.clock.now_ns())
            cap_w = np.where(last.valid_until_ns[rows] > now, last.low_w[rows], -np.inf)
            power_w = np.maximum(np.where(rows < 3, -3_000.0, -2_500.0), cap_w)
            told = Readings(
                rows, np.full(len(rows), code("power_w"), np.uint16), power_w, np.zeros(len(rows), np.uint32), now, now,
                "meter",
            )  # fmt: skip
            node.desk.readings(told)
            wal.append([told])
            if minute == 1:
                said = await operator.limit("feeder-1", AskLimit(LIMIT_W, 1e6, 600, "a hot day"), "ann")
                assert not isinstance(said, Refusal), str(said)
                await node.desk.settle()
                batch = node.state.command_batches[int(last.batch[4])]
                taken = np.array([4], np.int32), np.array([Stage.DONE], np.uint8), np.array([node.clock.now_ns()])
                node.desk.reports(
                    CommandReports(batch, "modbus", *taken, np.zeros(1, np.uint8), np.full(1, np.nan), (), ())
                )
            await asyncio.sleep(60.0)
        now_ns = node.clock.now_ns()
        for name in ("heater-1", "heater-2", "heater-3", "store-1", "store-2", "feeder-1"):
            found[name] = told_of(node.state, node.journal, [], name, now_ns)
            found[f"screen {name}"] = resource_view(node.state, {}, name, {}, now_ns).controls
        found["overview"] = in_control(node.state, now_ns)
        found["at"] = iso(now_ns)
        wal.close()
        if is_moved:
            Historian(tmp_path / "works" / "historian").compact(wal)

    play(tmp_path, act)
    return found


def test_a_heater_that_its_share_of_a_limit_holds_off_is_said_to_wait_for_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = story(tmp_path, monkeypatch, 9)
    off = [name for name in ("heater-1", "heater-2", "heater-3") if found[name]["high_w"] == found[name]["low_w"] == 0]
    assert 0 < len(off) < 3, "as many are on as fit"
    for name in ("heater-1", "heater-2", "heater-3"):
        told, waits = asked(tmp_path, name), "its share of a limit on feeder-1 holds it off, and it waits for its turn"
        assert (waits in told) is (name in off)
        assert ("runs by itself" in told) is (name not in off)
        assert ("it waits for its turn" in str(found[f"screen {name}"])) is (name in off)
        assert found[name]["share"] is None or found[name]["share"]["waits_for_turn"] is (name in off)
    assert "by console (ENVELOPE) since 2023-11-14T22:14:20Z until 2023-11-15T08:14:20Z: a hot day" in asked(
        tmp_path, off[0]
    )
    assert "it runs by itself, within its share of a limit on feeder-1 by console" in asked(tmp_path, "store-1")
    # The overview counts each device as its own page has it; the limit leaves one power to whom it holds off.
    assert found["overview"] == {
        "held by a limit": len(off), "out of reach": 1, "runs freely": 4 - len(off), "limited by operating envelope": 5,
    }  # fmt: skip
    assert f"{5 - len(off)} run by themselves, {len(off)} are held off by a limit" in asked(tmp_path, "feeder-1")


@pytest.mark.parametrize("is_moved", [False, True])
@pytest.mark.parametrize(("minutes", "holds"), [(9, True), (26, False)])
def test_a_lost_store_is_said_to_be_out_of_reach_since_when_and_until_when_what_it_took_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, holds: bool, is_moved: bool
) -> None:
    """It took the limit's cap at 22:14:20 for twenty minutes, and was heard last at 22:16:20."""
    found = story(tmp_path, monkeypatch, minutes, is_moved)
    heard, until = iso(START_NS + (LOST_AT - 1) * MINUTE_NS), iso(START_NS + 21 * MINUTE_NS)
    told = asked(tmp_path, "store-2", "--at", str(found["at"]))
    assert "nobody controls it: it is out of reach, within its share of a limit on feeder-1 by console" in told
    assert f"out of reach: not heard since {heard}" in told
    took = "the last command that it took (power: none; limits: "
    assert took in told
    assert (f"holds until {until}" in told) is holds
    assert (f"ended at {until}: it goes by its own default, 0 W" in told) is not holds
    assert "runs by itself" not in told
    screen = str(found["screen store-2"])
    assert f"out of reach: not heard since {heard}, and what it took last " in screen
    assert "runs freely" not in screen
    assert "out of reach" not in asked(tmp_path, "store-1", "--at", str(found["at"]))
    for name in ("store-2", "heater-1", "feeder-1"):
        over_command = json.loads(asked(tmp_path, name, "--at", str(found["at"]), "--json"))
        ends = over_command["recorded_until"]  # the served desk knows until now, the files until their last record
        assert START_NS < parse_iso(ends) < parse_iso(str(found["at"]))
        assert finite({**found[name], "missing": [], "recorded_until": ends}) == over_command  # type: ignore[dict-item]


def test_what_was_never_heard_is_not_said_to_be_lost_nor_what_was_heard_at_the_instant_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story(tmp_path, monkeypatch, 9)
    before = iso(START_NS + 3 * MINUTE_NS + MINUTE_NS // 2)
    assert "out of reach" not in asked(tmp_path, "store-2", "--at", before)
    for path in (tmp_path / "works" / "readings").glob("*.arrows"):
        path.unlink()
    assert "out of reach" not in asked(tmp_path, "store-2")
