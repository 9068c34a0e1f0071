"""The market's signed web service in the contract suite: its operator instructs the pool."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
import numpy as np
from upward import POOL, Answer, RecordingDesk

from tieline.desk.ports import LinkHealth, Session
from tieline.ids import derive
from tieline.links.grid.ews_call import Seal
from tieline.links.grid.ews_settings import EwsSettings
from tieline.links.grid.ews_web import EwsWeb
from tieline.rim.certificates import Authority
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.ews.app import EwsApp
from tieline.simulate.ews.market import EwsMarket
from tieline.simulate.iso.app import serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket, Published
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.times import MINUTE_NS, Clock, from_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import pack
from tieline.wire.ews.security import Signer, Trust, authorities_of, signer_of

PORT, POLL_S = 8444, 5.0
DOCUMENT: dict[str, object] = {
    "url": f"http://127.0.0.1:{PORT}/ews",
    "zone": "America/Chicago",
    "qse": "QTIELINE",
    "pools": {POOL: {"resource": "TL_NORTH", "settlement_point": "LZ_NORTH"}},
    "poll_s": POLL_S,
    "declined": "answered",
}


def signers(clock: Clock) -> tuple[Signer, Trust, Signer, Trust]:
    """Return who we are and whom we trust, and the same of the market."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), clock)
        mine, theirs = authority.issue("QTIELINE"), authority.issue("ERCOT")
        held = authorities_of(authority.file.read_bytes())
        us, market = (signer_of(one.certificate.read_bytes(), one.key.read_bytes()) for one in (mine, theirs))
    return us, Trust(held, "ERCOT"), market, Trust(held, "QTIELINE")


class EwsHarness:
    """Our link and a market whose operator instructs as the suite asks for."""

    alone, answer_s, back_s = Session.DOWN, 2 * POLL_S, 150.0
    bad_settings = [
        ({"uri": "http://elsewhere"}, "uri"),
        ({"pools": {}}, r"\$\.ews\.pools"),
        ({"zone": "Mars/Olympus"}, r"\$\.ews\.zone"),
        ({"poll_s": 0.0}, r"\$\.ews\.poll_s"),
        ({"url": "http://market.example/"}, r"\$\.ews\.url"),
        ({"market": ""}, r"\$\.ews\.market"),
    ]

    async def start(self, clock: VirtualClock, supervisor: Supervisor, desk: RecordingDesk) -> None:
        self._clock, self._uid = clock, 0
        us, our_trust, market, their_trust = signers(clock)
        faults = Faults(FaultMenu(), np.random.default_rng(3))
        self._iso = IsoMarket(clock, np.random.default_rng(1), Faults(FaultMenu(), np.random.default_rng(2)))
        self._market = EwsMarket(self._iso, "QTIELINE", {"TL_NORTH": "LZ_NORTH", "SOMEBODY_ELSE": "LZ_WEST"})
        self._app = EwsApp(self._market, faults, market, their_trust, clock, np.random.default_rng(5))
        self._http = HttpClient()
        how = msgspec.convert(DOCUMENT, EwsSettings)
        seal = Seal(us, our_trust)
        self._link = EwsWeb(how, self._http, seal, desk, clock, np.random.default_rng(4), desk)
        supervisor.keep("ews", self._link.run)
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
        self._iso.batches[str(self._uid)].twice = True
        await asyncio.sleep(3 * POLL_S)

    async def late(self, power_w: float) -> Answer:
        return await self._answered(self._publish(power_w, expires_ns=self._clock.now_ns() - MINUTE_NS))

    async def stranger(self, power_w: float) -> None:
        answer = await self._answered(self._publish(power_w, resource="SOMEBODY_ELSE"))
        assert not answer.is_taken and "unknown resource" in answer.word

    async def spoil(self) -> None:
        made = self._iso.batches[self._publish(1e6)]
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
        how = msgspec.convert({**DOCUMENT, **settings}, EwsSettings)
        us, our_trust, _, _ = signers(SystemClock())
        EwsWeb(how, HttpClient(), Seal(us, our_trust), RecordingDesk(), SystemClock(), np.random.default_rng(1))

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
        self._iso.batches[str(self._uid)] = Published(batch, now_ns, pack(batch))
        return str(self._uid)

    async def _answered(self, uid: str) -> Answer:
        for _ in range(20):
            await asyncio.sleep(POLL_S)
            reply = self._iso.seen.replies.get(uid)
            if reply is not None:
                (each,) = reply.replies
                return Answer(each.response == "ACCEPT", each.reason or each.response)
        return Answer(False, "no answer")
