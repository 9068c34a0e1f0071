"""What was learnt of each device lasts over a restart: saved each minute, and taken up again as a server starts.

Without it a load that is called when a server dies has no base: it would count as giving nothing, be let go, and the
market be told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tieline.desk.cycle import STALE_NS
from tieline.desk.state import DeskState
from tieline.node.last_readings import LOOKS_BACK_NS
from tieline.node.runtime import Node
from tieline.resource.quality import Quality
from tieline.store.learnt import About, Columns, load, names_of, save
from tieline.times import MINUTE_NS

KEEPS_NS = MINUTE_NS
"""How old what is on disk may become while devices are heard."""


class Learnt:
    """The file of a folder, and of which devices something is known."""

    def __init__(self, path: Path, state: DeskState, say: Callable[[str], None]) -> None:
        self._path, self._state, self._say = path, state, say
        self._known = np.zeros(len(state.fleet), np.bool_)
        self._base_w: NDArray[np.float64] = state.base_w[:0]
        self._at_ns = 0
        self._names = ""

    def take(self) -> int:
        """Take up what was saved, before any reading is; return of how many devices there was something.

        A file that can't be read is said, and everything is learnt anew: nothing that was decided hangs on it.
        """
        state = self._state
        try:
            found = load(self._path, state.fleet.ids)
            if found is not None and not all(np.isfinite(column).all() for column in found[1].values()):
                raise ValueError("holds what is no number")
        except ValueError as error:
            self._say(f"warning: {self._path} = {error}: what devices do uncalled is learnt anew")
            return 0
        if found is None:
            return 0
        about, columns = found
        known = np.flatnonzero(columns["known"])
        for name, column in _columns_of(state).items():
            if name in columns and columns[name].dtype == column.dtype:
                column[known] = columns[name][known]
        self._known[known] = True
        self._base_w, self._at_ns = state.base_w.copy(), about.at_ns
        return len(known)

    def hold_base(self, now_ns: int) -> None:
        """Put bases back that the first readings overwrote: where they were learnt just now those know no better.

        The last reading of a load that is held tells nothing of its base, and of a thermostat only whether it was on.
        """
        if now_ns - self._at_ns < LOOKS_BACK_NS:
            known = self._known[: len(self._base_w)]
            self._state.base_w[: len(self._base_w)][known] = self._base_w[known]

    def note_lost(self) -> None:
        """Flag devices that were lost before the last server ended: what was kept of them holds for no while more."""
        fleet = self._state.fleet
        lost = (fleet.taken_at_ns > 0) & (fleet.taken_at_ns < self._at_ns - STALE_NS)
        fleet.quality[lost] |= np.uint32(int(Quality.NOT_TOPICAL))

    def keep(self, node: Node, executor: Executor) -> None:
        """Save after a beat, once a minute, beside the server's work; what can't be written is said once."""
        failed = ""

        async def follow() -> None:
            nonlocal failed
            now_ns = node.clock.now_ns()
            if 0 <= now_ns - self._at_ns < KEEPS_NS:  # a clock that was set back is followed, too
                return
            self._known |= self._state.fleet.taken_at_ns > 0
            if not self._known.any():  # nobody was heard yet: the first word is kept as it comes
                return
            self._at_ns = now_ns
            columns = {"known": self._known.copy(), **{n: col.copy() for n, col in _columns_of(self._state).items()}}
            try:
                await asyncio.get_running_loop().run_in_executor(executor, self._save, columns, now_ns)
                failed = ""
            except OSError as error:
                if str(error) != failed:
                    failed = str(error)
                    self._say(f"warning: {self._path} is not kept: {error}: a restart would learn bases anew")

        node.after_beat.append(follow)

    def _save(self, columns: Columns, now_ns: int) -> None:
        count = len(self._known)
        self._names = self._names or names_of(self._state.fleet.ids, count)
        save(self._path, columns, About(now_ns, count, self._names))


def _columns_of(state: DeskState) -> dict[str, NDArray[np.generic]]:
    """Return the columns themselves, shape (n,) each."""
    responses, cycles = state.responses, state.cycles
    return {
        "base_w": state.base_w,
        "reach_frac": state.reach_frac,
        "idle_ns": state.idle_ns,
        "rebounds_until_ns": state.rebounds_until_ns,
        "missed_until_ns": state.missed_until_ns,
        "called": responses.called,
        "able": responses.able,
        "uncalled_ns": responses.uncalled_ns,
        "strikes": responses.strikes,
        "last_ns": responses.last_ns,
        "missed_ns": responses.missed_ns,
        "whole_ws": cycles.whole_ws,
        "whole_s": cycles.whole_s,
        "length_s": cycles.length_s,
        "seen_s": cycles.seen_s,
        "own_from_ns": cycles.own_from_ns,
        **state.strays.by_name(),
    }
