"""Which calls need a body is said by the description of the API, and each is held to it in one way."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from console_stage import Running

from tieline.console import openapi
from tieline.console.auth.roles import Role
from tieline.console.routes import ROUTES

DESCRIBED = msgspec.json.decode(msgspec.json.encode(openapi.document(ROUTES)))["paths"]
POSTS = [(path, whole["post"]) for path, whole in DESCRIBED.items() if "post" in whole and "sign-out" not in path]
"""All but the one that would end the session of the others' test, which has one of its own."""


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[httpx.Client]:
    """Somebody who may do everything; signed out and closed with the module."""
    secret = running.console.accounts.invite("dora", list(Role), sets_password=False, scope=("nothing",))
    with running.client(None) as found:
        found.post("/api/v1/enrol", json={"secret": secret}).raise_for_status()
        yield found


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain"])
@pytest.mark.parametrize(("path", "described"), POSTS, ids=[path for path, _ in POSTS])
def test_a_call_without_a_body_is_refused_where_one_is_required_and_nowhere_else(
    client: httpx.Client, path: str, described: dict[str, Any], content_type: str
) -> None:
    for parameter in described["parameters"]:
        path = path.replace(f"{{{parameter['name']}}}", "nothing")
    answer = client.post(path, headers={"content-type": content_type} if content_type else {})
    said = answer.json()
    is_refused = (answer.status_code, said.get("field"), said.get("detail")) == (422, "body", "this call needs a body")
    assert is_refused is ("requestBody" in described), answer.text
    assert answer.status_code not in (400, 401, 403, 415), answer.text
    if is_refused:
        assert described["requestBody"]["required"] is True


def test_one_signs_out_without_a_body(running: Running) -> None:
    secret = running.console.accounts.invite("dorothy", [Role.VIEWER])
    with running.client(None) as found:
        found.post("/api/v1/enrol", json={"secret": secret, "password": "a long pass phrase"}).raise_for_status()
        assert found.post("/api/v1/sign-out").status_code == 200


def test_who_hangs_up_in_the_midst_of_a_body_leaves_no_trace_of_a_fault_in_the_log(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    url = httpx.URL(running.url)
    head = f"POST /api/v1/sign-in HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Type: application/json\r\n"
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            with socket.create_connection((url.host, url.port or 80)) as line:
                line.sendall(f'{head}Transfer-Encoding: chunked\r\n\r\n40\r\n{{"name":'.encode())
        time.sleep(1.0)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
    with running.client("viewer") as client:
        assert client.get("/api/v1/me").status_code == 200
