"""Promises can break: each is given a story in which it is not kept, and one that proves nothing."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tieline.desk.facts import (
    AskGranted,
    AskLapsed,
    AskWithdrawn,
    ClaimsPlaced,
    PositionChanged,
    to_record,
)
from tieline.desk.packed import Packed
from tieline.desk.ports import Ask
from tieline.flow.record import Record
from tieline.node.crew import Disobeyed
from tieline.node.promise_substitutes import substituted
from tieline.node.promises_grid import calm_after, limit_held, opted_out, relieved, restored
from tieline.node.relief import SETTLES_NS, Relief
from tieline.node.report import override_of
from tieline.node.story import Told
from tieline.node.works import Held
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, iso

AT = 1_660_000_000_000_000_000


def verdict(promise: dict) -> tuple[bool, bool]:
    return promise["held"], promise["tested"]


# --- opt-out ------------------------------------------------------------------------------------------------------------

OUT = {
    "resource": "battery-000001", "when_ns": AT, "granted": True, "power_before_w": 2_400.0, "base_w": -10.0,
    "target_after_60s_w": float("nan"), "power_after_60s_w": -10.0, "rating_w": 6_000.0, "was_called": True, "waited_s": 59.0,
    "device_was_in_reach": True, "is_steady": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (True, True)),
        ({"power_after_60s_w": 2_400.0}, (False, True)),  # free on paper, but still giving
        ({"target_after_60s_w": 2_400.0}, (False, True)),
        ({"granted": False}, (False, True)),
        ({"device_was_in_reach": False}, (True, False)),
        ({"was_called": False}, (True, False)),
    ],
)
def test_an_opt_out_is_judged_by_the_devices_own_meter(change: dict, expected: tuple) -> None:
    assert verdict(opted_out(Told(opt_out={**OUT, **change}))) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device_was_in_reach": False, "was_called": False}, "who was called most was out of reach"),
        ({"was_called": False}, "nobody in reach was called by more than 500 W and gave it"),
        ({"is_steady": False}, "of nobody called in reach is it known what he would do uncalled"),
    ],
)
def test_an_opt_out_that_proves_nothing_says_why(change: dict, reason: str) -> None:
    found = opted_out(Told(opt_out={**OUT, **change}))
    assert verdict(found) == (True, False)
    assert found["evidence"].startswith(f"not tested: {reason}; battery-000001: ")


# --- substitutes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken_w", "feasible_w", "count", "spare_w", "expected"),
    [
        (9_000.0, 60_000.0, 4, 30_000.0, (True, True)),
        (9_000.0, 50_000.0, 4, 0.0, (True, True)),  # nobody else could have
        (9_000.0, 50_000.0, 4, 9_000.0, (False, True)),  # somebody could have, and was not asked
        (9_000.0, 60_000.0, 0, 30_000.0, (False, True)),  # nothing lacks, yet nobody stepped in
        (0.0, 60_000.0, 0, 0.0, (True, False)),
    ],
)
def test_a_lack_must_show_that_nobody_else_could_have(taken_w, feasible_w, count, spare_w, expected) -> None:
    told = Told(override={"pool_share_before_w": taken_w, "when_ns": AT}, spare={"spare_w": spare_w})
    override = {"owed_w": 60_000.0, "feasible_w": feasible_w, "substitute_count": count}
    assert verdict(substituted(told, [], override)) == expected


def test_what_a_limit_did_is_read_from_the_operate_that_came_through_and_not_from_the_one_given_again() -> None:
    """The first answer was lost; the second grant only says again what the first said, and moved nobody."""
    moved = PositionChanged("pool-1", "first", 90e3, 70e3, 0.0, 0.0, 60e3, 60e3, ("battery-1",), True)
    records = [
        to_record(limited_by(claim="of an earlier limit"), "r0", "g", AT - HOUR_NS, ()),
        to_record(limited_by(claim="first"), "r1", "g", AT, ()),
        to_record(moved, "r2", "pool-1", AT + SECOND_NS, ("first",)),
        to_record(limited_by(claim="again"), "r3", "g", AT + 20 * SECOND_NS, ()),
        to_record(limited_by(claim="renewed"), "r4", "g", AT + 5 * MINUTE_NS, ()),
    ]
    works = {"when_ns": AT + 20 * SECOND_NS, "granted_ns": AT, "group": "g", "pool_share_before_w": 9_000.0}
    told = Told(override=works, spare={"spare_w": 0.0})
    override = override_of(told, records)
    assert (override["claim"], override["owed_w"], override["substitute_count"]) == ("first", 60e3, 1)
    assert verdict(substituted(told, records, override)) == (True, True)


# --- the limit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gives_until", "lost_until", "timer_until", "expected"),
    [
        (0, 0, 0, (True, True)),
        (40, 0, 0, (False, True)),  # in reach, and gives
        (40, 0, 40, (False, True)),  # a timer of its own is no excuse for what a command can reach
        (20, 20, 20, (True, True)),  # lost for as long as its lease
        (35, 40, 35, (True, True)),  # an engine's own least time is longer than a lease: it lasts as long as that
        (40, 40, 20, (False, True)),  # nobody isolated it: once its own timer is over it counts like the others
        (40, 20, 40, (False, True)),  # back in reach it counts like the others, whatever its timer says
    ],
)
def test_a_limit_is_broken_by_what_gives_but_for_own_timers_out_of_reach(
    gives_until, lost_until, timer_until, expected
) -> None:
    rows = np.arange(4, dtype=np.int32)
    trail = [
        (AT + minute * MINUTE_NS, np.array([3_000.0 if minute < gives_until else 0.0, 0, 0, 0.0]),
         np.array([AT + timer_until * MINUTE_NS if minute < lost_until else 0, 0, 0, 0]))
        for minute in range(41)
    ]  # fmt: skip
    fleet = SimpleNamespace(leaves=lambda group: rows, max_inject_w=np.full(4, 25_000.0), id_of=lambda row: f"r{row}")
    stage = SimpleNamespace(
        watch_trail=trail, node=SimpleNamespace(state=SimpleNamespace(fleet=fleet)),
        territory=SimpleNamespace(fleet=fleet),
    )  # fmt: skip
    works = {"when_ns": AT, "group": "g", "giving_before_w": 9_000.0, "limit_high_w": 0.0, "isolated": []}
    told = limit_held(stage, Told(override=works), [])
    assert verdict(told) == expected
    excused = f"r0 3.0 kW until {iso(AT + timer_until * MINUTE_NS)}"
    assert (excused in told["evidence"]) == (lost_until > 0), "who gives beyond reach is named, with how long"


def works_with(gives_until: int, gave_w: float, found: Disobeyed | None, high_w: float = 0.0) -> dict:
    rows = np.arange(4, dtype=np.int32)
    trail = [
        (
            AT + minute * MINUTE_NS,
            np.array([gave_w if minute <= gives_until else 0.0, 0, 0, 0.0]),
            np.zeros(4, np.int64),
        )
        for minute in range(41)
    ]
    fleet = SimpleNamespace(leaves=lambda group: rows, max_inject_w=np.full(4, 100_000.0), id_of=lambda row: f"r{row}")
    stage = SimpleNamespace(
        watch_trail=trail, node=SimpleNamespace(state=SimpleNamespace(fleet=fleet)),
        territory=SimpleNamespace(fleet=fleet),
    )  # fmt: skip
    works = {"when_ns": AT, "group": "g", "giving_before_w": 9_000.0, "limit_high_w": high_w, "isolated": []}
    return limit_held(stage, Told(override=works, disobeyed={} if found is None else {0: found}), [])


@pytest.mark.parametrize(
    ("gives_until", "gave_w", "isolated_at", "held"),
    [
        (40, 3_815.0, None, False),  # half of what 2 % of the nameplate would let pass, and nobody knows of it
        (40, 200.0, None, True),  # what a meter may be off by
        (9, 3_815.0, 9, True),  # named and isolated nine minutes after the limit came
        (20, 3_815.0, 20, False),  # named, but isolated too late
        (40, 3_815.0, 9, False),  # isolated, as they say, and feeds in all the same
        (40, 3_815.0, 0, False),  # named, and nobody went there
    ],
)
def test_a_device_that_ignores_a_limit_of_0_w_is_isolated_in_time_or_breaks_the_promise_however_large_its_feeder(
    gives_until: int, gave_w: float, isolated_at: int | None, held: bool
) -> None:
    isolated_ns = 0 if not isolated_at else AT + isolated_at * MINUTE_NS
    found = None if isolated_at is None else Disobeyed("r0", gave_w, AT + 3 * MINUTE_NS, isolated_ns)
    told = works_with(gives_until, gave_w, found)
    assert told["held"] is held
    assert ("found to disobey: none" in told["evidence"]) is (gave_w < 250.0)
    assert ("r0 3.8 kW" in told["evidence"]) is (gave_w > 250.0)
    assert ("not isolated in time" in told["evidence"]) is not held


def test_under_a_limit_above_0_w_the_sum_alone_is_held_to_it() -> None:
    assert works_with(40, 3_815.0, None, high_w=4_000.0)["held"]


def operated(fact: AskGranted | AskWithdrawn | AskLapsed, after_s: float) -> Record:
    return to_record(fact, f"r{after_s}", "g", AT + int(after_s * SECOND_NS), ())


def limited_by(source: str = "dnp3:dno", claim: str = "claim") -> AskGranted:
    ask = Ask(
        source, "dno", "works", Level.ENVELOPE, "g", Quantity.P, ClaimKind.LIMIT, 1, AT, AT + HOUR_NS, low=-1e6, high=0.0,
        because="works",
    )  # fmt: skip
    return AskGranted(ask, claim)


def released_by(source: str = "dnp3:dno") -> AskWithdrawn:
    return AskWithdrawn(source, "works", "g", "p", "", "it was cancelled")


LAPSED = AskLapsed("dnp3:dno", "works", "g", "p", AT + 39 * MINUTE_NS)


@pytest.mark.parametrize(
    ("seen", "held"),
    [
        ([(released_by(), 39.9)], True),  # recorded before who was let go was looked at again
        ([], False),  # nobody released it before the release that was answered
        ([(released_by("dnp3:tso"), 39.9)], False),  # another's release frees nobody of this limit
        ([(released_by(), 20), (limited_by(), 21)], False),  # he asked for it anew
        ([(released_by(), 20), (limited_by(), 21), (released_by(), 39.9)], True),
        ([(LAPSED, 39.9)], False),  # he still counts on it
        ([(released_by(), -5)], False),  # of an earlier limit
        ([(released_by(), 40.1)], False),  # those who gave were not released yet
    ],
)
def test_a_limit_whose_release_came_through_though_its_answer_was_lost_ends_with_the_recorded_release(
    seen: list[tuple[AskGranted | AskWithdrawn | AskLapsed, float]], held: bool
) -> None:
    """The dispatcher gives the release again, as he had no answer; by then those that it had freed feed in."""
    rows = np.arange(4, dtype=np.int32)
    trail = [
        (AT + minute * MINUTE_NS, np.full(4, 5_000.0 if minute >= 40 else 0.0), np.zeros(4, np.int64))
        for minute in range(45)
    ]
    fleet = SimpleNamespace(leaves=lambda group: rows, max_inject_w=np.full(4, 25_000.0), id_of=lambda row: f"r{row}")
    stage: Any = SimpleNamespace(
        watch_trail=trail, node=SimpleNamespace(state=SimpleNamespace(fleet=fleet)),
        territory=SimpleNamespace(fleet=fleet),
    )  # fmt: skip
    works = {"when_ns": AT, "group": "g", "giving_before_w": 9_000.0, "limit_high_w": 0.0, "isolated": []}
    told = Told(override=works, restored={"when_ns": AT + 40 * MINUTE_NS + 8 * SECOND_NS})
    records = [operated(fact, after_min * 60.0) for fact, after_min in [(limited_by(), 0), *seen]]
    assert limit_held(stage, told, records)["held"] is held


# --- restored -----------------------------------------------------------------------------------------------------------


def held(at_ns: int, high_w: list[float], winners: list[str], ends_ns: int = AT + 9 * HOUR_NS) -> Held:
    high, rows = np.array(high_w), np.arange(len(high_w), dtype=np.int32)
    claims = [frozenset({("owner", ends_ns)}) for _ in high_w]
    return Held(at_ns, rows, -high, high, high, [(name, "pool-1") for name in winners], claims)


def placed(source: str, kind: str, rows: list[int]) -> Record:
    some = Packed.of(np.zeros(len(rows)))
    fact = ClaimsPlaced(
        "batch", source, source, "p", 4, 0, "p", kind, "", 1, AT + MINUTE_NS, AT, AT + HOUR_NS,
        Packed.of(np.array(rows, np.int32)), some, some, some, scope="",
    )  # fmt: skip
    return to_record(fact, "batch", "r", AT + MINUTE_NS, ())


BEFORE, UNDER = (
    held(AT, [5e3, 5e3, 5e3], ["desk.market"] * 3),
    held(AT + MINUTE_NS, [0.0, 0.0, 0.0], ["desk.market"] * 3),
)


@pytest.mark.parametrize(
    ("after", "records", "left", "holds"),
    [
        (held(AT + HOUR_NS, [5e3, 5e3, 5e3], ["desk.market"] * 3), [], 0, True),
        (held(AT + HOUR_NS, [5e3, 4e3, 5e3], ["desk.market"] * 3), [], 0, False),  # a bound moved by nobody
        (held(AT + HOUR_NS, [5e3, 4e3, 5e3], ["desk.market"] * 3), [placed("owner:r1", "limit", [1])], 0, True),
        (held(AT + HOUR_NS, [5e3, 4e3, 5e3], ["desk.market"] * 3), [placed("owner:r1", "limit", [2])], 0, False),
        (held(AT + HOUR_NS, [5e3, 4e3, 5e3], ["desk.market"] * 3), [placed("desk.market", "set", [1])], 0, False),
        (held(AT + HOUR_NS, [5e3, 5e3, 5e3], ["desk.market", "other", "desk.market"]), [], 0, False),
        (
            held(AT + HOUR_NS, [5e3, 5e3, 5e3], ["desk.market", "desk.storage", "desk.market"]),
            [placed("desk.storage", "set", [1])], 0, True,
        ),
        (held(AT + HOUR_NS, [5e3, 5e3, 5e3], ["desk.market"] * 3), [], 2, False),
    ],
)  # fmt: skip
def test_what_held_before_holds_again_but_for_recorded_causes(
    after: Held, records: list, left: int, holds: bool
) -> None:
    told = Told(restored={"limits_of_override": left, "group": "feeder-01-generation"}, held=(BEFORE, UNDER, after))
    assert verdict(restored(told, records)) == (holds, True)


def test_a_limit_that_ran_out_by_itself_explains_a_wider_bound() -> None:
    before = held(AT, [4e3, 5e3], ["desk.market"] * 2, ends_ns=AT + MINUTE_NS)
    under, after = held(AT, [0.0, 0.0], ["desk.market"] * 2), held(AT + HOUR_NS, [5e3, 5e3], ["desk.market"] * 2)
    told = Told(restored={"limits_of_override": 0, "group": "g"}, held=(before, under, after))
    assert verdict(restored(told, [])) == (True, True)


# --- relief -------------------------------------------------------------------------------------------------------------


def relief(*loadings: tuple[float, float], moved: float | None = None, after_a_minute: float | None = None) -> Relief:
    """A relief with loadings seen so many minutes after its begin; it may be tightened at a minute.

    `after_a_minute` is the loading a minute after the last look.
    """
    made = Relief("feeder-01", AT, -1e5, True, "loading", 1.2, -1.3e5, ["SUCCESS"])
    made.seen = [(AT + int(minute * MINUTE_NS), load, -1e5) for minute, load in loadings]
    made.moved = [] if moved is None else [(AT + int(moved * MINUTE_NS), -9e4)]
    made.again = {} if after_a_minute is None else {made.seen[-1][0]: after_a_minute}
    return made


@pytest.mark.parametrize(
    ("reliefs", "expected"),
    [
        ([relief((5, 1.1), (10, 0.97))], (True, True)),
        ([relief((5, 1.1), (10, 1.02))], (False, True)),
        ([relief((5, 1.1), (10, 1.02), after_a_minute=1.01)], (False, True)),
        ([relief((5, 1.1), (10, 1.02), after_a_minute=0.99)], (True, True)),
        ([relief((10, 0.9), (20, 1.02), (25, 0.95), moved=20)], (False, True)),
        ([relief((5, 1.1))], (True, False)),
        ([], (True, False)),
    ],
)
def test_a_relief_is_judged_by_the_power_flow_once_devices_had_time(reliefs: list, expected: tuple) -> None:
    assert verdict(relieved(SimpleNamespace(reliefs=reliefs))) == expected
    assert SETTLES_NS == 6 * MINUTE_NS


def ended(
    begins: float,
    ends: float,
    *,
    feeder: str = "feeder-01",
    alone: float = math.nan,
    alone_after: float = math.nan,
) -> Relief:
    """A relief from one hour to another."""
    made = Relief(feeder, AT + int(begins * HOUR_NS), -1e5, True, "loading", 1.2, -1.3e5, ["SUCCESS"])
    made.ends_ns, made.alone = AT + int(ends * HOUR_NS), alone
    made.alone_after = alone_after
    return made


@pytest.mark.parametrize(
    ("reliefs", "expected"),
    [
        ([ended(0, 1), ended(2.1, 3)], (True, True)),
        ([ended(0, 1), ended(1.1, 2)], (False, True)),
        ([ended(0, 1), ended(1.1, 2, alone=0.97)], (False, True)),
        ([ended(0, 1, alone_after=0.9), ended(1.1, 2, alone=1.04)], (True, True)),
        ([ended(0, 1, alone_after=1.2), ended(1.1, 2, alone=1.04)], (False, True)),
        ([ended(0, 1), ended(1.1, 2, feeder="feeder-02")], (True, True)),
        ([ended(0, 1), ended(1.9, 2)], (False, True)),
        ([ended(2, 3.2)], (True, False)),
        ([], (True, False)),
    ],
)
def test_a_relief_that_is_needed_again_at_once_was_ended_too_soon(reliefs: list, expected: tuple) -> None:
    stage = SimpleNamespace(node=SimpleNamespace(clock=SimpleNamespace(now_ns=lambda: AT + 4 * HOUR_NS)))
    assert verdict(calm_after(stage, SimpleNamespace(reliefs=reliefs))) == expected


def test_a_relief_ends_when_its_devices_stayed_well_below_it_and_not_by_the_clock() -> None:
    made = relief((5, 0.9))
    made.seen = [(AT + k * MINUTE_NS, 0.9, -1e5 * frac) for k, frac in enumerate((0.95, 0.5, 0.55, 0.5, 0.59))]
    assert made.is_easy
    made.seen.append((AT + HOUR_NS, 0.9, -0.65e5))
    assert not made.is_easy
    exports = Relief("feeder-01", AT, 1e5, False, "loading", 1.2, 1.3e5, ["SUCCESS"])
    exports.seen = [(AT, 0.9, 0.5e5)] * 4
    assert exports.is_easy
    exports.bound_w = -1.0
    assert not exports.is_easy, "a limit that lets nobody give binds whoever would"
