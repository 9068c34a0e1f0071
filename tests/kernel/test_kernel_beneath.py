"""Which rows are beneath which group: the numbering finds what a search through all parents finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tieline.fleet.beneath import Beneath
from tieline.resource.identity import Purpose


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[int], dict[Purpose, np.ndarray]]:
    """Groups whose parents stand before them, or have none, and rows of two purposes with or without a group."""
    count = draw(st.integers(1, 25))
    parents = [draw(st.integers(-1, at - 1)) for at in range(count)]
    rows = draw(st.integers(0, 40))
    of_rows = st.lists(st.integers(-1, count - 1), min_size=rows, max_size=rows)
    return parents, {p: np.array(draw(of_rows), np.int32) for p in (Purpose.ELECTRICAL, Purpose.POOL)}


def is_beneath(parents: list[int], at: int, group: int) -> bool:
    while at >= 0 and at != group:
        at = parents[at]
    return at == group


@given(trees())
def test_the_rows_beneath_a_group_are_those_whose_parents_lead_to_it(
    tree: tuple[list[int], dict[Purpose, np.ndarray]],
) -> None:
    parents, of_rows = tree
    found = Beneath(parents, of_rows)
    for purpose, of_row in of_rows.items():
        for group in range(len(parents)):
            expected = [row for row, at in enumerate(of_row.tolist()) if is_beneath(parents, at, group)]
            assert found.rows(group, purpose).tolist() == expected
