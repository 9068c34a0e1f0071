"""The price service over HTTP (ASGI): zips of CSV or XML, an error inside where there is none, and its own patience.

Day-ahead prices of a market day are there from `posts_at` local time the day before; five-minute ones once their
interval is over. Who calls again within `spacing_s` is told to wait (HTTP 429).
"""

from __future__ import annotations

from collections import deque
from datetime import date, datetime, time, timedelta
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import numpy as np

from tieline.rim.soap import Receive, Scope, Send
from tieline.simulate.iso.prices import POINTS, ZONE, prices_of
from tieline.simulate.iso.real_time import STEP_NS, real_time
from tieline.times import HOUR_NS, SECOND_NS, Clock, from_ns, to_ns
from tieline.wire.oasis.errors import INVALID, NO_DATA, TOO_LONG, Malformed
from tieline.wire.oasis.report import Price, Query, query_of, refusal, report

MOST_DAYS = 31
MARKET_OF = {"PRC_LMP": "DAM", "PRC_INTVL_LMP": "RTM"}


class OasisApp:
    """The ASGI application. `faults`: what the next answers are instead: busy, page, cut or spoiled."""

    def __init__(
        self, clock: Clock, *, zone: ZoneInfo = ZONE, posts_at: time = time(13, 30), spacing_s: float = 5.0,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self._clock, self._zone, self._posts_at, self._seed = clock, zone, posts_at, seed
        self._spacing_ns = int(spacing_s * SECOND_NS)
        self._last_ns = -(10**18)
        self.faults: deque[str] = deque()
        self.queries: list[Query] = []
        self.hurried = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, headers, body = self.answer(scope["query_string"].decode("latin-1"))
        head = [(b"content-type", b"application/x-zip-compressed"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*head, *headers]})
        await send({"type": "http.response.body", "body": body})

    def answer(self, asked: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return (status, headers, body) for a URL's query string."""
        now_ns = self._clock.now_ns()
        waited_ns, self._last_ns = now_ns - self._last_ns, now_ns
        fault = self.faults.popleft() if self.faults else ""
        if waited_ns < self._spacing_ns or fault == "busy":
            self.hurried += fault != "busy"
            return 429, [(b"retry-after", b"7")], b""
        if fault == "page":
            return 200, [], b"<html>Acceptable use policy violation</html>"
        made = self._made(asked)
        if fault == "cut":
            return 200, [], made[: len(made) // 2]
        return 200, [], made[:60] + b"\x00" * 20 + made[80:] if fault == "spoiled" else made

    def _made(self, asked: str) -> bytes:
        try:
            query = query_of(dict(parse_qsl(asked)))
        except Malformed as error:
            return refusal(INVALID, str(error)[:200].replace("<", " ").replace("&", " "))
        self.queries.append(query)
        if MARKET_OF.get(query.name) != query.market or query.form not in (5, 6):
            return refusal(INVALID, "no such report of that market")
        if query.end - query.start > timedelta(days=MOST_DAYS):
            return refusal(TOO_LONG, "Data can be requested for period of 31 days only")
        found = self._prices(query) if query.node in POINTS else []
        return report(query, found) if found else refusal(NO_DATA, "No data returned for the specified selection")

    def _prices(self, query: Query) -> list[Price]:
        step_ns = HOUR_NS if query.market == "DAM" else STEP_NS
        known: dict[int, float] = {}
        day = query.start.astimezone(self._zone).date()
        while day <= query.end.astimezone(self._zone).date():
            known |= self._day(query.node, day, query.market)
            day += timedelta(days=1)
        first, last = to_ns(query.start), to_ns(query.end)
        return [
            Price(query.node, from_ns(at), from_ns(at + step_ns), price)
            for at, price in sorted(known.items())
            if first <= at < last
        ]

    def _day(self, node: str, day: date, market: str) -> dict[int, float]:
        ahead, now_ns = prices_of(node, day), self._clock.now_ns()
        if market == "DAM":
            posted = datetime.combine(day - timedelta(days=1), self._posts_at, tzinfo=self._zone)
            return ahead if now_ns >= to_ns(posted) else {}
        made = real_time(ahead, np.random.default_rng([self._seed, day.toordinal()]))
        return {at: price for at, price in made.items() if at + STEP_NS <= now_ns}
