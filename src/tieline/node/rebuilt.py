"""The state that a journal tells: one way for a server's start, `tieline replay` and what is promised of a replay.

What pools can promise is no record: it follows from the registry and the rules of the place. Without it a replay would
leave out every derating, and its state would be another one than the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tieline.contract.eligibility import Enrolment, enrol
from tieline.desk.facts import Fact
from tieline.desk.state import DeskState
from tieline.fleet.claims import Mask, Rows
from tieline.fleet.columns import FUELS, KINDS, Fleet
from tieline.fleet.ledger import Ledger
from tieline.fleet.pooled import capacity_of
from tieline.flow.record import Journal
from tieline.node.config import Settings, load_config
from tieline.node.runtime import replayed
from tieline.resource.identity import Kind

Members = Mapping[str, tuple[Rows, Mask]]
"""The rows of each pool, and which of them may serve energy."""
PROGRAMS = ("energy", "capacity", "demand_response", "ancillary")


def kinds_and_fuels(fleet: Fleet) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return kind and fuel of each row as the words that eligibility's rules use."""
    return np.array([kind.value for kind in KINDS])[fleet.kinds], np.array(FUELS)[fleet.fuels]


def members_of(fleet: Fleet, jurisdiction: str) -> Members:
    """Return the members of each pool of a registry, and who of them may serve by the rules of a place."""
    kinds, fuels = kinds_and_fuels(fleet)
    rows_of = {group.id: fleet.leaves(group.id) for group in fleet.groups_of(Kind.POOL)}
    return {
        name: (rows, enrol(kinds[rows], fuels[rows], jurisdiction, "energy").may_serve)
        for name, rows in rows_of.items()
    }


def enrolments_of(fleet: Fleet, jurisdiction: str) -> dict[str, Enrolment]:
    """Return who may serve each program by the rules of a place."""
    kinds, fuels = kinds_and_fuels(fleet)
    return {program: enrol(kinds, fuels, jurisdiction, program) for program in PROGRAMS}


def ledger_of(fleet: Fleet, members: Members) -> Ledger:
    """Return an empty reservation book that knows what each pool can promise."""
    ledger = Ledger()
    for name, (rows, may_serve) in members.items():
        ledger.set_capacity(name, capacity_of(fleet, rows[may_serve]))
    return ledger


def state_of(
    fleet: Fleet, jurisdiction: str, journal: Journal, look: Callable[[DeskState, Fact], None] | None = None
) -> DeskState:
    """Return the state of a place's registry and journal, as at its last record."""
    return replayed(fleet, ledger_of(fleet, members_of(fleet, jurisdiction)), journal, look)


def jurisdiction_of(folder: Path) -> str:
    """Return by whose rules a folder's devices serve; one without settings by those that stand where none is named."""
    path = folder / "tieline.toml"
    return (load_config(path) if path.is_file() else Settings()).jurisdiction
