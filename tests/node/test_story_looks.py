"""What a story's looks see: who holds on after a command ran out, and commands beyond what the claims of then allowed."""

from types import SimpleNamespace

import numpy as np
import pytest

from tieline.desk.facts import CommandsIssued
from tieline.desk.packed import Packed
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.grid.powerflow import Violation
from tieline.node.fallback import GRACE_NS, HARM_W, Fallback
from tieline.node.promises_replay import Looked
from tieline.node.read_standing import _passing
from tieline.node.relief import EASY_LOOKS, Relief
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.simulate.faults import DeviceFaults
from tieline.simulate.inprocess import ColumnsLink
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, parse_iso

START_NS = parse_iso("2022-08-17T12:00:00-05:00")
COUNT = 40


class Wall:
    """A clock that stands where it is put."""

    ns = START_NS

    def now_ns(self) -> int:
        return self.ns


@pytest.fixture
def stage() -> SimpleNamespace:
    """Devices that obey, each told 3 kW until five minutes from now, and standing at that."""
    territory = build(COUNT, np.random.default_rng(1))
    world, clock = World(territory, np.random.default_rng(2)), Wall()
    rows = np.arange(COUNT, dtype=np.int32)
    link = ColumnsLink(world, rows, None, clock, lambda s, act: None, DeviceFaults(), np.random.default_rng(3))
    state = DeskState.empty(territory.fleet, ClaimBook(territory.fleet), Ledger())
    link.target_w[:], link.until_ns[:] = 3_000.0, START_NS + 5 * MINUTE_NS
    link.no_timer[:], link.skew_ns[:] = False, 0
    state.base_w[:], world.power_w[:] = 0.0, HARM_W + 1_000.0
    return SimpleNamespace(territory=territory, world=world, link=link, node=SimpleNamespace(clock=clock, state=state))


def test_who_obeys_lets_go_and_who_s_timer_lies_holds_on_and_does_harm_once_its_grace_is_over(
    stage: SimpleNamespace,
) -> None:
    seen = Fallback()
    stage.link.no_timer[[2, 3, 4]] = True
    stage.world.power_w[3] = 100.0  # it stands at its base: that does no harm
    seen.look(stage)
    assert (seen.over, seen.harm) == (set(), set())
    stage.node.clock.ns = START_NS + 6 * MINUTE_NS
    seen.look(stage)
    assert (len(seen.over), seen.liars, seen.harm) == (COUNT, {2, 3, 4}, set())
    stage.link.is_lost[4] = True  # nobody can let go of it now
    stage.node.clock.ns = START_NS + 5 * MINUTE_NS + GRACE_NS + SECOND_NS
    seen.look(stage)
    assert seen.harm == {2}
    stage.link.is_lost[4] = False
    stage.node.clock.ns += GRACE_NS + SECOND_NS
    seen.look(stage)
    assert (seen.harm, seen.looks) == ({2, 4}, 4)


def test_a_device_without_a_timer_is_to_be_let_go_when_our_command_ends(stage: SimpleNamespace) -> None:
    seen = Fallback()
    stage.link.until_ns[5] = FOREVER_NS
    stage.node.state.commands.valid_until_ns[5] = START_NS + MINUTE_NS
    stage.node.clock.ns = START_NS + MINUTE_NS + GRACE_NS + SECOND_NS
    seen.look(stage)
    assert (seen.timeless, seen.harm) == ({5}, {5})


def test_a_command_is_held_against_what_the_claims_of_then_allow(stage: SimpleNamespace) -> None:
    fleet, book = stage.territory.fleet, stage.node.state.claims
    row = int(np.flatnonzero(fleet.max_inject_w > 2_000.0)[0])
    rows = np.array([row], np.int32)
    limit = ClaimBatch(
        "limit", "dno", "dno", "relief", Level.ENVELOPE, 0, Quantity.P, ClaimKind.LIMIT, "a limit", 1, START_NS,
        START_NS, START_NS + HOUR_NS, rows, np.full(1, -1e9), np.full(1, 500.0), np.full(1, np.nan),
    )  # fmt: skip
    book.place(limit)
    looked, state = Looked(), stage.node.state
    for target_w, worst_w in ((400.0, 0.0), (1_750.0, 1_250.0)):
        looked.look(state, issued(rows, target_w))
        assert looked.worst_w == pytest.approx(worst_w)
    assert looked.settled == 2 and looked.where == f"{fleet.id_of(row)} at 2022-08-17T17:00:00Z"
    looked.look(state, issued(rows, float("nan")))
    assert looked.settled == 2, "a command without a target leaves nothing to hold against the claims"


