"""Why each row of a decision is told what it is told: the records that hold for it, and those that let it go.

Theory of operation. One record commands many rows, each for a reason of its own: a claim that won, a limit, a gate, the
end of what held it, the turn it was given. Its `caused_by` names them all, and `Causes` says which holds for which row,
so that a trace of one device follows its own alone. Reasons are small numbers in columns until a record is made: rows
with the same ones are a group, and only groups are spelled out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.packed import Causes, Packed
from tieline.desk.state import DeskState
from tieline.fleet.settling import Settled

Codes = NDArray[np.int32]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Column = tuple[Codes, Callable[[int], tuple[str, ...]]]
"""A number of each row (below 0: nothing), and the records that it stands for."""
Told = tuple[tuple[str, ...], Causes | None]


@dataclass(slots=True, eq=False)
class Why:
    """Who decides about rows: a winner, limits on both sides and a closed gate, by their serials; shape (n,) each."""

    state: DeskState
    rows: Rows
    claims: tuple[Codes, Codes, Codes, Codes]

    @staticmethod
    def of(state: DeskState, settled: Settled, mask: Mask) -> Why:
        """Return who decides about some of the rows that were settled."""
        # A gate below the grid operator's level sets no limit: it lets go whoever has a target from behind it.
        barred = np.where(settled.winner < 0, settled.barred, -1).astype(np.int32)
        by = (settled.winner, settled.limited_low, settled.limited_high, barred)
        winner, low, high, gate = (each[mask] for each in by)
        return Why(state, settled.rows[mask], (winner, low, high, gate))

    def take(self, mask: Mask) -> Why:
        """Return some of the rows."""
        winner, low, high, gate = (each[mask] for each in self.claims)
        return Why(self.state, self.rows[mask], (winner, low, high, gate))

    def of_commands(self, let_go: Mask, turn: Codes, staged: str) -> Told:
        """Return the causes of commands.

        Args:
            let_go: Which rows may do more than before, or wait for that; shape (n,).
            turn: The record that gave each its turn, by its place in `state.releases` (-1: none); shape (n,).
            staged: The record that comes next there, as it is being made.
        """
        releases = self.state.releases
        return self._told(self.claims, let_go, turn, lambda code: ((*releases[code : code + 1], staged)[0],))

    def of_release(self, at: NDArray[np.intp], is_gone: Mask) -> Told:
        """Return what let rows go that are staged, or took back those that are so no more (`is_gone`)."""
        winner, low, high, gate = (np.where(is_gone, each[at], -1).astype(np.int32) for each in self.claims)
        mine = Why(self.state, self.rows[at], (winner, low, high, gate))
        return mine._told(mine.claims, ~is_gone, np.full(len(at), -1, np.int32), lambda code: ())

    def _told(
        self, claims: tuple[Codes, ...], let_go: Mask, turn: Codes, turn_of: Callable[[int], tuple[str, ...]]
    ) -> Told:
        state, book = self.state, self.state.claims
        held = np.maximum.reduce(claims) >= 0
        # What ended tells why a row may do more; of one that another claim took over at once it tells nothing.
        ended = np.where(let_go | ~held, book.ended[self.rows], -1)
        # Nothing decides about it and nothing ended: it is told anew what it was told before.
        last = np.where(held | (ended >= 0) | (turn >= 0), -1, state.commands.batch[self.rows])
        batches = state.command_batches
        columns: list[Column] = [(each, lambda code: (book.name_of(code),)) for each in claims]
        columns += [(ended, book.end_of), (turn, turn_of), (last, lambda code: (batches[code],))]
        return joined(columns, len(claims))


def joined(columns: list[Column], alike: int) -> Told:
    """Return the records that columns name, each once, and which of them hold for which row (None: all for all).

    The first `alike` columns are numbers of one kind and are named in their order together; the others follow.
    """
    count = len(columns[0][0])
    group = np.zeros(count, np.int64)
    for codes, _ in columns:
        known = np.maximum(codes, -1)
        if (known != known[0]).any():
            place = _places(known)
            group = _places(group * (int(place.max()) + 1) + place)
    first = np.zeros(int(group.max()) + 1, np.intp)
    first[group[::-1]] = np.arange(count)[::-1]
    kinds = [0 if at < alike else at for at in range(len(columns))]
    keys = [
        {(kind, int(codes[at])): names for kind, (codes, names) in zip(kinds, columns, strict=True) if codes[at] >= 0}
        for at in first.tolist()
    ]
    found = {key: names(key[1]) for key, names in sorted(_merged(keys).items(), key=lambda each: each[0])}
    causes = tuple(dict.fromkeys(name for names in found.values() for name in names))
    if len(keys) == 1:
        return causes, None
    at_of = {name: at for at, name in enumerate(causes)}
    sets = tuple(tuple(sorted({at_of[name] for key in each for name in found[key]})) for each in keys)
    return causes, Causes(sets, Packed.of(group.astype(np.min_scalar_type(len(sets)))))


def _merged(each: list[dict[tuple[int, int], Any]]) -> dict[tuple[int, int], Any]:
    return {key: names for one in each for key, names in one.items()}


def _places(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place of each number among those there are."""
    low = int(codes.min())
    span = int(codes.max()) - low + 1
    if span > 4 * len(codes) + 4_096:
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)
    is_there = np.zeros(span, np.bool_)
    is_there[codes - low] = True
    places: NDArray[np.int64] = (np.cumsum(is_there) - 1)[codes - low]
    return places
