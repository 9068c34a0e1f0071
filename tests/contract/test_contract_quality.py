"""Every adapter's quality table names tests that exist, for each tier up to the one that it claims."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = sorted((ROOT / "src").rglob("*.quality.toml"))
TIERS = ["works", "survives", "operable", "proved"]


def test_there_are_tables() -> None:
    assert {"modbus.quality.toml", "mqtt.quality.toml"} <= {table.name for table in TABLES}


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.name)
def test_a_table_proves_each_tier_up_to_its_own_by_tests_that_exist(table: Path) -> None:
    found = tomllib.loads(table.read_text())
    for tier in TIERS[: TIERS.index(found["tier"]) + 1]:
        assert found[tier], tier
        for line, nodes in found[tier].items():
            assert nodes, f"{tier}.{line}"
            for node in nodes:
                file, _, test = node.partition("::")
                text = (ROOT / file).read_text()
                assert re.search(rf"^def {re.escape(test.partition('[')[0])}\(", text, re.M), f"{tier}.{line}: {node}"
