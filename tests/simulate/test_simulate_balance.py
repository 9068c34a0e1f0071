"""Energy is conserved in every device model: what comes in leaves, is lost, or is stored; nothing goes below nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.resource.hold import LEAST_CHARGE_W
from tieline.simulate import making
from tieline.simulate.physics.batch import STEP_FRAC, STEP_S, Lines
from tieline.simulate.physics.charging import Charging
from tieline.simulate.physics.generation import Engine, Pv
from tieline.simulate.physics.loads import Load
from tieline.simulate.physics.storage import Storage
from tieline.simulate.physics.sun import Clouds, normals, output_frac, plane_w_per_m2, sun_vector, sunshine_frac
from tieline.simulate.territory import build
from tieline.times import SECOND_NS, parse_iso

ONE = np.ones(1)
OPEN = np.inf * ONE
WISHES = st.lists(st.one_of(st.floats(-12e3, 12e3), st.just(np.nan)), min_size=1, max_size=80)


def store(start: float, efficiency: float, tapers: bool = True, standby_w: float = 0.0) -> Storage:
    return Storage(
        5e3 * ONE, 5e3 * ONE, 1e4 * ONE, start * ONE, efficiency * ONE, efficiency * ONE, 0.1 * ONE, standby_w * ONE,
        np.array([tapers]), 0.0 * ONE,
    )  # fmt: skip


@given(WISHES, st.floats(0.8, 1.0), st.floats(0.0, 1.0), st.booleans(), st.floats(0.0, 50.0))
def test_a_store_keeps_its_books(wishes: list, efficiency: float, start: float, tapers: bool, standby: float) -> None:
    """Energy from the grid = change of what is stored + losses, and losses only grow."""
    one, terminal_wh, lost = store(start, efficiency, tapers, standby), 0.0, 0.0
    for wish in wishes:
        power = float(one.step(np.array([wish]), -OPEN, OPEN, 300.0)[0])
        terminal_wh += power / 12
        assert one.loss_wh[0] >= lost - 1e-9
        lost = float(one.loss_wh[0])
        assert 0.0 <= one.soc_frac[0] <= 1.0
    assert -terminal_wh == pytest.approx((one.soc_frac[0] - start) * 1e4 + lost, abs=1e-6)


@given(st.floats(0.0, 1.0))
def test_a_cell_takes_less_near_full_and_gives_less_near_empty(soc: float) -> None:
    up, down = store(soc, 0.95).headroom(1.0)
    assert down[0] == pytest.approx(5e3 * min(max((1 - soc) / 0.1, 0.05), 1.0), rel=1e-3) or soc > 0.9995
    assert up[0] <= 5e3 * min(max(soc / 0.1, 0.05), 1.0) + 1e-6


def test_a_round_trip_costs_its_efficiency() -> None:
    one = store(0.5, 0.95, tapers=False)
    paid = sum(float(one.step(np.array([-1e3]), -OPEN, OPEN, 360.0)[0]) for _ in range(10)) / 10
    back = 0.0
    while one.soc_frac[0] > 0.5 + 1e-12:
        back += float(one.step(np.array([1e3]), -OPEN, OPEN, 36.0)[0]) / 100
    assert back / -paid == pytest.approx(0.95**2, rel=0.02)


@settings(max_examples=40)
@given(st.integers(0, 1000), st.floats(-5, 45), st.floats(0, 900), WISHES, st.sampled_from([30.0, 60.0, 300.0, 3600.0]))
def test_a_room_keeps_its_heat_books(seed: int, outdoor: float, gains: float, wishes: list, seconds: float) -> None:
    """C dT = what leaks in + gains - what the unit takes out, however long the step; no finer step is needed."""
    room = making.make_hvac(np.array([3e3]), np.random.default_rng(seed))
    for wish in wishes:
        before = float(room.temperature_c[0])
        power = float(room.step(np.array([wish]), -OPEN, OPEN, outdoor, gains * ONE, seconds, 0.0, 0.0, 0.9)[0])
        moved_wh = 0.9 * making.COOLING_RATIO * -power * seconds / 3600
        change_wh = (room.temperature_c[0] - before) * room.capacity_wh_per_c[0]
        assert change_wh == pytest.approx(room.leak_wh[0] + gains * seconds / 3600 - moved_wh, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 1000), st.floats(0, 12), WISHES, st.sampled_from([30.0, 60.0, 300.0]))
def test_a_tank_keeps_its_heat_books_and_stays_between_mains_and_boiling(
    seed: int, litres_per_min: float, wishes: list, seconds: float
) -> None:
    tank = making.make_heaters(np.array([4e3]), np.random.default_rng(seed))
    flow = litres_per_min * 60 * making.WH_PER_LITRE_C * ONE
    for wish in wishes:
        before = float(tank.temperature_c[0])
        power = float(tank.step(np.array([wish]), -OPEN, OPEN, 21.0, 0.0, seconds, flow, 15.0)[0])
        change_wh = (tank.temperature_c[0] - before) * tank.capacity_wh_per_c[0]
        assert change_wh == pytest.approx(-power * seconds / 3600 + tank.leak_wh[0] - tank.drawn_wh[0], abs=1e-6)
        assert 15.0 - 1e-9 <= tank.temperature_c[0] <= 95.0


def test_two_half_steps_are_one_whole_step() -> None:
    """The temperature follows its exponential exactly, so the step's length changes nothing."""
    whole, halves = (making.make_hvac(np.array([3e3]), np.random.default_rng(1)) for _ in range(2))
    for room, seconds, times in ((whole, 600.0, 1), (halves, 300.0, 2)):
        room.held_s[:] = 0.0
        room.min_hold_s[:] = 1e9  # its switch stays as it is
        for _ in range(times):
            room.step(np.array([np.nan]), -OPEN, OPEN, 36.0, 500.0 * ONE, seconds)
    assert whole.temperature_c[0] == pytest.approx(halves.temperature_c[0], abs=1e-9)


