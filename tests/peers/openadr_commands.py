"""A client by other hands (python-oa3-client) asks powers of a battery that the desk commands, in every way it finds."""

import json
import sys

from openadr3_client.bl import BlClient

url = sys.argv[1]
found: dict = {}
NOW = {"start": "0001-01-01T00:00:00Z", "duration": "PT15M"}
UNITS = [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT", "units": "KW"}]


def event(program: str, kind: str, value: float, targets: list[str] | None = None) -> dict:
    said = {"programID": program, "priority": 0, "intervalPeriod": NOW, "payloadDescriptors": UNITS}
    said["intervals"] = [{"id": 0, "payloads": [{"type": kind, "values": [value]}]}]
    return said if targets is None else {**said, "targets": targets}


with BlClient(url=url, client_id="bl", client_secret="secret-of-bl") as bl:

    def said(response) -> list:
        body = response.json()
        return [response.status_code, *(body.get(name) for name in ("field", "value") if name in body)]

    program = bl.api.create_program({"programName": "own"}).json()["id"]
    ven = next(ven for ven in bl.api.get_vens().json() if ven["venName"] == "site-5")
    bl.api.update_ven(ven["id"], {**ven, "targets": ["site-5", "street-1"]}).raise_for_status()
    for name, targets in {"named": ["site-5"], "group": ["far", "street-1"], "everybody": None, "far": ["far"]}.items():
        found[name] = said(bl.api.create_event(event(program, "DISPATCH_SETPOINT", -4, targets)))
    found["too much"] = said(bl.api.create_event(event(program, "DISPATCH_SETPOINT", 1e9, ["site-5"])))
    found["limit"] = said(bl.api.create_event(event(program, "IMPORT_CAPACITY_LIMIT", 0, ["site-5"])))
    price = bl.api.create_event(event(program, "PRICE", 0.3, ["site-5"]))
    found["price"] = said(price)
    changed = event(program, "DISPATCH_SETPOINT", -4, ["site-5"])
    found["price changed"] = said(bl.api.update_event(price.json()["id"], changed))
    found["kept"] = price.json()["intervals"] == bl.api.get_event_by_id(price.json()["id"]).json()["intervals"]
print(json.dumps(found))
