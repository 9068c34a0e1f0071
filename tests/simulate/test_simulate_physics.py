"""The world keeps to physics: energy is conserved, limits hold, comfort holds, a seed fixes it."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.resource.identity import Kind
from tieline.simulate.mqtt_world import WorldSwitch
from tieline.simulate.territory import MIX, build
from tieline.simulate.world import World
from tieline.times import SECOND_NS, parse_iso

NOON = parse_iso("2022-08-17T12:00:00-05:00")


def world(devices: int = 400, seed: int = 1) -> World:
    return World(build(devices, np.random.default_rng(seed)), np.random.default_rng(seed + 1))


def run(w: World, steps: int, target=np.nan, low=-np.inf, high=np.inf, begin: int = NOON) -> list:
    count, powers = len(w.power_w), []
    for k in range(steps):
        columns = [np.broadcast_to(np.asarray(v, float), (count,)).copy() for v in (target, low, high)]
        w.step(begin + k * 60 * SECOND_NS, 60.0, *columns)
        powers.append(w.power_w.copy())
    return powers


def test_every_kind_of_the_mix_is_in_the_smallest_territory() -> None:
    assert all(len(rows) >= 1 for rows in build(20, np.random.default_rng(0)).by_kind.values())
    assert len(MIX) == 13


@settings(max_examples=10)
@given(st.integers(0, 1_000), st.floats(-5e3, 5e3))
def test_no_device_leaves_its_rating_whatever_it_is_told(seed: int, target: float) -> None:
    w = world(100, seed)
    fleet = w.territory.fleet
    slack = 0.01 * w.territory.rated_w + 15.0  # standby of stores; a hybrid's sun and battery share one rating
    for power in run(w, 30, target):
        assert (power <= fleet.max_inject_w + slack).all()
        assert (power >= -fleet.max_absorb_w - slack).all()


def test_a_limit_holds_for_every_kind_within_its_hold_time() -> None:
    """No device draws from the grid under a low limit of 0, once minimum times and firm parts are over."""
    w = world(400)
    power = run(w, 40, low=0.0)[-1]
    for kind in (Kind.THERMOSTAT, Kind.WATER_HEATER, Kind.EV_CHARGER):
        assert (power[w.rows[kind]] >= -1e-9).all(), kind


def test_what_is_on_or_off_is_off_where_a_limit_is_less_than_it_draws() -> None:
    """A thermostat held to 60 % of its draw ran at all of it: it knows no part."""
    w = world(400)
    power = run(w, 40, low=-0.6 * w.territory.rated_w)[-1]
    free = run(world(400), 40, low=-1.0 * w.territory.rated_w)[-1]
    for kind in (Kind.THERMOSTAT, Kind.WATER_HEATER):
        assert (power[w.rows[kind]] >= -1e-9).all(), kind
        assert (free[w.rows[kind]] < 0).any(), kind


def test_behind_a_plug_that_is_off_nothing_flows_however_cold_the_tank() -> None:
    w = world(100)
    count, rows = len(w.power_w), w.rows[Kind.WATER_HEATER]
    told = SimpleNamespace(
        target_w=np.full(count, np.nan), low_w=np.full(count, -np.inf), high_w=np.full(count, np.inf),
        until_ns=np.zeros(count, np.int64),
    )  # fmt: skip
    plugs = [WorldSwitch(w.power_w, told, int(row)) for row in rows]
    w.heaters.temperature_c[:] = 20.0
    for is_on in (1.0, 0.0):
        for plug in plugs:
            plug.set("is_on", is_on)
        power = run(w, 10, told.target_w, told.low_w, told.high_w)[-1]
        assert (power[rows] < -1.0).all() if is_on else (power[rows] == 0.0).all()


def test_comfort_outranks_a_wish_to_stay_off() -> None:
    w = world(400)
    run(w, 8 * 60, target=0.0)
    assert (w.hvac.temperature_c <= w.hvac.comfort_high_c + 0.6).all()


def test_a_thermostat_never_switches_faster_than_its_hold_time() -> None:
    w = world(200)
    rows = w.rows[Kind.THERMOSTAT]
    wishes = np.random.default_rng(3).choice([np.nan, 0.0, -9e3], 240)
    states = np.array([run(w, 1, wish, begin=NOON + k * 60 * SECOND_NS)[0][rows] < -1 for k, wish in enumerate(wishes)])
    for device in states.T:
        changes = np.flatnonzero(device[1:] != device[:-1])
        assert (np.diff(changes) >= 5).all()


def test_what_headroom_promises_the_next_step_delivers() -> None:
    """The pool's upward headroom, called for one step, comes within 2 %."""
    w = world(2_000)
    run(w, 120)
    before, up = w.power_w.copy(), w.up_w.copy()
    wish = np.where(up > 0, before + up, np.nan)
    after = run(w, 2, wish, begin=NOON + 7_260 * SECOND_NS)[-1]
    engines = np.concatenate([w.rows[k] for k in (Kind.BACKUP_GENERATOR, Kind.CHP, Kind.BIOMASS)])
    fast = np.setdiff1d(np.arange(2_000), engines)  # an engine's start-up is part of its notice
    assert (after - before)[fast].sum() > 0.95 * up[fast].sum()


def test_the_same_seed_makes_the_same_world_to_the_bit() -> None:
    one, two = (np.array(run(world(300, 7), 200)).tobytes() for _ in range(2))
    assert one == two
    assert np.array(run(world(300, 8), 200)).tobytes() != one
