"""A reader of an ISO's price reports: day-ahead and real-time prices of nodes, into the prices that offers are made by.

Theory of operation. Every `poll_s` each of our price zones is looked at: the market days of today and tomorrow until
all of their 23, 24 or 25 hours are there, and the five-minute prices since the last that we had, a day at most in one
call; after a start since `look_back_h` ago. Calls are `spacing_s` apart, as the service wants it. That a report is not
there yet is no fault. What was read is sent to the desk whole or not at all; read again it has no second effect, and a
price that was corrected is one that says something new. An hour that is missing is asked for again, and never made up.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Literal, Protocol
from urllib.parse import urlencode

import numpy as np
import structlog
from msgspec import Struct

from tieline.desk.ports import Intake, Session
from tieline.desk.prices import DAY_AHEAD, REAL_TIME, SendPrices, TakenPrices
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.links.grid.ews_settings import check_address, zone_of

# What HTTP may answer, and in which words a broken connection is told, is one thing for all of an ISO's services.
from tieline.links.grid.market_call import Busy, Unreadable, Unserved, retry_after_s, words
from tieline.links.grid.polling import Poller
from tieline.resource.claim import Refusal
from tieline.rim.http import HttpClient, TooLong, Unanswered
from tieline.times import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    SECOND_NS,
    Clock,
    floor_ns,
    from_ns,
    hour_start_ns,
    iso,
    market_day,
    to_ns,
)
from tieline.wire.oasis.errors import NO_DATA, Malformed, Refused
from tieline.wire.oasis.report import MOST_BYTES, Query, prices_in

_log = structlog.get_logger("tieline.oasis")
STEP_NS = {DAY_AHEAD: HOUR_NS, REAL_TIME: 5 * MINUTE_NS}
REPORT = {DAY_AHEAD: ("PRC_LMP", "DAM"), REAL_TIME: ("PRC_INTVL_LMP", "RTM")}


class PriceInlet(Protocol):
    """Where prices are brought. Durable before it answers; a body with one wrong row is refused whole."""

    async def prices(self, sent: SendPrices, by: str) -> TakenPrices | Refusal:
        """Take prices of a zone."""
        ...


class OasisSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where price reports are had, and which node each of our price zones is there."""

    url: str
    zone: str
    nodes: dict[str, str]
    markets: tuple[Literal["day_ahead", "real_time"], ...] = ("day_ahead", "real_time")
    form: Literal["csv", "xml"] = "csv"
    version: int = 1
    poll_s: float = 300.0
    spacing_s: float = 6.0
    look_back_h: float = 24.0


def check_oasis(settings: OasisSettings) -> None:
    """Refuse settings that can't be. Raises ConfigError naming the path."""
    check_address(settings.url, "$.oasis.url")
    zone_of(settings.zone, "$.oasis.zone")
    if "?" in settings.url:
        raise ConfigError(f"$.oasis.url = {settings.url!r}: give it without parameters")
    if not settings.nodes or not all(settings.nodes.values()):
        raise ConfigError("$.oasis.nodes: give each price zone the node whose prices are its own")
    if not settings.markets:
        raise ConfigError("$.oasis.markets: give day_ahead, real_time or both")
    for name, most in (("poll_s", 86_400), ("spacing_s", 600), ("look_back_h", 24 * 30)):
        if not 0 < getattr(settings, name) <= most:
            raise ConfigError(f"$.oasis.{name} = {getattr(settings, name):g}: give above 0 to {most}")


