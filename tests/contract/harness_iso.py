"""The ISO's web service in the contract suite: an ISO dispatches the pool."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
from upward import POOL, Answer, RecordingDesk

from tieline.desk.ports import LinkHealth, Session
from tieline.ids import derive
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket, Published
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.times import MINUTE_NS, from_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import pack

PORT, POLL_S = 8443, 5.0
DOCUMENT: dict[str, object] = {
    "url": f"http://127.0.0.1:{PORT}/ads",
    "zone": "America/Chicago",
    "pools": {POOL: "TL_NORTH"},
    "poll_s": POLL_S,
}


class IsoHarness:
    """Our link and an ISO that publishes the batches that the suite asks for."""

    alone, answer_s, back_s = Session.DOWN, 2 * POLL_S, 150.0
    bad_settings = [
        ({"uri": "http://elsewhere"}, "uri"),
        ({"pools": {}}, r"\$\.iso\.pools"),
        ({"zone": "Mars/Olympus"}, r"\$\.iso\.zone"),
        ({"poll_s": 0.0}, r"\$\.iso"),
    ]

    async def start(self, clock: VirtualClock, supervisor: Supervisor, desk: RecordingDesk) -> None:
        self._clock, self._uid = clock, 0
        self._market = IsoMarket(clock, np.random.default_rng(1), Faults(FaultMenu(), np.random.default_rng(2)))
        self._app = IsoApp(self._market, Faults(FaultMenu(), np.random.default_rng(3)))
        self._http = HttpClient()
        how = msgspec.convert(DOCUMENT, IsoSettings)
        self._link = IsoWeb(how, self._http, desk, clock, np.random.default_rng(4), desk)
        supervisor.keep("iso", self._link.run)
        await asyncio.sleep(0.1)
        await self.restore()
        await asyncio.sleep(10.0)

    async def stop(self) -> None:
        self._server.close()
        await self._http.aclose()

    def health(self) -> LinkHealth:
        return self._link.health()

    async def wish(self, power_w: float) -> Answer:
        return await self._answered(self._publish(power_w))

    async def again(self) -> None:
        last = self._market.batches[str(self._uid)]
        last.twice = True
        self._market.batches[str(self._uid)] = last
        await asyncio.sleep(3 * POLL_S)

    async def late(self, power_w: float) -> Answer:
        return await self._answered(self._publish(power_w, expires_ns=self._clock.now_ns() - MINUTE_NS))

    async def stranger(self, power_w: float) -> None:
        answer = await self._answered(self._publish(power_w, resource="SOMEBODY_ELSE"))
        assert not answer.is_taken and "unknown resource" in answer.word

    async def spoil(self) -> None:
        uid = self._publish(1e6)
        made = self._market.batches[uid]
        made.payload = made.payload[: len(made.payload) // 2]
        await asyncio.sleep(6 * POLL_S)

    async def drop(self) -> None:
        self._server.close()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.network.cut("127.0.0.1", PORT)
        await asyncio.sleep(2 * POLL_S)

    async def restore(self) -> None:
        self._server = await serve_iso(self._app, "127.0.0.1", PORT)

    def check(self, settings: dict[str, object]) -> None:
        how = msgspec.convert({**DOCUMENT, **settings}, IsoSettings)
        IsoWeb(how, HttpClient(), RecordingDesk(), SystemClock(), np.random.default_rng(1))

    def _publish(self, power_w: float, resource: str = "TL_NORTH", expires_ns: int | None = None) -> str:
        self._uid += 1
        now_ns = self._clock.now_ns()
        start_ns, end_ns = now_ns + 2 * MINUTE_NS, now_ns + 7 * MINUTE_NS
        segment = ads.Segment(from_ns(start_ns), from_ns(end_ns), power_w / 1e6)
        one = ads.Instruction(derive("instruction", self._uid), resource, "ENERGY", 30.0, (segment,))
        batch = ads.DispatchBatch(
            str(self._uid), "RT5", "ACTIVE", from_ns(now_ns), from_ns(end_ns if expires_ns is None else expires_ns),
            "RTD", from_ns(start_ns), "NORMAL", True, 1, (one,),
        )  # fmt: skip
        self._market.batches[str(self._uid)] = Published(batch, now_ns, pack(batch))
        return str(self._uid)

    async def _answered(self, uid: str) -> Answer:
        for _ in range(20):
            await asyncio.sleep(POLL_S)
            reply = self._market.seen.replies.get(uid)
            if reply is not None:
                (each,) = reply.replies
                return Answer(each.response == "ACCEPT", each.reason or each.response)
        return Answer(False, "no answer")
