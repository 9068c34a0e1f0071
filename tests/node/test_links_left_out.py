"""A link whose certificate, key or password can't be used is left out and told of; everything else runs."""

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from data_folder import data_folder

from tieline.desk.ports import LinkHealth, Session
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.left_out import NOT_STARTED, LeftOut
from tieline.node.links import raise_links
from tieline.node.reader import NodeReader, Sources
from tieline.node.serve import node_of
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import Stage
from tieline.rim.certificates import Authority
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.store.lock import FolderLock
from tieline.times import HOUR_NS

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
heater-1,water_heater,0,3000,0,feeder-1,site-1,pool-1
"""
GOOD = "0123456789abcdef" * 4
TLS = 'tls = {{ certificate = "{0}.pem", key = "{0}.key", authority = "{1}.pem" }}\n'
VTN = '[[links.openadr]]\nport = 0\nresources = ["battery-1"]\n'
VTN += f'clients = [{{ id = "battery-1", secret_sha256 = "{GOOD}" }}]\n'
ISO = '[[links.iso]]\nzone = "America/Chicago"\nurl = "https://127.0.0.1:9/"\npools = { pool-1 = "X" }\n'
MQTT = '[[links.mqtt]]\nhost = "127.0.0.1"\nport = 9\nuser = "u"\n'
MQTT += 'devices = { heater-1 = { device = "heater-1", profile = "water_heater" } }\n'
DNO = '[[peers]]\nname = "dno"\nceiling = "ENVELOPE"\n[[links.dnp3]]\naddress = 10\nport = 0\n'
DNO += 'groups = [{ resource = "feeder-1", at = 0 }]\nmasters = [{ name = "dno", address = 1, may_read = ["feeder-1"], '
DNO += f'certificate = "sha256:{GOOD}" }}]\n'
# What the settings say, the link that is left out, the place of the fault, and the file that it names.
FILES = {
    "a certificate that isn't there": (DNO + TLS.format("no", "authority"), "dnp3", "$.links.dnp3[0].tls.certificate", "no.pem"),
    "a certificate that is none": (VTN + TLS.format("x", "authority"), "openadr", "$.links.openadr[0].tls", "x.pem"),
    "an authority that is none": (VTN + TLS.format("we", "x"), "openadr", "$.links.openadr[0].tls", "x.pem"),
    "a key that is another's": (DNO + TLS.format("mixed", "authority"), "dnp3", "$.links.dnp3[0].tls", "mixed.key"),
    "a key with a pass phrase": (DNO + TLS.format("locked", "authority"), "dnp3", "$.links.dnp3[0].tls", "locked.key"),
    "a certificate that is over": (ISO + TLS.format("old", "authority"), "iso", "$.links.iso[0].tls", "old.pem"),
    "a password that isn't there": (MQTT + 'password_file = "none"\n', "mqtt", "$.links.mqtt[0].password_file", "none"),
    "a password that is empty": (MQTT + 'password_file = "empty"\n', "mqtt", "$.links.mqtt[0].password_file", "empty"),
    "a broker's authority that isn't there": (
        MQTT + 'tls_authority = "none.pem"\n', "mqtt", "$.links.mqtt[0].tls_authority", "none.pem"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, authority = data_folder(tmp_path_factory.mktemp("left-out"), TABLE)
    crooked(folder, authority)
    for name in ("x.pem", "x.key"):
        (folder / name).write_text("no certificate")
    (folder / "empty").write_text("")
    return folder


def crooked(folder: Path, authority: Authority) -> None:
    """Make a certificate whose key is another's (`mixed`), and one whose key has a pass phrase (`locked`)."""
    for name in ("mixed", "locked"):
        authority.issue(name, "127.0.0.1")
    (folder / "mixed.key").write_bytes((folder / "we.key").read_bytes())
    lock(folder / "locked.key")


def lock(key: Path) -> None:
    """Put a pass phrase on a key."""
    from cryptography.hazmat.primitives import serialization as kinds

    found = kinds.load_pem_private_key(key.read_bytes(), None)
    how = kinds.Encoding.PEM, kinds.PrivateFormat.PKCS8, kinds.BestAvailableEncryption(b"a secret")
    key.write_bytes(found.private_bytes(*how))


