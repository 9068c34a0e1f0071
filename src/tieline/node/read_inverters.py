"""The alarm of inverters that do not follow the settings of their feeder: nobody else would know."""

from __future__ import annotations

from tieline.desk.inverter_facts import Stands
from tieline.desk.inverters import views_of
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.ids import derive
from tieline.node.read_alarms import Since

_TROUBLE = (Stands.REFUSED, Stands.DISPLACED)


def settings_refused(state: DeskState, since: Since, now_ns: int) -> list[tuple[AlarmView, int]]:
    """Return an alarm for each feeder where a device refused a curve, or somebody else set another, told at once."""
    found = list[tuple[AlarmView, int]]()
    for view in views_of(state) if state.settings else ():
        lacking = [one for one in view.devices if one.stands in _TROUBLE]  # those in trouble stand first
        if not lacking:
            continue
        name, first = derive("alarm", "settings-refused", view.feeder), lacking[0]
        count = sum(view.counts.get(str(stands), 0) for stands in _TROUBLE)
        alarm = AlarmView(
            name, 3, view.feeder,
            f"{count} functions of inverters of {view.feeder} are not as set (version {view.version}): "
            f"{first.device} {first.function} {first.stands}, {first.why}",
            "They follow what stood there before", "See to what refuses them, then send a new version", 3_600,
            "/feeders", len({one.device for one in lacking}), since.get(name, now_ns),
        )  # fmt: skip
        found.append((alarm, 0))
    return found
