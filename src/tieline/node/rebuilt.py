"""The state that a journal tells: one way for a server's start, `tieline replay` and what is promised of a replay.

What pools can promise is no record: it follows from the registry and the rules of the place. Without it a replay would
leave out every derating, and its state would be another one than the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.contract.eligibility import Enrolment, enrol
from tieline.desk.agreed import Agreements
from tieline.desk.engine_runs import Engines
from tieline.desk.facts import Fact
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook, Mask, Rows
from tieline.fleet.columns import FUELS, KINDS, Fleet
from tieline.fleet.ledger import Ledger
from tieline.fleet.pooled import capacity_of
from tieline.flow.record import Journal
from tieline.node.config import Settings, load_config
from tieline.node.contracting import agreements_of, bind
from tieline.node.runtime import replayed
from tieline.resource.identity import Kind


class Law(Struct, frozen=True):
    """By whose rules devices serve: a jurisdiction, and the places of contracts that have one of their own.

    Each of `places` is rows, their jurisdiction, and what eligibility calls their location.
    """

    jurisdiction: str
    places: tuple[tuple[Rows, str, str], ...] = ()


Members = Mapping[str, tuple[Rows, Mask]]
"""The rows of each pool, and which of them may serve energy."""
PROGRAMS = ("energy", "capacity", "demand_response", "ancillary")


def kinds_and_fuels(fleet: Fleet) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return kind and fuel of each row as the words that eligibility's rules use."""
    return np.array([kind.value for kind in KINDS])[fleet.kinds], np.array(FUELS)[fleet.fuels]


def enrolled(fleet: Fleet, law: Law, program: str) -> Enrolment:
    """Return who of a registry may serve a program, each by the rules of where it stands."""
    kinds, fuels = kinds_and_fuels(fleet)
    whole = enrol(kinds, fuels, law.jurisdiction, program)
    may_serve, verdict_of = whole.may_serve.copy(), whole.verdict_of.copy()
    verdicts, cases = whole.verdicts, whole.cases
    for rows, jurisdiction, place in law.places:
        part = enrol(kinds[rows], fuels[rows], jurisdiction, program, place)
        may_serve[rows], verdict_of[rows] = part.may_serve, part.verdict_of + len(verdicts)
        verdicts, cases = (*verdicts, *part.verdicts), (*cases, *part.cases)
    return Enrolment(program, may_serve, verdict_of, verdicts, cases)


def members_of(fleet: Fleet, law: Law) -> Members:
    """Return the members of each pool of a registry, and who of them may serve by the rules of where it stands."""
    may_serve = enrolled(fleet, law, "energy").may_serve
    rows_of = {group.id: fleet.leaves(group.id) for group in fleet.groups_of(Kind.POOL)}
    return {name: (rows, may_serve[rows]) for name, rows in rows_of.items()}


def enrolments_of(fleet: Fleet, law: Law) -> dict[str, Enrolment]:
    """Return who may serve each program, each by the rules of where it stands."""
    return {program: enrolled(fleet, law, program) for program in PROGRAMS}


def ledger_of(fleet: Fleet, members: Members) -> Ledger:
    """Return an empty reservation book that knows what each pool can promise."""
    ledger = Ledger()
    for name, (rows, may_serve) in members.items():
        ledger.set_capacity(name, capacity_of(fleet, rows[may_serve]))
    return ledger


def empty_state(fleet: Fleet, law: Law) -> DeskState:
    """Return the state of a place's registry before the first record."""
    return DeskState.empty(fleet, ClaimBook(fleet), ledger_of(fleet, members_of(fleet, law)))


def state_of(
    fleet: Fleet, law: Law, journal: Journal, look: Callable[[DeskState, Fact], None] | None = None
) -> DeskState:
    """Return the state of a place's registry and journal, as at its last record."""
    return replayed(fleet, ledger_of(fleet, members_of(fleet, law)), journal, look)


def law_of(settings: Settings, agreed: Agreements | None) -> Law:
    """Return by whose rules devices serve: those of the settings, and of the locations of contracts."""
    places = () if agreed is None else tuple(
        (rows, *where) for where, rows in agreed.places().items() if where != (settings.jurisdiction, "")
    )  # fmt: skip
    return Law(settings.jurisdiction, places)


def engines_of(settings: Settings, fleet: Fleet, law: Law) -> Engines:
    """Return the backup engines of a folder: where each stands, its permit, and the orders that are in force.

    Raises:
        ConfigError: A permit names what is no backup generator, or a permit or order is faulty.
    """
    places = [(rows, (jurisdiction, place)) for rows, jurisdiction, place in law.places]
    return Engines(fleet, settings.zone, places, law.jurisdiction, settings.permits, settings.orders)


def law_in(folder: Path, fleet: Fleet) -> Law:
    """Return by whose rules a folder's devices serve; one without settings by those that stand where none is named."""
    path = folder / "tieline.toml"
    settings = load_config(path) if path.is_file() else Settings()
    return law_of(settings, agreements_of(settings, folder, fleet))


def bound_by(folder: Path, state: DeskState, now_ns: int) -> None:
    """Give a state read from a folder's journal the contracts and engines of its settings, and whose loads count."""
    path = folder / "tieline.toml"
    if path.is_file():
        settings = load_config(path)
        settings.limits.count_loads(state)
        agreed = agreements_of(settings, folder, state.fleet)
        bind(state, agreed, now_ns)
        state.engines = engines_of(settings, state.fleet, law_of(settings, agreed))