@pytest.mark.parametrize(("text", "link", "field", "file"), FILES.values(), ids=FILES)
def test_a_link_whose_file_cant_be_used_is_named_by_doctor_and_by_a_server_that_starts(
    works: Path, text: str, link: str, field: str, file: str
) -> None:
    (works / "tieline.toml").write_text("port = 0\n" + text)
    examined = CliRunner().invoke(main, ["doctor", "--data", str(works), "--json"])
    (fault,) = json.loads(examined.stdout)["links"]["faults"]
    assert (examined.exit_code, fault["field"]) == (1, field)
    assert file in fault["error"] and fault["limit"]
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert done.exit_code == 0, done.output
    told = [line for line in done.output.splitlines() if f"warning: {link} is left out: " in line]
    assert len(told) == 1 and file in told[0] and told[0].endswith("mend it and start again")


def test_the_others_run_and_an_alarm_names_file_and_remedy(works: Path) -> None:
    more = '[[links.openadr]]\nname = "other"\nport = 0\nresources = ["battery-2"]\n'
    more += f'clients = [{{ id = "battery-2", secret_sha256 = "{GOOD}" }}]\nswitched = ["battery-2"]\n'
    switched = 'switched = ["battery-1"]\n'
    (works / "tieline.toml").write_text("port = 0\n" + VTN + switched + TLS.format("x", "authority") + more)

    async def play() -> None:
        settings = load_config(works / "tieline.toml")
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            node = node_of(works, settings, supervisor, None)
            links = await raise_links(settings.links, works, node, supervisor, np.random.default_rng(2))
            reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
            fleet = node.state.fleet
            assert {fleet.id_of(int(row)) for row in np.flatnonzero(node.state.is_switched)} == {
                "battery-1", "battery-2", "heater-1"
            }, "what can be on or off alone is that too while its link is left out"  # fmt: skip
            node.start()
            await node.beat()
            seen = {one.name: (one.state, one.last_error.startswith(NOT_STARTED)) for one in reader.links()}
            assert (seen["openadr"], seen["other"]) == (("down", True), ("waiting", False))
            (alarm,) = [one for one in reader.alarms() if one.subject == "openadr"]
            assert "x.pem" in alarm.title and "PEM" in alarm.title and "start the server again" in alarm.action
            await links.stop()
        node.journal.close()

    asyncio.run(play())


def test_doctor_says_in_one_line_that_a_server_that_runs_has_to_start_again_for_what_was_mended(works: Path) -> None:
    def told() -> dict[str, dict[str, object]]:
        return json.loads(CliRunner().invoke(main, ["doctor", "--data", str(works), "--json"]).stdout)

    (works / "tieline.toml").write_text("port = 0\n" + VTN + TLS.format("x", "authority"))
    assert "server" not in told(), "nobody holds the folder"
    held = FolderLock(works)
    try:
        began_ns = (works / "lock").stat().st_mtime_ns
        for name in ("tieline.toml", "registry.bin", *(path.name for path in works.glob("*.[pk]e[my]"))):
            os.utime(works / name, ns=(began_ns - 1, began_ns - 1))
        assert str(told()["server"]["says"]).startswith("in use since ")
        assert "start it again" not in str(told()["server"]["says"])
        (works / "tieline.toml").write_text("port = 0\n" + VTN + TLS.format("we", "authority"))
        os.utime(works / "tieline.toml", ns=(began_ns + 10**9, began_ns + 10**9))
        found = told()
        assert found["links"]["ok"] and str(found["server"]["says"]).endswith(
            "start it again for what was changed since: tieline.toml"
        )
    finally:
        held.release()
    assert "server" not in told()


class Intake:
    """What a link tells its desk."""

    def __init__(self) -> None:
        self.told: list[CommandReports] = []

    def readings(self, readings: Readings) -> None: ...

    def health(self, health: LinkHealth) -> None: ...

    def reports(self, reports: CommandReports) -> None:
        self.told.append(reports)


def test_what_is_commanded_over_a_link_that_was_left_out_is_refused_at_once_with_the_fault() -> None:
    intake, clock, rows = Intake(), SystemClock(), np.array([3, 5], np.int32)
    made = LeftOut("dnp3", "dnp3", "x.pem: give a certificate", intake, clock)
    now_ns, two = clock.now_ns(), np.ones(2)
    batch = CommandBatch("commands:1", rows, two, -two, two, 0 * two, now_ns, now_ns, now_ns + HOUR_NS, 1, 1, ())
    asyncio.run(made.send(batch))
    (told,) = intake.told
    assert (told.batch, told.rows.tolist(), set(told.stage.tolist())) == ("commands:1", [3, 5], {Stage.REJECTED})
    assert set(told.native) == {"not started: x.pem: give a certificate"}
    assert (made.health().session, made.health().refused) == (Session.DOWN, 2)
