"""ElaadNL's openadr3-client drives our VTN: as business logic and as a VEN, over all six kinds of object, and takes a
webhook. Runs in its own environment (>= 3.12); a body that its models refuse ends it."""

import http.server
import json
import queue
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

from openadr3_client._models.common import interval as common_interval
from openadr3_client._models.common import interval_period as common_period
from openadr3_client.bl.http_factory import BusinessLogicHttpClientFactory
from openadr3_client.oadr310._vtn.interfaces.filters import PaginationFilter, TargetFilter
from openadr3_client.oadr310.models.event.event import EventUpdate, ExistingEvent, NewEvent
from openadr3_client.oadr310.models.event.event_payload import EventPayload, EventPayloadDescriptor, EventPayloadType
from openadr3_client.oadr310.models.program.program import NewProgram, ProgramUpdate
from openadr3_client.oadr310.models.report.report import ExistingReport, NewReport, ReportResource, ReportUpdate
from openadr3_client.oadr310.models.report.report_payload import ReportPayload, ReportPayloadType
from openadr3_client.oadr310.models.resource.resource import NewResourceVenRequest, ResourceUpdateVenRequest
from openadr3_client.oadr310.models.subscriptions.subscription import (
    NewSubscription,
    Object,
    ObjectOperation,
    Operation,
    SubscriptionUpdate,
)
from openadr3_client.oadr310.models.unit import Unit
from openadr3_client.oadr310.models.ven.ven import NewVenVenRequest, VenUpdateBlRequest, VenUpdateVenRequest
from openadr3_client.ven.http_factory import VirtualEndNodeHttpClientFactory
from openadr3_client.version import OADRVersion

url = sys.argv[1]
how = {"vtn_base_url": url, "allow_insecure_http": True, "version": OADRVersion.OADR_310}
bl = BusinessLogicHttpClientFactory.create_http_bl_client(client_id="bl", client_secret="secret-of-bl", **how)
ven = VirtualEndNodeHttpClientFactory.create_http_ven_client(
    client_id="site-6", client_secret="secret-of-site-6", **how
)
found: dict = {}
told: queue.Queue = queue.Queue()


class Hook(http.server.BaseHTTPRequestHandler):
    """A callback in the peer's own process."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        told.put((self.headers.get("authorization"), json.loads(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def status_of(act) -> str:
    try:
        act()
    except Exception as error:
        return str(getattr(getattr(error, "response", None), "status_code", repr(error)))
    return "done"


def payload(kind: EventPayloadType, *values: object) -> tuple:
    return (common_interval.Interval(id=0, payloads=(EventPayload(type=kind, values=values),)),)


# programs
program = bl.programs.create_program(NewProgram(program_name="peer-program", targets=None))
found["program"] = bl.programs.update_program_by_id(
    program.id, ProgramUpdate(program_name="peer-program-2")
).program_name
found["twice"] = status_of(lambda: bl.programs.create_program(NewProgram(program_name="peer-program-2")))
found["programs_seen_by_ven"] = sorted(p.program_name for p in ven.programs.get_programs(target=None, pagination=None))

# vens and resources
me = ven.vens.create_ven(NewVenVenRequest(ven_name="site-6"))
found["ven"] = (me.ven_name, me.client_id)
granted = VenUpdateBlRequest(ven_name="site-6", client_id="site-6", targets=("street-1",))
found["granted"] = bl.vens.update_ven_by_id(me.id, granted).targets
found["kept"] = ven.vens.update_ven_by_id(me.id, VenUpdateVenRequest(ven_name="site-6")).targets
made = ven.resources.create_resource(NewResourceVenRequest(resource_name="battery", ven_id=me.id))
renamed = ResourceUpdateVenRequest(resource_name="battery-2", ven_id=me.id)
found["resource"] = (ven.resources.update_resource_by_id(made.id, renamed).resource_name, made.client_id)

# a subscription, with a callback of the peer's own
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=server.serve_forever, daemon=True).start()
operation = ObjectOperation(
    objects=(Object.EVENT,), operations=(Operation.POST, Operation.PUT, Operation.DELETE),
    callback_url=f"http://127.0.0.1:{server.server_address[1]}/hook", bearer_token="peer-token",
)  # fmt: skip
subscription = ven.subscriptions.create_subscription(
    NewSubscription(client_name="site-6", object_operations=(operation,))
)
update = SubscriptionUpdate(client_name="site-6-again", object_operations=(operation,))
found["subscription"] = ven.subscriptions.update_subscription_by_id(subscription.id, update).client_name
listed = ven.subscriptions.get_subscriptions(pagination=None, program_id=None, client_name="site-6-again", objects=None)
found["subscriptions"] = len(listed)

# events, targeted and not
period = common_period.IntervalPeriod(start=datetime(2100, 1, 1, tzinfo=UTC), duration=timedelta(minutes=15))
event = bl.events.create_event(
    NewEvent(
        programID=program.id, event_name="shed", interval_period=period, priority=0, targets=("street-1", "other"),
        intervals=payload(EventPayloadType.SIMPLE, 2),
    )
)  # fmt: skip
seen = ven.events.get_events(target=TargetFilter(targets=["street-1"]), pagination=PaginationFilter(skip=0, limit=50), program_id=None)  # fmt: skip
found["events_seen_by_ven"] = [(e.event_name, e.targets, e.priority) for e in seen]
found["unasked"] = [e.event_name for e in ven.events.get_events(target=None, pagination=None, program_id=program.id)]
found["value"] = seen[0].intervals[0].payloads[0].values[0]
found["minutes"] = seen[0].interval_period.duration.total_seconds() / 60
changed = EventUpdate(programID=program.id, event_name="shed more", targets=("street-1",), interval_period=period, intervals=payload(EventPayloadType.SIMPLE, 3))  # fmt: skip
bl.events.update_event_by_id(event.id, changed)

# reports
said = ReportResource(
    resource_name="battery-2", interval_period=period,
    intervals=(common_interval.Interval(id=0, payloads=(ReportPayload(type=ReportPayloadType.DEMAND, values=(1.5,)),)),),
)  # fmt: skip
report = ven.reports.create_report(
    NewReport(eventID=event.id, client_name="site-6", report_name="r", resources=(said,))
)
ven.reports.update_report_by_id(report.id, ReportUpdate(eventID=event.id, client_name="site-6", report_name="r2", resources=(said,)))  # fmt: skip
read = bl.reports.get_reports(pagination=None, program_id=None, event_id=event.id, client_name=None)
found["reports"] = [(r.report_name, r.client_id, r.resources[0].intervals[0].payloads[0].values[0]) for r in read if r.client_id == "site-6"]  # fmt: skip

# what our own VEN makes of this client's event, read back through this client's models
order = bl.events.create_event(
    NewEvent(
        programID=program.id, event_name="dispatch by another", targets=("site-5",),
        interval_period=common_period.IntervalPeriod(start=datetime.now(UTC), duration=timedelta(minutes=15)),
        payload_descriptors=(EventPayloadDescriptor(payload_type=EventPayloadType.DISPATCH_SETPOINT, units=Unit.KW),),
        intervals=payload(EventPayloadType.DISPATCH_SETPOINT, -1.25),
    )
)  # fmt: skip


def answered(event: str) -> tuple:
    """What our VEN says of an event, as (client, SETPOINT, state)."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        said_raw = bl.reports.session.get(f"{url}/reports", params={"eventID": event}).json()
        for raw in said_raw:
            # This client's model of a report knows the descriptors of events alone; the standard's word in a report is
            # REPORT_PAYLOAD_DESCRIPTOR. All else is held to the model.
            assert {d["objectType"] for d in raw.pop("payloadDescriptors")} == {"REPORT_PAYLOAD_DESCRIPTOR"}
        answers = [ExistingReport.model_validate(raw) for raw in said_raw]
        kinds = {p.type: p.values[0] for r in answers for p in r.resources[0].intervals[0].payloads}
        if answers:
            return answers[0].client_id, kinds["SETPOINT"], kinds["OPERATING_STATE"].partition("_")[2]
        time.sleep(0.1)
    raise TimeoutError(f"our VEN says nothing else of {event}")


