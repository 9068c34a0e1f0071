"""A table of devices becomes a tree with a parent for each purpose."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tieline.contract.eligibility import enrol
from tieline.errors import ConfigError
from tieline.fleet.columns import FUELS, KIND_CODE, Fleet
from tieline.node.rebuilt import kinds_and_fuels
from tieline.resource.identity import GROUP_KINDS, Kind, Purpose
from tieline.store.importing import read_fleet
from tieline.store.merging import merge
from tieline.store.registry import load, save

HEAD = "id,kind,max_inject_w,substation,feeder,transformer,bus,site,owner,pool,program\n"


def written(path: Path, *rows: str) -> Path:
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return path


def test_a_device_hangs_on_the_lowest_of_its_grid_and_under_all_above_it(tmp_path: Path) -> None:
    fleet = read_fleet(
        written(
            tmp_path / "t.csv",
            "b1,battery,5000,sub-1,f-1,t-1,bus-1,site-1,ann,pool-1,summer",
            "b2,battery,5000,sub-1,f-1,t-1,,site-1,ann,pool-1,",
            "b3,pv,5000,sub-1,f-2,,,site-2,bob,,summer",
        )
    )
    for name, ids in {
        "bus-1": ["b1"], "t-1": ["b1", "b2"], "f-1": ["b1", "b2"], "f-2": ["b3"], "sub-1": ["b1", "b2", "b3"],
        "site-1": ["b1", "b2"], "ann": ["b1", "b2"], "pool-1": ["b1", "b2"], "summer": ["b1", "b3"],
    }.items():  # fmt: skip
        assert [fleet.id_of(int(row)) for row in fleet.leaves(name)] == ids, name
    assert [group.id for group in fleet.ancestors(0, Purpose.ELECTRICAL)] == ["bus-1", "t-1", "f-1", "sub-1"]
    assert fleet.kind_of("summer") is Kind.PROGRAM
    save(fleet, tmp_path / "registry.bin")
    assert load(tmp_path / "registry.bin").groups == fleet.groups


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in GROUP_KINDS])
def test_every_technology_can_be_imported(tmp_path: Path, kind: Kind) -> None:
    assert read_fleet(written(tmp_path / "t.csv", f"r1,{kind.value},1,,,,,,,,")).kind_of("r1") is kind


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a,pv,1,s1,f1,,,,,,", "b,pv,1,s2,f1,,,,,,"], "row 3: feeder = 'f1': hangs on s1 in another row, on s2 here"),
        (["a,pv,1,s1,f1,,,f1,,,"], "row 2: site = 'f1': is a feeder in another row"),
        (["a,pv,1,,a,,,,,,"], "'a' is a device and a feeder"),
        (["a,pv,nan,,,,,,,,"], "row 2: max_inject_w = 'nan'"),
        (["a,pv,1e300,,,,,,,,"], "row 2: max_inject_w = 1e300: give 0 to 1e+10"),
        (["a,pv,5_000,,,,,,,,"], "row 2: max_inject_w = '5_000'"),
        (["a,pv,٣,,,,,,,,"], "row 2: max_inject_w = '٣'"),
        (["a,pv,-1,,,,,,,,"], "row 2: max_inject_w = -1: give 0 to 1e+10"),
    ],
)
def test_a_tree_that_contradicts_itself_is_refused_by_row(tmp_path: Path, rows: list, says: str) -> None:
    with pytest.raises(ConfigError, match="nothing was imported") as raised:
        read_fleet(written(tmp_path / "t.csv", *rows))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", "id,kind\n", "holds no device"),
        ("t.xlsx", "id,kind\na,pv\n", "a .xlsx file can't be read"),
        ("t.csv", "id,kind\na,pv,1\n", "row 2 has more cells"),
        ("t.csv", "id,kind,max_inject_w\na,pv,1\nb,pv\n", "row 3: cells = 2: give all 3, empty ones too"),
        ("t.csv", "id,kind,max_inject_w,default_w\na,pv,10,11\n", "row 2: default_w = 11"),
        ("t.csv", "id\na\n", "no column kind"),
        ("t.csv", "id,kind,colour\na,pv,red\n", "unknown column colour"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_fleet(tmp_path / name)
    assert says in str(raised.value)


# --- fuels --------------------------------------------------------------------------------------------------------------


def fuelled(path: Path, *rows: str) -> Path:
    path.write_text("id,kind,fuel,pool\n" + "\n".join(rows) + "\n")
    return path


def words(fleet: Fleet) -> list[str]:
    return [FUELS[at] for at in fleet.fuels.tolist()]


def test_a_fuel_is_what_the_table_says_and_of_an_engine_of_which_it_says_nothing_unknown(tmp_path: Path) -> None:
    rows = ["a,chp,biogas,p", "b,chp,,p", "c,backup_generator,,p", "d,biomass,,p", "e,battery,,p", "f,pv,none,p"]
    fleet = read_fleet(fuelled(tmp_path / "t.csv", *rows))
    assert words(fleet) == ["biogas", "unknown", "unknown", "biomass", "none", "none"]
    save(fleet, tmp_path / "registry.bin")
    assert words(load(tmp_path / "registry.bin")) == words(fleet)


def test_an_unknown_fuel_is_refused_with_its_row_and_the_known_ones(tmp_path: Path) -> None:
    says = (
        "row 3: fuel = 'coal': give one of none, diesel, natural_gas, gasoline, propane, lpg, biomass, biogas, hydrogen"
    )
    with pytest.raises(ConfigError) as raised:
        read_fleet(fuelled(tmp_path / "t.csv", "a,pv,,p", "b,chp,coal,p"))
    assert says in str(raised.value)


@pytest.mark.parametrize("kind", ["battery", "pv", "interruptible_load", "thermostat"])
def test_a_fuel_of_what_burns_nothing_is_refused(tmp_path: Path, kind: str) -> None:
    says = f"row 3: fuel = 'diesel': a {kind} burns nothing: give none, or leave it out"
    with pytest.raises(ConfigError) as raised:
        read_fleet(fuelled(tmp_path / "t.csv", "a,chp,diesel,p", f"b,{kind},diesel,p"))
    assert says in str(raised.value)


def test_what_an_engine_burns_decides_whether_it_may_serve_and_unknown_may_not(tmp_path: Path) -> None:
    rows = ["a,chp,biogas,p", "b,chp,natural_gas,p", "c,chp,diesel,p", "d,chp,,p", "e,backup_generator,hydrogen,p"]
    fleet = read_fleet(fuelled(tmp_path / "t.csv", *rows))
    enrolled = enrol(*kinds_and_fuels(fleet), "US-TX", "energy")
    assert enrolled.may_serve.tolist() == [True, True, False, False, False]
    refusal = enrolled.refusal(3)
    assert refusal is not None
    assert refusal.rule == "default-deny 1"


def test_a_second_table_changes_a_fuel(tmp_path: Path) -> None:
    old = read_fleet(fuelled(tmp_path / "t.csv", "a,chp,,p", "b,chp,diesel,p"))
    made = merge(old, read_fleet(fuelled(tmp_path / "u.csv", "a,chp,biogas,p")))
    assert (words(made.fleet), made.changed) == (["biogas", "diesel"], 1)


def test_a_registry_of_before_fuels_is_still_read_and_one_of_a_later_version_is_not(tmp_path: Path) -> None:
    """The first layout as it was written: six columns, no version."""
    path, number = tmp_path / "registry.bin", np.zeros(2)
    names = ("max_inject_w", "max_absorb_w", "energy_wh", "default_w", "safe_w")
    kinds = np.array([KIND_CODE[Kind.CHP], KIND_CODE[Kind.PV]], np.uint8)
    book = {
        "ids": "a\nb", "groups": [], "parents": {},
        "columns": {"kinds": ("|u1", kinds.tobytes()), **{name: ("<f8", number.tobytes()) for name in names}},
    }  # fmt: skip
    path.write_bytes(msgspec.msgpack.encode(book))
    assert words(load(path)) == ["unknown", "none"]
    path.write_bytes(msgspec.msgpack.encode({**book, "version": 3}))
    with pytest.raises(ConfigError, match="version 3 of the registry: this Tieline reads up to 2"):
        load(path)
