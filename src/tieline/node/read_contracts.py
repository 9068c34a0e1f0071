"""Contracts as people see them: what each lets be called now, what of its budgets is used, and what was said of it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tieline.contract.budget import Call, season_of
from tieline.contract.consent import Word
from tieline.contract.party import Contract
from tieline.desk.agreed import Made, told
from tieline.desk.consents import made_before
from tieline.desk.contract_views import ContractView, ProductView, WordView
from tieline.desk.state import DeskState
from tieline.fleet.columns import Fleet
from tieline.resource.identity import Kind
from tieline.times import FOREVER_NS, from_ns, iso, to_ns

MOST_NAMED = 20


def contract_views(
    state: DeskState, now_ns: int, resource: str = "", devices: frozenset[str] | None = None
) -> Contracts:
    """Return the contracts of a desk, made as they are looked at.

    Args:
        state: What is known.
        now_ns: Now.
        resource: Only those of a device, or of all devices beneath a group; empty: of all.
        devices: Only those on some of these; None: on any.

    Raises:
        KeyError: There is no such resource.
    """
    agreed = state.agreed
    if resource and not state.fleet.holds(resource):
        raise KeyError(resource)
    if agreed is None:
        return Contracts(state, (), now_ns)
    agreed.tick(now_ns)
    names = list(agreed.names) if not resource else agreed.of_rows(state.fleet.leaves(resource))
    if devices is not None:
        mine = [state.fleet.row(one) for one in sorted(devices) if state.fleet.holds(one)]
        his = set(agreed.of_rows(np.array(mine, np.int32)))
        names = [name for name in names if name in his]
    return Contracts(state, tuple(names), now_ns)


class Contracts:
    """Contracts by name, each seen only once it is asked for."""

    def __init__(self, state: DeskState, names: tuple[str, ...], now_ns: int) -> None:
        """Look at contracts of a state."""
        self._state, self.names, self._now_ns = state, names, now_ns

    def __getitem__(self, part: slice) -> list[ContractView]:
        """Return those of a part."""
        made = made_before(self._state, "") if self.names[part] else []
        return [_view(self._state, name, made, self._now_ns) for name in self.names[part]]


def _view(state: DeskState, name: str, made: list[Made], now_ns: int) -> ContractView:
    agreed = state.agreed
    assert agreed is not None
    contract, rows = agreed.contract(name), agreed.rows_of(name)
    assert contract is not None
    terms, calls = contract.terms_at(now_ns), this_season(agreed.zone, [x for x in made if x.rows[rows].any()], now_ns)
    products = () if terms is None else tuple(
        ProductView(one, not (why := told(contract, one, now_ns)), why) for one in terms.products
    )  # fmt: skip
    out = "" if any(one.may_call for one in products) else (products[0].why if products else "no terms hold now")
    return ContractView(
        name, contract.owner, contract.manager, len(rows),
        tuple(state.fleet.id_of(row) for row in rows[:MOST_NAMED].tolist()),
        None if terms is None else terms.version, None if terms is None else to_ns(terms.effective_from),
        None if terms is None or terms.effective_to is None else to_ns(terms.effective_to), products,
        0 if terms is None else terms.notice_s, len(calls), None if terms is None else terms.calls_a_season,
        sum(one.hours for one in calls), None if terms is None else terms.hours_a_season,
        None if terms is None else terms.hours_a_call, 0.0 if terms is None else terms.least_reserve_frac,
        None if terms is None else terms.owner_share_frac, "" if terms is None else terms.currency,
        tuple(_word(word) for word in state.consents.get(name, ())), out,
    )  # fmt: skip


def this_season(zone: ZoneInfo, made: list[Made], now_ns: int) -> list[Call]:
    """Return the calls of the season of an instant: a calendar year, as a contract names no other."""
    year = season_of(from_ns(now_ns).astimezone(zone).date(), 1)
    return [x.call for x in made if season_of(from_ns(x.call.start_ns).astimezone(zone).date(), 1) == year]


def _word(word: Word) -> WordView:
    return WordView(word.at_ns, word.is_given, word.products, word.by, word.because, word.record)


def contracts_of(state: DeskState, row: int, at_ns: int) -> list[dict[str, Any]]:
    """Return the contracts of a device as `tieline why` tells them: what each bars, and by whose word."""
    if state.agreed is None:
        return []
    state.agreed.tick(at_ns)
    return [_told(state, one, at_ns) for one in state.agreed.of_row(row)]


def not_covered(state: DeskState, row: int) -> str:
    """Return why a device that no contract covers isn't called; empty: one covers it, or none is needed."""
    agreed = state.agreed
    if agreed is None or agreed.serves_others or agreed.covered[row]:
        return ""
    return 'no contract covers it ([contracts] without = "refuse"): markets and programs don\'t call it'


