"""Which calls need a body is said by the description of the API, and each is held to it in one way."""

from __future__ import annotations

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
