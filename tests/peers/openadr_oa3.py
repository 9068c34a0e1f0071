"""A second client by other hands (python-oa3-client) works our VTN: registers, subscribes by webhook, reads, reports."""

import json
import sys
import time

from openadr3_client.bl import BlClient
from openadr3_client.ven import VenClient

url = sys.argv[1]
found: dict = {}
with (
    BlClient(url=url, client_id="bl", client_secret="secret-of-bl") as bl,
    VenClient(url=url, client_id="site-6", client_secret="secret-of-site-6") as ven,
):
    program = bl.api.create_program({"programName": "oa3"}).json()
    ven.register("site-6")
    ven.register("site-6")  # finds itself
    found["ven"] = ven.api.ven(ven.ven_id).ven_name
    found["notifiers"] = ven.discover_notifiers()
    hook = ven.add_webhook(host="127.0.0.1", bearer_token="oa3-token")
    hook.start()
    ven.subscribe(["oa3"], ["EVENT"], ["CREATE", "UPDATE", "DELETE"], hook)
    body = {
        "programID": program["id"], "eventName": "price", "intervalPeriod": {"start": "2100-01-01T00:00:00Z", "duration": "PT1H"},
        "payloadDescriptors": [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "PRICE", "units": "KWH", "currency": "USD"}],
        "intervals": [{"id": n, "payloads": [{"type": "PRICE", "values": [0.1 * n]}]} for n in range(3)],
    }  # fmt: skip
    event = bl.api.create_event(body).json()
    bl.api.update_event(event["id"], {**event, "eventName": "price 2"}).raise_for_status()
    polled = ven.poll_events("oa3")
    found["polled"] = [(e.event_name, len(e.intervals)) for e in polled]
    found["all"] = sorted({e.event_name for e in ven.api.events()} | {e.event_name for e in bl.api.events()})
    report = {
        "eventID": event["id"], "clientName": "site-6",
        "resources": [{"resourceName": "site-6", "intervals": [{"id": 0, "payloads": [{"type": "USAGE", "values": [1]}]}]}],
    }  # fmt: skip
    ven.api.create_report(report).raise_for_status()
    found["reports"] = len(bl.api.reports(eventID=event["id"]))
    bl.api.delete_event(event["id"]).raise_for_status()
    until = time.monotonic() + 60
    while len(hook.messages) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    found["webhook"] = [json.loads(m.raw_payload)["operation"] for m in hook.messages]
    found["coerced"] = [type(m.payload).__name__ for m in hook.messages]
print(json.dumps(found))
