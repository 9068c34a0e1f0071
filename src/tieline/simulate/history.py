"""What meters saw of a world that ran freely before a study or a scene begins."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.world import Floats, World
from tieline.times import SECOND_NS


def history_w(
    world: World,
    end_ns: int,
    days: int,
    step_s: int,
    seconds: int = 900,
    measure: Callable[[World], Floats] = lambda world: world.power_w.sum(keepdims=True) - world.base_load_w.sum(),
) -> tuple[NDArray[np.int64], Floats]:
    """Run the world freely for so many days up to `end_ns`, and return what its meters saw.

    The feeders are not solved meanwhile: what nobody controls breaks no limit that anybody would ask about.

    Args:
        world: The world; it is left as the last day left it.
        end_ns: Where the history ends.
        days: How many days before that.
        step_s: Physics step (s).
        seconds: Metering interval (s).
        measure: What is metered; shape (meters,), W. By itself the net power of all sites.

    Returns:
        Start of each interval (ns) and the mean of each meter over it; shapes (n,) and (n, meters), W.
    """
    count = len(world.power_w)
    free, open_low, open_high = np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)
    begin_ns = end_ns - days * 86_400 * SECOND_NS
    intervals = days * 86_400 // seconds
    steps = seconds // step_s
    starts = begin_ns + np.arange(intervals, dtype=np.int64) * seconds * SECOND_NS
    mean_w = np.zeros((intervals, len(measure(world))))
    network, world.network = world.network, None
    for k in range(intervals):
        for turn in range(steps):
            world.step(int(starts[k]) + (turn + 1) * step_s * SECOND_NS, float(step_s), free, open_low, open_high)
            mean_w[k] += measure(world) / steps
    world.network = network
    return starts, mean_w
