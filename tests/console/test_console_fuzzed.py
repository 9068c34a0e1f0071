"""The API by its own description: whatever a client sends that the document allows or forbids, no answer is our fault."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from console_stage import Running
from hypothesis import HealthCheck, Phase, given, settings
from websockets.sync.client import connect

from tieline.console import openapi
from tieline.console.asyncapi import document
from tieline.console.live import NAMED, PLAIN
from tieline.console.routes import ROUTES

EXAMPLES = 20


SCHEMA = schemathesis.openapi.from_dict(msgspec.json.decode(msgspec.json.encode(openapi.document(ROUTES))))
OPEN = {f"{route.method} {route.path}" for route in ROUTES if route.action is None}
ENDS = ("sign-out", "/close", "/tokens")
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if not found.ok().path.endswith(ENDS)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_of_the_description_makes_a_server_error(operation, running: Running) -> None:
    """Requests made by schemathesis; acts too, so it comes last."""
    session = f"tieline_session={running.cookies['ann']}"
    is_open = operation.label in OPEN

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy())
    def asked(case) -> None:
        kept = {k: value for k, value in (case.headers or {}).items() if k.lower() not in ("authorization", "cookie")}
        case.headers, case.cookies = {**kept, "cookie": session}, {}
        answer = case.call(base_url=running.url)
        assert answer.status_code < 500, answer.text
        assert is_open or answer.status_code != 401
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0].startswith("application/problem+json")
            assert json.loads(answer.text)["status"] == answer.status_code

    asked()


def test_what_the_live_socket_sends_is_what_its_description_says(running: Running) -> None:
    """Each topic's message is valid by the schema of the AsyncAPI document, judged by an independent validator."""
    described = document()
    assert described["asyncapi"] == "3.0.0"
    resource = running.stage.node.state.fleet.ids[0]
    names = {"feeder": "feeder-01", "resource": resource}
    topics = [topic for topic in PLAIN if topic != "fleet"] + [f"{word}:{names[word]}" for word in NAMED]
    url = running.url.replace("http", "ws") + "/api/v1/live"
    cookie = {"cookie": f"tieline_session={running.cookies['ann']}"}
    waiting = set(topics)
    with connect(url, additional_headers=cookie, max_size=None) as socket:
        socket.send(json.dumps({"topics": topics}))
        while waiting:
            message = json.loads(socket.recv(60))
            assert "problem" not in message, message
            word = message["topic"].partition(":")[0]
            payload = described["components"]["messages"][word]["payload"]
            jsonschema_rs.validator_for({**payload, "components": described["components"]}).validate(message)
            waiting.discard(message["topic"])


def test_every_reference_of_the_descriptions_leads_somewhere(running: Running) -> None:
    with running.client(None) as client:
        documents = [client.get(f"/api/v1/{name}.json").json() for name in ("openapi", "asyncapi")]
    for found in documents:
        for reference in _references(found):
            place = found
            for part in reference.removeprefix("#/").split("/"):
                place = place[part.replace("~1", "/")]


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
