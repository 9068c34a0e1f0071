"""Our flows, optima and prices against pandapower's, which reads the 118-bus case from its own files.

pandapower runs in a process and a venv of its own (`make peers-grid`); where it is missing these tests skip.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sampled import some
from tieline.bench import _pandapower as peer
from tieline.simulate.clearing import Case, Dispatcher, Offer, case118

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not peer.is_there(), reason="no pandapower: run `make peers-grid`"),
]
OFF = 1e-6
LOAD_FRACS, RATING_FRACS = (0.93, 1.04), (0.7, 1.0, 0.6)


def flows_asked() -> list[dict]:
    case, rng = case118(), np.random.default_rng(3)
    asked = []
    for load_frac in (1.0, 0.6, 1.2):
        given = {offer.bus: float(rng.uniform(0, 0.6) * offer.high_mw) for offer in case.offers}
        asked.append({"what": "flow", "load_frac": load_frac, "given_mw": given})
    return asked


def limited_to(rating_frac: float) -> tuple[Case, list[Offer]]:
    """Return the case with lower ratings, and its plants all on from 0 MW."""
    case = case118()
    limited = replace(case, network=replace(case.network, rating_mw=rating_frac * case.network.rating_mw))
    return limited, [replace(o, low_mw=0.0, steps=((o.low_mw, o.steps[0][1]), *o.steps)) for o in case.offers]


@pytest.fixture(scope="module")
def answers() -> list[dict]:
    """What one process of pandapower's answers to what is asked first: to load it takes longer than to ask it."""
    return peer.answers([*flows_asked(), *optima_asked(RATING_FRACS[:1])])


@pytest.fixture(scope="module")
def others() -> list[dict]:
    """What it answers where ratings are others."""
    return peer.answers(optima_asked(RATING_FRACS[1:]))


def optima_asked(rating_fracs: tuple[float, ...]) -> list[dict]:
    return [peer.optimal(*limited_to(frac), load) for frac in rating_fracs for load in LOAD_FRACS]


def test_flows_are_those_of_another_dc_power_flow(answers: list[dict]) -> None:
    case, asked = case118(), flows_asked()
    for question, answer in zip(asked, answers[: len(asked)], strict=True):
        net = -question["load_frac"] * case.load_mw
        for bus, mw in question["given_mw"].items():
            net[case.network.row(bus)] += mw
        net[case.network.row("69")] -= net.sum()
        theirs = peer.flows(answer, case.network, case.reactance_pu)
        assert case.network.flow_mw(net) == pytest.approx(theirs, rel=OFF, abs=OFF * np.abs(theirs).max())


@pytest.mark.parametrize("rating_frac", some(RATING_FRACS))
def test_cost_powers_and_prices_are_those_of_another_optimal_flow(
    rating_frac: float, request: pytest.FixtureRequest
) -> None:
    """All plants on from 0 MW; where ratings are lower, branches are full and prices differ by bus."""
    case, (limited, offers) = case118(), limited_to(rating_frac)
    at, count = RATING_FRACS.index(rating_frac), len(LOAD_FRACS)
    answers = request.getfixturevalue("others" if at else "answers")[0 if at else len(flows_asked()) :]
    dispatcher = Dispatcher(limited.network, offers)
    for frac, answer in zip(LOAD_FRACS, answers[max(at - 1, 0) * count :][:count], strict=True):
        cleared = dispatcher.clear(frac * case.load_mw)
        if rating_frac < 1.0:
            assert (cleared.branch_price > 1e-6).any(), "a branch is full"
        price = np.array([answer["price"][name] for name in case.network.bus_name])
        assert cleared.price == pytest.approx(price, rel=OFF)
        power = np.array([answer["given_mw"][offer.bus] for offer in offers])
        assert cleared.power_mw == pytest.approx(power, rel=OFF, abs=OFF * power.max())
        theirs = peer.flows(answer, case.network, case.reactance_pu)
        assert cleared.flow_mw == pytest.approx(theirs, rel=OFF, abs=OFF * np.abs(theirs).max())
        cost = sum(offer.cost_per_h(mw) for offer, mw in zip(offers, power, strict=True))
        assert cleared.cost_per_h == pytest.approx(cost, rel=OFF)
