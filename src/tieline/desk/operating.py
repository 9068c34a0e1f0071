"""Operating envelopes of feeders that a desk keeps: each interval's bounds become limits when it begins.

Theory of operation. A set is one fact with all its intervals, so that it is taken whole or not at all and a replay
knows what is to come. At the beat that an interval begins with, before what was there is let go, each resource gets an
ask of its own for that interval: at the level of envelopes, by source and feeder, so that the interval before it ends
by it. What was placed already is found among the asks; so a start in the middle of an interval places it, once. From
there on it is a limit like any other. Once the last interval is over nothing of the set bounds anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import msgspec
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from tieline.desk.asks import decide_ask, decide_withdraw, key_of, refusal_of
from tieline.desk.entry import Entry
from tieline.desk.envelope_facts import EnvelopesTaken, EnvelopesWithdrawn
from tieline.desk.packed import Packed
from tieline.desk.people import lacks_second, names_in
from tieline.desk.ports import Ask
from tieline.desk.published import Published
from tieline.desk.state import DeskState
from tieline.grid.envelope_file import EnvelopeColumns, EnvelopeSet, envelope_columns
from tieline.ids import derive
from tieline.resource.admission import LEASE_CAP_NS, Principal
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, SECOND_NS, iso

SOURCE = "envelope:"
PROGRAM = "operating envelope"
AT_ONCE = 100
"""So many limits are placed before others have their turn: to share one out behind a site takes milliseconds."""
MOST_NS = LEASE_CAP_NS[Level.ENVELOPE] or FOREVER_NS


class Foretold(Struct, frozen=True):
    """What an end-point may know beforehand of one device: name, why, and steps of start, end (ns), low, high (W)."""

    name: str
    because: str
    steps: tuple[tuple[int, int, float, float], ...]


class EnvelopesView(Struct, frozen=True):
    """A feeder's operating envelopes as the desk has them.

    `stands` is `waits`, `in force`, `between` two intervals, `ended` or `withdrawn`; `ended` means that nothing of them
    bounds anybody. `start_ns` to `end_ns` is the whole that they are about, and `until_ns` the end of the interval in
    force (null: none is). `in_force` is how many customers have their limit now, and `refused` those that have none
    where an interval runs, with why.
    """

    feeder: str
    version: int
    method: str
    made_ns: int
    by: str
    stands: str
    start_ns: int
    end_ns: int
    until_ns: int | None
    intervals: int
    customers: int
    in_force: int
    refused: tuple[tuple[str, str], ...]
    record: str


def touched(state: DeskState, made: EnvelopeSet) -> int:
    """Return how many devices stand beneath the resources of a set; what is no resource counts none."""
    names = [name for name in made.resources or made.customers if state.fleet.holds(name)]
    return int(_covers(state, names).sum())


def decide_take(
    state: DeskState, made: EnvelopeSet, principal: Principal, by: str, now_ns: int
) -> tuple[list[Entry], EnvelopesTaken | Refusal]:
    """Return the facts of taking a set, all or nothing, with limits for the interval that runs; or why it is refused.

    The same set twice is taken once. A refusal names field, value and limit; whole sets alone are taken.
    """
    columns = envelope_columns(made)
    if isinstance(columns, Refusal):
        return [], columns
    fact, known = _fact(made, columns, by), state.envelopes.get(made.feeder)
    record = _record_of(fact)
    if known is not None and known.version == made.version and not known.withdrawn_by and known.record == record:
        return [], known.fact
    refusal = _stale(known, made, record) or _over(columns, now_ns) or _nobody(state, made, fact)
    refusal = refusal or _not_admitted(state, fact, columns, principal, now_ns)
    if refusal is not None:
        return [], refusal
    rows = int(_covers(state, list(fact.resources)).sum())
    refusal = lacks_second(names_in(by), Level.ENVELOPE, rows, len(state.fleet), state.two_people)
    if refusal is not None:
        return [], refusal
    taken = Published(fact, record)
    entry = Entry(record, fact, made.feeder, () if known is None else (known.record,))
    return [entry, *_placing(state, taken, principal, now_ns)], fact


def decide_withdraw_envelopes(state: DeskState, feeder: str, by: str, now_ns: int) -> tuple[list[Entry], bool]:
    """Return the facts of taking a feeder's envelopes back, with their limits in force; and whether there were any."""
    known = state.envelopes.get(feeder)
    if known is None or known.withdrawn_by:
        return [], False
    record = derive("envelopes-withdrawn", known.record)
    entry = Entry(record, EnvelopesWithdrawn(feeder, known.version, by), feeder, (known.record,))
    return [entry, *_ended(state, known, (), f"the envelopes were taken back ({by})", record, now_ns)], True


