"""A certificate that has ended, or soon will, is told: by doctor, by a server's start, and by an alarm that stays."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from data_folder import data_folder
from hypothesis import given
from hypothesis import strategies as some

from tieline.node.certificates import Certificate, Use, certificate_alarms, certificates_of
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.serve import serve
from tieline.rim.clock import SystemClock
from tieline.times import DAY_NS, SECOND_NS

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
heater-1,water_heater,0,3000,0,feeder-1,site-1,pool-1
"""
GOOD = "0123456789abcdef" * 4
TLS = 'tls = {{ certificate = "{0}.pem", key = "{0}.key", authority = "{1}.pem" }}\n'
CONSOLE = '[tls]\ncertificate = "{0}.pem"\nkey = "{0}.key"\n'
VTN = '[[links.openadr]]\nport = 0\nresources = ["battery-1"]\n'
VTN += f'clients = [{{{{ id = "battery-1", secret_sha256 = "{GOOD}" }}}}]\n' + TLS
ISO = '[[links.iso]]\nzone = "America/Chicago"\nurl = "https://127.0.0.1:9/"\npools = {{ pool-1 = "X" }}\n' + TLS
EWS = '[[links.ews]]\nurl = "https://127.0.0.1:9/"\nzone = "America/Chicago"\nqse = "Q"\n'
EWS += 'pools = {{ pool-1 = {{ resource = "R", settlement_point = "H" }} }}\n' + TLS
MQTT = '[[links.mqtt]]\nhost = "127.0.0.1"\nport = 9\ntls_certificate = "{0}.pem"\ntls_key = "{0}.key"\n'
MQTT += 'tls_authority = "{1}.pem"\ndevices = {{ heater-1 = {{ device = "heater-1", profile = "water_heater" }} }}\n'
DNO = '[[peers]]\nname = "dno"\nceiling = "ENVELOPE"\n[[links.dnp3]]\naddress = 10\nport = 0\n'
DNO += 'groups = [{{ resource = "feeder-1", at = 0 }}]\nmasters = [{{ name = "dno", address = 1, '
DNO += f'may_read = ["feeder-1"], certificate = "sha256:{GOOD}" }}}}]\n' + TLS
OWN = {
    "the console": (CONSOLE, "$.tls.certificate", "the console"),
    "a dno": (DNO, "$.links.dnp3[0].tls.certificate", "link dnp3"),
    "an iso": (ISO, "$.links.iso[0].tls.certificate", "link iso"),
    "a market": (EWS, "$.links.ews[0].tls.certificate", "link ews"),
    "a vtn": (VTN, "$.links.openadr[0].tls.certificate", "link openadr"),
    "a broker": (MQTT, "$.links.mqtt[0].tls_certificate", "link mqtt"),
}
THEIRS = {name: (text, field.replace("certificate", "authority"), user) for name, (text, field, user) in OWN.items()}
del THEIRS["the console"]  # people show no certificate