def engine(kind: str, fuel_wh: float) -> Engine:
    hot = kind == "chp"
    return Engine(
        rated_w=3e4 * ONE, min_w=1e4 * ONE, start_s=120.0 * ONE, min_hold_s=900.0 * ONE, efficiency_frac=0.35 * ONE,
        heat_ratio=1.4 * hot * ONE, is_on=np.zeros(1, bool), held_s=1e6 * ONE, run_h=0.0 * ONE, fuel_wh=fuel_wh * ONE,
        tank_fuel_wh=1e6 * ONE, heat_wh=4e4 * hot * ONE, tank_heat_wh=8e4 * hot * ONE, burnt_wh=0.0 * ONE,
        boiler_wh=0.0 * ONE, vented_wh=0.0 * ONE, heat_w=0.0 * ONE, starts=np.zeros(1, np.int64),
    )  # fmt: skip


@given(
    st.sampled_from(["genset", "chp"]),
    st.floats(0.0, 1e6),
    st.lists(st.tuples(st.one_of(st.floats(-1e4, 4e4), st.just(np.nan)), st.floats(0.05, 1.0)), max_size=120),
    st.sampled_from([60.0, 300.0, 900.0]),
)
def test_an_engine_burns_what_it_gives_and_never_more_than_it_has(
    kind: str, fuel: float, wishes: list, seconds: float
) -> None:
    one, gave_wh, wanted_heat_wh, made_heat_wh = engine(kind, fuel), 0.0, 0.0, 0.0
    for wish, heat in wishes:
        power = float(one.step(np.array([wish]), -OPEN, OPEN, heat, seconds)[0])
        gave_wh += power * seconds / 3600
        made_heat_wh += one.heat_w[0] * seconds / 3600
        wanted_heat_wh += heat * one.rated_w[0] * one.heat_ratio[0] * seconds / 3600
        assert 0.0 <= power <= 3e4 + 1e-6
        assert one.fuel_wh[0] >= 0.0 and 0.0 <= one.fuel_frac[0] <= 1.0
        assert 0.0 <= one.heat_wh[0] <= one.tank_heat_wh[0]
    assert fuel - one.fuel_wh[0] == pytest.approx(one.burnt_wh[0], rel=1e-9, abs=1e-6)
    # Power and heat together never exceed the fuel (efficiency 0.35, heat ratio 1.4: 0.84 of it at most).
    assert gave_wh + made_heat_wh <= one.burnt_wh[0] + 1e-6
    start_heat = 4e4 if kind == "chp" else 0.0
    assert start_heat + made_heat_wh + one.boiler_wh[0] == pytest.approx(
        wanted_heat_wh + one.heat_wh[0] + one.vented_wh[0], rel=1e-9, abs=1e-6
    )


