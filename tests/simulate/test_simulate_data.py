"""What the package ships of other people's data is named, with its origin and licence, and nothing else is there."""

from pathlib import Path

import numpy as np
import pytest

from tieline.simulate import datasets
from tieline.simulate.territory import UPPER_LOADS, build

DATA = Path(datasets.__file__).parent / "data"
ALLOWED = {"BSD-3-Clause", "MIT", "CC BY 4.0", "ODbL 1.0", "public domain"}


def rows() -> dict[str, str]:
    """Return licence by file (or folder) as the page of sources has them."""
    text = (DATA / "SOURCES.md").read_text("utf-8")
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    return {row[0].strip().strip("/"): row[3].strip() for row in cells if row[0].strip() != "file"}


def test_every_data_file_is_named_with_a_licence_that_lets_it_ship() -> None:
    named = rows()
    for path in DATA.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            place = path.relative_to(DATA).parts[0]
            assert place in named, f"{path.name}: name it in SOURCES.md"
            assert any(licence in named[place] for licence in ALLOWED), named[place]


def test_the_feeders_carry_their_licence_beside_them() -> None:
    notice = (DATA / "feeder" / "NOTICE.md").read_text("utf-8")
    assert "Open Database License" in notice and "SimBench" in notice
    assert {path.suffix for path in (DATA / "feeder").iterdir()} == {".json", ".parquet", ".md"}


def test_every_profile_that_a_feeder_names_is_there_and_is_a_share() -> None:
    table = datasets.profiles()
    for name in ("1-lv-rural1", "1-lv-urban6", "1-mv-semiurb"):
        model = datasets.feeder(name)
        for profile in model.load_profile:
            assert len(table[profile]) == datasets.QUARTERS
            assert 0.0 <= table[profile].min() <= table[profile].max() <= 1.0 + 1e-6
    upper = datasets.feeder("1-mv-semiurb")
    assert all(kin in upper.load_profile for kins in UPPER_LOADS.values() for kin in kins)


def test_the_sessions_have_declared_departures_that_are_not_the_real_ones() -> None:
    """Drivers are wrong by an hour as often as not: who trusts the declaration meets the truth."""
    real = datasets.sessions()
    assert len(real.weekday) == 6_000
    assert (real.declared_s > 0).all() and (real.stays_s > 0).all() and (real.energy_wh > 0).all()
    assert 0.2 < (np.abs(real.declared_s - real.stays_s) > 3_600).mean() < 0.8


@pytest.mark.parametrize("devices", [60, 1_000, 40_000])
def test_every_feeder_of_any_territory_has_a_place_of_its_own_under_a_substation(devices: int) -> None:
    network = build(devices, np.random.default_rng(1)).network()
    places = set(zip(network.substation_of.tolist(), network._upper_load_of.tolist(), strict=True))
    assert len(places) == len(network.model_of)
    assert network.upper is not None
