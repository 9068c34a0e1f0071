"""What waits for a second person: shown, confirmed, taken back, and what became of it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tieline.console.auth.roles import Action, may
from tieline.console.auth.second import Became, Held, Waiting
from tieline.console.auth.sessions import Who
from tieline.console.done import Done
from tieline.console.problems import Problem, good
from tieline.console.table import Call, Route
from tieline.console.twice import require_another


class Confirm(Struct, frozen=True, forbid_unknown_fields=True):
    """The SHA-256 of the act as it was shown: what was asked and nothing else is done."""

    payload: str


async def _waiting(call: Call) -> list[Waiting]:
    return call.desk.second.waiting()


async def _confirm(call: Call) -> Any:
    """Do what waits, in the names of both; who confirms must be allowed the act itself."""
    assert call.who is not None
    second, waits = call.desk.second, call.path("waiting")
    named = next((w for w in second.waiting() if w.id == waits), None)
    if named is not None and not may(call.who.roles, Action(named.action), named.subject, call.who.scope):
        raise Problem(403, "your roles don't allow this", field="action", value=named.action)
    if named is not None:
        require_another(call, named.by)
    held: Held = good(second.take(waits, call.body.payload, call.name, call.who.session))
    both = Who(f"{held.by} with {call.name}", call.who.roles, call.who.scope, call.who.session)
    try:
        answer = await held.route.handler(Call(call.desk, call.request, both, held.body, names=held.path))
    except (Problem, KeyError) as error:
        second.decided(waits, call.name, error.detail if isinstance(error, Problem) else "there is no such thing")
        raise
    second.decided(waits, call.name)
    return answer


async def _drop(call: Call) -> Done:
    return Done(call.desk.second.drop(call.path("waiting"), call.name))


async def _became(call: Call) -> Became:
    found = call.desk.second.became(call.path("waiting"))
    if found is None:
        raise Problem(404, "nobody knows what became of it: the server was started since, or it is long ago: ask again")
    return found


_A = "/api/v1"
WAITING_ROUTES: tuple[Route, ...] = (
    Route("GET", f"{_A}/waiting", Action.CONFIRM, _waiting, "Acts that wait for a second person", list[Waiting]),
    Route("GET", f"{_A}/waiting/{{waiting}}", Action.CONFIRM, _became, "What became of an act that waited", Became),
    Route(
        "POST", f"{_A}/waiting/{{waiting}}/confirm", Action.CONFIRM, _confirm, "Confirm as the second person", Done,
        Confirm, subject="waiting",
    ),
    Route(
        "POST", f"{_A}/waiting/{{waiting}}/drop", Action.CONFIRM, _drop, "Take back or refuse what waits", Done,
        subject="waiting", act="drop",
    ),
)  # fmt: skip
