"""A link that is down counts everybody who hangs on it: nothing passes to those either whose owner opted out."""

from __future__ import annotations

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.views import AlarmView, LinkView
from tieline.node.read_alarms import DOWN_NS, AlarmBook
from tieline.node.read_fleet import order_of, states
from tieline.node.read_standing import Seen, stand
from tieline.resource.identity import Kind
from tieline.resource.quality import Quality

LINKS = "modbus", "mqtt"


def told(state: str, link_of: list[int], silent: list[bool], out: list[bool]) -> dict[str, AlarmView]:
    """Return the alarms of links, by the subject of each, once they have stood for long enough."""
    stage = Stage1(fleet_of([Kind.BATTERY] * len(link_of)))
    fleet, order = stage.state.fleet, order_of(stage.state.fleet)
    fleet.taken_at_ns[:] = stage.clock.ns
    fleet.quality[silent] |= int(Quality.COMM_LOST)
    stage.state.opted_out[:] = out
    book, found = AlarmBook(), list[AlarmView]()
    for at_ns in (stage.clock.ns, stage.clock.ns + 10 * DOWN_NS):
        seen = Seen(
            states(stage.state, {}, at_ns), [LinkView(name, name, state, 0, 0, 0, 0, 5) for name in LINKS], {}, (),
            np.array(link_of, np.int16), dict(enumerate(LINKS)), {},
        )  # fmt: skip
        found = stand(book, seen, stage.state, None, order, "", at_ns)
    return {alarm.subject: alarm for alarm in found if alarm.subject in LINKS}


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_a_link_that_is_down_counts_all_that_hang_on_it_whoever_opted_out(rows: list[tuple[int, bool, bool]]) -> None:
    link_of, silent, out = (list(column) for column in zip(*rows, strict=True))
    found = told("down", link_of, silent, out)
    for code, name in enumerate(LINKS):
        count = link_of.count(code)
        behind = f": {count} devices behind it are out of reach" if count else ""
        assert found[name].title == f"Link {name} ({name}) is down{behind}"
        assert found[name].count == max(count, 1)


@pytest.mark.parametrize("state", ["waiting", "down"])
def test_devices_that_opted_out_are_counted_with_those_that_are_silent(state: str) -> None:
    alarm = told(state, [0, 0, 0, 1], [True, True, False, False], [True, False, True, False])["modbus"]
    assert (alarm.count, alarm.priority) == (3, 2)
    assert alarm.title.endswith(": 3 devices behind it are out of reach")
