"""The fleet grid's cell of a device and its own page say one thing of its command."""

from __future__ import annotations

import numpy as np
import pytest

from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KINDS
from tieline.fleet.ledger import Ledger
from tieline.node.read_fleet import FAILED, NORMAL, states
from tieline.node.read_resource import resource_view
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.simulate.territory import build
from tieline.times import HOUR_NS, MINUTE_NS

NOW = 1_700_000_000 * 10**9
FLEET = build(120, np.random.default_rng(1)).fleet
ROW = next(row for row in range(len(FLEET)) if KINDS[FLEET.kinds[row]] is Kind.INTERRUPTIBLE_LOAD)


def told_to_stop(stage: Stage, power_w: float, read_ns: int) -> tuple[int, tuple[bool, ...]]:
    """Return the cell, and what its page has of the command, of a load that was told to stop ten minutes ago.

    Its command came to the stage four minutes ago; its meter told the power at `read_ns`.
    """
    state = DeskState.empty(FLEET, ClaimBook(FLEET), Ledger())
    commands = state.commands
    state.command_batches.append("command:1")
    commands.batch[ROW], commands.stage[ROW] = 0, int(stage)
    commands.target_w[ROW], commands.low_w[ROW], commands.high_w[ROW] = 0.0, -FLEET.max_absorb_w[ROW], 0.0
    commands.since_ns[ROW], commands.at_ns[ROW] = NOW - 10 * MINUTE_NS, NOW - 4 * MINUTE_NS
    commands.valid_until_ns[ROW] = NOW + HOUR_NS
    FLEET.quality[:], FLEET.power_w[ROW], FLEET.taken_at_ns[:] = 0, power_w, read_ns
    view = resource_view(state, {}, FLEET.id_of(ROW), {}, NOW)
    assert view.command is not None
    return int(states(state, {}, NOW)[ROW]), view.command.reached


def test_a_command_whose_answer_never_came_is_no_failure_once_the_meter_shows_it() -> None:
    assert told_to_stop(Stage.UNCONFIRMED, 0.0, NOW) == (NORMAL, (True,) * 5)


@pytest.mark.parametrize(
    ("stage", "power_w", "read_ns"),
    [
        (Stage.UNCONFIRMED, -float(FLEET.max_absorb_w[ROW]), NOW),  # it runs on
        (Stage.UNCONFIRMED, 0.0, NOW - 5 * MINUTE_NS),  # a reading of before the answer failed to come proves nothing
        (Stage.REJECTED, 0.0, NOW),  # it refused, and stands there by chance
    ],
)
def test_a_command_that_no_meter_shows_or_that_was_refused_failed_at_the_cell_and_on_the_page(
    stage: Stage, power_w: float, read_ns: int
) -> None:
    cell, reached = told_to_stop(stage, power_w, read_ns)
    assert cell == FAILED and not reached[4]
