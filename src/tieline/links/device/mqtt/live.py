"""What one device was told last."""

from __future__ import annotations

from dataclasses import dataclass, field

from tieline.device.told import Told
from tieline.links.life import Course


@dataclass(eq=False, kw_only=True)
class Live(Course):
    """The newest command, or the handing back that followed it (`is_hand_back`).

    Of one from before a start it is known whether its device had taken it (`is_taken`), and may have to be handed back
    (`is_owed`). `ends` is what a release lets go of; `is_named`: the operator was told that it was not followed.
    """

    what: Told
    settings: dict[str, float]
    ends: dict[str, float] = field(default_factory=dict)
    waits_for: int = 0
    is_asked: bool = False
    is_echoed: bool = False
    is_contended: bool = False
    is_remembered: bool = False
    is_taken: bool = False
    is_owed: bool = True
    is_hand_back: bool = False
    is_named: bool = False
    retries: int = 0

    @property
    def is_unheard_release(self) -> bool:
        """Whether it lets the device go, and no echo of it came yet."""
        return self.what.is_release and not self.is_echoed


def ended(live: Live | None) -> dict[str, float]:
    """Return the settings that a release is to end which follows `live`; after another release the same as that."""
    return {} if live is None else live.ends if live.what.is_release else live.settings
