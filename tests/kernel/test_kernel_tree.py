"""One resource type for every technology and every group above it, in a tree with a parent for each purpose."""

from __future__ import annotations

import json
from importlib.resources import files

import msgspec
import numpy as np
import pytest

from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import GROUP_KINDS, Fuel, Kind, Purpose, Rating, Resource
from tieline.resource.level import Level
from tieline.resource.point import points
from tieline.times import FOREVER_NS

TECHNOLOGIES = {
    Kind.THERMOSTAT: Rating(max_absorb_w=3_500.0),
    Kind.WATER_HEATER: Rating(max_absorb_w=4_500.0, energy_wh=12_000.0),
    Kind.EV_CHARGER: Rating(max_absorb_w=11_000.0, max_inject_w=10_000.0, energy_wh=60_000.0),
    Kind.INTERRUPTIBLE_LOAD: Rating(max_absorb_w=250_000.0),
    Kind.SHIFTABLE_LOAD: Rating(max_absorb_w=7_000.0),
    Kind.PROCESS_LINE: Rating(max_absorb_w=2e6, ramp_w_per_s=5_000.0),
    Kind.PV: Rating(max_inject_w=8_000.0, max_va=8_800.0),
    Kind.BATTERY: Rating(5_000.0, 5_000.0, 5_500.0, 13_500.0),
    Kind.MECHANICAL_STORAGE: Rating(1e6, 1e6, 1.1e6, 4e6, 2e5),
    Kind.BACKUP_GENERATOR: Rating(max_inject_w=500_000.0, ramp_w_per_s=25_000.0),
    Kind.BIOMASS: Rating(max_inject_w=1.2e6, ramp_w_per_s=800.0),
    Kind.CHP: Rating(max_inject_w=90_000.0),
    Kind.HYBRID_SITE: Rating(20_000.0, 15_000.0, 22_000.0, 27_000.0),
}
TREE = [
    Group("sub-1", Kind.SUBSTATION, Purpose.ELECTRICAL, -1),
    Group("feeder-1", Kind.FEEDER, Purpose.ELECTRICAL, 0),
    Group("tx-1", Kind.TRANSFORMER, Purpose.ELECTRICAL, 1),
    Group("bus-1", Kind.BUS, Purpose.ELECTRICAL, 2),
    Group("bus-2", Kind.BUS, Purpose.ELECTRICAL, 2),
    Group("campus", Kind.SITE, Purpose.SITE, -1),
    Group("house", Kind.SITE, Purpose.SITE, 5),
    Group("cooperative", Kind.OWNER, Purpose.OWNER, -1),
    Group("member-7", Kind.OWNER, Purpose.OWNER, 7),
    Group("pool-1", Kind.POOL, Purpose.POOL, -1),
    Group("pool-1-west", Kind.POOL, Purpose.POOL, 9),
    Group("peak-saver", Kind.PROGRAM, Purpose.PROGRAM, -1),
    Group("ev-nights", Kind.PROGRAM, Purpose.PROGRAM, -1),
]
EXPECTED_ABOVE = {
    Purpose.ELECTRICAL: ["bus-1", "tx-1", "feeder-1", "sub-1"],
    Purpose.SITE: ["house", "campus"],
    Purpose.OWNER: ["member-7", "cooperative"],
    Purpose.POOL: ["pool-1-west", "pool-1"],
    Purpose.PROGRAM: ["peak-saver"],
}


def fleet_of_all() -> Fleet:
    count = len(TECHNOLOGIES)
    ratings = list(TECHNOLOGIES.values())
    at = {group.id: n for n, group in enumerate(TREE)}

    def column(name: str) -> np.ndarray:
        return np.array([getattr(rating, name) for rating in ratings])

    half = np.arange(count) < 7
    parents = {
        Purpose.ELECTRICAL: np.where(half, at["bus-1"], at["bus-2"]).astype(np.int32),
        Purpose.SITE: np.full(count, at["house"], np.int32),
        Purpose.OWNER: np.full(count, at["member-7"], np.int32),
        Purpose.POOL: np.where(half, at["pool-1-west"], at["pool-1"]).astype(np.int32),
        Purpose.PROGRAM: np.where(half, at["peak-saver"], -1).astype(np.int32),
    }
    return Fleet(
        [kind.value for kind in TECHNOLOGIES], np.array([KIND_CODE[kind] for kind in TECHNOLOGIES], np.uint8),
        column("max_inject_w"), column("max_absorb_w"), column("energy_wh"), np.zeros(count), np.zeros(count), TREE,
        parents,
    )  # fmt: skip


def test_the_thirteen_technologies_are_all_the_kinds_that_are_no_groups() -> None:
    assert set(TECHNOLOGIES) == set(Kind) - GROUP_KINDS
    assert len(TECHNOLOGIES) == 13


