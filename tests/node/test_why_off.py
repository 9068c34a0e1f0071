"""What `why` says of loads that are on or off alone as their link tells it: held off by limits, in turn or for good."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import test_why_parts
from click.testing import CliRunner
from test_why_parts import asked, play

from tieline.desk.screens import AskLimit
from tieline.node.cli import main
from tieline.node.left_out import LeftOut
from tieline.node.operator import NodeOperator
from tieline.node.plain import finite
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.claim import Refusal
from tieline.resource.point import code

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
plug-1,interruptible_load,0,2000,0,feeder-1,site-1,pool-1
plug-2,interruptible_load,0,2000,0,feeder-1,site-2,pool-1
store-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
"""
LINK = """
[[links.mqtt]]
host = "127.0.0.1"
port = 18830
"""
IN_LINE = """[links.mqtt.devices]
plug-1 = { device = "plug-1", profile = "plug" }
plug-2 = { device = "plug-2", profile = "plug" }
"""
UNITS = "id,device,profile\nplug-1,plug-1,plug\nplug-2,plug-2,plug\n"
ALL = ("plug-1", "plug-2", "store-1", "site-1", "feeder-1", "pool-1")


def story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], link: str = IN_LINE
) -> dict[str, dict[str, object]]:
    """Two plugs of 2 kW that draw, and a store at rest, under limits (W) that come one after the other."""
    monkeypatch.setattr(test_why_parts, "TABLE", TABLE)
    found = dict[str, dict[str, object]]()

    async def act(node: Node, operator: NodeOperator) -> None:
        folder, rows = tmp_path / "works", np.arange(3, dtype=np.int32)
        with (folder / "tieline.toml").open("a") as settings:
            settings.write(LINK + link)
        (folder / "plugs.csv").write_text(UNITS)
        # What a server binds of those settings, without the broker.
        plugs = LeftOut("mqtt", "mqtt", "no broker here", node.desk, node.clock, frozenset({0, 1}))
        node.desk.bind(plugs, "mqtt", {0: "plug-1", 1: "plug-2"})
        node.start()
        for minute in range(3):
            last, now = node.state.commands, np.full(3, node.clock.now_ns())
            cap_w = np.where(last.valid_until_ns[rows] > now, last.low_w[rows], -np.inf)
            power_w = np.where(cap_w > -1_000.0, 0.0, np.array([-2_000.0, -2_000.0, 0.0]))
            points, none = np.full(3, code("power_w"), np.uint16), np.zeros(3, np.uint32)
            node.desk.readings(Readings(rows, points, power_w, none, now, now, "meter"))
            for name, low_w in limits.items() if minute == 0 else ():
                said = await operator.limit(name, AskLimit(low_w, 1e6, 600, f"works on {name}"), "ann")
                assert not isinstance(said, Refusal), str(said)
            await asyncio.sleep(60.0)
        now_ns = node.clock.now_ns()
        assert await operator.kill(True, "ann") is None  # the last record stands at this instant
        for name in ALL:
            found[name] = told_of(node.state, node.journal, [], name, now_ns)
            if name.startswith("plug"):
                found[f"screen {name}"] = {"controls": resource_view(node.state, {}, name, {}, now_ns).controls}

    play(tmp_path, act)
    return found


@pytest.mark.parametrize("link", [IN_LINE, 'table = "plugs.csv"\n'])
def test_the_files_say_what_the_server_says_of_loads_that_are_on_or_off_as_their_link_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    found = story(tmp_path, monkeypatch, {"feeder-1": -2_500.0}, link)
    for name in ALL:
        assert json.loads(asked(tmp_path, name, "--json")) == finite({**found[name], "missing": []})
    off = [name for name in ("plug-1", "plug-2") if found[name]["high_w"] == found[name]["low_w"]]
    assert len(off) == 1, "one of two fits"
    told = asked(tmp_path, off[0])
    assert "its share of a limit on feeder-1 holds it off, and it waits for its turn\n" in told
    assert "    the limit on feeder-1 is by console (ENVELOPE) since" in told and "runs by itself" not in told
    assert "1 are held off by a limit" in asked(tmp_path, "feeder-1")
    assert "waits for its turn" in str(found[f"screen {off[0]}"])


def test_a_load_that_a_limit_has_no_room_for_is_not_said_to_wait_for_its_turn_and_each_limit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = story(tmp_path, monkeypatch, {"feeder-1": -2_500.0, "site-1": -500.0, "site-2": -1_990.0})
    for name in ALL:
        assert json.loads(asked(tmp_path, name, "--json")) == finite({**found[name], "missing": []})
    told, never = asked(tmp_path, "plug-1"), "no turn can come: it runs on 2000 W or not at all"
    assert f"hold it off, and {never}, and the limit on site-1 leaves 500 W but for what others there give" in told
    for name in ("feeder-1", "site-1"):
        assert f"    the limit on {name} is by console (ENVELOPE) since" in told
        assert name in str(found["screen plug-1"])
    assert "waits for its turn" not in told + str(found["screen plug-1"])
    assert f"{never}, and the limit on site-2 leaves 1990 W\n" in asked(tmp_path, "plug-2"), "nobody else is there"


def test_a_load_that_its_own_limit_holds_off_is_not_said_to_run_nor_to_wait_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = story(tmp_path, monkeypatch, {"plug-1": -500.0})
    told = asked(tmp_path, "plug-1")
    assert "nobody names a power: a limit of its own holds it off: it runs on 2000 W or not at all\n" in told
    assert "    the limit on plug-1 is by console (ENVELOPE) since" in told
    assert "runs by itself" not in told and "turn" not in told
    on_screen = str(found["screen plug-1"])
    assert "Nobody commands it, and it may not run" in on_screen and "runs freely" not in on_screen


def test_a_table_that_cannot_be_read_is_told_as_what_the_answer_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story(tmp_path, monkeypatch, {"feeder-1": -2_500.0}, 'table = "plugs.csv"\n')
    (tmp_path / "works" / "plugs.csv").unlink()
    done = CliRunner().invoke(main, ["why", "plug-1", "--data", str(tmp_path / "works"), "--json"])
    (lack,) = json.loads(done.stdout)["missing"]
    assert done.exit_code == 1
    assert "plugs.csv" in lack and "of its devices it is not known which are on or off alone" in lack
