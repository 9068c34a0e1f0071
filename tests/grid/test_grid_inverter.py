"""IEEE 1547-2018 functions: columns do what the scalar says, bounds hold, and the standard's own figures come out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.grid.inverter.columns import Inverters
from tieline.grid.inverter.lag import BILINEAR, EXACT
from tieline.grid.inverter.ridethrough import Category, Status, frequency_ride_through_s, voltage_ride_through_s
from tieline.grid.inverter.scalar import Inverter, Seen
from tieline.grid.inverter.settings import Settings
from tieline.resource.mode import Mode

ONE = np.zeros(1, np.int32)


@st.composite
def kinds(draw: st.DrawFn) -> Settings:
    """Settings of all categories and modes, of sun and of storage."""
    share = lambda low, high: draw(st.floats(low, high))  # noqa: E731
    is_storage = draw(st.booleans())
    storage = {"charge_frac": share(0.3, 1.0), "charge_va_frac": 1.0, "least_frac": -1.0, "none_below_frac": 0.0,
               "full_from_frac": 0.0} if is_storage else {}  # fmt: skip
    return replace(
        Settings.of_category(is_b=draw(st.booleans()), abnormal=draw(st.sampled_from(Category))),
        reactive_mode=draw(st.sampled_from([Mode.CONSTANT_POWER_FACTOR, Mode.VOLT_VAR, Mode.WATT_VAR, Mode.CONSTANT_VAR])),
        rated_frac=share(0.6, 1.0), inject_frac=share(0.2, 1.0), absorb_frac=share(0.2, 1.0), injects=draw(st.booleans()),
        power_factor=share(0.7, 1.0), constant_var_frac=share(-1.0, 1.0), is_watt_first=draw(st.booleans()),
        follows_reference=draw(st.booleans()), is_volt_watt_on=draw(st.booleans()), is_droop_on=draw(st.booleans()),
        reactive_response_s=share(0.0, 10.0), droop_response_s=share(0.0, 10.0), enter_delay_s=share(0.0, 20.0),
        enter_ramp_s=share(0.0, 30.0), restore_s=draw(st.sampled_from([0.0, 0.4])), **storage,
    )  # fmt: skip


def course(rng: np.random.Generator, steps: int, is_storage: bool) -> list[Seen]:
    """What one unit sees: mostly a sound grid, sometimes anything."""
    seen, middle, hz, wanted, limit = [], 1.0, 60.0, 0.7, np.nan
    for _ in range(steps):
        if rng.random() < 0.2:
            middle = rng.uniform(0.93, 1.08) if rng.random() < 0.7 else rng.uniform(0.0, 1.35)
        if rng.random() < 0.1:
            hz = rng.choice([60.0, 60.0, 59.97, 60.2, rng.uniform(56.0, 63.0)])
        if rng.random() < 0.2:
            wanted = rng.uniform(-1.0 if is_storage else 0.0, 1.0)
        if rng.random() < 0.1:
            limit = rng.choice([np.nan, rng.uniform(-1.0 if is_storage else 0.0, 1.0)])
        low, high = middle * rng.uniform(0.98, 1.0), middle * rng.uniform(1.0, 1.02)
        seen.append(
            Seen(middle, low, high, hz, wanted, 1.0 if is_storage else wanted, limit, bool(rng.random() > 0.02))
        )
    return seen


def step(fleet: Inverters, seen: Seen, seconds: float) -> None:
    fleet.step(
        seconds, voltage_pu=seen.voltage_pu, low_pu=seen.low_pu, high_pu=seen.high_pu, frequency_hz=seen.frequency_hz,
        wanted_frac=seen.wanted_frac, available_frac=seen.available_frac, limit_frac=seen.limit_frac,
        is_permitted=seen.is_permitted,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    kind=kinds(),
    seed=st.integers(0, 2**31),
    seconds=st.sampled_from([0.02, 0.3, 1.0, 5.0]),
    rule=st.sampled_from([EXACT, BILINEAR]),
)
def test_columns_do_what_the_scalar_says(kind: Settings, seed: int, seconds: float, rule) -> None:
    one, fleet = Inverter(kind, rule=rule), Inverters([kind], ONE, rule=rule)
    for seen in course(np.random.default_rng(seed), 50, kind.charge_frac > 0):
        one.step(seen, seconds)
        step(fleet, seen, seconds)
        assert fleet.status[0] == one.status
        assert fleet.power_frac[0] == pytest.approx(one.power_frac, abs=1e-11)
        assert fleet.var_frac[0] == pytest.approx(one.var_frac, abs=1e-11)
    assert fleet.trips[0] == one.trips


@settings(max_examples=60, deadline=None)
@given(kind=kinds(), seed=st.integers(0, 2**31), seconds=st.sampled_from([0.02, 1.0, 5.0]))
def test_no_unit_leaves_its_nameplate_or_gives_more_than_there_is(kind: Settings, seed: int, seconds: float) -> None:
    fleet, rng = Inverters([kind], ONE), np.random.default_rng(seed)
    for seen in course(rng, 50, kind.charge_frac > 0):
        step(fleet, seen, seconds)
        power, var = fleet.power_frac[0], fleet.var_frac[0]
        assert np.hypot(power * kind.rated_frac, var) <= 1 + 1e-9
        assert -kind.charge_frac / kind.rated_frac - 1e-9 <= power <= max(seen.available_frac, 0.0) + 1e-9
        assert -kind.absorb_frac - 1e-9 <= var <= kind.inject_frac + 1e-9
        if fleet.status[0] == Status.TRIPPED or not seen.is_permitted:
            assert (power, var) == (0.0, 0.0)


def trip_times(kind: Settings, volts: np.ndarray, hz: np.ndarray, seconds: float, last_s: float) -> np.ndarray:
    """Return after which time each unit trips; infinite where it doesn't by the end."""
    fleet = Inverters([kind], np.zeros(len(volts), np.int32))
    fleet.step(seconds, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.5)
    found = np.full(len(volts), np.inf)
    for k in range(round(last_s / seconds)):
        fleet.step(seconds, voltage_pu=volts, frequency_hz=hz, wanted_frac=0.5)
        found = np.where((fleet.status == Status.TRIPPED) & np.isinf(found), (k + 1) * seconds, found)
    return found


