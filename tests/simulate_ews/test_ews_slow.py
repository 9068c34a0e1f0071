"""A market that does not answer, is half open or busy keeps nobody waiting for longer than it must."""

import asyncio

import pytest
from ews_scene import DAY, POOL, Scene, play

from half_open import HalfOpen
from tieline.errors import LinkDown
from tieline.rim.serve import serve_asgi
from tieline.simulate.iso.faults import FaultMenu

REPORTED_HE18 = 1395.54
"""HB_NORTH, 2021-06-15, HE18, $/MWh: ERCOT report 13060."""


def test_a_market_that_takes_calls_and_does_not_answer_keeps_the_desk_waiting_for_seconds_alone() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(60)
        await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 8446)
        mute = scene.another(url="http://127.0.0.1:8446/")
        began_ns = scene.clock.now_ns()
        with pytest.raises(LinkDown):
            await mute.declare(POOL, 1e6, 0.0, "limit")
        assert (scene.clock.now_ns() - began_ns) / 1e9 <= 5.0

    play(act)


def test_a_plan_whose_connection_is_half_open_is_told_over_another_within_seconds() -> None:
    async def act(scene: Scene) -> None:
        half_open = HalfOpen(scene.app)
        await asyncio.sleep(60)
        server = await serve_asgi(half_open, "127.0.0.1", 8447)
        link = scene.another(url="http://127.0.0.1:8447/")
        began_ns = scene.clock.now_ns()
        await link.declare(POOL, 1e6, 0.0, "limit")
        assert half_open.calls >= 2 and (scene.clock.now_ns() - began_ns) / 1e9 < 2.0
        assert scene.market.plans["TL_NORTH", DAY].limits[0].hsl == 1.0
        server.close()

    play(act)


def test_a_plan_that_a_market_is_too_busy_for_says_when_the_market_asked_to_be_told() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(60)
        scene.faults.menu = FaultMenu(busy=1.0, retry_after_s=2)
        with pytest.raises(LinkDown) as caught:
            await scene.link.declare(POOL, 1e6, 0.0, "limit")
        assert caught.value.after_s == 2.0

    play(act)
