"""The ISO link against a service written from the standard library alone, in a process of its own."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from iso_desk import ScheduleDesk

from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.rim.http import HttpClient
from tieline.times import MINUTE_NS, SECOND_NS

SCRIPT = Path(__file__).parents[1] / "peers" / "iso_stdlib.py"
START_S = 1_623_758_400  # 2021-06-15T12:00:00Z


class StoppedClock:
    """One instant: when batch 1 begins."""

    def now_ns(self) -> int:
        return START_S * SECOND_NS


@pytest.mark.interop
def test_a_service_by_another_hand_is_polled_obeyed_and_answered_once() -> None:
    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        service = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), str(START_S), stdout=pipe)
        try:
            assert service.stdout
            port = int(await service.stdout.readline())
            desk = ScheduleDesk()
            async with HttpClient() as client:
                how = IsoSettings(f"http://127.0.0.1:{port}/", "America/Chicago", {"pool:north": "TL_NORTH"})
                link = IsoWeb(how, client, desk, StoppedClock(), np.random.default_rng(1))
                for _ in range(3):
                    await link.poll()
            async with asyncio.timeout(60):
                told = [json.loads(await service.stdout.readline()) for _ in range(3)]
            start_ns = START_S * SECOND_NS
            assert [desk.holds(start_ns + minute * MINUTE_NS) for minute in (0, 3, 6)] == [4e6, 2.5e6, None]
            assert desk.effects == {"i1": 1, "i2": 1}
            assert [(uid, replies[0][:2]) for uid, replies in told] == [
                ("1", ["i1", "ACCEPT"]),
                ("2", ["i2", "ACCEPT"]),
                ("3", ["i3", "DECLINE"]),
            ]
            assert told[2][1][0][2].startswith("batch has expired")
        finally:
            service.kill()
            await service.wait()

    asyncio.run(main())
