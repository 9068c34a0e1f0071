"""What follows where an owner takes a consent back, gives it anew, or a contract begins or ends.

Theory of operation. A device of which no contract lets anything be called is out as by its owner's own word: a gate at
the level of an owner's need, asked for by the contract. Whatever stands above it is barred by arbitration itself, the
market is told, and it counts as an opt-out wherever opt-outs count. Where only some products are left out, the claims
that were placed under those end; the others stand. Both are decided at each beat, and at once where somebody spoke.
"""

from __future__ import annotations

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.contract.admission import NEEDS_CONSENT
from tieline.contract.consent import giving, taking_back
from tieline.contract.party import Contract
from tieline.desk import charging, event_stack, redispatch
from tieline.desk.agreed import DEMAND_RESPONSE, ENERGY, Made, products_of_ask
from tieline.desk.asks import decide_ask, decide_withdraw
from tieline.desk.called import SET_ASIDE
from tieline.desk.enrolled_calls import decide_unenrolled
from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsEnded, ConsentChanged
from tieline.desk.packed import Packed
from tieline.desk.ports import Ask
from tieline.desk.state import AskKey, DeskState
from tieline.fleet.claims import ClaimBatch
from tieline.ids import derive
from tieline.resource.admission import Principal
from tieline.resource.claim import ClaimEnd, ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.times import FOREVER_NS

SOURCE, PROGRAM = "contract", "consent"
_OWNER = Principal("owner", Level.OWNER_NEED)
_CALLS = frozenset({ClaimKind.SET, ClaimKind.DELTA})


def decide_word(
    state: DeskState, name: str, products: tuple[str, ...], evidence: str | None, by: str, because: str, now_ns: int
) -> tuple[list[Entry], Refusal | None]:
    """Return the fact of what an owner says of a contract, or why it can't be taken.

    Args:
        state: What is known.
        name: The contract.
        products: Of which the consent is taken back or given; none named: of all that it has.
        evidence: The hash of what proves a new consent; None: the consent is taken back.
        by: Who says so.
        because: In what words.
        now_ns: Now; it takes effect at the next arbitration.
    """
    contract = None if state.agreed is None else state.agreed.contract(name)
    if contract is None:
        return [], Refusal("no such contract", "contract", name[:80], "a contract of the folder")
    named = tuple(dict.fromkeys(products)) or _all(contract, evidence is not None, now_ns)
    if evidence is not None:
        proof: tuple[str, ...] | Refusal = giving(contract, named, evidence, now_ns) or (evidence,)
    else:
        proof = taking_back(contract, named, now_ns)
    if isinstance(proof, Refusal):
        return [], proof
    fact = ConsentChanged(name, named, evidence is not None, proof, by, because)
    said = len(state.consents.get(name, ()))
    return [Entry(derive("consent", name, said, *named, *proof), fact, name)], None


def _all(contract: Contract, is_given: bool, now_ns: int) -> tuple[str, ...]:
    """Return the products of a contract's terms that are to be consented to, or those that are."""
    terms = contract.terms_to_consent(now_ns)
    if is_given:
        return () if terms is None else terms.products
    return tuple(dict.fromkeys(one for consent in contract.consents for one in consent.products))


def decide_agreed(state: DeskState, now_ns: int) -> list[Entry]:
    """Return what has to change so that nothing is called that no contract or enrolment bears; none where all is so."""
    if state.agreed is None:
        return decide_unenrolled(state, state.opted_out, now_ns)
    agreed = state.agreed
    agreed.tick(now_ns)
    out = state.opted_out.copy()
    gates = [] if agreed.gated == agreed.moves else _gates(state, out, now_ns)
    agreed.gated = agreed.gated if gates else agreed.moves  # looked at once more where they moved: it may not be kept
    return [*gates, *_set_aside(state, out), *decide_unenrolled(state, out, now_ns)]


