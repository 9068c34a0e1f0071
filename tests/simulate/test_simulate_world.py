"""The world as a whole: its clocks, its weather, its feeders and owners; and that a seed fixes all of it."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from world_digest import digest

from tieline.node.stage import SCENARIOS
from tieline.resource.identity import Kind
from tieline.simulate import datasets
from tieline.simulate.owners import Owners, discomfort
from tieline.simulate.sky import Climate
from tieline.simulate.territory import RURAL, build
from tieline.simulate.world import World
from tieline.times import HOUR_NS, SECOND_NS, parse_iso

ROOT = Path(__file__).parents[2]
PYTHONS = {name: ROOT / f".venv-{name}" / "bin" / "python" for name in ("3.12", "3.13")}
SCRIPT = str(Path(__file__).with_name("world_digest.py"))


def live(name: str, hours: range, devices: int = 1_000, seed: int = 1, store_w: float = np.nan):
    """Play some hours of a scenario's day; yields the world after each minute."""
    scenario = SCENARIOS[name]
    world = World(build(devices, np.random.default_rng([seed, 0])), np.random.default_rng([seed, 1]), scenario.climate)
    begin_ns = parse_iso(f"{scenario.day}T00:00:00-05:00")
    target = np.full(devices, np.nan)
    target[world.stores] = store_w
    for minute in range(hours.start * 60, hours.stop * 60):
        now_ns = begin_ns + (minute + 1) * 60 * SECOND_NS
        world.step(now_ns, 60.0, target, np.full(devices, -np.inf), np.full(devices, np.inf))
        yield world


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_people_live_by_the_wall_clock_through_both_changes_of_time() -> None:
    """The second of day follows daylight saving: 02:00 becomes 03:00 in March, 01:00 comes twice in November."""
    march = parse_iso("2022-03-13T07:59:59+00:00")
    assert datasets.wall_clock(march).hour == 1
    assert datasets.wall_clock(march + SECOND_NS).hour == 3
    november = parse_iso("2022-11-06T06:30:00+00:00")
    assert [datasets.wall_clock(november + k * HOUR_NS).hour for k in range(3)] == [1, 1, 2]


def test_the_homes_monday_is_the_territorys_monday() -> None:
    """The homes' year begins on a Monday, 1 August, and so does that of 2022: hour 0 is read at local midnight."""
    now = parse_iso("2022-08-01T00:00:00-05:00")
    assert datasets.homes_at(now) == pytest.approx(datasets.homes()[:, 0])
    assert datasets.homes_at(now + 7 * HOUR_NS) == pytest.approx(datasets.homes()[:, 7])


