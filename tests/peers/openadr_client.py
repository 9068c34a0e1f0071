"""ElaadNL's openadr3-client drives our VTN: as business logic and as a VEN. Runs in its own environment (>= 3.12)."""

import json
import sys
from datetime import UTC, datetime, timedelta

from openadr3_client._models.common import interval as common_interval
from openadr3_client._models.common import interval_period as common_period
from openadr3_client.bl.http_factory import BusinessLogicHttpClientFactory
from openadr3_client.oadr310.models.event.event import NewEvent
from openadr3_client.oadr310.models.event.event_payload import EventPayload, EventPayloadType
from openadr3_client.oadr310.models.program.program import NewProgram
from openadr3_client.oadr310.models.ven.ven import NewVenVenRequest
from openadr3_client.ven.http_factory import VirtualEndNodeHttpClientFactory
from openadr3_client.version import OADRVersion

url = sys.argv[1]
how = {"vtn_base_url": url, "allow_insecure_http": True, "version": OADRVersion.OADR_310}
bl = BusinessLogicHttpClientFactory.create_http_bl_client(client_id="bl", client_secret="secret-of-bl", **how)
ven = VirtualEndNodeHttpClientFactory.create_http_ven_client(
    client_id="site-6", client_secret="secret-of-site-6", **how
)
found = {}
program = bl.programs.create_program(NewProgram(program_name="peer-program"))
found["program"] = program.program_name
me = ven.vens.create_ven(NewVenVenRequest(ven_name="site-6"))
found["ven"] = me.ven_name
period = common_period.IntervalPeriod(start=datetime(2026, 1, 1, tzinfo=UTC), duration=timedelta(minutes=15))
payload = EventPayload(type=EventPayloadType.SIMPLE, values=(2,))
event = bl.events.create_event(
    NewEvent(
        programID=program.id, event_name="shed", interval_period=period,
        intervals=(common_interval.Interval(id=0, payloads=(payload,)),),
    )
)  # fmt: skip
seen = ven.events.get_events(target=None, pagination=None, program_id=program.id)
found["events_seen_by_ven"] = [e.event_name for e in seen]
found["value"] = seen[0].intervals[0].payloads[0].values[0]
found["minutes"] = seen[0].interval_period.duration.total_seconds() / 60
try:
    ven_program = bl.programs.create_program(NewProgram(program_name="peer-program"))
    found["twice"] = "taken"
except Exception as error:
    found["twice"] = str(getattr(getattr(error, "response", None), "status_code", error))
bl.events.delete_event_by_id(event.id)
found["after_delete"] = len(ven.events.get_events(target=None, pagination=None, program_id=program.id))
print(json.dumps(found))
