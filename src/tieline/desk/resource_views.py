"""The read models of one resource: how the market sees it, how the control room does, and what holds it.

As all of `desk.views`: powers in W, positive into the grid; instants in UTC ns; `None` says *unknown*.
"""

from __future__ import annotations

from tieline.desk.views import View


class Reading(View, frozen=True):
    """A point's value with its quality and age."""

    point: str
    says: str
    unit: str
    value: float | None
    quality: tuple[str, ...]
    age_s: float | None
    iec61850: str = ""
    sunspec: str = ""


class ClaimView(View, frozen=True):
    """One claim on a resource, and what became of it: wins, limits, or why not."""

    id: str
    source: str
    program: str
    level: int
    level_name: str
    kind: str
    low_w: float | None
    high_w: float | None
    value_w: float | None
    start_ns: int
    end_ns: int | None
    because: str
    outcome: str
    why: str


class LevelLimit(View, frozen=True):
    """What one authority level leaves (W; None: open) and who holds it."""

    level: int
    level_name: str
    low_w: float | None
    high_w: float | None
    holder: str


class CommandView(View, frozen=True):
    """The last command; issued, delivered, acknowledged, effective, verified are five states (instants; None: not).

    `observed_w` is what its link read back (a SunSpec device's settings, elsewhere its meter), or the meter that speaks
    against it of one that is `unconfirmed`; `verified_ns` alone says that its own meter bears it out.
    """

    batch: str
    target_w: float | None
    low_w: float | None
    high_w: float | None
    stage: str
    issued_ns: int | None
    delivered_ns: int | None
    acknowledged_ns: int | None
    effective_ns: int | None
    verified_ns: int | None
    valid_until_ns: int | None
    revert_w: float
    observed_w: float | None
    reached: tuple[bool, bool, bool, bool, bool] = (False, False, False, False, False)


class GroupRef(View, frozen=True):
    """A group above a resource."""

    id: str
    kind: str
    purpose: str


class MarketSide(View, frozen=True):
    """How IT sees it: pool, what it owes, this resource's share, price, performance, last settled line."""

    pool: str
    product: str
    obligation_w: float | None
    share_w: float | None
    base_w: float | None
    delivered_w: float | None
    price_per_mwh: float | None
    until_ns: int | None
    because: str
    opted_out: bool
    left_out_until_ns: int | None
    eligible: bool


class Unresponsive(View, frozen=True):
    """A device that was called and able, and stood still time after time: how often, when last, how long it counts."""

    strikes: int
    last_ns: int
    until_ns: int


class Part(View, frozen=True):
    """One step down the device tree: a group or device beneath a resource, with what it gives now."""

    id: str
    kind: str
    devices: int
    power_w: float | None
    abnormal: int


class OwnerMoney(View, frozen=True):
    """What an owner has earned by a statement; `version` grows where the day was settled anew.

    `owner` is whom the statement pays: the device's owner, where the registry names none its site, else the device.
    """

    statement: str
    owner: str
    start_ns: int
    end_ns: int
    amount: str
    currency: str
    version: int


class ScadaSide(View, frozen=True):
    """How OT sees it: measured power, limits, mode, quality, state of its link; `target_of` says what the target is.

    `available_up_w` and `available_down_w` are how far it can move from now within all that holds it: limits of itself
    and its groups, and the kill switch. A market can call less of it: see capability.
    """

    power_w: float | None
    quality: tuple[str, ...]
    age_s: float | None
    taken_ns: int | None
    target_w: float
    low_w: float
    high_w: float
    available_up_w: float | None
    available_down_w: float | None
    is_local: bool
    mode: str
    link: str
    target_of: str = ""


class EngineHours(View, frozen=True):
    """What an engine has used of a limit in this calendar year (h): for some uses together, by a rule."""

    uses: tuple[str, ...]
    used_h: float
    limit_h: float
    left_h: float
    warns: bool
    rule: str
    source: str


class EngineView(View, frozen=True):
    """A backup engine: where it stands, whether its permit is given, since when it runs and for what, and its hours."""

    jurisdiction: str
    location: str
    has_permit: bool
    runs_since_ns: int | None
    runs_as: str
    limits: tuple[EngineHours, ...]


class ResourceView(View, frozen=True):
    """One resource, two views, one revision."""

    id: str
    kind: str
    is_group: bool
    revision: int
    now_ns: int
    devices: int
    max_inject_w: float
    max_absorb_w: float
    energy_wh: float
    ancestors: tuple[GroupRef, ...]
    market: MarketSide
    scada: ScadaSide
    mismatch: str
    controls: str
    winner: ClaimView | None
    claims: tuple[ClaimView, ...]
    limits: tuple[LevelLimit, ...]
    conflicts: tuple[tuple[str, str], ...]
    command: CommandView | None
    stages: dict[str, int]
    readings: tuple[Reading, ...]
    parts: tuple[Part, ...] = ()
    part_count: int = 0
    feeder_mode: str = ""
    waits: str = ""
    unresponsive: Unresponsive | None = None
    engine: EngineView | None = None
