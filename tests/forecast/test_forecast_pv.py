"""PV from weather, beside NREL's sun, pvlib's planes and plants of pvlib's own physics (tests/peers/pvlib_plants.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

from tieline.forecast.pv import Place, Roofs, Weather, bank, learn, shares
from tieline.forecast.score import wape
from tieline.forecast.sun import normals, plane_w_per_m2, split, sun_vectors
from tieline.simulate.datasets import weather
from tieline.times import HOUR_NS, MINUTE_NS, parse_iso

ORACLE = json.loads((Path(__file__).parent / "pvlib.json").read_text(encoding="utf-8"))
PLACE = Place(ORACLE["latitude_deg"], ORACLE["longitude_deg"])
HOURS = len(ORACLE["one_kw"])
STARTS = ORACLE["starts_ns"] + np.arange(HOURS, dtype=np.int64) * HOUR_NS
OUTPUT = np.array([ORACLE["one_kw"], ORACLE["two_kw"]])


def hours(first: int = 0, last: int = HOURS) -> Weather:
    rows = slice(ORACLE["first_row"] + first, ORACLE["first_row"] + last)
    all_of_it = weather()
    return Weather(
        STARTS[first:last],
        HOUR_NS,
        all_of_it.outdoor_c[rows],
        all_of_it.direct_w_per_m2[rows],
        all_of_it.diffuse_w_per_m2[rows],
    )


def angles(sun: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.degrees(np.arcsin(sun[:, 2])), np.degrees(np.arctan2(sun[:, 0], sun[:, 1])) % 360


def test_the_sun_stands_where_nrel_says() -> None:
    """Reda and Andreas, NREL/TP-560-34302 (2008), A.5: elevation without refraction 39.872046, azimuth 194.340241."""
    up, azimuth = angles(sun_vectors(np.array([parse_iso("2003-10-17T12:30:30-07:00")]), 39.742476, -105.1786))
    assert up[0] == pytest.approx(39.872046, abs=0.01)
    assert azimuth[0] == pytest.approx(194.340241, abs=0.01)


def test_sun_planes_and_split_are_those_of_pvlib() -> None:
    at, part = np.array(ORACLE["rows"]), hours()
    middles = STARTS[at] + 30 * MINUTE_NS
    sun = sun_vectors(middles, PLACE.latitude_deg, PLACE.longitude_deg)
    up, azimuth = angles(sun)
    assert np.abs(up - ORACLE["elevation_deg"]).max() < 0.01
    assert np.abs(azimuth - ORACLE["azimuth_deg"]).max() < 0.02
    day = middles // (24 * HOUR_NS) % 365.25
    assert part.direct_w_per_m2 is not None and part.diffuse_w_per_m2 is not None
    direct, diffuse = part.direct_w_per_m2[at], part.diffuse_w_per_m2[at]
    ours = plane_w_per_m2(sun, normals(np.array([30.0]), np.array([135.0])), direct, diffuse, day)[:, 0]
    assert np.abs(ours - ORACLE["haydavies_w_per_m2"]).max() < 2.0
    level = np.array(ORACLE["level_w_per_m2"])
    beam, rest = split(level, sun[:, 2], day)
    # pvlib takes the sun for 1,366.1 W/m2, we for Gueymard's 1,361.1: up to 3 W/m2 of diffuse light.
    assert np.abs(rest - ORACLE["erbs_diffuse_w_per_m2"]).max() < 3.0
    assert beam * sun[:, 2] + rest == pytest.approx(level)


def test_level_ground_gets_what_falls_on_it() -> None:
    part = hours()
    assert part.direct_w_per_m2 is not None and part.diffuse_w_per_m2 is not None
    sun = sun_vectors(STARTS + 30 * MINUTE_NS, PLACE.latitude_deg, PLACE.longitude_deg)
    high = sun[:, 2] > 0.1  # below that the ring around the sun is held
    flat = plane_w_per_m2(
        sun, normals(np.zeros(1), np.zeros(1)), part.direct_w_per_m2, part.diffuse_w_per_m2, STARTS * 0.0
    )
    level = part.direct_w_per_m2 * sun[:, 2] + part.diffuse_w_per_m2
    assert flat[high, 0] == pytest.approx(level[high])


def test_a_plant_is_learnt_from_forty_days_and_foretold_for_twenty() -> None:
    """Plants by another's physics (SPA, Perez, SAPM, PVWatts), one whose inverter cuts off and one on two roofs."""
    cut = 40 * 24
    roofs = learn(OUTPUT[:, :cut], hours(0, cut), PLACE)
    assert roofs.most == pytest.approx([4.2, np.inf])
    found = roofs.output(hours(cut))
    actual = OUTPUT[:, cut:]
    for k in range(2):
        naive = wape(OUTPUT[k, cut - 24 : -24], actual[k])
        ours = wape(found[k], actual[k])
        assert ours < 0.06 < naive


def test_a_roof_of_the_bank_is_found_again_in_size() -> None:
    planes = bank()
    size = np.zeros((1, len(planes)))
    size[0, 8], size[0, 11] = 4.0, 2.0
    made = Roofs(PLACE, planes, size, np.array([np.inf])).output(hours())
    gaps = made.copy()
    gaps[0, ::5] = np.nan
    again = learn(gaps, hours(), PLACE)
    assert again.size.sum() == pytest.approx(6.0, rel=0.02)
    assert wape(again.output(hours()), made) < 0.02


def test_level_irradiance_alone_does_with_a_larger_error() -> None:
    part, cut = hours(), 40 * 24
    up = np.maximum(sun_vectors(STARTS + 30 * MINUTE_NS, PLACE.latitude_deg, PLACE.longitude_deg)[:, 2], 0.0)
    assert part.direct_w_per_m2 is not None and part.diffuse_w_per_m2 is not None
    level = part.direct_w_per_m2 * up + part.diffuse_w_per_m2
    past = Weather(STARTS[:cut], HOUR_NS, part.celsius[:cut], level_w_per_m2=level[:cut])
    ahead = Weather(STARTS[cut:], HOUR_NS, part.celsius[cut:], level_w_per_m2=level[cut:])
    assert wape(learn(OUTPUT[:, :cut], past, PLACE).output(ahead), OUTPUT[:, cut:]) < 0.12


def test_at_night_nothing_is_given() -> None:
    dark = sun_vectors(STARTS + 30 * MINUTE_NS, PLACE.latitude_deg, PLACE.longitude_deg)[:, 2] < -0.2
    assert not shares(hours(), PLACE, bank())[dark].any()


def test_what_is_no_weather_or_no_plant_is_refused() -> None:
    none = np.zeros(3)
    with pytest.raises(ValueError, match="level_w_per_m2 = None"):
        Weather(STARTS[:3], HOUR_NS, none)
    with pytest.raises(ValueError, match="celsius of shape"):
        Weather(STARTS[:3], HOUR_NS, np.array([1.0, np.nan, 2.0]), level_w_per_m2=none)
    with pytest.raises(ValueError, match="level = -5 W/m2"):
        Weather(STARTS[:3], HOUR_NS, none, level_w_per_m2=none - 5.0)
    with pytest.raises(ValueError, match="place = 91"):
        Place(91.0, 0.0)
    with pytest.raises(ValueError, match="plant 1: no output by day"):
        learn(np.stack([OUTPUT[0], 0.0 * OUTPUT[0]]), hours(), PLACE)
