"""Hour meters of engines: hours used by kind of use in a calendar year, against the limits of a rule.

40 CFR 63.6640(f): an emergency engine has no limit in emergencies; 100 hours a calendar year for maintenance and
readiness; of these up to 50 in other non-emergency use; none of it for peak shaving, demand response or income.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from tieline.contract.strict import Name, shipped_rules
from tieline.errors import ConfigError
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, from_ns, iso, to_ns


class Use(StrEnum):
    """What an engine ran for."""

    EMERGENCY = "emergency"
    MAINTENANCE = "maintenance"
    READINESS = "readiness"
    NON_EMERGENCY = "non_emergency"
    PEAK_SHAVING = "peak_shaving"
    DEMAND_RESPONSE = "demand_response"
    INCOME = "income"


class HourLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """At most so many hours a calendar year for these uses together."""

    uses: tuple[Use, ...]
    hours: float


class HourRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a class of engines."""

    id: Name
    version: str
    source: str
    certainty: str
    limits: tuple[HourLimit, ...]


class Run(Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """That an engine ran over [start, end) for a purpose."""

    engine: str
    start_ns: int
    end_ns: int
    use: Use


@cache
def hour_rules() -> dict[str, HourRule]:
    """Return the rules by id."""
    return {rule.id: rule for rule in shipped_rules("engine_hours.toml", HourRule)}


class HourMeter:
    """What engines ran, each run once; and whether they may run more."""

    def __init__(self, rule: HourRule, zone: ZoneInfo, runs: Iterable[Run] = ()) -> None:
        self.rule, self.zone = rule, zone
        self._runs: dict[str, list[Run]] = {}
        self.under_way: dict[str, Run] = {}
        """What each engine runs right now, till now: counted with the others, and not yet over."""
        for run in runs:
            if why := self.record(run):
                raise ConfigError(f"run of {run.engine} at {iso(run.start_ns)}: {why}")

    def under(self, rule: HourRule) -> HourMeter:
        """Return a meter of the same runs by another rule."""
        meter = HourMeter(rule, self.zone)
        meter._runs, meter.under_way = self._runs, self.under_way
        return meter

    def record(self, run: Run) -> Refusal | None:
        """Note what an engine ran, beyond its limits too: that is what it did. The same run twice is one.

        Returns a refusal where it overlaps another run of the engine, which would count an hour twice.
        """
        if run.end_ns <= run.start_ns:
            return Refusal("a run ends after its start", "end", iso(run.end_ns), f"after {iso(run.start_ns)}")
        runs = self._runs.setdefault(run.engine, [])
        if run in runs:
            return None
        clash = next((one for one in runs if one.start_ns < run.end_ns and run.start_ns < one.end_ns), None)
        if clash is not None:
            limit = f"not {iso(clash.start_ns)} to {iso(clash.end_ns)}"
            return Refusal("the engine ran then already", "start", iso(run.start_ns), limit, clash.use)
        runs.append(run)
        return None

    def hours(self, engine: str, year: int, uses: Iterable[Use] = tuple(Use)) -> float:
        """Return the hours of an engine in a calendar year of its place; a run over New Year is cut there."""
        start_ns, end_ns = self._year(year)
        wanted, now = set(uses), self.under_way.get(engine)
        inside = (
            min(run.end_ns, end_ns) - max(run.start_ns, start_ns)
            for run in (*self._runs.get(engine, ()), *(() if now is None else (now,)))
            if run.use in wanted
        )
        hours: float = sum(length for length in inside if length > 0) / HOUR_NS
        return hours

    def refusal(self, run: Run) -> Refusal | None:
        """Return why an engine may not run so, or None; every calendar year that the run touches is asked.

        A use that no limit names is refused, but for emergencies; what ran already is not asked again.
        """
        if run.end_ns <= run.start_ns:
            return Refusal("a run ends after its start", "end", iso(run.end_ns), f"after {iso(run.start_ns)}")
        if run in self._runs.get(run.engine, []):
            return None
        rule = f"{self.rule.id} {self.rule.version}"
        limits = [one for one in self.rule.limits if run.use in one.uses]
        if not limits and run.use is Use.EMERGENCY:
            return None
        if not limits:
            return Refusal("no rule allows that use", "use", run.use, self.rule.source, rule=rule)
        first, last = (from_ns(at_ns).astimezone(self.zone).year for at_ns in (run.start_ns, run.end_ns - 1))
        for limit in limits:
            for year in range(first, last + 1):
                start_ns, end_ns = self._year(year)
                asked = (min(run.end_ns, end_ns) - max(run.start_ns, start_ns)) / HOUR_NS
                total = self.hours(run.engine, year, limit.uses) + asked
                if total > limit.hours:
                    name = f"hours of {', '.join(limit.uses)} in {year}"
                    most = f"{limit.hours:g} ({self.rule.source})"
                    return Refusal("the engine's hours are used", name, f"{total:g}", most, rule=rule)
        return None

    def _year(self, year: int) -> tuple[int, int]:
        start, end = (datetime(one, 1, 1, tzinfo=self.zone) for one in (year, year + 1))
        return to_ns(start), to_ns(end)
