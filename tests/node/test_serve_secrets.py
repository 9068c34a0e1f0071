"""No secret leaves a server but to whom it is for: not in its log at any level, not in /metrics, not in its journal."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from pathlib import Path

import httpx
from click.testing import CliRunner

from ports import free_port
from tieline.links.endpoint.openadr.access import secret_digest
from tieline.node.cli import main

SETTINGS = """
name = "works"
port = 0

[[links.openadr]]
port = {port}
resources = ["b1"]
callbacks = ["http://127.0.0.1:{hook}/"]
clients = [
  {{ id = "b1", secret_sha256 = "{ven}" }},
  {{ id = "bl", secret_sha256 = "{bl}", scopes = ["read_all", "write_programs", "write_events", "write_subscriptions"] }},
]
"""
PASSWORD, WRONG, VEN, BL, HOOK = (
    "a long pass phrase",
    "not the pass phrase",
    "ven-secret-1",
    "bl-secret-2",
    "hook-bearer-3",
)
LOUD = (  # every line that the server and its libraries could log, at its lowest level
    "import atexit, logging, structlog, tieline.node.demo as demo; logging.basicConfig(level=logging.DEBUG); "
    "atexit.register(lambda: logging.getLogger('aiohttp.client').debug('loud to the end')); "
    "demo.quiet = lambda *_: structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0)); "
    "from tieline.node.cli import main; main()"
)


async def use_all(url: str, enrolment: str, vtn: str, hook: str) -> tuple[set[str], str]:
    """Sign in, ask for tokens, subscribe with a bearer, rightly and wrongly; return all secrets in play and /metrics."""
    secrets = {enrolment, PASSWORD, WRONG, VEN, BL}
    async with httpx.AsyncClient(timeout=60.0) as http:
        assert (
            await http.post(f"{url}/api/v1/enrol", json={"secret": enrolment, "password": PASSWORD})
        ).status_code == 200
        name = (await http.get(f"{url}/api/v1/me")).json()["name"]
        assert (await http.post(f"{url}/api/v1/sign-in", json={"name": name, "password": WRONG})).status_code == 401
        assert (await http.post(f"{url}/api/v1/sign-in", json={"name": name, "password": PASSWORD})).status_code == 200
        secrets |= {cookie.value for cookie in http.cookies.jar if cookie.value}
        made = await http.post(f"{url}/api/v1/accounts/{name}/tokens")
        assert made.status_code == 200, made.text
        secrets.add(made.json()["secret"])
        for bearer in (made.json()["secret"], "bearer-of-nobody-4"):
            await httpx.AsyncClient(timeout=60).get(f"{url}/api/v1/me", headers={"authorization": f"Bearer {bearer}"})
        secrets.add("bearer-of-nobody-4")
        tokens = {}
        for client, secret in (("b1", VEN), ("bl", BL)):
            form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
            tokens[client] = (await http.post(f"{vtn}/auth/token", data=form)).json()["access_token"]
            wrong = {**form, "client_secret": "wrong-secret-5"}
            assert (await http.post(f"{vtn}/auth/token", data=wrong)).status_code == 401
        basic = base64.b64encode(f"b1:{VEN}".encode()).decode()
        by_basic = await http.post(
            f"{vtn}/auth/token", data={"grant_type": "client_credentials"}, headers={"authorization": f"Basic {basic}"}
        )
        secrets |= {*tokens.values(), by_basic.json()["access_token"], basic, "wrong-secret-5"}
        as_bl = {"authorization": f"Bearer {tokens['bl']}"}
        wish = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": hook, "bearerToken": HOOK}
        asked = {"clientName": "bl", "objectOperations": [wish]}
        assert (await http.post(f"{vtn}/subscriptions", json=asked, headers=as_bl)).status_code == 201
        for spoiled in (
            {**asked, "objectOperations": [{**wish, "callbackUrl": "http://elsewhere/"}]},
            {**asked, "x": 1},
        ):
            assert (await http.post(f"{vtn}/subscriptions", json=spoiled, headers=as_bl)).status_code in (400, 403)
        program = (await http.post(f"{vtn}/programs", json={"programName": "p"}, headers=as_bl)).json()
        event = {"programID": program["id"], "eventName": "e", "intervals": []}
        assert (await http.post(f"{vtn}/events", json=event, headers=as_bl)).status_code == 201
        await asyncio.sleep(2.0)
        metrics = await http.get(f"{url}/metrics")
        assert metrics.status_code == 200 and "tieline_" in metrics.text
        return secrets, metrics.text


def test_no_secret_stands_in_a_log_in_the_metrics_or_in_the_journal(tmp_path: Path) -> None:
    run, folder, table = CliRunner(), tmp_path / "works", tmp_path / "t.csv"
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    table.write_text("id,kind,max_inject_w,max_absorb_w\nb1,battery,5000,5000\n")
    assert run.invoke(main, ["import", str(table), "--data", str(folder)]).exit_code == 0
    heard: list[str] = []

    async def play() -> tuple[set[str], str, str]:
        async def hook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head.decode().lower())
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        callback = await asyncio.start_server(hook, "127.0.0.1", 0)
        hook_port, vtn_port = callback.sockets[0].getsockname()[1], free_port()
        digests = {"ven": secret_digest(VEN), "bl": secret_digest(BL)}
        (folder / "tieline.toml").write_text(SETTINGS.format(port=vtn_port, hook=hook_port, **digests))
        pipe = subprocess.PIPE
        words = [sys.executable, "-c", LOUD, "serve", "--data", str(folder)]
        child = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe)
        assert child.stdout and child.stderr
        errors = asyncio.create_task(child.stderr.read())
        said: list[str] = []
        try:
            async with asyncio.timeout(120):
                while not said or "one-time link" not in said[-1]:
                    line = await child.stdout.readline()
                    assert line, (await errors).decode()
                    said.append(line.decode())
            url, enrolment = said[-1].split()[-1].split("/enrol#")
            where = f"http://127.0.0.1:{hook_port}/hook"
            secrets, metrics = await use_all(url, enrolment, f"http://127.0.0.1:{vtn_port}", where)
        finally:
            child.terminate()
            out, err = (await child.stdout.read()).decode(), (await errors).decode()
            await child.wait()
            callback.close()
        # The link that lets the first person in is told on standard output once, and nowhere else.
        return secrets, metrics, out + err + "".join(line for line in said if "one-time link" not in line)

    secrets, metrics, logged = asyncio.run(play())
    assert any(f"authorization: bearer {HOOK}" in head for head in heard)
    assert "DEBUG:aiohttp.client:loud to the end" in logged, "the log was not loud, so that its silence proves nothing"
    records = b"".join(path.read_bytes() for path in folder.glob("journal.db*"))
    assert b"sign in" in records
    for secret in secrets:
        assert secret not in logged, secret
        assert secret not in metrics, secret
        assert secret.encode() not in records, secret
    assert HOOK not in logged and HOOK not in metrics  # kept in the journal, as webhooks are served after a restart
