"""What a text finds: screens, groups, events, devices."""

from __future__ import annotations

from tieline.desk.desk_views import Found
from tieline.desk.state import DeskState
from tieline.resource.identity import Kind

SCREENS = ("overview", "feeders", "events", "market", "alarms", "settlement", "audit", "links", "monitor", "replay")


def found(state: DeskState, text: str, count: int) -> list[Found]:
    """Return what matches a text, screens first; a group without devices is not worth a visit."""
    wanted = text.strip().lower()
    hits = [Found(name, "screen", f"/{name}") for name in SCREENS if wanted in name]
    fleet = state.fleet
    # Each feeder has its generation as a group: of the same name, and seldom what is looked for.
    for group in sorted(fleet.groups, key=lambda group: group.kind is Kind.GENERATION):
        if wanted in group.id.lower():
            link = f"/feeder/{group.id}" if group.kind is Kind.FEEDER else f"/resource/{group.id}"
            hits.append(Found(group.id, group.kind.value, link))
    hits += [Found(e.id, "event", "/events", e.program) for e in state.events.values() if wanted in e.id]
    if len(hits) < count and wanted:
        for name in fleet.ids:
            if wanted in name:
                hits.append(Found(name, fleet.kind_of(name).value, f"/resource/{name}"))
                if len(hits) >= count:
                    break
    return hits[:count]
