"""What the alarm list doesn't show is in another list, with the reason: nothing that was found is nowhere."""

from __future__ import annotations

import numpy as np
from console_stage import Running
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.alarms import TROUBLES, rolled_up, troubles_found
from tieline.desk.views import AlarmView, LinkView
from tieline.ids import derive
from tieline.node.read_alarms import AlarmBook, behind
from tieline.node.read_fleet import OUT, SLOW, STALE
from tieline.node.read_standing import _behind_links, _limits_of

SECOND = 10**9


def _alarm(name: str, priority: int = 2, count: int = 1) -> AlarmView:
    return AlarmView(name, priority, name, f"trouble of {name}", "", "", 600, "/", count, 0)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300)), max_size=40), st.integers(1, 6))
def test_each_alarm_that_was_found_is_shown_or_held_back_with_a_reason(
    found: list[tuple[int, int]], looks: int
) -> None:
    book = AlarmBook()
    alarms = [(_alarm(f"a{n}", priority), after_s * SECOND) for n, (priority, after_s) in enumerate(found)]
    for look in range(1, looks + 1):
        kept = book.keep(alarms, look * 60 * SECOND)
        shown, held = {alarm.id for alarm in kept}, {each.alarm.id for each in book.suppressed}
        assert {alarm.id for alarm, _ in alarms} <= shown | held
        assert not shown & held
        assert all(each.why for each in book.suppressed)
        assert {each.how for each in book.suppressed} <= {"delayed", "rolled_up"}
        told_as_one = {each.into for each in book.suppressed if each.how == "rolled_up"}
        assert told_as_one <= shown


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.sampled_from([2, 3, 4]))
def test_a_trouble_of_the_whole_fleet_is_told_as_one_and_its_feeders_are_in_the_list(
    bad: list[int], state: int
) -> None:
    names = [f"feeder-{n}" for n in range(len(bad))]
    counts = np.zeros((len(bad), 8), np.int64)
    counts[:, 0], counts[:, state] = 40, bad
    found = [alarm for alarm, _ in troubles_found(names, counts, "fleet", {}, 0)]
    parts = rolled_up(found, names, counts, "fleet", 0)
    (trouble,) = [each for each in TROUBLES if each.state == state]
    if derive("alarm", trouble.key, "fleet") in {alarm.id for alarm in found}:
        assert sum(part.alarm.count for part in parts) == sum(bad)
        assert {part.into for part in parts} == {derive("alarm", trouble.key, "fleet")}
    else:
        assert parts == []


def test_devices_behind_a_dead_link_are_held_back_under_it_and_named() -> None:
    links = [LinkView("modbus", "modbus", "down", 0, 0, 0, 0, 5), LinkView("mqtt", "mqtt", "live", 0, 0, 0, 0, 5)]
    cells = np.array([STALE, SLOW, OUT, STALE], np.uint8)
    _, silent = behind(cells, np.array([0, 0, 0, 1], np.int16), {0: "modbus"})
    (part,) = _behind_links([_alarm(derive("alarm", "link", "modbus"))], links, silent, {"modbus": 3}, 0)
    assert (part.how, part.alarm.subject, part.alarm.count) == ("by_cause", "modbus", 2)
    assert _limits_of([], {}, "fleet", 0) == []


def test_the_list_is_read_over_the_api(running: Running) -> None:
    with running.client("ann") as client:
        told = client.get("/api/v1/alarms/suppressed")
        assert told.status_code == 200
        for each in told.json():
            assert each["how"] in ("delayed", "rolled_up", "by_cause")
            assert each["why"]
    with running.client(None) as client:
        assert client.get("/api/v1/alarms/suppressed").status_code == 401
