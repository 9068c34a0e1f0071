"""The ISO's web service over HTTP (ASGI): SOAP in, SOAP out, with the faults of its menu."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Any

from tieline.rim.soap import Receive, Scope, Send, body_within, send_envelope
from tieline.simulate.iso.market import IsoMarket
from tieline.times import from_ns, to_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import MOST_BYTES, envelope, fault, open_envelope
from tieline.wire.ads.errors import AdsError, Fault


class IsoApp:
    """The ASGI application in front of a market."""

    def __init__(self, market: IsoMarket, faults: Any) -> None:
        self.market = market
        self.calls: dict[str, int] = {}
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, headers, answer = self.answer(await body_within(receive, MOST_BYTES))
        await send_envelope(send, status, answer, headers)

    def answer(self, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return (status, headers, body) for a request's body."""
        self.market.advance()
        faults = self._faults.call()
        if "busy" in faults:
            return 429, [(b"retry-after", str(self._faults.menu.retry_after_s).encode())], b""
        if "in_band" in faults:
            return 200, [], envelope(ads.InBandError("1018", "temporarily out of service"))
        if "fault" in faults:
            return 500, [], fault("soap:Server", "internal error")
        try:
            call = open_envelope(body, ads.CALLS)
            self.calls[type(call).__name__] = self.calls.get(type(call).__name__, 0) + 1
            return 200, [], envelope(self._carry_out(call))
        except Fault as error:
            return 200, [], envelope(ads.InBandError(error.code, error.message))
        except AdsError as error:
            return 500, [], fault("soap:Client", str(error)[:500])

    def _carry_out(self, call: ads.Message) -> ads.Message:
        market = self.market
        match call:
            case ads.GetDispatchBatchesSinceUID(last):
                if not last.lstrip("-").isdigit():
                    raise Fault("1001", f"lastUID = {last}: give a number")
                return ads.DispatchBatches(from_ns(market.now_ns), tuple(market.since(int(last))))
            case ads.SubmitBids(bids):
                return ads.BidResults(tuple(market.submit(bid) for bid in bids))
            case ads.GetAwards(day):
                return ads.AwardRows(day, day in market.awards, market.awards.get(day, ()))
            case ads.RedeclareAvailability():
                market.declare(call)
                return ads.Acknowledged(call.resource)
            case ads.SubmitTelemetry(resource, at, mw):
                market.seen.telemetry.setdefault(resource, []).append((to_ns(at), mw))
                return ads.Acknowledged(resource)
            case ads.GetTrajectoryData(resource, start, end):
                found = market.trajectory(resource, to_ns(start), to_ns(end))
                return ads.Trajectory(resource, tuple(ads.Waypoint(from_ns(at), mw) for at, mw in found))
            case _:
                return self._about_batch(call)

    def _about_batch(self, call: ads.Message) -> ads.Message:
        uid = getattr(call, "batch_uid", "")
        made = self.market.batches.get(uid)
        if made is None:
            raise Fault("1002", f"no batch {uid}")
        match call:
            case ads.GetDispatchBatch():
                made.fetched += 1
                return ads.PackedBatch(uid, made.payload)
            case ads.ValidateDispatchBatch():
                made.status = "RECEIVED" if made.status == "PENDING" else made.status
                return ads.Acknowledged(uid)
            case ads.RespondDispatchBatch():
                self.market.reply(call)
                return ads.Acknowledged(uid)
            case _:
                return ads.BatchStatus(uid, made.status)


async def serve_iso(app: IsoApp, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Return a server on the running loop (real or virtual) that answers for the ISO. Port 0 picks a free one."""
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

    # Participants poll every few seconds: an idle stream must outlive the pause between two polls.
    config = Config(
        app, lifespan="off", log_config=None, server_header=False, date_header=False, timeout_keep_alive=75,
        proxy_headers=False,
    )  # fmt: skip
    config.load()
    make = partial(HttpToolsProtocol, config=config, server_state=ServerState(), app_state={})
    return await asyncio.get_running_loop().create_server(make, host, port, ssl=tls)
