"""What is true each minute of a simulated month, held against every limit that stands: owners', devices', feeders'.

Looked at is the world itself, and what its devices obey, not what the desk believes. Whoever asks for a limit notes it
here (`Standing`). What stands beyond one is either a crossing, or is put down to the device or the line that did it, by
cause: `docs/reference/limits.md` says which there are. Nothing is left out: what is put down to a cause is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from month_devices import Devices
from numpy.typing import NDArray

from tieline.node.relief import Dno
from tieline.node.stage import Stage
from tieline.resource.command import Stage as CommandStage
from tieline.resource.identity import Kind
from tieline.simulate.owners import Owners
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, iso

Rows = NDArray[np.int32]
SETTLES_NS = 6 * MINUTE_NS
"""What a limit is given to be obeyed in, what comes back to be told in: the slowest kind's five minutes, and a beat."""
OUT_NS = 60 * SECOND_NS
TIMED_NS = 2 * MINUTE_NS
"""Within so long of its least time's end a device is told again."""
STAYS_OUT_NS = 4 * HOUR_NS
LEAST_OVER_W, MOST_OVER_W, OVER_RATING_FRAC, OVER_LIMIT_FRAC = 500.0, 5_000.0, 0.01, 0.03
PASSES = 5
"""So many minutes in a row a group may stand beyond its limit by more than that."""
OWNER_SLACK_W, OWNER_SLACK_FRAC = 50.0, 0.005
"""What an owner's limit may be off by: what stores stand by on, and the steps in which devices are told."""
RELIEF_MINUTES = 11
"""Until an overload is relieved: the DNO looks every five minutes, and its limit has six to be obeyed in."""
VOLTS_PU = (0.9, 1.1)
CROSSING, PRESSED = "crossing", "a grid limit presses it"


@dataclass
class Standing:
    """A limit that stands (W, positive into the grid), since when it stands as it is, and over what."""

    name: str
    low_w: float
    high_w: float
    since_ns: int
    until_ns: int = 2**62
    gives: bool = False
    """What the group gives is limited, whatever its loads draw."""


@dataclass(frozen=True)
class Found:
    """Something beyond a limit in one minute: which check, of whom, by how much, and why."""

    at_ns: int
    check: str
    subject: str
    beyond: float
    why: str

    def __str__(self) -> str:
        return f"{iso(self.at_ns)} {self.check}: {self.subject} by {self.beyond:.6g}: {self.why}"


