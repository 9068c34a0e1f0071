"""The facts of what backup engines run: the hours of each follow from them alone, before and after a restart."""

from __future__ import annotations

from tieline.desk.fact import Fact


class EngineStarted(Fact, frozen=True):
    """An engine runs from an instant of its own readings, for a use; `event`: the program event that calls it."""

    resource: str
    at_ns: int
    use: str
    event: str = ""


class EngineStopped(Fact, frozen=True):
    """An engine runs no more, or for another use."""

    resource: str
    at_ns: int
