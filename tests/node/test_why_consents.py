"""`why` of a device leads to what its owner said of its contract, also where that took only some products away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_why_parts import asked, play

from tieline.desk.ports import Ask, Granted
from tieline.node.config import load_config
from tieline.node.contracting import agreements_of, bind
from tieline.node.operator import NodeOperator
from tieline.node.plain import finite
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS

CONTRACTS = """
party = [{ id = "u", roles = ["utility", "retailer"] }, { id = "ann", roles = ["owner", "customer"] }]
[[location]]
id = "site-1"
customer = "ann"
utility = "u"
retailer = "u"
account = "A-1"
meter = "M-1"
jurisdiction = "US-TX"
[[contract]]
id = "ann-2023"
owner = "ann"
manager = "u"
locations = ["site-1"]
termination = { notice_days = 30 }
[[contract.terms]]
version = 1
effective_from = EFFECTIVE
products = ["energy", "demand_response"]
currency = "USD"
owner_share_frac = 0.8
[[contract.consents]]
products = ["energy", "demand_response"]
granted_at = 2023-01-01T00:00:00Z
evidence_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""


def under_contract(node: Node, folder: Path, without: str = "serve", effective: str = "2023-01-01T00:00:00Z") -> None:
    """Give a folder the contract of its first device, and the desk that runs there as well."""
    (folder / "contracts.toml").write_text(CONTRACTS.replace("EFFECTIVE", effective), encoding="utf-8")
    settings = folder / "tieline.toml"
    table = f'\n[contracts]\nfile = "contracts.toml"\nwithout = "{without}"\n'
    settings.write_text(settings.read_text(encoding="utf-8") + table, encoding="utf-8")
    bind(node.state, agreements_of(load_config(settings), folder, node.state.fleet), node.clock.now_ns())


@pytest.mark.parametrize("is_called", [True, False])
def test_a_product_that_is_taken_back_is_in_the_chain_and_what_was_called_under_it_among_what_ended(
    tmp_path: Path, is_called: bool
) -> None:
    over_api = []

    async def act(node: Node, operator: NodeOperator) -> None:
        under_contract(node, tmp_path / "works")
        now_ns = node.clock.now_ns()
        wish = Ask(
            "console", "operator", "peak", Level.PROGRAM, "home-1", Quantity.P, ClaimKind.SET, now_ns, now_ns,
            now_ns + HOUR_NS, value=1_000.0, because="a hot hour", people=("ann", "ben"),
        )  # fmt: skip
        if is_called:
            assert isinstance(await node.desk.ask(wish), Granted)
        assert await operator.consent("ann-2023", ("demand_response",), None, "ann", "too warm") is None
        await node.desk.settle()
        over_api.append(told_of(node.state, node.journal, [], "home-1", node.clock.now_ns()))

    play(tmp_path, act)
    told, answer = asked(tmp_path, "home-1"), json.loads(asked(tmp_path, "home-1", "--json"))
    assert finite({**over_api[0], "missing": []}) == answer
    assert "consent taken back for demand_response at 2023-11-14T22:13:20Z by ann: too warm" in told
    said = answer["contracts"][0]["said"]["record"]
    assert [step["id"] for step in answer["chains"][said]] == [said]
    assert f"<- 2023-11-14T22:13:20Z ConsentChanged {said}" in told
    if not is_called:
        assert answer["ended"] == []
        return
    (ended,) = answer["ended"]
    assert (ended["source"], ended["level"], ended["kind"]) == ("console", "PROGRAM", "set")
    assert (ended["because"], ended["why"]) == ("a hot hour", "set aside by contract ann-2023")
    assert "ended at 2023-11-14T22:13:20Z: set aside by contract ann-2023: set granted to console" in told
    kinds = [step["kind"] for step in answer["chains"][ended["record"]]]
    assert "ConsentChanged" in kinds and "AskGranted" in kinds and kinds[-1] == "ClaimsEnded"
    later = asked(tmp_path, "home-2", "--json")
    assert json.loads(later)["ended"] == [], "another device's is not told"


@pytest.mark.parametrize("without", ["refuse", "serve"])
def test_of_a_device_that_no_contract_covers_is_said_that_this_is_why_nobody_calls_it(
    tmp_path: Path, without: str
) -> None:
    screens = []

    async def act(node: Node, _: NodeOperator) -> None:
        under_contract(node, tmp_path / "works", without)
        now_ns = node.clock.now_ns()
        screens.extend(resource_view(node.state, {}, name, {}, now_ns).controls for name in ("home-1", "home-2"))

    play(tmp_path, act)
    says = 'no contract covers it ([contracts] without = "refuse"): markets and programs don\'t call it'
    assert (says in asked(tmp_path, "home-2")) is (without == "refuse")
    assert json.loads(asked(tmp_path, "home-2", "--json"))["not_covered"] == (says if without == "refuse" else None)
    assert says not in asked(tmp_path, "home-1")
    assert [says in screen for screen in screens] == [False, without == "refuse"]