def test_an_engine_that_is_asked_takes_its_start_up_and_its_minimum_run() -> None:
    one = engine("genset", 1e6)
    powers = [float(one.step(np.array([3e4]), -OPEN, OPEN, 0.0, 30.0)[0]) for _ in range(6)]
    assert powers[:4] == pytest.approx([7.5e3, 15e3, 22.5e3, 30e3])
    stopping = [float(one.step(np.array([0.0]), -OPEN, OPEN, 0.0, 30.0)[0]) for _ in range(40)]
    assert stopping[0] == pytest.approx(1e4)  # held at its least power until 900 s have run
    assert stopping.index(0.0) == 900 / 30 - 6
    assert one.starts[0] == 1


def test_an_engine_without_fuel_stops_at_once() -> None:
    one = engine("genset", 5e3)
    powers = [float(one.step(np.array([3e4]), -OPEN, OPEN, 0.0, 60.0)[0]) for _ in range(60)]
    assert max(powers) > 0 and powers[-1] == 0.0


def test_a_chp_serves_its_heat_whatever_it_is_asked() -> None:
    one = engine("chp", 1e6)
    one.fuel_wh[:] = one.tank_fuel_wh[:] = 1e9
    for _ in range(600):
        one.step(np.array([0.0]), -OPEN, OPEN, 0.6, 60.0)
    assert one.boiler_wh[0] < 0.05 * 0.6 * 3e4 * 1.4 * 10


def session(energy: float, stays_h: float, declared_h: float) -> Charging:
    return Charging(
        7e3 * ONE, 8 * 3600.0 * ONE, stays_h * 3600 * ONE, declared_h * 3600 * ONE, energy * ONE, np.zeros(1, bool),
        0.0 * ONE, np.zeros(1, bool), 0.0 * ONE,
    )  # fmt: skip


@given(st.floats(500, 4e4), st.floats(0.5, 12), st.floats(0.5, 12), WISHES)
def test_a_car_takes_what_it_wanted_less_what_it_left_without(
    energy: float, stays: float, declared: float, wishes: list
) -> None:
    car, took_wh = session(energy, stays, declared), 0.0
    for k in range(24 * 12):
        wish = wishes[k % len(wishes)]
        power = float(car.step(np.array([wish]), -OPEN, OPEN, (8 * 3600 + 300 * k) % 86_400, 300.0)[0])
        assert -7e3 <= power <= 0.0
        took_wh -= power / 12
    assert took_wh + car.unserved_wh[0] == pytest.approx(energy, abs=1e-6)


def test_a_driver_who_leaves_as_declared_is_served_however_control_wishes() -> None:
    """Asked to stand still all day, a charger still fills the car by the hour that its driver gave."""
    car = session(20e3, 8.0, 8.0)
    for k in range(12 * 9):
        car.step(np.array([0.0]), -OPEN, OPEN, 8 * 3600.0 + 300 * k, 300.0)
    assert car.unserved_wh[0] < 0.1 * 20e3  # the car itself takes less near full


def test_a_driver_who_leaves_early_goes_short_where_control_trusted_his_word() -> None:
    car = session(20e3, 3.0, 8.0)
    for k in range(12 * 9):
        car.step(np.array([0.0]), -OPEN, OPEN, 8 * 3600.0 + 300 * k, 300.0)
    assert car.unserved_wh[0] == pytest.approx(20e3)


