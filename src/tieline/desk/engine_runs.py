"""What backup engines run, told by their readings and kept in the journal; and by whose limits they are held.

Theory of operation. At each beat an engine that gives more than `RUNS_FRAC` of its rating runs. That it began to, and
that it ended, are facts with the time of the reading that shows it. While nothing fit is heard of an engine that runs
it goes on to: what no server saw counts as run until a reading shows it at rest. A run is for whoever calls it: an
emergency for an emergency program's event and for reliability and stronger levels, demand response for any other call.
What nobody calls is `non_emergency`, which every limit of non-emergency hours counts. The hours of an engine follow
from these facts, in the calendar years of the desk's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.contract.engine_hours import HourMeter, HourRule, Run, Use, hour_rules
from tieline.contract.engine_permit import OrderInForce, Permit, faults
from tieline.contract.strict import Faulty
from tieline.desk.engine_facts import EngineStarted, EngineStopped
from tieline.fleet.columns import FUELS, KIND_CODE, Fleet
from tieline.resource.identity import Kind
from tieline.times import from_ns

Rows = NDArray[np.int32]
Place = tuple[str, str]
"""A jurisdiction, and what eligibility calls the location."""
RUNS_FRAC = 0.01
WARNS_FRAC = 0.8
FEDERAL = "us-rice-emergency"


class Running(Struct, frozen=True):
    """That an engine runs since an instant, for a use, called by an event or none."""

    start_ns: int
    use: Use
    event: str = ""


@dataclass
class EngineRuns:
    """What engines ran and run, as the journal says."""

    ended: list[Run] = field(default_factory=list)
    open: dict[str, Running] = field(default_factory=dict)

    def note_started(self, fact: EngineStarted) -> None:
        """Take that an engine runs."""
        self.open[fact.resource] = Running(fact.at_ns, Use(fact.use), fact.event)

    def note_stopped(self, fact: EngineStopped) -> None:
        """Take that it runs no more."""
        was = self.open.pop(fact.resource, None)
        if was is not None and fact.at_ns > was.start_ns:
            self.ended.append(Run(fact.resource, was.start_ns, fact.at_ns, was.use))


class HoursOfLimit(Struct, frozen=True):
    """How many hours of a limit an engine has used in the calendar year (h), and by which rule."""

    uses: tuple[str, ...]
    used_h: float
    limit_h: float
    rule: str
    version: str
    source: str

    @property
    def left_h(self) -> float:
        """How many are left (h), 0 or more."""
        return max(self.limit_h - self.used_h, 0.0)

    @property
    def warns(self) -> bool:
        """Whether so much of it is used that a person should know."""
        return self.limit_h > 0 and self.used_h >= WARNS_FRAC * self.limit_h


class Engines:
    """The backup engines of a desk: where each stands, by which permit, under which orders; and their hours."""

    def __init__(
        self,
        fleet: Fleet,
        zone: str,
        place_of: Sequence[tuple[Rows, Place]] = (),
        jurisdiction: str = "",
        permits: Iterable[Permit] = (),
        orders: Iterable[OrderInForce] = (),
    ) -> None:
        """Join permits and orders to a fleet.

        Args:
            fleet: Holds the engines.
            zone: In whose calendar years hours are counted.
            place_of: Rows that stand elsewhere than in `jurisdiction`, and where; the last that names a row holds.
            jurisdiction: Where the others stand.
            permits: The air permits of engines.
            orders: Executive orders, with when they are in force.

        Raises:
            ConfigError: A permit names what is no backup generator of the fleet, or is faulty, or an order is.
        """
        listed, self.orders = tuple(permits), tuple(orders)
        found = list(faults(listed, self.orders))
        self.rows = np.flatnonzero(fleet.kinds == KIND_CODE[Kind.BACKUP_GENERATOR]).astype(np.int32)
        self.names = {int(row): fleet.id_of(int(row)) for row in self.rows}
        known = set(self.names.values())
        found += [
            f"$.permits[{at}].resources = {one!r}: give a backup generator of the registry"
            for at, permit in enumerate(listed)
            for one in permit.resources
            if one not in known
        ]
        if found:
            raise Faulty("tieline.toml", found)
        self._permit = {one: permit.rule for permit in listed for one in permit.resources}
        self._place: dict[int, Place] = dict.fromkeys(self.names, (jurisdiction, ""))
        for rows, place in place_of:
            self._place |= {int(row): place for row in rows if int(row) in self.names}
        self.fuel = {row: str(FUELS[fleet.fuels[row]]) for row in self.names}
        self.zone = ZoneInfo(zone)
        self._meter, self._taken = HourMeter(hour_rules()[FEDERAL], self.zone), 0

    def place(self, row: int) -> Place:
        """Return where an engine stands."""
        return self._place[row]

    def permit(self, row: int) -> HourRule | None:
        """Return the permit of an engine, as a rule of hours; None: nobody gave one."""
        return self._permit.get(self.names[row])

    def rules(self, row: int) -> list[HourRule]:
        """Return the rules of hours that hold an engine: its permit, and in the United States the federal rule."""
        permit, where = self.permit(row), self._place[row][0]
        federal = [hour_rules()[FEDERAL]] if where == "US" or where.startswith("US-") else []
        return [*([] if permit is None else [permit]), *federal]

    def meter(self, runs: EngineRuns, now_ns: int) -> HourMeter:
        """Return the hours of all engines till an instant."""
        for run in runs.ended[self._taken :]:
            self._meter.record(run)
        self._taken = len(runs.ended)
        self._meter.under_way = {
            name: Run(name, one.start_ns, now_ns, one.use) for name, one in runs.open.items() if one.start_ns < now_ns
        }
        return self._meter

    def hours(self, runs: EngineRuns, row: int, now_ns: int) -> tuple[HoursOfLimit, ...]:
        """Return what an engine has used of each of its limits in the calendar year of an instant."""
        meter, year = self.meter(runs, now_ns), from_ns(now_ns).astimezone(self.zone).year
        return tuple(
            HoursOfLimit(
                limit.uses, meter.hours(self.names[row], year, limit.uses), limit.hours, rule.id, rule.version,
                rule.source,
            )
            for rule in self.rules(row)
            for limit in rule.limits
        )  # fmt: skip