def _gates(state: DeskState, out: NDArray[np.bool_], now_ns: int) -> list[Entry]:
    """Return the gates that close and open, one for each place of which nothing may be called; `out` becomes who is."""
    agreed, entries = state.agreed, list[Entry]()
    assert agreed is not None
    left = [key[2] for key in state.asks if key[:2] == (SOURCE, PROGRAM) and key[2] not in agreed.stands]
    # Of one that no contract names any more nothing is known: it comes back only where none is needed.
    for resource in [*agreed.stands, *(left if agreed.serves_others else ())]:
        key: AskKey = (SOURCE, PROGRAM, resource, Quantity.CONNECT.value)
        why, live = agreed.nothing_of(resource), state.asks.get(key)
        causes = tuple(_said(state, agreed.names[at]) for at in agreed.stands.get(resource, ()))
        causes = tuple(one for one in causes if one)
        if why and live is None:
            version = max(now_ns, state.versions.get(key, 0) + 1)
            gate = Ask(
                SOURCE, "owner", PROGRAM, Level.OWNER_NEED, resource, Quantity.CONNECT, ClaimKind.GATE, version, now_ns,
                FOREVER_NS, because=why,
            )  # fmt: skip
            first, *rest = decide_ask(state, gate, _OWNER, now_ns)[0]
            entries += [structs.replace(first, caused_by=(*first.caused_by, *causes)), *rest]
            out[state.fleet.leaves(resource)] = True
        elif not why and live is not None:
            again = "a contract agrees again" if resource in agreed.stands else "it has no contract, and needs none"
            first, *rest = decide_withdraw(state, key, "", again, now_ns)
            entries += [structs.replace(first, caused_by=(*first.caused_by, *causes)), *rest]
            rows = state.fleet.leaves(resource)
            out[rows] = state.outs_of[rows] > 1  # an owner who is out by himself stays so
    return entries


def _said(state: DeskState, contract: str) -> str:
    """Return the record of what was said last of a contract; empty: nothing was."""
    words = state.consents.get(contract)
    return words[-1].record if words else ""


def _set_aside(state: DeskState, out: NDArray[np.bool_]) -> list[Entry]:
    """Return the end of claims on devices that no contract lets be called under the product they stand for."""
    agreed, entries = state.agreed, list[Entry]()
    assert agreed is not None
    for batch, alive in state.claims.batches():
        if batch.level not in NEEDS_CONSENT or batch.kind not in _CALLS or batch.source == SOURCE:
            continue
        gone = alive & ~out[batch.rows] & ~agreed.agrees(products_of(state, batch))[batch.rows]
        if _is_asked(batch):
            gone &= agreed.covered[batch.rows]  # a control room's own devices need no contract with it
        if gone.any():
            entries.append(_ended(state, batch, batch.rows[gone]))
    return entries


def _ended(state: DeskState, batch: ClaimBatch, rows: NDArray[np.int32]) -> Entry:
    agreed = state.agreed
    assert agreed is not None
    names = sorted({one.id for row in rows[:50].tolist() for one in agreed.of_row(row)})
    causes = tuple(one for one in (_said(state, name) for name in names) if one)
    because = f"{SET_ASIDE} by contract {', '.join(names[:3])}" if names else f"{SET_ASIDE}: it has no contract"
    fact = ClaimsEnded(
        batch.source, batch.program, batch.quantity.value, ClaimEnd.CANCELLED.value, because, Packed.of(rows),
        batch.scope,
    )  # fmt: skip
    record = derive("set-aside", batch.id, agreed.at_ns, rows.tobytes())
    return Entry(record, fact, batch.scope or batch.program, (*causes, batch.id))


def _is_asked(batch: ClaimBatch) -> bool:
    return batch.source not in (redispatch.SOURCE, charging.SOURCE, event_stack.SOURCE)


def products_of(state: DeskState, batch: ClaimBatch) -> tuple[str, ...]:
    """Return under which products of a contract a claim stands: any of them is enough."""
    if batch.source in (redispatch.SOURCE, charging.SOURCE):
        return ENERGY
    if batch.source == event_stack.SOURCE:
        event = state.events.get(batch.program)
        return (batch.program if event is None else event.program, *DEMAND_RESPONSE)
    return products_of_ask(batch.level, batch.program)


def made_before(state: DeskState, event: str) -> list[Made]:
    """Return the calls of all events but one that called anybody."""
    count = len(state.fleet)
    return [
        Made(one.program, one.call, one.has(count))
        for name, one in state.called.items() if name != event and one.rows and one.end_ns > one.start_ns
    ]  # fmt: skip
