"""No peer without a secret: who leaves it out is refused when the settings are read, with the field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.errors import ConfigError, PeerError
from tieline.links.device.mqtt.link import MqttSettings, hello
from tieline.links.endpoint.openadr.access import Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.ven_client import VenClient
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual

SETTINGS = """
[[peers]]
name = {peer}

[[links.openadr]]
resources = ["b1"]
clients = [{{ id = {client}, secret_sha256 = {digest}, resource = "b1" }}]
"""
GOOD = secret_digest("a long and random secret")


@pytest.mark.parametrize("name", ["", " ", "a b", 'ven"1', "ven/1", "x" * 129])
def test_a_credential_needs_a_name_that_settings_can_hold(name: str) -> None:
    run = CliRunner().invoke(main, ["credential", "--", name])
    assert run.exit_code == 2
    assert f"NAME = {name!r}: give 1 to 128 of" in run.stderr
    assert "secret" not in run.stdout


@pytest.mark.parametrize("as_json", [True, False])
def test_what_a_credential_says_next_is_toml_that_settings_take(tmp_path: Path, as_json: bool) -> None:
    run = CliRunner().invoke(main, ["credential", "ven-1", *(["--json"] if as_json else [])])
    text = json.loads(run.stdout)["next"] if as_json else run.stdout.partition("next: ")[2]
    (tmp_path / "tieline.toml").write_text(text + "\n")
    (link,) = load_config(tmp_path / "tieline.toml").links.openadr
    assert [client.id for client in link.clients] == ["ven-1"]


@pytest.mark.parametrize(
    ("client", "digest", "says"),
    [
        ("", GOOD, r"\.id = '': give 1 to 128 of"),
        ("ven-1", "", r"\.secret_sha256 = '': give the 64 hex digits"),
        ("ven-1", "secret", r"\.secret_sha256 = 'secret': give the 64 hex digits"),
        ("ven-1", GOOD.upper(), r"\.secret_sha256 = .*: give the 64 hex digits"),
        ("ven-1", secret_digest(""), r"\.secret_sha256 is the digest of an empty secret"),
    ],
)
def test_a_client_without_a_name_or_a_secret_is_refused_with_the_field(
    tmp_path: Path, client: str, digest: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Tokens({"ven-1": Client(client, digest, frozenset())}, b"k" * 32, SystemClock())
    run, folder, table = CliRunner(), tmp_path / "works", tmp_path / "t.csv"
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    table.write_text("id,kind\nb1,battery\n")
    assert run.invoke(main, ["import", str(table), "--data", str(folder)]).exit_code == 0
    (folder / "tieline.toml").write_text(SETTINGS.format(peer='"op"', client=f'"{client}"', digest=f'"{digest}"'))
    seen = run.invoke(main, ["doctor", "--data", str(folder)])
    assert seen.exit_code == 1
    assert "$.links.openadr[0].clients[0]." in seen.output


def test_a_peer_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tieline.toml"
    path.write_text(SETTINGS.format(peer='""', client='"b1"', digest=f'"{GOOD}"'))
    with pytest.raises(ConfigError, match=r"name '' at \$\.peers\[0\]\.name"):
        load_config(path)


@pytest.mark.parametrize(("client", "secret", "field"), [("", "s", "client_id"), ("ven-1", "", "client_secret")])
def test_a_ven_asks_for_no_token_without_a_secret(client: str, secret: str, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"\$\.ven\.{field} is empty"):
        VenClient("https://vtn.example", client, secret, HttpClient(), SystemClock(), 10.0)


def test_a_url_that_names_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match=r"\$\.ven\.url: names a user or password") as refused:
        VenClient("https://me:hush@vtn.example", "ven-1", "s", HttpClient(), SystemClock(), 10.0)
    assert "hush" not in str(refused.value)


def test_a_vtn_that_repeats_what_it_was_sent_does_not_put_our_secret_into_an_error() -> None:
    async def echo(request: Request) -> Response:
        return Response(b"bad form: " + await request.body(), status_code=400)

    async def ask(loop: VirtualLoop) -> None:
        await serve_asgi(Starlette(routes=[Route("/auth/token", echo, methods=["POST"])]), "127.0.0.1", 8080)
        async with HttpClient() as http:
            url = "http://127.0.0.1:8080"
            await VenClient(url, "ven-1", "hush-hush", http, VirtualClock(loop, 0), 10.0).get_all("events")

    with pytest.raises(PeerError, match=r"POST /auth/token: 400: is client_id or client_secret wrong") as refused:
        run_virtual(ask)
    assert "hush-hush" not in str(refused.value)


def test_a_password_file_that_is_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("\n")
    with pytest.raises(ConfigError, match=r"\$\.mqtt\.password_file = .*: is empty"):
        hello(MqttSettings("127.0.0.1", 1883, {}, user="tieline", password_file=str(path)))
