"""Certificates of the VTN's clients, asked of `tieline serve` over real TLS sockets: the right one, a wrong one, none."""

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from test_serve_links import served

from ports import free_port
from tieline.node.cli import main
from tieline.rim.certificates import Authority, Files
from tieline.rim.clock import SystemClock

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
"""
VTN = """
port = 0
[[links.openadr]]
port = {port}
resources = ["battery-1", "battery-2"]
tls = {{ certificate = "vtn.pem", key = "vtn.key", authority = "authority.pem" }}
"""
CLIENT = """[[links.openadr.clients]]
id = "{id}"
secret_sha256 = "{digest}"
resource = "{resource}"
"""


@dataclass
class Desk:
    """A served VTN with two clients, and the machines that know them."""

    url: str
    machines: dict[str, Files]
    secrets: dict[str, str]
    authority: Path

    def machine(self, name: str) -> httpx.AsyncClient:
        """Return a machine that shows its certificate; one without a name shows none."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if name:
            context.load_cert_chain(self.machines[name].certificate, self.machines[name].key)
        return httpx.AsyncClient(base_url=self.url, verify=context, timeout=20)

    async def token(self, client: str, machine: str) -> tuple[int, dict[str, Any]]:
        """Return what the token route answers a client's right id and secret that come from a machine."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": self.secrets[client]}
        async with self.machine(machine) as http:
            answer = await http.post("/auth/token", data=form)
        return answer.status_code, answer.json()

    async def use(self, token: str, machine: str) -> int:
        """Return how a read of the VENs with a token is answered a machine."""
        async with self.machine(machine) as http:
            return (await http.get("/vens", headers={"authorization": f"Bearer {token}"})).status_code


def play(tmp_path: Path, pinned: tuple[str, ...], scene: Callable[[Desk], Awaitable[None]]) -> None:
    run, folder = CliRunner(), tmp_path / "works"
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    authority = Authority(folder, SystemClock())
    authority.issue("vtn", "127.0.0.1")
    machines = {name: authority.issue(name) for name in ("ven-1", "ven-2", "stranger")}
    made = {name: json.loads(run.invoke(main, ["credential", name, "--json"]).output) for name in ("ven-1", "ven-2")}
    port = free_port()
    text = VTN.format(port=port)
    for name, credential in made.items():
        resource = name.replace("ven", "battery")
        text += CLIENT.format(id=name, digest=credential["secret_sha256"], resource=resource)
        text += f'certificate = "{machines[name].fingerprint}"\n' if name in pinned else ""
    (folder / "tieline.toml").write_text(text)
    secrets = {name: credential["secret"] for name, credential in made.items()}

    async def main_() -> None:
        async with served(folder):
            await scene(Desk(f"https://127.0.0.1:{port}", machines, secrets, authority.file))

    asyncio.run(main_())


def test_a_pinned_clients_secret_and_token_count_over_its_own_certificate_alone(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        status, own = await desk.token("ven-1", "ven-1")
        assert status == 200
        assert await desk.use(own["access_token"], "ven-1") == 200
        # another client's machine, as good for the authority, and known to this VTN
        assert await desk.use(own["access_token"], "ven-2") == 401
        status, refused = await desk.token("ven-1", "ven-2")
        assert (status, refused.get("error")) == (401, "invalid_client")  # RFC 6749, 5.2; RFC 8705, 2.1
        with pytest.raises(httpx.TransportError):
            await desk.token("ven-1", "")

    play(tmp_path, ("ven-1", "ven-2"), scene)


def test_a_client_without_a_pin_is_served_beside_a_pinned_one(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        for machine in ("ven-2", "stranger"):
            status, own = await desk.token("ven-2", machine)
            assert status == 200, own
            assert await desk.use(own["access_token"], machine) == 200
        # RFC 8705, 3: without a pin too a token is bound to the certificate that it was given over
        assert await desk.use(own["access_token"], "ven-2") == 401
        assert (await desk.token("ven-1", "stranger"))[0] == 401
        with pytest.raises(httpx.TransportError):
            await desk.use(own["access_token"], "")

    play(tmp_path, ("ven-1",), scene)


def test_a_token_carries_the_thumbprint_of_its_certificate(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        _, own = await desk.token("ven-1", "ven-1")
        body = own["access_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        # RFC 8705, 3.1: base64url of the SHA-256 of the certificate's DER, without padding
        held = base64.urlsafe_b64decode(claims["cnf"]["x5t#S256"] + "=")
        assert "sha256:" + held.hex() == desk.machines["ven-1"].fingerprint

    play(tmp_path, ("ven-1", "ven-2"), scene)


def test_where_all_clients_are_pinned_a_stranger_is_cut_off_before_it_says_a_word(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        async with desk.machine("stranger") as http:
            with pytest.raises(httpx.TransportError):
                await http.get("/auth/server")

    play(tmp_path, ("ven-1", "ven-2"), scene)
