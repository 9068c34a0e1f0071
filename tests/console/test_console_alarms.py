"""Alarms: few, each with a way to the fix, however much is wrong (design rule 20; EEMUA 191 and ISA-18.2 on floods)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.alarms import MOST, TROUBLES, abnormal_counts, device_alarms, fewest
from tieline.desk.views import AlarmView, LinkView
from tieline.links.device.mqtt.endings import SESSION_ENDED
from tieline.node.read_alarms import link_alarms

STALE = 4


def test_an_outage_of_100_000_devices_gives_at_most_ten_alarms() -> None:
    """1,000,000 devices on 500 feeders, 100,000 of them silent, some failed and slow besides."""
    rng = np.random.default_rng(1)
    group_of = rng.integers(0, 500, 1_000_000).astype(np.int32)
    state = np.zeros(1_000_000, np.uint8)
    state[np.isin(group_of, np.arange(50))] = STALE
    state[rng.integers(0, 1_000_000, 30_000)] = 2
    state[rng.integers(0, 1_000_000, 10_000)] = 3
    names = [f"feeder-{n:03d}" for n in range(500)]
    counts = abnormal_counts(state, group_of, 500)
    alarms = fewest(device_alarms(names, counts, "substation-1", {}, 0))
    assert int((state == STALE).sum()) > 90_000
    assert 1 <= len(alarms) <= 10
    assert alarms[0].priority == 1
    assert alarms[0].count > 90_000


def test_one_sick_feeder_is_named_and_leads_to_its_screen() -> None:
    state = np.zeros(900, np.uint8)
    state[:120] = STALE
    group_of = np.repeat(np.arange(3, dtype=np.int32), 300)
    (alarm,) = device_alarms(["feeder-01", "feeder-02", "feeder-03"], abnormal_counts(state, group_of, 3), "s", {}, 5)
    assert (alarm.subject, alarm.count, alarm.link) == ("feeder-01", 120, "/feeder/feeder-01")
    assert alarm.consequence
    assert alarm.action
    assert alarm.respond_s > 0


def test_a_single_device_is_an_event_and_no_alarm() -> None:
    state = np.zeros(300, np.uint8)
    state[7] = STALE
    assert device_alarms(["feeder-01"], abnormal_counts(state, np.zeros(300, np.int32), 1), "s", {}, 0) == []


def test_an_alarm_that_stands_keeps_its_beginning() -> None:
    state = np.full(100, STALE, np.uint8)
    counts = abnormal_counts(state, np.zeros(100, np.int32), 1)
    (first,) = device_alarms(["feeder-01"], counts, "s", {}, 5)
    (later,) = device_alarms(["feeder-01"], counts, "s", {first.id: 5}, 900)
    assert (later.id, later.since_ns) == (first.id, 5)


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_alarms_never_exceed_ten_and_never_lose_a_device(groups: int, seed: int) -> None:
    """Every device of a feeder that is sick counts in some alarm."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((groups, 8), np.int64)
    counts[:, 0] = rng.integers(0, 400, groups)
    for trouble in TROUBLES:
        counts[:, trouble.state] = rng.integers(0, 200, groups) * (rng.random(groups) < 0.5)
    names = [f"feeder-{n}" for n in range(groups)]
    found = device_alarms(names, counts, "s", {}, 0)
    kept = fewest(found)
    assert len(kept) <= MOST
    assert sum(alarm.count for alarm in kept) == sum(alarm.count for alarm in found)
    assert [alarm.priority for alarm in kept[:-1]] == sorted(alarm.priority for alarm in kept[:-1])


def test_where_there_are_too_many_the_least_grave_are_told_as_one() -> None:
    many = [
        AlarmView(f"a{n}", 1 if n < 4 else 3, "x", "t", "c", "a", 60, "/x", n, n) for n in range(25)
    ]  # fmt: skip
    kept = fewest(many)
    assert len(kept) == MOST
    assert {f"a{n}" for n in range(4)} <= {alarm.id for alarm in kept}
    assert kept[-1].link == "/alarms"
    assert "16 more" in kept[-1].title


MINUTE = 60 * 10**9


def test_only_a_link_that_is_not_live_alarms() -> None:
    links = [LinkView("a", "dnp3", "live", 1, 0, 0, 0, 5), LinkView("b", "iso_web", "down", 0, 0, 0, 0, 7)]
    ((alarm, after_ns),) = link_alarms(links, {})
    assert after_ns == MINUTE
    assert (alarm.subject, alarm.since_ns, alarm.link) == ("b", 7, "/links")


@pytest.mark.parametrize("state", ["live", "down"])
def test_a_session_that_a_broker_ends_again_and_again_alarms_at_once_whether_it_is_up_or_down(state: str) -> None:
    says = f"{SESSION_ENDED} 4 times in 60 s: likely another client signs in by the same client id 'desk'"
    others = [LinkView(f"d{n}", "dnp3", "down", 0, 0, 0, 0, 5) for n in range(4)]
    found = link_alarms([*others, LinkView("mqtt", "mqtt", state, 1, 0, 0, 0, 7, says)], {})
    ((alarm, after_ns),) = [(alarm, after_ns) for alarm, after_ns in found if alarm.subject == "mqtt"]
    assert (alarm.priority, after_ns, alarm.link) == (2, 0, "/links")
    assert says in alarm.title
    assert "client_id" in alarm.action


def test_a_link_that_nobody_has_called_yet_waits_and_is_not_down() -> None:
    """A listener's peer may be yet to be set up: five minutes, priority 3, and no part of 'all links are down'."""
    waits = [LinkView(f"w{n}", "dnp3", "waiting", 0, 0, 0, 0, 5) for n in range(4)]
    found = link_alarms([*waits, LinkView("b", "iso_web", "down", 0, 0, 0, 0, 7)], {})
    told = {alarm.subject: (alarm.priority, after_ns) for alarm, after_ns in found}
    assert told == {**{f"w{n}": (3, 5 * MINUTE) for n in range(4)}, "b": (2, MINUTE)}
    assert "nobody has called since it began to listen" in found[0][0].title
    ((alarm, _),) = link_alarms([waits[0]], {}, {"w0": 12})
    assert (alarm.priority, alarm.count) == (2, 12)


def test_trouble_that_sways_about_its_threshold_is_one_alarm_and_no_chatter() -> None:
    """Five to two sick feeders of ten, 8 to 12 % of each: raised once at the top, told of the whole all along."""
    rng, names, since = np.random.default_rng(4), [f"feeder-{n}" for n in range(10)], dict[str, int]()
    raised = set[str]()
    for minute in range(200):
        counts = np.zeros((10, 8), np.int64)
        sick = rng.integers(8, 13, 5) if minute else np.full(5, 12)
        counts[:5, 2], counts[:5, 0], counts[5:, 0] = sick, 100 - sick, 100
        found = device_alarms(names, counts, "sub", since, minute)
        since = {alarm.id: alarm.since_ns for alarm in found}
        raised |= since.keys()
        assert [(alarm.subject, alarm.since_ns) for alarm in found] == [("sub", 0)], minute
    assert len(raised) == 1
