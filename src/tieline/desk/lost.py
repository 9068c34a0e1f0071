"""What lacks, put to what took it: which losses there were, and which of them others had made up for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from tieline.desk.least_times import just_let_go
from tieline.desk.redispatch import BY_KILL, DNO_LIMIT, OWN_LIMIT, LostW, headroom, serving
from tieline.desk.state import DeskState


def most_w(losses: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the most that each cause took in any of some losses (W), in the order in which they are first named.

    >>> most_w([{"opt_out": 1.0}, {"dno_limit": 3.0, "opt_out": 2.0}])
    {'opt_out': 2.0, 'dno_limit': 3.0}
    """
    found: dict[str, float] = {}
    for lost_w in losses:
        for cause, watts in lost_w.items():
            found[cause] = max(found.get(cause, 0.0), watts)
    return found


def fill(lacking_w: float, lost_w: Mapping[str, float], otherwise: str) -> dict[str, float]:
    """Return a lack put to what was lost, in order, none for more than it took; the rest is `otherwise`.

    >>> fill(5.0, {"dno_limit": 3.0, "opt_out": 0.0}, "unavailable")
    {'dno_limit': 3.0, 'unavailable': 2.0}
    """
    found: dict[str, float] = {}
    for name, most_w in lost_w.items():
        watts = min(most_w, lacking_w)
        if watts > 0:
            found[name] = watts
            lacking_w -= watts
    if lacking_w > 0:
        found[otherwise] = found.get(otherwise, 0.0) + lacking_w
    return found


def fill_net(
    lacking_w: float, lost_w: Mapping[str, float], made_up_w: Mapping[str, float], otherwise: str
) -> dict[str, float]:
    """Return a lack put to what was lost beyond what others had made up for, and only then to that as well.

    Who was out while nothing lacked is no cause of what lacks as another goes.

    Args:
        lacking_w: What lacks (W).
        lost_w: What each cause takes of what there is to call (W), in order.
        made_up_w: And what of that it took as others gave all that was owed (W).
        otherwise: The cause of what is left.

    >>> fill_net(3.0, {"opt_out": 5.0, "foreign_control": 2.0}, {"opt_out": 5.0}, "unavailable")
    {'foreign_control': 2.0, 'opt_out': 1.0}
    """
    found = fill(lacking_w, {name: most_w - made_up_w.get(name, 0.0) for name, most_w in lost_w.items()}, otherwise)
    left_w = found.pop(otherwise, 0.0)
    rest_w = {name: most_w - found.get(name, 0.0) for name, most_w in lost_w.items()}
    for name, watts in fill(left_w, rest_w, otherwise).items():
        found[name] = found.get(name, 0.0) + watts
    return found


def limits_part_w(paid_back_w: float, lost_w: Mapping[str, float], has_w: float, unshared_w: float) -> float:
    """Return what of a pay-back that lacks is a network operator's limit's (W): what would not lack without it.

    The pool calls others for what rows pay back. What a limit took of those who would have been called is why it lacks,
    so that part of it is the limit's; but never more than it took, nor what the pool had nobody else for either.
    Behind the kill switch nobody is called, with the limit or without it.

    Args:
        paid_back_w: What lacks as rows pay back a call (W).
        lost_w: What each cause takes of what there is to call (W).
        has_w: What of the lack the limit has already as nobody was asked for it (W).
        unshared_w: What was owed, or asked beside it, and nobody was left to be called for (W).

    >>> limits_part_w(38.0, {"dno_limit": 70.0}, 2.0, 30.0)
    28.0
    """
    if BY_KILL in lost_w:
        return 0.0
    return max(min(paid_back_w, min(lost_w.get(DNO_LIMIT, 0.0), unshared_w) - has_w), 0.0)


def moved(found: Mapping[str, float], from_cause: str, to_cause: str, watts: float) -> dict[str, float]:
    """Return causes with so much (W) of one put to another; one that has nothing left is gone.

    >>> moved({"rebound": 3.0}, "rebound", "dno_limit", 3.0)
    {'dno_limit': 3.0}
    """
    if watts <= 0.0:
        return dict(found)
    changed = {**found, from_cause: found[from_cause] - watts, to_cause: found.get(to_cause, 0.0) + watts}
    return {name: each for name, each in changed.items() if each > 0.0}


def made_up(before_w: Mapping[str, float], lost_w: Mapping[str, float], lacks: bool) -> LostW:
    """Return what of the losses now (W, by cause) others make up for: all where nothing lacks, else as before."""
    if not lacks:
        return dict(lost_w)
    return {name: min(watts, lost_w[name]) for name, watts in before_w.items() if name in lost_w}


def with_timers(
    state: DeskState, rows: NDArray[np.int32], eligible: NDArray[np.bool_], side: float, hours: float,
    lost_w: Mapping[str, float], now_ns: int,
) -> LostW:  # fmt: skip
    """Return losses (W, by cause) with what devices could give that were let go too short a time ago to be called.

    Their own timers keep them: of what is declared they take nothing, as that is over in minutes.
    """
    waits = just_let_go(state, rows, now_ns)
    if not waits.any():
        return dict(lost_w)
    mine, waits = rows[waits], eligible[waits]
    waits = serving(state, mine, waits, now_ns)
    room = headroom(state, mine, waits, np.zeros(len(mine)), hours, now_ns)
    watts = float((room.up_w if side >= 0 else room.down_w)[waits].sum())
    return {**lost_w, OWN_LIMIT: lost_w.get(OWN_LIMIT, 0.0) + watts}
