"""The ISO of a demonstration over real sockets: nobody without a certificate of this stage is heard."""

import asyncio
import ssl
from pathlib import Path

import httpx
import numpy as np
import pytest

from tieline.desk.ports import Session
from tieline.node.stage import raise_stage, scenario
from tieline.rim.certificates import Authority, client_context
from tieline.rim.clock import PacedClock, SystemClock
from tieline.rim.supervise import Supervisor
from tieline.times import to_ns


def test_the_iso_hop_of_a_wired_stage_wants_a_client_certificate(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    async def main() -> None:
        clock = PacedClock(to_ns(datetime(2022, 8, 17, 3, 30, tzinfo=UTC)), 60.0)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(scenario("heatwave"), 40, 1, clock, supervisor, tmp_path, speed=60.0)
            async with asyncio.timeout(60):
                while stage.iso_link.health().session is not Session.LIVE:  # noqa: ASYNC110  it is looked at
                    await asyncio.sleep(0.05)
            url = stage.iso_link._settings.url
            assert url.startswith("https://")
            bare = ssl.create_default_context(cafile=str(tmp_path / "certificates" / "authority.pem"))
            elsewhere = tmp_path / "elsewhere"
            elsewhere.mkdir()
            stranger = Authority(elsewhere, SystemClock()).issue("tieline")
            strange = client_context(stranger, SystemClock())
            strange.load_verify_locations(tmp_path / "certificates" / "authority.pem")
            for context in (bare, strange):
                async with httpx.AsyncClient(verify=context) as client:
                    with pytest.raises(httpx.HTTPError):
                        await client.post(url, content=b"")
            with pytest.raises(httpx.HTTPError):
                async with httpx.AsyncClient() as client:
                    await client.post(url.replace("https", "http"), content=b"")
            keys = list((tmp_path / "certificates").glob("*.key"))
            assert keys and all(key.stat().st_mode & 0o077 == 0 for key in keys)

    asyncio.run(main())
