"""Why an act waits for a second person, each empty where one is enough; and who can't be that second person."""

from __future__ import annotations

from tieline.console.auth.roles import Role
from tieline.console.problems import Problem
from tieline.console.table import Call
from tieline.desk.events import most_longer
from tieline.desk.modes import FeederMode
from tieline.desk.people import RULE, names_in

MOST_BECAUSE = 400
"""How many characters a reason has; a longer one is refused, and waits for nobody."""


def wide(call: Call) -> str:
    """Return why a limit needs a second person; empty too where there is no such resource: the desk refuses it."""
    reader = call.desk.reader
    if len(call.body.because) > MOST_BECAUSE:
        return ""
    try:
        devices = reader.resource(call.path("resource")).devices
    except KeyError:
        return ""
    return reader.needs_two(devices)


def wide_out(call: Call) -> str:
    """Return why an opt-out needs a second person: of a large site, by who is not its owner; empty: it needs none."""
    if call.who is None or Role.OPERATOR not in call.who.roles:
        return ""
    try:
        return call.desk.reader.needs_two(call.desk.reader.resource(call.path("resource")).devices)
    except KeyError:
        return ""


def wide_mode(call: Call) -> str:
    """Return why a mode needs a second person; empty too where it is refused or so already: nobody confirms nothing."""
    body, feeder = call.body, call.path("feeder")
    if body.mode not in set(FeederMode) or not 0 < len(body.because.strip()) <= MOST_BECAUSE:
        return ""
    try:
        row = call.desk.reader.feeder(feeder)
    except KeyError:
        return ""
    return "" if row.mode == body.mode else call.desk.reader.needs_two(row.row.devices)


def lasts_longer(call: Call) -> str:
    """Return why an extension waits; empty where it would be refused anyway, so that nobody confirms nothing."""
    found = next((event for event in call.desk.reader.events() if event.id == call.path("event")), None)
    if found is None or found.state not in ("Scheduled", "In Progress"):
        return ""
    may_last = 1 <= call.body.minutes <= most_longer(found.start_ns, found.end_ns)
    return "an event is made longer by two people, as it is approved" if may_last else ""


def releases(call: Call) -> str:
    """Return why the switch waits to be released; empty where it is not pressed: nobody confirms nothing."""
    is_release = not call.body.pressed and call.desk.reader.shell().is_killed
    return "the kill switch is released by two people" if is_release else ""


def require_another(call: Call, first: str) -> None:
    """Let somebody be the second person to what others have asked.

    Args:
        call: Who decides.
        first: The signature of what he decides on: a name, or several.

    Raises:
        Problem: 403, rule "two people": he is a program with a token, or may be one person with who asked.
    """
    if call.who is not None and call.who.is_token:
        text = "a token is no second person"
        raise Problem(403, text, field="by", value=call.name, limit="somebody who is signed in", rule=RULE)
    for name in names_in(first):
        if name != call.name and call.desk.accounts.is_one_hand(name, call.name):
            text = f"{name} and {call.name} may be one person: one of them had a one-time link or token of the other"
            limit = "another person, or a day after the link was used"
            raise Problem(403, text, field="by", value=call.name, limit=limit, rule=RULE)
