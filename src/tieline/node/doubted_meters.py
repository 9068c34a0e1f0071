"""Which readings and awards of an event's files are hardly what they say, and what somebody said to take as it stands.

What is doubted is told by its row; it is settled only where `--as-read` names that row, and what rests on it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tieline.errors import ConfigError
from tieline.market.doubts import FAR_ABOVE, doubts
from tieline.store.meter_files import HEAD, Floats, Instants, MeterSeries, read_instants, read_table
from tieline.times import HOUR_NS, iso

MARK = "+as-read:"
"""Stands in a line's data version before the rows that were taken as they stand."""
MOST_TOLD = 5
WORD = re.compile(r"(?:(awards|controls):)?(\d{1,12})(?:-(\d{1,12}))?")


@dataclass(frozen=True, slots=True)
class Doubted:
    """Rows of a file (by its role: `awards` or `controls`; "": the meters') that are doubted, and why."""

    path: Path
    file: str
    rows: tuple[int, ...]
    says: str

    @property
    def word(self) -> str:
        """How `--as-read` names them."""
        first, last = min(self.rows), max(self.rows)
        span = str(first) if first == last else f"{first}-{last}"
        return f"{self.file}:{span}" if self.file else span

    @property
    def where(self) -> str:
        """Where they stand, for a reader."""
        first, last = min(self.rows), max(self.rows)
        told = f"row {first}" if first == last else f"rows {first} to {last}"
        return f"{self.file}: {told}" if self.file else told

    def __str__(self) -> str:
        """Return where it stands and why it is doubted."""
        return f"{self.where}: {self.says}"


def doubted_readings(
    path: Path, meters: Sequence[MeterSeries], rating_kw: Mapping[str, float], file: str = ""
) -> list[Doubted]:
    """Return which rows of a meter file are doubted; by a meter's registration where that is known (kW)."""
    found = []
    for one in meters:
        most_kw = rating_kw.get(one.meter, rating_kw.get(""))
        rows = one.rows if one.rows is not None else np.arange(len(one.kwh)) + HEAD
        for doubt in doubts(one.starts_ns, one.kwh, one.step_ns, most_kw):
            which = slice(doubt.first, doubt.last + 1)
            top = one.kwh[which][np.nanargmax(np.abs(one.kwh[which]))]
            who = f"meter {one.meter}: " if one.meter else ""
            says = f"{who}kwh = {top:g} at {iso(int(one.starts_ns[doubt.first]))}: {doubt.says}"
            found.append(Doubted(path, file, tuple(rows[which].tolist()), says))
    return found


def doubted_awards(
    path: Path, starts_ns: Instants, mw: Floats, meters: Sequence[MeterSeries], rating_kw: Mapping[str, float],
    each_stands_for: float = 1.0,
) -> list[Doubted]:  # fmt: skip
    """Return which awards are more than the meters could ever give.

    From all that a meter may draw to all that it may give are two of its registrations; where one has none, eight times
    its highest reading.
    """
    most_kw = 0.0
    for one in meters:
        rating = rating_kw.get(one.meter, rating_kw.get(""))
        peak_kw = float(np.nanmax(np.abs(one.kwh), initial=0.0)) * HOUR_NS / one.step_ns
        most_kw += 2 * rating if rating is not None else FAR_ABOVE * peak_kw
    most_kw *= each_stands_for
    over = np.flatnonzero(mw * 1e3 > most_kw * (1 + 1e-9))
    if not len(over):
        return []
    every = read_instants(path, read_table(path, ("start",), ())["start"])
    row_of = {at: row + HEAD for row, at in enumerate(every.tolist())}
    return [
        Doubted(
            path,
            "awards", (row_of[int(starts_ns[k])],),
            f"mw = {mw[k]:g}: over the {most_kw:g} kW that its meters could ever give: in kW?",
        )
        for k in over.tolist()
    ]  # fmt: skip


def taken_as_read(doubted: Sequence[Doubted], as_read: Sequence[str]) -> tuple[str, ...]:
    """Return the words for what is doubted and was said to be taken as it stands, each once.

    Raises:
        ConfigError: A word of `as_read` is none, or a row is doubted that no word names.
    """
    spans = list(_spans(as_read))
    open_ = [one for one in doubted if not all(_is_named(one.file, row, spans) for row in one.rows)]
    if open_:
        told = "; ".join(f"{one.path}: {one}" for one in open_[:MOST_TOLD])
        more = f"; and {len(open_) - MOST_TOLD} more" if len(open_) > MOST_TOLD else ""
        words = ",".join(one.word for one in open_)
        raise ConfigError(f"{told}{more}: mend it, or take it as it stands with --as-read {words}")
    return tuple(dict.fromkeys(one.word for one in doubted))


def as_read_says(doubted: Sequence[Doubted]) -> list[str]:
    """Return what was taken as it stands, as flags of a statement."""
    return [f"taken as read, though doubted: {one}" for one in doubted]


def _spans(words: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    for word in (each.strip() for one in words for each in one.split(",")):
        found = WORD.fullmatch(word)
        if found is None:
            raise ConfigError(f"--as-read {word!r}: give rows such as 1418, 1418-1441 or awards:2")
        first = int(found[2])
        yield found[1] or "", first, int(found[3] or first)


def _is_named(file: str, row: int, spans: Sequence[tuple[str, int, int]]) -> bool:
    return any(name == file and first <= row <= last for name, first, last in spans)
