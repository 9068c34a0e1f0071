"""Settings of the ISO link and of its emulator: what is crooked is refused with its path."""

from typing import Any

import msgspec
import numpy as np
import pytest
from iso_desk import ScheduleDesk

from tieline.errors import ConfigError
from tieline.links.grid.iso_batches import number, without
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.simulate.iso.auction import clear, supplied
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.prices import day_ahead
from tieline.times import Interval

GOOD = {"url": "https://iso/ads", "zone": "America/Chicago", "pools": {"pool:north": "TL_NORTH"}}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"zone": "Chicago"}, r"\$\.iso\.zone = 'Chicago'"),
        ({"pools": {}}, r"\$\.iso\.pools"),
        ({"pools": {"a": "X", "b": "X"}}, r"\$\.iso\.pools"),
        ({"poll_s": 0.0}, r"\$\.iso\.poll_s = 0"),
        ({"url": "http://iso.example/ads"}, r"\$\.iso\.url = .*: give https"),
        ({"url": "iso.example/ads"}, r"\$\.iso\.url = .*: give https"),
        ({"url": "https://iso.example:/ads"}, r"\$\.iso\.url = .*: give a port of 1 to 65535 after the colon"),
        ({"url": "https://iso.example:0/ads"}, r"\$\.iso\.url = .*: give a port"),
        ({"url": "https://iso.example:65536/ads"}, r"\$\.iso\.url = .*: give a port"),
        ({"url": "https://[::1]:x/ads"}, r"\$\.iso\.url = .*: give a port"),
        ({"url": "https://me:hush@iso.example/ads"}, r"\$\.iso\.url: names a user or password"),
    ],
)
def test_a_crooked_setting_is_refused(change: dict[str, Any], path: str) -> None:
    how = msgspec.convert({**GOOD, **change}, IsoSettings)
    with pytest.raises(ConfigError, match=path):
        IsoWeb(how, HttpClient(), ScheduleDesk(), SystemClock(), np.random.default_rng(1))


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="polls"):
        msgspec.convert({**GOOD, "polls": 5}, IsoSettings)


def test_an_unknown_fault_or_settlement_point_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"duplicate = 1\.5"):
        Faults(FaultMenu(duplicate=1.5), np.random.default_rng(1))
    with pytest.raises(ConfigError, match="give one of"):
        Faults(FaultMenu(), np.random.default_rng(1)).ask("gremlins")
    with pytest.raises(ConfigError, match="HB_NORTH"):
        day_ahead("HB_NOWHERE")


def test_the_prices_are_those_that_ercot_reported() -> None:
    prices = day_ahead("HB_NORTH")
    assert len(prices) == 17_520  # two years of hours: 730 days x 24, as each year loses one hour and gains one
    assert min(prices.values()) >= 0
    # Winter storm Uri, 2021-02-16: ERCOT's system-wide offer cap was 9,000 $/MWh.
    assert 8_900 < max(prices.values()) <= 9_000


@pytest.mark.parametrize(
    ("curve", "price", "mw"),
    [([(2.0, 30.0), (3.0, 90.0)], 50.0, 2.0), ([(2.0, 30.0)], 29.0, 0.0), ([(5.0, -100.0)], 0.0, 5.0), ([], 50.0, 0.0)],
)
def test_a_curve_is_taken_as_far_as_it_is_cheaper(curve: list[tuple[float, float]], price: float, mw: float) -> None:
    assert clear(curve, price)[0] == mw


def test_the_marginal_step_is_taken_in_part_and_never_clears_below_its_asking_price() -> None:
    # 50 - 0.0002 x 50 x q = 49.5 at q = 50 MW.
    mw, price = clear([(200.0, 49.5)], 50.0)
    assert (mw, price) == (pytest.approx(50.0), pytest.approx(49.5))
    assert supplied([(1.0, 10.0), (2.0, 60.0)], 50.0) == 1.0


def test_what_is_left_of_an_interval_lies_outside_those_taken() -> None:
    taken = [Interval(2, 4), Interval(6, 12)]
    assert without(Interval(0, 10), taken) == [Interval(0, 2), Interval(4, 6)]
    assert without(Interval(2, 4), taken) == []
    assert [number(uid) for uid in ("-1", "7", "x", "²", "9" * 30)] == [-1, 7, -1, -1, -1]
