"""TLS of both links over real sockets: client certificates wanted, pinned, and told when they have run out."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from dnp3_desk import SmallDesk
from dnp3_room import BINDING

from tieline.desk.ports import BatchAnswer
from tieline.errors import ConfigError, LinkDown
from tieline.links.grid.dnp3.binding import Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.rim.certificates import Authority, Files, client_context, server_context
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.scada import Scada

CLOCK = SystemClock()


def play(scene: Callable[[Supervisor], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            await scene(supervisor)

    asyncio.run(main())


class Nobody:
    """A market inlet that has heard nothing yet."""

    async def awards(self, awards: object, frame: str) -> list[None]:
        return []

    async def unawarded(self, pools: object, start_ns: int, end_ns: int) -> list[str]:
        return []

    async def cleared(self, offers: object, frame: str) -> None:
        assert not offers

    async def dispatch(self, batch: object) -> BatchAnswer:
        raise AssertionError("no batch was expected")

    async def corrected(self, uid: str, refusal: object, frame: str) -> None:
        raise AssertionError("no batch was expected")

    async def unread(self, uid: str, refusal: object, link: str, end_ns: int = 0) -> bool:
        return True

    async def answered(self, uid: str) -> None:
        return None

    async def last_batch_uid(self) -> str:
        return "-1"


async def dnp3(files: Files, pinned: str, server: Files, supervisor: Supervisor) -> None:
    peers = (Peer("dno", 1, certificate=pinned, may_read=("pool:north",)),)
    binding = msgspec.structs.replace(BINDING, host="127.0.0.1", port=0, peers=peers)
    desk = SmallDesk()
    made = Dnp3Outstation(binding, desk, CLOCK, supervisor, tls=server_context(server))
    await made.start()
    await made.publish(desk.snapshot())
    context = client_context(files, CLOCK)
    scada = Scada("127.0.0.1", made.port, master=1, outstation=10, spawn=supervisor.spawn, tls=context, timeout_s=2)
    try:
        await scada.connect()
        assert scada.analog(0) == 1e6
    finally:
        await scada.close()
        await made.stop()


def test_a_master_with_its_pinned_certificate_reads_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, CLOCK)
    server, client = authority.issue("outstation", "127.0.0.1"), authority.issue("dno")
    play(lambda supervisor: dnp3(client, client.fingerprint, server, supervisor))


def test_a_master_with_another_certificate_of_the_same_authority_is_not_let_in(tmp_path: Path) -> None:
    authority = Authority(tmp_path, CLOCK)
    server, client, other = (authority.issue(name, "127.0.0.1") for name in ("outstation", "dno", "other"))

    async def scene(supervisor: Supervisor) -> None:
        with pytest.raises((LinkDown, OSError)):
            await dnp3(other, client.fingerprint, server, supervisor)

    play(scene)


def iso_link(url: str, client: HttpClient) -> IsoWeb:
    settings = IsoSettings(url, "America/Chicago", {"pool:north": "TL_NORTH"})
    return IsoWeb(settings, client, Nobody(), CLOCK, np.random.default_rng(1))  # type: ignore[arg-type]


async def iso(server: Files, how: ssl.SSLContext | None, check: Callable[[IsoWeb], Awaitable[None]]) -> None:
    faults = Faults(FaultMenu(), np.random.default_rng(1))
    app = IsoApp(IsoMarket(CLOCK, np.random.default_rng(1), faults), faults)
    listening = await serve_iso(app, "127.0.0.1", 0, server_context(server))
    port = listening.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    async with HttpClient(how) as client:
        await check(iso_link(f"https://127.0.0.1:{port}/ads", client))
    listening.close()


def test_the_iso_is_polled_with_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, CLOCK)
    server, client = authority.issue("iso", "127.0.0.1"), authority.issue("tieline")

    async def check(link: IsoWeb) -> None:
        await link.poll()
        assert link.health().received >= 2

    play(lambda _: iso(server, client_context(client, CLOCK), check))


def test_without_a_client_certificate_the_iso_hangs_up(tmp_path: Path) -> None:
    authority = Authority(tmp_path, CLOCK)
    server = authority.issue("iso", "127.0.0.1")
    bare = ssl.create_default_context(cafile=str(authority.file))

    async def check(link: IsoWeb) -> None:
        with pytest.raises(LinkDown):
            await link.poll()

    play(lambda _: iso(server, bare, check))


def test_an_iso_that_cuts_the_connection_after_the_handshake_is_asked_about_our_certificate(tmp_path: Path) -> None:
    """What servers do that refuse a certificate without an alert, or whose alert is lost."""
    authority = Authority(tmp_path, CLOCK)
    server, client = authority.issue("iso", "127.0.0.1"), authority.issue("tieline")

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, with no alert before it
        await reader.read(1)
        writer.transport.abort()

    async def scene(_: Supervisor) -> None:
        listening = await asyncio.start_server(cut, "127.0.0.1", 0, ssl=server_context(server))
        port = listening.sockets[0].getsockname()[1]
        async with HttpClient(client_context(client, CLOCK)) as http:
            with pytest.raises(LinkDown, match="cut the connection without a word: does it accept our certificate"):
                await iso_link(f"https://127.0.0.1:{port}/ads", http).poll()
        listening.close()

    play(scene)


def test_an_iso_whose_certificate_ran_out_is_named_as_such(tmp_path: Path) -> None:
    authority = Authority(tmp_path, CLOCK)
    server, client = authority.issue("iso", "127.0.0.1", days=-1, begins_days=-9), authority.issue("tieline")

    async def check(link: IsoWeb) -> None:
        with pytest.raises(LinkDown, match="certificate has expired"):
            await link.poll()

    play(lambda _: iso(server, client_context(client, CLOCK), check))


def test_our_own_certificate_that_ran_out_is_a_setting_to_mend(tmp_path: Path) -> None:
    authority = Authority(tmp_path, CLOCK)
    with pytest.raises(ConfigError, match=r"tieline\.pem: valid from"):
        client_context(authority.issue("tieline", days=-1, begins_days=-9), CLOCK)


def test_a_server_sends_no_session_tickets(tmp_path: Path) -> None:
    context = server_context(Authority(tmp_path, CLOCK).issue("iso", "127.0.0.1"))
    assert context.num_tickets == 0
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
