"""The API of capability envelopes: what a resource, each pool and each feeder can be called for."""

from __future__ import annotations

from tieline.console.auth.roles import Action
from tieline.console.problems import Problem
from tieline.console.table import Call, Route
from tieline.desk.capability_views import AskCapability, CapabilityView
from tieline.resource.identity import Kind
from tieline.times import lengths_s

BY = (Kind.POOL.value, Kind.FEEDER.value)
MOST_LENGTHS = 12
LASTS, NOTICES = "5m,15m,1h,2h,4h", "1m,10m,1d"


def _lengths(call: Call, key: str, default: str) -> tuple[float, ...]:
    """Return lengths of time of the query, rising. Raises Problem 422 naming it where they are none."""
    text = call.text(key) or default
    try:
        found = lengths_s(text)
    except ValueError as error:
        raise Problem(422, f"{key} is not understood", field=key, value=text[:80], limit=str(error)) from None
    if len(found) > MOST_LENGTHS:
        raise Problem(422, f"{key} are too many", field=key, value=text[:80], limit=f"up to {MOST_LENGTHS}")
    return tuple(found)


async def _of_resource(call: Call) -> CapabilityView:
    asked = AskCapability(_lengths(call, "lasts", LASTS), _lengths(call, "notice", NOTICES), call.path("resource"))
    (found,) = await call.desk.reader.capability(asked)
    return found


async def _of_groups(call: Call) -> list[CapabilityView]:
    kind = Kind(call.word("by", BY) or BY[0])
    at, count = call.number("at", 0, 0, 10_000_000), call.number("count", 100, 1, 1_000)
    asked = AskCapability(_lengths(call, "lasts", LASTS), _lengths(call, "notice", NOTICES), "", kind, at, count)
    return await call.desk.reader.capability(asked)


_LENGTHS = (
    ("lasts", f"How long power is to be held, such as `{LASTS}` (default)"),
    ("notice", f"How much notice there is, such as `{NOTICES}` (default)"),
)
_PAGE = (("by", "`pool` (default) or `feeder`"), ("at", "First group, 0 or more"), ("count", "1 to 1000"))

CAPABILITY_ROUTES: tuple[Route, ...] = (
    Route(
        "GET", "/api/v1/resources/{resource}/capability", Action.SEE_RESOURCE, _of_resource,
        "What a device, pool or feeder can be called for: power by length and notice, its firm part, rebound",
        CapabilityView, query=_LENGTHS, subject="resource",
    ),
    Route(
        "GET", "/api/v1/capability", Action.SEE_GRID, _of_groups, "The same of each pool or feeder, exact aggregates",
        list[CapabilityView], query=(*_PAGE, *_LENGTHS),
    ),
)  # fmt: skip
