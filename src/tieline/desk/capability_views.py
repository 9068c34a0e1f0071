"""What is asked and told of capability envelopes. See `desk.envelopes` for what they are made of."""

from __future__ import annotations

from msgspec import Struct

from tieline.desk.views import View
from tieline.resource.identity import Kind


class AskCapability(Struct, frozen=True):
    """What is asked: one `resource` by itself, or (empty) groups [at, at + count) of a kind, all at once."""

    lasts_s: tuple[float, ...]
    notices_s: tuple[float, ...]
    resource: str = ""
    by: Kind = Kind.POOL
    at: int = 0
    count: int = 100


class HeldView(View, frozen=True):
    """Power (W) that can be held for so long; the part that 95 of 100 cases reach; what comes back afterwards (Wh)."""

    lasts_s: float
    power_w: float
    firm_w: float
    rebound_wh: float


class NoticedView(View, frozen=True):
    """What there is with so much notice: of how many devices, how much energy, how long it takes to get there.

    `energy_wh` None: nothing that is known of runs out.
    """

    notice_s: float
    resources: int
    energy_wh: float | None
    ramped_s: float | None
    held: tuple[HeldView, ...]


class CapabilityView(View, frozen=True):
    """What a resource or group can be called for, up (give more, take less) and down, from what it would do uncalled.

    `called_w` is what it is called for already, which is part of it. `can_be_called` of its `devices` may serve a
    market and can be reached now; behind the kill switch (`is_stopped`) none.
    """

    resource: str
    kind: str
    revision: int
    now_ns: int
    devices: int
    can_be_called: int
    base_w: float
    called_w: float
    is_stopped: bool
    confidence_frac: float
    up: tuple[NoticedView, ...]
    down: tuple[NoticedView, ...]
