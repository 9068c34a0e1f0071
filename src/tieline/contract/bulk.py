"""Many enrolments at once: every row judged, every fault told, and the book taken as a whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, structs

from tieline.contract.admission import Promises
from tieline.contract.eligibility import Case, judge
from tieline.contract.enrolment import (
    ProgramEnrolment,
    State,
    Why,
    enrolment_id,
    exclusion_refusal,
    overlap_refusal,
    resource_refusal,
    step,
)
from tieline.contract.membership import EnrolmentBook, must, review_memberships, too_small, version_at
from tieline.contract.party import Contract, Contracts, Location
from tieline.contract.program import AnyProgram, BringYourOwnThermostat, DirectLoadControl
from tieline.errors import InvariantError
from tieline.ids import NAME, is_name
from tieline.resource.claim import Refusal
from tieline.resource.identity import GROUP_KINDS, Fuel, Kind
from tieline.times import FOREVER_NS, iso, to_ns

NEEDED = ("location", "resource", "kind", "power_w", "program", "contract", "starts")
COLUMNS = (*NEEDED, "fuel", "rating_w", "ends", "aggregation")
KINDS = tuple(sorted(kind.value for kind in Kind if kind not in GROUP_KINDS))
MOST_W = 1e12


class TableRow(Struct, frozen=True):
    """A row of a table: its number in the file, its cells as text, and what its reader found wrong with it."""

    number: int
    cells: Mapping[str, str]
    fault: str = ""


class RowReport(Struct, frozen=True):
    """What became of one row: added, unchanged (it was there), or refused, with every fault."""

    row: int
    outcome: str
    id: str = ""
    state: str = ""
    faults: tuple[str, ...] = ()


class Bulk(Struct, frozen=True):
    """What a file comes to. With any refused row the book is the one that was given: nothing is half applied."""

    rows: tuple[RowReport, ...]
    book: EnrolmentBook
    notes: tuple[str, ...]

    @property
    def is_taken(self) -> bool:
        """Whether the whole file was taken."""
        return all(row.outcome != "refused" for row in self.rows)

    def count(self, outcome: str) -> int:
        """Return how many rows came out so."""
        return sum(row.outcome == outcome for row in self.rows)


class _Desk:
    """What rows are judged by, and what earlier rows of the file have asked already."""

    def __init__(
        self, contracts: Contracts, programs: Sequence[AnyProgram], book: EnrolmentBook, promises: Promises, now_ns: int
    ) -> None:
        self.contracts, self.programs, self.promises, self.now_ns = contracts, programs, promises, now_ns
        self.there = dict(book.enrolments)
        self.row_of: dict[str, int] = {}
        self.at_place: dict[str, list[ProgramEnrolment]] = {}
        self.of_resource: dict[str, list[ProgramEnrolment]] = {}
        for one in self.there.values():
            self.hold(one)

    def hold(self, one: ProgramEnrolment) -> None:
        """Take an enrolment as one that later rows have to stand beside."""
        self.at_place.setdefault(one.location, []).append(one)
        self.of_resource.setdefault(one.resource, []).append(one)

    def near(self, asked: ProgramEnrolment) -> list[ProgramEnrolment]:
        """Return who is enrolled at the location, and the resource's own enrolments elsewhere."""
        here = self.at_place.get(asked.location, [])
        return here + [one for one in self.of_resource.get(asked.resource, []) if one.location != asked.location]

    def program(self, name: str, at_ns: int) -> AnyProgram | None:
        """Return the version of a program that holds at an instant, or None."""
        return version_at(self.programs, name, at_ns)