@pytest.mark.parametrize("category", Category)
def test_none_trips_before_it_has_ridden_through_nor_after_its_clearing_time(category: Category) -> None:
    """6.4.1 against 6.4.2.1: the default trips of each category leave room for all its ride-through."""
    volts = np.arange(0.02, 1.3, 0.01) + 0.005
    kind = Settings.of_category(is_b=True, abnormal=category)
    tripped_s = trip_times(kind, volts, np.full(len(volts), 60.0), 0.02, 22.0)
    asked_s = np.array([voltage_ride_through_s(v, category) for v in volts])
    assert (tripped_s >= asked_s - 1e-9)[np.isfinite(asked_s)].all()
    limit_s = np.full(len(volts), np.inf)
    for edge, clear_s in kind.over_voltage:
        limit_s = np.where(volts > edge, np.minimum(limit_s, clear_s), limit_s)
    for edge, clear_s in kind.under_voltage:
        limit_s = np.where(volts < edge, np.minimum(limit_s, clear_s), limit_s)
    must = np.isfinite(limit_s)
    assert np.abs(tripped_s[must] - limit_s[must]).max() <= 0.02 + 1e-9
    assert np.isinf(tripped_s[np.isinf(limit_s)]).all()


def test_frequency_is_ridden_through_for_299_seconds_and_trips_after_300() -> None:
    """6.5.1, Table 18 against 6.5.2, Table 19."""
    hz = np.array([56.4, 56.9, 57.5, 58.4, 58.6, 60.0, 61.1, 61.3, 61.7, 61.9, 62.1])
    found = trip_times(Settings(), np.ones(len(hz)), hz, 0.1, 301.0)
    asked = np.array([frequency_ride_through_s(value) for value in hz])
    assert (found[np.isfinite(asked)] >= asked[np.isfinite(asked)]).all()
    limit = np.where((hz < 56.5) | (hz > 62.0), 0.2, np.where((hz < 58.5) | (hz > 61.2), 300.0, np.inf))
    assert found == pytest.approx(limit, abs=0.11)


