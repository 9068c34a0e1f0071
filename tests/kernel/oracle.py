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


def allowed(rating: tuple, by_level: dict, safe: float) -> tuple:
    """The lowest and highest power allowed."""
    likes = [liked(limits, safe) for _, limits in sorted(by_level.items())]
    points = {*rating, *(end for pair in likes for end in pair)}
    points = [p for p in points if rating[0] <= p <= rating[1]]

    def displeasure(power: float) -> tuple:
        return tuple(max(low - power, power - high, 0.0) for low, high in likes)

    best = min(displeasure(p) for p in points)
    good = [p for p in points if displeasure(p) == best]
    return min(good), max(good)


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
