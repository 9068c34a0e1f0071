"""ElaadNL's openadr3-client commands a resource of the desk, and one that is nobody's; runs in its own environment."""

import json
import sys
from datetime import UTC, datetime, timedelta

from openadr3_client._models.common import interval, interval_period
from openadr3_client.bl.http_factory import BusinessLogicHttpClientFactory
from openadr3_client.oadr310.models.event.event import NewEvent
from openadr3_client.oadr310.models.event.event_payload import EventPayload, EventPayloadType
from openadr3_client.oadr310.models.program.program import NewProgram
from openadr3_client.version import OADRVersion

url = sys.argv[1]
bl = BusinessLogicHttpClientFactory.create_http_bl_client(
    vtn_base_url=url, client_id="bl", client_secret="secret-of-bl", allow_insecure_http=True,
    version=OADRVersion.OADR_310,
)  # fmt: skip
program = bl.programs.create_program(NewProgram(program_name="own"))
period = interval_period.IntervalPeriod(start=datetime.now(UTC), duration=timedelta(minutes=15))
VALUES = {"CURVE": None, "DISPATCH_INSTRUCTION": "shed", "OLS": 0.5}


def answered(kind: EventPayloadType, target: str) -> str:
    value = VALUES.get(kind.value, "read me" if kind.value.startswith("ALERT") else 1)
    if value is None:
        return "left out"  # this client's payloads are plain values: it has no way to say a point
    payloads = (EventPayload(type=kind, values=(value,)),)
    try:
        bl.events.create_event(
            NewEvent(
                programID=program.id, event_name=kind.value, targets=(target,), interval_period=period,
                intervals=(interval.Interval(id=0, payloads=payloads),),
            )
        )  # fmt: skip
    except Exception as error:
        return str(getattr(getattr(error, "response", None), "status_code", repr(error)))
    return "done"


print(
    json.dumps(
        {target: {kind.value: answered(kind, target) for kind in EventPayloadType} for target in ("site-5", "far")}
    )
)