@pytest.mark.parametrize(
    ("is_b", "voltage_pu", "var_frac"),
    [(True, 0.90, 0.44), (True, 0.95, 0.22), (True, 1.0, 0.0), (True, 1.05, -0.22), (True, 1.09, -0.44),
     (False, 0.90, 0.25), (False, 0.95, 0.125), (False, 1.0, 0.0), (False, 1.06, -0.15), (False, 1.10, -0.25)],
)  # fmt: skip
def test_volt_var_of_both_categories_is_table_8(is_b: bool, voltage_pu: float, var_frac: float) -> None:
    kind = replace(Settings.of_category(is_b=is_b, abnormal=Category.II), reactive_mode=Mode.VOLT_VAR)
    fleet = Inverters([kind], ONE)
    fleet.step(1.0, voltage_pu=voltage_pu, frequency_hz=60.0, wanted_frac=0.5)
    assert fleet.var_frac[0] == pytest.approx(var_frac)


@pytest.mark.parametrize(("power_frac", "var_frac"), [(0.1, 0.0), (0.5, 0.0), (0.75, -0.22), (0.85, -0.308)])
def test_watt_var_is_table_9(power_frac: float, var_frac: float) -> None:
    fleet = Inverters([Settings(reactive_mode=Mode.WATT_VAR)], ONE)
    fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=power_frac)
    assert fleet.var_frac[0] == pytest.approx(var_frac)


@pytest.mark.parametrize(
    ("hz", "power_frac"), [(60.03, 0.6), (60.336, 0.5), (61.0, 0.6 - 0.964 / 3), (59.664, 0.7), (59.0, 0.9)]
)
def test_droop_moves_what_was_given_before_within_what_there_is(hz: float, power_frac: float) -> None:
    """6.5.2.7.2: (f - 60 - 0.036) / (60 * 0.05) of the rating."""
    fleet = Inverters([Settings()], ONE)
    for value in [60.0] * 3 + [hz] * 60:
        fleet.step(1.0, voltage_pu=1.0, frequency_hz=value, wanted_frac=0.6, available_frac=0.9)
    assert fleet.power_frac[0] == pytest.approx(power_frac, abs=1e-9)


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0, 5.0])
def test_nine_tenths_are_done_after_the_response_time_at_every_step(seconds: float) -> None:
    fleet = Inverters([Settings(reactive_mode=Mode.VOLT_VAR, reactive_response_s=5.0)], ONE)
    fleet.step(seconds, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.5)
    for _ in range(round(5.0 / seconds)):
        fleet.step(seconds, voltage_pu=1.09, frequency_hz=60.0, wanted_frac=0.5)
    assert fleet.var_frac[0] == pytest.approx(0.9 * -0.44)


def test_reactive_power_comes_first_unless_watts_are_set_to_beyond_table_7() -> None:
    kind = Settings(reactive_mode=Mode.CONSTANT_VAR, constant_var_frac=0.6, inject_frac=0.6)
    fleet = Inverters([kind, replace(kind, is_watt_first=True)], np.array([0, 1], np.int32))
    fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=1.0)
    assert fleet.power_frac == pytest.approx([0.8, np.sqrt(1 - 0.44**2)])
    assert fleet.var_frac == pytest.approx([0.6, 0.44])


def test_little_power_bears_little_reactive_power() -> None:
    """5.2: none is asked below 5 % of the rating, all from 20 %, in proportion between."""
    fleet = Inverters([Settings(reactive_mode=Mode.CONSTANT_VAR, constant_var_frac=0.44)], np.zeros(4, np.int32))
    fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=np.array([0.04, 0.05, 0.1, 0.2]))
    assert fleet.var_frac == pytest.approx([0.0, 0.11, 0.22, 0.44])


