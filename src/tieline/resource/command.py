"""The life of a command, as a table. It ends in a terminal stage, one of which is *unconfirmed*.

A link may pass over stages that it does not see: an end-point that accepts an event never says that it was sent. So a
report is true of a command when the table leads from the stage it is at to the stage reported, over whatever lies
between; any other report is late or out of order, is counted, and changes nothing. Terminal means that nothing is
awaited any more. The meter alone revises a terminal stage: a device that was DONE and still holds its command after its
time has not ended it, and one that stands beyond the limit that it took has not kept it, whatever they said; the
watchdog, which sees that in the meter (and releases the first), records UNCONFIRMED.
"""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """How far a command has come; the numbers are stored in columns."""

    QUEUED = 0
    SELECTED = 1
    SENT = 2
    ACCEPTED = 3
    EXECUTING = 4
    DONE = 5
    REJECTED = 6
    EXPIRED = 7
    CANCELLED = 8
    UNCONFIRMED = 9


NEXT: dict[Stage, frozenset[Stage]] = {
    Stage.QUEUED: frozenset({Stage.SELECTED, Stage.SENT, Stage.REJECTED, Stage.EXPIRED, Stage.CANCELLED}),
    Stage.SELECTED: frozenset({Stage.SENT, Stage.REJECTED, Stage.EXPIRED, Stage.CANCELLED}),
    Stage.SENT: frozenset({Stage.ACCEPTED, Stage.EXECUTING, Stage.DONE, Stage.REJECTED, Stage.UNCONFIRMED}),
    Stage.ACCEPTED: frozenset({Stage.EXECUTING, Stage.DONE, Stage.REJECTED, Stage.UNCONFIRMED, Stage.CANCELLED}),
    Stage.EXECUTING: frozenset({Stage.DONE, Stage.REJECTED, Stage.UNCONFIRMED, Stage.CANCELLED}),
    Stage.DONE: frozenset({Stage.UNCONFIRMED}),
    Stage.REJECTED: frozenset(),
    Stage.EXPIRED: frozenset(),
    Stage.CANCELLED: frozenset(),
    Stage.UNCONFIRMED: frozenset(),
}
TERMINAL = frozenset({Stage.DONE, Stage.REJECTED, Stage.EXPIRED, Stage.CANCELLED, Stage.UNCONFIRMED})
SAYS: dict[Stage, str] = {
    Stage.QUEUED: "it is durable and waits for its link",
    Stage.SELECTED: "the device reserved itself for it (select before operate)",
    Stage.SENT: "it left on the wire",
    Stage.ACCEPTED: "the device or end-point took it",
    Stage.EXECUTING: "the device moves",
    Stage.DONE: "it was read back, or seen in the meter",
    Stage.REJECTED: "the device or its link refused it, with a word why",
    Stage.EXPIRED: "its time was over before it left; it was never sent",
    Stage.CANCELLED: "a newer command, or the kill switch, took its place before it took effect",
    Stage.UNCONFIRMED: "no answer came, or the meter contradicts it: read back, never resent blindly",
}


def follows(after: Stage, before: Stage) -> bool:
    """Return whether a report of `after` can be true of a command at `before`: the table leads there.

    >>> follows(Stage.ACCEPTED, Stage.QUEUED), follows(Stage.SENT, Stage.DONE)
    (True, False)
    """
    seen, waiting = {before}, [before]
    while waiting:
        for stage in NEXT[waiting.pop()]:
            if stage is after:
                return True
            if stage not in seen and stage not in TERMINAL:
                seen.add(stage)
                waiting.append(stage)
    return False


def markdown() -> str:
    """Return the life of a command as a Markdown table."""
    rows = ["| stage | means | may be followed by | |", "|---|---|---|---|"]
    rows += [
        f"| `{stage.name}` | {SAYS[stage]} | {', '.join(f'`{x.name}`' for x in sorted(NEXT[stage])) or '-'} "
        f"| {'terminal' if stage in TERMINAL else ''} |"
        for stage in Stage
    ]
    return "\n".join(rows) + "\n"


HELD = "held by its limit, as its registers know no lower one"
"""What a link says of a device that is named no power and held at one all the same, at what was read back."""

MADE = "made of it: "
"""How a link's word begins of a device that cut a command short or rounded it, beside what was read back at once."""


class RejectWord(IntEnum):
    """Why a command was rejected; the native code is kept beside it."""

    NONE = 0
    NOT_SELECTED = 1
    ALREADY_SELECTED = 2
    INTERLOCK = 3
    LOCAL_MODE = 4
    RANGE = 5
    BLOCKED = 6
    NOT_AUTHORISED = 7
    NOT_SUPPORTED = 8
    BUSY = 9
    TIMEOUT = 10
    HARDWARE = 11
    TEST_ONLY = 12
