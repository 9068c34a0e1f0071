"""The read models of the desks: traces, feeders, events, market, money, records. See `desk.views` for the rules."""

from __future__ import annotations

from typing import Any

from tieline.desk.resource_views import ClaimView
from tieline.desk.views import FeederRow, View


class TraceNode(View, frozen=True):
    """One record in a trace, in plain words."""

    id: str
    kind: str
    subject: str
    at_ns: int
    says: str
    depth: int


class TraceView(View, frozen=True):
    """What led to a record and what followed; edges are (cause, effect)."""

    start: str
    nodes: tuple[TraceNode, ...]
    edges: tuple[tuple[str, str], ...]
    is_cut: bool


class WhyView(TraceView, frozen=True):
    """What led to what is in force on a resource, and who controls it, as `tieline why --json` says it.

    `told` of a device holds `winner`, `losers` with their reasons, `limits`, `gates`, `command`, `delivered`, `chain`
    and `chains`; of a group what stands on it as a whole and how many devices each controls.
    """

    told: dict[str, Any] = {}


class BusView(View, frozen=True):
    """A bus of the one-line: where it stands, its voltage, and the DER power there (W)."""

    id: int
    x: float
    y: float
    voltage_pu: float
    der_w: float
    net_w: float
    devices: int


class BranchView(View, frozen=True):
    """A line or transformer of the one-line, with its loading (1 = its limit)."""

    id: str
    kind: str
    start: int
    end: int
    loading_frac: float


class ViolationView(View, frozen=True):
    """One broken limit."""

    place: str
    what: str
    value: float
    limit: float


class AskedLimit(View, frozen=True):
    """A limit as an authority asked it for a group, and how it is held.

    `bounds` is what it bounds: `net power`, or `generation` (what the devices give; what they draw is free). `because`
    is the reason given, `record` the decision in the journal. The caps that hold it add up to `caps_low_w` and
    `caps_high_w` on `devices`; they need not equal the limit, as devices that can't be capped count at what they do.
    `loads` is how loads count beneath its upper end: `counted`; `may_stop` or `shared`: for nothing, by the settings or
    as limits share devices and one has a lower end; or empty where none does.
    """

    resource: str
    bounds: str
    level: int
    level_name: str
    source: str
    low_w: float | None
    high_w: float | None
    start_ns: int
    end_ns: int | None
    because: str
    record: str
    devices: int
    caps_low_w: float | None
    caps_high_w: float | None
    loads: str = ""


class FeederView(View, frozen=True):
    """A feeder's one-line and state; buses and branches are empty without a model.

    `asked` are the limits in force on the feeder as a whole, `limits` those that reach its devices by other ways.
    """

    id: str
    revision: int
    now_ns: int
    mode: str
    row: FeederRow
    min_pu_limit: float | None
    max_pu_limit: float | None
    buses: tuple[BusView, ...]
    branches: tuple[BranchView, ...]
    violations: tuple[ViolationView, ...]
    limits: tuple[ClaimView, ...]
    asked: tuple[AskedLimit, ...] = ()


class FeederEffect(View, frozen=True):
    """What an event does to one feeder: power and limits before and after; None without a model or a limit."""

    feeder: str
    devices: int
    power_w: float | None
    after_w: float | None
    limit_high_w: float | None
    is_over: bool
    loading_frac: float | None
    loading_after_frac: float | None
    min_pu: float | None
    min_after_pu: float | None
    broken: int
    broken_after: int


class EventPreview(View, frozen=True):
    """What an event would do, before anybody is bothered.

    `cost` is what the called devices ask for the energy by their merit order ($); `minutes` are powers at even steps
    through the event; `can_give_w` is what devices can move now; `owed_w` is what the pools have promised in their
    fullest slot of it, `free_w` and `free_wh` what is promised to nobody there, by ratings: that may be more than
    devices can move now (`free_says`). `held_out` counts devices whose feeder is Disabled, `limited` those under a
    group's limit that takes what they would give. `warning` says why it would get nothing ("": it gets some);
    `scheduled` counts stores that fill up for awards meanwhile; `unagreed` those that their contracts keep from it,
    mostly for `unagreed_why`; `unenrolled` those that are not enrolled in its program through its hours, `unfit` those
    of kinds that the program doesn't take: `left_out` gives the reason of each of both, of the first thousand.
    `unknown_program` says that no contract there knows the program, and how many of which
    kind it calls all the same ("": one knows it). `asks` is its amount in words, `awards_say` what awards in its hours
    may take of it ("": none stands there), `unmet` that it asks for more than its devices are rated to move ("": it
    doesn't), `equal` which events ask the same already, and that amounts add up ("": none does).
    """

    group: str
    devices: int
    asked_w: float
    can_give_w: float
    expected_w: float
    opted_out: int
    unreachable: int
    energy_wh: float
    rebound_w: float
    rebound_says: str
    needs_second_person: bool
    by_kind: dict[str, int]
    minutes: tuple[float, ...]
    cost: float = 0.0
    effects: tuple[FeederEffect, ...] = ()
    owed_w: float = 0.0
    free_w: float = 0.0
    free_wh: float = 0.0
    held_out: int = 0
    limited: int = 0
    warning: str = ""
    scheduled: int = 0
    unagreed: int = 0
    unagreed_why: str = ""
    unknown_program: str = ""
    asks: str = ""
    free_says: str = ""
    awards_say: str = ""
    unmet: str = ""
    equal: str = ""
    unenrolled: int = 0
    unfit: int = 0
    left_out: dict[str, str] = {}


