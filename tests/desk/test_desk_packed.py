"""Columns of facts come back as they were packed, and one value is packed as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.packed import Packed

KINDS = [np.int32, np.uint8, np.int64, np.float64, np.bool_]


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.integers(0, 2), max_size=6), st.integers(1, 3))
def test_a_column_comes_back_to_the_bit_and_may_be_written_into(kind: type, drawn: list[int], step: int) -> None:
    values: np.ndarray = np.array(drawn * 2, kind)[::step]
    packed = Packed.of(values)
    back = packed.array()
    assert back.dtype == values.dtype and back.tolist() == values.tolist()
    back[:] = 1
    assert packed.array().tolist() == values.tolist()
    is_one = len(values) > 1 and len(set(values.tolist())) == 1
    assert (f"*{len(values)}" in packed.dtype) == is_one
    assert len(packed.data) == values.itemsize * (1 if is_one else len(values))


@given(st.lists(st.sampled_from([np.nan, 0.0, -0.0, 1.0]), max_size=5))
def test_unknown_numbers_stand_each_by_itself_and_both_zeros_are_one(drawn: list[float]) -> None:
    packed = Packed.of(np.array(drawn))
    assert ("*" in packed.dtype) == (len(drawn) > 1 and all(each == drawn[0] for each in drawn))
    assert np.array_equal(packed.array(), np.array(drawn), equal_nan=True)
