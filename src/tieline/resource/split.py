"""Split one target over many rows, one row at a time: the specification of `fleet.split`."""

from collections.abc import Sequence


def split_merit(target_w: float, headroom_w: Sequence[float], price: Sequence[float]) -> list[float]:
    """Give each row its share of a target (W), cheapest first, ties to the lower row.

    >>> split_merit(5.0, [4.0, 4.0], [30.0, 20.0])
    [1.0, 4.0]
    """
    shares = [0.0] * len(headroom_w)
    left_w = target_w
    for row in sorted(range(len(price)), key=lambda row: (price[row], row)):
        shares[row] = min(max(headroom_w[row], 0.0), max(left_w, 0.0))
        left_w -= shares[row]
    return shares


def split_whole(target_w: float, size_w: Sequence[float], order: Sequence[int]) -> list[float]:
    """Give rows that are on or off their whole size (W) while it fits into what is left of a target, by an order.

    What stays over is less than the size of any row that got nothing.

    >>> split_whole(7.0, [4.0, 4.0, 2.0], [0, 1, 2])
    [4.0, 0.0, 2.0]
    """
    shares = [0.0] * len(size_w)
    left_w = target_w
    for row in order:
        if size_w[row] <= left_w:
            shares[row] = size_w[row]
            left_w -= size_w[row]
    return shares