class MarketHour(View, frozen=True):
    """One market interval: what was forecast, offered, awarded, and means of what was instructed, and came of it.

    All its offers that stand add up, and all its awards, whatever their product. One that was refused, or that its day
    was cleared without, stands no more; one that was awarded in part stands whole, as in real time its rest may be
    called. `offer_price_per_mwh` is the dearest step of those, `price_per_mwh` the mean of the awards' prices by power.
    `offered_w` and `awarded_w` are 0 where the market cleared without us; None: nothing was offered, it has said
    nothing. What was instructed is a mean by time.

    `telemetry_w` is the pool's measured power, `baseline_w` what its devices would do uncalled, at the same instants;
    all of these over what has passed of it; `imbalance_w` is delivered less instructed. They leave out the stretches
    `uncounted` ([start, end) in ns): no server ran then, or what it had counted died with it. `disputed` says of each
    of its awards whose price our offer rules out which it is, and why. `left_out` says whose power `telemetry_w` and
    `baseline_w` lack at some instant, as it was more than the device is rated for ("": nobody's).
    """

    start_ns: int
    end_ns: int
    forecast_per_mwh: float | None
    price_per_mwh: float | None
    offered_w: float | None
    offer_price_per_mwh: float | None
    awarded_w: float | None
    instructed_w: float | None
    delivered_w: float | None
    baseline_w: float | None = None
    telemetry_w: float | None = None
    imbalance_w: float | None = None
    uncounted: tuple[tuple[int, int], ...] = ()
    disputed: tuple[str, ...] = ()
    left_out: str = ""


class ScheduleStep(View, frozen=True):
    """What a schedule of awards has at one step (W); the price is what one more MWh would cost."""

    start_ns: int
    end_ns: int
    award_w: float
    lacks_w: float
    price_per_mwh: float


class ScheduleView(View, frozen=True):
    """How what is awarded is to be given: no schedule of its devices costs less than `bound`."""

    made_ns: int
    devices: int
    cost: float
    bound: float
    gap_frac: float
    steps: tuple[ScheduleStep, ...]


class MarketView(View, frozen=True):
    """The market desk; what is available is 0 where dispatch is stopped, as in `Overview`."""

    revision: int
    now_ns: int
    pool: str
    is_live: bool
    gate_ns: int | None
    last_batch: str
    hours: tuple[MarketHour, ...]
    available_up_w: float | None
    available_down_w: float | None
    refusals: tuple[str, ...]
    is_stopped: bool = False
    unstopped_up_w: float | None = None
    unstopped_down_w: float | None = None
    schedule: ScheduleView | None = None


class StatementLine(View, frozen=True):
    """One line of money."""

    id: str
    start_ns: int
    end_ns: int
    kind: str
    energy_wh: float
    amount: str
    cause: str


class StatementView(View, frozen=True):
    """One statement, its baseline days, what was excluded and why, and its lines."""

    id: str
    pool: str
    start_ns: int
    end_ns: int
    rule: str
    version: int
    total: str
    currency: str
    lines: tuple[StatementLine, ...]
    by_cause: dict[str, str]
    body: dict[str, Any]


class IntervalView(View, frozen=True):
    """What was awarded, asked and delivered over one dispatch interval, with the cause of each watt lacking.

    `causes` splits what lacks of what was asked, `withheld` what was asked below the award (W, by cause). All are means
    over what was counted: without the stretches `uncounted` ([start, end) in ns).
    """

    start_ns: int
    end_ns: int
    awarded_w: float | None
    asked_w: float
    delivered_w: float
    causes: dict[str, float]
    withheld: dict[str, float]
    record: str
    uncounted: tuple[tuple[int, int], ...] = ()


class DayView(View, frozen=True):
    """An award day of a pool: `running`, `waiting` or `settled`, with every version of its statement.

    `missing` says by name what a waiting day lacks; from `waits_until_ns` on (0: it waits for ever) it does without the
    devices whose readings never came.
    """

    pool: str
    day: str
    start_ns: int
    end_ns: int
    state: str
    awards: int
    awarded_wh: float
    missing: tuple[str, ...]
    waits_until_ns: int
    statements: tuple[StatementView, ...]


class SettlementView(View, frozen=True):
    """Statements, and what was tracked since."""

    revision: int
    now_ns: int
    statements: tuple[StatementView, ...]
    intervals: tuple[IntervalView, ...]


class AuditRow(View, frozen=True):
    """One record of the journal in plain words; or the newest of `count` that renew the same thing.

    `first_seq` and `first_ns` are the oldest of these; None where it is one record.
    """

    seq: int
    id: str
    at_ns: int
    kind: str
    subject: str
    says: str
    count: int = 1
    first_seq: int | None = None
    first_ns: int | None = None


class AuditView(View, frozen=True):
    """The newest records; `bad_seq` is the first broken record where the chain was checked, None where all hold.

    `kinds` are those that a journal may hold; `next_before` is where the next page begins (0: there is none).
    """

    last_seq: int
    chain_hash: str
    rows: tuple[AuditRow, ...]
    checked: bool = False
    bad_seq: int | None = None
    kinds: tuple[str, ...] = ()
    next_before: int = 0


class KeptSpan(View, frozen=True):
    """From when until when past instants can be shown, and how far apart; None: nothing is kept yet."""

    first_ns: int | None
    last_ns: int | None
    step_ns: int


class MessageView(View, frozen=True):
    """A message that carried a decision: `raw` as it was on the wire (hex where `is_hex`), and its fields by name."""

    seq: int
    record: str
    at_ns: int
    protocol: str
    link: str
    direction: str
    says: str
    fields: tuple[tuple[str, str], ...]
    raw: str
    is_hex: bool


class Found(View, frozen=True):
    """A hit of the search: a resource, group, event or screen."""

    id: str
    kind: str
    link: str
    says: str = ""
