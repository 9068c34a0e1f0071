"""The days before a stage opened are the same whoever meters them, and nobody is left metering what nobody asks for."""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tieline.node.past import DAYS, STEP_S, Metering, Past
from tieline.simulate.sky import Climate
from tieline.times import DAY_NS, SECOND_NS, parse_iso

ENDS_NS = parse_iso("2022-08-16T22:30:00-05:00")
PAST = Past(40, 3, Climate(hotter_c=6.0), ENDS_NS)
SHORT = replace(PAST, days=2)


@pytest.fixture(scope="module")
def in_line() -> tuple[np.ndarray, np.ndarray]:
    return SHORT.metered()


def test_it_covers_fifteen_days_up_to_the_opening() -> None:
    starts, watts = PAST.metered()
    assert starts[0] == ENDS_NS - DAYS * DAY_NS
    assert set(np.diff(starts).tolist()) == {STEP_S * SECOND_NS}
    assert starts[-1] == ENDS_NS - STEP_S * SECOND_NS
    assert watts.shape == (len(starts), 3)
    assert (watts[:, 0] > 0).any(), "its loads draw"


def test_another_process_meters_the_same_to_the_bit(in_line: tuple[np.ndarray, np.ndarray]) -> None:
    metering = Metering(SHORT)
    metering.begin()
    assert metering._child is not None
    starts, watts = metering.metered()
    assert (starts == in_line[0]).all()
    assert (watts == in_line[1]).all()


@pytest.mark.parametrize("program", ["/no/such/python", "/bin/false", ""], ids=["missing", "fails", "unknown"])
def test_where_no_process_can_do_it_it_is_metered_in_line(
    program: str, monkeypatch: pytest.MonkeyPatch, in_line: tuple[np.ndarray, np.ndarray]
) -> None:
    metering = Metering(SHORT)
    monkeypatch.setattr(sys, "executable", program)
    metering.begin()
    starts, watts = metering.metered()
    assert (starts == in_line[0]).all()
    assert (watts == in_line[1]).all()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc to look for processes in")
def test_what_nobody_asks_for_is_ended() -> None:
    metering = Metering(PAST)
    metering.begin()
    child = metering._child
    assert child is not None
    began = time.monotonic()
    asyncio.run(metering.end())
    assert child.returncode is not None
    assert time.monotonic() - began < 5.0
    assert not Path(f"/proc/{child.pid}").exists()