def decide_place(state: DeskState, principal: Principal, now_ns: int) -> list[Entry]:
    """Return the facts that put the intervals in force which run now, of all sets; none where they are already.

    So many as can be placed at once; who asks again, once these are applied, has the next.
    """
    entries = list[Entry]()
    for known in state.envelopes.values():
        if not known.withdrawn_by:
            entries += _placing(state, known, principal, now_ns)
        if entries:
            break
    return entries


def next_edge_ns(state: DeskState, now_ns: int) -> int:
    """Return when the next interval of any set begins or ends, after now; `FOREVER_NS`: none does."""
    edges = [FOREVER_NS]
    for known in state.envelopes.values():
        if not known.withdrawn_by:
            edges += [int(each[each > now_ns].min(initial=FOREVER_NS)) for each in (known.start_ns, known.end_ns)]
    return min(edges)


def foretold(state: DeskState, now_ns: int) -> dict[int, tuple[Foretold, ...]]:
    """Return what is to come of each device that is alone in its customer's envelope, from now on, by its row.

    Where several stand behind one connection their parts follow from what each does then: nobody knows them beforehand.
    """
    found = dict[int, tuple[Foretold, ...]]()
    for known in state.envelopes.values():
        left = np.flatnonzero(known.end_ns > now_ns)
        if known.withdrawn_by or not len(left):
            continue
        low_w, high_w = known.low_w, known.high_w
        for at, resource in enumerate(known.fact.resources):
            if not state.fleet.holds(resource) or len(rows := state.fleet.leaves(resource)) != 1:
                continue
            steps = tuple(
                (int(known.start_ns[t]), int(known.end_ns[t]), float(low_w[t, at]), float(high_w[t, at])) for t in left
            )
            one = Foretold(f"{known.fact.feeder} {known.version}", _method(known.fact), steps)
            found[int(rows[0])] = (*found.get(int(rows[0]), ()), one)
    return found


def views_of(state: DeskState, now_ns: int) -> list[EnvelopesView]:
    """Return every feeder's newest set, by name."""
    return [_view(state, known, now_ns) for _, known in sorted(state.envelopes.items())]


# --- taking -----------------------------------------------------------------------------------------------------------


def _fact(made: EnvelopeSet, columns: EnvelopeColumns, by: str) -> EnvelopesTaken:
    return EnvelopesTaken(
        made.feeder, made.version, made.method, columns.made_ns, by, made.customers, made.resources or made.customers,
        Packed.of(columns.start_ns), Packed.of(columns.end_ns), Packed.of(columns.low_w.ravel()),
        Packed.of(columns.high_w.ravel()),
    )  # fmt: skip


def _record_of(fact: EnvelopesTaken) -> str:
    """Return the id of a set's record: that of its content, whoever sends it."""
    digest = blake2b(msgspec.msgpack.encode(structs.replace(fact, by="")), digest_size=16).hexdigest()
    return derive("envelopes", fact.feeder, fact.version, digest)


