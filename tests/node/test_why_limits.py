"""`why` names every limit that stands on a device, each with its holder: those that a tighter one leaves no effect too."""

from __future__ import annotations

import json
from pathlib import Path

from msgspec import structs
from test_why_parts import asked, play

from tieline.desk.ports import Ask, Granted
from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator, beyond_rating
from tieline.node.plain import finite
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.store.importing import read_fleet
from tieline.times import MINUTE_NS


def limit_by(node: Node, source: str, low_w: float, high_w: float, level: Level = Level.ENVELOPE) -> Ask:
    now_ns = node.clock.now_ns()
    return Ask(
        source, "operator", source, level, "home-1", Quantity.P, ClaimKind.LIMIT, now_ns, now_ns, now_ns + 10 * MINUTE_NS,
        low=low_w, high=high_w, because=f"for {source}",
    )  # fmt: skip


def test_every_limit_on_a_device_is_listed_with_its_holder_and_what_leaves_it_no_effect(tmp_path: Path) -> None:
    found: dict[str, dict[str, object]] = {}

    async def act(node: Node, operator: NodeOperator) -> None:
        for source, low_w, high_w, level in (
            ("tight", -1_000.0, 112.0, Level.ENVELOPE), ("wide", -4_000.0, 900.0, Level.ENVELOPE),
            ("rated", -5_000.0, 5_000.0, Level.ENVELOPE), ("weaker", 300.0, 400.0, Level.UTILITY),
        ):  # fmt: skip
            assert isinstance(await node.desk.ask(limit_by(node, source, low_w, high_w, level)), Granted)
        said = await operator.limit("feeder-1", AskLimit(-3_000.0, 1e6, 10, "a hot day"), "ann")
        assert not isinstance(said, Refusal), str(said)
        await node.desk.settle()
        now_ns = node.clock.now_ns()
        found["api"] = told_of(node.state, node.journal, [], "home-1", now_ns)
        found["screen"] = structs.asdict(resource_view(node.state, {}, "home-1", {}, now_ns))

    play(tmp_path, act)
    over_command, told = json.loads(asked(tmp_path, "home-1", "--json")), asked(tmp_path, "home-1")
    assert over_command["limits"] == finite({"limits": found["api"]["limits"]})["limits"]
    why_of = {limit["by"]["source"]: limit["why"] for limit in over_command["limits"]}
    assert why_of == {
        "tight": "", "wide": "a tighter one holds", "console": "a tighter one holds",
        "rated": "the device can do no more", "weaker": "as near as a stronger one lets it come",
    }  # fmt: skip
    on_page = {view.id for view in found["screen"]["claims"] if view.kind == "limit"}  # type: ignore[attr-defined]
    assert {limit["claim"] for limit in over_command["limits"]} == on_page, "as the resource's page has it"
    assert "limit ENVELOPE: -4000 W to 900 W by wide (ENVELOPE)" in told and "for wide; a tighter one holds" in told
    assert " W to open (its share of a limit on feeder-1) by console (ENVELOPE)" in told
    assert "allowed: 112 W to 112 W" in told, "the weakest asks for more"
    assert all(limit["by"]["claim"] in over_command["chains"] for limit in over_command["limits"])