def enrol_rows(
    rows: Iterable[TableRow],
    contracts: Contracts,
    programs: Sequence[AnyProgram],
    book: EnrolmentBook,
    promises: Promises,
    now_ns: int,
    by: str,
) -> Bulk:
    """Return the report of a file's rows, and the book with all of them, or the same book where any is refused.

    Args:
        rows: The rows of the file.
        contracts: Parties, locations and contracts that rows refer to.
        programs: Programs that rows refer to; of several versions the one that holds when the enrolment starts.
        book: What is enrolled already. A row that is there already has no effect.
        promises: What of the resources is promised to others.
        now_ns: When this is.
        by: Who sends it.
    """
    desk = _Desk(contracts, programs, book, promises, now_ns)
    reports: list[RowReport] = []
    for row in rows:
        number = row.number
        asked, faults = (None, [row.fault]) if row.fault else _asked(desk, row.cells)
        if asked is None or faults:
            reports.append(RowReport(number, "refused", faults=tuple(faults)))
            continue
        known = desk.there.get(asked.id)
        if known is not None and known.same_asked(asked) and asked.id not in desk.row_of:
            desk.row_of[asked.id] = number
            reports.append(RowReport(number, "unchanged", asked.id, known.state))
            continue
        faults = _clashes(desk, asked, known)
        if faults:
            reports.append(RowReport(number, "refused", asked.id, faults=tuple(faults)))
            continue
        made = _submitted(asked, desk, by)
        desk.row_of[made.id], desk.there[made.id] = number, made
        desk.hold(made)
        reports.append(RowReport(number, "added", made.id, made.state))
    if any(report.outcome == "refused" for report in reports):
        return Bulk(tuple(reports), book, ())
    added = [report.id for report in reports if report.outcome == "added"]
    if not added:
        return Bulk(tuple(reports), book, ())
    after = review_memberships(structs.replace(book, enrolments=desk.there), contracts, programs, now_ns)
    touched = {desk.there[name].aggregation for name in added} - {""}
    return Bulk(tuple(reports), after, tuple(too_small(after, contracts, programs, touched)))


def _asked(desk: _Desk, cells: Mapping[str, str]) -> tuple[ProgramEnrolment | None, list[str]]:
    """Return what a row asks for, and every fault of it."""
    text = {name: cells.get(name, "").strip() for name in COLUMNS}
    faults = [f"{name} = '': give it" for name in NEEDED if not text[name]]
    for name in ("location", "resource", "program", "contract", "aggregation"):
        if text[name] and not is_name(text[name]):
            faults.append(f"{name} = {text[name]!r}: give {NAME}")
    if text["kind"] and text["kind"] not in KINDS:
        faults.append(f"kind = {text['kind']!r}: give one of {', '.join(KINDS)}")
    fuel = text["fuel"] or Fuel.NONE.value
    if fuel not in set(Fuel):
        faults.append(f"fuel = {fuel!r}: give one of {', '.join(Fuel)}")
    power_w = _watts(text, "power_w", faults)
    rating_w = _watts(text, "rating_w", faults) if text["rating_w"] else power_w
    if power_w > rating_w:
        faults.append(f"power_w = {power_w:g}: give at most rating_w {rating_w:g}")
    starts_ns = _instant(text, "starts", faults)
    ends_ns = _instant(text, "ends", faults) if text["ends"] else FOREVER_NS
    if starts_ns is not None and ends_ns is not None and ends_ns <= starts_ns:
        faults.append(f"ends = {text['ends']}: give one after starts {text['starts']}")
    contract, location, program = _referred(desk, text, starts_ns, faults)
    if contract is None or location is None or program is None or starts_ns is None or ends_ns is None:
        return None, faults
    faults += _terms_faults(desk, contract, location, program, text, fuel, starts_ns)
    asked = ProgramEnrolment(
        id=enrolment_id(location.id, text["resource"], program.id, starts_ns), program=program.id,
        contract=contract.id, location=location.id, resource=text["resource"], kind=text["kind"], fuel=fuel,
        market=program.market, power_w=power_w, rating_w=rating_w, starts_ns=starts_ns, ends_ns=ends_ns,
        aggregation=text["aggregation"], made_ns=desk.now_ns,
    )  # fmt: skip
    return asked, faults


def _watts(text: Mapping[str, str], name: str, faults: list[str]) -> float:
    if not text[name]:
        return 0.0
    try:
        value = float(text[name])
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST_W:
        faults.append(f"{name} = {text[name]!r}: give W, more than 0 and at most {MOST_W:g}")
        return 0.0
    return value


def _instant(text: Mapping[str, str], name: str, faults: list[str]) -> int | None:
    if not text[name]:
        return None
    try:
        at = datetime.fromisoformat(text[name])
        return to_ns(at)
    except (ValueError, OverflowError):
        faults.append(f"{name} = {text[name]!r}: give ISO 8601 with an offset, such as 2026-06-01T00:00:00-07:00")
        return None


