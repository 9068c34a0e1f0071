"""What a demonstration can't be is said whole, before anything heavy is loaded."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tieline.node.asked import SCENARIO_NAMES
from tieline.node.cli import main
from tieline.node.stage import SCENARIOS

BAD = [
    "demo", "--headless", "--wire", "--speed", "1000", "--scenario", "nope", "--devices", "3", "--for", "1x",
    "--iso", "nord",
]  # fmt: skip


def test_all_that_is_wrong_is_said_at_once_each_with_field_value_and_limit() -> None:
    done = CliRunner().invoke(main, [*BAD, "--json"])
    assert done.exit_code == 2
    faults = json.loads(done.stderr)["faults"]
    assert [(fault["field"], fault["value"]) for fault in faults] == [
        ("--devices", "3"), ("scenario", "nope"), ("--iso", "nord"), ("--for", "1x"), ("--speed", "1000")
    ]  # fmt: skip
    assert all(fault["limit"] for fault in faults)


def test_a_refusal_loads_neither_the_world_nor_a_database() -> None:
    run = f"import sys; from tieline.node.cli import main; main({BAD!r}, standalone_mode=False)"
    look = f"{run}; print(sorted({{'pyarrow', 'sqlalchemy', 'duckdb', 'tieline.node.stage'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60)
    assert "--speed 1000" in done.stderr
    assert done.stdout == "[]\n", done.stderr


def test_the_names_that_are_checked_are_those_of_the_scenarios() -> None:
    assert set(SCENARIOS) == set(SCENARIO_NAMES)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--headless", "--devices", "5000000"], "--devices 5000000: give 1000000 at most"),
        (["--devices", "1000001"], "--devices 1000001: give 1000000 at most"),
        (["--headless", "--wire", "--devices", "5001"], "--devices 5001: give 5000 at most with --wire"),
    ],
)
def test_more_devices_than_were_ever_played_are_refused_with_the_limit(how: list[str], says: str) -> None:
    done = CliRunner().invoke(main, ["demo", *how])
    assert done.exit_code == 2
    assert says in done.stderr
