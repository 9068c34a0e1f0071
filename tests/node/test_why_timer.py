"""Whom his own compressor's timer holds off: no limit is named for it, as nobody set one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_folder import folder_with
from test_own_way import START_NS, Wall

from tieline.node.config import load_config
from tieline.node.read_control import controls_of, group_controls
from tieline.node.read_resource import in_control
from tieline.node.read_runs import Runs, off_by_timer, runs_of
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.node.why_words import tell
from tieline.rim.supervise import Supervisor
from tieline.times import MINUTE_NS, iso

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
room-1,thermostat,0,2000,0,feeder-1,site-1,pool-1
room-2,thermostat,0,2000,0,feeder-1,site-2,pool-1
"""
UNTIL_NS = START_NS + 5 * MINUTE_NS


@pytest.fixture
def node(tmp_path: Path) -> Node:
    folder = folder_with(tmp_path, TABLE)
    made = node_of(folder, load_config(folder / "tieline.toml"), Supervisor(np.random.default_rng(1)), None, Wall())
    made.state.fleet.taken_at_ns[:], made.state.fleet.quality[:] = START_NS, 0
    off = np.zeros(1)
    made.state.claims.hold(np.zeros(1, np.int32), off, off, np.array([UNTIL_NS]))
    yield made
    made.journal.close()


def said(node: Node, resource: str, capsys: pytest.CaptureFixture[str]) -> str:
    tell({**told_of(node.state, node.journal, [], resource, START_NS), "missing": []})
    return capsys.readouterr().out


def test_why_says_that_a_timer_holds_it_off_and_no_limit(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    device, pool = said(node, "room-1", capsys), said(node, "pool-1", capsys)
    assert f"its own timer holds it off until {iso(UNTIL_NS)}" in device
    assert "1 run by themselves, 1 are held off by their own timers" in pool
    assert "by a limit" not in device + pool and "runs by itself" not in device


def test_the_overview_and_the_pages_say_the_same(node: Node) -> None:
    state, rows = node.state, np.arange(2, dtype=np.int32)
    settled = state.claims.arbitrate(START_NS, rows)
    assert runs_of(state, settled, START_NS).tolist() == [Runs.BY_TIMER, Runs.FREELY]
    assert off_by_timer(state, settled).tolist() == [True, False]
    assert in_control(state, START_NS) == {"runs freely": 1, "held off by its own timer": 1}
    assert "1 are held off by their own timers" in group_controls(state, rows, START_NS)
    one = controls_of(state, 0, None, state.claims.explain(0, START_NS), 0, START_NS)
    assert f"its own timer holds it off until {iso(UNTIL_NS)}" in one and "limit" not in one


def test_whom_somebody_else_set_is_told_so_and_not_to_go_on_as_told(node: Node) -> None:
    state, rows = node.state, np.arange(2, dtype=np.int32)
    state.claims.set_local(np.array([False, True]))
    state.commands.target_w[1], state.commands.valid_until_ns[1] = 0.0, UNTIL_NS
    settled = state.claims.arbitrate(START_NS, rows)
    assert runs_of(state, settled, START_NS).tolist() == [Runs.BY_TIMER, Runs.BY_HAND]
    assert "somebody else set it" in controls_of(state, 1, None, state.claims.explain(1, START_NS), 0, START_NS)
