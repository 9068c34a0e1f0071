"""Restoration: no step breaks a limit, though all at once would."""

from dataclasses import replace

import numpy as np
import pytest

from tieline.errors import ConfigError
from tieline.grid.envelope_terms import EnvelopeTerms
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.restoration import Outage, restore
from tieline.grid.samples import european_lv

NONE = np.zeros(55)
TERMS = EnvelopeTerms(NONE, NONE)
OUTAGE = Outage(np.full(55, 1_500.0), np.full(55, 400.0), np.arange(55) // 5, pickup=3.0)


@pytest.fixture(scope="module")
def flow() -> PhaseFlow:
    return PhaseFlow(european_lv())


def holds(flow: PhaseFlow, drawn_w: np.ndarray) -> bool:
    result = flow.solve(-drawn_w, -drawn_w * 400 / 1_500)
    limits = flow.feeder.branch_max_a[flow.watch_branches]
    return bool(result.load_pu.min() >= 0.94 and (result.branch_a.max(axis=2) <= limits).all())


def test_every_step_holds_all_limits_and_all_at_once_would_not(flow: PhaseFlow) -> None:
    done = restore(flow, OUTAGE, TERMS)
    assert not done.left_off and (done.step_of_block >= 0).all()
    assert len(done.drawn_w) > 1 and holds(flow, done.drawn_w)
    assert not holds(flow, 3.0 * OUTAGE.usual_w[None])


def test_a_block_draws_its_pickup_first_and_its_usual_power_in_the_end(flow: PhaseFlow) -> None:
    """The law of decay by hand: 1 + (k - 1) exp(-t / T), 300 s a step, T of 1,800 s."""
    done = restore(flow, OUTAGE, TERMS)
    for customer in range(0, 55, 11):
        came = done.step_of_block[OUTAGE.block[customer]]
        since = np.arange(len(done.drawn_w)) - came
        expected = np.where(since >= 0, 1 + 2 * np.exp(-np.maximum(since, 0) / 6), 0) * 1_500
        assert done.drawn_w[:, customer] == pytest.approx(expected)


def test_who_has_priority_is_not_behind_whoever_has_less(flow: PhaseFlow) -> None:
    priority = np.arange(11.0)
    done = restore(flow, OUTAGE, TERMS, priority)
    assert done.step_of_block[10] == 0
    waits = done.step_of_block.max()
    assert waits > 0 and done.step_of_block[:5].mean() > done.step_of_block[6:].mean()


def test_a_block_that_never_fits_is_named_with_the_limit_against_it(flow: PhaseFlow) -> None:
    usual_w = np.where(OUTAGE.block == 10, 12_000.0, 1_500.0)
    done = restore(flow, replace(OUTAGE, usual_w=usual_w, pickup=1.0), TERMS)
    assert list(done.left_off) == [10]
    assert done.left_off[10].startswith(("voltage low at load", "line"))
    assert (done.step_of_block[:10] == 0).all() and not done.drawn_w[:, 50:].any()


@pytest.mark.parametrize(
    ("outage", "said"),
    [
        (replace(OUTAGE, usual_w=np.ones(3)), r"usual_w has shape \(3,\): give \(55,\)"),
        (replace(OUTAGE, usual_w=-OUTAGE.usual_w), "usual_w of customer 0 is below 0"),
        (replace(OUTAGE, block=np.full(55, 2)), "block has 1 of 3 numbers: number blocks from 0 on"),
        (replace(OUTAGE, pickup=0.5), "pickup 0.5, .* give a pickup of 1 or more"),
    ],
)
def test_an_outage_that_makes_no_sense_is_refused_by_name(flow: PhaseFlow, outage: Outage, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        restore(flow, outage, TERMS)
