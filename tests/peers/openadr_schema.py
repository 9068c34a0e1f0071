"""Holds messages (JSON on stdin) to the official OpenAPI description of OpenADR 3.1 that the first argument names."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft4Validator

ONE = {"programs": "program", "events": "event", "reports": "report", "subscriptions": "subscription", "vens": "ven", "resources": "resource"}  # fmt: skip
official = yaml.safe_load(Path(sys.argv[1]).read_text())


def plain(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` is not JSON Schema's: said with a type of null. Its `default` and `example` say nothing."""
    if isinstance(node, list):
        return [plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: plain(value) for key, value in node.items() if key not in ("example", "default", "discriminator")}
    return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made


schemas = plain(official["components"]["schemas"])
# What the VTN answers of VENs and resources carries its own objectType; the official text makes it the request's as well.
for name, word in (("BlVenRequest", "VEN"), ("BlResourceRequest", "RESOURCE")):
    schemas[f"{name}Answered"] = json.loads(json.dumps(schemas[name]))
    schemas[f"{name}Answered"]["properties"]["objectType"]["enum"] = [word]
for name, request in (("ven", "BlVenRequest"), ("resource", "BlResourceRequest")):
    text = json.dumps(schemas[name]).replace(f"schemas/{request}", f"schemas/{request}Answered")
    schemas[name] = json.loads(text)


def fault(schema: str, body: Any) -> str:
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": schemas}}
    errors = sorted(Draft4Validator(root).iter_errors(body), key=lambda e: list(e.path))
    return "; ".join(f"{schema} at {list(e.path)}: {e.message[:300]}" for e in errors[:3])


checked, faults = 0, []
for line in json.load(sys.stdin):
    bodies = []
    if line["where"] == "hook":
        bodies.append(("notification", line["asked"]))
    elif line["kind"] in ONE:
        if line["asked"] is not None and line["status"] < 300:
            bodies.append((ONE[line["kind"]] + "Request", line["asked"]))
        if line["status"] >= 400:
            bodies.append(("problem", line["said"]))
        elif line["method"] == "GET" and not line["is_one"]:
            bodies += [(ONE[line["kind"]], thing) for thing in line["said"]]
        else:
            bodies.append((ONE[line["kind"]], line["said"]))
    elif line["kind"] == "auth":
        bodies.append(("clientCredentialResponse", line["said"]))
    for schema, body in bodies:
        checked += 1
        if wrong := fault(schema, body):
            faults.append(wrong)
print(json.dumps({"checked": checked, "faults": sorted(set(faults))}))
sys.exit(bool(faults))
