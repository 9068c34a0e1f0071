"""Who outranks whom: the authority levels, of which the lower number is the stronger."""

from enum import IntEnum


class Level(IntEnum):
    """How strong a claim is. The order is fixed; labels are configuration."""

    PHYSICS = 0
    SAFETY = 1
    GRID_EMERGENCY = 2
    ENVELOPE = 3
    OWNER_NEED = 4
    RELIABILITY = 5
    UTILITY = 6
    MARKET = 7
    PROGRAM = 8
    PRICE = 9
    LOCAL = 10
