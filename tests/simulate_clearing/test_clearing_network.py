"""Flows obey both of Kirchhoff's laws, and a network that can't be one is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import meshed, triangle

from tieline.errors import ConfigError
from tieline.simulate.clearing import Network, case118

SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.integers(2, 12))
def test_what_a_bus_gives_leaves_over_its_branches_and_around_each_loop_nothing_is_lost(seed: int, buses: int) -> None:
    rng = np.random.default_rng(seed)
    network = meshed(rng, buses)
    net_mw = rng.uniform(-100, 100, buses)
    net_mw[0] -= net_mw.sum()
    flow = network.flow_mw(net_mw)
    left = np.bincount(network.from_bus, flow, buses) - np.bincount(network.to_bus, flow, buses)
    assert left == pytest.approx(net_mw, abs=1e-8)
    # Along the ring the angles that the flows make come back to where they began.
    assert (flow * network.reactance_pu)[:buses].sum() == pytest.approx(0.0, abs=1e-8)


@given(SEEDS)
def test_what_lacks_is_taken_from_all_loads_by_their_weight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = meshed(rng, 6)
    assert network.flow_mw(network.load_weight) == pytest.approx(np.zeros(len(network.from_bus)), abs=1e-12)


def test_power_takes_both_ways_of_a_triangle_in_inverse_proportion_to_their_reactance() -> None:
    flow = triangle().flow_mw(np.array([30.0, 0.0, -30.0]))
    assert flow == pytest.approx([20.0, 10.0, 10.0])


def test_the_118_bus_case_is_whole() -> None:
    """Totals as the case is published: 4,242 MW of load, 9,966.2 MW of plants, 186 branches."""
    case = case118()
    assert len(case.network.bus_name) == 118
    assert len(case.network.from_bus) == 186
    assert case.load_mw.sum() == pytest.approx(4242.0)
    assert sum(offer.high_mw for offer in case.offers) == pytest.approx(9966.2, abs=0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reactance_pu": np.array([0.1, 0.0, 0.1])}, r"reactance_pu\[1\] = 0.0"),
        ({"reactance_pu": np.array([0.1, np.nan, 0.1])}, r"reactance_pu\[1\] = nan"),
        ({"rating_mw": np.array([90.0, np.inf, -1.0])}, r"rating_mw\[2\] = -1.0"),
        ({"to_bus": np.array([2, 2, 7])}, r"to_bus\[2\] = 7: give 0 to 2"),
        ({"load_weight": np.array([0.5, 0.0, 0.0])}, "load_weight sums to 0.5"),
        ({"bus_name": ("1", "1", "3")}, "bus '1' is there twice"),
        ({"to_bus": np.array([2, 2])}, "to_bus has 2 rows: give 3"),
    ],
)
def test_a_wrong_column_is_refused_with_row_and_value(change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(triangle(), **change)


def test_an_island_is_refused_by_its_buses() -> None:
    with pytest.raises(ConfigError, match=r"no branch joins 'c', 'd' \(2 buses\) to 'a'"):
        Network(
            ("a", "b", "c", "d"), np.array([0, 2]), np.array([1, 3]), np.ones(2), np.ones(2), np.full(4, 0.25)
        )  # fmt: skip


def test_a_network_of_one_bus_clears_without_branches() -> None:
    alone = Network(("a",), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.ones(1))
    assert alone.flow_mw(np.array([5.0])).shape == (0,)
