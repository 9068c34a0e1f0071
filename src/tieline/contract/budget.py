"""How often a participant may be called: budgets by day, month and season, the hours of calls, turns, and fairness.

All is counted from the calls that were made: nothing is a running total that could drift. A call counts on the local
day, in the month and in the season in which it starts; its hours are true hours, also on days of 23 and 25.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from tieline.contract.program import AnyProgram, Budget, Window
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, SECOND_NS, from_ns, iso


class Call(Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """That a participant was called, [start, end)."""

    start_ns: int
    end_ns: int

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end_ns - self.start_ns) / HOUR_NS


class Turn(Struct, frozen=True):
    """Who is called, who can't be and why, and how even calls are after it (Gini of hours; 0 is even)."""

    called: tuple[str, ...]
    refused: dict[str, Refusal]
    gini: float


def season_of(day: date, from_month: int) -> int:
    """Return the year in which the season of a day began.

    >>> season_of(date(2026, 3, 1), 5)
    2025
    """
    return day.year if day.month >= from_month else day.year - 1


def call_refusal(
    program: AnyProgram,
    made: Iterable[Call],
    call: Call,
    now_ns: int,
    holidays: Iterable[date] = (),
) -> Refusal | None:
    """Return why a participant with these calls can't be called once more, or None; the same call again is no other."""
    calls = sorted(set(made) - {call})
    if call.end_ns <= call.start_ns:
        return Refusal("a call ends after its start", "end", iso(call.end_ns), f"after {iso(call.start_ns)}")
    zone = ZoneInfo(program.zone)
    start, end = from_ns(call.start_ns).astimezone(zone), from_ns(call.end_ns).astimezone(zone)
    rule = f"{program.id} {program.version}"
    if not program.holds_on(start.date()):
        until = f"from {program.effective_from} to before {program.effective_to or 'any day'}"
        return Refusal("the program does not hold then", "start", iso(call.start_ns), until, rule=rule)
    if program.budget is None:
        return Refusal("the program has no calls", "program", program.id, "a program with a budget", rule=rule)
    given_s = (call.start_ns - now_ns) / SECOND_NS
    if given_s < program.notice_s:
        return Refusal("the notice is too short", "notice_s", f"{given_s:.0f}", f">= {program.notice_s}", rule=rule)
    if program.windows and not any(_inside(one, start, end, frozenset(holidays)) for one in program.windows):
        return Refusal("it lies outside the hours of the program", "start", str(start), _told(program), rule=rule)
    other = next((one for one in calls if one.start_ns < call.end_ns and call.start_ns < one.end_ns), None)
    if other is not None:
        return Refusal("it overlaps another call", "start", iso(call.start_ns), f"not {iso(other.start_ns)}", rule=rule)
    return budget_refusal(program.budget, calls, call, zone, rule)


def budget_refusal(budget: Budget, calls: Sequence[Call], call: Call, zone: ZoneInfo, rule: str) -> Refusal | None:
    """Return why one more call does not fit a budget beside those that were made, or None; `rule` says whose it is."""

    def day_of(one: Call) -> date:
        return from_ns(one.start_ns).astimezone(zone).date()

    if not budget.least_hours_a_call <= call.hours <= budget.hours_a_call:
        limit = f"{budget.least_hours_a_call:g} to {budget.hours_a_call:g}"
        return Refusal("the call is too short or too long", "hours", f"{call.hours:g}", limit, rule=rule)
    day, first = day_of(call), budget.season_from_month
    same: dict[str, Callable[[date], bool]] = {
        "day": lambda one: one == day,
        "month": lambda one: (one.year, one.month) == (day.year, day.month),
        "season": lambda one: season_of(one, first) == season_of(day, first),
    }
    for span, is_same in same.items():
        within = [one for one in calls if is_same(day_of(one))]
        most = getattr(budget, f"calls_a_{span}")
        if most is not None and len(within) + 1 > most:
            name = f"calls_a_{span}"
            return Refusal("the budget is spent", name, str(len(within) + 1), f"{most}", rule=rule)
        most_h = getattr(budget, f"hours_a_{span}", None)
        hours = (sum(one.end_ns - one.start_ns for one in within) + call.end_ns - call.start_ns) / HOUR_NS
        if most_h is not None and hours > most_h:
            return Refusal("the budget is spent", f"hours_a_{span}", f"{hours:g}", f"{most_h:g}", rule=rule)
    row = _row_of_days({day_of(one) for one in calls} | {day}, day)
    if budget.days_in_a_row is not None and row > budget.days_in_a_row:
        limit = f"{budget.days_in_a_row}"
        return Refusal("too many days in a row", "days_in_a_row", str(row), limit, rule=rule)
    return None


