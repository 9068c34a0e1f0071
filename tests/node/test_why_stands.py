"""A device that nobody controls any more, and whose last command stands, is not said to run by itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_why_parts
from msgspec import structs
from test_why_parts import START_NS, asked, play

from tieline.desk.ports import Ask, Granted
from tieline.desk.resource_views import ScadaSide
from tieline.node.operator import NodeOperator
from tieline.node.read_resource import in_control, resource_view
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.times import MINUTE_NS, iso


def ask(node: Node, value_w: float) -> Ask:
    now_ns = node.clock.now_ns()
    return Ask(
        "console", "operator", "test", Level.GRID_EMERGENCY, "home-1", Quantity.P, ClaimKind.SET, now_ns, now_ns,
        now_ns + 60 * MINUTE_NS, value=value_w, because="a test", people=("ann", "ben"),
    )  # fmt: skip


def draws(node: Node, power_w: float) -> None:
    row, now = np.array([node.state.fleet.row("home-1")], np.int32), np.array([node.clock.now_ns()])
    points, none = np.array([code("power_w")], np.uint16), np.zeros(1, np.uint32)
    node.desk.readings(Readings(row, points, np.array([power_w]), none, now, now, "meter"))


@pytest.mark.parametrize("is_pressed", [True, False])
def test_a_load_that_the_switch_keeps_off_is_said_to_go_on_as_it_was_told_and_until_when(
    tmp_path: Path, is_pressed: bool
) -> None:
    """It draws 3 kW uncalled and was told to stop: let go it would draw again, which leads away from its safe power."""
    over_api, on_screen, on_overview = [], [], dict[str, int]()

    async def act(node: Node, operator: NodeOperator) -> None:
        draws(node, -3_000.0)
        assert await node.desk.ask(ask(node, 0.0))
        await node.desk.settle()
        draws(node, 0.0)
        if is_pressed:
            assert await operator.kill(True, "ann") is None
        assert await node.desk.withdraw("console", "test", "home-1", Quantity.P, "frame:test")
        await node.desk.settle()
        now_ns = node.clock.now_ns()
        over_api.append(told_of(node.state, node.journal, [], "home-1", now_ns))
        over_api.append(told_of(node.state, node.journal, [], "pool-1", now_ns))
        on_screen.extend(resource_view(node.state, {}, name, {}, now_ns).controls for name in ("home-1", "pool-1"))
        on_overview.update(in_control(node.state, now_ns))

    play(tmp_path, act)
    device, group = asked(tmp_path, "home-1"), asked(tmp_path, "pool-1")
    until = iso(START_NS + 20 * MINUTE_NS)
    stands = f"its last command (0 W) stands until {until}: the kill switch holds back what lets it go"
    assert ("nobody controls it: it goes on as it was told last" in device) is is_pressed
    assert ("nobody controls it: it runs by itself" in device) is not is_pressed
    assert (stands in device) is is_pressed
    held = "2 run by themselves, 1 go on as they were told last" if is_pressed else "3 run by themselves, 0 opted out"
    assert held in group
    assert on_screen[0].startswith(
        f"Nobody commands it: its last command stands until {until}, as the kill switch holds back what lets it go"
        if is_pressed else
        "Nobody commands it: it runs freely"
    )  # fmt: skip
    assert ("of whom 1 go on as they were told last" in on_screen[1]) is is_pressed
    assert on_overview == ({"goes on as told last": 1, "runs freely": 2} if is_pressed else {"runs freely": 3})
    for told, name in zip(over_api, ("home-1", "pool-1"), strict=True):
        assert {**told, "missing": []} == json.loads(asked(tmp_path, name, "--json"))
    assert over_api[0]["stands_until"] == (until if is_pressed else None)


def test_a_device_that_a_limit_leaves_no_power_is_said_to_be_held_by_it_and_a_nought_has_no_sign(
    tmp_path: Path,
) -> None:
    on_overview = dict[str, int]()

    async def act(node: Node, _: NodeOperator) -> None:
        wish = structs.replace(
            ask(node, 0.0), source="dso", level=Level.ENVELOPE, kind=ClaimKind.LIMIT, value=0.0, low=-0.0, high=0.0,
            people=(),
        )  # fmt: skip
        assert isinstance(await node.desk.ask(wish), Granted)
        await node.desk.settle()
        on_overview.update(in_control(node.state, node.clock.now_ns()))

    play(tmp_path, act)
    device = asked(tmp_path, "home-1")
    assert "nobody names a power: it is held at 0 W by a limit by dso (ENVELOPE) since" in device
    assert "allowed: 0 W to 0 W" in device
    assert on_overview == {"held by a limit": 1, "runs freely": 2, "limited by operating envelope": 1}
    assert "2 run by themselves, 1 are held by a limit, 0 opted out" in asked(tmp_path, "pool-1")
    assert "-0 W" not in device
    assert "runs by itself" not in device
    assert "-0 W" not in asked(tmp_path, "pool-1")


def test_a_charger_that_goes_on_as_told_under_a_limit_that_holds_it_off_is_said_to_go_on_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own limit leaves it 1 kW, less than six amperes; its last command, to stop, stands behind the kill switch."""
    table = test_why_parts.TABLE.replace("home-1,battery,5000,5000,10000", "home-1,ev_charger,0,7000,40000")
    monkeypatch.setattr(test_why_parts, "TABLE", table)
    over_api, on_screen, on_overview = dict[str, Any](), list[str](), dict[str, int]()

    async def act(node: Node, operator: NodeOperator) -> None:
        draws(node, -6_000.0)
        assert await node.desk.ask(ask(node, 0.0))
        limit = {"source": "dso", "level": Level.ENVELOPE, "kind": ClaimKind.LIMIT, "people": ()}
        wish = structs.replace(ask(node, 0.0), value=0.0, low=-1_000.0, high=math.inf, **limit)
        assert isinstance(await node.desk.ask(wish), Granted)
        await node.desk.settle()
        draws(node, 0.0)
        assert await operator.kill(True, "ann") is None
        assert await node.desk.withdraw("console", "test", "home-1", Quantity.P, "frame:test")
        await node.desk.settle()
        now_ns = node.clock.now_ns()
        over_api.update(told_of(node.state, node.journal, [], "home-1", now_ns))
        on_screen.append(resource_view(node.state, {}, "home-1", {}, now_ns).controls)
        on_overview.update(in_control(node.state, now_ns))

    play(tmp_path, act)
    device, group = asked(tmp_path, "home-1"), asked(tmp_path, "pool-1")
    assert over_api["stands_until"] and over_api["share"]["off"]
    assert on_overview == {"goes on as told last": 1, "runs freely": 2, "limited by operating envelope": 1}
    assert "2 run by themselves, 1 go on as they were told last, 0 opted out" in group
    assert on_screen[0].startswith("Nobody commands it: its last command stands until")
    assert "it goes on as it was told last, within a limit by dso (ENVELOPE) since" in device
    assert "holds it off" not in device