@pytest.mark.parametrize(
    ("timer", "target_w", "beyond_w"),
    [
        ((300.0, 400.0), 350.0, 0.0),
        ((300.0, 400.0), 250.0, 50.0),  # both could be kept, and the timer was not
        ((300.0, 400.0), 700.0, 300.0),
        ((900.0, 1_000.0), 500.0, 0.0),  # the limit stands against the timer, and is told
        ((900.0, 1_000.0), 100.0, 0.0),
        ((900.0, 1_000.0), 950.0, 450.0),  # and nothing beyond it, as if the timer had it so
    ],
)
def test_a_command_keeps_the_limit_always_and_the_devices_timer_where_the_limit_leaves_it(
    stage: SimpleNamespace, timer: tuple[float, float], target_w: float, beyond_w: float
) -> None:
    fleet, book = stage.territory.fleet, stage.node.state.claims
    row = int(np.flatnonzero(fleet.max_inject_w > 2_000.0)[0])
    rows, one = np.array([row], np.int32), np.ones(1)
    book.place(
        ClaimBatch(
            "limit", "dno", "dno", "relief", Level.ENVELOPE, 0, Quantity.P, ClaimKind.LIMIT, "a limit", 1, START_NS,
            START_NS, START_NS + HOUR_NS, rows, np.full(1, -1e9), np.full(1, 500.0), np.full(1, np.nan),
        )
    )  # fmt: skip
    book.hold(rows, timer[0] * one, timer[1] * one, np.array([START_NS + HOUR_NS]))
    looked, state = Looked(), stage.node.state
    looked.look(state, issued(rows, target_w))
    assert looked.worst_w == pytest.approx(beyond_w)


def issued(rows: np.ndarray, target_w: float) -> CommandsIssued:
    one = np.ones(len(rows))
    low, high, revert = Packed.of(-5e3 * one), Packed.of(5e3 * one), Packed.of(0 * one)
    until_ns = START_NS + HOUR_NS
    return CommandsIssued(
        "b", Packed.of(rows), Packed.of(target_w * one), low, high, revert, START_NS, START_NS, until_ns, 1, 1
    )


def test_a_limit_that_is_broken_and_needs_nobody_yet_is_held_back_with_its_reason() -> None:
    hot, low = Violation(0, "line 3", "loading", 1.1, 1.0), Violation(0, "bus 7", "voltage", 0.93, 0.94)
    warm, flat = _passing({"feeder-1": ([hot, low], 0.42), "feeder-2": ([low], 0.0)}, {}, START_NS)
    assert (warm.alarm.subject, warm.alarm.title) == ("feeder-1", "loading 1.100 against 1.000 at line 3")
    assert {each.how for each in (warm, flat)} == {"delayed"}
    assert warm.why == "warmed to 42% of what its rating bears: a person is called at 100 %"
    assert flat.why == "its mean over ten minutes is within the limit yet: a person is called once it is not"


def test_a_relief_is_easy_where_its_devices_stayed_well_below_it_at_the_last_looks() -> None:
    made = Relief("feeder-1", START_NS, -100e3, True, "loading", 1.1, -100e3, ["SUCCESS"])
    for power_w in [-99e3, *[-59e3] * (EASY_LOOKS - 1)]:
        made.seen.append((START_NS, 0.9, power_w))
        assert not made.is_easy
    made.seen.append((START_NS, 0.9, 20e3))
    assert made.is_easy, "giving is below a limit on what is drawn"
    made.seen.append((START_NS, 0.9, -61e3))
    assert not made.is_easy