def test_a_unit_comes_back_after_five_sound_minutes_and_ramps_for_five_more() -> None:
    """4.10.2, 4.10.3: any second beyond the limits begins the wait anew."""
    fleet = Inverters([Settings()], ONE)
    volts = [1.0, 1.25] + [1.0] * 200 + [1.06] + [1.0] * 700
    power, status = [], []
    for value in volts:
        fleet.step(1.0, voltage_pu=value, frequency_hz=60.0, wanted_frac=1.0)
        power.append(fleet.power_frac[0])
        status.append(fleet.status[0])
    back = 203 + 299
    assert not any(power[1:back])
    assert power[back : back + 300] == pytest.approx(np.arange(1, 301) / 300)
    assert status[back] == Status.ENTERING
    assert (power[-1], status[-1], fleet.trips[0]) == (1.0, Status.CONTINUOUS, 1)


def test_random_delays_spread_and_follow_from_seed_and_row_alone() -> None:
    """4.10.3: units below 500 kVA may wait a random time in place of a ramp."""
    kind = Settings(enter_delay_s=10.0, enter_random_s=100.0, enter_ramp_s=0.0)

    def back_s(count: int, seed: int, first_row: int = 0) -> np.ndarray:
        fleet = Inverters([kind], np.zeros(count, np.int32), seed=seed, first_row=first_row)
        fleet.step(1.0, voltage_pu=1.25, frequency_hz=60.0, wanted_frac=1.0)
        found = np.zeros(count)
        for k in range(1, 112):
            fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=1.0)
            found = np.where((found == 0) & (fleet.power_frac > 0), k, found)
        return found

    whole = back_s(4_000, seed=3)
    assert whole.min() >= 10 and whole.max() <= 110
    assert np.histogram(whole, bins=10, range=(10.5, 110.5))[0].min() > 330, "each tenth has near a tenth of 4,000"
    assert (back_s(1_000, seed=3, first_row=1_500) == whole[1_500:2_500]).all()
    assert (back_s(4_000, seed=4) != whole).mean() > 0.9


def test_category_iii_gives_nothing_in_a_deep_sag_and_is_back_within_half_a_second() -> None:
    """6.4.2.1, Table 16: nothing after 0.083 s at most; 6.4.2.7: 80 % of what was within 0.4 s of the voltage's return."""
    fleet = Inverters([Settings(reactive_mode=Mode.VOLT_VAR)], ONE)
    power = []
    for value in [1.0] * 5 + [0.4] * 25 + [1.0] * 25:
        fleet.step(0.02, voltage_pu=value, frequency_hz=60.0, wanted_frac=0.9)
        power.append(fleet.power_frac[0])
    assert power[4] == pytest.approx(0.9)
    assert not any(power[5 + 4 : 30])
    assert power[30 + 20] >= 0.8 * 0.9
    assert fleet.trips[0] == 0


def test_to_cease_is_owed_at_any_frequency() -> None:
    """6.4.2.1: what a deep sag asks, a frequency beyond all ride-through does not undo."""
    kind = Settings(over_frequency=((63.0, 0.16), (61.2, 300.0)))
    fleet = Inverters([kind], ONE)
    for value in [1.0, 1.0] + [0.4] * 10:
        fleet.step(0.02, voltage_pu=value, frequency_hz=62.5, wanted_frac=0.9)
    assert (fleet.status[0], fleet.power_frac[0]) == (Status.MOMENTARY, 0.0)


def test_who_may_not_be_in_service_stops_and_comes_back_only_when_it_may() -> None:
    """4.10.3 and 4.6.1: the permit outranks all else."""
    fleet = Inverters([Settings(enter_delay_s=5.0, enter_ramp_s=0.0)], np.zeros(2, np.int32))
    may = np.array([True, False])
    for _ in range(20):
        fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.5, is_permitted=may)
    assert fleet.power_frac.tolist() == [0.5, 0.0]
    for _ in range(5):
        fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.5)
    assert fleet.power_frac.tolist() == [0.5, 0.5]


