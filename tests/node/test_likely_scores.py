"""What is said to be likely of awards is near to what is delivered, and its alarm calls for awards that lack alone.

Of 200 devices and eight seeds, see `docs/do/trade.md`; `tieline bench likely` lives through all of them.
"""

from __future__ import annotations

import pytest

from sampled import some
from tieline.bench._likely_days import NONE, lived
from tieline.bench._likely_scores import alarm, errors

CASES = [(NONE, 5, 60, 2.6), ("comms-loss", 1, 200, 4.6), ("heatwave", 1, 200, 4.6)]


@pytest.mark.long
@pytest.mark.parametrize(("name", "seed", "devices", "hours"), some(CASES))
def test_an_award_that_is_given_is_said_to_be_as_it_begins_and_nobody_is_called_for_it(
    name: str, seed: int, devices: int, hours: float
) -> None:
    day = lived(name, devices, seed, hours)
    found, told = {str(row["said"]): row for row in errors([day])}, alarm([day])
    assert found["as it begins"]["mean_error"] <= 8.0, found  # type: ignore[operator]
    assert told["lacking"] == 0 and told["needless"] == 0 and told["precision"] in (None, 100.0), told