Found = dict[str, Any]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates of our own (`we`: 30 days, `soon`: 13, `enough`: 15, `old`: over) and authorities."""
    folder, authority = data_folder(tmp_path_factory.mktemp("told"), TABLE)
    authority.issue("soon", "127.0.0.1", days=13)
    authority.issue("enough", "127.0.0.1", days=15)
    authority.issue("early", "127.0.0.1", days=60, begins_days=3)
    for name, days in (("ca-soon", 13), ("ca-old", -1)):  # what vouches is a certificate as any other
        authority.issue(name, name, days=days, begins_days=-40)
    bundle = (folder / "ca-old.pem").read_text() + (folder / "authority.pem").read_text()
    (folder / "ca-both.pem").write_text(bundle)
    (folder / "chain.pem").write_text((folder / "we.pem").read_text() + (folder / "soon.pem").read_text())
    shutil.copy(folder / "we.key", folder / "chain.key")
    return folder


def examined(folder: Path, text: str) -> tuple[int, Found]:
    (folder / "tieline.toml").write_text("port = 0\n" + text)
    done = CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"])
    return done.exit_code, json.loads(done.stdout)


def started(folder: Path) -> str:
    done = CliRunner().invoke(main, ["serve", "--data", str(folder), "--for", "0.1s"])
    assert done.exit_code == 0, done.output
    return done.output


def faults_in(found: Found) -> list[Found]:
    return [fault for part in found.values() if isinstance(part, dict) for fault in part.get("faults", ())]


@pytest.mark.parametrize("name", OWN)
def test_a_certificate_of_our_own_that_is_over_is_named_once_and_the_server_starts(works: Path, name: str) -> None:
    text, field, _ = OWN[name]
    code, found = examined(works, text.format("old", "authority"))
    (fault,) = faults_in(found)
    assert code == 1 and field.startswith(fault["field"]), found
    assert "old.pem" in fault["error"] and fault["error"].endswith("give one that is valid now")
    told = [line for line in started(works).splitlines() if line.startswith("warning: ") and "old.pem" in line]
    assert len(told) == 1 and fault["error"].partition(", and now is ")[0] in told[0]


@pytest.mark.parametrize("name", THEIRS)
def test_an_authority_that_is_over_is_named_and_the_server_starts(works: Path, name: str) -> None:
    text, field, _ = THEIRS[name]
    code, found = examined(works, text.format("we", "ca-old"))
    (fault,) = faults_in(found)
    assert (code, fault["field"]) == (1, field), found
    assert f"warning: {fault['error'].partition(', and now is ')[0]}" in started(works)


@pytest.mark.parametrize("role", ["own", "theirs"])
@pytest.mark.parametrize("name", OWN)
def test_one_with_less_than_14_days_left_is_warned_of_with_its_place_and_end(works: Path, name: str, role: str) -> None:
    if role == "theirs" and name not in THEIRS:
        return
    text, field, _ = (OWN if role == "own" else THEIRS)[name]
    code, found = examined(works, text.format(*(("soon", "authority") if role == "own" else ("we", "ca-soon"))))
    assert (code, found["healthy"], found["certificates"]["ok"]) == (0, True, True)
    says = found["certificates"]["says"]
    assert re.match(rf"warning: {re.escape(field)} = '[^']*soon.pem': ends \d{{4}}-.*Z, in less than 14 days: ", says)
    assert "; " not in says, "one certificate is told once"
    assert says in started(works)


@pytest.mark.parametrize(("certificate", "authority"), [("enough", "authority"), ("we", "ca-both")])
def test_one_that_lasts_or_stands_beside_its_successor_is_no_news(
    works: Path, certificate: str, authority: str
) -> None:
    code, found = examined(works, CONSOLE.format(certificate) + VTN.format(certificate, authority))
    assert (code, "certificates" in found) == (0, False), found
    assert ".pem" not in started(works)


def test_a_chain_is_told_by_what_ends_first_and_one_that_is_yet_to_begin_is_a_fault(works: Path) -> None:
    _, found = examined(works, CONSOLE.format("chain"))
    assert found["certificates"]["ok"] and "chain.pem': ends " in found["certificates"]["says"]
    code, found = examined(works, CONSOLE.format("early"))
    (fault,) = faults_in(found)
    assert (code, fault["field"]) == (1, "$.tls.certificate")
    assert "valid from" in started(works)


def test_faults_and_warnings_are_told_side_by_side(works: Path) -> None:
    code, found = examined(works, CONSOLE.format("old") + VTN.format("soon", "authority"))
    says = found["certificates"]["says"]
    assert code == 1 and len(found["certificates"]["faults"]) == 1
    assert "old.pem" in says and "; warning: $.links.openadr[0].tls.certificate" in says


@pytest.mark.parametrize("name", OWN)
def test_an_alarm_for_each_certificate_names_file_end_and_what_uses_it(works: Path, name: str) -> None:
    text, _, user = OWN[name]
    (works / "tieline.toml").write_text("port = 0\n" + text.format("soon", "ca-soon"))
    held = certificates_of(load_config(works / "tieline.toml"), works)
    alarms = {alarm.subject: alarm for alarm, _ in certificate_alarms(held, [], {}, SystemClock().now_ns())}
    assert set(alarms) == ({"soon.pem", "ca-soon.pem"} if name in THEIRS else {"soon.pem"})
    for file, alarm in alarms.items():
        assert re.fullmatch(rf"Certificate {file} of {user} ends \d{{4}}-[-\d]+T[:\d]+Z", alarm.title)
        assert ("vouches" in alarm.consequence) is file.startswith("ca-")
        assert "start the server again" in alarm.action


class Later:
    """A clock that a test sets ahead."""

    def __init__(self) -> None:
        self.ahead_ns, self._clock = 0, SystemClock()

    def now_ns(self) -> int:
        return self._clock.now_ns() + self.ahead_ns


def alarms_of(folder: Path, text: str, *ahead_days: float) -> list[list[Found]]:
    """Return the alarms of certificates that a server's API tells so many days from now; each is acknowledged then."""
    (folder / "tieline.toml").write_text("port = 0\n" + text)
    clock, says = Later(), list[str]()

    async def play() -> list[list[Found]]:
        async def link() -> str:
            while not any("/enrol#" in line for line in says):
                await asyncio.sleep(0.02)
                assert not served.done(), served.result()
            return next(line for line in says if "/enrol#" in line).split()[-1]

        served, found = asyncio.create_task(serve(folder, 0, says.append, clock=clock)), []
        try:
            url, secret = (await asyncio.wait_for(link(), 60)).split("/enrol#")
            async with httpx.AsyncClient(base_url=url, verify=False, timeout=30) as person:
                who = {"secret": secret, "password": "a long password of the test"}
                entered = await person.post("/api/v1/enrol", json=who, headers={"Origin": url})
                assert entered.status_code == 200, entered.text
                for days in ahead_days:
                    clock.ahead_ns = round(days * DAY_NS)
                    alarms = (await person.get("/api/v1/alarms")).json()
                    found.append([one for one in alarms if one["title"].startswith("Certificate ")])
                    for one in found[-1]:
                        act = f"/api/v1/alarms/{one['id']}/acknowledge"
                        assert (await person.post(act, headers={"Origin": url})).status_code == 200
        finally:
            served.cancel()
            await asyncio.gather(served, return_exceptions=True)
        return found

    return asyncio.run(play())


