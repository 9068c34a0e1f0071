"""Programs by other hands drive our VTN over real sockets, and every message of ours is held to the official schema."""

import asyncio
import json
import math
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from openadr_room import Room, raise_room

from tieline.errors import ConfigError
from tieline.links.endpoint.openadr.commanding import COMMANDS, INFORMS
from tieline.links.endpoint.openadr.listen import serve_vtn
from tieline.links.endpoint.openadr.openapi import description
from tieline.rim.certificates import Authority
from tieline.rim.http import Answer
from tieline.rim.supervise import Supervisor
from tieline.store.journal import SqliteJournal

ROOT = Path(__file__).parents[2]
ELAAD = ROOT / ".venv-peers-openadr" / "bin" / "python"
OA3 = ROOT / ".venv-peers-oa3" / "bin" / "python"
# The official description is not ours to hand on: who has it names the file.
OFFICIAL = Path(os.environ.get("OPENADR_YAML", "/nowhere"))


class WallClock:
    def now_ns(self) -> int:
        return time.time_ns()


def on_sockets(path: Path, scene: Callable[[Room], Awaitable[Any]], **how: Any) -> Any:
    async def main() -> Any:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            room = await raise_room(WallClock(), supervisor, SqliteJournal(path / "j"), **how)
            try:
                return await scene(room)
            finally:
                room.link.stop()
                room.ven.stop()
                room.server.close()

    return asyncio.run(main())


async def run(python: Path, *words: str, stdin: bytes | None = None, cwd: Path = ROOT) -> tuple[int, str, str]:
    peer = await asyncio.create_subprocess_exec(
        str(python), *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ, OAUTHLIB_INSECURE_TRANSPORT="1"), cwd=cwd,
    )  # fmt: skip
    out, err = await peer.communicate(stdin)
    assert peer.returncode is not None
    return peer.returncode, out.decode(), err.decode()


async def peer(room: Room, python: Path, script: str) -> dict[str, Any]:
    code, out, err = await run(python, str(ROOT / "tests" / "peers" / script), room.url)
    assert code == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.interop
@pytest.mark.skipif(not ELAAD.exists(), reason="no peer: run `make peers-openadr` (needs Python 3.12 or newer)")
def test_openadr3_client_works_our_vtn_over_all_six_kinds_and_our_ven_follows_its_event(tmp_path: Path) -> None:
    async def scene(room: Room) -> dict:
        await asyncio.sleep(0.5)
        return await peer(room, ELAAD, "openadr_client.py")

    # The VEN that follows an event of this client is none of the desk's: whom the desk commands obeys it alone.
    assert on_sockets(tmp_path, scene, is_bound=False) == {
        "program": "peer-program-2", "twice": "409", "programs_seen_by_ven": ["peer-program-2", "tieline-dispatch"],
        "ven": ["site-6", "site-6"], "granted": ["street-1"], "kept": ["street-1"], "resource": ["battery-2", "site-6"],
        "subscription": "site-6-again", "subscriptions": 1,
        "events_seen_by_ven": [["shed", ["street-1"], 0]], "unasked": [], "value": 2, "minutes": 15.0,
        "reports": [["r2", "site-6", 1.5]], "our_ven": ["site-5", -1.25, "CURTAILED"],
        "in_watts": [0.002, "409", "done"], "vens": ["site-5", "site-6"],
        "resources": ["battery-2", "site-5"],
        "webhook": [["Bearer peer-token", "EVENT", word, ["street-1"]] for word in ("CREATE", "UPDATE", "DELETE")],
        "after_delete": 0,
    }  # fmt: skip


@pytest.mark.interop
@pytest.mark.skipif(not OA3.exists(), reason="no peer: run `make peers-oa3`")
def test_python_oa3_client_registers_subscribes_and_takes_our_webhooks(tmp_path: Path) -> None:
    async def scene(room: Room) -> dict:
        return await peer(room, OA3, "openadr_oa3.py")

    assert on_sockets(tmp_path, scene, keep_ven=False) == {
        "ven": "site-6", "notifiers": {"WEBHOOK": True}, "polled": [["price 2", 3]], "reports": 1,
        "all": ["price 2", "telemetry"],
        "webhook": ["CREATE", "UPDATE", "DELETE"], "coerced": ["Notification"] * 3,
    }  # fmt: skip