def _referred(
    desk: _Desk, text: Mapping[str, str], starts_ns: int | None, faults: list[str]
) -> tuple[Contract | None, Location | None, AnyProgram | None]:
    """Return what a row refers to; what isn't there is a fault."""
    contract = desk.contracts.contracts.get(text["contract"])
    location = desk.contracts.locations.get(text["location"])
    if contract is None and text["contract"]:
        faults.append(f"contract = {text['contract']!r}: is not in the file of contracts")
    if location is None and text["location"]:
        faults.append(f"location = {text['location']!r}: is not in the file of contracts")
    if contract is not None and location is not None and location.id not in contract.locations:
        faults.append(f"location = {location.id!r}: give one of {contract.id}: {', '.join(contract.locations)}")
    program = None
    if text["program"] and starts_ns is not None:
        program = desk.program(text["program"], starts_ns)
        if program is None:
            names = ", ".join(sorted({one.id for one in desk.programs}))
            faults.append(f"program = {text['program']!r}: none holds on {iso(starts_ns)}: there are {names}")
    return contract, location, program


def _terms_faults(
    desk: _Desk,
    contract: Contract,
    location: Location,
    program: AnyProgram,
    text: Mapping[str, str],
    fuel: str,
    starts_ns: int,
) -> list[str]:
    """Return why contract, place or kind do not fit the program."""
    faults = []
    if text["kind"] in KINDS and text["kind"] not in program.kinds:
        faults.append(f"kind = {text['kind']!r}: {program.id} takes {', '.join(program.kinds)}")
    within = (location.jurisdiction, program.jurisdiction)
    if within[0] != within[1] and not within[0].startswith(f"{within[1]}-"):
        faults.append(f"location = {location.id!r}: lies in {within[0]}: {program.id} is of {within[1]}")
    case = Case(text["kind"], fuel, location.jurisdiction, program.eligibility, location.place)
    if why := judge(case).refusal(case):
        faults.append(f"fuel = {fuel!r}: {why.reason} ({why.rule})")
    # Consent is asked for when it is to be relied on, and now: one that is withdrawn by then is none.
    at_ns = max(starts_ns, desk.now_ns)
    if why := contract.refusal(program.id, at_ns):
        faults.append(f"contract = {contract.id!r}: {why}")
    elif isinstance(program, BringYourOwnThermostat | DirectLoadControl):
        terms = contract.terms_at(at_ns)
        if terms is None or terms.comfort is None:
            faults.append(f"contract = {contract.id!r}: has no comfort limits: {program.id} needs them")
    if program.review is not None and not text["aggregation"]:
        faults.append(f"aggregation = '': {program.id} is reviewed by the utility, as an aggregation: name it")
    return faults


def _clashes(desk: _Desk, asked: ProgramEnrolment, known: ProgramEnrolment | None) -> list[str]:
    """Return what is in the way: the same row, the location's other enrolments, promises in the book."""
    if asked.id in desk.row_of:
        return [f"resource = {asked.resource!r}: is in row {desk.row_of[asked.id]}, too: give it once"]
    if known is not None:
        return [f"resource = {asked.resource!r}: is enrolled with other values ({known.id}): end that one first"]
    program = desk.program(asked.program, asked.starts_ns)
    if program is None:
        raise InvariantError(f"{asked.program} was found and is gone")
    others = desk.near(asked)
    paired = [(one, its) for one in others if (its := desk.program(one.program, one.starts_ns)) is not None]
    found: list[Refusal | None] = [
        overlap_refusal(asked, others),
        exclusion_refusal(asked, program, paired),
        resource_refusal(asked, others),
        desk.promises.dual_refusal(asked, program),
    ]
    return [f"{why.field} = {why.value!r}: {why}" for why in found if why is not None]


def _submitted(asked: ProgramEnrolment, desk: _Desk, by: str) -> ProgramEnrolment:
    """Return an enrolment that came with consent, sent to whoever has to say yes."""
    program, contract = desk.program(asked.program, asked.starts_ns), desk.contracts.contracts[asked.contract]
    at_ns = desk.now_ns
    proof = next(one.evidence_sha256 for one in contract.consents if asked.program in one.products)
    one = must(step(asked, State.AUTHORISED, Why.CONSENT_GIVEN, by, at_ns, f"evidence {proof}"))
    one = must(step(one, State.SUBMITTED, Why.SENT, by, at_ns))
    if program is not None and program.review is not None:
        return must(step(one, State.UNDER_REVIEW, Why.REVIEW_OPENED, by, at_ns))
    return must(step(one, State.CONFIRMED, Why.NO_REVIEW_ASKED, by, at_ns))
