"""What a pool gives beyond what is asked, as loads that it let go are not back yet, is told with its reason."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from steps_stage import AWARD_W, BEGINS_NS, Steps

from tieline.node.read_over import LASTS_NS, TURNS, over_by_reason, over_delivery
from tieline.times import MINUTE_NS

LOW, DOWN_MIN, UP_MIN = 0.35, 10, 25
"""What is asked for a quarter of an hour, as a part of what was asked before, and from when to when."""


def played(seed: int, by_schedule: bool) -> list[tuple[int, float, float, bool]]:
    """Play an award that asks for much less for a quarter of an hour.

    Returns:
        At each minute, when it is (ns), what devices give beyond what is asked, what is said of that (W), and whether
        there is an alarm of it.
    """
    it, found, asked_w = Steps(seed, by_schedule=by_schedule), list[tuple[int, float, float, bool]](), AWARD_W

    async def play() -> None:
        nonlocal asked_w
        for minute in range(1, 40):
            await it.until(minute)
            if minute in (5, DOWN_MIN, UP_MIN):
                asked_w = AWARD_W * (LOW if minute == DOWN_MIN else 1.0)
                await it.instruct(asked_w)
            if minute > 5 and minute not in (DOWN_MIN, UP_MIN):
                now_ns = it.clock.ns
                reasons, until_ns = over_by_reason(it.state, it.pool, now_ns)
                assert set(reasons) <= {TURNS} and until_ns <= now_ns + 45 * MINUTE_NS
                told = over_delivery(it.state, it.pool, {}, now_ns)
                found.append((now_ns, it.gave[-1][1] - asked_w, sum(reasons.values()), bool(told)))

    asyncio.run(play())
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("by_schedule", [True, False])
def test_what_loads_give_that_are_not_back_yet_is_told_as_it_is_and_only_then(seed: int, by_schedule: bool) -> None:
    found = played(seed, by_schedule)
    down_ns, up_ns = (BEGINS_NS + minute * MINUTE_NS for minute in (DOWN_MIN, UP_MIN))
    assert not by_schedule or len(found) > 30
    for at_ns, over_w, said_w, is_told in found:
        if down_ns + MINUTE_NS < at_ns < up_ns:
            assert said_w == pytest.approx(max(over_w, 0.0), abs=0.05 * AWARD_W), (at_ns, over_w, said_w)
            assert is_told or over_w <= 0.1 * LOW * AWARD_W + 0.05 * AWARD_W
        elif at_ns < down_ns or at_ns > up_ns + 2 * MINUTE_NS:
            assert not is_told, (at_ns, over_w, said_w)
    by_merit = [is_told for at_ns, _, _, is_told in found if down_ns < at_ns < down_ns + 5 * MINUTE_NS]
    assert by_schedule or all(by_merit), "by merit most of it is loads': else nothing is shown"


def test_the_alarm_says_how_much_why_and_until_when_and_waits_for_a_step_to_be_over() -> None:
    it = Steps(0, by_schedule=False)

    async def play() -> None:
        await it.until(5)
        await it.instruct(AWARD_W)
        await it.until(DOWN_MIN)
        await it.instruct(LOW * AWARD_W)
        await it.until(DOWN_MIN + 1)

    asyncio.run(play())
    ((alarm, after_ns),) = over_delivery(it.state, it.pool, {}, it.clock.ns)
    over_w = it.gave[-1][1] - LOW * AWARD_W
    assert alarm.title.startswith(f"Gives {over_w / 1e3:.1f} kW more than the {LOW * AWARD_W / 1e3:.1f} kW asked: ")
    assert TURNS in alarm.title and alarm.title.endswith("Z")
    assert (alarm.priority, alarm.subject, after_ns) == (3, "pool-1", LASTS_NS)
    assert np.isfinite(over_w) and over_w > 1_000.0
