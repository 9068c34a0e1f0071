"""Why an award is likely to lack: of whom that would not be so if he were there, and of stores for the rest alone."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from likely_stage import Promised

from tieline.desk.likely import STORED

PLUGS, STORES, STORED_WH = 3, 5, 4_500.0


def told(seed: int, award_w: float, out: int, by_hand: bool, minute: float) -> dict[str, float]:
    """What is said to lack of an hour (W by cause), of which some stores are out: by word, or by hand."""
    pool = Promised(seed, 0, PLUGS, STORES, STORED_WH)
    pool.award(award_w)
    rows = np.arange(PLUGS + STORES)[PLUGS : PLUGS + out]

    async def scene() -> dict[str, float]:
        await pool.until(-30)
        if by_hand:
            pool.state.fleet.column("is_local")[rows] = 1.0
            pool.state.fleet.available_up_w[rows] = 0.0
        else:
            pool.some = lambda frac: rows  # type: ignore[method-assign]
            await pool.opt_out(1.0)
        await pool.until(minute)
        return dict(pool.likely()["a"].lacks_w)

    return asyncio.run(scene())


@pytest.mark.parametrize("by_hand", [False, True], ids=["opted out", "in LOCAL"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_would_not_lack_with_all_owners_in_is_put_to_those_who_are_out(seed: int, by_hand: bool) -> None:
    """Stores of 4.5 kWh that may give 5 kW have less to give by their power than by what they hold."""
    award_w = float(np.random.default_rng(seed).uniform(24_000.0, 29_000.0))
    whole, some = told(seed, award_w, 0, by_hand, -5.0), told(seed, award_w, 2, by_hand, -5.0)
    more_w = sum(some.values()) - sum(whole.values())
    assert more_w > 3_000.0, "two of five are out"
    cause = "foreign_control" if by_hand else "opt_out"
    assert some.get(cause, 0.0) == pytest.approx(more_w, abs=0.02 * award_w), (whole, some)
    assert some.get(STORED, 0.0) == pytest.approx(whole.get(STORED, 0.0), abs=0.02 * award_w), (whole, some)
