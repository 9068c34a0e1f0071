"""An owner takes all that stands behind his site out with one word, and back in with one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
import test_why_parts
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_serve_trades import PASSWORD, running
from test_why_parts import asked, play

from tieline.desk.ports import Granted
from tieline.node.cli import main
from tieline.node.operator import NodeOperator
from tieline.node.plain import finite
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,owner,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,ann,pool-1
heater-1,water_heater,0,3000,0,feeder-1,site-1,ann,pool-1
car-1,ev_charger,0,7000,0,feeder-1,site-1,ann,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,ann,pool-1
battery-3,battery,5000,5000,10000,feeder-1,site-3,bob,pool-1
battery-4,battery,5000,5000,10000,feeder-1,site-3,eve,pool-1
"""
SITE_1 = ("battery-1", "heater-1", "car-1")


@pytest.fixture(autouse=True)
def homes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_why_parts, "TABLE", TABLE)


def outs(node: Node) -> set[str]:
    return {node.state.fleet.id_of(int(row)) for row in np.flatnonzero(node.state.opted_out)}


@given(steps=st.lists(st.tuples(st.sampled_from(["site-1", *SITE_1, "battery-2"]), st.booleans()), max_size=8))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_who_is_out_is_who_said_so_himself_or_whose_site_did_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool]]
) -> None:
    said: set[str] = set()
    new: list[str] = []
    kinds: list[str] = []

    async def act(node: Node, operator: NodeOperator) -> None:
        for resource, out in steps:
            answer = await operator.opt(resource, out, "ann")
            assert isinstance(answer, Refusal) is (not out and resource not in said), answer
            new.extend([resource] if out and resource not in said else [])
            assert not isinstance(answer, Granted) or bool(answer.stands) is (resource in said)
            said.add(resource) if out else said.discard(resource)
            wanted = {one for one in said if one != "site-1"} | (set(SITE_1) if "site-1" in said else set())
            assert outs(node) == wanted
            kinds[:] = [record.kind for record in node.journal.of_kind("AskGranted")]
        assert len(new) == len(kinds), "each word that says something new is one record"

    play(tmp_path_factory.mktemp("site"), act)


def test_a_site_is_out_with_one_record_that_why_tells_with_its_scope_and_its_devices_lead_back_to_it(
    tmp_path: Path,
) -> None:
    over_api = []

    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await operator.opt("site-1", True, "ann"), Granted)
        back = await operator.opt("heater-1", False, "ann")
        assert isinstance(back, Refusal) and (back.reason, back.holder) == ("its whole site is out", "site-1")
        over_api.append(told_of(node.state, node.journal, [], "heater-1", node.clock.now_ns()))

    play(tmp_path, act)
    told = asked(tmp_path, "heater-1")
    opted = "its owner has opted out of all of site-1 by owner:site-1 (OWNER_NEED) since 2023-11-14T22:13:20Z: "
    assert opted + "the owner opted out of all behind site-1 (ann)" in told
    assert finite({**over_api[0], "missing": []}) == json.loads(asked(tmp_path, "heater-1", "--json"))
    assert over_api[0]["gates"][0]["on"] == "site-1"
    assert "on 3 of them its owner has opted out by owner:site-1" in asked(tmp_path, "site-1")
    assert "opted out" not in asked(tmp_path, "battery-2").replace("0 opted out", "")


@pytest.mark.parametrize(
    ("resource", "reason", "holder"),
    [
        ("site-3", "its devices are several owners': each is out by himself", "bob, eve"),
        ("pool-1", "an owner's wish is of his device, not of a group", ""),
        ("feeder-1", "an owner's wish is of his device, not of a group", ""),
        ("site-9", "no such device", ""),
    ],
)
def test_what_is_no_place_of_one_owner_is_not_taken_out(
    tmp_path: Path, resource: str, reason: str, holder: str
) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        refused = await operator.opt(resource, True, "ann")
        assert isinstance(refused, Refusal) and (refused.reason, refused.holder) == (reason, holder)
        assert not node.state.opted_out.any() and not node.state.asks

    play(tmp_path, act)


