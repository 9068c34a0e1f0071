"""One trouble is one alarm: told wider or narrower than before, it keeps its name, its start and who acknowledged it.

Theory of operation. Each place where devices have a trouble, a feeder or the group over all, has an alarm id of its
own; by that the desk knows what stood there. What a person sees is a name. Mostly both are one. Where a trouble moves
from a feeder's alarm to that of all, or back, the two ids change names, so that no name is ever shown twice. Nothing of
this is recorded: an acknowledgement is of a name, and of since when it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from tieline.desk.alarms import TROUBLES
from tieline.desk.views import AlarmView, SuppressedAlarm
from tieline.ids import derive

Acknowledged = Mapping[str, Mapping[str, Any]]


def is_acknowledged(name: str, since_ns: int | None, acknowledged: Acknowledged) -> bool:
    """Return whether an alarm was acknowledged since it began; `acknowledged`: what is recorded, by name."""
    body = acknowledged.get(name, {})
    return body.get("state") == "acknowledged" and body.get("since_ns") == since_ns


class Names:
    """Under which name the alarm of each place is shown."""

    def __init__(self) -> None:
        """Let each alarm be shown under its own id."""
        self._shown: dict[str, str] = {}

    def of(self, place: str) -> str:
        """Return the name of the alarm of a place."""
        return self._shown.get(place, place)

    def standing(self, since: Mapping[str, int]) -> dict[str, int]:
        """Return since when alarms stand, by place; `since`: by name."""
        places = {name: place for place, name in self._shown.items()}
        return {places.get(name, name): at_ns for name, at_ns in since.items()}

    def follow(
        self,
        names: Sequence[str],
        above: str,
        found: Collection[str],
        since: Mapping[str, int],
        acknowledged: Acknowledged,
    ) -> None:
        """Let a trouble that is told of the whole now, or no more, keep the name that it had.

        Of several that become one, the name is that of the first that nobody acknowledged, so that none is taken as
        seen for another's sake. Of a whole that comes apart it goes back to where it came from, or else to the
        place with most devices.

        Args:
            names: The groups.
            above: The group over all of them.
            found: Alarms of places that are found now, those with most devices first.
            since: When each alarm that stands, or stood of late, began, by name.
            acknowledged: What is recorded of alarms, by name.
        """
        self._forget(since)
        stood = self.standing(since)
        for trouble in TROUBLES:
            whole = derive("alarm", trouble.key, above)
            if above in names or (whole in found) == (whole in stood):
                continue
            parts = dict.fromkeys(derive("alarm", trouble.key, name) for name in names)
            if whole in found:
                former = [self.of(part) for part in parts if part in stood]
                former.sort(key=lambda name: (is_acknowledged(name, since[name], acknowledged), since[name]))
                self._rename(whole, former[:1])
            else:
                heirs = [part for part in found if part in parts and part not in stood]
                heirs.sort(key=lambda part: part != self.of(whole))
                for heir in heirs[:1]:
                    self._rename(heir, [self.of(whole)])

    def shown(self, alarm: AlarmView, since: Mapping[str, int]) -> AlarmView:
        """Return the alarm of a place as it is shown; `since`: by name."""
        name = self.of(alarm.id)
        return msgspec.structs.replace(alarm, id=name, since_ns=since.get(name, alarm.since_ns))

    def held_back(self, part: SuppressedAlarm) -> SuppressedAlarm:
        """Return an alarm that is not shown, with the names that it and what tells it go by."""
        alarm = msgspec.structs.replace(part.alarm, id=self.of(part.alarm.id))
        return msgspec.structs.replace(part, alarm=alarm, into=self.of(part.into))

    def _rename(self, place: str, names: Sequence[str]) -> None:
        for name in names:
            holder = next((each for each, shown in self._shown.items() if shown == name), name)
            self._shown |= {holder: self.of(place), place: name}
        self._shown = {place: name for place, name in self._shown.items() if place != name}

    def _forget(self, since: Mapping[str, int]) -> None:
        """Give those their own names back of which none has stood of late."""
        left = dict(self._shown)
        while left:
            ring = [next(iter(left))]
            while (after := left.pop(ring[-1])) != ring[0]:
                ring.append(after)
            if not since.keys() & set(ring):
                for place in ring:
                    del self._shown[place]
