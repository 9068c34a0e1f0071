"""What every group of a nest would do without limits, whichever of them are limited, while events call devices."""

from __future__ import annotations

import pytest
from comes_back_stage import FEEDER, OTHER, POOL, SUB, Story, told_and_came

SEEDS = range(30)
NOISE_W, BAND_FRAC = 60.0, 0.05
"""What is told may lie below what comes by noise, and by the band in which an event leaves alone what it gets, of all that
events were approved for: once for each, as one stands upon the other."""
FAR_FRAC, FAR_W, ASKED_FRAC = 0.15, 200.0, 0.1
"""And above it by this share of it and so much, and by what events may ask of others beside (of what they were approved
for), as some follow late."""


def least_told_w(story: Story, group: str) -> float:
    """The least that is to be told of a group on the side that is limited (W)."""
    band_w = BAND_FRAC * len(story.events_w) * sum(story.events_w)
    return story.side * story.came_w[group] - NOISE_W - band_w


def most_told_w(story: Story, group: str) -> float:
    """The most that may be told of it (W)."""
    came_w = story.side * story.came_in_all_w[group]
    return came_w + FAR_FRAC * abs(came_w) + FAR_W + ASKED_FRAC * sum(story.events_w)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_comes_above_what_is_told_of_it_wherever_the_limits_are_that_end(seed: int) -> None:
    story = told_and_came(seed, 1.0)
    for group, told_w in story.told_w.items():
        assert least_told_w(story, group) <= told_w, group
        assert told_w <= most_told_w(story, group) or group in story.at_end, group


@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_comes_to_draw_more_than_is_told_of_it_wherever_the_limits_are_that_end(seed: int) -> None:
    """What a load would draw that is held down nobody knows: it counts at more than that, as it may."""
    story = told_and_came(seed, -1.0)
    for group, told_w in story.told_w.items():
        assert least_told_w(story, group) <= -told_w, group
        assert -told_w <= most_told_w(story, group) or group in story.at_end | story.with_loads, group


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_told_of_a_group_is_the_sum_of_what_is_told_of_its_parts(seed: int, side: float) -> None:
    told_w = told_and_came(seed, side).told_w
    assert told_w[SUB] == pytest.approx(told_w.get(FEEDER, 0.0) + told_w.get(OTHER, 0.0), abs=1.0)
    assert told_w[POOL] == pytest.approx(told_w[SUB], abs=1.0)