@given(st.floats(0.0, 7e3))
def test_no_charger_offers_less_than_six_amperes(wish: float) -> None:
    car = session(20e3, 8.0, 8.0)
    power = -float(car.step(np.array([-wish]), -OPEN, OPEN, 8 * 3600.0, 60.0)[0])
    assert power == 0.0 or power >= LEAST_CHARGE_W


@settings(max_examples=30)
@given(st.integers(0, 999), st.lists(st.one_of(st.just(np.nan), st.just(0.0)), min_size=1, max_size=40))
def test_a_line_never_stops_within_a_step_and_every_batch_takes_its_energy(seed: int, wishes: list) -> None:
    line = Lines(
        1e4 * ONE, 0.0 * ONE, 86_400.0 * ONE, 1800.0 * ONE, np.zeros(1, np.int64), 0.0 * ONE, 0.0 * ONE,
        np.zeros(1, np.int64), 0.0 * ONE,
    )  # fmt: skip
    rng, used_wh, idle_wh = np.random.default_rng(seed), 0.0, 0.0
    for _ in range(600):
        wish = wishes[int(rng.integers(len(wishes)))]
        begun, at = line.done_s[0] > 0, int(line.step_at[0])
        power = -float(line.step(np.array([wish]), -OPEN, OPEN, 100.0, 60.0)[0])
        if begun:
            assert power == pytest.approx(1e4 * STEP_FRAC[at])
        if line.waits_s[0] > 0:
            idle_wh += power / 60
        else:
            used_wh += power / 60
    a_batch = float((STEP_FRAC * STEP_S).sum()) * 1e4 / 3600
    part = (
        float((STEP_FRAC * STEP_S)[: line.step_at[0]].sum() + STEP_FRAC[line.step_at[0]] * line.done_s[0]) * 1e4 / 3600
    )
    assert used_wh == pytest.approx(line.batches[0] * a_batch + part)
    assert idle_wh <= 600 / 60 * 0.08 * 1e4 + 1e-9


def test_a_product_stands_no_longer_than_it_may() -> None:
    line = making.make_lines(np.array([1e4]), np.random.default_rng(1))
    line.begins_s[:], line.ends_s[:], line.step_at[:] = 0.0, 86_400.0, 2
    waits = 0
    while True:
        power = -float(line.step(np.array([0.0]), -OPEN, OPEN, 100.0, 60.0)[0])
        if power > 0.2 * 1e4:
            break
        waits += 60
    assert 1800.0 <= waits <= 3600.0 + 60


@given(st.lists(st.one_of(st.just(np.nan), st.floats(-2e3, 0)), min_size=1, max_size=40))
def test_a_shifted_load_owes_exactly_what_it_gave_up(wishes: list) -> None:
    load = Load(
        1e3 * ONE, 0.0 * ONE, 0.0 * ONE, 7200.0 * ONE, np.ones(1, bool), 0.0 * ONE, 0.0 * ONE, 1e6 * ONE, 0.0 * ONE
    )
    own_wh = used_wh = 0.0
    for k in range(24 * 60):
        wish = wishes[k] if k < len(wishes) else np.nan
        own_wh += float(load.profile_w(60.0 * k)[0]) / 60
        used_wh -= float(load.step(np.array([wish]), -OPEN, OPEN, 60.0 * k, 60.0)[0]) / 60
    assert used_wh + load.owed_wh[0] >= own_wh - 1e-6
    assert load.owed_wh[0] == pytest.approx(0.0, abs=1e-6)


