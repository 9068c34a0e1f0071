"""The VTN's own description in OpenAPI 3.1, made of the types that read its bodies, so that the two can't part."""

from __future__ import annotations

from typing import Any

import msgspec

from tieline.links.endpoint.openadr.access import READS, SCOPES, WRITES
from tieline.links.endpoint.openadr.query import FILTERS, TARGETED
from tieline.wire.openadr3.objects import KINDS, TYPES

Doc = dict[str, Any]
_PROBLEMS = {
    "400": "A body or query that can't be; the path is named",
    "401": "No valid token",
    "403": "Not allowed by scope, not one's own, or a command to a resource that the desk commands",
    "404": "None that the caller may see",
    "409": "A name that is taken, an unknown parent, a change under way, or one that gives events another meaning",
    "413": "Too large",
    "429": "Too many requests",
    "503": "It could not be kept; nothing was changed",
}
_ID = {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "minLength": 1, "maxLength": 128}
_MADE = ("id", "createdDateTime", "modificationDateTime", "objectType")


def description() -> Doc:
    """Return the description."""
    _, schemas = msgspec.json.schema_components(KINDS.values(), ref_template="#/components/schemas/{name}")
    schemas["Problem"] = {
        "type": "object", "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }  # fmt: skip
    of_field = ("field", "value", "limit")
    schemas["WrongValue"] = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "object", "required": list(of_field)}],
        "description": "Of one field of a body: its path, what stands there as JSON (cut short), and what would do",
        "properties": {name: {"type": "string"} for name in of_field},
    }  # fmt: skip
    paths: Doc = {}
    for kind, struct in KINDS.items():
        request = {"$ref": f"#/components/schemas/{struct.__name__}"}
        kept = {"allOf": [request, {"type": "object", "required": list(_MADE)}]}
        paths[f"/{kind}"] = {
            "get": _get(kind, {"type": "array", "items": kept, "maxItems": 50}, _filters(kind)),
            "post": _write(kind, "create", request, "201", kept),
        }
        by_id = [{"name": "id", "in": "path", "required": True, "schema": _ID}]
        paths[f"/{kind}/{{id}}"] = {
            "parameters": by_id,
            "get": _get(kind, kept, [], one=True),
            "put": _write(kind, "update", request, "200", kept),
            "delete": _write(kind, "delete", None, "200", kept),
        }
    paths["/auth/server"] = {"get": {"responses": {"200": _json({"type": "object", "required": ["tokenURL"]})}}}
    paths["/notifiers"] = {"get": _secured({"200": _json({"type": "object", "required": ["WEBHOOK"]})}, set())}
    flow = {"tokenUrl": "/auth/token", "scopes": dict.fromkeys(sorted(SCOPES), "")}
    return {
        "openapi": "3.1.0", "info": {"title": "OpenADR 3.1 VTN", "version": "3.1.0"}, "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"oauth": {"type": "oauth2", "flows": {"clientCredentials": flow}}},
        },
    }  # fmt: skip


def _json(schema: Doc, says: str = "OK", media: str = "application/json") -> Doc:
    return {"description": says, "content": {media: {"schema": schema}}}


def _secured(responses: Doc, scopes: set[str] | frozenset[str]) -> Doc:
    problem = {"$ref": "#/components/schemas/Problem"}
    wrong = {code: _json(problem, says, "application/problem+json") for code, says in _PROBLEMS.items()}
    security = [{"oauth": [scope]} for scope in sorted(scopes)] or [{"oauth": []}]
    return {"security": security, "responses": {**responses, **wrong}}


def _get(kind: str, schema: Doc, parameters: list[Doc], one: bool = False) -> Doc:
    name = f"read_{kind}_one" if one else f"read_{kind}"
    return {"operationId": name, "parameters": parameters, **_secured({"200": _json(schema)}, READS[kind])}


def _write(kind: str, verb: str, request: Doc | None, code: str, kept: Doc) -> Doc:
    made = {"operationId": f"{verb}_{kind}", **_secured({code: _json(kept)}, WRITES[kind])}
    if request is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": request}}}
    return made


def _filters(kind: str) -> list[Doc]:
    found = [_query(name, {"type": "string", "minLength": 1, "maxLength": 128}) for name in FILTERS[kind]]
    if kind in TARGETED:
        found.append(_query("targets", {"type": "array", "items": {"type": "string", "minLength": 1}}))
    if kind == "events":
        found.append(_query("active", {"type": "boolean"}))
    if kind == "subscriptions":
        words = {"type": "string", "enum": list(TYPES.values())}
        found.append(_query("objects", {"type": "array", "items": words}))
    found.append(_query("skip", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}))
    found.append(_query("limit", {"type": "integer", "minimum": 0, "maximum": 50}))
    return found


def _query(name: str, schema: Doc) -> Doc:
    return {"name": name, "in": "query", "required": False, "schema": schema}
