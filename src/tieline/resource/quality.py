"""How far a value may be trusted. One vocabulary; `links` maps each protocol's own flags to it."""

from enum import IntFlag, StrEnum


class Quality(IntFlag):
    """What is known against a value; 0 is good."""

    GOOD = 0
    INVALID = 1 << 0
    QUESTIONABLE = 1 << 1
    NOT_TOPICAL = 1 << 2
    COMM_LOST = 1 << 3
    RESTART = 1 << 4
    SUBSTITUTED = 1 << 5
    BLOCKED = 1 << 6
    OVERFLOW = 1 << 7
    OUT_OF_RANGE = 1 << 8
    LOCAL_FORCED = 1 << 9
    REMOTE_FORCED = 1 << 10
    TEST = 1 << 11
    OUT_OF_SERVICE = 1 << 12
    ENTERED = 1 << 16
    CALCULATED = 1 << 17
    ESTIMATED = 1 << 18


class Fitness(StrEnum):
    """What a value is good enough for, best first."""

    SETTLEMENT = "settlement"
    DISPATCH = "dispatch"
    DISPLAY = "display"
    NOTHING = "nothing"


UNFIT_FOR_DISPLAY = Quality.INVALID | Quality.OUT_OF_SERVICE
UNFIT_FOR_DISPATCH = (
    UNFIT_FOR_DISPLAY
    | Quality.COMM_LOST
    | Quality.NOT_TOPICAL
    | Quality.OVERFLOW
    | Quality.OUT_OF_RANGE
    | Quality.TEST
    | Quality.BLOCKED
)
UNFIT_FOR_SETTLEMENT = (
    UNFIT_FOR_DISPATCH
    | Quality.QUESTIONABLE
    | Quality.RESTART
    | Quality.SUBSTITUTED
    | Quality.LOCAL_FORCED
    | Quality.REMOTE_FORCED
    | Quality.ENTERED
    | Quality.ESTIMATED
)


def fitness(quality: Quality) -> Fitness:
    """Return the best use that a value of this quality is fit for."""
    if not quality & UNFIT_FOR_SETTLEMENT:
        return Fitness.SETTLEMENT
    if not quality & UNFIT_FOR_DISPATCH:
        return Fitness.DISPATCH
    if not quality & UNFIT_FOR_DISPLAY:
        return Fitness.DISPLAY
    return Fitness.NOTHING
