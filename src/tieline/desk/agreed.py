"""What the contracts of a fleet let the desk call, device by device: the column twin of `Contract.refusal`.

Theory of operation. A contract covers locations, a location the devices that stand there. Which contracts agree to a
product is a bit a contract, which devices may be called for it a bit a device. Both are found anew only for contracts
whose word changed: by the owner (`hear`), or by time alone (`tick`, at the instants where terms and consents begin and
end). What one program event may call depends on its start, length and the calls before it too: `call_refusals`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.contract.budget import Call, budget_refusal, call_refusal
from tieline.contract.consent import Word, heard
from tieline.contract.membership import version_at
from tieline.contract.party import Contract, Contracts, Terms
from tieline.contract.program import AnyProgram, Budget
from tieline.fleet.columns import Fleet
from tieline.resource.claim import Refusal
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, SECOND_NS, iso, to_ns

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
ENERGY, DEMAND_RESPONSE = ("energy",), ("demand_response",)
"""Under which product of a contract a pool's devices are called, and those of a program event or a control room whose
own name no contract has."""
YEAR_H = 8_784.0
MOST_NAMES = 64
ENDS_NS = HOUR_NS
"""So long before what is agreed ends a pool no longer counts on it: a staged release takes as long."""


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made before: of which program, when, and which devices it had."""

    program: str
    call: Call
    rows: Mask


