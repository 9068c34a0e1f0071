"""The signed link against the signed emulator on virtual time: who is there, and how a scene is played."""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tieline.desk.ports import Offer, Segment
from tieline.errors import LinkDown, PeerError
from tieline.links.grid.ews_call import Seal
from tieline.links.grid.ews_listen import EwsListener
from tieline.links.grid.ews_settings import EwsSettings
from tieline.links.grid.ews_web import EwsWeb
from tieline.rim.certificates import Authority
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.ews.app import EwsApp
from tieline.simulate.ews.market import EwsMarket
from tieline.simulate.ews.notices import EwsNotices
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import HOUR_NS, SECOND_NS, Clock, market_day, to_ns
from tieline.wire.ews.security import Signer, Trust, authorities_of, signer_of

sys.path.insert(0, str(Path(__file__).parents[1] / "simulate_iso"))
from iso_desk import ScheduleDesk

CHICAGO = ZoneInfo("America/Chicago")
# 22:45 local the day before market day 2021-06-15; these scenes have the gate at 23:00 and clear at 23:30.
START_NS = to_ns(datetime(2021, 6, 15, 3, 45, tzinfo=UTC))
DAY = date(2021, 6, 15)
POOL = "pool:north"
DOCUMENT: dict[str, Any] = {
    "url": "http://127.0.0.1:8444/ews",
    "zone": "America/Chicago",
    "qse": "QTIELINE",
    "pools": {POOL: {"resource": "TL_NORTH", "settlement_point": "HB_NORTH"}},
    "poll_s": 25.0,
    "awards_s": 300.0,
    "declined": "answered",
}


class Then:
    """The instant that the scenes' certificates are made at."""

    def now_ns(self) -> int:
        return to_ns(datetime(2021, 1, 2, tzinfo=UTC))


@dataclass(frozen=True)
class People:
    us: Signer
    market: Signer
    stranger: Signer
    trusts_market: Trust
    trusts_us: Trust


@cache
def people() -> People:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), Then())
        held = authorities_of(authority.file.read_bytes())
        made = [authority.issue(name, days=700) for name in ("QTIELINE", "ERCOT", "QOTHER")]
        us, market, other = (signer_of(one.certificate.read_bytes(), one.key.read_bytes()) for one in made)
    return People(us, market, other, Trust(held, "ERCOT"), Trust(held, "QTIELINE"))


@dataclass
class Scene:
    clock: Clock
    desk: ScheduleDesk
    link: EwsWeb
    iso: IsoMarket
    market: EwsMarket
    faults: Faults
    app: EwsApp
    listener: EwsListener
    notices: EwsNotices
    http: HttpClient

    async def offer(self, made: list[Offer] | None = None) -> None:
        """Submit the day's offers, again after a fault of the market, as an operator would."""
        made = offers(DAY) if made is None else made
        self.desk.offered = made
        for _ in range(50):
            try:
                assert await self.link.submit(made) == [None] * len(made)
                return
            except (LinkDown, PeerError) as error:
                why = error
                await asyncio.sleep(10)
        raise AssertionError(why)

    async def until(self, instant_ns: int) -> None:
        await asyncio.sleep((instant_ns - self.clock.now_ns()) / SECOND_NS)

    def another(self, desk: ScheduleDesk | None = None, **settings: Any) -> EwsWeb:
        """A link that begins anew, and knows nothing but what the desk knows."""
        how = msgspec.convert({**DOCUMENT, **settings}, EwsSettings)
        seal, rng = Seal(people().us, people().trusts_market), np.random.default_rng(99)
        return EwsWeb(how, self.http, seal, desk or self.desk, self.clock, rng)


def offers(day: date, power_w: float = 4e6, price: float = -100.0, product: str = "ENERGY") -> list[Offer]:
    hours = market_day(day, CHICAGO).steps(HOUR_NS)
    curve = (Segment(power_w, price), Segment(1e6, 500.0))
    return [Offer(f"offer-{product}-{h.start_ns}", POOL, product, h.start_ns, h.end_ns, curve) for h in hours]


def play(
    act: Callable[[Scene], Awaitable[None]], menu: FaultMenu | None = None, start_ns: int = START_NS, seed: int = 1,
    with_notices: bool = False, **settings: Any,
) -> Scene:  # fmt: skip
    async def main(loop: VirtualLoop) -> Scene:
        clock = VirtualClock(loop, start_ns)
        faults = Faults(menu or FaultMenu(), np.random.default_rng([seed, 1]))
        iso = IsoMarket(
            clock, np.random.default_rng([seed, 2]), faults, gate=time(23), clears_at=time(23, 30), seed_prices=seed,
        )  # fmt: skip
        who = people()
        market = EwsMarket(iso, "QTIELINE", {"TL_NORTH": "HB_NORTH"})
        app = EwsApp(market, faults, who.market, who.trusts_us, clock, np.random.default_rng([seed, 5]))
        desk = ScheduleDesk()
        server = await serve_asgi(app, "127.0.0.1", 8444)
        async with HttpClient() as client, Supervisor(np.random.default_rng([seed, 3])) as supervisor:
            how = msgspec.convert({**DOCUMENT, **settings}, EwsSettings)
            rng = np.random.default_rng([seed, 4])
            link = EwsWeb(how, client, Seal(who.us, who.trusts_market), desk, clock, rng)
            listener = EwsListener(link, who.trusts_market, clock)
            ears = await serve_asgi(listener, "127.0.0.1", 8445)
            rng, menu_of_notices = np.random.default_rng([seed, 6]), Faults(FaultMenu(), np.random.default_rng(7))
            url = "http://127.0.0.1:8445/"
            notices = EwsNotices(market, url, client, who.market, clock, rng, menu_of_notices)
            scene = Scene(clock, desk, link, iso, market, faults, app, listener, notices, client)
            supervisor.keep("ews", link.run)
            if with_notices:
                supervisor.keep("notices", notices.run)
            await act(scene)
        server.close()
        ears.close()
        return scene

    return run_virtual(main)