def _stale(known: Published | None, made: EnvelopeSet, record: str) -> Refusal | None:
    if known is None or made.version > known.version:
        return None
    why = "a newer set of this feeder is known"
    if made.version == known.version:
        why = "this version was taken back" if known.record == record else "this version is known with other content"
    return Refusal(why, "version", str(made.version), f"> {known.version}", known.record, "R4")


def _over(columns: EnvelopeColumns, now_ns: int) -> Refusal | None:
    last_ns = int(columns.end_ns[-1])
    if last_ns > now_ns:
        return None
    return Refusal("all its intervals are over", "intervals", f"until {iso(last_ns)}", f"after {iso(now_ns)}")


def _nobody(state: DeskState, made: EnvelopeSet, fact: EnvelopesTaken) -> Refusal | None:
    """Refuse a customer that is no resource, has no devices, or shares one with another."""
    field, covers = "resources" if made.resources else "customers", np.full(len(state.fleet), -1, np.int32)
    for at, name in enumerate(fact.resources):
        where = f"{field}[{at}]"
        if not state.fleet.holds(name):
            return Refusal(f"no such resource: of {fact.customers[at]}", where, name, "a resource of the registry")
        rows = state.fleet.leaves(name)
        if not len(rows):
            return Refusal("no device stands beneath it", where, name, "a resource with devices")
        taken = rows[covers[rows] >= 0]
        if len(taken):
            other = fact.resources[covers[taken[0]]]
            return Refusal(
                "two envelopes bound one device", where, name, f"nothing of {other}", state.fleet.id_of(int(taken[0]))
            )
        covers[rows] = at
    return None


def _not_admitted(
    state: DeskState, fact: EnvelopesTaken, columns: EnvelopeColumns, principal: Principal, now_ns: int
) -> Refusal | None:
    lengths = columns.end_ns - np.maximum(columns.start_ns, now_ns)
    longest = int(lengths.argmax())
    if lengths[longest] > MOST_NS:
        limit = f"{MOST_NS / SECOND_NS:.0f} s, as for every limit at this level"
        given = f"{lengths[longest] / SECOND_NS:.0f} s from {iso(int(columns.start_ns[longest]))}"
        return Refusal("an interval is too long", "intervals", given, limit, rule="R1")
    step = int(np.flatnonzero(columns.end_ns > now_ns)[0])
    for at, resource in enumerate(fact.resources):
        ask = _ask(state, fact, "", at, resource, _Step.of(columns, step))
        refusal = refusal_of(state, ask, principal, now_ns)
        if refusal is not None:
            return structs.replace(refusal, reason=f"{refusal.reason}: of {fact.customers[at]} ({resource})")
    return None


# --- placing ----------------------------------------------------------------------------------------------------------


class _Step(Struct, frozen=True):
    """One interval of a set."""

    start_ns: int
    end_ns: int
    low_w: NDArray[np.float64]
    high_w: NDArray[np.float64]

    @staticmethod
    def of(columns: EnvelopeColumns | Published, step: int) -> _Step:
        return _Step(int(columns.start_ns[step]), int(columns.end_ns[step]), columns.low_w[step], columns.high_w[step])


def _running(known: Published, now_ns: int) -> _Step | None:
    """Return the interval that runs now; None: none does."""
    at = np.flatnonzero((known.start_ns <= now_ns) & (now_ns < known.end_ns))
    return _Step.of(known, int(at[0])) if len(at) else None