def enrolments_of(state: DeskState, row: int, at_ns: int) -> list[dict[str, Any]]:
    """Return the enrolments of a device as `tieline why` tells them, by when they begin: which program, and how it
    stands, since when and why."""
    if state.enrolled is None:
        return []
    found = []
    for one in state.enrolled.of_row(row):
        last = next((step for step in reversed(one.steps) if step.at_ns <= at_ns), None)
        found.append({
            "enrolment": one.id, "program": one.program, "contract": one.contract, "state": one.state_at(at_ns).value,
            "since": None if last is None else iso(last.at_ns), "why": None if last is None else last.why.value,
            "by": None if last is None else last.by, "starts": iso(one.starts_ns),
            "ends": None if one.ends_ns == FOREVER_NS else iso(one.ends_ns), "may_be_called": one.serves(at_ns),
        })  # fmt: skip
    return found


def not_enrolled(state: DeskState, row: int, at_ns: int) -> str:
    """Return that no program calls a device, as it is enrolled in none now; empty: one may, or no book is asked."""
    if state.enrolled is None or any(one.serves(at_ns) for one in state.enrolled.of_row(row)):
        return ""
    return "it is enrolled in no program now ([contracts] enrolments): programs don't call it"


def _told(state: DeskState, contract: Contract, at_ns: int) -> dict[str, Any]:
    terms, words = contract.terms_at(at_ns), state.consents.get(contract.id, [])
    last = words[-1] if words else None
    return {
        "contract": contract.id, "owner": contract.owner, "manager": contract.manager,
        "terms": None if terms is None else terms.version,
        "products": {one: told(contract, one, at_ns) or "may be called" for one in (terms.products if terms else ())},
        "said": None if last is None else {
            "at": iso(last.at_ns), "by": last.by, "because": last.because, "record": last.record,
            "what": f"consent {'given to' if last.is_given else 'taken back for'} {', '.join(last.products)}",
        },
    }  # fmt: skip


def is_under(state: DeskState, contract: str, devices: frozenset[str]) -> bool:
    """Return whether all devices of a contract are among some."""
    if state.agreed is None or state.agreed.contract(contract) is None:
        return False
    mine = [state.fleet.id_of(row) in devices for row in state.agreed.rows_of(contract).tolist()]
    return bool(mine) and all(mine)


def devices_of(fleet: Fleet, scope: frozenset[str]) -> frozenset[str]:
    """Return the devices that a scope means by now: those that it names, and all behind each site that it names."""
    sites = {name for name in scope if fleet.holds(name) and fleet.kind_of(name) is Kind.SITE}
    return scope - sites | {fleet.id_of(int(row)) for site in sites for row in fleet.leaves(site)}


def is_site_of(fleet: Fleet, resource: str, devices: frozenset[str]) -> bool:
    """Return whether a resource is a site with devices, all of them among some."""
    if not fleet.holds(resource) or fleet.kind_of(resource) is not Kind.SITE:
        return False
    mine = [fleet.id_of(int(row)) in devices for row in fleet.leaves(resource)]
    return bool(mine) and all(mine)
