"""Device profiles are read whole or refused by path, and what a device is told never crosses a limit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.device.profile import parse_profile, profile_of, profiles
from tieline.device.told import Told, Unable, complies, told
from tieline.errors import ConfigError
from tieline.resource.identity import Rating

PLUG = """
says = "a plug"
kind = "shiftable_load"
told_by = "switch"
measures = ["power_w"]
[hold]
timer = "link"
settle_s = 20
[near]
power_w = 10
frac = 0.02
"""
LOAD = Rating(max_absorb_w=2_000.0)
POWERS = st.floats(-20_000, 20_000)
NAMES = sorted(profiles())


def test_the_package_has_a_profile_of_every_way_to_be_told() -> None:
    assert {profile.told_by for profile in profiles().values()} == {"power", "switch", "temperature"}
    assert {"battery_inverter", "pv_inverter", "ev_charger", "plug", "water_heater", "genset"} <= set(NAMES)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('says = "a plug"', 'says = "a plug"\ncolour = "red"', "colour"),
        ("settle_s = 20", "settle_s = 20\nmin_onn_s = 3", r"\$\.hold"),
        ("settle_s = 20", "settle_s = -1", r"\$\.hold\.settle_s"),
        ('"power_w"]', '"power_kw"]', r"\$\.measures = power_kw"),
        ("shiftable_load", "feeder", r"\$\.kind"),
        ("shiftable_load", "toaster", r"\$\.kind"),
        ("told_by", 'also = ["thermostat", "feeder"]\ntold_by', r"\$\.also\[1\] = feeder"),
        ("frac = 0.02", "frac = 2", r"\$\.near"),
        ("frac = 0.02", "frac = nan", r"\$\.near"),
        ("frac = 0.02", "frac = 0.02\n[limits]\nabsorb_frac = 1.5", r"\$\.limits\.absorb_frac"),
        ("frac = 0.02", "frac = 0.02\n[limits]\nsetpoint_low_c = 30\nsetpoint_high_c = 20", "setpoint_low_c = 30"),
        ('"switch"', '"temperature"', r"\$\.offset_c"),
        ('says = "a plug"', 'says = "a plug"\nretries = 5', r"\$\.retries = 5: give 0 or 1"),
        ("[hold]", "[hold", "profile plug"),
    ],
)
def test_a_crooked_profile_is_refused_naming_the_path(old: str, new: str, path: str) -> None:
    assert parse_profile("plug", PLUG)
    with pytest.raises(ConfigError, match=path):
        parse_profile("plug", PLUG.replace(old, new))


def test_an_unknown_profile_is_refused_naming_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="battery_inverter"):
        profile_of("toaster")


@given(st.sampled_from(NAMES), POWERS | st.just(math.nan), POWERS, POWERS, st.floats(15, 30))
def test_what_is_told_stays_within_the_limits_of_command_and_device(
    name: str, target_w: float, one_w: float, other_w: float, own_c: float
) -> None:
    low_w, high_w = sorted((one_w, other_w))
    profile, rating = profiles()[name], Rating(max_inject_w=5_000.0, max_absorb_w=5_000.0)
    what = told(profile, rating, target_w, low_w, high_w, own_c)
    assert isinstance(what, Told)
    if not math.isnan(what.power_w):
        assert -5_000.0 * profile.limits.absorb_frac <= what.power_w <= 5_000.0 * profile.limits.inject_frac
        if low_w <= 5_000.0 * profile.limits.inject_frac and high_w >= -5_000.0 * profile.limits.absorb_frac:
            assert low_w - 1e-9 <= what.power_w <= high_w + 1e-9
    if profile.told_by == "temperature" and what.rests:
        saves_up = profile.mode == "cool"
        limits = profile.limits
        low_c, high_c = (own_c, max(own_c, limits.setpoint_high_c)) if saves_up else (limits.setpoint_low_c, own_c)
        assert min(low_c, own_c) <= what.setpoint_c <= max(high_c, own_c)


@pytest.mark.parametrize(
    ("target_w", "low_w", "high_w", "is_on", "is_release"),
    [
        (0.0, -math.inf, math.inf, False, False),
        (-2_000.0, -math.inf, math.inf, True, False),
        (math.nan, -math.inf, math.inf, True, True),
        (math.nan, -500.0, math.inf, False, False),
        (-2_000.0, -500.0, math.inf, False, False),
        (0.0, -math.inf, -1_500.0, True, False),
        (math.nan, -1_500.0, -500.0, False, False),
    ],
)
def test_a_switch_follows_the_limit_before_the_target(
    target_w: float, low_w: float, high_w: float, is_on: bool, is_release: bool
) -> None:
    what = told(profile_of("water_heater"), LOAD, target_w, low_w, high_w)
    assert isinstance(what, Told)
    assert (what.is_on, what.is_release) == (is_on, is_release)


@pytest.mark.parametrize(
    ("name", "target_w", "setpoint_c"),
    [
        ("thermostat_cooling", 0.0, 25.0),
        ("thermostat_cooling", -2_000.0, 21.0),
        ("thermostat_cooling", math.nan, 23.0),
        ("thermostat_heating", 0.0, 21.0),
        ("thermostat_heating", -2_000.0, 24.0),
    ],
)
def test_a_thermostat_moves_away_from_use_to_shed_and_towards_it_to_take(
    name: str, target_w: float, setpoint_c: float
) -> None:
    """23 degC of its own; the offset is 2 K, and a heating setpoint stays at or below 24 degC."""
    what = told(profile_of(name), LOAD, target_w, -math.inf, math.inf, 23.0)
    assert isinstance(what, Told)
    assert what.setpoint_c == setpoint_c


def test_a_thermostat_whose_setpoint_nobody_knows_is_left_alone() -> None:
    assert isinstance(told(profile_of("thermostat_cooling"), LOAD, 0.0, -math.inf, math.inf), Unable)


@pytest.mark.parametrize("powers", [(0.0, math.nan, 1.0), (0.0, 2.0, 1.0), (math.inf, 0.0, 1.0)])
def test_powers_that_make_no_sense_are_refused(powers: tuple) -> None:
    assert isinstance(told(profile_of("battery_inverter"), LOAD, *powers), Unable)


def test_a_load_told_to_rest_complies_only_when_it_draws_nothing() -> None:
    profile = profile_of("water_heater")
    rest = told(profile, LOAD, 0.0, -math.inf, math.inf)
    run = told(profile, LOAD, -2_000.0, -math.inf, math.inf)
    assert isinstance(rest, Told) and isinstance(run, Told)
    assert complies(profile, LOAD, rest, -5.0) and not complies(profile, LOAD, rest, -1_900.0)
    assert complies(profile, LOAD, run, 0.0)
