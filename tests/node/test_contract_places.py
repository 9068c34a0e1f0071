"""A device serves by the rules of where its contract says that it stands, in its pool, its events and its replay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from test_served_contracts import CONTRACTS

from tieline.desk.screens import ComposeEvent
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.rebuilt import law_in, state_of
from tieline.node.serve import node_of
from tieline.resource.claim import Refusal
from tieline.rim.supervise import Supervisor
from tieline.times import HOUR_NS

TABLE = """id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
plant-1,chp,natural_gas,500000,0,0,feeder-1,site-1,pool-1
plant-2,chp,natural_gas,500000,0,0,feeder-2,site-2,pool-1
"""


def served(base: Path, jurisdiction: str) -> tuple[list[bool], float, float, object]:
    """Return who may serve, what the pool can promise at the server and by a replay, and what an event is told."""
    folder, run = base / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (base / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(base / "devices.csv"), "--data", str(folder)]).exit_code == 0
    text = CONTRACTS.replace('"load-1"', '"plant-2"').replace('"US-TX"', f'"{jurisdiction}"')
    (folder / "contracts.toml").write_text(text)
    (folder / "tieline.toml").write_text(
        'jurisdiction = "US-TX"\n[contracts]\nfile = "contracts.toml"\nwithout = "serve"\n'
    )

    async def play() -> tuple[list[bool], float, float, object]:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None)
            operator = NodeOperator(node, NodeReader(node, Sources(), node.journal.reader()))
            now_ns = node.clock.now_ns()
            told = await operator.compose(ComposeEvent("peak-rebate", "feeder-2", now_ns, now_ns + HOUR_NS, 1e5), "ada")
            fleet = node.state.fleet
            again = state_of(fleet, law_in(folder, fleet), node.journal)
            rows = np.arange(2, dtype=np.int32)
            can = [state.ledger.capacities["pool-1"].up_w for state in (node.state, again)]
            return node.state.may_serve("energy", rows).tolist(), *can, told

    return asyncio.run(play())


def test_a_plant_whose_place_has_other_rules_is_no_member_and_the_refusal_names_rule_version_and_source(
    tmp_path: Path,
) -> None:
    may_serve, promised_w, replayed_w, told = served(tmp_path, "US-CA")
    assert may_serve == [True, False]
    assert promised_w == replayed_w == 500_000.0
    assert isinstance(told, Refusal)
    assert told.rule.startswith("us-ca-chp-fossil ")
    assert told.limit, "the source"


def test_a_plant_in_the_servers_own_jurisdiction_serves_as_before(tmp_path: Path) -> None:
    may_serve, promised_w, replayed_w, _ = served(tmp_path, "US-TX")
    assert may_serve == [True, True]
    assert promised_w == replayed_w == 1_000_000.0