found["our_ven"] = answered(order.id)

# one whose unit stands in its program alone (this client makes units that it has no name for): that is changed once it
# is gone, and not before


def in_units(word: str) -> tuple:
    return (EventPayloadDescriptor(payload_type=EventPayloadType.DISPATCH_SETPOINT, units=Unit(word)),)


watts = bl.programs.create_program(NewProgram(program_name="peer-watts", payload_descriptors=in_units("W")))
in_watts = bl.events.create_event(
    NewEvent(
        programID=watts.id, event_name="dispatch in watts", targets=("site-5",), priority=0,
        interval_period=common_period.IntervalPeriod(start=datetime.now(UTC), duration=timedelta(minutes=15)),
        intervals=payload(EventPayloadType.DISPATCH_SETPOINT, 2.0),
    )
)  # fmt: skip
found["in_watts"] = [answered(in_watts.id)[1]]
in_kilowatts = ProgramUpdate(program_name="peer-watts", payload_descriptors=in_units("KW"))
found["in_watts"].append(status_of(lambda: bl.programs.update_program_by_id(watts.id, in_kilowatts)))
bl.events.delete_event_by_id(in_watts.id)
found["in_watts"].append(status_of(lambda: bl.programs.update_program_by_id(watts.id, in_kilowatts)))
bl.programs.delete_program_by_id(watts.id)
found["vens"] = sorted(v.ven_name for v in bl.vens.get_vens(ven_name=None, target=None, pagination=None))
found["resources"] = sorted(r.resource_name for r in bl.resources.get_resources(resource_name=None, ven_id=None, target=None, pagination=None))  # fmt: skip

# the end of all
bl.events.delete_event_by_id(event.id)
ven.subscriptions.get_subscription_by_id(subscription.id)
notes = [told.get(timeout=60) for _ in range(3)]
found["webhook"] = [
    (token, note["objectType"], note["operation"], ExistingEvent.model_validate(note["object"]).targets)
    for token, note in notes
]
ven.subscriptions.delete_subscription_by_id(subscription.id)
ven.resources.delete_resource_by_id(made.id)
ven.vens.delete_ven_by_id(me.id)
bl.programs.delete_program_by_id(program.id)
found["after_delete"] = len(bl.events.get_events(target=None, pagination=None, program_id=program.id))
print(json.dumps(found))
