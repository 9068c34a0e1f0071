"""A key that is not its certificate's is told with both files, wherever the settings name a pair."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from data_folder import data_folder
from test_links_left_out import DNO, ISO, MQTT, TABLE, TLS, VTN, crooked

from tieline.node.cli import main

MIXED = TLS.format("mixed", "authority")
EWS = '[[links.ews]]\nurl = "https://127.0.0.1:9/ews"\nzone = "America/Chicago"\nqse = "Q"\n'
EWS += 'pools = { pool-1 = { resource = "R", settlement_point = "S" } }\n'
PAIR = '{0}certificate = "{1}.pem"\n{0}key = "{1}.key"\n'
BROKER = MQTT + 'tls_authority = "authority.pem"\n' + PAIR.format("tls_", "mixed")
PAIRS = {
    "dnp3": (DNO + MIXED, "$.links.dnp3[0].tls"),
    "iso": (ISO + MIXED, "$.links.iso[0].tls"),
    "ews": (EWS + MIXED, "$.links.ews[0].tls"),
    "openadr": (VTN + MIXED, "$.links.openadr[0].tls"),
    "mqtt": (BROKER, "$.links.mqtt[0].tls_certificate, $.links.mqtt[0].tls_key"),
}


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, authority = data_folder(tmp_path_factory.mktemp("pairs"), TABLE)
    crooked(folder, authority)
    return folder


def told(works: Path, part: str) -> list[str]:
    """Return the faults that doctor names in a part."""
    done = CliRunner().invoke(main, ["doctor", "--data", str(works), "--json"])
    assert done.exit_code == 1
    return [fault["error"] for fault in json.loads(done.stdout)[part]["faults"]]


def words(works: Path) -> str:
    key, certificate = works / "mixed.key", works / "mixed.pem"
    return f"the key in {key} is not that of the certificate in {certificate}: give a certificate and its own key"


@pytest.mark.parametrize(("text", "path"), PAIRS.values(), ids=PAIRS)
def test_a_links_key_that_is_not_its_certificates_is_told_with_both_files_by_doctor_and_at_the_start(
    works: Path, text: str, path: str
) -> None:
    (works / "tieline.toml").write_text("port = 0\n" + text)
    faults = told(works, "links")
    assert faults[0] == f"{path}: {words(works)}", faults
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert done.exit_code == 0, done.output
    assert f"is left out: {path}: {words(works)}" in done.output


def test_the_consoles_key_that_is_not_its_certificates_is_refused_with_both_files_by_doctor_and_at_the_start(
    works: Path,
) -> None:
    (works / "tieline.toml").write_text("port = 0\n[tls]\n" + PAIR.format("", "mixed"))
    assert told(works, "settings") == [f"$.tls: {words(works)}"]
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert (done.exit_code, done.stderr) == (2, f"tieline: $.tls: {words(works)}\n")


@pytest.mark.parametrize("text", ["[tls]\n" + PAIR.format("", "locked"), BROKER.replace("mixed", "locked")])
def test_a_key_with_a_pass_phrase_is_told_and_nobody_is_asked_for_it(works: Path, text: str) -> None:
    """OpenSSL asks at the terminal, which a server that is started by hand has, and waits for ever."""
    (works / "tieline.toml").write_text("port = 0\n" + text)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "tieline", "doctor", "--data", str(works)])
    said = b""
    try:
        while select.select([terminal], [], [], 60.0)[0]:
            said += os.read(terminal, 65_536)
            assert b"pass phrase:" not in said.lower(), said
    except OSError:  # the terminal's other end is closed: it has ended
        pass
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert b"locked.key" in said and b"without a pass phrase" in said
    assert os.waitstatus_to_exitcode(status) == 1
