"""What lacks, put to what took it: which losses there were, and which of them others had made up for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


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
