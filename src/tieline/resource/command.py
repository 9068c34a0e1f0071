"""The life of a command, as a table. It ends in a terminal stage, one of which is *unconfirmed*."""

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
    Stage.DONE: frozenset(),
    Stage.REJECTED: frozenset(),
    Stage.EXPIRED: frozenset(),
    Stage.CANCELLED: frozenset(),
    Stage.UNCONFIRMED: frozenset(),
}
TERMINAL = frozenset(stage for stage, following in NEXT.items() if not following)


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
