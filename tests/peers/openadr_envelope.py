"""ElaadNL's openadr3-client reads, as a VEN, the operating envelope that it is to keep; runs in its own environment."""

import json
import sys

from openadr3_client.oadr310._vtn.interfaces.filters import PaginationFilter, TargetFilter
from openadr3_client.ven.http_factory import VirtualEndNodeHttpClientFactory
from openadr3_client.version import OADRVersion

url, client, secret = sys.argv[1:]
ven = VirtualEndNodeHttpClientFactory.create_http_ven_client(
    vtn_base_url=url, client_id=client, client_secret=secret, allow_insecure_http=True, version=OADRVersion.OADR_310
)
seen = ven.events.get_events(
    target=TargetFilter(targets=[client]), pagination=PaginationFilter(skip=0, limit=50), program_id=None
)
print(
    json.dumps(
        [
            {
                "name": event.event_name, "priority": event.priority,
                "intervals": [
                    {
                        "start": each.interval_period.start.timestamp(),
                        "seconds": each.interval_period.duration.total_seconds(),
                        **{payload.type.value: payload.values[0] for payload in each.payloads},
                    }
                    for each in event.intervals
                ],
            }
            for event in seen
            if event.event_name.startswith("envelope ")
        ]
    )
)  # fmt: skip
