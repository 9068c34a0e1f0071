"""A group's limit as caps on its leaves, moved without ever adding up to more: decrease before increase (rule R16).

This scalar form is the specification; `fleet.grouplimit` is the same in columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def moved_caps(
    limit_w: float,
    wish_w: Sequence[float],
    held_w: Sequence[float],
    told_w: Sequence[float],
    is_whole: Sequence[bool] = (),
) -> list[float]:
    """Return the upper caps (W) that may be placed now on the way to those that are wished for.

    A cap sinks at once. What it held counts until its smaller cap is acknowledged or its lease has lapsed, so that a
    cap grows only into what is free of that: the larger of what each leaf is told and what it may still hold never adds
    up to more than the limit.

    Args:
        limit_w: What all leaves together may reach (W).
        wish_w: The cap that each leaf should have (W).
        held_w: The largest cap that each leaf may still hold (W).
        told_w: The cap that each leaf was told last (W): it may have heard, though its answer was lost, so a cap above
            it is growth.
        is_whole: Which leaves are on or off, so that a part of a growth would be none: such a cap grows to its wish
            while that fits, row by row, before the others share what is left. Empty: none.

    >>> moved_caps(10.0, [8.0, 2.0], [5.0, 5.0], [5.0, 5.0])
    [5.0, 2.0]
    >>> moved_caps(10.0, [8.0, 2.0], [5.0, 2.0], [5.0, 2.0])
    [8.0, 2.0]
    >>> moved_caps(10.0, [4.0, 4.0, 9.0], [0.0, 0.0, 5.0], [0.0, 0.0, 5.0], [True, True, False])
    [4.0, 0.0, 6.0]
    """
    from_w = [min(held, told) for held, told in zip(held_w, told_w, strict=True)]
    free_w = limit_w - math.fsum(held_w)
    grows_w = [max(wish - start, 0.0) for wish, start in zip(wish_w, from_w, strict=True)]
    parts = [0.0] * len(grows_w)
    whole = list(is_whole) or [False] * len(grows_w)
    for row, grow_w in enumerate(grows_w):
        if whole[row] and 0.0 < grow_w <= free_w:
            parts[row] = 1.0
            free_w -= grow_w
    shared_w = math.fsum(grow for row, grow in enumerate(grows_w) if not whole[row])
    part = min(1.0, max(free_w, 0.0) / shared_w) if shared_w > 0 else 0.0
    parts = [parts[row] if whole[row] else part for row in range(len(grows_w))]
    return [
        start + part * grow if grow > 0 else wish
        for wish, start, grow, part in zip(wish_w, from_w, grows_w, parts, strict=True)
    ]