def test_a_device_that_takes_nothing_is_rated_from_zero(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text("id,kind,max_inject_w,max_absorb_w\npv-1,pv,6000,0\n")
    fleet = read_fleet(tmp_path / "devices.csv")
    words = (
        "it can't be met: pv-1 is rated for 0 to 6000 W, which is less than the {} W asked; {} W is as near as it comes"
    )
    for low_w, high_w, asked_w, nearest in ((7e3, 9e3, "7000 to 9000", "6000"), (-9e3, -7e3, "-9000 to -7000", "0")):
        assert beyond_rating(fleet, "pv-1", AskLimit(low_w, high_w, 10, "x")) == words.format(asked_w, nearest)


def test_a_limit_beyond_the_rating_of_what_it_is_on_is_taken_and_says_how_near_it_comes(tmp_path: Path) -> None:
    """Two batteries of 5 kW each way on the feeder: 9 kW can't be had of one of them, and can of both."""
    said: dict[tuple[str, float, float], str] = {}

    async def act(node: Node, operator: NodeOperator) -> None:
        for resource, low_w, high_w in (
            ("feeder-1", 9_000.0, 9_500.0), ("feeder-1", 10_500.0, 11_000.0), ("home-2", -9_500.0, -9_000.0),
            ("home-2", 5_000.0, 9_000.0), ("home-1", 9_000.0, 9_500.0),
        ):  # fmt: skip
            granted = await operator.limit(resource, AskLimit(low_w, high_w, 10, "a hot day"), "ann")
            assert isinstance(granted, Granted), str(granted)
            said[resource, low_w, high_w] = granted.unmet
        await operator.release("feeder-1", "ann")
        await node.desk.settle()

    play(tmp_path, act)
    assert list(said.values()) == [
        "",
        "it can't be met: feeder-1 is rated for -10000 to 10000 W, which is less than the 10500 to 11000 W asked; "
        "10000 W is as near as it comes",
        "it can't be met: home-2 is rated for -5000 to 5000 W, which is less than the -9500 to -9000 W asked; "
        "-5000 W is as near as it comes",
        "",
        "it can't be met: home-1 is rated for -5000 to 5000 W, which is less than the 9000 to 9500 W asked; "
        "5000 W is as near as it comes",
    ]
    limits = json.loads(asked(tmp_path, "home-1", "--json"))["limits"]
    assert [limit["why"] for limit in limits] == ["beyond the device's own rating: as near as that lets it come"]


def test_a_limit_beyond_the_rating_that_a_stronger_one_holds_off_yields_to_that(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        for source, low_w, high_w, level in (
            ("strong", -1_000.0, 112.0, Level.ENVELOPE), ("weak", 9_000.0, 9_500.0, Level.UTILITY),
        ):  # fmt: skip
            assert isinstance(await node.desk.ask(limit_by(node, source, low_w, high_w, level)), Granted)
        await node.desk.settle()

    play(tmp_path, act)
    limits = json.loads(asked(tmp_path, "home-1", "--json"))["limits"]
    assert {limit["by"]["source"]: limit["why"] for limit in limits} == {
        "strong": "", "weak": "as near as a stronger one lets it come",
    }  # fmt: skip


def test_a_limit_on_a_device_says_which_groups_limits_can_not_be_met_beside_it_in_either_order(tmp_path: Path) -> None:
    """It said nothing where it came last, and `why` named no contradiction."""
    said: list[str] = []

    async def act(node: Node, operator: NodeOperator) -> None:
        async def limit(resource: str, low_w: float, high_w: float) -> None:
            granted = await operator.limit(resource, AskLimit(low_w, high_w, 10, "a hot day"), "ann")
            assert isinstance(granted, Granted), str(granted)
            said.append(granted.unmet)

        await limit("feeder-1", -1e6, -6_000.0)
        await limit("site-1", -1e6, -500.0)
        await limit("home-1", -1_000.0, 2_000.0)
        await limit("home-1", 100.0, 2_000.0)
        strong = limit_by(node, "dso", -1e6, -4_000.0, Level.GRID_EMERGENCY)
        assert isinstance(await node.desk.ask(structs.replace(strong, resource="site-1")), Granted)
        await limit("home-1", 200.0, 2_000.0)
        await operator.release("home-1", "ann")
        await operator.release("feeder-1", "ann")
        await limit("home-1", 100.0, 2_000.0)
        await limit("feeder-1", -1e6, -6_000.0)
        await node.desk.settle()

    play(tmp_path, act)
    ends, none = "-1000000 to", ""
    feeder = f"of {ends} -6000 W on feeder-1 (console, ENVELOPE): -4900 W is as near as it comes"
    site = f"of {ends} -500 W on site-1 (console, ENVELOPE): 100 W is as near as it comes"
    assert said[:3] == [none, none, none]
    assert said[3].startswith("beside it can't be met the limit ") and feeder in said[3] and site in said[3]
    assert "GRID_EMERGENCY" not in said[4] and site.replace("100 W", "200 W") in said[4], "the stronger one holds"
    assert said[5] == f"beside it can't be met the limit {site}"
    barred = (
        f"it can't be met: limits of their own leave the devices of feeder-1 -4900 to 7000 W together, and {ends} "
        "-6000 W is asked; -4900 W is as near as it comes (limits on home-1)"
    )
    assert said[6] == barred
    for resource in ("home-1", "feeder-1"):
        limits = json.loads(asked(tmp_path, resource, "--json"))["limits"]
        told = {(limit["on"], limit["by"]["level"]): limit["unmet"] for limit in limits}
        assert told["feeder-1", "ENVELOPE"] == barred and barred in asked(tmp_path, resource)
        assert told["site-1", "ENVELOPE"].startswith("it can't be met: ") and not told["site-1", "GRID_EMERGENCY"]
    assert "beside it can't be met the limit " in asked(tmp_path, "home-1")


def test_a_groups_limit_beyond_its_rating_says_what_limits_of_their_own_leave_it_where_that_is_less(
    tmp_path: Path,
) -> None:
    said: list[str] = []

    async def act(node: Node, operator: NodeOperator) -> None:
        for resource, low_w, high_w in (("home-1", 1_000.0, 2_000.0), ("feeder-1", -12_000.0, -11_000.0)):
            granted = await operator.limit(resource, AskLimit(low_w, high_w, 10, "a hot day"), "ann")
            assert isinstance(granted, Granted), str(granted)
            said.append(granted.unmet)

    play(tmp_path, act)
    assert said == [
        "",
        "it can't be met: limits of their own leave the devices of feeder-1 -4000 to 7000 W together, and -12000 to "
        "-11000 W is asked; -4000 W is as near as it comes (limits on home-1)",
    ]
