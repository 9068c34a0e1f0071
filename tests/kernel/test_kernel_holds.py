"""What a meter says against a hold timer: the readable rule and the one in columns agree."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tieline.fleet import holding
from tieline.resource.hold import contradicts, held_within
from tieline.resource.setpoint import Bounds

sizes = st.sampled_from([0.0, 1_000.0, 5_000.0])
shares = st.floats(-1.1, 1.1) | st.sampled_from([0.0, 0.05, -0.05, 1.0, -1.0])
rows = st.lists(st.tuples(sizes, sizes, shares, shares), min_size=1, max_size=20)


@given(rows)
def test_columns_find_the_powers_that_contradict_a_timer_as_the_readable_rule_does(given_: list[tuple]) -> None:
    inject_w, absorb_w, told, seen = (np.array(column) for column in zip(*given_, strict=True))
    told_w, seen_w = (np.where(share >= 0, share * inject_w, share * absorb_w) for share in (told, seen))
    ratings = [Bounds(-float(low), float(high)) for low, high in zip(absorb_w, inject_w, strict=True)]
    holds = [held_within(float(power), rating) for power, rating in zip(told_w, ratings, strict=True)]
    one_by_one = [contradicts(float(p), hold, rating) for p, hold, rating in zip(seen_w, holds, ratings, strict=True)]
    low_w, high_w = (np.array([getattr(hold, end) for hold in holds]) for end in ("low_w", "high_w"))
    assert holding.contradicts(seen_w, low_w, high_w, inject_w, absorb_w).tolist() == one_by_one


@given(rows)
def test_a_machine_that_does_what_its_timer_asks_is_never_said_to_have_left_it(given_: list[tuple]) -> None:
    for inject_w, absorb_w, told, _ in given_:
        rating, share = Bounds(-absorb_w, inject_w), min(max(told, -1.0), 1.0)
        power_w = share * (inject_w if share >= 0 else absorb_w)
        assert not contradicts(power_w, held_within(power_w, rating), rating)
