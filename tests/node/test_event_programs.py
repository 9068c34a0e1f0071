"""An event is called under a program that the folder knows: a name with a slip in it is refused with those it knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_served_contracts import CONTRACTS

from tieline.desk.event_views import EventView
from tieline.desk.screens import ComposeEvent
from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.serve import node_of
from tieline.resource.claim import Refusal
from tieline.rim.supervise import Supervisor
from tieline.times import HOUR_NS, MINUTE_NS

TABLE = "id,kind,pool,max_inject_w,max_absorb_w\nload-1,interruptible_load,pool-1,0,5000\n"
CONTRACTED = '[contracts]\nfile = "contracts.toml"\nwithout = "serve"\n'
SAMPLES = ("battery-export", "cycling-half", "hourly-price", "peak-rebate")
NAMED = 'event_programs = ["Peak relief"]\n'


def composed(base: Path, settings: str, program: str) -> tuple[list[str], list[object]]:
    """Return which programs a folder knows, and what a preview and a composition under one are answered."""
    folder, run = base / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (base / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(base / "devices.csv"), "--data", str(folder)]).exit_code == 0
    (folder / "contracts.toml").write_text(CONTRACTS)
    (folder / "tieline.toml").write_text(settings)

    async def play() -> tuple[list[str], list[object]]:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None)
            reader = NodeReader(node, Sources(), node.journal.reader())
            operator, now_ns = NodeOperator(node, reader), node.clock.now_ns()
            wish = ComposeEvent(program, "pool-1", now_ns + MINUTE_NS, now_ns + HOUR_NS, 1e3)
            return [one.program for one in operator.programs()], [
                reader.preview(wish),
                await operator.compose(wish, "ada"),
            ]

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("settings", "known"),
    [("", ("demand_response",)), (NAMED, ("Peak relief", "demand_response")), (NAMED + CONTRACTED, SAMPLES)],
)
@pytest.mark.parametrize("slip", ["nope", "demand_respons", "peak relief", "energy"])
def test_an_event_of_a_program_that_nobody_knows_is_refused_with_those_that_are_known(
    tmp_path: Path, settings: str, known: tuple[str, ...], slip: str
) -> None:
    programs, answers = composed(tmp_path, settings, slip)
    assert set(known) <= set(programs)
    assert answers == [Refusal("no such program", "program", slip, f"one of {', '.join(programs)}",
                               rule="event_programs")] * 2  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "program"), [("", "demand_response"), (NAMED, "Peak relief"), (NAMED, " Peak relief ")]
)
def test_an_event_is_composed_under_demand_response_and_a_named_program(
    tmp_path: Path, settings: str, program: str
) -> None:
    _, (_, event) = composed(tmp_path, settings, program)
    assert isinstance(event, EventView), event
    assert event.program == program.strip()


def test_an_event_under_a_program_of_the_contracts_is_held_to_that_program_alone(tmp_path: Path) -> None:
    _, (_, answer) = composed(tmp_path, CONTRACTED, "cycling-half")
    assert not isinstance(answer, Refusal) or answer.rule == "cycling-half 2026.1"


def test_an_event_composed_before_its_program_was_taken_out_of_the_settings_is_not_submitted(tmp_path: Path) -> None:
    _, (_, event) = composed(tmp_path, NAMED, "Peak relief")
    folder = tmp_path / "works"
    (folder / "tieline.toml").write_text("")

    async def submit() -> EventView | Refusal:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None)
            operator = NodeOperator(node, NodeReader(node, Sources(), node.journal.reader()))
            return await operator.advance(event.id, "Submitted", "ada")

    refusal = asyncio.run(submit())
    assert isinstance(refusal, Refusal)
    assert (refusal.field, refusal.value, refusal.limit) == ("program", "Peak relief", "one of demand_response")


@pytest.mark.parametrize("name", ["", " x", "x ", "x" * 81, "two\\nlines"])
def test_a_program_that_no_event_could_name_is_refused_in_the_settings(tmp_path: Path, name: str) -> None:
    (tmp_path / "tieline.toml").write_text(f'event_programs = ["fine", "{name}"]\n')
    with pytest.raises(ConfigError, match=r"\$\.event_programs\[1\]: give 1 to 80 printable"):
        load_config(tmp_path / "tieline.toml")
