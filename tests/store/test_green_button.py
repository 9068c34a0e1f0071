"""Green Button files: what a customer downloads becomes a meter file, and every odd reading is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.store.green_button import GreenButton, read_green_button
from tieline.store.meter_files import read_meters

START = 1_720_000_800  # 2024-07-03T10:00:00Z, a whole hour
POINT = "RetailCustomer/9b/UsagePoint/01"


def entry(link: str, body: str, related: str = "") -> str:
    more = f'<link rel="related" href="{related}"/>' if related else ""
    return f'<entry><link rel="self" href="{link}"/>{more}<content>{body}</content></entry>'


def kind(name: str = "07", **fields: object) -> str:
    told = {"uom": 72, "powerOfTenMultiplier": 0, "flowDirection": 1, "accumulationBehaviour": 4} | fields
    rows = "".join(f"<{key}>{value}</{key}>" for key, value in told.items())
    return entry(f"ReadingType/{name}", f'<ReadingType xmlns="http://naesb.org/espi">{rows}</ReadingType>')


def block(readings: list, meter: str = "01", point: str = POINT) -> str:
    rows = "".join(
        f"<IntervalReading>{f'<ReadingQuality><quality>{q[0]}</quality></ReadingQuality>' if q else ''}<timePeriod>"
        f"<duration>{length}</duration><start>{start}</start></timePeriod><value>{value}</value></IntervalReading>"
        for start, length, value, *q in readings
    )
    return entry(
        f"{point}/MeterReading/{meter}/IntervalBlock/1",
        f'<IntervalBlock xmlns="http://naesb.org/espi">{rows}</IntervalBlock>',
    )


def reading(meter: str = "01", of: str = "07", point: str = POINT) -> str:
    return entry(f"{point}/MeterReading/{meter}", '<MeterReading xmlns="http://naesb.org/espi"/>', f"ReadingType/{of}")


def feed(path: Path, *entries: str) -> Path:
    whole = f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom">{"".join(entries)}</feed>'
    path.write_text(whole, encoding="utf-8")
    return path


def read(folder: Path, *entries: str) -> GreenButton:
    return read_green_button(feed(folder / "gb.xml", *entries))


def why(found: GreenButton) -> list[str]:
    return [f"{one.where}: {one.why}" for one in found.told]


def test_a_vector_by_hand_of_milliwatt_hours_an_hour_apart(tmp_path: Path) -> None:
    found = read(
        tmp_path, kind(powerOfTenMultiplier=-3), reading(), block([(START, 3600, 912_000), (START + 3600, 3600, 1)])
    )
    (meter,) = found.meters
    assert (meter.meter, meter.step_ns) == ("01", 3_600_000_000_000)
    assert meter.kwh.tolist() == [0.912, 0.000001]
    assert meter.starts_ns.tolist() == [START * 10**9, (START + 3600) * 10**9]
    assert found.told == ()


def test_what_was_given_is_taken_off_what_was_used(tmp_path: Path) -> None:
    used, given_ = [(START + k * 900, 900, 500) for k in range(3)], [(START + k * 900, 900, 100 * k) for k in range(2)]
    found = read(
        tmp_path, kind(), kind("08", flowDirection=19), reading(), reading("02", "08"), block(used), block(given_, "02")
    )
    (meter,) = found.meters
    assert meter.kwh.tolist() == [0.5, 0.4]
    assert why(found) == ["IntervalBlock 1 reading 3: has no reading beside it of what was given: left out"]


@given(values=st.lists(st.integers(0, 100_000), min_size=2, max_size=50), minutes=st.sampled_from([5, 15, 30, 60]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_meter_file_written_from_a_feed_reads_back_the_same(tmp_path: Path, values: list, minutes: int) -> None:
    rows = [(START + k * minutes * 60, minutes * 60, value) for k, value in enumerate(values)]
    path = feed(tmp_path / "gb.xml", kind(), reading(), block(rows))
    done = CliRunner().invoke(main, ["green-button", str(path), "--out", str(tmp_path / "meter.csv")])
    assert done.exit_code == 0, done.stderr
    (meter,) = read_meters(tmp_path / "meter.csv")
    assert np.array_equal(meter.kwh, np.array(values) / 1e3)
    assert meter.starts_ns.tolist() == [start * 10**9 for start, _, _ in rows]


def test_each_odd_reading_is_told_with_its_place_and_the_others_are_taken(tmp_path: Path) -> None:
    found = read(
        tmp_path, kind(), reading(),
        block([
            (START, 900, 10), (START, 900, 10), (START, 900, 11), (START + 900, 900, "x"), (START + 1800, 700, 1),
            (START + 2700, 900, 10, 9), (START + 3600, 900, 10, 12), (START + 4500, 900, 10**12),
            (START + 5401, 900, 10), (START + 6300, 1800, 10),
        ]),
    )  # fmt: skip
    assert found.meters[0].kwh.tolist() == [0.01, 0.01]
    assert found.meters[0].flags == ("2 intervals of 15 minutes are missing",)
    said = why(found)
    for number, part in (
        (2, "repeats IntervalBlock 1 reading 1"), (3, "differs from IntervalBlock 1 reading 1"), (4, "no whole number"),
        (5, "duration = 700 s"), (6, "estimated by interpolation (quality 9)"), (7, "projected (quality 12): not a meter"),
        (8, "no meter has over"), (9, "not on the grid of 900 s"), (10, "not on the grid of 900 s"),
    ):  # fmt: skip
        assert any(f"reading {number}: " in one and part in one for one in said), (number, part, said)
    assert [one.where for one in found.told if one.is_taken] == ["IntervalBlock 1 reading 6"]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"uom": 38}, "uom = 38: give 72, Wh"),
        ({"flowDirection": 4}, "flowDirection = 4: give 1 (used) or 19 (given)"),
        ({"accumulationBehaviour": 3}, "accumulationBehaviour = 3: give 4, energy of each interval"),
        ({"powerOfTenMultiplier": 40}, "powerOfTenMultiplier = 40: give -12 to 9"),
    ],
)
def test_a_type_that_is_no_energy_of_intervals_is_refused(tmp_path: Path, fields: dict, part: str) -> None:
    with pytest.raises(ConfigError, match="nothing was taken") as refused:
        read(tmp_path, kind(**fields), reading(), block([(START, 900, 1)]))
    assert part in str(refused.value)


def test_two_customers_whose_points_end_alike_stay_apart(tmp_path: Path) -> None:
    other = "RetailCustomer/aa/UsagePoint/01"
    found = read(
        tmp_path, kind(), reading(), reading(point=other), block([(START, 900, 1), (START + 900, 900, 1)]),
        block([(START, 900, 5), (START + 900, 900, 5)], point=other),
    )  # fmt: skip
    assert [one.meter for one in found.meters] == ["RetailCustomer-9b-UsagePoint-01", "RetailCustomer-aa-UsagePoint-01"]
    assert [one.kwh.tolist() for one in found.meters] == [[0.001] * 2, [0.005] * 2]


def test_a_name_that_would_break_the_file_and_blocks_of_nobody_are_refused(tmp_path: Path) -> None:
    good = [reading(), block([(START, 900, 1), (START + 900, 900, 1)])]
    odd = "RetailCustomer/9b/UsagePoint/=A1,B"
    found = read(tmp_path, kind(), *good, reading(point=odd), block([(START, 900, 1)], point=odd),
                 block([(START, 900, 1)], point="Retail/7"))  # fmt: skip
    assert [one.meter for one in found.meters] == ["01"]
    assert "meter '=A1,B': give letters, digits" in why(found)[0]
    assert why(found)[1] == "IntervalBlock 3: belongs to no MeterReading"


def test_what_is_no_feed_or_holds_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.xml"
    for text, part in (
        ("start,kwh", "no XML that may be read"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><feed xmlns="http://www.w3.org/2005/Atom">&b;</feed>',
            "no XML that may be read",
        ),
        ("<html/>", "root is html: give an Atom feed"),
        ('<feed xmlns="http://www.w3.org/2005/Atom"/>', "feed: holds no IntervalBlock"),
    ):
        path.write_text(text)
        done = CliRunner().invoke(main, ["green-button", str(path), "--out", str(tmp_path / "m.csv"), "--json"])
        assert done.exit_code == 2
        assert part in json.loads(done.stderr)["error"] if done.stderr.startswith("{") else part in done.stderr
        assert not (tmp_path / "m.csv").exists()
