"""What program events moved of a pool's devices, as a day's settlement is told it; and how long loads stay switched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.entry import Entry
from tieline.desk.facts import EventTracked
from tieline.desk.packed import Packed
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.node.link_settings import LinkSettings, MqttLinkSettings, MqttUnit
from tieline.node.on_or_off import take_least_times
from tieline.node.statements import STEP_NS, moved_by_events
from tieline.resource.hold import MIN_HOLD_S
from tieline.resource.identity import Kind
from tieline.times import MINUTE_NS

START = 1_700_000_000_000_000_000 // STEP_NS * STEP_NS


class Kept:
    """A journal of events' intervals."""

    def __init__(self, facts: list[EventTracked]) -> None:
        self._records = [Entry(f"event-interval:{at}", fact, "g").record(fact.end_ns) for at, fact in enumerate(facts)]

    def of_kind(self, kind: str, since_ns: int = 0) -> list:
        return [record for record in self._records if record.kind == kind and record.recorded_at_ns >= since_ns]


def tracked(start_ns: int, minutes: int, row_w: dict[int, float], event: str = "e") -> EventTracked:
    rows, watts = np.array([*row_w], np.int32), np.array([*row_w.values()], np.float64)
    end_ns = start_ns + minutes * MINUTE_NS
    return EventTracked(event, start_ns, end_ns, 1e4, float(watts.sum()), {}, 1, Packed.of(rows), Packed.of(watts))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.floats(0.0, 1e4), st.floats(0.0, 1e4)), max_size=8))
def test_a_settlement_is_told_each_kwh_that_events_moved_of_the_pools_own_devices(parts: list) -> None:
    facts = [tracked(START + step * STEP_NS, minutes, {0: mine, 9: other}) for step, minutes, mine, other in parts]
    found = moved_by_events(Kept(facts), np.arange(5, dtype=np.int32), START, START + 6 * STEP_NS)
    assert set(found) <= {START + step * STEP_NS for step in range(6)}
    wh = sum(watts * 5 / 60 for watts in found.values())
    assert wh == pytest.approx(sum(mine * minutes / 60 for _, minutes, mine, _ in parts), abs=1e-6)


def test_an_interval_of_an_older_record_that_names_no_devices_tells_a_settlement_nothing() -> None:
    old = EventTracked("e", START, START + STEP_NS, 1e4, 9e3, {}, 1)
    assert moved_by_events(Kept([old]), np.arange(5, dtype=np.int32), START, START + STEP_NS) == {}


def test_the_least_time_of_a_switched_load_is_its_profiles_and_else_its_kinds() -> None:
    kinds, none = np.array([KIND_CODE[Kind.THERMOSTAT]] * 2, np.uint8), np.zeros(2)
    fleet = Fleet(["told", "untold"], kinds, none, np.full(2, 3e3), none, none, none, [], {})
    unit = MqttUnit("d", "thermostat_cooling")
    take_least_times(LinkSettings(mqtt=(MqttLinkSettings("localhost", devices={"told": unit}),)), fleet)
    assert fleet.min_hold_s.tolist() == [300.0, MIN_HOLD_S[Kind.THERMOSTAT]]
