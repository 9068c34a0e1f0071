"""python-oa3-client reads, as business logic, what groups can be called for; runs in its own environment."""

import json
import sys

from openadr3_client.bl import BlClient

url, client, secret = sys.argv[1:]
with BlClient(url=url, client_id=client, client_secret=secret) as bl:
    (event,) = [each for each in bl.api.events() if each.event_name == "capability"]
    found = {}
    for report in bl.api.reports(eventID=event.id):
        for said in report.resources:
            found.setdefault(said.resource_name, {})[report.report_name] = [
                {payload.type: payload.values[0] for payload in each.payloads} for each in said.intervals
            ]
    confident = sorted({each.confidence for each in report.payload_descriptors if each.payload_type.endswith("FIRM")})
print(json.dumps({"found": found, "confidence": confident}))
