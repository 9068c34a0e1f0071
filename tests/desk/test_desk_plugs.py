"""What a link can tell no more than on or off is that to the desk, whatever its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from desk_stage import PEOPLE, Hands, MemoryJournal, Stage1, fleet_of

from tieline.desk import groups
from tieline.desk.desk import Desk
from tieline.desk.ports import CommandLink
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.fleet.grouped import Groups
from tieline.fleet.ledger import Ledger
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.links.endpoint.openadr.access import Tokens
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.node.left_out import LeftOut
from tieline.node.snapshot import snapshot_of
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind, Rating
from tieline.resource.level import Level
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS

LOAD = Kind.SHIFTABLE_LOAD
RATING = Rating(max_absorb_w=5_000.0)
Made = Callable[[Desk, Hands, np.random.Generator], CommandLink]


def mqtt(desk: Desk, clock: Hands, rng: np.random.Generator) -> CommandLink:
    devices = {1: MqttDevice("pump", "plug", RATING), 3: MqttDevice("car", "ev_charger", RATING)}
    return MqttLink(MqttSettings("127.0.0.1", 1883, devices), desk, clock, Supervisor(rng), rng)


def openadr(desk: Desk, clock: Hands, rng: np.random.Generator) -> CommandLink:
    supervisor, http = Supervisor(rng), HttpClient()
    group = GroupCommit(SqliteJournal(Path(":memory:")), supervisor.spawn)
    vtn = Vtn(Book(group, clock), Tokens({}, b"k" * 32, clock), supervisor, http, (), clock, rng)
    who = {1: EndPointName("pump", "pump", is_switched=True), 3: EndPointName("car", "car")}
    return OpenAdrLink(OpenAdrSettings(who), vtn, desk, clock, supervisor)


def left_out(desk: Desk, clock: Hands, rng: np.random.Generator) -> CommandLink:
    return LeftOut("mqtt", "mqtt", "x.pem: give a certificate", desk, clock, frozenset({1}))


def modbus(desk: Desk, clock: Hands, rng: np.random.Generator) -> CommandLink:
    link = ModbusLink(
        ModbusSettings({1: "127.0.0.1:502/1", 3: "127.0.0.1:502/2"}, {}), desk, clock, Supervisor(rng), rng
    )
    assert link.switched == frozenset()
    return link


def caps_bound_to(made: Made) -> tuple[list[bool], list[float]]:
    """Return which rows are on or off once a link is bound, and the low caps (W) of a limit of -13 kW on all."""
    fleet, clock = fleet_of([Kind.BATTERY, LOAD, LOAD, LOAD, Kind.THERMOSTAT]), Hands()
    desk = Desk(DeskState.empty(fleet, ClaimBook(fleet), Ledger()), MemoryJournal(), clock, PEOPLE)
    assert desk.state.is_switched.tolist() == [False, False, False, False, True]
    desk.bind(made(desk, clock, np.random.default_rng(1)), "link", {1: "pump", 3: "car"})
    others = LeftOut("modbus", "modbus", "x.pem: give a certificate", desk, clock, frozenset())
    desk.bind(others, "others", {0: "store", 2: "oven", 4: "room"})  # whom no link serves has no part in a limit
    fleet.quality[:], fleet.taken_at_ns[:] = 0, clock.ns
    fleet.power_w[:] = [0.0, -5_000.0, -5_000.0, -5_000.0, -5_000.0]
    low, _ = groups.caps(desk.state, np.arange(5, dtype=np.int32), -13_000.0, 9e9, clock.ns)
    return desk.state.is_switched.tolist(), low.tolist()


@pytest.mark.parametrize("made", [mqtt, openadr, left_out])
def test_a_load_behind_a_switch_is_on_or_off_and_one_of_its_kind_that_takes_a_power_is_not(made: Made) -> None:
    is_switched, low = caps_bound_to(made)
    assert is_switched == [False, True, False, False, True]
    assert {low[1], low[4]} <= {-5_000.0, 0.0}, "all of its size, or none"
    assert -5_000.0 < low[2] < 0.0 and -5_000.0 < low[3] < 0.0, "who takes a part has one"
    assert low == caps_bound_to(mqtt)[1], "a limit treats it the same whatever link serves it"


def test_what_is_bound_over_sunspec_takes_a_power_and_what_does_not_is_refused_there() -> None:
    is_switched, _ = caps_bound_to(modbus)
    assert is_switched == [False, False, False, False, True]
    desk = Desk(
        DeskState.empty(fleet_of([LOAD]), ClaimBook(fleet_of([LOAD])), Ledger()), MemoryJournal(), Hands(), PEOPLE
    )
    rng = np.random.default_rng(1)
    for profile in ("plug", "water_heater", "thermostat_cooling"):
        settings = ModbusSettings({0: "127.0.0.1:502/1"}, {}, profiles={0: profile})
        with pytest.raises(ConfigError, match=f"{profile}.*not told over sunspec: give one of .*battery_inverter"):
            ModbusLink(settings, desk, Hands(), Supervisor(rng), rng)


def test_an_import_limit_lets_as_many_plugs_run_as_fit_and_gives_the_rest_to_what_takes_a_part() -> None:
    stage = Stage1(fleet_of([LOAD] * 8), switched=frozenset(range(4)))
    stage.state.fleet.power_w[:] = -5_000.0
    low, _ = groups.caps(stage.state, np.arange(8, dtype=np.int32), -23_000.0, 9e9, stage.clock.ns)
    assert set(low[:4].tolist()) == {-5_000.0, 0.0}, "all of its size, or none"
    assert (low[4:] > -5_000.0).all() and (low[4:] < 0.0).all(), "who takes a part has one"
    assert -23_000.0 <= low.sum() < -22_500.0


@pytest.mark.parametrize(("low_w", "high_w"), [(-2_000.0, -2_000.0), (-2_000.0, 1_000.0), (-2_000.0, 9e9)])
@pytest.mark.parametrize("power_w", [0.0, -5_000.0])
def test_the_limit_that_is_shown_of_plugs_is_the_one_that_was_operated_or_tighter(
    low_w: float, high_w: float, power_w: float
) -> None:
    """Plugs that run whole are told what lies beyond it: -1,980 W were shown for -2,000, or 0 where they ran."""

    async def play() -> tuple[dict[str, float], dict[str, float]]:
        stage = Stage1(fleet_of([Kind.SHIFTABLE_LOAD] * 3), switched=frozenset(range(3)))
        stage.state.fleet.power_w[:] = power_w
        hour_ns = stage.clock.ns + HOUR_NS
        ends = {"low": low_w, "high": high_w, "end_ns": hour_ns}
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, **ends))
        await stage.desk.settle()
        return shown(stage, stage.clock.ns), shown(stage, hour_ns)

    def shown(stage: Stage1, now_ns: int) -> dict[str, float]:
        (view,) = snapshot_of(stage.state, Groups(stage.state.fleet, ["feeder-1"]), now_ns).groups
        return {key: measured.value for key, measured in view.values.items()}

    during, after = asyncio.run(play())
    assert low_w <= during["limit_low_w"] <= during["limit_high_w"] <= high_w
    assert (after["limit_low_w"], after["limit_high_w"]) == (-15_000.0, 0.0), "nor is one shown that is over"
