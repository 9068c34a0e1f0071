"""The quality tables of the grid links name tests that are there."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("protocol", ["dnp3", "iso_web", "ews", "oasis"])
def test_every_line_of_the_table_names_a_test_that_exists(protocol: str) -> None:
    table = tomllib.loads((ROOT / "src/tieline/links/grid" / f"{protocol}.quality.toml").read_text())
    named = [node for tier in table.values() if isinstance(tier, dict) for nodes in tier.values() for node in nodes]
    assert named
    for node in named:
        file, _, test = node.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(), node