@pytest.mark.parametrize("kind", TECHNOLOGIES)
def test_each_technology_is_a_resource_that_survives_a_round_trip_and_is_settled_within_its_rating(kind: Kind) -> None:
    rating = TECHNOLOGIES[kind]
    fuel = Fuel.DIESEL if kind is Kind.BACKUP_GENERATOR else Fuel.NONE
    parents = tuple((purpose, names[0]) for purpose, names in EXPECTED_ABOVE.items())
    resource = Resource(kind.value, kind, rating, (*parents, (Purpose.PROGRAM, "ev-nights")), fuel=fuel)
    assert msgspec.json.decode(msgspec.json.encode(resource), type=Resource) == resource
    assert [resource.parent(purpose) for purpose in EXPECTED_ABOVE] == [names[0] for names in EXPECTED_ABOVE.values()]
    fleet = fleet_of_all()
    book, row = ClaimBook(fleet), fleet.row(kind.value)
    for n, watts in enumerate((1e9, -1e9)):
        book.place(
            ClaimBatch(
                f"b{n}", f"s{n}", "p", "g", Level.MARKET, n, Quantity.P, ClaimKind.SET, "", 1, 0, 0, FOREVER_NS,
                np.array([row], np.int32), np.array([-np.inf]), np.array([np.inf]), np.array([watts]),
            )
        )  # fmt: skip
    assert book.arbitrate(1, np.array([row], np.int32)).target_w[0] == rating.max_inject_w
    book.cancel("s0", "g", Quantity.P)
    assert book.arbitrate(1, np.array([row], np.int32)).target_w[0] == -rating.max_absorb_w


def test_a_device_stands_under_a_parent_for_each_purpose_and_each_knows_its_leaves() -> None:
    fleet = fleet_of_all()
    for purpose, names in EXPECTED_ABOVE.items():
        assert [group.id for group in fleet.ancestors(0, purpose)] == names
    first, everything = list(range(7)), list(range(13))
    for name in ("bus-1", "pool-1-west", "peak-saver"):
        assert fleet.leaves(name).tolist() == first
    for name in ("sub-1", "feeder-1", "tx-1", "campus", "house", "cooperative", "member-7", "pool-1"):
        assert fleet.leaves(name).tolist() == everything
    assert fleet.leaves("bus-2").tolist() == list(range(7, 13))


def test_a_device_may_be_in_many_programs_but_in_one_group_of_any_other_purpose() -> None:
    fleet = fleet_of_all()
    fleet.enrol("ev-nights", np.array([2, 9], np.int32))
    assert fleet.programs_of(2) == ["peak-saver", "ev-nights"]
    assert fleet.programs_of(9) == ["ev-nights"]
    with pytest.raises(ValueError, match="pool"):
        fleet.enrol("pool-1", np.array([2], np.int32))
    with pytest.raises(KeyError):
        fleet.enrol("ghost", np.array([2], np.int32))


# --- the catalogue ----------------------------------------------------------------------------------------------------


def model_points(model: str) -> set[str]:
    """All point names of a SunSpec model, as its authors publish them."""
    text = (files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text(encoding="utf-8")

    def names(group: dict) -> set[str]:
        inner = (names(each) for each in group.get("groups", []))
        return {point["name"] for point in group.get("points", [])}.union(*inner)

    return names(json.loads(text)["group"])


def test_every_sunspec_reference_names_a_point_of_that_model() -> None:
    for point in points().values():
        if point.sunspec:
            model, _, name = point.sunspec.partition(".")
            assert name in model_points(model), f"{point.key}: {point.sunspec}"


def test_every_point_says_unit_sign_access_and_type_that_fit_together() -> None:
    units = {"w": "W", "wh": "Wh", "va": "VA", "var": "var", "v": "V", "hz": "Hz", "a": "A", "c": "degC", "s": "s"}
    for point in points().values():
        ending = point.key.rsplit("_", 1)[-1]
        if ending == "s" and point.key.endswith("per_s"):
            assert point.unit.endswith("/s")
        elif ending in units and point.dtype == "float64":
            assert point.unit == units[ending], point.key
        assert point.stale_after_s > 0
        assert point.says
        if point.key in ("power_w", "reactive_var", "target_w", "limit_high_w", "limit_low_w"):
            assert point.sign == "grid", "what has a direction says which"
        if point.access == "rw" and point.unit == "W":
            assert point.iec61850, f"{point.key}: what can be told is named as the standards name it"
            assert point.sep2 or point.mesa


def test_the_fleet_has_a_column_for_every_point_and_the_api_a_schema() -> None:
    from tieline.console.openapi import document
    from tieline.console.routes import ROUTES

    fleet = fleet_of_all()
    schemas = document(ROUTES)["components"]["schemas"]
    assert (
        set(schemas["Points"]["properties"]) == set(points()) == set(schemas["Reading"]["properties"]["point"]["enum"])
    )
    for key in points():
        assert len(fleet.column(key)) == 13
