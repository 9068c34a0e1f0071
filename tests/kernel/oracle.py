"""An independent oracle of arbitration: no folding, no sorting, only the rule, tried on every candidate.

Each level's limits say which powers it likes; a power's displeasure with a level is its distance to what the level
likes. The powers that are allowed are those of the rating with the lexicographically least displeasure, strongest
level first. All ends of that set are among the ends of the limits, the rating and the safe power, so trying those is
enough.
"""


def liked(limits: list, safe: float) -> tuple:
    """What a level likes: where its limits contradict each other, the point nearest to the safe power."""
    low = max(low for low, _ in limits)
    high = min(high for _, high in limits)
    if low > high:
        candidates = sorted([low, high, safe], key=lambda p: (max(p - low, high - p, 0.0), abs(p - safe)))
        point = next(p for p in candidates if high <= p <= low)
        return point, point
    return low, high


def closed_level(gates: list) -> int | None:
    """The level whose gate is closed: that of the gate that beats all others, if it says 0; None: open."""
    for one in gates:
        if all(one is other or beats(one, other) for other in gates):
            return int(one.level) if one.value == 0 else None
    return None


def allowed(rating: tuple, by_level: dict, safe: float, hold: tuple | None = None) -> tuple:
    """The lowest and highest power allowed.

    `by_level` maps a level to its limits; a locked-out resource likes its safe power alone, said as the level plus one
    half; a hold timer stands between levels 1 and 2, after a lock-out of level 1.
    """
    asked = {level: liked(limits, safe) for level, limits in by_level.items()}
    if hold is not None:
        asked[1.75] = hold
    likes = [asked[level] for level in sorted(asked)]
    points = {*rating, *(end for pair in likes for end in pair)}
    points = [p for p in points if rating[0] <= p <= rating[1]]

    def displeasure(power: float) -> tuple:
        return tuple(max(low - power, power - high, 0.0) for low, high in likes)

    best = min(displeasure(p) for p in points)
    good = [p for p in points if displeasure(p) == best]
    return min(good), max(good)


def counted(deltas: list, reserved: dict) -> float:
    """The sum of the deltas: each asks, strongest first, and is turned away where its reservation has no more left."""
    left = {name: list(held) for name, held in reserved.items()}
    total = 0.0
    waiting = list(deltas)
    while waiting:
        first = next(c for c in waiting if all(c is o or beats(c, o) for o in waiting))
        waiting.remove(first)
        side = 0 if first.value >= 0 else 1
        if first.reservation_id in left and left[first.reservation_id][side] >= abs(first.value):
            left[first.reservation_id][side] -= abs(first.value)
            total += first.value
    return total


def beats(a, b) -> bool:
    """Whether claim a beats claim b, said as a chain of comparisons."""
    if a.level != b.level:
        return a.level < b.level
    if a.primacy != b.primacy:
        return a.primacy < b.primacy
    if a.created_ns != b.created_ns:
        return a.created_ns > b.created_ns
    if a.source != b.source:
        return a.source < b.source
    return a.id < b.id
