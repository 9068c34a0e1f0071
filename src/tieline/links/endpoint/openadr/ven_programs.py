"""What a VEN knows of the programs of its events: the units of what they say without one."""

from __future__ import annotations

from tieline.links.endpoint.openadr.units import lacks_units, program_units
from tieline.links.endpoint.openadr.ven_client import Thing, VenClient


class Programs:
    """The units of programs, each asked for once a poll, and only where an event of it names a power without a unit."""

    def __init__(self, vtn: VenClient) -> None:
        self._vtn = vtn
        self._known: dict[str, dict[str, str] | None] = {}

    def forget(self) -> None:
        """Ask anew from now on: a program may have been changed."""
        self._known.clear()

    async def units(self, event: Thing) -> dict[str, str] | None:
        """Return the units that stand above an event, by payload type; None where its program is not shown to us.

        Raises:
            LinkDown: The VTN is not there.
            PeerError: It broke the protocol.
        """
        program = event.get("programID")
        try:
            is_needed = isinstance(program, str) and bool(program) and lacks_units(event)
        except (KeyError, TypeError, AttributeError):
            return {}  # whoever reads the event says what is wrong with it
        if not is_needed:
            return {}
        if program not in self._known:
            found = await self._vtn.get_one("programs", str(program))
            try:
                self._known[str(program)] = None if found is None else program_units(found)
            except (KeyError, TypeError, AttributeError):
                self._known[str(program)] = None
        return self._known[str(program)]
