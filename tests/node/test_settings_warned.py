"""What settings say that keeps no server from starting, and is most likely not meant: told by doctor and at the start."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from click.testing import CliRunner
from data_folder import data_folder
from hypothesis import given
from hypothesis import strategies as st
from test_served_contracts import CONTRACTS
from test_start_checked import CLIENT, HEATER, MQTT, TABLE, TLS, VTN, dnp3

from tieline.contract.eligibility import eligible
from tieline.node.clear_text import in_the_clear, is_here
from tieline.node.cli import main
from tieline.node.config import JournalSettings, Settings
from tieline.node.known_rules import known_jurisdictions, unruled
from tieline.resource.identity import GROUP_KINDS, Kind


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("warned"), TABLE)[0]


def warned(works: Path, text: str, part: str) -> tuple[list[dict[str, str]], list[str]]:
    """Return the warnings of a part of doctor's, which calls the folder healthy, and those of a start."""
    (works / "tieline.toml").write_text("port = 0\n" + text)
    done = CliRunner().invoke(main, ["doctor", "--data", str(works), "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["healthy"]) == (0, True), found
    served = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert served.exit_code == 0, served.output
    told = [line.partition("warning: ")[2] for line in served.output.splitlines() if "warning: $." in line]
    return found.get(part, {}).get("warnings", []), told


# --- jurisdictions ----------------------------------------------------------------------------------------------------


def test_a_jurisdiction_that_nobody_has_rules_for_is_told_with_those_there_are_by_doctor_and_at_the_start(
    works: Path,
) -> None:
    (said,), (told,) = warned(works, 'jurisdiction = "XX-99"\n', "jurisdiction")
    assert (said["field"], said["value"]) == ("$.jurisdiction", "XX-99")
    assert said["error"] == told
    assert "no device there may serve any market or program: give one of EU, GB, US, US-CA" in told


def test_a_jurisdiction_of_a_contracts_location_is_told_with_the_location(works: Path) -> None:
    contracts = CONTRACTS.replace('"load-1"', '"heater-1"').replace('jurisdiction = "US-TX"', 'jurisdiction = "TX"')
    assert contracts.count('jurisdiction = "TX"') == 1
    (works / "contracts.toml").write_text(contracts)
    text = 'jurisdiction = "US-TX"\n[contracts]\nfile = "contracts.toml"\nwithout = "serve"\n'
    (said,), _ = warned(works, text, "jurisdiction")
    assert (said["field"], said["value"]) == ("location[mill].jurisdiction", "TX")


@given(st.sampled_from(known_jurisdictions()) | st.text(max_size=8))
def test_what_is_told_of_a_jurisdiction_is_what_its_rules_say(jurisdiction: str) -> None:
    kinds = [kind.value for kind in Kind if kind not in GROUP_KINDS]
    programs = ("energy", "capacity", "demand_response", "ancillary", "emergency_load_reduction")
    serves = any(eligible(kind, "none", jurisdiction, program).is_eligible for kind in kinds for program in programs)
    assert bool(unruled(Settings(jurisdiction=jurisdiction), None)) is not serves


# --- the clear --------------------------------------------------------------------------------------------------------

FAR = 'host = "0.0.0.0"\n'
BROKER = MQTT.replace("127.0.0.1", "broker.example") + HEATER
CLEAR = {
    "dnp3 listener": (
        dnp3().replace("groups", FAR + "groups"), "$.links.dnp3[0].host", "speak as dno: give $.links.dnp3[0].tls, and of"
    ),
    "dnp3 listener of known hosts": (
        dnp3(more=', hosts = ["10.0.0.9"]').replace("groups", FAR + "groups"), "$.links.dnp3[0].host",
        "read and change it: give $.links.dnp3[0].tls",
    ),
    "broker": (BROKER, "$.links.mqtt[0].host", "give $.links.mqtt[0].tls_authority"),
    "webhook": (
        VTN + CLIENT + 'callbacks = ["https://ven.example:1/", "http://ven.example:2/"]\n',
        "$.links.openadr[0].callbacks[1]", "give https",
    ),
}  # fmt: skip
COVERED = {
    "dnp3 on this machine": dnp3(),
    "dnp3 over TLS": dnp3(tls=TLS, more=f', certificate = "sha256:{"0123456789abcdef" * 4}"').replace(
        "groups", FAR + "groups"
    ),
    "broker on this machine": MQTT + HEATER,
    "broker over TLS": BROKER + 'tls_authority = "authority.pem"\n',
    "webhook to this machine": VTN + CLIENT + 'callbacks = ["http://127.0.0.1:*", "http://localhost:9/"]\n',
}


@pytest.mark.parametrize(("text", "field", "mend"), CLEAR.values(), ids=CLEAR)
def test_what_goes_over_a_network_in_the_clear_is_told_with_what_would_mend_it_by_doctor_and_at_the_start(
    works: Path, text: str, field: str, mend: str
) -> None:
    (said,), (told,) = warned(works, text, "clear_text")
    assert said["field"] == field and said["value"]
    assert said["error"] == told
    assert "in the clear" in told and mend in told


@pytest.mark.parametrize("text", COVERED.values(), ids=COVERED)
def test_nothing_is_told_of_what_goes_over_tls_or_stays_on_this_machine(works: Path, text: str) -> None:
    assert warned(works, text, "clear_text") == ([], [])


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("postgresql://u@db.example/x", True),
        ("postgresql://u@db.example/x?sslmode=prefer", True),
        ("postgresql://u@127.0.0.1,db.example/x", True),
        ("postgresql://u@db.example/x?sslmode=verify-full", False),
        ("postgresql://u@db.example/x?sslmode=require", False),
        ("postgresql://u@localhost/x", False),
        ("postgresql:///x?host=/run/postgresql", False),
        ("postgresql:///x", False),
        ("", False),
    ],
)
def test_a_journals_database_that_may_be_reached_in_the_clear_is_told(url: str, is_told: bool) -> None:
    pytest.importorskip("psycopg")
    found = in_the_clear(Settings(journal=JournalSettings(url)))
    assert [("$.journal.url" in one, "?sslmode=verify-full" in one) for one in found] == [(True, True)] * is_told


@given(st.ip_addresses())
def test_only_what_loops_back_stays_on_this_machine(address: IPv4Address | IPv6Address) -> None:
    assert is_here(str(address)) is address.is_loopback