@pytest.mark.interop
@pytest.mark.skipif(not OA3.exists(), reason="no peer: run `make peers-oa3`")
def test_python_oa3_client_can_t_command_a_battery_of_the_desk_by_an_event_of_its_own(tmp_path: Path) -> None:
    async def scene(room: Room) -> tuple[dict[str, Any], bool]:
        await asyncio.sleep(0.5)
        answers = await peer(room, OA3, "openadr_commands.py")
        await asyncio.sleep(2)
        return answers, all(math.isnan(hold.target_w) for hold in room.site.holds)

    answers, is_free = on_sockets(tmp_path, scene)
    assert answers == {
        "named": [403, "$.targets[0]", '"site-5"'], "group": [403, "$.targets[1]", '"street-1"'],
        "everybody": [403, "$.targets", "null"], "far": [201], "too much": [403, "$.targets[0]", '"site-5"'],
        "limit": [403, "$.targets[0]", '"site-5"'], "price": [201],
        "price changed": [403, "$.targets[0]", '"site-5"'], "kept": True,
    }  # fmt: skip
    assert is_free


@pytest.mark.interop
@pytest.mark.skipif(not ELAAD.exists(), reason="no peer: run `make peers-openadr` (needs Python 3.12 or newer)")
def test_of_all_payload_types_that_openadr3_client_knows_those_that_command_reach_no_battery_of_the_desk(
    tmp_path: Path,
) -> None:
    async def scene(room: Room) -> tuple[dict[str, Any], bool]:
        await asyncio.sleep(0.5)
        answers = await peer(room, ELAAD, "openadr_bound.py")
        await asyncio.sleep(2)
        return answers, all(math.isnan(hold.target_w) for hold in room.site.holds)

    answers, is_free = on_sockets(tmp_path, scene)
    assert is_free
    assert {name for name in answers["far"] if answers["far"][name] != "done"} == {"CURVE"}
    assert set(answers["far"]) == COMMANDS | INFORMS  # no type of the standard is in neither, or in both
    assert not COMMANDS & INFORMS
    assert {name for name, answer in answers["site-5"].items() if answer == "403"} == COMMANDS - {"CURVE"}
    assert {name for name, answer in answers["site-5"].items() if answer == "done"} == INFORMS


@pytest.mark.long
@pytest.mark.interop
@pytest.mark.skipif(not OA3.exists(), reason="no schemathesis: run `make peers-oa3`")
def test_calls_made_up_from_our_own_description_meet_no_server_error_and_no_undescribed_answer(tmp_path: Path) -> None:
    found = {}

    async def scene(room: Room) -> None:
        token = (await room.token("bl"))["authorization"]
        code, out, err = await run(
            OA3.parent / "schemathesis", "run", room.url + "/openapi.json", "-H", f"Authorization: {token}",
            "--max-examples", "10", "--seed", "1", "--no-color", "--phases", "examples,coverage,fuzzing",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            cwd=tmp_path,
        )  # fmt: skip
        found["out"], found["code"] = out + err, code

    on_sockets(tmp_path, scene, keep_ven=False)
    assert found["code"] == 0, found["out"][-6000:]


def test_the_description_names_every_scope_and_every_kind() -> None:
    doc = description()
    assert doc["paths"]["/events"]["get"]["security"] == [{"oauth": ["read_all"]}, {"oauth": ["read_targets"]}]
    assert doc["paths"]["/vens"]["get"]["security"] == [{"oauth": ["read_all"]}, {"oauth": ["read_ven_objects"]}]
    scopes = doc["components"]["securitySchemes"]["oauth"]["flows"]["clientCredentials"]["scopes"]
    assert {"read_all", "read_targets", "read_ven_objects", "write_reports"} <= set(scopes)


