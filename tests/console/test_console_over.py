"""A group that stands beyond its limit calls a person, however small it is; what meters and steps are off by does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_console_unknown import HandClock, _fleet, _hear, on_node

from tieline.desk.screens import AskLimit
from tieline.fleet.columns import Fleet
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal
from tieline.times import MINUTE_NS


def told(folder: Path, fleet: Fleet, resource: str, high_w: float, power_w: Sequence[float]) -> list[str]:
    """Return what the alarm says each minute (empty: none) of a group that stands at a power, shared by its devices."""
    found = list[str]()

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        ask = AskLimit(-1e6, high_w, 60, "works")
        assert not isinstance(await operator.limit(resource, ask, "ann"), Refusal)
        for group_w in power_w:
            await _hear(node, group_w / len(fleet.leaves(resource)))
            titles = [alarm.title for alarm in reader.alarms() if alarm.subject == resource]
            found.append(next((title for title in titles if title.startswith("Over its limit")), ""))
            clock.ns += MINUTE_NS

    folder.mkdir(exist_ok=True)
    on_node(folder, fleet, act)
    return found


@pytest.mark.parametrize(
    ("each", "high_w", "power_w", "says"),
    [
        (2, 5_000.0, 6_600.0, "Over its limit by 1.6 kW"),
        (2, 5_000.0, 5_450.0, ""),  # what two small devices are off by
        (2, 0.0, 600.0, "Over its limit by 0.6 kW"),
        (20, 50_000.0, 52_500.0, "Over its limit by 2.5 kW"),
        (20, 50_000.0, 51_900.0, ""),  # the desk's own steps are 1 kW there
        (200, 100_000.0, 104_900.0, ""),
        (200, 100_000.0, 105_200.0, "Over its limit by 5.2 kW"),
        (200, 400_000.0, 411_000.0, ""),
        (200, 400_000.0, 413_000.0, "Over its limit by 13 kW"),
    ],
)
def test_a_group_that_stands_beyond_its_limit_for_good_is_told_in_proportion_to_its_size(
    tmp_path: Path, each: int, high_w: float, power_w: float, says: str
) -> None:
    found = told(tmp_path, _fleet(1, each), "feeder-01", high_w, [power_w] * 9)
    assert found[:3] == [""] * 3, "batteries may take a beat, and a minute and a half, to obey"
    assert found[3:] == [says] * 6


def test_a_small_group_that_sways_about_its_limit_calls_nobody_and_one_that_is_told_stands_till_it_is_well_within(
    tmp_path: Path,
) -> None:
    swaying = [6_600.0 if minute % 6 == 0 else 4_900.0 for minute in range(40)]
    assert told(tmp_path, _fleet(1, 2), "feeder-01", 5_000.0, swaying) == [""] * 40
    eases = [6_600.0] * 6 + [5_400.0, 5_600.0] * 5 + [5_200.0] * 5
    stood = [bool(title) for title in told(tmp_path / "told", _fleet(1, 2), "feeder-01", 5_000.0, eases)]
    assert stood == [False] * 3 + [True] * 13 + [False] * 5


def test_a_limit_on_one_device_is_told_by_the_devices_own_alarm(tmp_path: Path) -> None:
    fleet = _fleet(1, 2)
    assert set(told(tmp_path, fleet, "battery-0", 2_000.0, np.full(9, 4_000.0).tolist())) == {""}
