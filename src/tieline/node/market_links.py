"""Links to a market over signed SOAP, and to a service of price reports: their checks, and how they start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tieline.errors import ConfigError
from tieline.links.grid.ews_call import Seal
from tieline.links.grid.ews_listen import EwsListener
from tieline.links.grid.ews_settings import EwsSettings, check_ews
from tieline.links.grid.ews_web import EwsWeb
from tieline.links.grid.oasis_web import OasisSettings, OasisWeb, PriceInlet, check_oasis
from tieline.links.grid.polling import Poller
from tieline.node.link_settings import EwsLink, LinkSettings, OasisLink
from tieline.node.trade_settings import PoolSettings
from tieline.rim.certificates import Files, client_context, server_context
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.wire.ews.security import Trust, authorities_of, signer_of

if TYPE_CHECKING:
    from tieline.node.runtime import Node

Stop = Callable[[], Awaitable[None]]


def ews_settings_of(link: EwsLink) -> EwsSettings:
    """Return how a market is reached."""
    return EwsSettings(
        link.url, link.zone, link.qse, link.pools, link.market, link.user_id, link.poll_s, link.awards_s,
        link.accept_s, declined=link.declined, answers=link.answers,
    )  # fmt: skip


def oasis_settings_of(link: OasisLink) -> OasisSettings:
    """Return how a service of price reports is reached."""
    return OasisSettings(
        link.url, link.zone, link.nodes, link.markets, link.form, link.version, link.poll_s, link.spacing_s,
        link.look_back_h,
    )  # fmt: skip


def seal_of(link: EwsLink, folder: Path, path: str) -> Seal:
    """Return who we sign as and whom we believe. Raises ConfigError for files that can't be used."""
    files = _files(link, folder)
    try:
        signer = signer_of(files.certificate.read_bytes(), files.key.read_bytes(), link.signs_with)
        held = authorities_of(files.authority.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        which = f"{files.certificate}, {files.key}, {files.authority}"
        raise ConfigError(f"{path}.tls: {which}: {error}: give PEM files that can sign") from None
    return Seal(signer, Trust(held, link.market, takes_sha1=link.takes_sha1))


def setting_checks(
    links: LinkSettings, pools: Mapping[str, PoolSettings]
) -> Iterator[tuple[Callable[[], None], str, str]]:
    """Yield each check of these links' settings, what the link calls itself, and the path that we call it."""
    for at, link in enumerate(links.ews):
        yield partial(check_ews, ews_settings_of(link)), "$.ews", f"$.links.ews[{at}]"
    for at, reader in enumerate(links.oasis):
        yield partial(check_oasis, oasis_settings_of(reader)), "$.oasis", f"$.links.oasis[{at}]"
        yield partial(_check_zones, reader, pools), "$.oasis", f"$.links.oasis[{at}]"


def listeners(links: LinkSettings) -> list[tuple[str, int, str]]:
    """Return (host, port, path) of each listener for notices."""
    return [
        (link.listen_host, link.listen_port, f"$.links.ews[{at}].listen_port")
        for at, link in enumerate(links.ews)
        if link.listen_port is not None
    ]


def _check_zones(reader: OasisLink, pools: Mapping[str, PoolSettings]) -> None:
    # A pool that the settings don't name has the price zone of their own default.
    known = {pool.price_zone for pool in pools.values()} | {PoolSettings().price_zone}
    for zone in reader.nodes:
        if zone not in known:
            have = ", ".join(sorted(known))
            raise ConfigError(f"$.oasis.nodes: {zone!r} is no pool's price_zone: give one of {have}")


def _files(link: EwsLink, folder: Path) -> Files:
    return Files(folder / link.tls.certificate, folder / link.tls.key, folder / link.tls.authority)


async def raise_ews(
    link: EwsLink, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator
) -> tuple[list[str], list[Stop]]:
    """Start a market's link and its listener; return what to tell the operator, and how each is stopped.

    Raises:
        OSError: The listener's port can't be had.
    """
    files, seal = _files(link, folder), seal_of(link, folder, "$.links.ews")
    client = HttpClient(client_context(files, node.clock))
    made = EwsWeb(ews_settings_of(link), client, seal, node.desk, node.clock, rng, node.desk, link.name)
    node.desk.market = made
    node.desk.health(made.health())  # DOWN until it is heard: a link that never comes up is listed, and alarms
    says, stops = [f"{link.name}: market over signed SOAP at {link.url}"], [polls_of(made, client, supervisor)]
    if link.listen_port is not None:
        ears = EwsListener(made, seal.trust, node.clock)
        server = await serve_asgi(ears, link.listen_host, link.listen_port, server_context(files))

        async def stop() -> None:
            server.close()

        port = server.sockets[0].getsockname()[1]
        says.append(f"{link.name}: notices on {link.listen_host}:{port} (TLS, client certificates)")
        stops.append(stop)
    return says, stops


def raise_oasis(
    link: OasisLink, node: Node, prices: PriceInlet, supervisor: Supervisor, rng: np.random.Generator
) -> tuple[str, Stop]:
    """Start a reader of price reports; return what to tell the operator, and how it is stopped."""
    client = HttpClient()
    made = OasisWeb(oasis_settings_of(link), client, prices, node.clock, rng, node.desk, link.name)
    node.desk.health(made.health())
    says = f"{link.name}: price reports of {', '.join(link.nodes.values())} at {link.url}"
    return says, polls_of(made, client, supervisor)


def polls_of(link: Poller, client: HttpClient, supervisor: Supervisor) -> Stop:
    """Let a link poll, and return how it is stopped: its connections are closed once nobody asks over them any more.

    The desk asks over them, too, so that they outlive the polls.
    """
    polls = supervisor.keep(link.name, link.run)
    supervisor.at_end(client.aclose)

    async def stop() -> None:
        polls.cancel()
        await asyncio.gather(polls, return_exceptions=True)

    return stop
