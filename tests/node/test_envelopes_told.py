"""What people are told of operating envelopes: by verbs, by `why`, by an alarm; and what a VEN keeps by itself."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from ven_stage import SECRET, START_NS, URL, Served, served, ven_folder

from tieline.desk.operating import EnvelopesView
from tieline.desk.screens import AskLimit
from tieline.grid.envelope_file import EnvelopeSet, Span
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.node.cli import main
from tieline.resource.claim import Refusal
from tieline.resource.setpoint import Bounds
from tieline.rim.http import HttpClient
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.site.plan import Hold, Owner
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, iso

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
home-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
home-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
"""
T0_NS = (START_NS // MINUTE_NS + 2) * MINUTE_NS
TEN_NS = 10 * MINUTE_NS


def sent(version: int, high_w: list[float], begins_ns: int = T0_NS, **what: Any) -> EnvelopeSet:
    """Return envelopes of both homes, ten minutes an interval."""
    edges_ns = [begins_ns + n * TEN_NS for n in range(len(high_w) + 1)]
    made = EnvelopeSet(
        "feeder-1", version, "robust, sum", iso(begins_ns), ("home-1", "home-2"),
        tuple(Span(iso(a), iso(b)) for a, b in pairwise(edges_ns)), ((-3e3, -3e3),) * len(high_w),
        tuple((each, each) for each in high_w),
    )  # fmt: skip
    return msgspec.structs.replace(made, **what)


def play(tmp_path: Path, act: Any) -> None:
    folder = ven_folder(tmp_path, TABLE, ["home-1", "home-2"])

    async def scene(loop: VirtualLoop) -> None:
        async with served(folder, loop) as stage:
            await act(stage)

    run_virtual(scene)


async def until_ns(stage: Served, at_ns: int) -> None:
    await asyncio.sleep(max(at_ns - stage.clock.now_ns(), 0) / SECOND_NS)


def own_alarms(stage: Served) -> list[str]:
    return [alarm.title for alarm in stage.reader.alarms() if "envelope" in alarm.title]


def test_an_alarm_says_that_envelopes_ran_out_and_a_newer_version_or_their_withdrawal_ends_it(tmp_path: Path) -> None:
    seen = list[list[str]]()

    async def act(stage: Served) -> None:
        async def look(at_ns: int) -> None:
            await until_ns(stage, at_ns)
            seen.append(own_alarms(stage))

        await stage.operator.take_envelopes(sent(1, [2e3]), "ada")
        await look(T0_NS + MINUTE_NS)
        await look(T0_NS + TEN_NS + MINUTE_NS)
        await stage.operator.take_envelopes(sent(2, [1e3], T0_NS + 2 * TEN_NS), "ada")
        await look(T0_NS + TEN_NS + 2 * MINUTE_NS)
        await look(T0_NS + 3 * TEN_NS + MINUTE_NS)
        assert await stage.operator.withdraw_envelopes("feeder-1", "ada")
        await look(T0_NS + 3 * TEN_NS + 2 * MINUTE_NS)

    play(tmp_path, act)
    over = "The operating envelopes of feeder-1 ended at {} (version {}, robust, sum)"
    ended = [[over.format(iso(T0_NS + TEN_NS), 1)], [over.format(iso(T0_NS + 3 * TEN_NS), 2)]]
    assert seen == [[], ended[0], [], ended[1], []]


@dataclass
class Battery:
    """It would give 5 kW at all times, within what it is held to."""

    power_w: float = 5_000.0

    def read(self) -> dict[str, float]:
        return {"power_w": self.power_w, "available_up_w": 5e3, "available_down_w": 5e3, "soc_frac": 0.8}

    def hold(self, hold: Hold, until_ns: int) -> None:
        wish_w = 5_000.0 if math.isnan(hold.target_w) else hold.target_w
        self.power_w = min(max(wish_w, hold.bounds.low_w), hold.bounds.high_w)


def test_a_ven_keeps_each_interval_of_its_envelope_though_its_server_is_gone_before_the_next_begins(
    tmp_path: Path,
) -> None:
    folder = ven_folder(tmp_path, TABLE, ["home-1", "home-2"])
    body, seen = Battery(), list[float]()

    async def scene(loop: VirtualLoop) -> None:
        async with HttpClient() as http:
            async with served(folder, loop) as stage:
                owner, how = Owner(Bounds(-5e3, 5e3)), VenSettings(URL, "home-1", "home-1", SECRET, poll_s=10.0)
                ven = Ven(how, body, owner, http, stage.clock, np.random.default_rng(1))
                running = asyncio.create_task(ven.run())
                await stage.operator.take_envelopes(sent(1, [2_000.0, 1_000.0, 3_000.0]), "ada")
                await until_ns(stage, T0_NS + MINUTE_NS)
                seen.append(body.power_w)
                clock = stage.clock
            for minute in (11, 21, 31):  # nobody serves any more
                await asyncio.sleep((T0_NS + minute * MINUTE_NS - clock.now_ns()) / SECOND_NS)
                seen.append(body.power_w)
            ven.stop()
            running.cancel()

    run_virtual(scene)
    assert seen[0] <= 2_000.0
    assert seen[1:] == [1_000.0, 3_000.0, 5_000.0]


def test_a_ven_s_envelope_stands_beside_each_command_that_comes_and_goes(tmp_path: Path) -> None:
    async def act(stage: Served) -> None:
        (link,) = stage.node.desk._links.values()
        assert isinstance(link, OpenAdrLink)
        book = link._vtn.book

        def told() -> list[str]:
            return sorted(event["eventName"].split()[0] for event in book.targeted("events", "home-1"))

        await stage.operator.take_envelopes(sent(1, [2_000.0, 1_000.0]), "ada")
        for high_w in (1_500.0, 800.0):
            ask = AskLimit(-2_000.0, high_w, 5, "a fault")
            assert not isinstance(await stage.operator.limit("home-1", ask, "bo"), Refusal)
            await asyncio.sleep(5.0)
            assert told() == ["dispatch", "envelope"]
        await stage.operator.withdraw_envelopes("feeder-1", "ada")
        await asyncio.sleep(5.0)
        assert told() == ["dispatch"]

    play(tmp_path, act)


def verb(*words: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.output) if not code else {"says": done.output}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return ven_folder(tmp_path, TABLE, ["home-1", "home-2"])


def written(tmp_path: Path, made: EnvelopeSet, **what: Any) -> str:
    path = tmp_path / "envelopes.json"
    path.write_text(json.dumps({**msgspec.to_builtins(made), **what}))
    return str(path)


def around_now(version: int, high_w: list[float]) -> EnvelopeSet:
    import time

    return sent(version, high_w, time.time_ns() // MINUTE_NS * MINUTE_NS)


def test_the_verbs_take_list_and_withdraw_and_why_names_feeder_method_version_and_interval(
    folder: Path, tmp_path: Path
) -> None:
    made, data = around_now(7, [2_000.0, 1_000.0]), ("--data", str(folder))
    taken = verb("envelopes", "take", written(tmp_path, made), "--by", "ada", *data)
    assert (taken["stands"], taken["version"], taken["in_force"], taken["by"]) == ("in force", 7, 2, "ada")
    assert verb("envelopes", "take", written(tmp_path, made), *data) == taken
    (limit,) = [one for one in verb("why", "home-1", *data)["limits"] if one["level"] == "ENVELOPE"]
    span = made.intervals[0]
    says = f"version 7 (robust, sum, made {made.made_at}), {span.start}/{span.end}"
    assert says in json.dumps(limit)
    assert "operating envelope of feeder-1 for home-1" in json.dumps(limit)
    assert [one["stands"] for one in verb("envelopes", "list", *data)["envelopes"]] == ["in force"]
    assert verb("envelopes", "withdraw", "feeder-1", *data)["stands"] == "withdrawn"
    assert not [one for one in verb("why", "home-1", *data)["limits"] if one["level"] == "ENVELOPE"]
    assert verb("replay", *data)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"low_w": [[0.0, float("nan")]]}, "low_w[0][1]"),
        ({"customers": ["home-1", "home-9"]}, "customers[1]"),
        ({"high_w": [[0.0, 10.0**13]]}, "high_w[0][1]"),
        ({"version": "7"}, "version"),
        ({"colour": "red"}, "colour"),
        ({"customers": 7}, "customers"),
    ],
)
def test_a_document_with_a_fault_is_refused_by_the_verb_with_its_place_and_nothing_is_kept(
    folder: Path, tmp_path: Path, what: dict[str, Any], says: str
) -> None:
    made = around_now(7, [2_000.0])
    said = verb("envelopes", "take", written(tmp_path, made, **what), "--data", str(folder), code=2)["says"]
    assert says in said
    assert verb("envelopes", "list", "--data", str(folder)) == {"envelopes": [], "missing": []}


def test_what_stands_is_seen_from_outside_at_each_moment_of_its_life(tmp_path: Path) -> None:
    stood = list[tuple[str, int, int | None]]()

    async def act(stage: Served) -> None:
        def note() -> None:
            (view,) = stage.reader.envelopes()
            assert isinstance(view, EnvelopesView)
            stood.append((view.stands, view.in_force, view.until_ns))

        made = sent(1, [2e3, 1e3])
        gap = (made.intervals[0], Span(iso(T0_NS + 2 * TEN_NS), iso(T0_NS + 2 * TEN_NS + HOUR_NS)))
        await stage.operator.take_envelopes(msgspec.structs.replace(made, intervals=gap), "ada")
        note()
        for at_ns in (T0_NS + 1, T0_NS + TEN_NS + 1, T0_NS + 2 * TEN_NS + 1, T0_NS + 2 * TEN_NS + HOUR_NS + 1):
            await until_ns(stage, at_ns + SECOND_NS)
            note()

    play(tmp_path, act)
    assert stood == [
        ("waits", 0, None), ("in force", 2, T0_NS + TEN_NS), ("between", 0, None),
        ("in force", 2, T0_NS + 2 * TEN_NS + HOUR_NS), ("ended", 0, None),
    ]  # fmt: skip
