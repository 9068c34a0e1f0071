"""A server's links to a market over signed SOAP and to a service of price reports: settings, doctor, and real sockets."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from data_folder import data_folder

from tieline.desk.prices import SendPrices, TakenPrices
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.links import raise_links
from tieline.node.reader import NodeReader, Sources
from tieline.node.serve import node_of
from tieline.rim.certificates import Files, client_context, server_context
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.ews.app import EwsApp
from tieline.simulate.ews.market import EwsMarket
from tieline.simulate.ews.notices import EwsNotices
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.oasis.app import OasisApp
from tieline.times import from_ns
from tieline.wire.ews import messages as ews
from tieline.wire.ews.security import Trust, authorities_of, signer_of

CLOCK = SystemClock()
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
"""
EWS = """port = 0
[[links.ews]]
url = "https://127.0.0.1:{port}/ews"
zone = "America/Chicago"
qse = "QTIELINE"
pools = {{ pool-1 = {{ resource = "TL_NORTH", settlement_point = "HB_NORTH" }} }}
tls = {{ certificate = "{us}.pem", key = "{us}.key", authority = "authority.pem" }}
poll_s = 0.5
{more}
"""
OASIS = """
[[links.oasis]]
url = "{url}"
zone = "America/Chicago"
nodes = {{ {zone} = "HB_NORTH" }}
poll_s = 0.5
"""


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, authority = data_folder(tmp_path_factory.mktemp("market-links"), TABLE)
    for name in ("QTIELINE", "ERCOT"):
        authority.issue(name, "127.0.0.1")
    return folder


def settle(works: Path, port: int = 9, more: str = "", us: str = "QTIELINE", oasis: str = "") -> None:
    (works / "tieline.toml").write_text(EWS.format(port=port, us=us, more=more) + oasis)


class Prices:
    """Where prices would go."""

    async def prices(self, sent: SendPrices, by: str) -> TakenPrices:
        raise AssertionError("there are none of this year")


def test_a_server_asks_a_market_and_hears_its_notices_over_tls_with_certificates_on_both_sides(works: Path) -> None:
    async def play() -> None:
        faults = Faults(FaultMenu(), np.random.default_rng(1))
        held = authorities_of((works / "authority.pem").read_bytes())
        market_signer = signer_of((works / "ERCOT.pem").read_bytes(), (works / "ERCOT.key").read_bytes())
        market = EwsMarket(IsoMarket(CLOCK, np.random.default_rng(1), faults), "QTIELINE", {"TL_NORTH": "HB_NORTH"})
        app = EwsApp(market, faults, market_signer, Trust(held, "QTIELINE"), CLOCK, np.random.default_rng(2))
        theirs = _files(works, "ERCOT")
        server = await serve_asgi(app, "127.0.0.1", 0, server_context(theirs))
        reports = await serve_asgi(OasisApp(CLOCK, spacing_s=0.0), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{_port(reports)}/oasisapi/SingleZip"
        settle(
            works, _port(server), "listen_port = 0", oasis=OASIS.format(url=url, zone="system") + "spacing_s = 0.1\n"
        )
        settings = load_config(works / "tieline.toml")
        async with (
            Supervisor(np.random.default_rng(1)) as supervisor,
            HttpClient(client_context(theirs, CLOCK)) as http,
        ):
            node = node_of(works, settings, supervisor, None)
            links = await raise_links(settings.links, works, node, supervisor, np.random.default_rng(2), Prices())
            reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
            for _ in range(300):
                if {one.name: one.state for one in reader.links()} == {"ews": "live", "oasis": "live"}:
                    break
                await asyncio.sleep(0.1)
            assert reader.is_market_live() and node.desk.market is not None
            ears = next(line for line in links.says if "notices on" in line).split("127.0.0.1:")[1].split(" ")[0]
            notices = EwsNotices(
                market, f"https://127.0.0.1:{ears}/", http, market_signer, CLOCK, np.random.default_rng(3), faults
            )
            now = from_ns(CLOCK.now_ns())
            alert = ews.Event(
                qse="QTIELINE", id="A", type="Watch", priority="High", source="MMS", issued=now, summary="heat"
            )
            notices.tell("created", "Alert", alert)
            await notices.send()
            assert (notices.acknowledged, notices.refused) == (1, [])
            await links.stop()
        server.close()
        reports.close()
        node.journal.close()

    asyncio.run(play())


# What is wrong: in the settings of the market, in those of the reports, the field that is named.
WRONG = {
    "a pool that there is not": ('pools = { pool-9 = { resource = "R", settlement_point = "S" } }', "", "$.links.ews.pools"),
    "plain http elsewhere": ('url = "http://market.example/"', "", "$.links.ews[0].url"),
    "no zone": ('zone = "Mars/Olympus"', "", "$.links.ews[0].zone"),
    "a rhythm of never": ("poll_s = 0.0", "", "$.links.ews[0].poll_s"),
    "a port of the console": ("listen_port = 8080", "", "$.links.ews[0].listen_port"),
    "a price zone that there is not": ("", OASIS.format(url="https://o.example/", zone="mars"), "$.links.oasis[0].nodes"),
    "reports over plain http": ("", OASIS.format(url="http://o.example/", zone="system"), "$.links.oasis[0].url"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "oasis", "field"), WRONG.values(), ids=WRONG)
def test_doctor_names_what_cant_be_and_a_server_does_not_start_with_it(
    works: Path, line: str, oasis: str, field: str
) -> None:
    settle(works, oasis=oasis)
    text = (works / "tieline.toml").read_text()
    if line:
        key = line.partition(" =")[0]
        kept = [each for each in text.splitlines() if not each.startswith(f"{key} =") or key == "port"]
        at = kept.index("[[links.ews]]") + 1
        text = "\n".join([*kept[:at], line, *kept[at:]])
        text = text.replace("port = 0", "port = 8080", 1) if key == "listen_port" else text
    (works / "tieline.toml").write_text(text)
    examined = CliRunner().invoke(main, ["doctor", "--data", str(works), "--json"])
    fields = [fault["field"] for fault in json.loads(examined.stdout)["links"]["faults"]]
    assert (examined.exit_code, fields) == (1, [field])
    assert CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"]).exit_code != 0


def test_a_market_whose_certificate_is_not_there_is_left_out_and_told_of(works: Path) -> None:
    settle(works, us="nobody")
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert done.exit_code == 0, done.output
    assert "warning: ews is left out: $.links.ews[0].tls.certificate" in done.output


def test_a_server_answers_to_one_market(works: Path) -> None:
    settle(works)
    more = '[[links.iso]]\nzone = "America/Chicago"\nurl = "http://127.0.0.1:9/"\npools = { pool-1 = "X" }\n'
    (works / "tieline.toml").write_text((works / "tieline.toml").read_text() + more)
    examined = CliRunner().invoke(main, ["doctor", "--data", str(works), "--json"])
    assert "a server answers to one ISO" in examined.stdout and examined.exit_code == 1


def _files(works: Path, name: str) -> Files:
    return Files(works / f"{name}.pem", works / f"{name}.key", works / "authority.pem")


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
