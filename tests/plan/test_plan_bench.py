"""The benches of planning and pay hold their answers against others', at any speed."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tieline.bench.figure import measure

Figure = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def figure(quick_bench: Callable[[str], subprocess.CompletedProcess[str]]) -> Figure:
    def read(name: str) -> dict[str, Any]:
        done = quick_bench(name)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    return read


def test_the_kernel_of_the_bench_is_the_optimum_that_highs_finds() -> None:
    found = measure("kernel", 1, True, lambda line: None)
    assert found["off_highs"] <= 1e-8
    assert found["off_optimum"][1_000] <= 5e-7


@pytest.fixture(scope="module")
def pool(figure: Figure) -> dict[str, Any]:
    return figure("pool")


@pytest.mark.long
def test_the_coupled_pool_of_the_bench_is_the_optimum_that_highs_finds(pool: dict[str, Any]) -> None:
    found = pool
    assert found["off_highs"] <= 1e-6
    assert found["off_optimum"] <= 1e-6
    assert 0 <= found["gap"] <= 1e-6
    assert found["band_held"]


@pytest.mark.long
def test_the_pool_of_the_bench_that_is_planned_by_passes_is_within_its_gap_and_its_band(pool: dict[str, Any]) -> None:
    found = pool
    assert 0 <= found["million"]["gap"] <= found["million"]["bar_gap"]
    assert found["million"]["beyond_band"] <= found["million"]["bar_beyond_band"]
    assert found["large"]["gap_is_true"]
    assert -1e-7 <= found["large"]["passes_dearer"] <= found["large"]["passes_gap"] + 1e-7


@pytest.mark.long
def test_the_mixed_pool_of_the_bench_is_within_its_gap_and_no_bound_is_crossed(figure: Figure) -> None:
    found = figure("mixed")
    assert found["bounds_are_true"]
    assert 0 <= found["gap"] <= found["bar_gap"]
    assert 0 <= found["small_gap"] <= 0.01
    assert abs(found["slack_cost"]) <= 1e-6


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("shares", "exact"),
        ("eligible", "sample_agrees"),
    ],
)
def test_a_bench_of_the_business_is_exact(name: str, field: str) -> None:
    assert measure(name, 2, True, lambda line: None)[field] is True


def test_settlement_of_a_large_event_is_that_of_a_sample_and_the_same_bits_again(figure: Figure) -> None:
    assert figure("settle-event")["sample_agrees"] is True
    assert figure("settle-event")["same_bits"] is True


@pytest.mark.long
def test_the_regulated_fleet_of_the_bench_keeps_reserves_and_its_live_score_is_the_settled_one() -> None:
    found = measure("agc", 1, True, lambda line: None)
    assert found["below_reserve_wh"] == 0
    assert found["beyond_w"] <= 0.01
    assert found["live_off"] <= 1e-9
    assert found["value"] > found["without_foresight"] > 0.9
    assert found["armed_30_s"] >= 0.98


@pytest.mark.long
def test_homes_of_the_bench_are_as_good_as_highs_finds_them_and_a_batch_is_planned(figure: Figure) -> None:
    found = figure("home")
    assert found["worst_off"] <= found["bar_off"]
    assert found["batch"]["refused"] == 0
    assert found["batch"]["gap"] <= 0.03
    assert all(0 <= row["gap"] <= 0.05 for row in found["rows"])


@pytest.fixture(scope="module")
def schedulers() -> dict[str, Any]:
    return measure("schedulers", 1, True, lambda line: None)


def test_flexmeasures_and_emhass_find_the_cost_that_ours_finds(schedulers: dict[str, Any]) -> None:
    met = [peer for peer in schedulers["peers"] if "off" in peer]
    if not met:
        pytest.skip("neither is installed: make peers-flexmeasures peers-emhass")
    assert all(peer["off"] <= schedulers["bar_off"] for peer in met)
    assert all(peer["ended"].lower() == "optimal" for peer in met)


def test_flexmeasures_finds_the_cost_of_batteries_under_one_cap_that_ours_finds(schedulers: dict[str, Any]) -> None:
    if "off" not in schedulers["peers"][0]:
        pytest.skip("it is not installed: make peers-flexmeasures")
    (pool,) = schedulers["pools"]
    assert pool["batteries"] == 10
    assert pool["peer_ended"]
    assert pool["off"] <= schedulers["bar_off"]
    assert pool["beyond_cap"] <= schedulers["bar_off"]
    assert pool["uncapped_cost"] < pool["cost"] - 0.01 * abs(pool["cost"]), "the cap binds"