def heats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the home's device be a water heater of 3 kW."""
    table = test_why_parts.TABLE.replace("home-1,battery,5000,5000,10000", "home-1,water_heater,0,3000,0")
    monkeypatch.setattr(test_why_parts, "TABLE", table)


async def hold_off(node: Node, low_w: float = -0.0) -> None:
    """Have a limit of a network operator's (W) hold a heater off that drew 3 kW, whole or not at all."""
    draws(node, -3_000.0)
    limit = {"source": "dso", "level": Level.ENVELOPE, "kind": ClaimKind.LIMIT, "people": ()}
    wish = structs.replace(ask(node, 0.0), value=low_w, low=low_w, high=math.inf, **limit)
    assert isinstance(await node.desk.ask(wish), Granted)
    await node.desk.settle()
    draws(node, 0.0)


@pytest.mark.parametrize("is_pressed", [True, False])
def test_a_heater_that_a_limit_held_off_and_the_switch_keeps_off_is_not_said_to_run_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_pressed: bool
) -> None:
    """Nobody named a power: a limit alone held it off, and is over."""
    heats(monkeypatch)
    over_api, on_screen, on_overview = dict[str, Any](), list[str](), dict[str, int]()

    async def act(node: Node, operator: NodeOperator) -> None:
        await hold_off(node)
        if is_pressed:
            assert await operator.kill(True, "ann") is None
        assert await node.desk.withdraw("dso", "test", "home-1", Quantity.P, "frame:test")
        await node.desk.settle()
        now_ns = node.clock.now_ns()
        over_api.update(told_of(node.state, node.journal, [], "home-1", now_ns))
        on_screen.append(resource_view(node.state, {}, "home-1", {}, now_ns).controls)
        on_overview.update(in_control(node.state, now_ns))

    play(tmp_path, act)
    device, group = asked(tmp_path, "home-1"), asked(tmp_path, "pool-1")
    until = iso(START_NS + 20 * MINUTE_NS)
    stands = f"its last command (a limit of 0 W) stands until {until}: the kill switch holds back what lets it go"
    assert ("nobody controls it: it goes on as it was told last" in device) is is_pressed
    assert ("nobody controls it: it runs by itself" in device) is not is_pressed
    assert (stands in device) is is_pressed
    assert on_screen[0].startswith("Nobody commands it: its last command stands until") is is_pressed
    assert ("2 run by themselves, 1 go on as they were told last" in group) is is_pressed
    assert on_overview == ({"goes on as told last": 1, "runs freely": 2} if is_pressed else {"runs freely": 3})
    assert {**over_api, "missing": []} == json.loads(asked(tmp_path, "home-1", "--json"))


