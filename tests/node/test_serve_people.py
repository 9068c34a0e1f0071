"""A served folder knows the console's people without a word in its settings, and the settings overrule them."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tieline.bench.arbitrate import plain_fleet
from tieline.node.config import load_config
from tieline.node.operator import NodeOperator
from tieline.node.principals import principals_of
from tieline.node.reader import NodeReader, Sources
from tieline.node.serve import node_of
from tieline.resource.claim import Refusal
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.store import registry


def opted_out(folder: Path, settings: str) -> tuple[object, bool]:
    """Opt a battery out at a server with such settings; return the answer and whether it is out."""
    (folder / "tieline.toml").write_text(settings, encoding="utf-8")
    registry.save(plain_fleet(5), folder / "registry.bin")

    async def main() -> tuple[object, bool]:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None)
            operator = NodeOperator(node, NodeReader(node, Sources(), node.journal.reader()))
            answer = await operator.opt("battery-3", True, "ada")
            return answer, bool(node.state.opted_out[3])

    return asyncio.run(main())


def test_an_owner_opts_out_at_a_server_whose_settings_name_no_peer(tmp_path: Path) -> None:
    answer, is_out = opted_out(tmp_path, 'name = "u"\n')
    assert not isinstance(answer, Refusal)
    assert is_out


def test_a_peer_of_the_same_name_overrules_the_default(tmp_path: Path) -> None:
    answer, is_out = opted_out(tmp_path, '[[peers]]\nname = "owner"\nceiling = "PRICE"\n')
    assert isinstance(answer, Refusal)
    assert not is_out


@pytest.mark.parametrize(
    ("name", "ceiling"),
    [("owner", Level.OWNER_NEED), ("operator", Level.GRID_EMERGENCY), ("dispatcher", Level.UTILITY),
     ("program_manager", Level.PROGRAM)],
)  # fmt: skip
def test_each_of_the_consoles_people_has_a_ceiling_of_its_own(tmp_path: Path, name: str, ceiling: Level) -> None:
    (tmp_path / "tieline.toml").write_text('[[peers]]\nname = "dno"\nceiling = "ENVELOPE"\n', encoding="utf-8")
    found = principals_of(load_config(tmp_path / "tieline.toml"))
    assert (found[name].ceiling, found["dno"].ceiling) == (ceiling, Level.ENVELOPE)
