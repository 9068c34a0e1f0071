"""What is on or off by rules of its own: a device's modes as a table, and the cheapest way through them.

Theory of operation. A mode is all that the rules ask of the past: how long an engine has run or stood still, or how
many calls of a contract are left, how long the present one has lasted, or how long it still rests. A step with the
device on leads from a mode to one mode, and so does a step with it off; -1 where a rule forbids it. With the cost of a
step on and off given, the cheapest schedule is one pass backwards and one forwards, exact: there is no grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.switched import next_mode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Modes as a table: where a step on or off leads (-1: nowhere), and from which modes a step on is a start."""

    on: Ints
    off: Ints
    starts: NDArray[np.bool_]


def engine_walk(least_on: int, least_off: int) -> Walk:
    """Return the modes of what runs and stands still for so many steps at least, in the order of `next_mode`.

    >>> engine_walk(2, 1).on.tolist(), engine_walk(2, 1).off.tolist()
    ([1, 1, 0], [-1, 2, 2])
    """
    modes = range(least_on + least_off)
    table = [[next_mode(mode, turns_on, least_on, least_off) for mode in modes] for turns_on in (True, False)]
    return Walk(np.array(table[0]), np.array(table[1]), np.arange(least_on + least_off) >= least_on)


def engine_mode(lasted: int, least_on: int, least_off: int) -> int:
    """Return the mode of what has run for so many steps, or stood still for so many where below 0."""
    return min(lasted, least_on) - 1 if lasted > 0 else least_on + min(-lasted, least_off) - 1


def call_walk(calls: int, longest: int, shortest: int, rest: int) -> Walk:
    """Return the modes of a contract: calls left, and in each of those ready, called for so long, resting for so long.

    Args:
        calls: How many calls may yet begin.
        longest: Steps of a call at most.
        shortest: At least.
        rest: Steps from a call's end to the next at least; 1 or more.

    >>> call_walk(1, 2, 1, 1).on.tolist()  # no call left: ready, called; one left: ready, called
    [-1, 2, -1, 1, 5, -1]
    """
    per = call_width(longest, rest)
    size = (calls + 1) * per
    on, off, starts = np.full(size, -1), np.full(size, -1), np.zeros(size, np.bool_)
    for left in range(calls + 1):
        ready = left * per
        off[ready] = ready
        if left > 0:
            on[ready], starts[ready] = ready - per + 1, True
        for lasted in range(1, longest + 1):
            if lasted < longest:
                on[ready + lasted] = ready + lasted + 1
            if lasted >= shortest:
                off[ready + lasted] = ready + (longest + rest - 1 if rest > 1 else 0)
        for still in range(1, rest):
            off[ready + longest + still] = ready + (longest + still - 1 if still > 1 else 0)
    return Walk(on, off, starts)


def call_width(longest: int, rest: int) -> int:
    """Return how many modes there are with one number of calls left."""
    return 1 + longest + max(rest - 1, 0)


def call_mode(calls: int, longest: int, rest: int, lasted: int) -> int:
    """Return the mode of a contract that has been called for so many steps, or rests for so many yet where below 0."""
    within = min(lasted, longest) if lasted > 0 else longest + min(-lasted, rest - 1) if lasted < 0 and rest > 1 else 0
    return calls * call_width(longest, rest) + within


@compiled
def cheapest_walk(
    on: Ints, off: Ints, starts: NDArray[np.bool_], first: int, earliest: int, turn: float, on_cost: Floats,
    off_cost: Floats, value: Floats, turns: NDArray[np.bool_], runs: NDArray[np.bool_],
) -> float:  # fmt: skip
    """Fill `runs` with the cheapest schedule and return its cost; infinity where the rules leave none.

    Args:
        on: As in `Walk`, as `off` and `starts`; shape (S,).
        first: The mode before the first step.
        earliest: The first step at which a start is allowed.
        turn: What a start costs.
        on_cost: What a step on costs; shape (T,), as `off_cost`.
        value: Room to work; shape (2, S).
        turns: Room to work; shape (T, S).
        runs: Filled; shape (T,).
    """
    modes, steps = len(on), len(on_cost)
    now = 0
    for m in range(modes):
        value[now, m] = 0.0
    for t in range(steps - 1, -1, -1):
        then = 1 - now
        for m in range(modes):
            least, is_on = np.inf, False
            if off[m] >= 0:
                least = off_cost[t] + value[now, off[m]]
            if on[m] >= 0 and not (starts[m] and t < earliest):
                cost = on_cost[t] + value[now, on[m]] + (turn if starts[m] else 0.0)
                if cost < least:
                    least, is_on = cost, True
            value[then, m], turns[t, m] = least, is_on
        now = then
    least = value[now, first]
    mode = first
    if least < np.inf:
        for t in range(steps):
            runs[t] = turns[t, mode]
            mode = on[mode] if runs[t] else off[mode]
    return float(least)
