"""The AsyncAPI 3 document of the live socket: topics and views come from the table that is served."""

from __future__ import annotations

from typing import Any

import msgspec

from tieline.about import VERSION
from tieline.console.auth.roles import ALLOWED
from tieline.console.live import NAMED, PLAIN, VIEWS, Subscribe

_REF = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """Return the document of the socket."""
    views = {topic: VIEWS[topic.partition(":")[0]] for topic in [*PLAIN, *(f"{word}:ID" for word in NAMED)]}
    types = list(dict.fromkeys([Subscribe, *views.values()]))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip((str(kind) for kind in types), schemas, strict=True))
    messages = {_name(topic): _message(topic, schema_of[str(kind)]) for topic, kind in views.items()}
    live = "#/channels/live"
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tieline live", "version": VERSION, "license": {"name": "Apache-2.0"},
            "description": "One socket a browser. Send the topics that are shown; each comes when it changed, the "
            "newest alone, never a backlog. A reader that takes nothing for 10 s is cut off. Powers in W, positive "
            "from the resource into the grid; instants in ns since 1970, UTC; null says unknown.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "live": {
                "address": "/api/v1/live",
                "messages": {
                    "subscribe": {"$ref": "#/components/messages/subscribe"},
                    "problem": {"$ref": "#/components/messages/problem"},
                    **{name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                },
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "subscribe": {
                "action": "receive", "channel": {"$ref": live}, "summary": "Name the topics to be shown",
                "messages": [{"$ref": f"{live}/messages/subscribe"}],
            },
            "show": {
                "action": "send", "channel": {"$ref": live}, "summary": "A view that changed",
                "messages": [{"$ref": f"{live}/messages/{name}"} for name in ["problem", *messages]],
            },
        },
        "components": {
            "schemas": components,
            "messages": {
                "subscribe": {"payload": schema_of[str(Subscribe)]},
                "problem": {"payload": _told({"type": "string"}, "problem"), "summary": "Why a topic isn't shown"},
                **messages,
            },
            "securitySchemes": {
                "session": {"type": "httpApiKey", "in": "cookie", "name": "tieline_session"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }  # fmt: skip


def _name(topic: str) -> str:
    return topic.partition(":")[0]


def _told(schema: dict[str, Any], key: str, topic: str = "") -> dict[str, Any]:
    named = {"const": topic} if topic and ":" not in topic else {"type": "string"}
    return {"type": "object", "properties": {"topic": named, key: schema}, "required": ["topic", key]}


def _message(topic: str, schema: dict[str, Any]) -> dict[str, Any]:
    word = _name(topic)
    action = PLAIN.get(topic) or NAMED[word]
    found: dict[str, Any] = {
        "summary": f"Topic {topic}", "payload": _told(schema, "view", topic),
        "x-roles": sorted(role.value for role in ALLOWED[action]),
    }  # fmt: skip
    if word == "fleet":
        found["contentType"] = "application/octet-stream"
        found["description"] = (
            "Bytes: 4 with the length of a JSON head (little endian), the head (topic, revision, now_ns, groups), then "
            "a state and a loading for each cell."
        )
        found["payload"] = {"type": "string", "contentEncoding": "binary"}
    return found
