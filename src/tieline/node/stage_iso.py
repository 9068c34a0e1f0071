"""The ISO of a stage and our link to it: one that clears on real prices, or one that clears a case with our offers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import date, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tieline.errors import LinkDown, PeerError
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.node.asked import IsoKind
from tieline.node.runtime import Node
from tieline.node.stage_devices import KEPT_S
from tieline.rim.certificates import Authority, client_context, server_context
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.cleared import Aside, ClearingMarket
from tieline.simulate.iso.faults import Faults
from tieline.simulate.iso.market import IsoMarket, SameDay
from tieline.simulate.iso.prices import ZONE
from tieline.simulate.iso.region import ClearedDay, Region
from tieline.times import MINUTE_NS, Clock, from_ns

if TYPE_CHECKING:
    from tieline.node.stage import Scenario

POLL_S = 15.0
"""How often the ISO is asked for batches."""
TELLS_S = 60.0
"""How often an ISO that counts on it is told what the pool gives."""


async def raise_iso(
    what: Scenario,
    kind: IsoKind,
    clock: Clock,
    rng: np.random.Generator,
    seed: int,
    node: Node,
    pool: str,
    supervisor: Supervisor,
    speed: float,
    keys: Path | None,
    story_ns: int,
) -> tuple[IsoMarket, IsoWeb]:
    """Return the ISO and our link to it: over TLS with client certificates, or (`keys` is None) over memory alone."""
    faults = Faults(what.iso.paced(speed), np.random.default_rng([seed, 31]))
    own = _same_day(what, kind, clock, keys is not None, story_ns)
    market: IsoMarket
    if kind == "clearing":
        capacity_mw = node.state.ledger.capacities[pool].up_w / 1e6
        region = Region.of(capacity_mw, what.climate.hotter_c)
        market = ClearingMarket(
            clock, rng, faults, region, aside=_beside(supervisor), gate=time(23), clears_at=time(23, 30), same_day=own,
            seed_prices=seed,
        )  # fmt: skip
        # What is foreseen before the first auction is the case without us: seconds of work.
        await asyncio.get_running_loop().run_in_executor(None, market.foreseen, date.fromisoformat(what.day))
    else:
        market = IsoMarket(clock, rng, faults, seed_prices=seed, same_day=own, gate=time(23), clears_at=time(23, 30))
    theirs, ours = (None, None) if keys is None else _tls(keys)
    server = await serve_iso(IsoApp(market, faults), "127.0.0.1", 0, theirs)
    port = server.sockets[0].getsockname()[1]
    url, names = f"{'https' if theirs else 'http'}://127.0.0.1:{port}/", {pool: "TIELINE_1"}
    # The ISO's clock may be 2 s off by the wall's clock: on its way a request grows old `speed` times as fast.
    settings = IsoSettings(
        url, "America/Chicago", names, poll_s=POLL_S / speed, awards_s=60.0 / speed, most_skew_s=2.0 * max(speed, 1.0)
    )
    client = HttpClient(ours, keep_s=KEPT_S)
    supervisor.at_end(client.aclose)
    link = IsoWeb(settings, client, node.desk, clock, np.random.default_rng([seed, 32]), node.desk)
    node.desk.market = link
    supervisor.keep("iso", link.run)
    if kind == "clearing":
        supervisor.keep("iso telemetry", lambda: _tell(node, pool, link, speed))
    return market, link


def _same_day(what: Scenario, kind: IsoKind, clock: Clock, on_wire: bool, story_ns: int) -> SameDay | None:
    """Return the first day's own auction, where its eve is over; every other day's is on its eve.

    It waits for our first bid.
    """
    local = from_ns(max(clock.now_ns(), story_ns)).astimezone(ZONE)
    if local.date() != date.fromisoformat(what.day):
        return None
    # Sixty times as fast as the wall clock four minutes are four seconds: too few for sockets on a busy machine.
    minutes, notice = (20, 15) if on_wire else (4, 2)
    if on_wire and kind == "clearing":
        minutes, notice = 12, 8  # the seconds of its search must be over before the first hour
    gate, clears = local + timedelta(minutes=minutes), local + timedelta(minutes=minutes + 1)
    return SameDay(local.date(), gate.time(), clears.time(), notice * MINUTE_NS)


def _beside(supervisor: Supervisor) -> Aside:
    """Return what runs the ISO's work in a thread, or in line on virtual time: so a seed has one day there."""

    def aside(work: Callable[[], ClearedDay], then: Callable[[ClearedDay], None]) -> None:
        async def run() -> None:
            then(await asyncio.get_running_loop().run_in_executor(None, work))

        supervisor.spawn(run(), "iso clearing")

    return aside


async def _tell(node: Node, pool: str, link: IsoWeb, speed: float) -> None:
    """Tell the ISO each minute of a called interval what the pool gives in it, on the mean so far."""
    while True:
        await asyncio.sleep(TELLS_S / speed)
        tally = node.cycle.pools[pool].tally
        if tally is not None and tally.is_owed and tally.seconds > 0.0:
            with suppress(LinkDown, PeerError):  # what it was not told now it is told a minute later
                await link.report(pool, float(tally.row_ws.sum()) / tally.seconds)


def _tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of the ISO and of its client, under an authority that is made for this stage alone.

    OpenSSL holds certificates against the system's time, whatever day it is on the stage.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    now = SystemClock()
    authority = Authority(folder, now, "tieline demo authority")
    return server_context(authority.issue("iso", "127.0.0.1")), client_context(authority.issue("tieline"), now)
