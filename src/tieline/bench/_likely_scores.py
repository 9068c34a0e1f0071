"""What was said to be likely, held against what was delivered: by how long before, and by alarm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tieline.bench._likely_days import Day, Said, Stood
from tieline.times import HOUR_NS, MINUTE_NS

AHEAD_MIN = (30, 15, 5, 0)
"""How long before an award begins what is likely of it is scored, and how long before its end what is of its rest."""
REST_MIN = (45, 30, 15, 5)
LACKS_FRAC, STAYS_FRAC, LEAST_W = 0.1, 0.08, 1_000.0
"""By so much an award lacks; so much may lack while an alarm stands that says so (`node.read_short`)."""
IN_TIME_NS = 15 * MINUTE_NS
"""What is told of an award later than this before its end helps nobody."""
Row = dict[str, object]


def errors(days: Sequence[Day]) -> list[Row]:
    """Return, by when it was said, by how much the likely was too high (+) or too low (-), how far off in the mean, and
    how often what came lay below and above the ends that were told; the first two as shares of the award (%).

    What the market came to ask less of it later, which nobody could know, counts as given.
    """
    found = {f"{minutes} min before" if minutes else "as it begins": list[list[float]]() for minutes in AHEAD_MIN}
    found |= {f"{minutes} min left": [] for minutes in REST_MIN}
    for day in days:
        for award in {one.start_ns: one for one in day.said}.values():
            marks = [award.start_ns - minutes * MINUTE_NS for minutes in AHEAD_MIN]
            marks += [award.end_ns - minutes * MINUTE_NS for minutes in REST_MIN]
            for name, at_ns in zip(found, marks, strict=True):
                said = said_at(day, award.start_ns, at_ns)
                rest = None if said is None else came(day, max(award.start_ns, at_ns), award.end_ns)
                if said is not None and rest is not None:
                    gave_w = rest[1] + said.asked_w - rest[0]
                    off = (said.likely_w - gave_w) / said.award_w
                    found[name].append([off, abs(off), gave_w < said.low_w, gave_w > said.high_w])
    return [_row(name, np.mean(of, axis=0), len(of)) for name, of in found.items() if of]


def _row(name: str, mean: np.ndarray[tuple[int], np.dtype[np.float64]], count: int) -> Row:
    bias, off, below, above = (_pct(each) for each in mean.tolist())
    return {"said": name, "awards": count, "bias": bias, "mean_error": off, "below_low": below, "above_high": above}


def said_at(day: Day, start_ns: int, at_ns: int) -> Said | None:
    """Return what the first look from an instant on, no later than two minutes, told of an award."""
    late = (one for one in day.said if one.start_ns == start_ns and at_ns <= one.at_ns < at_ns + 2 * MINUTE_NS)
    return next(late, None)


def came(day: Day, since_ns: int, until_ns: int) -> tuple[float, float] | None:
    """Return what was asked and delivered in the whole intervals of a stretch (W, means); None: not all were lived."""
    mine = [one for one in day.came if one.start_ns >= since_ns and one.end_ns <= until_ns]
    if not mine or mine[-1].end_ns < until_ns:
        return None
    return float(np.mean([one.asked_w for one in mine])), float(np.mean([one.gave_w for one in mine]))


def lacks(day: Day, since_ns: int, until_ns: int, frac: float = LACKS_FRAC) -> bool | None:
    """Return whether a stretch lacked over a share of what was asked, and over 1 kW; None: not all of it was lived."""
    found = came(day, since_ns, until_ns)
    return None if found is None else found[0] - found[1] > max(frac * found[0], LEAST_W)


def alarm(days: Sequence[Day]) -> Row:
    """Return how good the alarm was.

    `minutes` it stood of awards that were lived to their end, and in `precision` % of them the rest of the award that
    it named did lack. Of `lacking` awards, `recall` % were told of in time, by it or by an alarm of their cause,
    `lead_min` before the first interval that lacked (median). It came `comes` times in all; of `whole` awards that
    did not lack it named `needless` while they ran.
    """
    right, told, leads, whole, needless = list[bool](), list[bool](), list[float](), 0, 0
    for day in days:
        ends_ns = {one.start_ns: one.end_ns for one in day.said}
        for look in (look for look in day.stood if look.names_ns in ends_ns):
            start_ns = look.names_ns or 0
            does = lacks(day, max(start_ns, look.at_ns), ends_ns[start_ns], STAYS_FRAC)
            right += [] if does is None else [does]
        for start_ns, end_ns in ends_ns.items():
            if (does := lacks(day, start_ns, end_ns)) is None:
                continue
            stands = [look for look in day.stood if start_ns - HOUR_NS <= look.at_ns < end_ns - IN_TIME_NS]
            if not does:
                whole += 1
                needless += any(look.names_ns == start_ns and look.at_ns >= start_ns for look in stands)
                continue
            heard = [look.at_ns for look in stands if _tells(look, start_ns)]
            told.append(bool(heard))
            if heard:
                leads.append((_first_ns(day, start_ns, end_ns) - min(heard)) / MINUTE_NS)
    return {
        "minutes": len(right), "precision": _pct(float(np.mean(right))) if right else None, "lacking": len(told),
        "recall": _pct(float(np.mean(told))) if told else None,
        "lead_min": round(float(np.median(leads)), 1) if leads else None, "comes": sum(comes(day) for day in days),
        "whole": whole, "needless": needless,
    }  # fmt: skip


def _tells(look: Stood, start_ns: int) -> bool:
    """Return whether a look told of an award: by name, or as one of those that run."""
    runs = look.at_ns >= start_ns
    return look.names_ns == start_ns or (runs and (look.names_ns is not None or look.is_held_back or look.is_short))


def _first_ns(day: Day, start_ns: int, end_ns: int) -> int:
    """Return when the first interval of an award that lacked began."""
    mine = (one for one in day.came if start_ns <= one.start_ns and one.end_ns <= end_ns)
    return next((one.start_ns for one in mine if lacks(day, one.start_ns, one.end_ns)), start_ns)


def comes(day: Day) -> int:
    """Return how often the alarm came, and went again or stayed to the end."""
    stands = [False, *(look.names_ns is not None for look in day.stood)]
    return sum(1 for before, now in pairwise(stands) if now and not before)


def _pct(share: float) -> float:
    return round(100.0 * share, 1)


def table(title: str, days: Sequence[Day]) -> str:
    """Return the scores of some days, a line each."""
    lines = [f"{title}: {len(days)} afternoons"]
    for row in errors(days):
        shares = "  ".join(f"{name} {row[name]:6} %" for name in ("bias", "mean_error", "below_low", "above_high"))
        lines.append(f"  {row['said']!s:>13}  {row['awards']!s:>3} awards  {shares}")
    return "\n".join([*lines, "  alarm  " + "  ".join(f"{name} {value}" for name, value in alarm(days).items())])
