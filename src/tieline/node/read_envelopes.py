"""The alarm of operating envelopes that have run out: nothing of them bounds anybody, and somebody has to know."""

from __future__ import annotations

from tieline.desk.operating import views_of
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.ids import derive
from tieline.node.read_alarms import Since
from tieline.times import iso


def envelopes_over(state: DeskState, since: Since, now_ns: int) -> list[tuple[AlarmView, int]]:
    """Return an alarm for each feeder whose newest set is over and was not taken back, told at once.

    And one for each where an interval runs and somebody has no limit by it, as the desk refused to place it.
    """
    found = list[tuple[AlarmView, int]]()
    for view in views_of(state, now_ns) if state.envelopes else ():
        name, version = derive("alarm", "envelopes", view.feeder), f"version {view.version}, {view.method}"
        if view.stands == "ended":
            title = f"The operating envelopes of {view.feeder} ended at {iso(view.end_ns)} ({version})"
            alarm = AlarmView(
                name, 2, view.feeder, title, "Nothing of them bounds its customers any more",
                "Send the next version, or take these back where none is to follow", 900, "/feeders", view.customers,
                since.get(name, view.end_ns),
            )  # fmt: skip
            found.append((alarm, 0))
        lacking = [one for one in view.refused if one[1] != "not placed yet"]
        if lacking:
            name, (resource, why) = derive("alarm", "envelopes-refused", view.feeder), lacking[0]
            alarm = AlarmView(
                name, 2, view.feeder,
                f"{len(lacking)} of {view.customers} customers of {view.feeder} have no limit by its envelopes: "
                f"{resource}, {why}",
                "They may go beyond what the feeder bears", "See to what refuses them, then send a new version", 900,
                "/feeders", len(lacking), since.get(name, now_ns),
            )  # fmt: skip
            found.append((alarm, 0))
    return found