@pytest.mark.interop
@pytest.mark.skipif(
    not (OFFICIAL.exists() and OA3.exists()), reason="set OPENADR_YAML to the official openadr3.yaml, 3.1"
)
def test_every_message_of_vtn_and_ven_is_what_the_official_description_says(tmp_path: Path) -> None:
    lines: list[dict] = []

    async def scene(room: Room) -> None:
        def note(where: str, method: str, path: str, status: int, asked: bytes, said: bytes) -> None:
            kind = path.split("?")[0].strip("/").split("/")
            lines.append({
                "where": where, "method": method, "kind": kind[0], "is_one": len(kind) > 1, "status": status,
                "asked": json.loads(asked) if asked and kind[0] != "auth" else None, "said": json.loads(said) if said else None,
            })  # fmt: skip

        await watch(room, note)
        room.ven_task = room.supervisor.keep("ven", room.ven.run)
        await asyncio.sleep(1)
        for target_w in (-3_000.0, 1_500.0, float("nan")):
            await room.command(target_w, wait_s=1.5)
        for kind in ("programs", "events", "vens", "resources", "reports", "subscriptions"):
            await room.call("bl", "GET", f"/{kind}")
        await room.call("bl", "POST", "/programs", {})
        await room.call("site-6", "GET", "/events/none")
        ven = room.vtn.book.named("vens", "site-5")
        await room.call(
            "bl",
            "POST",
            "/resources",
            {"objectType": "BL_RESOURCE_REQUEST", "clientID": "site-5", "resourceName": "r", "venID": ven["id"]},
        )

    on_sockets(tmp_path, scene, keep_ven=False)
    kinds = {(line["where"], line["method"], line["kind"]) for line in lines}
    assert {("vtn", "POST", "reports"), ("vtn", "GET", "events"), ("hook", "POST", "callback")} <= kinds
    script = str(ROOT / "tests" / "peers" / "openadr_schema.py")
    code, out, err = asyncio.run(run(OA3, script, str(OFFICIAL), stdin=json.dumps(lines).encode()))
    assert code == 0, (out + err)[-4000:]
    assert json.loads(out)["checked"] > 40


async def watch(room: Room, note: Callable[..., None]) -> None:
    """Note each request and answer of the clients of the tests and of VEN and webhooks."""
    real, ours = room.http._transport.handle_async_request, room.ours.call

    async def noted(request: httpx.Request) -> httpx.Response:
        asked = await request.aread()
        answer = await real(request)
        said = await answer.aread()
        where = "hook" if request.url.path == "/callback" else "vtn"
        note(where, request.method, request.url.path, answer.status_code, asked, said)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=httpx.ByteStream(said), request=request
        )

    async def noted_ours(method: str, url: str, *, content: bytes | None = None, **how: Any) -> Answer:
        answer = await ours(method, url, content=content, **how)
        path = urlsplit(url).path
        note("hook" if path == "/callback" else "vtn", method, path, answer.status, content or b"", answer.body)
        return answer

    room.http._transport.handle_async_request = noted  # type: ignore[method-assign]
    room.ours.call = noted_ours  # type: ignore[method-assign]


# --- TLS ----------------------------------------------------------------------------------------------------------------


def test_off_loopback_there_is_no_vtn_without_tls() -> None:
    with pytest.raises(ConfigError, match=r"\$\.links\.openadr\.tls"):
        asyncio.run(serve_vtn(None, "0.0.0.0", 0))


def test_over_tls_only_a_certificate_on_the_list_gets_in(tmp_path: Path) -> None:
    authority = Authority(tmp_path, WallClock())
    ours = authority.issue("vtn", "localhost", "127.0.0.1")
    known, stranger = authority.issue("ven-1"), authority.issue("ven-2")
    found = {}

    async def scene(room: Room) -> None:
        allowed = {known.fingerprint}
        server = await serve_vtn(room.vtn.app, "127.0.0.1", 0, ours, allowed)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/auth/server"
        for name, files in (("known", known), ("stranger", stranger), ("none", None)):
            context = ssl.create_default_context(cafile=str(ours.authority))
            if files is not None:
                context.load_cert_chain(files.certificate, files.key)
            async with httpx.AsyncClient(verify=context) as http:
                try:
                    found[name] = (await http.get(url)).status_code
                except httpx.HTTPError:
                    found[name] = "cut"
                if name == "known":
                    allowed.clear()
                    allowed.add("sha256:" + "0" * 64)  # revoked: the next connection is cut
            if name == "known":
                async with httpx.AsyncClient(verify=context) as http:
                    try:
                        found["revoked"] = (await http.get(url)).status_code
                    except httpx.HTTPError:
                        found["revoked"] = "cut"
                allowed.add(known.fingerprint)
        server.close()

    on_sockets(tmp_path, scene, keep_ven=False)
    assert found == {"known": 200, "revoked": "cut", "stranger": "cut", "none": "cut"}