class OasisWeb(Poller):
    """Reads price reports; a supervisor keeps it running."""

    def __init__(
        self,
        settings: OasisSettings,
        client: HttpClient,
        inlet: PriceInlet,
        clock: Clock,
        rng: np.random.Generator,
        intake: Intake | None = None,
        name: str = "oasis",
    ) -> None:
        check_oasis(settings)
        super().__init__(name, "oasis", settings.poll_s, clock, rng, intake)
        self._settings, self._client, self._inlet = settings, client, inlet
        self._zone = zone_of(settings.zone, "$.oasis.zone")
        self._whole: set[tuple[str, date]] = set()
        self._next_ns: dict[str, int] = {}
        self._last_call_ns = -(10**18)

    async def poll(self) -> None:
        """Read what is missing of each zone.

        Raises:
            LinkDown: The service can't be reached, or asks us to wait.
            PeerError: It answered with something else than a report.
        """
        for zone, node in self._settings.nodes.items():
            if "day_ahead" in self._settings.markets:
                await self._read_days(zone, node)
            if "real_time" in self._settings.markets:
                await self._read_steps(zone, node)
        self._become(Session.LIVE, "")

    async def _read_days(self, zone: str, node: str) -> None:
        today = from_ns(self._clock.now_ns()).astimezone(self._zone).date()
        self._whole = {(name, day) for name, day in self._whole if day >= today}
        for day in (today, today + timedelta(days=1)):
            over = market_day(day, self._zone)
            if (zone, day) in self._whole:
                continue
            found = await self._read(zone, node, DAY_AHEAD, over.start_ns, over.end_ns)
            wanted = (over.end_ns - over.start_ns) // HOUR_NS
            if len(found) == wanted:
                self._whole.add((zone, day))
            elif found:
                self._fault(f"day-ahead prices of {node} on {day}: {len(found)} of {wanted} hours")

    async def _read_steps(self, zone: str, node: str) -> None:
        step_ns, now_ns = STEP_NS[REAL_TIME], self._clock.now_ns()
        until_ns = now_ns // step_ns * step_ns
        start_ns = self._next_ns.get(zone, until_ns - int(self._settings.look_back_h * HOUR_NS) // step_ns * step_ns)
        while start_ns < until_ns:
            end_ns = min(start_ns + DAY_NS, until_ns)
            found = await self._read(zone, node, REAL_TIME, start_ns, end_ns)
            # Up to the first that is missing: what came after it is read again, as a corrected one would be.
            while start_ns in found:
                start_ns += step_ns
            self._next_ns[zone] = start_ns
            if start_ns < end_ns:
                # One that never comes must not hold up the rest for ever: a day later it is passed over, and said.
                if end_ns - start_ns < DAY_NS:
                    return
                self._fault(f"real-time prices of {node}: none of {iso(start_ns)}")
                start_ns = min((at for at in found if at > start_ns), default=end_ns)
                self._next_ns[zone] = start_ns

    async def _read(self, zone: str, node: str, market: str, start_ns: int, end_ns: int) -> dict[int, float]:
        """Return what the service has of a node over a time, after it was sent to the desk; empty: it has nothing."""
        name, run = REPORT[market]
        form = 6 if self._settings.form == "csv" else 5
        query = Query(name, run, node, from_ns(start_ns), from_ns(end_ns), self._settings.version, form)
        try:
            rows = prices_in(await self._call(query))
        except Refused as error:
            if error.code == NO_DATA:
                return {}
            raise PeerError(f"{name} of {node}: {error}") from error
        except Malformed as error:
            raise Unreadable(f"{name} of {node}: {error}") from error
        found: dict[int, float] = {}
        for row in rows:
            at, lasts_ns = to_ns(row.start), to_ns(row.end) - to_ns(row.start)
            begins_ns = hour_start_ns(at, self._zone) if market == DAY_AHEAD else floor_ns(at, lasts_ns)
            if lasts_ns != STEP_NS[market] or at != begins_ns:
                raise Unreadable(f"{name} of {node}: {iso(at)} lasts {lasts_ns // SECOND_NS} s")
            if row.node == node and start_ns <= at < end_ns:
                found[at] = row.value
        if found:
            await self._send(zone, market, found)
        return found

    async def _send(self, zone: str, market: str, found: dict[int, float]) -> None:
        starts = sorted(found)
        sent = SendPrices(zone, market, starts, [found[at] for at in starts], STEP_NS[market] // SECOND_NS)
        answer = await self._inlet.prices(sent, self.name)
        if isinstance(answer, Refusal):
            self._counts["refused"] += 1
            self._fault(f"prices of {zone}: {answer}")
            _log.warning("prices refused", link=self.name, zone=zone, why=str(answer))

    async def _call(self, query: Query) -> bytes:
        wait_ns = self._last_call_ns + int(self._settings.spacing_s * SECOND_NS) - self._clock.now_ns()
        if wait_ns > 0:
            await asyncio.sleep(wait_ns / SECOND_NS)
        self._counts["sent"] += 1
        url = f"{self._settings.url}?{urlencode(query.parameters())}"
        try:
            answer = await self._client.call("GET", url, most_bytes=MOST_BYTES)
        except TooLong as error:
            raise PeerError(str(error)) from error
        except Unanswered as error:
            raise LinkDown(words(error, self._settings.url)) from error
        finally:
            self._last_call_ns = self._clock.now_ns()
        if answer.status in (429, 503):
            raise Busy(retry_after_s(answer.headers.get("Retry-After", ""), self._clock.now_ns()))
        if answer.status != 200:
            raise Unserved(f"{query.name}: HTTP {answer.status}")
        self._counts["received"] += 1
        return answer.body
