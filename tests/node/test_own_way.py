"""A device that takes a limit and does not keep it, or that somebody else controls, calls a person: one is enough."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from tieline.desk.apply import apply
from tieline.desk.disobedience import beyond
from tieline.desk.facts import CommandsIssued, CommandsReported
from tieline.desk.packed import Packed
from tieline.desk.response import STRIKES
from tieline.desk.state import LEASE_NS, DeskState
from tieline.desk.views import AlarmView
from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.ledger import Ledger
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.read_own_way import takes_and_ignores
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, iso

START_NS = 1_700_000_000 * SECOND_NS
DEVICES = 20


class Wall:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    folder, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    rows = [f"home-{n},battery,5000,5000,10000,feeder-1,site-{n},pool-1" for n in range(DEVICES)]
    (tmp_path / "devices.csv").write_text(
        "id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool\n" + "\n".join(rows) + "\n"
    )
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    made = node_of(folder, load_config(folder / "tieline.toml"), Supervisor(np.random.default_rng(1)), None, Wall())
    made.state.fleet.taken_at_ns[:] = START_NS
    made.state.fleet.power_w[:] = 1_000.0
    made.state.fleet.quality[:] = 0
    yield made
    made.journal.close()


def claimed(node: Node, rows: list[int], low_w: float, high_w: float) -> None:
    """Let a grid operator claim a limit on rows."""
    one = np.ones(len(rows))
    limit = ClaimBatch(
        f"limit:{low_w}:{high_w}", "dno", "dno", "works", Level.ENVELOPE, 0, Quantity.P, ClaimKind.LIMIT, "works", 1, START_NS,
        START_NS, START_NS + HOUR_NS, np.array(rows, np.int32), low_w * one, high_w * one, np.nan * one,
    )  # fmt: skip
    node.state.claims.place(limit)


def limited(node: Node, rows: list[int], stage: Stage, high_w: float = 2_000.0, power_w: float = 4_000.0) -> None:
    """Put a limit into force at rows that stand beyond it ten minutes later."""
    claimed(node, rows, -5_000.0, high_w)
    commands, fleet = node.state.commands, node.state.fleet
    commands.low_w[rows], commands.high_w[rows] = -5_000.0, high_w
    commands.valid_until_ns[rows], commands.since_ns[rows] = START_NS + HOUR_NS, START_NS - 10 * MINUTE_NS
    commands.stage[rows] = int(stage)
    commands.observed_w[rows] = power_w if stage is Stage.UNCONFIRMED else np.nan
    fleet.power_w[rows] = power_w


def let_go(node: Node, row: int, holds_w: float, power_w: float) -> None:
    """Release a row ten minutes ago, whose link reads back that it is set to a power still (NaN: no answer)."""
    commands, fleet = node.state.commands, node.state.fleet
    commands.target_w[row], commands.low_w[row], commands.high_w[row] = np.nan, -5_000.0, 5_000.0
    commands.valid_until_ns[row] = START_NS + 5 * MINUTE_NS
    commands.since_ns[row] = commands.at_ns[row] = START_NS - 10 * MINUTE_NS
    commands.stage[row], commands.observed_w[row] = int(Stage.UNCONFIRMED), holds_w
    fleet.power_w[row] = power_w


def stood(node: Node, minutes: int = 2) -> list[AlarmView]:
    """Return the alarms of devices that stand after so many minutes."""
    reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
    for minute in range(minutes + 1):
        node.clock.ns = START_NS + minute * MINUTE_NS  # type: ignore[attr-defined]
        found = reader.alarms()
    return [alarm for alarm in found if alarm.subject not in ("links", "journal")]


@pytest.mark.parametrize("stage", [Stage.ACCEPTED, Stage.DONE, Stage.UNCONFIRMED])
def test_one_device_that_takes_a_limit_and_stands_beyond_it_is_an_alarm_that_names_it(node: Node, stage: Stage) -> None:
    limited(node, [7], stage)
    (alarm,) = stood(node)
    assert (alarm.subject, alarm.count, alarm.link) == ("home-7", 1, "/resource/home-7")
    assert alarm.title == "Beyond a limit that it took: home-7"
    assert alarm.action and alarm.priority == 2


@pytest.mark.parametrize("is_out", [False, True])
def test_who_does_not_respond_to_calls_or_is_out_of_them_is_named_all_the_same(node: Node, is_out: bool) -> None:
    limited(node, [7], Stage.DONE)
    if is_out:
        node.state.opted_out[7] = True
    else:
        node.state.responses.strikes[7], node.state.responses.last_ns[7] = STRIKES, START_NS
    assert [alarm.title for alarm in stood(node)] == ["Beyond a limit that it took: home-7"]


@pytest.mark.parametrize("waits", [Stage.QUEUED, Stage.SENT])
@pytest.mark.parametrize(("stage", "says"), [
        (Stage.DONE, "Beyond a limit that it took"), (Stage.UNCONFIRMED, "Beyond a limit that it never confirmed"),
        (Stage.REJECTED, "Refuses a limit"),
    ],
)  # fmt: skip
def test_who_is_told_anew_meanwhile_is_named_as_before(node: Node, stage: Stage, says: str, waits: Stage) -> None:
    limited(node, [7], stage)
    node.state.commands.observed_w[7] = np.nan
    node.state.commands.batch[7] = 0
    node.state.commands.note_answers(np.array([7], np.int32), START_NS)
    reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
    titles = []
    for look in range(12):
        node.clock.ns = START_NS + look * 30 * SECOND_NS  # type: ignore[attr-defined]
        node.state.commands.stage[7] = int(waits if look % 3 == 2 else stage)
        titles.append([alarm.title for alarm in reader.alarms() if alarm.subject == "home-7"])
    first = next(at for at, found in enumerate(titles) if found)
    assert first <= 4 and titles[first:] == [[f"{says}: home-7"]] * (12 - first)


@pytest.mark.parametrize(
    ("stage", "high_w", "power_w"),
    [
        (Stage.DONE, 2_000.0, 2_400.0),  # within what meters and small devices are off by
        (Stage.REJECTED, 2_000.0, 2_000.0),
    ],
)
def test_who_keeps_a_limit_whether_it_took_it_or_refused_is_no_such_alarm(
    node: Node, stage: Stage, high_w: float, power_w: float
) -> None:
    limited(node, [7], stage, high_w, power_w)
    assert stood(node) == []


@pytest.mark.parametrize("power_w", [4_000.0, np.nan], ids=["stands beyond it", "has no meter"])
def test_one_device_that_refuses_a_limit_is_an_alarm_that_names_it(node: Node, power_w: float) -> None:
    """Before, a refusal was told where many devices of a feeder had one, and of a single device not at all."""
    limited(node, [7], Stage.REJECTED, power_w=power_w)
    (alarm,) = stood(node)
    assert (alarm.subject, alarm.count, alarm.priority) == ("home-7", 1, 2)
    assert alarm.title == "Refuses a limit: home-7" and alarm.action


def test_who_refuses_what_leaves_it_all_that_it_is_rated_is_no_such_alarm(node: Node) -> None:
    limited(node, [7], Stage.REJECTED, high_w=5_000.0, power_w=np.nan)
    assert stood(node) == []


@pytest.mark.parametrize("stage", [Stage.QUEUED, Stage.SENT])
def test_who_answered_nothing_for_as_long_as_a_limit_may_take_is_named_though_no_command_of_it_ended(
    node: Node, stage: Stage
) -> None:
    limited(node, [7], stage)
    assert [alarm.title for alarm in stood(node)] == ["Beyond a limit that it never confirmed: home-7"]


def test_a_limit_of_absorption_counts_as_well_and_one_that_was_told_just_now_does_not(node: Node) -> None:
    limited(node, [3], Stage.DONE, 5_000.0, -4_000.0)
    claimed(node, [3], -1_000.0, 5_000.0)
    node.state.commands.low_w[3] = -1_000.0
    assert [alarm.subject for alarm in stood(node)] == ["home-3"]
    node.state.commands.since_ns[3] = START_NS - MINUTE_NS
    assert stood(node) == []


def test_what_moves_at_once_has_two_minutes_to_keep_a_limit_and_a_thermostat_five(node: Node) -> None:
    """Before, a battery, a car or a load that stops at once had five as well."""
    limited(node, [3, 7], Stage.DONE)
    node.state.fleet.kinds[7] = KIND_CODE[Kind.THERMOSTAT]
    rows, told_ns = np.array([3, 7], np.int32), START_NS - 10 * MINUTE_NS
    for seconds, stand in ((120, [False, False]), (131, [True, False]), (299, [True, False]), (300, [True, True])):
        node.state.fleet.taken_at_ns[rows] = told_ns + seconds * SECOND_NS
        node.state.commands.eased_ns[rows] = told_ns
        assert beyond(node.state, rows, START_NS).tolist() == stand, seconds


def test_trouble_that_a_feeder_tells_is_not_told_twice(node: Node) -> None:
    limited(node, list(range(5)), Stage.DONE)
    assert [alarm.title for alarm in stood(node, 5)] == ["Commands failed: 5 of 20 devices (25 %)"]


def test_a_device_that_goes_back_by_itself_or_that_another_writes_to_is_an_alarm_and_an_owner_who_is_out_is_none(
    node: Node,
) -> None:
    local = np.zeros(DEVICES, np.bool_)
    local[[4, 5]] = True
    node.state.claims.set_local(local)
    node.state.opted_out[5] = True
    node.state.commands.valid_until_ns[[4, 5]] = START_NS + HOUR_NS
    (alarm,) = stood(node)
    assert alarm.title == "Does what somebody else set, or goes back by itself: home-4"


@pytest.mark.parametrize("minutes", [2, 40])
@pytest.mark.parametrize(("holds_w", "power_w"), [(-500.0, -500.0), (0.0, 3.0), (4_000.0, 3_900.0)])
def test_one_device_that_holds_on_to_what_was_taken_back_is_an_alarm_within_two_minutes_of_its_time(
    node: Node, holds_w: float, power_w: float, minutes: int
) -> None:
    let_go(node, 7, holds_w, power_w)
    (alarm,) = stood(node, minutes)
    assert alarm.title == "Holds what was taken back: home-7"
    assert (alarm.subject, alarm.priority, alarm.link) == ("home-7", 2, "/resource/home-7")
    assert alarm.action


@pytest.mark.parametrize("holds_w", [-500.0, 0.0, 5_000.0])
def test_who_was_let_go_and_moved_away_is_heard_no_more_or_was_never_read_back_is_no_such_alarm(
    node: Node, holds_w: float
) -> None:
    let_go(node, 3, holds_w, holds_w - 1_500.0)  # it runs as it likes
    let_go(node, 4, holds_w, holds_w)
    node.state.fleet.quality[4] = int(Quality.COMM_LOST)
    let_go(node, 5, np.nan, holds_w)  # told anew until it answers
    let_go(node, 6, holds_w, holds_w)
    node.state.commands.stage[6] = int(Stage.DONE)
    assert "Holds what was taken back" not in [alarm.title.split(":")[0] for alarm in stood(node)]


def test_who_was_let_go_has_the_time_of_its_kind(node: Node) -> None:
    let_go(node, 7, -500.0, -500.0)
    node.state.commands.at_ns[7] = START_NS
    assert stood(node) == []


@pytest.mark.parametrize(("holds", "names"), [(None, []), (3_500.0, []), (2_500.0, ["home-7"])])
def test_who_comes_back_in_turn_breaks_no_limit_that_is_over_but_any_that_still_holds(
    node: Node, holds: float | None, names: list[str]
) -> None:
    """Its limit of 2 kW was released, and it gives 4 kW before its turn: one of 2.5 kW that stays it breaks."""
    limited(node, [7], Stage.DONE)
    node.state.claims.cancel("dno", "works", Quantity.P)
    if holds is not None:
        claimed(node, [7], -5_000.0, holds)
    node.state.release_at_ns[7] = START_NS + 40 * MINUTE_NS
    assert [alarm.subject for alarm in stood(node)] == names


def test_the_alarm_of_a_class_says_since_when_each_is_in_it_the_longest_first(
    node: Node,
) -> None:
    reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))

    def at(minute: int) -> AlarmView:
        node.clock.ns = START_NS + minute * MINUTE_NS  # type: ignore[attr-defined]
        (alarm,) = [alarm for alarm in reader.alarms() if alarm.title.startswith("Beyond a limit")]
        return alarm

    def since(name: str, minute: int) -> str:
        return f"{name} since {iso(START_NS + minute * MINUTE_NS)}"

    limited(node, [3, 7], Stage.DONE)  # more of them were told as the feeder's trouble
    node.state.fleet.power_w[3] = 1_000.0
    node.clock.ns = START_NS  # type: ignore[attr-defined]
    reader.alarms()
    began_ns = at(2).since_ns
    node.state.fleet.power_w[3] = 4_000.0
    both = at(5)
    assert both.title == "Beyond a limit that it took: home-7, home-3", "the longest first"
    assert both.consequence.endswith(f": {since('home-7', 0)}, {since('home-3', 5)}")
    assert both.since_ns == began_ns
    node.state.fleet.power_w[7] = 1_000.0
    assert (at(9).since_ns, at(9).count) == (began_ns, 1), "one that may chatter is no news"
    anew = at(16)
    assert (anew.title, anew.count) == ("Beyond a limit that it took: home-3", 1)
    assert anew.consequence.endswith(f": {since('home-3', 5)}")
    node.state.fleet.power_w[3] = 1_000.0
    node.clock.ns = START_NS + 17 * MINUTE_NS  # type: ignore[attr-defined]
    reader.alarms()
    node.state.fleet.power_w[3] = 4_000.0
    node.clock.ns = START_NS + 18 * MINUTE_NS  # type: ignore[attr-defined]
    reader.alarms()
    assert since("home-3", 5) in at(20).consequence, "a device that comes back soon was never out"


@pytest.mark.parametrize("gives", [True, False])
@pytest.mark.parametrize(("power_w", "left_frac", "can_w", "is_named"), [
    (-90.0, 0.0, 0.0, False),
    (-90.0, 0.5, 0.0, True),
    (-90.0, 0.0, 3_000.0, True),
    (-90.0, np.nan, 0.0, True),
    (-1_000.0, 0.0, 0.0, True),
])  # fmt: skip
def test_a_store_that_has_nothing_left_to_give_is_not_named_but_any_other_beyond_its_limit_is(
    node: Node, gives: bool, power_w: float, left_frac: float, can_w: float, is_named: bool
) -> None:
    side, fleet, commands = 1.0 if gives else -1.0, node.state.fleet, node.state.commands
    low_w, high_w = sorted((side * 2_000.0, side * 5_000.0))
    limited(node, [7], Stage.DONE)
    commands.low_w[7], commands.high_w[7] = low_w, high_w
    fleet.power_w[7] = side * power_w
    fleet.energy_available_wh[7] = 10_000.0 * (left_frac if gives else 1.0 - left_frac)
    fleet.available_up_w[7] = fleet.available_down_w[7] = can_w
    claimed(node, [7], low_w, high_w)
    assert bool(beyond(node.state, np.array([7], np.int32), START_NS)[0]) is is_named


@given(
    heard_s=st.integers(0, 900),
    read_s=st.integers(0, 1_200),
    renewals=st.integers(0, 2),
    stage=st.sampled_from([Stage.ACCEPTED, Stage.DONE, Stage.UNCONFIRMED]),
)
@example(heard_s=500, read_s=450, renewals=0, stage=Stage.ACCEPTED)
@example(heard_s=500, read_s=505, renewals=0, stage=Stage.DONE)
@example(heard_s=0, read_s=1_000, renewals=2, stage=Stage.DONE)
def test_nobody_is_said_to_ignore_a_limit_by_a_reading_from_before_he_took_it_and_had_his_time(
    heard_s: int, read_s: int, renewals: int, stage: Stage
) -> None:
    """A limit of 0 W is told, heard and taken later, and renewed meanwhile; a store follows within 10 s, and 2 min."""
    one = np.array([5_000.0])
    kinds = np.array([KIND_CODE[Kind.BATTERY]], np.uint8)
    fleet = Fleet(["bat-1"], kinds, one, one.copy(), *np.zeros((3, 1)), [], {})
    state, row = DeskState.empty(fleet, ClaimBook(fleet), Ledger()), Packed.of(np.zeros(1, np.int32))
    zero, low = Packed.of(np.zeros(1)), Packed.of(-one)
    limit = ClaimBatch(
        "limit", "dno", "dno", "works", Level.ENVELOPE, 0, Quantity.P, ClaimKind.LIMIT, "works", 1, START_NS, START_NS,
        START_NS + HOUR_NS, row.array(), -one, np.zeros(1), np.full(1, np.nan),
    )  # fmt: skip
    state.claims.place(limit)
    for n in range(1 + renewals):
        at_ns = START_NS + (0 if n == 0 else heard_s + 100 * n) * SECOND_NS
        free = Packed.of(np.full(1, np.nan))
        fact = CommandsIssued(f"c{n}", row, free, low, zero, zero, at_ns, at_ns, at_ns + LEASE_NS, 1, n + 1)
        apply(state, f"i{n}", fact, at_ns)
        heard_ns = START_NS + heard_s * SECOND_NS if n == 0 else at_ns + SECOND_NS
        stages = [Stage.ACCEPTED] if stage is Stage.ACCEPTED else [Stage.ACCEPTED, stage]
        for ended in stages:
            answer = CommandsReported(
                f"c{n}", "link", row, Packed.of(np.array([ended], np.uint8)), Packed.of(np.array([heard_ns])),
                Packed.of(np.zeros(1, np.uint8)), Packed.of(np.full(1, 4_000.0)), (), (),
            )  # fmt: skip
            apply(state, f"r{n}{ended}", answer, heard_ns)
    fleet.column("power_w")[:], fleet.quality[:] = 4_000.0, 0
    fleet.taken_at_ns[:] = START_NS + read_s * SECOND_NS
    now_ns = START_NS + max(read_s, heard_s + 100 * renewals + 1) * SECOND_NS
    is_late = read_s - heard_s >= 10
    if not is_late:
        assert not takes_and_ignores(state, now_ns)[0]
    elif read_s >= 130:
        assert takes_and_ignores(state, now_ns)[0]