def _placing(state: DeskState, known: Published, principal: Principal, now_ns: int) -> Iterator[Entry]:
    """Yield the facts that put the interval of one set in force that runs now, and end what it leaves out."""
    step = _running(known, now_ns)
    newer = f"version {known.version} of the envelopes of {known.fact.feeder} leaves it out from now on"
    yield from _ended(state, known, () if step is None else known.fact.resources, newer, known.record, now_ns)
    if step is None:
        return
    placed = 0
    for at, resource in enumerate(known.fact.resources):
        live = state.asks.get((SOURCE + known.fact.feeder, PROGRAM, resource, Quantity.P.value))
        if live is not None and live.ask.frame == known.record and live.ask.start_ns == step.start_ns:
            continue
        ask = _ask(state, known.fact, known.record, at, resource, step)
        entries, _ = decide_ask(state, ask, principal, now_ns)  # a refusal is recorded, too, once
        for each in entries:
            yield structs.replace(each, caused_by=(known.record, *each.caused_by))
        placed += bool(entries)
        if placed == AT_ONCE:
            return


def _ask(state: DeskState, fact: EnvelopesTaken, record: str, at: int, resource: str, step: _Step) -> Ask:
    key = (SOURCE + fact.feeder, PROGRAM, resource, Quantity.P.value)
    because = (
        f"operating envelope of {fact.feeder} for {fact.customers[at]}, version {fact.version} ({_method(fact)}), "
        f"{iso(step.start_ns)}/{iso(step.end_ns)}"
    )
    return Ask(
        key[0], "operator", PROGRAM, Level.ENVELOPE, resource, Quantity.P, ClaimKind.LIMIT,
        state.versions.get(key, 0) + 1, step.start_ns, step.end_ns, low=float(step.low_w[at]),
        high=float(step.high_w[at]), because=because, frame=record, people=names_in(fact.by),
    )  # fmt: skip


def _method(fact: EnvelopesTaken) -> str:
    return f"{fact.method}, made {iso(fact.made_ns)}"


def _ended(
    state: DeskState, known: Published, keeps: tuple[str, ...], why: str, record: str, now_ns: int
) -> Iterator[Entry]:
    """Yield the facts that end limits of a feeder's sets which hold yet and are none of some resources'."""
    kept = frozenset(keeps)
    for key, live in list(state.asks.items()):
        if key[0] == SOURCE + known.fact.feeder and key[2] not in kept and live.ask.end_ns > now_ns:
            for entry in decide_withdraw(state, key, record, why, now_ns):
                yield structs.replace(entry, caused_by=tuple(dict.fromkeys((record, *entry.caused_by))))


# --- seeing -----------------------------------------------------------------------------------------------------------


def _covers(state: DeskState, names: list[str]) -> NDArray[np.bool_]:
    mine = np.zeros(len(state.fleet), np.bool_)
    for name in names:
        mine[state.fleet.leaves(name)] = True
    return mine


def _stands(known: Published, step: _Step | None, now_ns: int) -> str:
    if known.withdrawn_by:
        return "withdrawn"
    if step is not None:
        return "in force"
    if now_ns < known.start_ns[0]:
        return "waits"
    return "ended" if now_ns >= known.end_ns[-1] else "between"


def _view(state: DeskState, known: Published, now_ns: int) -> EnvelopesView:
    fact, step = known.fact, None if known.withdrawn_by else _running(known, now_ns)
    held, refused = 0, list[tuple[str, str]]()
    for at, resource in enumerate(fact.resources if step is not None else ()):
        assert step is not None
        live = state.asks.get((SOURCE + fact.feeder, PROGRAM, resource, Quantity.P.value))
        if live is not None and live.ask.frame == known.record and live.ask.start_ns == step.start_ns:
            held += 1
            continue
        ask = _ask(state, fact, known.record, at, resource, step)
        said = state.answers.get(derive("ask", *key_of(ask), ask.version, ask.frame))
        refused.append((resource, str(said) if isinstance(said, Refusal) else "not placed yet"))
    return EnvelopesView(
        fact.feeder, fact.version, fact.method, fact.made_ns, fact.by, _stands(known, step, now_ns),
        int(known.start_ns[0]), int(known.end_ns[-1]), None if step is None else step.end_ns, len(known.start_ns),
        len(fact.customers), held, tuple(refused[:20]), known.record,
    )  # fmt: skip