def test_a_limit_holds_after_its_response_and_lets_go_at_once() -> None:
    fleet = Inverters([Settings()], ONE)
    fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.9)
    for _ in range(15):
        fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.9, limit_frac=0.3)
    assert fleet.power_frac[0] == pytest.approx(0.3)
    fleet.step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=0.9)
    assert fleet.power_frac[0] == pytest.approx(0.9)


def test_another_kind_moves_on_from_where_the_unit_was() -> None:
    constant = Settings(reactive_mode=Mode.CONSTANT_VAR, constant_var_frac=0.4)
    fleet = Inverters([constant, Settings(reactive_mode=Mode.VOLT_VAR)], ONE.copy())
    seen = {"voltage_pu": 1.0, "frequency_hz": 60.0, "wanted_frac": 0.5}
    fleet.step(1.0, **seen)
    fleet.kind_of[0] = 1
    course = []
    for _ in range(10):
        fleet.step(1.0, **seen)
        course.append(fleet.var_frac[0])
    assert course == pytest.approx(0.4 * 0.1 ** (np.arange(1, 11) / 5.0))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("power_factor", 0.0, "power_factor is 0.0: give 0.01 to 1"), ("volt_var_pu", (1.0, 0.9, 1.1, 1.2), "rise"),
     ("volt_var_frac", (0.0, 0.1, 0.0, 0.0), "do not rise"), ("volt_watt_pu", (1.06, 1.06), "rise"),
     ("enter_delay_s", float("nan"), "finite"), ("rated_frac", 0.0, "more than 0"), ("reactive_mode", Mode.DROOP_ON, "droop_on"),
     ("over_voltage", ((1.1, 13.0), (1.2, 0.16)), "outer threshold"), ("watt_var_power_frac", (-1, -0.5, 0.1, 0.2, 0.5, 1), "up to 0")],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused_by_name(field: str, value: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        replace(Settings(), **{field: value})
    assert field in str(refused.value) or field == "reactive_mode"


@pytest.mark.parametrize(
    "seen",
    [{"voltage_pu": np.nan}, {"frequency_hz": 0.0}, {"wanted_frac": np.inf}, {"limit_frac": 1.5}, {"low_pu": 1.2}],
)
def test_what_cannot_be_seen_is_refused_by_row_and_nothing_moves(seen: dict) -> None:
    fleet = Inverters([Settings()], np.zeros(3, np.int32))
    sound = {"voltage_pu": np.ones(3), "frequency_hz": np.full(3, 60.0), "wanted_frac": np.ones(3)}
    before = fleet.memory.copy()
    ((name, value),) = seen.items()
    with pytest.raises(ConfigError, match=f"row 1 sees .*{name} {value}"):
        fleet.step(
            1.0,
            **sound
            | {
                name: np.where(
                    np.arange(3) == 1, value, sound.get(name, np.full(3, np.nan if "limit" in name else 1.0))
                )
            },
        )
    for field in before.dtype.names:
        np.testing.assert_array_equal(fleet.memory[field], before[field])
    with pytest.raises(ConfigError, match="shape"):
        fleet.step(1.0, **sound | {"voltage_pu": np.ones(2)})
    with pytest.raises(ConfigError, match="seconds is 0"):
        fleet.step(0.0, **sound)
    with pytest.raises(ConfigError, match=r"kind_of\[0\] is 1"):
        Inverters([Settings()], np.ones(1, np.int32))


def test_no_units_and_a_million_alike_are_both_stepped() -> None:
    Inverters([Settings()], np.zeros(0, np.int32)).step(1.0, voltage_pu=1.0, frequency_hz=60.0, wanted_frac=1.0)
    fleet = Inverters([Settings(is_volt_watt_on=True)], np.zeros(1_000_000, np.int32))
    fleet.step(1.0, voltage_pu=1.08, frequency_hz=60.0, wanted_frac=1.0)
    assert fleet.power_frac == pytest.approx(0.5)
