"""The read models: what a screen, an integrator or a notebook sees.

Powers in W, positive into the grid; instants in UTC ns.

A view is made whole at one revision, so that its parts agree. `None` says *unknown*: it is never written as 0.
"""

from __future__ import annotations

from msgspec import Struct


class View(Struct, frozen=True):
    """Anything that a reader returns."""


# --- alarms -----------------------------------------------------------------------------------------------------------


class AlarmView(View, frozen=True):
    """Something that needs a person: cause, consequence, action, time to respond, and the screen that fixes it.

    `priority` is 1 (at once), 2 (soon) or 3 (this shift); `count` is how many devices are rolled up in it.
    """

    id: str
    priority: int
    subject: str
    title: str
    consequence: str
    action: str
    respond_s: int
    link: str
    count: int
    since_ns: int
    is_acknowledged: bool = False
    acknowledged_by: str = ""


class SuppressedAlarm(View, frozen=True):
    """An alarm that is found and not shown (ISA-18.2-2016, 3.1: suppressed by design), and why.

    `how` is `rolled_up` (the alarm `into` tells it and others as one), `by_cause` (`into` is its cause and counts its
    devices) or `delayed` (its trouble has not lasted long enough to call a person). Nobody can shelve an alarm here.
    """

    alarm: AlarmView
    how: str
    why: str
    into: str = ""


# --- shell and overview -----------------------------------------------------------------------------------------------


class LinkView(View, frozen=True):
    """The health of one link: `state` is live, degraded, down, or waiting: it listens, and nobody has called yet."""

    name: str
    protocol: str
    state: str
    peers: int
    received: int
    refused: int
    errors: int
    since_ns: int
    last_error: str = ""


class Shell(View, frozen=True):
    """What stands on every page."""

    utility: str
    setting: str
    now_ns: int
    zone: str
    speed: float
    revision: int
    data_age_s: float | None
    links: tuple[LinkView, ...]
    journal_seq: int
    journal_is_healthy: bool
    market_is_live: bool
    authority: str
    mode: str
    is_killed: bool
    devices: int
    reporting: int
    alarms: tuple[AlarmView, ...]


class Series(View, frozen=True):
    """Values over time for a chart; `None` where nothing is known."""

    at_ns: tuple[int, ...]
    instructed_w: tuple[float | None, ...]
    delivered_w: tuple[float | None, ...]
    price_per_mwh: tuple[float | None, ...] = ()


class Commitment(View, frozen=True):
    """What is owed over an interval, and what is likely to be delivered of it over what is left of that (W, a mean).

    `likely_w` is what the pool can give then of what is asked, `low_w` and `high_w` what in 5 and in 95 of 100 cases is
    less. `lacks_w` says why it is less than was awarded (W by cause, amounts): `stored_energy` where stores would be
    empty, all others as they lack in an interval. None: not worked out yet, of a pool of very many devices.
    """

    start_ns: int
    end_ns: int
    power_w: float
    price_per_mwh: float
    low_w: float | None
    high_w: float | None
    likely_w: float | None
    lacks_w: dict[str, float] = {}


class FeederRow(View, frozen=True):
    """One feeder in a list, worst first.

    `limit_low_w` and `limit_high_w` are the tightest that was asked for its net power; `limit_given_w` is the tightest
    for what its devices give together, of which `given_w` is measured. None: no limit, or unknown.
    """

    feeder: str
    devices: int
    power_w: float | None
    abnormal: int
    limit_low_w: float | None
    limit_high_w: float | None
    min_pu: float | None
    max_pu: float | None
    loading_frac: float | None
    violations: int
    given_w: float | None = None
    limit_given_w: float | None = None


class Reach(View, frozen=True):
    """What can still be added and taken for a product (W): there within each of `minutes`, held for `hold_s`."""

    product: str
    says: str
    reach_s: float
    hold_s: float
    minutes: tuple[int, ...]
    up_w: tuple[float, ...]
    down_w: tuple[float, ...]


class AlarmRate(View, frozen=True):
    """How the alarm system does: new alarms in each ten minutes, oldest first, and how many of each priority."""

    starts_ns: tuple[int, ...]
    new: tuple[int, ...]
    by_priority: tuple[int, int, int]


class Overview(View, frozen=True):
    """The first screen; `controls` counts devices by the authority that sets or limits them; the worst feeders.

    `available_up_w` and `available_down_w` are what is left beside what is owed already, for energy over an hour. Where
    dispatch is stopped (`is_stopped`: the kill switch is pressed) they are 0, as the market is told, and so is `reach`;
    `unstopped_up_w` and `unstopped_down_w` are what would be there without the switch.
    """

    revision: int
    now_ns: int
    pool: str
    instructed_w: float | None
    delivered_w: float | None
    price_per_mwh: float | None
    owed_until_ns: int | None
    because: str
    available_up_w: float | None
    available_down_w: float | None
    net_w: float | None
    devices: int
    reporting: int
    opt_outs: int
    not_responding: int
    failed: int
    limited: int
    alarms_10min: int
    commitments: tuple[Commitment, ...]
    feeders: tuple[FeederRow, ...]
    feeder_count: int
    controls: dict[str, int]
    reach: tuple[Reach, ...] = ()
    alarm_rate: AlarmRate | None = None
    violations: int | None = None
    is_stopped: bool = False
    unstopped_up_w: float | None = None
    unstopped_down_w: float | None = None


class FleetGroup(View, frozen=True):
    """A feeder's stretch of the fleet grid: cells [first, first + count)."""

    id: str
    first: int
    count: int
    abnormal: int
    states: tuple[int, ...]


class FleetGrid(View, frozen=True):
    """One cell a device, grouped by feeder. `state` and `loading` are a byte a cell; loading 255 = at its rating.

    States: 0 normal, 1 limited from above, 2 not responding, 3 failed, 4 stale, 5 opted out, 6 unknown.
    """

    revision: int
    now_ns: int
    groups: tuple[FleetGroup, ...]
    state: bytes
    loading: bytes


class Member(View, frozen=True):
    """One device of a group: a row of the table that stands for the grid."""

    resource: str
    kind: str
    state: int
    power_w: float | None
    age_s: float | None
