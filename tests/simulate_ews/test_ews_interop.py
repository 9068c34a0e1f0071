"""Signed SOAP against another make: zeep and xmlsec, as a participant of our emulator and as a market of our link."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tieline.links.grid.ews_call import Seal
from tieline.links.grid.ews_settings import EwsPool, EwsSettings
from tieline.links.grid.ews_web import EwsWeb
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.simulate.ews.app import EwsApp
from tieline.simulate.ews.market import EwsMarket
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.wire.ews import messages as ews
from tieline.wire.ews.codec import payload_tree
from tieline.wire.ews.security import Signer, Trust, signer_of
from tieline.wire.ews.tree import serialise

TESTS = Path(__file__).parents[1]
for folder in ("simulate_iso", "wire_ews"):
    sys.path.insert(0, str(TESTS / folder))
from ews_certificates import held  # noqa: E402
from iso_desk import ScheduleDesk  # noqa: E402

PEER = TESTS.parent / ".venv-peers-ews" / "bin" / "python"
SCRIPT, WSDL = TESTS / "peers" / "ews_zeep.py", TESTS / "peers" / "ews_market.wsdl"
CLOCK = SystemClock()
needs_peer = pytest.mark.skipif(not PEER.exists(), reason="`make peers-ews` has not made its environment")


class People:
    """Certificates of RSA that are valid today, and the environment in which the peer finds them."""

    def __init__(self, folder: Path) -> None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.signers: dict[str, Signer] = {}
        for name in ("QTIELINE", "ERCOT"):
            mine = held(name, "root", at=today)
            (folder / f"{name}.pem").write_bytes(mine.pem)
            (folder / f"{name}.key").write_bytes(mine.key_pem)
            self.signers[name] = signer_of(mine.pem, mine.key_pem)
        self._root = (held("root", is_authority=True, at=today).certificate,)
        self.environment = {**os.environ, "EWS_FOLDER": str(folder), "EWS_WSDL": str(WSDL)}

    def trust(self, name: str) -> Trust:
        return Trust(self._root, name)


@pytest.mark.interop
@needs_peer
def test_a_participant_of_another_make_offers_is_answered_signed_and_asks_what_became_of_it(tmp_path: Path) -> None:
    people = People(tmp_path)
    faults = Faults(FaultMenu(), np.random.default_rng(1))
    market = EwsMarket(
        IsoMarket(CLOCK, np.random.default_rng(1), faults), "QTIELINE", {"TL_NORTH": "HB_NORTH"}, accept_s=0
    )
    app = EwsApp(market, faults, people.signers["ERCOT"], people.trust("QTIELINE"), CLOCK, np.random.default_rng(2))
    start = (datetime.now(UTC) + timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    span = {"start_time": start, "end_time": start + timedelta(hours=1)}
    curve = ews.PriceCurve(**span, curve_style="VARIABLE", points=(ews.CurvePoint(xvalue=1.5, y1value=30.25),))
    offer = ews.EnergyOnlyOffer(**span, expiration_time=start, sp="HB_NORTH", bid_id="ab1", curves=(curve,))
    day = start.astimezone(market.zone).date()
    bids = serialise(payload_tree(ews.BidSet(trading_date=day, energy_only=(offer,))))

    async def main() -> dict[str, object]:
        server = await serve_asgi(app, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        pipe = asyncio.subprocess.PIPE
        peer = await asyncio.create_subprocess_exec(
            str(PEER), str(SCRIPT), "ask", url, stdin=pipe, stdout=pipe, stderr=pipe, env=people.environment
        )
        async with asyncio.timeout(60):
            out, err = await peer.communicate(bids)
        server.close()
        assert peer.returncode == 0, err.decode()[-2000:]
        return dict(json.loads(out))

    told = asyncio.run(main())
    key = f"QTIELINE.{day:%Y%m%d}.EOO.HB_NORTH.ab1"
    assert told["code"] == "OK" and told["keys"] == [key]
    assert next(iter(market.kept)).startswith(key) and app.unsigned == 0
    # There are no prices of this year, so the offer is refused after all.
    (kept,) = market.kept.values()
    assert told["status"] == ["REJECTED"] and "no prices" in kept.refusal


@pytest.mark.interop
@needs_peer
def test_a_market_of_another_make_verifies_us_is_believed_and_instructs_once(tmp_path: Path) -> None:
    people = People(tmp_path)

    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        service = await asyncio.create_subprocess_exec(
            str(PEER), str(SCRIPT), "serve", stdout=pipe, env=people.environment
        )
        try:
            assert service.stdout
            async with asyncio.timeout(60):
                port = int(await service.stdout.readline())
            desk = ScheduleDesk()
            pools = {"pool:north": EwsPool("TL_NORTH", "HB_NORTH")}
            how = EwsSettings(f"http://127.0.0.1:{port}/", "America/Chicago", "QTIELINE", pools, declined="answered")
            async with HttpClient() as client:
                seal = Seal(people.signers["QTIELINE"], people.trust("ERCOT"))
                link = EwsWeb(how, client, seal, desk, CLOCK, np.random.default_rng(1))
                for _ in range(2):
                    await link.poll()
                assert list(desk.effects.values()) == [1] and desk.schedule[0].power_w == 2.5e6
                # Another's certificate of the same authority, and another name, are not believed.
                stranger = EwsWeb(
                    how, client, Seal(seal.signer, people.trust("OTHER")), desk, CLOCK, np.random.default_rng(1)
                )
                with pytest.raises(Exception, match="signed by ERCOT: OTHER was expected"):
                    await stranger.poll()
            async with asyncio.timeout(60):
                asked = [json.loads(await service.stdout.readline()) for _ in range(3)]
            assert asked == [
                ["get", "VDIs", []],
                ["change", "VDIs", ["ACKNOWLEDGED"]],
                ["change", "VDIs", ["REJECTED"]],
            ]
        finally:
            service.kill()
            await service.wait()

    asyncio.run(main())