def test_the_verbs_say_it_into_the_journal_of_a_folder_whose_server_is_stopped(tmp_path: Path) -> None:
    async def act(node: Node, _: NodeOperator) -> None:
        assert outs(node) == set()

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--data", str(tmp_path / "works"), "--json"])

    play(tmp_path, act)
    took = run("opt-out", "site-1", "--by", "ann")
    assert took.exit_code == 0, took.output
    assert json.loads(took.output)["out"] == list(SITE_1)
    assert "the owner opted out of all behind site-1 (ann)" in asked(tmp_path, "car-1")
    wrong = run("opt-in", "car-1")
    assert wrong.exit_code == 2 and "its whole site is out" in json.loads(wrong.stderr)["error"]
    back = run("opt-in", "site-1", "--by", "ann")
    assert json.loads(back.output)["out"] == []
    assert "the owner opted in (ann)" in asked(tmp_path, "car-1")
    again = run("opt-in", "site-1")
    assert again.exit_code == 2 and "a site that is out" in json.loads(again.stderr)["error"]


def test_over_the_api_an_owner_speaks_for_a_site_whose_devices_are_all_his_and_for_no_other(tmp_path: Path) -> None:
    folder, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0

    async def scene() -> None:
        async with (
            running("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as (url, secret),
            httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http,
        ):
            await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
            for name, scope, status in (("ann", SITE_1, 200), ("kid", SITE_1[:2], 403), ("bob", ("battery-3",), 403)):
                asks = {"name": name, "roles": ["owner"], "scope": list(scope)}
                invited = (await http.post("/accounts", json=asks)).json()
                async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as owner:
                    await owner.post("/enrol", json={"secret": invited["secret"], "password": PASSWORD})
                    for to in ("opt-out", "opt-in"):
                        said = await owner.post("/resources/site-1/" + to)
                        assert said.status_code == status, said.text
                        views = [(await http.get(f"/resources/{one}")).json() for one in SITE_1]
                        assert [view["market"]["opted_out"] for view in views] == [
                            status == 200 and to == "opt-out"
                        ] * 3
                    assert (await owner.post("/resources/site-1/owner-release")).status_code in (403, 409)
                    assert (await owner.get("/resources/site-1")).status_code == 403

    asyncio.run(scene())


def test_an_opt_out_said_again_is_answered_as_done_and_places_nothing_also_where_both_come_at_once(
    tmp_path: Path,
) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        first, second = await asyncio.gather(*(operator.opt("battery-1", True, "ann") for _ in range(2)))
        assert isinstance(first, Granted) and isinstance(second, Granted)
        seq, revision = node.journal.last_seq, node.state.revision
        third = await operator.opt("battery-1", True, "ann")
        assert isinstance(third, Granted)
        assert first.claim == second.claim == third.claim and first.stands == ""
        assert (
            second.stands == third.stands == ("it is out since 2023-11-14T22:13:20Z already: the owner opted out (ann)")
        )
        assert (node.journal.last_seq, node.state.revision) == (seq, revision)
        assert len(list(node.journal.of_kind("AskGranted"))) == len(list(node.journal.of_kind("ClaimsPlaced"))) == 1
        assert await operator.opt("battery-1", False, "ann") is None
        again = await operator.opt("battery-1", True, "ann")
        assert isinstance(again, Granted) and again.claim != first.claim and again.stands == ""

    play(tmp_path, act)


def test_the_verb_says_an_opt_out_again_without_a_second_record(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await operator.opt("heater-1", True, "ann"), Granted)

    play(tmp_path, act)
    words = ["opt-out", "heater-1", "--by", "ann", "--data", str(tmp_path / "works"), "--json"]
    count = ["sql", "SELECT count(*) AS n FROM record", "--data", str(tmp_path / "works"), "--json"]
    before = CliRunner().invoke(main, count).stdout
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "it is out since" in json.loads(done.stdout)["says"]
    assert CliRunner().invoke(main, count).stdout == before
