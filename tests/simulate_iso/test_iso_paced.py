"""An ISO on a clock that runs faster than the wall's: what it asks to wait is no longer on its own clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tieline.simulate.iso.faults import FaultMenu


@given(st.integers(1, 60), st.floats(1.0, 240.0))
def test_a_pause_is_as_long_on_the_clock_of_the_iso_at_any_speed_or_a_second_of_the_walls(
    pause_s: int, speed: float
) -> None:
    """Seven seconds of the wall at 60 times its speed were seven minutes in which no instruction was read."""
    paced = FaultMenu(busy=0.02, retry_after_s=pause_s).paced(speed)
    assert paced.busy == 0.02
    assert 1 <= paced.retry_after_s < pause_s / speed + 1.0