def test_a_console_whose_certificate_is_over_lets_people_in_and_shows_an_alarm(works: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(works, tmp_path / "over")
    ((alarm,), (later,)) = alarms_of(folder, CONSOLE.format("old"), 0, 1 / 24)
    ((early,), (known,)) = alarms_of(shutil.copytree(works, tmp_path / "early"), CONSOLE.format("early"), 0, 1 / 24)
    assert (early["priority"], known["id"], known["is_acknowledged"]) == (2, early["id"], True)
    assert (alarm["priority"], alarm["title"].startswith("Certificate old.pem of the console ended ")) == (2, True)
    assert (later["id"], later["is_acknowledged"]) == (alarm["id"], True), (
        "it stays, and whoever saw it is not asked anew"
    )


def test_an_alarm_becomes_graver_when_its_certificate_ends_and_wants_a_new_acknowledgement(
    works: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(works, tmp_path / "soon")
    text = CONSOLE.format("soon") + VTN.format("soon", "authority")
    soon, over = alarms_of(folder, text, 0, 13.5)
    assert [(one["priority"], one["is_acknowledged"]) for one in soon + over] == [(3, False), (2, False)]
    assert all("soon.pem of the console and link openadr" in one["title"] for one in soon + over)
    assert " ends " in soon[0]["title"] and " ended " in over[0]["title"]


def test_what_a_link_that_was_left_out_tells_itself_is_no_second_alarm(works: Path, tmp_path: Path) -> None:
    one, both = (shutil.copytree(works, tmp_path / name) for name in ("one", "both"))
    assert alarms_of(one, ISO.format("old", "authority"), 0) == [[]]
    ((alarm,),) = alarms_of(both, CONSOLE.format("old") + ISO.format("old", "authority"), 0)
    assert "old.pem of the console ended" in alarm["title"], "the console's use of it is told by no link"


DAYS = some.floats(-400, 400)


@given(begins=DAYS, lasts=some.floats(0, 4000), first=DAYS, second=DAYS)
def test_an_alarm_stands_from_14_days_before_the_end_on_and_never_grows_milder(
    begins: float, lasts: float, first: float, second: float
) -> None:
    begins_ns = round((500 + begins) * DAY_NS)
    ends_ns = begins_ns + round(lasts * DAY_NS)
    one = Certificate(Path("/x/a.pem"), "a.pem", begins_ns, ends_ns, (Use("$.tls.certificate", "the console"),))
    graves = []
    for at in sorted((first, second)):
        now_ns = round((500 + at) * DAY_NS)
        found = certificate_alarms([one], [], {}, now_ns)
        stands = now_ns < begins_ns or ends_ns - now_ns < 14 * DAY_NS
        assert len(found) == stands
        if now_ns >= begins_ns:
            graves.append(9 if not found else found[0][0].priority)
        for alarm, after_ns in found:
            assert after_ns == 0 and alarm.since_ns <= now_ns
            assert (alarm.priority == 2) is (not begins_ns <= now_ns <= ends_ns)
    assert graves == sorted(graves, reverse=True)


def test_the_alarm_of_a_start_before_and_after_a_restart_is_the_same_one() -> None:
    one = Certificate(Path("/x/a.pem"), "a.pem", 0, 100 * DAY_NS, (Use("$.tls.certificate", "the console"),))
    for now_ns in (90 * DAY_NS, 100 * DAY_NS + 1):
        ((before, _),) = certificate_alarms([one], [], {}, now_ns)
        ((after, _),) = certificate_alarms([one], [], {}, now_ns + 3600 * SECOND_NS)
        assert (before.id, before.since_ns) == (after.id, after.since_ns)


def test_doctor_and_start_go_by_their_clock_not_the_machines(works: Path) -> None:
    from tieline.node.doctor import examine

    (works / "tieline.toml").write_text("port = 0\n" + CONSOLE.format("we"))
    clock = Later()
    for days, healthy, says in ((0, True, None), (17, True, "ends "), (31, False, "valid from")):
        clock.ahead_ns = days * DAY_NS
        ok, found = examine(works, clock)
        assert ok is healthy and ("certificates" in found) is (says is not None)
        assert says is None or says in found["certificates"]["says"]
