"""Hours of backup engines as people see them: what each has used this year of each of its limits, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tieline.desk.resource_views import EngineHours, EngineView
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.ids import derive


def engine_view(state: DeskState, row: int, now_ns: int) -> EngineView | None:
    """Return the hours of an engine in this calendar year; None: it is no backup engine of a served desk."""
    engines = state.engines
    if engines is None or row not in engines.names:
        return None
    name = engines.names[row]
    running = state.engine_runs.open.get(name)
    limits = tuple(
        EngineHours(one.uses, one.used_h, one.limit_h, one.left_h, one.warns, f"{one.rule} {one.version}", one.source)
        for one in engines.hours(state.engine_runs, row, now_ns)
    )
    where, location = engines.place(row)
    has_permit = engines.permit(row) is not None
    return EngineView(
        where, location, has_permit, None if running is None else running.start_ns,
        "" if running is None else running.use.value, limits,
    )  # fmt: skip


def engine_told(state: DeskState, row: int, now_ns: int) -> dict[str, Any] | None:
    """Return the same in plain values, for `tieline why`."""
    view = engine_view(state, row, now_ns)
    if view is None:
        return None
    limits = [
        {
            "uses": list(one.uses), "used_h": round(one.used_h, 3), "limit_h": one.limit_h,
            "left_h": round(one.left_h, 3), "rule": one.rule, "source": one.source,
        }
        for one in view.limits
    ]  # fmt: skip
    return {"jurisdiction": view.jurisdiction, "has_permit": view.has_permit, "runs_as": view.runs_as, "limits": limits}


def engine_alarms(state: DeskState, since: Mapping[str, int], now_ns: int) -> list[tuple[AlarmView, int]]:
    """Return an alarm for each engine that has used 80 % of a limit of its hours; told at once."""
    engines, found = state.engines, list[tuple[AlarmView, int]]()
    for row, name in ({} if engines is None else engines.names).items():
        assert engines is not None
        used = [one for one in engines.hours(state.engine_runs, row, now_ns) if one.warns]
        if not used:
            continue
        worst = min(used, key=lambda one: one.left_h)
        alarm_id = derive("alarm", "engine-hours", name)
        title = f"{name} has used {worst.used_h:.1f} of {worst.limit_h:g} h this year: {', '.join(worst.uses)}"
        alarm = AlarmView(
            alarm_id, 3, name, title, f"Beyond them it is not called ({worst.rule} {worst.version})",
            "Plan events without it, or see to its permit", 86_400, f"/resource/{name}", 1,
            since.get(alarm_id, now_ns),
        )  # fmt: skip
        found.append((alarm, 0))
    return found
