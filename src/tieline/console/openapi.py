"""The OpenAPI 3.1 document of the route table: types come from the structs that are served."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tieline.about import VERSION
from tieline.console.auth.roles import ALLOWED
from tieline.console.table import MOST_KEY, Route
from tieline.desk.screens import KEY
from tieline.resource.point import json_schema, points

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "properties": {
        key: {"type": "integer" if key == "status" else "string"}
        for key in ("type", "title", "status", "detail", "field", "value", "limit", "holder", "rule")
    },
    "required": ["type", "title", "status", "detail"],
}


_AS_OF = {
    "name": "as_of", "in": "query", "required": False, "schema": {"type": "string"},
    "description": "ns since 1970, or ISO 8601 with an offset: the view as it was known then; `/api/v1/past` says "
    "which instants are kept",
}  # fmt: skip


_ONCE = {
    "name": KEY, "in": "header", "required": False, "schema": {"type": "string", "minLength": 1, "maxLength": MOST_KEY},
    "description": "The sender's own name of this call. Sent again by the same person with the same body it is done "
    "once, and answered with what it became; with another body it is refused (422)",
}  # fmt: skip


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document of these routes."""
    types = list(dict.fromkeys([r.answer for r in routes] + [r.body for r in routes if r.body is not None]))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    if "Reading" in components:
        components["Reading"]["properties"]["point"] = {"type": "string", "enum": list(points())}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tieline", "version": VERSION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Powers in W, positive from the resource into the grid. Instants in ns since 1970, UTC. "
            "`null` says unknown. The live socket is `/api/v1/live`; send {\"topics\": [\"shell\", \"overview\"]}.",
        },
        "servers": [{"url": "/"}],
        "security": [{"session": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Points": json_schema(), "Problem": _PROBLEM},
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "tieline_session"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }  # fmt: skip


def _operation(route: Route, schema_of: dict[Any, Any]) -> dict[str, Any]:
    name = route.path.removeprefix("/api/v1/").replace("/", "_").replace("{", "").replace("}", "").replace("-", "_")
    problem = {"description": "A problem", "content": {"application/problem+json": {"schema": {
        "$ref": "#/components/schemas/Problem"}}}}  # fmt: skip
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{name}",
        "summary": route.says,
        "parameters": [
            {"name": key, "in": "path", "required": True, "schema": {"type": "string"}}
            for key in re.findall(r"{(\w+)}", route.path)
        ]
        + [
            {"name": key, "in": "query", "required": False, "description": says, "schema": {"type": "string"}}
            for key, says in route.query
        ]
        + ([_ONCE] if route.is_once else [])
        + ([_AS_OF] if route.method == "GET" and route.action is not None else []),
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": schema_of[route.answer]}}},
            "default": problem,
        },
    }
    if route.two is not None:
        found["responses"]["202"] = {
            "description": "It waits for a second person",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Waiting"}}},
        }
    if route.action is None:
        found["security"] = []
    else:
        found["x-roles"] = sorted(role.value for role in ALLOWED[route.action])
    if route.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[route.body]}}}
    return found
