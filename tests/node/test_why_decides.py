"""`why` names who decides a device's power where a limit holds it off what is asked, and of what ended what matters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_why_parts import START_NS, asked, play

from tieline.desk.ports import Ask, Granted
from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.node.why_words import tell
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.times import MINUTE_NS, SECOND_NS, iso


def call(node: Node, value_w: float) -> Ask:
    now_ns = node.clock.now_ns()
    return Ask(
        "program", "operator", "p", Level.PROGRAM, "home-1", Quantity.P, ClaimKind.SET, now_ns, now_ns,
        now_ns + 10 * MINUTE_NS, value=value_w, because="hot",
    )  # fmt: skip


@pytest.mark.parametrize(("low_w", "high_w", "held_w"), [(-5e3, -2_099.0, -2_099.0), (2_500.0, 5e3, 2_500.0)])
def test_a_call_that_a_limit_holds_at_another_power_is_told_as_asked_and_the_limit_as_who_decides(
    tmp_path: Path, low_w: float, high_w: float, held_w: float
) -> None:
    over_api, page = {}, []

    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await node.desk.ask(call(node, 1_993.0)), Granted)
        said = await operator.limit("home-1", AskLimit(low_w, high_w, 10, "a hot day"), "ann")
        assert not isinstance(said, Refusal), str(said)
        await node.desk.settle()
        over_api.update(told_of(node.state, node.journal, [], "home-1", node.clock.now_ns()))
        page.append(resource_view(node.state, {}, "home-1", {}, node.clock.now_ns()).controls)

    play(tmp_path, act)
    told, whole = asked(tmp_path, "home-1"), json.loads(asked(tmp_path, "home-1", "--json"))
    assert "  asked by program (PROGRAM): 1993 W\n  because of hot, since " in told
    assert f"  but held at {held_w:.0f} W by a limit by console (ENVELOPE) since " in told
    assert "controlled by" not in told
    assert (whole["asked_w"], whole["target_w"], whole["is_held"]) == (1_993.0, held_w, True)
    assert (over_api["asked_w"], over_api["is_held"]) == (1_993.0, True)
    assert page[0].startswith(
        f"Program event (level 8) by program asks for 2.0 kW; it is held at {held_w / 1e3:.1f} kW by "
    )


def test_a_call_within_its_limits_controls_its_device(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await node.desk.ask(call(node, 1_993.0)), Granted)
        said = await operator.limit("home-1", AskLimit(-3e3, 3e3, 10, "a hot day"), "ann")
        assert not isinstance(said, Refusal), str(said)
        await node.desk.settle()

    play(tmp_path, act)
    told, whole = asked(tmp_path, "home-1"), json.loads(asked(tmp_path, "home-1", "--json"))
    assert "controlled by program (PROGRAM): 1993 W" in told
    assert "held at" not in told
    assert (whole["asked_w"], whole["is_held"]) == (1_993.0, False)


def test_what_was_withdrawn_is_told_once_an_asker_and_the_rest_by_its_number(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        for at in range(7):
            for program in ("a", "b"):
                now_ns = node.clock.now_ns()
                ask = Ask(
                    "dso", "operator", program, Level.ENVELOPE, ("home-1", "feeder-1")[at % 2], Quantity.P,
                    ClaimKind.LIMIT, now_ns + at, now_ns, now_ns + 10 * MINUTE_NS, low=-1e3, high=1e3 + at,
                )  # fmt: skip
                assert isinstance(await node.desk.ask(ask), Granted)
                await node.desk.withdraw("dso", program, ask.resource, Quantity.P, "done")
        await node.desk.settle()

    play(tmp_path, act)
    told, whole = asked(tmp_path, "home-1"), json.loads(asked(tmp_path, "home-1", "--json"))
    assert len(whole["ended"]) == 4
    assert told.count("  ended at ") == 2, "of each asker the last"
    assert "  2 more ended in the last day: --json tells of each" in told


@pytest.mark.parametrize(("passed_s", "told"), [(299, 3), (301, 0)])
def test_of_what_ended_long_ago_the_number_alone_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], passed_s: int, told: int
) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        await node.desk.settle()

    play(tmp_path, act)
    answer = json.loads(asked(tmp_path, "home-1", "--json"))
    one = {
        "program": "p", "level": "ENVELOPE", "resource": "home-1", "kind": "limit", "quantity": "P", "because": "",
        "from": iso(START_NS - MINUTE_NS), "until": None, "ended": iso(START_NS), "lapsed": False,
        "why": "withdrawn", "record": "r",
    }  # fmt: skip
    answer |= {"ended": [{**one, "source": f"dso-{at}"} for at in range(9)], "at": iso(START_NS + passed_s * SECOND_NS)}
    tell(answer)
    said = capsys.readouterr().out
    assert said.count("  ended at ") == told
    assert f"  {9 - told} {'more ' if told else ''}ended in the last day" in said
    answer["ended"] = [{**one, "source": "dso", "lapsed": True}]
    tell(answer)
    assert "  lapsed at " in capsys.readouterr().out, "nobody withdrew it"