class Agreements:
    """The contracts of a fleet as they stand at an instant."""

    def __init__(
        self,
        book: Contracts,
        fleet: Fleet,
        zone: str,
        programs: Iterable[AnyProgram] = (),
        serves_others: bool = False,
    ) -> None:
        """Join contracts to a fleet.

        Args:
            book: What was agreed.
            fleet: Holds every resource that a location of the book names.
            zone: In whose days and seasons calls are counted where no program says so.
            programs: What is known of programs: their hours, notice and budgets count as well.
            serves_others: Whether devices without a contract may be called.
        """
        self._made_of = book, fleet, zone, tuple(programs), serves_others
        self.book, self.programs = book, {one.id: one for one in self._made_of[3]}
        self.serves_others = serves_others
        self.names = tuple(book.contracts)
        self._contracts = list(book.contracts.values())
        self._at_of = {name: at for at, name in enumerate(self.names)}
        self.zone, self._fleet, self._count = ZoneInfo(zone), fleet, len(fleet)
        self.stands: dict[str, tuple[int, ...]] = {}
        """The contracts of each device or group that a location names."""
        pairs = []
        for at, contract in enumerate(self._contracts):
            for place in contract.locations:
                for resource in book.locations[place].stands:
                    self.stands[resource] = (*self.stands.get(resource, ()), at)
                    rows = fleet.leaves(resource)
                    pairs.append((rows, np.full(len(rows), at, np.int32)))
        nothing = np.zeros(0, np.int32)
        self._rows = np.concatenate([nothing, *(rows for rows, _ in pairs)])
        self._of = np.concatenate([nothing, *(of for _, of in pairs)])
        self.covered = np.zeros(len(fleet), np.bool_)
        self.covered[self._rows] = True
        self._others = np.full(len(fleet), serves_others) & ~self.covered
        self.at_ns = -1
        self._next_ns = np.zeros(len(self.names), np.int64)
        self._agrees: dict[tuple[str, ...], Mask] = {}
        self._masks: dict[tuple[str, ...], Mask] = {}
        self._lasts: dict[tuple[str, ...], Mask] = {}
        self._lasting_masks: dict[tuple[str, ...], Mask] = {}
        self._reserve = np.zeros(len(self.names))
        self.reserve_frac = np.zeros(len(fleet))
        """What contracts keep in each store (0 to 1)."""
        self.moves = 0
        """How often something changed that may open or close what is called; `gated`: as the gates were right last."""
        self.gated = -1

    def anew(self) -> Agreements:
        """Return the same contracts as if nobody had said anything of them yet."""
        return Agreements(*self._made_of)

    # --- what is agreed now --------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Go to an instant: what begins or ends by then counts."""
        first = self.at_ns < 0 or now_ns < self.at_ns  # a clock that was set back
        self.at_ns = now_ns
        due = np.arange(len(self.names)) if first else np.flatnonzero(self._next_ns <= now_ns)
        self._refresh(due.tolist())

    def hear(self, name: str, words: Sequence[Word]) -> None:
        """Take what an owner has said of a contract so far; of one that the book does not hold nothing follows."""
        at = self._at_of.get(name)
        if at is not None:
            self._contracts[at] = heard(self.book.contracts[name], words)
            if self.at_ns >= 0:
                self.at_ns = max(self.at_ns, words[-1].at_ns)
                self._refresh([at])

    def _refresh(self, changed: Sequence[int]) -> None:
        if not changed:
            return
        self.moves += 1
        for at in changed:
            contract = self._contracts[at]
            terms = contract.terms_at(self.at_ns)
            ahead_ns = contract.next_change_ns(self.at_ns + ENDS_NS) - ENDS_NS  # what ends is let go before
            self._next_ns[at] = min(contract.next_change_ns(self.at_ns), ahead_ns)
            self._reserve[at] = 0.0 if terms is None else terms.least_reserve_frac
            for products, agrees in self._agrees.items():
                agrees[at] = self._any(contract, products)
            for products, lasts in self._lasts.items():
                lasts[at] = self._lasting(contract, products)
        self._masks.clear()
        self._lasting_masks.clear()
        self.reserve_frac[:] = 0.0
        np.maximum.at(self.reserve_frac, self._rows, self._reserve[self._of])

    def _any(self, contract: Contract, products: tuple[str, ...]) -> bool:
        return any(contract.refusal(one, self.at_ns) is None for one in products)

    def _lasting(self, contract: Contract, products: tuple[str, ...]) -> bool:
        until_ns = self.at_ns + ENDS_NS + 1
        return any(contract.refusal_over(one, self.at_ns, until_ns) is None for one in products)

    def agrees(self, products: tuple[str, ...]) -> Mask:
        """Return which devices may be called under any of some products; shape (n,). Nobody may write into it."""
        found = self._masks.get(products)
        if found is None:
            bits = self._agrees.get(products)
            if bits is None:
                if len(self._agrees) >= MOST_NAMES:  # names of programs are anybody's words
                    self._agrees.clear()
                    self._masks.clear()
                bits = np.array([self._any(one, products) for one in self._contracts], np.bool_)
                self._agrees[products] = bits
            found = self._others.copy()
            found[self._rows[bits[self._of]]] = True
            self._masks[products] = found
        return found

    def lasts(self, products: tuple[str, ...]) -> Mask:
        """Return which devices may be called under any of some products for more than an hour yet; shape (n,).

        Who may not is let go in time: contracts of many end at one instant, and what they hold back would come at once.
        """
        found = self._lasting_masks.get(products)
        if found is None:
            bits = self._lasts.get(products)
            if bits is None:
                bits = np.array([self._lasting(one, products) for one in self._contracts], np.bool_)
                self._lasts[products] = bits
            found = self._others.copy()
            found[self._rows[bits[self._of]]] = True
            self._lasting_masks[products] = found
        return found

    def program_at(self, name: str, at_ns: int) -> AnyProgram | None:
        """Return the version of a program that holds on the day of an instant, or any of it; None: it is unknown."""
        return version_at(self._made_of[3], name, at_ns) or self.programs.get(name)

    def contract(self, name: str) -> Contract | None:
        """Return a contract as it stands, or None."""
        at = self._at_of.get(name)
        return None if at is None else self._contracts[at]

    def places(self) -> dict[tuple[str, str], Rows]:
        """Return the devices of each kind of place: its jurisdiction, and what eligibility calls its location."""
        found: dict[tuple[str, str], list[Rows]] = {}
        for name in self.names:
            for one in (self.book.locations[place] for place in self.book.contracts[name].locations):
                rows = [self._fleet.leaves(resource) for resource in one.stands]
                found.setdefault((one.jurisdiction, one.place), []).extend(rows)
        return {where: np.unique(np.concatenate(parts)).astype(np.int32) for where, parts in found.items()}

    def of_row(self, row: int) -> list[Contract]:
        """Return the contracts of a device as they stand."""
        return [self._contracts[at] for at in sorted(set(self._of[self._rows == row].tolist()))]

    def rows_of(self, name: str) -> Rows:
        """Return the devices of a contract."""
        return np.unique(self._its(self._at_of[name]))

    def _its(self, at: int) -> Rows:
        first, after = np.searchsorted(self._of, (at, at + 1))  # pairs stand in the order of contracts
        return self._rows[first:after]

    def of_rows(self, rows: Rows) -> list[str]:
        """Return the contracts of some devices."""
        mine = np.zeros(self._count, np.bool_)
        mine[rows] = True
        return [self.names[at] for at in np.unique(self._of[mine[self._rows]]).tolist()]

    def next_change_ns(self) -> int:
        """Return the next instant at which time alone changes what may be called."""
        return int(self._next_ns.min(initial=FOREVER_NS))

    def nothing_of(self, resource: str) -> str:
        """Return why nothing at all may be called of what stands at a resource; empty: something may."""
        return self._nothing([self._contracts[at] for at in self.stands.get(resource, ())])

    def nothing_of_row(self, row: int) -> str:
        """Return why nothing at all may be called of a device; empty: something may, or it has no contract."""
        return self._nothing(self.of_row(row))

    def _nothing(self, contracts: Sequence[Contract]) -> str:
        whys = []
        for contract in contracts:
            if contract.agreed(self.at_ns):
                return ""
            terms = contract.terms_at(self.at_ns)
            why = contract.refusal(terms.products[0] if terms else "any", self.at_ns)
            assert why is not None
            whys.append(f"contract {contract.id}: {why.reason}")
        return "; ".join(whys)

    # --- what one event may call ---------------------------------------------------------------------------------

    def call_refusals(
        self, program: str, call: Call, made: Sequence[Made], known_ns: int, rows: Rows
    ) -> tuple[Mask, dict[str, Refusal]]:
        """Return which of `rows` a program event may not call, and of each contract that bars some of them why.

        Args:
            program: Its program.
            call: From when until when.
            made: The calls of other events, made before.
            known_ns: When it was decided: notice counts from there.
            rows: Whom it might call.
        """
        mine = np.zeros(self._count, np.bool_)
        mine[rows] = True
        here = mine[self._rows]
        may, refused = self._others.copy(), dict[str, Refusal]()
        for at in np.unique(self._of[here]).tolist():
            its = self._its(at)
            before = [(one.program, one.call) for one in made if one.rows[its].any()]
            why = self._call_refusal(self._contracts[at], program, call, before, known_ns)
            if why is None:
                may[its] = True
            else:
                refused[self.names[at]] = why
        return ~may[rows], refused

    def _call_refusal(
        self, contract: Contract, program: str, call: Call, made: Sequence[tuple[str, Call]], known_ns: int
    ) -> Refusal | None:
        whys = [contract.refusal_over(one, call.start_ns, call.end_ns) for one in (program, *DEMAND_RESPONSE)]
        terms = contract.terms_at(call.start_ns)
        if all(why is not None for why in whys) or terms is None:
            return whys[0] if terms is None or program in terms.products else whys[-1]
        known = self.program_at(program, call.start_ns)
        if known is not None:
            same = [one for name, one in made if name == program]
            if why := call_refusal(known, same, call, known_ns):
                return why
        return _terms_refusal(contract, terms, [one for _, one in made], call, known_ns, self.zone)


