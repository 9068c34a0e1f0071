"""Who is at the end of each row, and how long the link waits."""

from __future__ import annotations

from msgspec import Struct

from tieline.errors import ConfigError
from tieline.links.endpoint.openadr.commanding import COMMANDS


class EndPointName(Struct, frozen=True, forbid_unknown_fields=True):
    """The VEN and the resource behind it that a row is, and the only OAuth client that may speak for it.

    `is_switched`: it can be on or off alone. No payload of the standard says so, so its operator does.
    """

    ven: str
    client: str
    resource: str = ""
    is_switched: bool = False

    @property
    def resource_name(self) -> str:
        """The resource; a VEN with a single one gives it its own name."""
        return self.resource or self.ven


class OpenAdrSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """End-points by row; times in seconds of the clock.

    `answer_s`: how long after delivery an event must be taken; `settle_s`: how long after that the device must show it;
    `lost_s`: how long a VEN may be silent; `near_w` and `near_frac`: how near to its setpoint a device counts as there;
    `private_states`: operating states beside the standard's that its VENs may report; `private_informing`: payload
    types beside the standard's by which events of clients inform its VENs, and that no device of theirs acts on.
    """

    end_points: dict[int, EndPointName]
    answer_s: float = 60.0
    settle_s: float = 60.0
    lost_s: float = 180.0
    near_w: float = 50.0
    near_frac: float = 0.02
    priority: int = 0
    private_states: tuple[str, ...] = ()
    private_informing: tuple[str, ...] = ()


def check(settings: OpenAdrSettings) -> None:
    """Refuse settings that can't be. Raises ConfigError naming the path."""
    for name in ("answer_s", "settle_s", "lost_s"):
        value = getattr(settings, name)
        if not 0 < value <= 86_400:
            raise ConfigError(f"$.openadr.{name} = {value:g}: give above 0 to 86400")
    if not 0 <= settings.near_w < 1e9 or not 0 <= settings.near_frac < 1:
        raise ConfigError(f"$.openadr.near_w, near_frac = {settings.near_w:g}, {settings.near_frac:g}: give 0 or more")
    if not 0 <= settings.priority < 2**31:
        raise ConfigError(f"$.openadr.priority = {settings.priority}: give 0 (the strongest) or more")
    for at, word in enumerate(settings.private_states):
        if not 1 <= len(word) <= 128:
            raise ConfigError(f"$.openadr.private_states[{at}] = {word[:40]!r}: give 1 to 128 characters")
    for at, word in enumerate(settings.private_informing):
        path = f"$.openadr.private_informing[{at}] = {word[:40]!r}"
        if word in COMMANDS:
            raise ConfigError(f"{path}: it commands (OpenADR 3.1, table 1): give payload types of your own that inform")
        if not 1 <= len(word) <= 128:
            raise ConfigError(f"{path}: give 1 to 128 characters")
    # One writer a leaf resource: two rows behind one VEN would share a target, and each other's commands.
    seen: dict[str, int] = {}
    for row, end_point in settings.end_points.items():
        path = f"$.openadr.end_points.{row}"
        for what in ("ven", "client", "resource_name"):
            if not 1 <= len(getattr(end_point, what)) <= 128:
                raise ConfigError(f"{path}.{what}: give 1 to 128 characters")
        if seen.setdefault(end_point.ven, row) != row:
            raise ConfigError(f"{path}.ven = {end_point.ven!r} is row {seen[end_point.ven]}'s: one VEN a row")
