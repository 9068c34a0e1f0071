"""The API of operating envelopes: what a tool computed of a feeder becomes limits of its customers."""

from __future__ import annotations

from tieline.console.auth.roles import Action
from tieline.console.done import Done
from tieline.console.problems import good
from tieline.console.table import Call, Route
from tieline.desk.operating import EnvelopesView
from tieline.grid.envelope_file import EnvelopeSet


def _wide(call: Call) -> str:
    """Return why a set needs a second person: by how many devices it is about; empty: it needs none."""
    return call.desk.reader.needs_two(call.desk.operator.envelopes_touch(call.body))


async def _take(call: Call) -> EnvelopesView:
    answer: EnvelopesView = good(await call.desk.operator.take_envelopes(call.body, call.name))
    return answer


async def _withdraw(call: Call) -> Done:
    return Done(await call.desk.operator.withdraw_envelopes(call.path("feeder"), call.name))


async def _envelopes(call: Call) -> list[EnvelopesView]:
    return call.desk.reader.envelopes()


_A = "/api/v1"
ENVELOPE_ROUTES: tuple[Route, ...] = (
    Route(
        "GET", f"{_A}/envelopes", Action.SEE_GRID, _envelopes, "Operating envelopes of each feeder, the newest set",
        list[EnvelopesView],
    ),
    Route(
        "POST", f"{_A}/envelopes", Action.LIMIT, _take,
        "Take a feeder's operating envelopes, all or nothing; a newer version takes the place of the one before",
        EnvelopesView, EnvelopeSet, two=_wide, act="take_envelopes",
    ),
    Route(
        "POST", f"{_A}/envelopes/{{feeder}}/withdraw", Action.LIMIT, _withdraw,
        "Take a feeder's operating envelopes back: they bound nobody any more", Done, subject="feeder",
        act="withdraw_envelopes",
    ),
)  # fmt: skip
