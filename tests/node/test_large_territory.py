"""A territory beyond what one DNP3 outstation can index is raised all the same, and says what it shows."""

import numpy as np
import pytest

from tieline.errors import LinkDown
from tieline.links.grid.dnp3.binding import MAX_INDEX, check_binding
from tieline.node.stage import MOST_SHOWN, Stage, binding_of, shown_of, shown_words
from tieline.simulate.territory import GENERATION, Territory, build


@pytest.fixture(scope="module")
def large() -> Territory:
    return build(420_000, np.random.default_rng(17))


def test_the_outstation_shows_as_many_feeders_as_its_index_space_holds_and_says_so(large: Territory) -> None:
    binding = binding_of(large)
    check_binding(binding)
    assert len(large.feeders) > MOST_SHOWN
    assert len(binding.groups) == 1 + 2 * MOST_SHOWN
    assert max(group.at for group in binding.groups) + 2 * 20 > MAX_INDEX - 20, "no further feeder would fit"
    assert shown_words(large).startswith(f"it shows {MOST_SHOWN:,} of {len(large.feeders):,} feeders")


def test_a_control_room_finds_each_shown_feeder_where_the_binding_has_it_and_no_other(large: Territory) -> None:
    stage = Stage.__new__(Stage)
    stage.territory = large
    places = {group.resource: group.at for group in binding_of(large).groups}
    for feeder in (shown_of(large)[0], shown_of(large)[-1]):
        for group in (feeder, feeder + GENERATION):
            assert stage.group_at(group) == places[group]
    with pytest.raises(LinkDown, match="as many as DNP3's 65,536 indices hold"):
        stage.group_at(large.feeders[MOST_SHOWN])


def test_a_territory_that_fits_is_shown_whole_and_without_a_word() -> None:
    small = build(200, np.random.default_rng(1))
    assert shown_of(small) == small.feeders
    assert shown_words(small) == ""
