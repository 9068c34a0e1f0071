"""What a link can tell no more than on or off is that to the desk, whatever its kind."""

from __future__ import annotations

import numpy as np
from desk_stage import PEOPLE, Hands, MemoryJournal, Stage1, fleet_of

from tieline.desk import groups
from tieline.desk.desk import Desk
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.identity import Kind, Rating
from tieline.rim.supervise import Supervisor

LOAD = Kind.SHIFTABLE_LOAD


def test_a_load_behind_a_plug_is_on_or_off_and_one_of_its_kind_that_takes_a_power_is_not() -> None:
    fleet, clock = fleet_of([Kind.BATTERY, LOAD, LOAD, Kind.EV_CHARGER, Kind.THERMOSTAT]), Hands()
    desk = Desk(DeskState.empty(fleet, ClaimBook(fleet), Ledger()), MemoryJournal(), clock, PEOPLE)
    assert desk.state.is_switched.tolist() == [False, False, False, False, True]
    rating = Rating(max_absorb_w=5_000.0)
    devices = {1: MqttDevice("pump", "plug", rating), 3: MqttDevice("car", "ev_charger", rating)}
    rng = np.random.default_rng(1)
    link = MqttLink(MqttSettings("127.0.0.1", 1883, devices), desk, clock, Supervisor(rng), rng)
    desk.bind(link, "mqtt", {row: device.device for row, device in devices.items()})
    assert desk.state.is_switched.tolist() == [False, True, False, False, True]


def test_an_import_limit_lets_as_many_plugs_run_as_fit_and_gives_the_rest_to_what_takes_a_part() -> None:
    stage = Stage1(fleet_of([LOAD] * 8), switched=frozenset(range(4)))
    stage.state.fleet.power_w[:] = -5_000.0
    low, _ = groups.caps(stage.state, np.arange(8, dtype=np.int32), -23_000.0, 9e9, stage.clock.ns)
    assert set(low[:4].tolist()) == {-5_000.0, 0.0}, "all of its size, or none"
    assert (low[4:] > -5_000.0).all() and (low[4:] < 0.0).all(), "who takes a part has one"
    assert -23_000.0 <= low.sum() < -22_500.0