@dataclass
class Truth:
    """Looks at the world once a minute; made for a stage, and told of everything that is asked in it."""

    stage: Stage
    dno: Dno
    owners: Owners
    groups: dict[str, Standing] = field(default_factory=dict)
    """Limits on groups, by who asked."""
    limited: dict[int, Standing] = field(default_factory=dict)
    out: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Devices whose owners took them out: since when and until when."""
    minutes: int = 0
    missed: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    crossings: list[Found] = field(default_factory=list)
    put_down: list[Found] = field(default_factory=list)
    """The first of each cause."""
    binding: Counter[str] = field(default_factory=Counter)
    """Minutes in which a limit was felt: what it limits stood within a twentieth of it, or beyond it."""

    def __post_init__(self) -> None:
        count = len(self.stage.territory.fleet)
        self._devices = Devices(self.stage.world, self.stage.territory.fleet)
        self._seen = len(self.stage.feeder_trail)
        self._bad_ns = np.full(count, -(2**62), np.int64)
        self._why = np.full(count, "", object)
        self._timed_ns = self._bad_ns.copy()
        self._begun_ns = self._bad_ns.copy()
        self._beyond: Counter[str] = Counter()
        self._was_out = self.owners.is_out.copy()

    def look(self) -> None:
        """Hold the world against its limits, where it has moved since the last look."""
        trail = self.stage.feeder_trail
        steps = len(trail) - self._seen
        if not steps:
            return
        self._seen = len(trail)
        self.minutes, self.missed = self.minutes + 1, self.missed + steps - 1
        now_ns = trail[-1][0]
        self._note_excuses(now_ns)
        self._note_owners(now_ns)
        for check, subject, beyond in self._devices.found(*self.stage.link.told(now_ns)):
            self._tell(now_ns, check, subject, beyond, CROSSING)
        self._look_at_out(now_ns)
        self._look_at_owners(now_ns)
        for key, limit in [*self.groups.items(), *self._reliefs()]:
            self._look_at_group(now_ns, key, limit)
        self._look_at_feeders(now_ns)

    # --- who is excused, and why ------------------------------------------------------------------------------------

    def _note_excuses(self, now_ns: int) -> None:
        """Note which devices no command held a moment ago, and why."""
        stage, link, world = self.stage, self.stage.link, self.stage.world
        stages = stage.node.state.commands.stage
        on_wire = np.ones(len(self._bad_ns), np.bool_)
        on_wire[link.rows] = False
        for why, mask in (
            ("its line is disturbed", on_wire & (stages == int(CommandStage.UNCONFIRMED))),
            ("a message lost or late", link._handed != link._seen),
            ("out of reach", link.is_lost),
            ("ignores what it takes", link.ignores),
        ):
            self._bad_ns[mask], self._why[mask] = now_ns, why
        timed = np.zeros(len(self._bad_ns), np.bool_)
        timed[world.engine_rows] = world.engines.must_run_s() > 0
        for kind, thermal in ((Kind.THERMOSTAT, world.hvac), (Kind.WATER_HEATER, world.heaters)):
            timed[world.rows[kind]] = thermal.is_on & (thermal.held_s < thermal.min_hold_s)
        timed[world.rows[Kind.PROCESS_LINE]] = world.lines.done_s > 0
        begins = timed & (self._timed_ns < now_ns - TIMED_NS)
        self._begun_ns[begins] = now_ns
        self._timed_ns[timed] = now_ns

    def _excuses(self, now_ns: int, rows: Rows, obeyed_ns: int) -> list[str]:
        """Return why no command holds each of some rows; empty: one does.

        A least time excuses who was on before the limit was to be obeyed: nobody need be let on under it.
        """
        timed = (now_ns - self._timed_ns[rows] <= TIMED_NS) & (self._begun_ns[rows] <= obeyed_ns)
        bad = now_ns - self._bad_ns[rows] <= SETTLES_NS
        return [
            str(why) if is_bad else "a least time of its own" if is_timed else ""
            for why, is_bad, is_timed in zip(self._why[rows], bad, timed, strict=True)
        ]

    def _note_owners(self, now_ns: int) -> None:
        """Take up who opted out by himself since the last look."""
        for row in np.flatnonzero(self.owners.is_out & ~self._was_out).tolist():
            since_ns, until_ns = self.out.get(row, (now_ns, 0))
            self.out[row] = min(since_ns, now_ns), max(until_ns, now_ns - MINUTE_NS + STAYS_OUT_NS)
        self._was_out = self.owners.is_out.copy()

    # --- owners -----------------------------------------------------------------------------------------------------

    def _pressed(self, row: int) -> bool:
        """Whether a grid operator's limit, which outranks an owner, is all that a device was commanded."""
        fleet, commands = self.stage.territory.fleet, self.stage.node.state.commands
        limits = [*self.groups.values(), *(limit for _, limit in self._reliefs())]
        is_called = np.isfinite(commands.target_w[row])
        return not is_called and any(row in fleet.leaves(limit.name) for limit in limits)

    def _look_at_out(self, now_ns: int) -> None:
        """Nobody whose owner took him out obeys a target, a minute after."""
        target_w = self.stage.link.told(now_ns)[0]
        for row, (since_ns, until_ns) in list(self.out.items()):
            if now_ns >= until_ns:
                del self.out[row]
            elif now_ns > since_ns + OUT_NS and np.isfinite(target_w[row]):
                why = PRESSED if self._pressed(row) else self._excuses(now_ns, np.array([row]), 0)[0] or CROSSING
                off_w = abs(float(target_w[row]) - float(self.stage.node.state.base_w[row]))
                self._tell(now_ns, "an opted-out device is called", self._id(row), off_w, why)

    def _look_at_owners(self, now_ns: int) -> None:
        """A device stays within its owner's limit."""
        world = self.stage.world
        for row, limit in self.limited.items():
            if now_ns <= limit.since_ns + SETTLES_NS:
                continue
            power_w = float(world.power_w[row])
            beyond_w = max(power_w - limit.high_w, limit.low_w - power_w)
            span_w = float(self.stage.territory.rated_w[row])
            self.binding["an owner's limit"] += beyond_w > -0.05 * span_w
            if beyond_w > max(OWNER_SLACK_W, OWNER_SLACK_FRAC * span_w):
                commands = self.stage.node.state.commands
                forced = commands.low_w[row] > limit.high_w or commands.high_w[row] < limit.low_w
                why = PRESSED if forced and self._pressed(row) else ""
                why = why or self._excuses(now_ns, np.array([row]), limit.since_ns + SETTLES_NS)[0] or CROSSING
                self._tell(now_ns, "an owner's limit", self._id(row), beyond_w, why)

    # --- groups and feeders -----------------------------------------------------------------------------------------

    def _reliefs(self) -> list[tuple[str, Standing]]:
        """Return the reliefs that the DNO has in force, as they stand."""
        found = []
        for relief in self.dno.reliefs:
            if not relief.ends_ns:
                since_ns = max([relief.begins_ns, *(when for when, _ in (*relief.moved, *relief.eased))])
                low_w, high_w = (relief.bound_w, np.inf) if relief.imports else (-np.inf, relief.bound_w)
                found.append((f"relief {relief.feeder}", Standing(relief.feeder, low_w, high_w, since_ns)))
        return found

    def _look_at_group(self, now_ns: int, key: str, limit: Standing) -> None:
        """A group stays within its limit by its true power, but for its slack and for those that no command held."""
        if not limit.since_ns + SETTLES_NS < now_ns < limit.until_ns:
            return
        fleet, world = self.stage.territory.fleet, self.stage.world
        rows = fleet.leaves(limit.name)
        power_w = np.maximum(world.power_w[rows], 0.0) if limit.gives else world.power_w[rows]
        rated_w = float((fleet.max_inject_w + fleet.max_absorb_w)[rows].sum())
        above_w, below_w = float(power_w.sum()) - limit.high_w, limit.low_w - float(power_w.sum())
        beyond_w, bound_w = (above_w, limit.high_w) if above_w > below_w else (below_w, limit.low_w)
        slack_w = max(min(max(OVER_RATING_FRAC * rated_w, LEAST_OVER_W), MOST_OVER_W), OVER_LIMIT_FRAC * abs(bound_w))
        self.binding["a limit on a group"] += beyond_w > -0.05 * max(abs(bound_w), 0.05 * rated_w)
        if beyond_w <= slack_w:
            self._beyond[key] = 0
            return
        whys = self._excuses(now_ns, rows, now_ns)
        excused = np.array([bool(why) for why in whys])
        toward = power_w if above_w > below_w else -power_w
        theirs_w = np.where(excused, np.maximum(toward, 0.0), 0.0)
        is_leased = key.startswith(("dnp3", "relief"))
        if is_leased and not any(ask[2] == limit.name for ask in self.stage.node.state.asks):
            why = "the limit lapsed with its line"
        elif beyond_w - float(theirs_w.sum()) <= slack_w:
            why = whys[int(np.argmax(theirs_w))]
        else:
            self._beyond[key] += 1
            why = CROSSING if self._beyond[key] > PASSES else f"up to {PASSES} minutes in a row"
        self._tell(now_ns, "a limit on a group", f"{key} {limit.name}", beyond_w, why)

    def _look_at_feeders(self, now_ns: int) -> None:
        """No feeder stands above its rating, or beyond its voltages, by what its devices do."""
        grid, world = self.stage.world.grid, self.stage.world
        assert grid is not None
        for at, feeder in enumerate(self.stage.territory.feeders):
            low, high = float(grid.low_pu[at]), float(grid.high_pu[at])
            off_pu = max(VOLTS_PU[0] - low, high - VOLTS_PU[1])
            for check, beyond in (("a feeder's rating", float(grid.loading[at]) - 1.0), ("a voltage", off_pu)):
                key = f"{check} {feeder}"
                self.binding[check] += beyond > -0.05
                if beyond <= 0.0:
                    self._beyond[key] = 0
                    continue
                self._beyond[key] += 1
                without = world.grid_with(-world.power_w, now_ns)
                assert without is not None
                alone = max(VOLTS_PU[0] - without.low_pu[at], without.high_pu[at] - VOLTS_PU[1])
                alone = float(without.loading[at]) - 1.0 if check == "a feeder's rating" else alone
                is_new = self._beyond[key] <= RELIEF_MINUTES
                why = "until it is relieved" if is_new else "other load alone" if alone > 0 else CROSSING
                self._tell(now_ns, check, feeder, beyond, why)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _id(self, row: int) -> str:
        return self.stage.territory.fleet.id_of(row)

    def _tell(self, at_ns: int, check: str, subject: str, beyond: float, why: str) -> None:
        found = Found(at_ns, check, subject, beyond, why)
        self.counts[check, why] += 1
        if why == CROSSING:
            self.crossings.append(found)
        elif self.counts[check, why] == 1:
            self.put_down.append(found)

    def told(self) -> str:
        """Return the figures, for whoever ran it."""
        rows = [f"{self.minutes} minutes looked at, {self.missed} missed, {len(self.crossings)} crossings"]
        rows += [f"  {check}, {why}: {count}" for (check, why), count in sorted(self.counts.items())]
        rows += [f"  felt: {check}: {count} minutes" for check, count in sorted(self.binding.items())]
        return "\n".join(rows + [f"  first: {found}" for found in self.put_down] + [str(one) for one in self.crossings])