def _row_of_days(days: set[date], day: date) -> int:
    length, one = 1, timedelta(days=1)
    for step in (-one, one):
        at = day + step
        while at in days:
            length, at = length + 1, at + step
    return length


def _inside(window: Window, start: datetime, end: datetime, holidays: frozenset[date]) -> bool:
    day = start.date()
    if day.month not in window.months or day.weekday() not in window.weekdays:
        return False
    if day in holidays and not window.on_holidays:
        return False
    # On the wall clock, so that a window of 13 to 20 has its hours on days of 23 and 25 too.
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    first, last = (midnight + timedelta(hours=hour) for hour in (window.first_hour, window.last_hour))
    return first <= start and end <= last


def _told(program: AnyProgram) -> str:
    return "; ".join(
        f"{one.first_hour:02}-{one.last_hour:02} h on weekdays {','.join(map(str, one.weekdays))} "
        f"of months {','.join(map(str, one.months))}{'' if one.on_holidays else ' without holidays'}"
        for one in program.windows
    )


def take_turns(
    program: AnyProgram,
    made: Mapping[str, Sequence[Call]],
    call: Call,
    wanted: int,
    now_ns: int,
    holidays: Iterable[date] = (),
) -> Turn:
    """Return whom to call: at most `wanted`, the fewest hours called first, then the fewest calls, then by lot.

    The lot is drawn from program, start and name, so that it is the same whenever it is drawn again, and nobody is
    last for the sake of their name.
    """
    season = _season_calls(program, made, call)
    order = sorted(
        made,
        key=lambda name: (
            sum(one.hours for one in season[name]), len(season[name]),
            derive("turn", program.id, call.start_ns, name), name,
        ),
    )  # fmt: skip
    called: list[str] = []
    refused: dict[str, Refusal] = {}
    days = tuple(holidays)
    for name in order:
        if len(called) == wanted:
            break
        if why := call_refusal(program, made[name], call, now_ns, days):
            refused[name] = why
        else:
            called.append(name)
    taken = set(called)
    hours = [sum(one.hours for one in season[name]) + (call.hours if name in taken else 0.0) for name in made]
    return Turn(tuple(called), refused, gini(hours))


def _season_calls(program: AnyProgram, made: Mapping[str, Sequence[Call]], call: Call) -> dict[str, list[Call]]:
    zone, first = ZoneInfo(program.zone), program.budget.season_from_month if program.budget else 1

    def of(one: Call) -> int:
        return season_of(from_ns(one.start_ns).astimezone(zone).date(), first)

    return {name: [one for one in calls if one != call and of(one) == of(call)] for name, calls in made.items()}


def gini(amounts: Sequence[float]) -> float:
    """Return the Gini coefficient of amounts of 0 or more: 0 where all are alike, near 1 where one has all.

    `sum_i (2i - n - 1) x_i / (n sum x)` over the amounts in ascending order, i from 1.

    >>> gini([1.0, 1.0]), gini([0.0, 1.0])
    (0.0, 0.5)
    """
    ranked, total = sorted(amounts), sum(amounts)
    count = len(ranked)
    if total <= 0:
        return 0.0
    return sum((2 * at - count - 1) * amount for at, amount in enumerate(ranked, 1)) / (count * total)
