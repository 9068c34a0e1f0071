"""The loop on virtual time keeps asyncio's promises: order, cancellation, errors told, nothing left behind."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import InvariantError
from tieline.simulate.loop import VirtualLoop, run_virtual


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
def test_timers_run_by_their_instant_and_those_of_one_instant_in_the_order_they_were_set(
    drawn: list[tuple[int, bool]],
) -> None:
    async def main(loop: VirtualLoop) -> list[tuple[float, int]]:
        ran: list[tuple[float, int]] = []
        for at, (after_s, is_dropped) in enumerate(drawn):
            handle = loop.call_later(after_s, lambda at=at: ran.append((loop.time(), at)))
            if is_dropped:
                handle.cancel()
        await asyncio.sleep(10.0)
        return ran

    expected = sorted((float(after_s), at) for at, (after_s, is_dropped) in enumerate(drawn) if not is_dropped)
    assert run_virtual(main) == expected


def test_timers_that_nobody_waits_for_any_more_do_not_pile_up() -> None:
    async def main(loop: VirtualLoop) -> int:
        for _ in range(10_000):
            async with asyncio.timeout(3_600.0):
                await asyncio.sleep(0.01)
        return len(loop._timers)

    assert run_virtual(main) < 3_000


def test_an_error_in_a_callback_is_told_and_the_loop_goes_on() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1.0)
        return told

    assert run_virtual(main) == ["ZeroDivisionError('integer division or modulo by zero')"]


def test_a_loop_in_which_nothing_can_happen_any_more_says_so() -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(InvariantError, match="stuck"):
        run_virtual(main)
