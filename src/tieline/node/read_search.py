"""What a text finds: screens, groups, events, devices."""

from __future__ import annotations

from tieline.desk.desk_views import Found
from tieline.desk.state import DeskState
from tieline.resource.identity import Kind

SCREENS = ("overview", "feeders", "events", "market", "alarms", "settlement", "audit", "links", "monitor", "replay")


def found(state: DeskState, text: str, count: int) -> list[Found]:
    """Return what matches a text, screens first.

    Each feeder's generation is a group of the same name: it is found by what its own name adds, or by its whole name.
    """
    wanted = text.strip().lower()
    hits = [Found(name, "screen", f"/{name}") for name in SCREENS if wanted in name]
    fleet = state.fleet
    feeders = [group.id.lower() for group in fleet.groups if group.kind is Kind.FEEDER and wanted in group.id.lower()]
    for group in fleet.groups:
        stands_behind = group.kind is Kind.GENERATION and group.id.lower().startswith(tuple(feeders))
        if wanted in group.id.lower() and not stands_behind:
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
