"""Under which programs people call events: those that a folder's settings, contracts and programs name, and no other.

A name with a slip in it would be booked, counted and paid as a program that nobody knows, and no contract's own words
on the right one would count.
"""

from __future__ import annotations

from collections.abc import Sequence

from tieline.desk.agreed import DEMAND_RESPONSE, ENERGY
from tieline.desk.screens import ComposeEvent
from tieline.desk.state import DeskState
from tieline.node.event_starts import refusal_of_start
from tieline.resource.claim import Refusal

MOST_TOLD = 40
"""So many known names a refusal lists; a folder may have more programs than anybody reads."""


def known_programs(state: DeskState, named: Sequence[str]) -> tuple[str, ...]:
    """Return under which programs events may be called: those of the settings, `demand_response`, and the contracts'.

    Args:
        state: Holds the contracts of the folder, if it has any, with their programs.
        named: Those that its settings name (`event_programs`).
    """
    found = dict.fromkeys((*named, *DEMAND_RESPONSE))
    if (agreed := state.agreed) is not None:
        products = {
            product
            for contract in agreed.book.contracts.values()
            for terms in contract.terms
            for product in terms.products
        }
        found |= dict.fromkeys(sorted({*agreed.programs, *products} - set(ENERGY)))
    return tuple(found)


def refusal_of_wish(state: DeskState, named: Sequence[str], wish: ComposeEvent, now_ns: int) -> Refusal | None:
    """Return why an event can't be composed now for its program or its start, or None; see `refusal_of_program`."""
    return refusal_of_program(state, named, wish.program) or refusal_of_start(wish, now_ns)


def refusal_of_program(state: DeskState, named: Sequence[str], program: str) -> Refusal | None:
    """Return why no event may be called under a program, with those under which one may; None: it may."""
    if not program.strip() or program.strip() in (known := known_programs(state, named)):
        return None  # what is no name at all is the desk's to refuse
    rest = f" and {len(known) - MOST_TOLD} more" if known[MOST_TOLD:] else ""
    limit = f"one of {', '.join(known[:MOST_TOLD])}{rest}"
    return Refusal("no such program", "program", program[:80], limit, rule="event_programs")