def _terms_refusal(
    contract: Contract, terms: Terms, made: Sequence[Call], call: Call, known_ns: int, zone: ZoneInfo
) -> Refusal | None:
    """Return why the terms of a contract don't bear one more call, or None."""
    rule = f"{contract.id} terms {terms.version}"
    given_s = (call.start_ns - known_ns) / SECOND_NS
    if given_s < terms.notice_s:
        return Refusal("the notice is too short", "notice_s", f"{given_s:.0f}", f">= {terms.notice_s}", rule=rule)
    budget = Budget(
        hours_a_call=YEAR_H if terms.hours_a_call is None else terms.hours_a_call,
        calls_a_season=terms.calls_a_season, hours_a_season=terms.hours_a_season,
    )  # fmt: skip
    return budget_refusal(budget, made, call, zone, rule)


def products_of_ask(level: Level, program: str) -> tuple[str, ...]:
    """Return under which products of a contract somebody's own target stands, by its level and his name of it.

    >>> products_of_ask(Level.UTILITY, "peak")
    ('peak', 'demand_response')
    """
    return (program, *(ENERGY if level in (Level.RELIABILITY, Level.MARKET) else DEMAND_RESPONSE))


def first_of(refused: Mapping[str, Refusal]) -> Refusal | None:
    """Return the refusal that most contracts give, as one of them words it; None: none refuses."""
    reasons = [why.reason for why in refused.values()]
    return next((why for why in refused.values() if why.reason == max(reasons, key=reasons.count)), None)


def told(contract: Contract, product: str, at_ns: int) -> str:
    """Return in words why a product may not be called now; empty: it may."""
    why = contract.refusal(product, at_ns)
    if why is None:
        return ""
    withdrawn = [one.withdrawn_at for one in contract.consents if one.withdrawn_at and product in one.products]
    return why.reason + (f" (taken back at {iso(to_ns(max(withdrawn)))})" if withdrawn else "")
