"""What lives as long as the process is taken out of the garbage collector's rounds.

Ten thousand devices are some hundred thousand objects that never become garbage. A full round looks at them all, takes
100 ms and more, and may come in the middle of a control room's limit.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 50_000
"""So many objects more than were freed start a round over the youngest: a beat makes tens of thousands that die at its
end, and CPython's own 700 would look a hundred times in between."""
OLD, SELDOM = 50, 1_000
"""So many rounds over the middle-aged start one over all."""


def settle() -> None:
    """Collect once, and leave out what is left from all later rounds but the last (CPython: `gc.freeze`).

    The last round, at the end of the process, looks at all again: what is frozen then is never freed, and extension
    modules that count what they gave out (nanobind, so DuckDB) call it leaked.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, max(OLD, gc.get_threshold()[2]))
    atexit.unregister(gc.unfreeze)  # a process that settles twice thaws once
    atexit.register(gc.unfreeze)


@contextmanager
def seldom() -> Iterator[None]:
    """Look at all objects next to never while it lasts: a run that ends within the hour leaves few in cycles."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG, 20, SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
