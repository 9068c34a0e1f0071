"""What the desk knows: rebuilt from the journal by `apply`, and never changed by anything else.

Two kinds of knowledge live here. What was *decided* (claims, commands, awards, events) comes from facts alone, so that
replay gives the same state. What was *measured* (power, quality, base power) comes from columns and is learnt again
after a start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.contract.consent import Word
from tieline.contract.eligibility import Enrolment
from tieline.desk.agreed import Agreements
from tieline.desk.called import Called, SetAside
from tieline.desk.charge_columns import Charges
from tieline.desk.cycling import Cycles
from tieline.desk.engine_runs import EngineRuns, Engines
from tieline.desk.enrolled import Enrolled
from tieline.desk.event_counted import Counted
from tieline.desk.facts import AwardPlanned, ScheduleMade
from tieline.desk.inverters import Sent
from tieline.desk.live_asks import EndedAsk as EndedAsk
from tieline.desk.live_asks import LiveAsk as LiveAsk
from tieline.desk.people import BY_SIZE, TwoPeople
from tieline.desk.ports import Award, BatchAnswer, Granted, Instruction, LinkHealth, Offer
from tieline.desk.programs import ProgramEvent
from tieline.desk.published import Published
from tieline.desk.refused import Refused, Unread
from tieline.desk.stray_columns import Strays
from tieline.desk.sun import Suns
from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet, among
from tieline.fleet.ledger import Ledger
from tieline.fleet.limiter import FleetLimiter
from tieline.resource.batch import AHEAD_NS, SITE_STALE_NS
from tieline.resource.claim import Quantity, Refusal
from tieline.resource.command import Stage
from tieline.resource.hold import SWITCHED
from tieline.resource.selects import Selects
from tieline.times import MINUTE_NS

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
_IS_SWITCHED = among(KIND_CODE[kind] for kind in SWITCHED)
LEASE_NS = 20 * MINUTE_NS
"""For how long a command holds, unless another follows."""
EASED_NS = 6 * MINUTE_NS
"""What a device has to keep a limit (`disobedience.KEEPS_NS`), and the age of a reading."""
UNHEARD = frozenset((int(Stage.EXPIRED), int(Stage.CANCELLED), int(Stage.UNCONFIRMED)))
"""Stages at which a hand-back may not have been heard: its link could not send it, or might not; or no answer came."""
TOOK, SILENT, UNSAID, REFUSED = 1, -1, 0, 2
"""What a row made of a command: it took it, or was read back; it never answered; nothing is known; it refused."""
_ANSWERS = np.full(len(Stage), UNSAID, np.int8)
_ANSWERS[[Stage.ACCEPTED, Stage.EXECUTING, Stage.DONE]], _ANSWERS[Stage.UNCONFIRMED] = TOOK, SILENT
_ANSWERS[Stage.REJECTED] = REFUSED
LAPSED = "its lease ended, and nobody renewed it"
AskKey = tuple[str, str, str, str]  # source, program, resource, quantity


class Newest(dict[str, str]):
    """Texts by name, of which the newest alone are kept."""

    MOST = 256

    def __setitem__(self, key: str, value: str) -> None:
        """Keep a text as the newest, and forget the oldest beyond `MOST`."""
        self.pop(key, None)
        super().__setitem__(key, value)
        while len(self) > self.MOST:
            del self[next(iter(self))]


@dataclass
class CommandColumns:
    """The last command of each row; shape (n,) each.

    `leased_low_w` and `leased_high_w` are the loosest limits that the device may still hold: those of the last command
    once that is acknowledged, till then those of all that it may have heard (R16); the last one that it acknowledged
    holds until `leased_until_ns`, and has it at `leased_w` (NaN: at none) between `took_low_w` and `took_high_w`. It is
    told the same since `since_ns`: a renewal leaves that as it is. `held_w` is what a limit alone was last said to hold
    it at, where its registers know no such limit; NaN once none is among what it is told. `eased_low_w` and
    `eased_high_w` are the loosest limits that it was told since `eased_ns`, six minutes ago or more: where a limit
    moves at each beat, who stands beyond these keeps none. `easing_low_w`, `easing_high_w` and `easing_ns` are the same
    of a window that began later, and follows once it is as old. `answer` is what it made of the command before, while
    that held. It was let go of a power that it was told at `let_go_ns`. `made_w` is what a device that can't hold it
    made of it (W; NaN: it holds it, or that isn't known). At `took_ns` it first acknowledged what it was told by then.
    """

    target_w: Floats
    low_w: Floats
    high_w: Floats
    valid_until_ns: Instants
    stage: NDArray[np.uint8]
    at_ns: Instants
    observed_w: Floats
    batch: NDArray[np.int32]
    leased_low_w: Floats
    leased_high_w: Floats
    leased_until_ns: Instants
    leased_w: Floats
    took_low_w: Floats
    took_high_w: Floats
    since_ns: Instants
    held_w: Floats
    eased_low_w: Floats
    eased_high_w: Floats
    eased_ns: Instants
    easing_low_w: Floats
    easing_high_w: Floats
    easing_ns: Instants
    answer: NDArray[np.int8]
    let_go_ns: Instants
    made_w: Floats
    took_ns: Instants

    @staticmethod
    def empty(count: int) -> CommandColumns:
        """Return columns of rows that were never commanded."""
        nothing = np.full(count, np.nan)
        low_w, high_w, never = np.full(count, -np.inf), np.full(count, np.inf), np.zeros(count, np.int64)
        return CommandColumns(
            nothing.copy(), low_w.copy(), high_w.copy(), never.copy(), np.full(count, Stage.DONE, np.uint8),
            never.copy(), nothing.copy(), np.full(count, -1, np.int32), low_w.copy(), high_w.copy(), never.copy(),
            nothing.copy(), low_w.copy(), high_w.copy(), never.copy(), nothing.copy(), low_w.copy(), high_w.copy(),
            never.copy(), low_w, high_w, never.copy(), np.full(count, UNSAID, np.int8), never.copy(), nothing.copy(),
            never,
        )  # fmt: skip

    def acknowledge(self, rows: NDArray[np.int32], at_ns: Instants) -> None:
        """Note that rows took their last command at some instants: it is what they hold, and till when."""
        is_new = self.took_ns[rows] < self.since_ns[rows]
        self.took_ns[rows[is_new]] = at_ns[is_new]
        self.leased_low_w[rows], self.leased_high_w[rows] = self.low_w[rows], self.high_w[rows]
        self.leased_until_ns[rows], self.leased_w[rows] = self.valid_until_ns[rows], self.target_w[rows]
        self.took_low_w[rows], self.took_high_w[rows] = self.low_w[rows], self.high_w[rows]

    def answers(self, rows: NDArray[np.int32]) -> NDArray[np.int8]:
        """Return what each row made of its last command; while that is on its way, of the one before."""
        stage = self.stage[rows]
        read_back = (stage == int(Stage.UNCONFIRMED)) & np.isfinite(self.observed_w[rows])
        found: NDArray[np.int8] = np.where(read_back, np.int8(TOOK), _ANSWERS[stage])
        return np.where(stage < int(Stage.ACCEPTED), self.answer[rows], found)

    def note_answers(self, rows: NDArray[np.int32], at_ns: int) -> None:
        """Note what rows made of the command that another follows; before that is overwritten."""
        holds = (self.batch[rows] >= 0) & (self.valid_until_ns[rows] > at_ns)
        self.answer[rows] = np.where(holds, self.answers(rows), UNSAID)

    def note_let_go(self, rows: NDArray[np.int32], target_w: Floats, at_ns: int) -> None:
        """Note which rows are let go by a command; before the one before is overwritten."""
        told = np.isfinite(self.target_w[rows]) & (self.valid_until_ns[rows] > at_ns)
        self.let_go_ns[rows[told & np.isnan(target_w)]] = at_ns

    def ease(self, rows: NDArray[np.int32], low_w: Floats, high_w: Floats, at_ns: int) -> None:
        """Note the limits of a command that follows the last one; before that is overwritten."""
        is_limited = np.isfinite(self.low_w[rows]) | np.isfinite(self.high_w[rows])
        bound = (self.valid_until_ns[rows] > at_ns) & is_limited
        eased = self.eased_low_w, self.eased_high_w, self.eased_ns
        easing = self.easing_low_w, self.easing_high_w, self.easing_ns
        last = self.low_w, self.high_w, self.since_ns
        follows = rows[at_ns - self.easing_ns[rows] > EASED_NS]
        stood = rows[at_ns - self.since_ns[rows] > EASED_NS]  # the last one alone was told for long enough
        for older, later, told in zip(eased, easing, last, strict=True):
            older[follows], later[follows] = later[follows], told[follows]
            older[stood] = told[stood]
        for low, high, began_ns in (eased, easing):
            low[rows] = np.where(bound, np.minimum(low[rows], low_w), low_w)
            high[rows] = np.where(bound, np.maximum(high[rows], high_w), high_w)
            began_ns[rows[~bound]] = at_ns

    def held_now_w(self, now_ns: int) -> Floats:
        """Return what a limit alone holds each row at (W; NaN: none does): named no power, and not known to fail."""
        failed = (self.stage == int(Stage.REJECTED)) | (self.stage == int(Stage.UNCONFIRMED))
        holds = np.isnan(self.target_w) & (self.valid_until_ns > now_ns) & ~failed
        found: Floats = np.where(holds, self.held_w, np.nan)
        return found


@dataclass
class Responses:
    """What is known of how each row answers calls; shape (n,) each. Measured, not decided: learnt anew after a start.

    `able`: it had room by its own word at every beat since it was called. `uncalled_ns`: when it was last not called.
    `missed_ns`: since when it is left out, or was last.
    """

    called: NDArray[np.bool_]
    able: NDArray[np.bool_]
    uncalled_ns: NDArray[np.int64]
    strikes: NDArray[np.uint8]
    last_ns: NDArray[np.int64]
    missed_ns: NDArray[np.int64]

    @staticmethod
    def empty(count: int) -> Responses:
        """Return columns of rows that were never called."""
        nobody, never = np.zeros(count, np.bool_), np.zeros(count, np.int64)
        return Responses(nobody, nobody.copy(), never, np.zeros(count, np.uint8), never.copy(), never.copy())


@dataclass
class DeskState:
    """Everything that the desk decides by."""

    fleet: Fleet
    claims: ClaimBook
    ledger: Ledger
    commands: CommandColumns
    base_w: Floats
    missed_until_ns: Instants
    opted_out: NDArray[np.bool_]
    release_at_ns: Instants
    release_of: NDArray[np.int32]  # the record that gave it its turn last, by its place in `releases`
    release_by_ns: Instants  # until when one that is staged may be made to wait for room at its feeder
    spread_s: Floats
    limiter: FleetLimiter
    reach_frac: Floats
    rebounds_until_ns: Instants
    responses: Responses
    idle_ns: Instants  # when a load that may run was last seen not to (0: it ran since); measured
    held_ns: Instants  # when the fleet limiter last held back what a row is to be told; measured
    charges: Charges  # of cars that a limit holds: measured
    outs_of: NDArray[np.int32]  # how many opt-outs stand for each row
    cycles: Cycles  # what goes on and off by itself: measured
    suns: Suns  # what the sun drives: measured
    strays: Strays  # who keeps to no command: measured
    is_switched: NDArray[np.bool_]  # on or off and nothing between: by its kind, or as its link tells it
    derated: dict[str, tuple[tuple[float, float], int]] = field(default_factory=dict)
    selects: Selects = field(default_factory=Selects)
    carries: dict[Quantity, NDArray[np.bool_]] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    awards: dict[str, Award] = field(default_factory=dict)
    instructions: dict[tuple[str, str], dict[tuple[str, str], Instruction]] = field(default_factory=dict)
    """By pool and product, then by batch and id, as they came."""
    batches: dict[str, BatchAnswer] = field(default_factory=dict)
    batch_texts: Newest = field(default_factory=Newest)  # as each came first, in its protocol's own words
    batch_asks: Newest = field(default_factory=Newest)  # and a name of what each asked (`desk.refused.asks_of`)
    refused: dict[tuple[str, str, str, str], Refused] = field(default_factory=dict)  # that the market may count on
    disputed: dict[str, Refused] = field(default_factory=dict)  # awards that bind us at a price that is an error
    unread: dict[tuple[str, str], Unread] = field(default_factory=dict)  # by link and uid
    changed: dict[tuple[str, str], Unread] = field(default_factory=dict)  # since they were answered, likewise
    last_batch_uid: str = "-1"
    asks: dict[AskKey, LiveAsk] = field(default_factory=dict)
    ended: dict[AskKey, EndedAsk] = field(default_factory=dict)  # the last end of each, until it is asked anew
    answers: dict[str, Granted | Refusal] = field(default_factory=dict)
    versions: dict[AskKey, int] = field(default_factory=dict)
    outs: dict[AskKey, NDArray[np.int32]] = field(default_factory=dict)  # rows of each opt-out that stands
    events: dict[str, ProgramEvent] = field(default_factory=dict)
    envelopes: dict[str, Published] = field(default_factory=dict)  # operating envelopes, by feeder
    settings: dict[str, Sent] = field(default_factory=dict)  # of inverters, by feeder
    event_bookings: dict[str, list[str]] = field(default_factory=dict)
    event_called: dict[str, ClaimBatch] = field(default_factory=dict)  # what each that runs placed last
    event_tracked: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Asked, delivered, and delivered beyond the asked of intervals that had enough (Wh) so far, by event."""
    event_counted: dict[str, Counted] = field(default_factory=dict)  # over which of its time that is
    event_lacks: dict[str, dict[str, float]] = field(default_factory=dict)  # lacking (Wh) so far, by cause
    enrolments: dict[str, Enrolment] = field(default_factory=dict)
    engines: Engines | None = None  # places, permits and orders of backup engines; None: none may be called
    engine_runs: EngineRuns = field(default_factory=EngineRuns)  # what they ran and run, by the journal
    agreed: Agreements | None = None  # what contracts let it call; None: the folder holds none
    enrolled: Enrolled | None = None  # the book of enrolments as it was taken last; None: none is asked
    consents: dict[str, list[Word]] = field(default_factory=dict)  # said since the contracts were written, by contract
    withheld: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    """Whose answers the caps of a limit wait for that was just asked, by its record: measured."""
    set_aside: list[SetAside] = field(default_factory=list)  # claims that contracts and events ended in the last day
    called: dict[str, Called] = field(default_factory=dict)  # whom each event called and when, for budgets
    alarms: dict[str, dict[str, object]] = field(default_factory=dict)
    authority: dict[str, str] = field(default_factory=dict)
    health: dict[str, LinkHealth] = field(default_factory=dict)
    command_batches: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    command_records: list[str] = field(default_factory=list)
    market_versions: dict[str, int] = field(default_factory=dict)
    late_reports: int = 0
    schedules: dict[str, ScheduleMade] = field(default_factory=dict)
    award_plans: dict[str, AwardPlanned] = field(default_factory=dict)
    scheduled_until_ns: dict[str, int] = field(default_factory=dict)
    declared: dict[str, tuple[tuple[int, tuple[float, float]], ...]] = field(default_factory=dict)
    """What the market was told of each pool, and when (ns; W up, W down): the last sixty times."""
    market_ns: dict[str, int] = field(default_factory=dict)  # when each award was taken, and each batch sent, by record
    two_people: TwoPeople = BY_SIZE
    counted: frozenset[str] = frozenset()  # groups whose loads count at what they draw, by the settings
    site_stale_ns: int = SITE_STALE_NS  # so old a reading counts at most behind a site's connection
    ahead_ns: int = AHEAD_NS  # how far a reading's time may be ahead before it is questionable
    prices: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)  # zone, market: $/MWh by start
    price_facts: int = 0
    offer_answers: dict[str, Refusal | None] = field(default_factory=dict)
    unawarded: dict[str, str] = field(default_factory=dict)  # offers that their market cleared without: the record
    kill_moved_ns: int = 0  # when the kill switch was pressed or released last, and the record that says so
    kill_record: str = ""
    epoch: int = 1
    seq: int = 0
    revision: int = 0
    inherited: int = 0
    """How many batches of commands there were as the desk began. Not decided: a replay alone begins no desk."""

    @staticmethod
    def empty(fleet: Fleet, claims: ClaimBook, ledger: Ledger) -> DeskState:
        """Return the state of a fleet about which nothing was decided yet."""
        count, ns = len(fleet), np.int64
        return DeskState(
            fleet, claims, ledger, CommandColumns.empty(count), np.zeros(count), np.zeros(count, ns),
            np.zeros(count, np.bool_), np.zeros(count, ns), np.full(count, -1, np.int32), np.zeros(count, ns),
            np.zeros(count), FleetLimiter(fleet), np.ones(count), np.zeros(count, ns), Responses.empty(count),
            np.zeros(count, ns), np.zeros(count, ns), Charges.empty(count), np.zeros(count, np.int32),
            Cycles.empty(count), Suns.empty(count), Strays.empty(count), _IS_SWITCHED[fleet.kinds],
        )  # fmt: skip

    def may_serve(self, program: str, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which rows the rules let serve a program; a program that nobody is enrolled in has none.

        Where a desk has no enrolments at all (it serves no program) nothing is held back here.
        """
        if not self.enrolments:
            return np.ones(len(rows), np.bool_)
        enrolled = self.enrolments.get(program)
        return np.zeros(len(rows), np.bool_) if enrolled is None else enrolled.may_serve[rows]

    def agrees(self, products: tuple[str, ...], rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which rows contracts let be called under any of some products; all, where there are no contracts."""
        return np.ones(len(rows), np.bool_) if self.agreed is None else self.agreed.agrees(products)[rows]

    def lasts(self, products: tuple[str, ...], rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which rows contracts let be called under some products for more than an hour yet."""
        return np.ones(len(rows), np.bool_) if self.agreed is None else self.agreed.lasts(products)[rows]

    def out_of(self, products: tuple[str, ...], rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which rows nobody may call under some products: their owners opted out, or never agreed to it."""
        mask: NDArray[np.bool_] = self.opted_out[rows] | ~self.agrees(products, rows)
        return mask

    def cut_off(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which rows' last command was on its way as the desk ended: no link waits for its answer any more."""
        last = self.commands
        mask: NDArray[np.bool_] = (last.batch[rows] < self.inherited) & (last.stage[rows] < int(Stage.ACCEPTED))
        return mask

    def owes_release(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which rows were let go and never answered that: they may hold what they were told before.

        For as long as it takes, as not every device has a timer of its own that ends it: the lease of a hand-back is
        over long before some outages are.
        """
        last, fleet, stage = self.commands, self.fleet, self.commands.stage[rows]
        expired = (stage == int(Stage.EXPIRED)) | (stage == int(Stage.CANCELLED))  # it could not be sent, or might not
        found, at = np.zeros(len(rows), np.bool_), np.flatnonzero(expired | (stage == int(Stage.UNCONFIRMED)))
        if not len(at):
            return found
        some = rows[at]
        limited = (last.low_w[some] > -fleet.max_absorb_w[some]) | (last.high_w[some] < fleet.max_inject_w[some])
        unheard = expired[at] | np.isnan(last.observed_w[some])
        found[at] = np.isnan(last.target_w[some]) & ~limited & unheard
        return found

    @property
    def is_killed(self) -> bool:
        """Whether the kill switch is pressed: then only safe-direction commands pass."""
        return self.authority.get("kill") == "on"

    def digest(self) -> str:
        """Return the hash of all that was decided: equal after a replay."""
        digest = blake2b(f"{self.claims.digest()}{self.ledger.digest()}".encode(), digest_size=16)
        for column in (self.commands.target_w, self.commands.low_w, self.commands.high_w, self.commands.valid_until_ns):
            digest.update(np.ascontiguousarray(column).tobytes())
        decided = "offers unawarded awards instructions batches refused disputed unread changed versions"
        decided += " events authority schedules award_plans declared market_ns consents envelopes"
        for name in (*decided.split(), "prices", "settings"):
            table: dict[object, object] = getattr(self, name)
            for key in sorted(table, key=repr):
                digest.update(f"{name}:{key!r}:{table[key]!r}".encode())
        digest.update(f"{self.last_batch_uid}:{self.seq}:{self.epoch}".encode())
        if self.engine_runs.ended or self.engine_runs.open:
            digest.update(repr(self.engine_runs).encode())
        if self.enrolled is not None:
            digest.update(self.enrolled.digest().encode())
        return digest.hexdigest()