def test_a_heater_whose_release_the_switch_held_back_at_the_last_hop_is_not_said_to_run_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was decided and on its way as the switch was pressed."""
    heats(monkeypatch)
    over_api, on_screen, on_overview = dict[str, Any](), list[str](), dict[str, int]()

    async def act(node: Node, operator: NodeOperator) -> None:
        await hold_off(node)
        assert await node.desk.withdraw("dso", "test", "home-1", Quantity.P, "frame:test")
        released = await node.desk.settle()
        assert released is not None
        assert await operator.kill(True, "ann") is None
        node.desk._bar(released, "link")
        await node.desk.flush()
        now_ns = node.clock.now_ns()
        over_api.update(told_of(node.state, node.journal, [], "home-1", now_ns))
        on_screen.append(resource_view(node.state, {}, "home-1", {}, now_ns).controls)
        on_overview.update(in_control(node.state, now_ns))

    play(tmp_path, act)
    device, group = asked(tmp_path, "home-1"), asked(tmp_path, "pool-1")
    holds = "it was let go and did not confirm that, so that it may hold what it was told before"
    assert f"nobody controls it: {holds}" in device and "runs by itself" not in device
    assert "its release waits: the kill switch holds back what lets it go" in device
    assert on_screen[0].startswith(f"Nobody commands it: {holds}")
    assert "2 run by themselves, 1 were let go and did not confirm it, 0 opted out" in group
    assert on_overview == {"let go without an answer": 1, "runs freely": 2}
    assert {**over_api, "missing": []} == json.loads(asked(tmp_path, "home-1", "--json"))


@pytest.mark.parametrize("is_called", [True, False])
@pytest.mark.parametrize(("low_w", "mode"), [(-0.0, "held by its limit"), (-1_000.0, "held off by its limit")])
def test_a_heater_that_a_limit_holds_off_is_held_by_it_also_once_its_owner_opted_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low_w: float, mode: str, is_called: bool
) -> None:
    """The limit of its network binds an owner, too: what the call named goes, what the limit leaves stays."""
    heats(monkeypatch)
    seen, on_screen = list[ScadaSide](), list[str]()

    async def act(node: Node, operator: NodeOperator) -> None:
        await hold_off(node, low_w)
        if is_called:
            assert isinstance(await node.desk.ask(structs.replace(ask(node, 0.0), level=Level.MARKET)), Granted)
            await node.desk.settle()
        assert not isinstance(await operator.opt("home-1", True, "ann"), Refusal)
        await node.desk.settle()
        now_ns = node.clock.now_ns()
        view = resource_view(node.state, {}, "home-1", {}, now_ns)
        seen.append(view.scada)
        on_screen.append(view.controls)
        seen.append(resource_view(node.state, {}, "pool-1", {}, now_ns).scada)

    play(tmp_path, act)
    home, pool = seen
    assert (home.mode, home.target_w, home.target_of) == (mode, 0.0, "its limit holds it there")
    assert on_screen[0].endswith("; its owner has opted out") and "runs freely" not in on_screen[0]
    assert pool.mode == "free running", "one of three is held"
    assert "nobody controls it: it runs by itself" not in (told := asked(tmp_path, "home-1"))
    assert ("it is held at 0 W by a limit by dso" in told) or ("holds it off" in told and "is by dso" in told), told
