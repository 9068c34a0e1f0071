"""Operating envelopes as a document: what one tool computed of a feeder, for a desk that keeps customers within it.

One JSON object: of which feeder, which version, how and when it was made, whom it is about, over which intervals, and a
row of W an interval in `low_w` and `high_w`, a column a customer. What is wrong is named by its place in the document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid.operating import OperatingEnvelopes
from tieline.ids import NAME, is_name
from tieline.resource.claim import Refusal
from tieline.times import FOREVER_NS, iso, parse_iso

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
MOST_VALUES = 1_000_000
MOST_NAME, MOST_METHOD = 128, 200
MOST_W = 1e12
MOST_VERSION = 2**53 - 1
"""The largest whole number that every reader of JSON reads as it was written."""
Row = tuple[float | None, ...]


class Span(Struct, frozen=True, forbid_unknown_fields=True):
    """One interval, half-open, ISO 8601 with an offset."""

    start: str
    end: str


class EnvelopeSet(Struct, frozen=True, forbid_unknown_fields=True):
    """Operating envelopes of a feeder's customers over intervals: net W positive into the grid, a row an interval.

    `version` grows with each set of the same feeder. `resources` names the resource of each customer where that is
    called something else in the registry; left out, customers are resources. `null` stands for no number, and is
    refused.
    """

    feeder: str
    version: int
    method: str
    made_at: str
    customers: tuple[str, ...]
    intervals: tuple[Span, ...]
    low_w: tuple[Row, ...]
    high_w: tuple[Row, ...]
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EnvelopeColumns:
    """A set that makes sense, in columns, intervals in their order: (t,) of instants (ns), (t, c) of bounds (W)."""

    made_ns: int
    start_ns: Instants
    end_ns: Instants
    low_w: Floats
    high_w: Floats


def envelope_text(
    found: OperatingEnvelopes,
    customers: Sequence[str],
    intervals: Sequence[tuple[int, int]],
    *,
    feeder: str,
    version: int,
    method: str,
    made_ns: int,
    resources: Sequence[str] = (),
) -> str:
    """Return envelopes as the document that a desk takes.

    Args:
        found: The envelopes; (t, c).
        customers: What each column is of; (c,).
        intervals: Start and end of each row (UTC ns); (t,).
        feeder: Of which feeder.
        version: Greater than that of the set before.
        method: How they were made, such as `robust, max-min`.
        made_ns: When (UTC ns).
        resources: What each customer is called in the registry; empty: the same.

    Raises:
        ConfigError: What the desk would refuse, in the same words.
    """
    made = EnvelopeSet(
        feeder, version, method, iso(made_ns), tuple(customers),
        tuple(Span(iso(start_ns), iso(end_ns)) for start_ns, end_ns in intervals),
        _rows(found.low_w), _rows(found.high_w), tuple(resources),
    )  # fmt: skip
    checked = envelope_columns(made)
    if isinstance(checked, Refusal):
        raise ConfigError(str(checked))
    return msgspec.json.encode(made).decode()


def read_envelopes(text: str) -> EnvelopeSet:
    """Return the set in a document. Raises ConfigError: it is no such document; the message names the place.

    A `NaN` that a careless writer left is read, so that the check can name whose it is.
    """
    try:
        return msgspec.convert(json.loads(text), EnvelopeSet)
    except (ValueError, RecursionError) as error:  # of msgspec, too: its errors of values are ValueErrors
        raise ConfigError(f"no set of operating envelopes: {error}") from error


def envelope_columns(made: EnvelopeSet) -> EnvelopeColumns | Refusal:
    """Return a set in columns, or what is wrong in it: field, value and limit."""
    return _words_wrong(made) or _shapes_wrong(made) or _columns(made)


def _words_wrong(made: EnvelopeSet) -> Refusal | None:
    if not is_name(made.feeder):
        return Refusal("a set of envelopes is of a feeder", "feeder", made.feeder[:80], NAME)
    if not 0 < len(made.method.strip()) <= MOST_METHOD or not made.method.isprintable():
        limit = f"1 to {MOST_METHOD} printable characters"
        return Refusal("a set of envelopes says how it was made", "method", made.method[:80], limit)
    if not 1 <= made.version <= MOST_VERSION:
        return Refusal("not a version", "version", str(made.version), f"1 to {MOST_VERSION}")
    if not made.customers:
        return Refusal("nobody is named", "customers", "none", "one customer or more")
    if made.resources and len(made.resources) != len(made.customers):
        return Refusal(
            "each customer has its resource, or none is given", "resources", f"{len(made.resources)} names",
            f"{len(made.customers)}, one a customer",
        )  # fmt: skip
    for field, names in (("customers", made.customers), ("resources", made.resources)):
        seen = dict[str, int]()
        for at, name in enumerate(names):
            if not 0 < len(name) <= MOST_NAME:
                return Refusal("not a name", f"{field}[{at}]", name[:80], f"1 to {MOST_NAME} characters")
            if seen.setdefault(name, at) != at:
                return Refusal("named twice", f"{field}[{at}]", name, f"each once; it is {field}[{seen[name]}] already")
    return None


def _shapes_wrong(made: EnvelopeSet) -> Refusal | None:
    steps, count = len(made.intervals), len(made.customers)
    if not steps:
        return Refusal("no interval", "intervals", "none", "one interval or more")
    if steps * count > MOST_VALUES:
        return Refusal("too much for one set", "intervals", f"{steps} x {count} customers", f"{MOST_VALUES} in all")
    for field, rows in (("low_w", made.low_w), ("high_w", made.high_w)):
        if len(rows) != steps:
            return Refusal("a row an interval", field, f"{len(rows)} rows", f"{steps}, one an interval")
        for at, row in enumerate(rows):
            if len(row) != count:
                return Refusal("a column a customer", f"{field}[{at}]", f"{len(row)} values", f"{count}")
    return None


def _columns(made: EnvelopeSet) -> EnvelopeColumns | Refusal:
    made_ns = _instant("made_at", made.made_at)
    if isinstance(made_ns, Refusal):
        return made_ns
    edges = list[tuple[int, int]]()
    for at, span in enumerate(made.intervals):
        start_ns, end_ns = (_instant(f"intervals[{at}].{key}", getattr(span, key)) for key in ("start", "end"))
        for found in (start_ns, end_ns):
            if isinstance(found, Refusal):
                return found
        assert isinstance(start_ns, int) and isinstance(end_ns, int)
        if end_ns <= start_ns:
            return Refusal("it ends before it starts", f"intervals[{at}].end", span.end, f"after {span.start}")
        edges.append((start_ns, end_ns))
    order = sorted(range(len(edges)), key=lambda at: edges[at])
    for before, at in pairwise(order):
        if edges[at][0] < edges[before][1]:
            limit = f"from {iso(edges[before][1])} on, where intervals[{before}] ends"
            return Refusal("intervals overlap", f"intervals[{at}].start", made.intervals[at].start, limit)
    low_w, high_w = (np.array(rows, float)[order] for rows in (made.low_w, made.high_w))  # None becomes NaN
    wrong = _values_wrong(made, order, low_w, high_w)
    if wrong is not None:
        return wrong
    start, end = np.array([edges[at] for at in order], np.int64).T.copy()
    return EnvelopeColumns(made_ns, start, end, low_w, high_w)


def _values_wrong(made: EnvelopeSet, order: Sequence[int], low_w: Floats, high_w: Floats) -> Refusal | None:
    for field, values in (("low_w", low_w), ("high_w", high_w)):
        wrong = np.argwhere(~(np.abs(values) <= MOST_W))
        if len(wrong):
            step, customer = (int(each) for each in wrong[0])
            value, name = values[step, customer], made.customers[customer]
            given = f"{value:g}" if not math.isnan(value) else "no number"
            limit = f"-{MOST_W:g} to {MOST_W:g} W"
            return Refusal(f"no power: of {name}", f"{field}[{order[step]}][{customer}]", given, limit)
    crossed = np.argwhere(low_w > high_w)
    if len(crossed):
        step, customer = (int(each) for each in crossed[0])
        return Refusal(
            f"the envelope is empty: of {made.customers[customer]}", f"low_w[{order[step]}][{customer}]",
            f"{low_w[step, customer]:g}", f"<= high_w {high_w[step, customer]:g}",
        )  # fmt: skip
    return None


def _instant(field: str, text: str) -> int | Refusal:
    limit = "ISO 8601 with an offset, such as 2026-06-01T12:00:00Z"
    try:
        found = parse_iso(text)
    except (ValueError, OverflowError):
        return Refusal("no instant", field, text[:80], limit)
    return found if 0 <= found < FOREVER_NS else Refusal("no instant", field, text[:80], limit)


def _rows(values: Floats) -> tuple[Row, ...]:
    return tuple(tuple(value if math.isfinite(value) else None for value in row) for row in values.tolist())
