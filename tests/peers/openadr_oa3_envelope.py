"""python-oa3-client reads, as a VEN, the operating envelope that it is to keep; runs in its own environment."""

import json
import sys

from openadr3_client.ven import VenClient

url, client, secret = sys.argv[1:]
with VenClient(url=url, client_id=client, client_secret=secret) as ven:
    seen = [event for event in ven.api.events(targets=[client]) if (event.event_name or "").startswith("envelope ")]
    print(
        json.dumps(
            [
                {
                    "name": event.event_name, "priority": event.priority,
                    "intervals": [
                        {payload.type: payload.values[0] for payload in each.payloads} for each in event.intervals
                    ],
                }
                for event in seen
            ]
        )
    )  # fmt: skip
