"""Who asks why a roof is cut while its feeder draws reads that loads count for nothing there, and where that is set."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_why_parts import asked, play

from tieline.console.done import Done, done_to_devices
from tieline.desk.ports import Granted
from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.times import SECOND_NS

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
roof,pv,5000,0,0,feeder-1,site-1,pool-1
plug,interruptible_load,0,8000,0,feeder-1,site-1,pool-1
"""
SETTING = "`loads` of [limits] in tieline.toml"
MAKES_NONE = f"what the loads of feeder-1 draw (6000 W now) makes no room beneath it, as they may stop: {SETTING} can have it count"


def told(
    tmp_path: Path,
    settings: str,
    high_w: float,
    group: str = "feeder-1",
    load_w: float = -6_000.0,
    low_w: float = -1e6,
    site_w: float | None = None,
    age_s: float = 0.0,
) -> dict[str, Any]:
    """What a limit is answered (`site_w`: beside one on the site of that low end; `age_s`: to readings so old), what `why` says of roof and feeder, the roof's page, and the feeder's limits."""
    found: dict[str, Any] = {}

    async def act(node: Node, operator: NodeOperator) -> None:
        fleet, now_ns = node.state.fleet, node.clock.now_ns()
        fleet.quality[:], fleet.taken_at_ns[:] = 0, now_ns - round(age_s * SECOND_NS)
        fleet.power_w[:] = np.where(fleet.max_inject_w > 0.0, 4_000.0, load_w)
        if site_w is not None:
            assert isinstance(
                await operator.limit("site-1", AskLimit(site_w, 4_500.0, 10, "a thin line"), "ann"), Granted
            )
        said = await operator.limit(group, AskLimit(low_w, high_w, 10, "a hot day"), "ann")
        assert isinstance(said, Granted), str(said)
        await node.cycle.beat(now_ns)  # brings limits together, before any device is told
        found["limit"] = said.loads
        for name, asked_of in (("roof", "roof"), ("feeder", "feeder-1")):
            limits = told_of(node.state, node.journal, [], asked_of, now_ns)["limits"]
            found[name] = [limit["loads"] for limit in limits if limit["on"] != "site-1"]
        found["page"] = resource_view(node.state, {}, "roof", {}, now_ns).controls
        reader = NodeReader(node, Sources(utility="w", setting="LIVE", zone="UTC"))
        found["screen"] = [one.loads for one in reader.feeder("feeder-1").asked]

    play(tmp_path, act, TABLE, settings)
    return found


def test_it_is_said_where_the_limit_is_asked_where_why_is_asked_and_on_the_pages(tmp_path: Path) -> None:
    found = told(tmp_path, "", 2_000.0)
    assert found["limit"] == MAKES_NONE and found["roof"] == [MAKES_NONE] and MAKES_NONE in found["page"]
    assert found["feeder"] == found["screen"] == ["may_stop"]
    says = asked(tmp_path, "roof")
    assert "what the loads of feeder-1 draw makes no room beneath it, as they may stop" in says and SETTING in says
    assert f"beneath its upper end loads count for nothing, as they may stop: {SETTING}" in asked(tmp_path, "feeder-1")


def test_nothing_of_it_is_said_where_loads_count_and_the_feeder_says_that_they_do(tmp_path: Path) -> None:
    found = told(tmp_path, '\n[limits]\nloads = "counted"\n', 2_000.0)
    assert found["limit"] == "" and found["roof"] == [""] and "makes no room" not in found["page"]
    assert found["feeder"] == found["screen"] == ["counted"]
    assert "makes no room" not in asked(tmp_path, "roof")
    assert f"beneath its upper end loads count at what they draw, by {SETTING}" in asked(tmp_path, "feeder-1")
    over_command = json.loads(asked(tmp_path, "feeder-1", "--json"))
    assert [limit["loads"] for limit in over_command["limits"]] == ["counted"]


@pytest.mark.parametrize(
    ("low_w", "site_w", "has_low"), [(-7e3, -1e6, True), (-1e6, -7.5e3, True), (-1e6, -1e6, False)]
)
def test_where_limits_share_devices_and_one_has_a_lower_end_it_is_said_that_loads_count_for_nothing(
    tmp_path: Path, low_w: float, site_w: float, has_low: bool
) -> None:
    """With upper ends alone they count beside another limit too."""
    found = told(tmp_path, '\n[limits]\nloads = "counted"\n', 2_000.0, low_w=low_w, site_w=site_w)
    shared = "makes no room beneath it, as it shares devices with another limit, and one has a lower end"
    assert found["limit"].endswith(shared) == has_low and found["roof"][0].endswith(shared) == has_low
    assert found["feeder"] == found["screen"] == ["shared" if has_low else "counted"]


@pytest.mark.parametrize("settings", ["", "\n[limits]\nsite_stale_s = 30\n"], ids=["as it comes", "by the settings"])
def test_of_a_site_whose_load_tells_too_rarely_it_is_said_who_counts_for_nothing_and_what_would_mend_it(
    tmp_path: Path, settings: str
) -> None:
    found = told(tmp_path, settings, 2_000.0, "site-1", age_s=20.0)
    site_setting = "`site_stale_s` of [limits] in tieline.toml"
    makes_none = (
        "the draw of plug (6000 W now) makes no room beneath it, as readings of that come more rarely than every 10 s "
        f"or are older: have it told more often, or raise {site_setting}"
    )
    assert found["limit"] == ("" if settings else makes_none)
    assert (makes_none in found["page"]) == (not settings)
    assert "makes no room" in asked(tmp_path, "roof") or settings
    says = f"beneath its upper end loads count at what they draw while they tell it often enough, else for nothing: {site_setting}"
    assert says in asked(tmp_path, "site-1")


@pytest.mark.parametrize(
    ("high_w", "group", "load_w"),
    [(4_500.0, "feeder-1", -6_000.0), (2_000.0, "feeder-1", 0.0), (2_000.0, "site-1", -6_000.0), (2_000.0, "roof", -6_000.0)],
    ids=["it cuts nobody", "no load draws", "on a site loads count", "on a device none is"],
)  # fmt: skip
def test_nothing_of_it_is_said_of_a_limit_that_cuts_nobody_for_it(
    tmp_path: Path, high_w: float, group: str, load_w: float
) -> None:
    assert told(tmp_path, "", high_w, group, load_w)["limit"] == ""


def test_the_answer_of_the_api_says_it_too() -> None:
    call = SimpleNamespace(desk=SimpleNamespace(reader=SimpleNamespace(shell=lambda: SimpleNamespace(is_killed=False))))
    assert done_to_devices(call, Granted("claim", 3, loads=MAKES_NONE)) == Done(True, "claim", 3, MAKES_NONE)
