"""What a device is told stands in the steps of its registers, and no limit is wider there than it was commanded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from modbus_room import MODELS, Battery

from tieline.device.profile import profile_of
from tieline.device.steps import steps_within, steps_within_rows
from tieline.device.told import Unable, told
from tieline.links.device.modbus.asking import asked_of
from tieline.links.device.modbus.columns import asked_of_rows, laid, requests
from tieline.links.device.modbus.held import Held
from tieline.links.device.modbus.unit import Unit
from tieline.resource.identity import Rating
from tieline.simulate.sunspec_device import BASE, SunSpecDevice
from tieline.wire.modbus.pdu import Read, Write, read_request

FIELDS = MODELS[704].fields
BATTERY = profile_of("battery_inverter")


class StillClock:
    def now_ns(self) -> int:
        return 0


class Wire:
    """A connection of one unit, without a network in between."""

    is_open = True

    def __init__(self, device: SunSpecDevice) -> None:
        self.device = device

    async def request(self, unit: int, asked: Read) -> tuple[int, ...]:
        found = self.device.read(asked.start - BASE, asked.count)
        assert found is not None
        return found

    async def exchange(self, unit: int, asked: Read | Write) -> tuple:
        assert isinstance(asked, Write) and self.device.write(asked.start, asked.registers)
        return (), b""


def scaled_device(rated_w: float, scales: Mapping[str, int]) -> SunSpecDevice:
    clock = StillClock()
    device = SunSpecDevice(Battery(clock), rated_w, 10_000.0, MODELS, clock)
    for name, exponent in scales.items():
        device.registers[704][FIELDS[name].offset] = exponent & 0xFFFF
    return device


def held_after(device: SunSpecDevice, asked: Held, takes_blocks: bool) -> tuple[Held, Held]:
    """Return what a device holds once it was told, and what it was told in the steps of its registers."""

    async def tell() -> tuple[Held, Held]:
        unit = Unit(Wire(device), 1, takes_blocks)
        await unit.find()
        await unit.read_back()
        await unit.tell(asked)
        return await unit.read_back(), unit.rounded(asked)

    return asyncio.run(tell())


def burst_of(device: SunSpecDevice, rating: Rating, powers: tuple[float, float, float], own_w: float) -> None:
    """Tell a device what a burst would."""
    size, start = MODELS[704].size, BASE + 2 + sum(MODELS[n].size for n in (1, 701, 702, 703))
    seen = np.array([device.read(start - BASE, size)], np.uint16)
    arrays = [
        np.array([value]) for value in (rating.max_inject_w, rating.max_absorb_w, rating.max_inject_w, *powers, own_w)
    ]
    wished, is_sane = asked_of_rows(BATTERY, *arrays)
    image, _, fits = laid(seen, wished, 600)
    assert is_sane[0] and fits[0]
    for pdu in requests(np.array([start]), seen, image)[0]:
        request = read_request(pdu)
        assert isinstance(request, Write) and device.write(request.start, request.registers)


# Ratings that model 702 can tell, so that they are the device's own WMax: in watts, above 60 kW in tens.
RATED_W = (st.integers(500, 60_000) | st.integers(6_001, 20_000).map(lambda tens: 10 * tens)).map(float)


@settings(deadline=None, max_examples=300)
@given(
    RATED_W, st.integers(-2, 1), st.integers(-1, 2), st.floats(-1.1, 1.1), st.floats(-1.1, 1.1),
    st.one_of(st.just(math.nan), st.floats(-1.1, 1.1)), st.sampled_from(["blocks", "steps", "burst"]),
    st.one_of(st.just(math.nan), st.floats(-1.1, 1.1)),
)  # fmt: skip
@example(16_700.0, -1, 0, -1.0, 5_000.0 / 16_700.0, math.nan, "burst", math.nan)
def test_no_device_holds_more_than_its_upper_limit_or_less_than_its_lower_one_whatever_its_scale(
    rated_w: float, percent: int, watts: int, one: float, other: float, target: float, how: str, own: float
) -> None:
    """But where no step of its power lies between the two."""
    low_w, high_w = sorted((one * rated_w, other * rated_w))
    powers, rating = (target * rated_w, low_w, high_w), Rating(max_inject_w=rated_w, max_absorb_w=rated_w)
    device = scaled_device(rated_w, {"WMaxLimPct_SF": percent, "WSet_SF": watts})
    what = told(BATTERY, rating, *powers)
    assert not isinstance(what, Unable)
    if how == "burst":
        burst_of(device, rating, powers, own * rated_w)
    else:
        held, in_steps = held_after(device, asked_of(what, rated_w, 600.0, own * rated_w), how == "blocks")
        assert held.same(in_steps)
        assert held.limit_frac <= in_steps.limit_frac + 1e-9, "what is read back is what was told"
    set_w, cap_w = device.body.held[-1] if device.body.held else (math.nan, math.inf)
    is_set, step_w, coarse_w = not math.isnan(set_w), 10.0**watts, 10.0**percent / 100.0 * rated_w
    slack_w = 1e-3 + 2e-6 * max(coarse_w, step_w)
    step_lies_within = math.floor(min(high_w, rated_w) / step_w) >= math.ceil(max(low_w, -rated_w) / step_w)
    if 0.0 <= high_w < rated_w:
        assert high_w - coarse_w - slack_w < cap_w <= high_w + slack_w, "nor is it narrower by more than a step"
    if step_lies_within and high_w < rated_w:
        assert min(set_w if is_set else math.inf, cap_w) <= high_w + slack_w
    if step_lies_within and low_w > -rated_w:
        assert low_w - slack_w <= set_w
    if step_lies_within and not math.isnan(target):
        asked_w = min(max(powers[0], low_w, -rated_w), high_w, rated_w)
        assert abs(set_w - asked_w) <= step_w + slack_w


def test_a_device_with_finer_percent_is_told_a_finer_limit() -> None:
    limit = Held(math.nan, 5_000.0 / 16_700.0, 600.0)
    told_w = [
        16_700.0 * held_after(scaled_device(16_700.0, {"WMaxLimPct_SF": scale}), limit, True)[0].limit_frac
        for scale in (0, -1, -2)
    ]
    assert told_w == pytest.approx([16_700.0 * 0.29, 16_700.0 * 0.299, 16_700.0 * 0.2994])


numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers, numbers, st.integers(-3, 3))
def test_a_value_in_steps_lies_within_its_limits_and_next_to_what_was_asked(
    value: float, one: float, other: float, exponent: int
) -> None:
    step, (low, high) = 10.0**exponent, sorted((one, other))
    found = steps_within(value, step, low, high)
    rows = [np.array([x]) for x in (value, step, low, high)]
    assert steps_within_rows(*rows).tolist() == [found]
    inside = min(max(value, low), high)
    if math.floor(high / step) >= math.ceil(low / step):
        assert low - 2e-6 * step <= found * step <= high + 2e-6 * step
        assert abs(found * step - inside) <= step * (1 + 1e-6)
    else:
        assert abs(found * step - inside) <= step * (1 + 1e-6), "no step lies within: it is one beside them"