@pytest.mark.parametrize("day", ["2022-01-15", "2022-05-02", "2022-08-17", "2022-12-30"])
@pytest.mark.parametrize("clock", ["00:00", "07:15", "18:45"])
def test_a_shops_profile_is_that_of_its_weekday_and_quarter(day: str, clock: str) -> None:
    now = parse_iso(f"{day}T{clock}:00-06:00")
    local = datasets.wall_clock(now)
    row = datasets.profile_row(now)
    read = datetime(2016, 1, 1) + (datetime(2016, 1, 1, 0, 15) - datetime(2016, 1, 1)) * row
    assert (read.hour, read.minute) == (local.hour, local.minute // 15 * 15)
    assert read.weekday() == local.weekday()
    assert abs((read.replace(year=2000) - local.replace(year=2000)).days) <= 4 or read.month in (1, 12)


def test_the_sun_is_highest_at_the_territorys_solar_noon() -> None:
    """At 96.8 degrees west solar noon is at 18:27 UTC, less the equation of time (4 min late in mid-August)."""
    noon = parse_iso("2022-08-17T18:27:00+00:00")
    from tieline.simulate.physics.sun import sun_vector

    heights = [
        sun_vector(
            datasets.weather_ns(noon + minute * 60 * SECOND_NS) / SECOND_NS,
            datasets.WEATHER_LATITUDE_DEG,
            datasets.WEATHER_LONGITUDE_DEG,
        )[2]
        for minute in range(-60, 60)
    ]
    assert abs(int(np.argmax(heights)) - 60 - 4) <= 3


# --- the days differ as one would expect -----------------------------------------------------------------------------


def test_a_heat_wave_is_hot_and_its_evening_overloads_a_street() -> None:
    """Without anybody's control the transformer of a street passes its rating, and not by night or in the morning."""
    outdoor, street, evening = [], [], []
    for world in live("heatwave", range(2, 21)):
        outdoor.append(world.sky.outdoor_c)
        streets = np.array(world.territory.model_of_feeder) == 1
        (evening if len(outdoor) > 14 * 60 else street).append(world.grid.loading[streets].max())
    assert 37 < max(outdoor) < 43
    assert max(evening) > 1.05
    assert max(street[: 4 * 60]) < 0.9
    assert world.inverters.trips == 0 and world.solved.collapsed == 0


def test_on_a_cloudy_day_pv_falls_and_climbs_within_minutes_and_gives_less() -> None:
    """The steepest five minutes of one feeder's PV, and the energy of the hours around noon."""
    seen = {}
    for name in ("heatwave", "cloud"):
        power, rows = [], None
        for world in live(name, range(11, 15), devices=600):
            rows = world.rows[Kind.PV][world.territory.feeder_of[world.rows[Kind.PV]] == 0]
            power.append(world.power_w[rows].sum() / world.territory.rated_w[rows].sum())
        seen[name] = np.array(power)
    ramp = {name: np.abs(values[5:] - values[:-5]).max() for name, values in seen.items()}
    assert ramp["cloud"] > 0.35
    assert seen["cloud"].mean() < 0.8 * seen["heatwave"].mean()
    assert seen["cloud"].max() > 0.6  # when the sun comes through it is the whole sun


def test_stores_called_at_once_overload_a_farm_and_their_limit_relieves_it() -> None:
    """What the market calls a rural feeder can't bear; held to its operating envelope it does: loading before, after."""
    from tieline.grid.envelope import sweep

    free = list(live("cloud", range(14, 15), store_w=1e5))[-1]
    rural = np.array([free.territory.models[k].name == RURAL for k in free.territory.model_of_feeder])
    worst = [w.grid.loading[rural].copy() for w in live("cloud", range(14, 15), store_w=1e5)]
    at = int(np.argmax(np.max(worst, axis=0)))
    feeder = int(np.flatnonzero(rural)[at])
    assert np.max(worst) > 1.0
    for world in live("cloud", range(14, 15), store_w=1e5):
        if world.grid.loading[feeder] > 1.0:
            break
    sites = world.network.sites(feeder)
    t = world.territory
    devices = np.bincount(t.site_of, world.power_w, len(t.feeder_of_site))[sites]
    native = world.native_w(int(t.model_of_feeder[feeder]))
    place = int((t.model_of_feeder[:feeder] == t.model_of_feeder[feeder]).sum())
    solver, flow = world.network.flow_of(world.grid, feeder)
    before = float(world.grid.loading[feeder])
    found = sweep(
        solver, -world.base_load_w[sites], devices, np.maximum(devices, 0.0) + 1.0, native[place],
        float(flow.voltage_pu[0, solver.model.source]),
    ).within(0.95)  # fmt: skip
    rows = np.flatnonzero(t.feeder_of == feeder)
    assert found.high_w < world.power_w[rows].sum()
    share = (found.high_w - np.minimum(world.power_w[rows], 0).sum()) / np.maximum(world.power_w[rows], 0).sum()
    high = np.full(len(world.power_w), np.inf)
    high[rows] = np.maximum(world.power_w[rows], 0) * max(share, 0.0)
    target = np.full(len(high), np.nan)
    target[world.stores] = 1e5
    now_ns = parse_iso("2022-08-10T15:00:00-05:00")
    for k in range(3):
        world.step(now_ns + k * 60 * SECOND_NS, 60.0, target, np.full(len(high), -np.inf), high)
    after = float(world.grid.loading[feeder])
    assert after < 1.0 < before


def test_a_high_voltage_makes_inverters_absorb_and_then_give_less() -> None:
    world = next(live("heatwave", range(12, 13)))
    rows = world.rows[Kind.PV]
    world.network = None
    for pu, frac in ((1.0, 1.0), (1.08, 0.6)):
        world.site_pu = np.full(len(world.territory.feeder_of_site), pu)
        free = np.full(len(world.power_w), np.nan)
        low, high = np.full(len(free), -np.inf), np.full(len(free), np.inf)
        world.step(parse_iso("2022-08-17T13:30:00-05:00"), 60.0, free, low, high)
        assert (world.power_w[rows] <= frac * world.territory.rated_w[rows] + 1e-6).all()
        assert (world.reactive_var[rows] < 0).all() == (pu > 1.02)


# --- owners ----------------------------------------------------------------------------------------------------------


def test_the_hotter_a_room_grows_the_more_owners_opt_out() -> None:
    world = World(build(4_000, np.random.default_rng(1)), np.random.default_rng(2), with_grid=False)
    rooms = world.rows[Kind.THERMOSTAT]
    called = np.zeros(4_000, bool)
    called[rooms] = True
    left = []
    for over_c in (0.0, 1.0, 1.5, 2.0):
        world.hvac.temperature_c = world.hvac.setpoint_c + over_c
        left.append(len(Owners(world, np.random.default_rng(3)).step(43_200, 3600.0, called)))
    assert left[0] < 0.02 * len(rooms) < left[-1]
    assert left == sorted(left)
    assert discomfort(world, 43_200)[rooms].max() == 1.0


def test_who_was_not_called_has_nothing_to_opt_out_of_and_nobody_leaves_twice() -> None:
    world = World(build(400, np.random.default_rng(1)), np.random.default_rng(2), with_grid=False)
    owners = Owners(world, np.random.default_rng(3))
    assert len(owners.step(0, 1e9, np.zeros(400, bool))) == 0
    assert len(owners.step(0, 1e9, np.ones(400, bool))) == 400
    assert len(owners.step(0, 1e9, np.ones(400, bool))) == 0


# --- a seed fixes it -------------------------------------------------------------------------------------------------


def test_another_seed_or_another_day_is_another_world() -> None:
    here = digest(1, 100, 30)
    assert here == digest(1, 100, 30)
    assert here != digest(2, 100, 30)
    assert here != digest(1, 100, 30, Climate(hotter_c=1.0))


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_the_world_is_the_same_in_every_process_whatever_the_hash_seed(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    found = subprocess.run([sys.executable, SCRIPT, "7"], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest(7)


@pytest.mark.parametrize("name", list(PYTHONS))
def test_the_world_is_the_same_to_the_bit_in_every_python(name: str) -> None:
    if not PYTHONS[name].exists():
        pytest.skip(f"no Python {name}: run `make pythons`")
    found = subprocess.run([str(PYTHONS[name]), SCRIPT, "7"], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest(7)


@pytest.mark.long
def test_in_a_day_of_a_thousand_devices_drivers_get_nearly_all_that_they_want() -> None:
    """1,440 steps with weather, physics, inverters and the power flow of every feeder each minute.

    How long they take is `in_process_day_s` of `tieline bench world`.
    """
    world = World(build(1_000, np.random.default_rng(1)), np.random.default_rng(2), Climate(6.0))
    free, low, high = np.full(1_000, np.nan), np.full(1_000, -np.inf), np.full(1_000, np.inf)
    begin_ns = parse_iso("2022-08-17T04:00:00-05:00")
    for k in range(1, 1_441):
        world.step(begin_ns + k * 60 * SECOND_NS, 60.0, free, low, high)
    served = world.charging.unserved_wh.sum() / world.charging.energy_wh.sum()
    assert served < 0.1  # drivers who were left alone got nearly all that they wanted
