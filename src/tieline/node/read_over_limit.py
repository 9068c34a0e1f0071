"""The alarm of a group that stands beyond a limit on it, and how long its devices have to obey before that comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tieline.desk import alarms
from tieline.desk.disobedience import is_within, soon_ns
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.fleet.columns import Fleet
from tieline.ids import derive
from tieline.node.read_fleet import given_w, known_sum, limits_on_groups
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.times import MINUTE_NS, SECOND_NS

Since = Mapping[str, int]
BEAT_NS, MOVES_NS, OBEYS_NS = MINUTE_NS, 90 * SECOND_NS, 5 * MINUTE_NS
"""A limit is obeyed once the slowest that has yet to move has: thermostats take four minutes, and a beat. Where all
stand as they were told the desk looks once more, and stores, cars and what is switched off have moved within the
second; no alarm waits for longer than the last."""
LEAST_OVER_W, MOST_OVER_W = 500.0, 5_000.0
OVER_RATING_FRAC, OVER_LIMIT_FRAC = 0.01, 0.03
"""How far beyond its limit a group may stand untold: what its meters and steps are off by, two of the desk's own steps
of 0.5 % of its rating. Two small devices' slack at least, and of a large group no more than 5 kW, or 3 % of the limit
where that is more. No device's step is let through whole: in a group of three plugs that is all there is to tell."""


def over_limit(state: DeskState, feeders: Sequence[str], since: Since, now_ns: int) -> list[tuple[AlarmView, int]]:
    """Return an alarm for each group whose devices stand beyond its limit, and how long they may while they obey.

    A limit on generation counts what its devices give: what others draw meanwhile makes none of it good.
    """
    found = []
    for group, (low_w, high_w) in limits_on_groups(state, now_ns).items():
        gives = state.fleet.holds(group) and state.fleet.kind_of(group) is Kind.GENERATION
        power_w = (given_w if gives else known_sum)(state.fleet.known_power_w(state.fleet.leaves(group)))
        if power_w is None:
            continue
        name = derive("alarm", "over", group)
        # How far it stands beyond either end; what a generation group draws is not what its limit is about.
        above_w = (power_w - high_w, high_w) if high_w is not None else (0.0, 0.0)
        below_w = (low_w - power_w, low_w) if low_w is not None and not gives else (0.0, 0.0)
        over_w, limit_w = max(above_w, below_w)
        if over_w <= _untold_w(state.fleet, group, limit_w) * (alarms.STAYS_FRAC if name in since else 1.0):
            continue
        link = f"/feeder/{group}" if group in feeders else f"/resource/{group}"
        alarm = AlarmView(
            name, 2, group, f"Over its limit by {_kw(over_w)}",
            "The grid operator's limit is broken", "See which devices don't follow", 300, link, 1,
            since.get(name, now_ns),
        )  # fmt: skip
        found.append((alarm, _obeys_ns(state, group, now_ns)))
    return found


def _obeys_ns(state: DeskState, group: str, now_ns: int) -> int:
    """Return how long a group may stand beyond its limit while its devices obey (ns): a beat, and the time that the
    slowest of those may take that were told to move and have not."""
    rows, last = state.fleet.leaves(group), state.commands
    power_w = state.fleet.known_power_w(rows)
    waits = (last.valid_until_ns[rows] > now_ns) & np.isfinite(power_w)
    waits &= ~is_within(power_w, last.low_w[rows], last.high_w[rows])
    slowest_ns = float(soon_ns(state, rows[waits]).max(initial=0.0))
    return int(min(BEAT_NS + max(slowest_ns, MOVES_NS), OBEYS_NS))


def _untold_w(fleet: Fleet, group: str, limit_w: float) -> float:
    """Return how far beyond a limit a group may stand before a person is called (W).

    A limit on one device is that device's to keep: `own_way` names it, with the slack that a device has.
    """
    of_limit_w = OVER_LIMIT_FRAC * abs(limit_w)
    if not fleet.holds(group) or fleet.kind_of(group) not in GROUP_KINDS:
        return max(MOST_OVER_W, of_limit_w)
    rows = fleet.leaves(group)
    rated_w = float((fleet.max_inject_w + fleet.max_absorb_w)[rows].sum())
    return max(min(max(OVER_RATING_FRAC * rated_w, LEAST_OVER_W), MOST_OVER_W), of_limit_w)


def _kw(power_w: float) -> str:
    return f"{power_w / 1e3:.{0 if power_w >= 9_950.0 else 1}f} kW"
