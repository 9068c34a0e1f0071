"""What lives as long as the process is taken out of the garbage collector's rounds.

Ten thousand devices are some hundred thousand objects that never become garbage. A full round looks at them all, takes
100 ms and more, and may come in the middle of a control room's limit.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Collect once, and leave out what is left from all later rounds (CPython: `gc.freeze`)."""
    gc.collect()
    gc.freeze()