# --- the sun ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "latitude", "longitude", "elevation"),
    [
        # Elevation at solar noon is 90 - latitude + declination; declination 23.44 at the solstices, 0 at the equinox.
        ("2022-06-21T18:29:00+00:00", 32.8, -96.8, 90 - 32.8 + 23.44),
        ("2022-12-21T18:25:00+00:00", 32.8, -96.8, 90 - 32.8 - 23.44),
        ("2022-03-20T12:07:30+00:00", 0.0, 0.0, 90.0),
        ("2022-06-21T12:02:00+00:00", 51.48, 0.0, 90 - 51.48 + 23.44),
    ],
)
def test_the_sun_stands_where_astronomy_puts_it_at_noon(
    when: str, latitude: float, longitude: float, elevation: float
) -> None:
    east, north, up = sun_vector(parse_iso(when) / SECOND_NS, latitude, longitude)
    assert np.degrees(np.arcsin(up)) == pytest.approx(elevation, abs=0.5)
    assert east**2 + north**2 + up**2 == pytest.approx(1.0)
    assert abs(np.degrees(np.arcsin(east))) < 1.0


@given(st.floats(0, 3e9), st.floats(-60, 60), st.floats(-180, 180))
def test_the_sun_is_a_direction(utc_s: float, latitude: float, longitude: float) -> None:
    assert np.linalg.norm(sun_vector(utc_s, latitude, longitude)) == pytest.approx(1.0)


def test_a_level_plane_sees_what_a_pyranometer_sees() -> None:
    """Beam times the cosine of the zenith angle, and all of the sky."""
    found = plane_w_per_m2(normals(np.zeros(1), np.zeros(1)), (0.0, -0.6, 0.8), np.array([700.0]), 120.0)
    assert found[0] == pytest.approx(700 * 0.8 + 120)


def test_pv_at_standard_conditions_gives_its_rating_less_the_losses_of_the_system() -> None:
    """1000 W/m2 on a cell at 25 degC: 0.86 of the rating; a cell at 45 degC loses 0.37 % for each of 20 K."""
    still = 1.0
    assert output_frac(np.array([1000.0]), 25.0 - 25 / 0.8, still)[0] == pytest.approx(0.86)
    assert output_frac(np.array([1000.0]), 45.0 - 25 / 0.8, still)[0] == pytest.approx(0.86 * (1 - 0.0037 * 20))


@given(st.floats(0, 1.2e3), st.floats(-20, 50), st.floats(0, 20))
def test_a_plant_gives_between_nothing_and_its_rating(irradiance: float, outdoor: float, wind: float) -> None:
    one = Pv(5e3 * ONE, normals(30 * ONE, 180 * ONE), 0 * ONE)
    power = one.step(np.nan * ONE, -OPEN, OPEN, output_frac(irradiance * ONE, outdoor, wind))[0]
    assert 0.0 <= power <= 5e3
    up, down = one.headroom(np.array([power]))
    assert up[0] == 0.0 and down[0] == power


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.9), st.sampled_from([60.0, 300.0]))
def test_clouds_keep_the_hours_energy_and_swing_its_minutes(seed: int, sunshine: float, seconds: float) -> None:
    clouds = Clouds(np.ones(200, bool), np.random.default_rng(seed))
    seen = np.array([clouds.step(sunshine, seconds) for _ in range(400)])[50:]
    spells = seen.size * min(seconds / (2 * clouds.spell_s), 1.0)  # so many independent draws of share `sunshine`
    assert seen.mean() == pytest.approx(1.0, abs=5 * np.sqrt((1 - sunshine) / sunshine / spells))
    assert set(np.round(np.unique(seen), 9)) == {0.0, round(1 / sunshine, 9)}


def test_a_clear_hour_has_full_sunshine_and_an_overcast_one_none() -> None:
    assert sunshine_frac(900.0, 0.9) == 1.0
    assert sunshine_frac(0.0, 0.9) == 0.0


def test_every_device_of_a_territory_has_a_site_and_business_stands_at_no_home() -> None:
    territory = build(3_000, np.random.default_rng(2))
    profile = territory.profile_of_site[territory.site_of]
    assert territory.site_of.max() < len(territory.feeder_of_site)
    from tieline.simulate.territory import BUSINESS

    for kind in BUSINESS:
        assert not np.char.startswith(profile[territory.by_kind[kind]], "H").any()
