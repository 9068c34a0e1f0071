"""The book of statements: which versions stand, which disputes are open, and what may be done next.

Theory of operation. Entries are folded into a `StatementBook`; each decision is a function of the book that gives the
fact to record, a `Refusal`, or None where nothing would change. An event is a series of versions, known by its program,
market and hours. A version's lines say what is right; its `adjusting` lines are the differences to the version before,
and its `due` what changes hands with it. What was agreed by hand stands beside the versions: a resettlement shares the
new total with it, and never takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from tieline.contract.pay import CENT, NOTHING
from tieline.ids import derive
from tieline.market.settlement import Basis, adjustments
from tieline.pool.owner_lines import owner_lines
from tieline.pool.paid_claims import ENERGY, Paid, is_taken_back, paid_twice
from tieline.pool.settled import Settled
from tieline.pool.statement_facts import (
    Adjusted,
    Answer,
    Answered,
    Disputed,
    Due,
    Entry,
    Finalised,
    Issued,
    Opened,
    PaymentEnded,
    PaymentsSent,
    Received,
)
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, iso

ENERGY_PAID = Paid(ENERGY)
MOST_AMOUNT = Decimal(1_000_000_000)


@dataclass(slots=True)
class Series:
    """All that was recorded of one event."""

    id: str
    issued: list[tuple[int, Issued]] = field(default_factory=list)
    """Each version with when it was recorded."""
    adjusted: list[Adjusted] = field(default_factory=list)
    final: str = ""
    """The statement with which it was closed."""

    @property
    def newest(self) -> Issued:
        """The version that stands."""
        return self.issued[-1][1]

    @property
    def agreed(self) -> Decimal:
        """What market and pool agreed on beside the rules."""
        return sum((one.amount for one in self.adjusted if not one.owner), NOTHING)

    def shared(self) -> Due:
        """Return what changed hands by versions and by what was agreed with the market."""
        return total_due([*(one.due for _, one in self.issued), *(a.due for a in self.adjusted if not a.owner)])

    def owner_total(self, owner: str) -> Decimal:
        """Return what an owner was given of it in all, by agreement with the operator too."""
        dues = [*(one.due for _, one in self.issued), *(one.due for one in self.adjusted)]
        return sum((due.owners.get(owner, NOTHING) for due in dues), NOTHING)


@dataclass(slots=True)
class StatementBook:
    """What the entries of a book come to."""

    entries: list[Entry] = field(default_factory=list)
    opened: Opened | None = None
    series: dict[str, Series] = field(default_factory=dict)
    of: dict[str, tuple[Series, Issued]] = field(default_factory=dict)
    """Series and version of each statement."""
    disputes: dict[str, Disputed] = field(default_factory=dict)
    answers: dict[str, Answered] = field(default_factory=dict)
    runs: dict[str, PaymentsSent] = field(default_factory=dict)
    ended: dict[str, PaymentEnded] = field(default_factory=dict)
    receipts: dict[str, Received] = field(default_factory=dict)

    @property
    def last_seq(self) -> int:
        """Number of the last entry; 0: none."""
        return len(self.entries)

    def open_disputes(self, series: str) -> list[Disputed]:
        """Return the disputes of a series that nobody answered."""
        mine = (one for one in self.disputes.values() if self.of[one.statement][0].id == series)
        return [one for one in mine if one.dispute not in self.answers]

    def is_upheld(self, dispute: str) -> bool:
        """Return whether a dispute was upheld."""
        found = self.answers.get(dispute)
        return found is not None and found.answer == "upheld"


def fold(entries: Iterable[Entry]) -> StatementBook:
    """Return what entries come to."""
    book = StatementBook()
    for entry in entries:
        add(book, entry)
    return book


def add(book: StatementBook, entry: Entry) -> None:
    """Add an entry, as it was recorded."""
    book.entries.append(entry)
    match entry.fact:
        case Opened() as fact:
            book.opened = fact
        case Issued() as fact:
            series = book.series.setdefault(fact.series, Series(fact.series))
            series.issued.append((entry.at_ns, fact))
            book.of[fact.statement] = (series, fact)
        case Disputed() as fact:
            book.disputes[fact.dispute] = fact
        case Answered() as fact:
            book.answers[fact.dispute] = fact
        case Adjusted() as fact:
            book.of[fact.statement][0].adjusted.append(fact)
        case Finalised() as fact:
            book.series[fact.series].final = fact.statement
        case Received() as fact:
            book.receipts[fact.receipt] = fact
        case PaymentsSent() as fact:
            book.runs[fact.run] = fact
        case PaymentEnded() as fact:
            book.ended[fact.payment] = fact


def total_due(dues: Iterable[Due]) -> Due:
    """Return what several come to together."""
    market, operator, undistributed = NOTHING, NOTHING, NOTHING
    owners: dict[str, Decimal] = {}
    for due in dues:
        market, operator = market + due.market, operator + due.operator
        undistributed += due.undistributed
        for owner, amount in due.owners.items():
            owners[owner] = owners.get(owner, NOTHING) + amount
    return Due(market, operator, owners, undistributed)


def series_of(settled: Settled) -> str:
    """Return the name of the series that an event's statements belong to."""
    return series_named(settled.program, settled.market, settled.start_ns, settled.end_ns)


def series_named(program: str, market: str, start_ns: int, end_ns: int) -> str:
    """Return the name of the series of an event by its program, its market and its hours."""
    return derive("series", program, market, start_ns, end_ns)


def issue(
    book: StatementBook, settled: Settled, at_ns: int, dispute: str = "", paid: Paid = ENERGY_PAID
) -> Issued | Refusal | None:
    """Return the next version of an event's statement; None where it was settled from the same inputs before.

    `dispute` names an upheld one, by which a closed series may be settled again; `paid` is for what it pays. What
    another statement was paid for already is refused with that statement.
    """
    if book.opened is None or settled.currency != book.opened.currency:
        wanted = f"give {book.opened.currency}" if book.opened else "open the book first"
        return Refusal("not the book's currency", "currency", settled.currency, wanted)
    if at_ns < settled.end_ns:
        end = iso(settled.end_ns)
        return Refusal("the event is not over", "at", iso(at_ns), f"give {end}, its end, or later")
    series = book.series.get(series_of(settled))
    if series is None:
        if why := _overlap(book, settled) or _paid_twice(book, settled, paid):
            return why
        due = _due(settled, NOTHING, Due(NOTHING, NOTHING, {}, NOTHING))
        return Issued(
            statement=settled.basis.statement, series=series_of(settled), version=1, former="", settled=settled,
            adjusting=(), due=due, service=paid.service, meters=paid.meters,
        )  # fmt: skip
    newest = series.newest
    if newest.settled == settled and newest.service == paid.service:
        return None
    if why := _closed(book, series, at_ns, dispute) or _paid_twice(book, settled, paid):
        return why
    version = newest.version + 1
    # The id holds the version: inputs that return to what they once were are a new statement again.
    statement = derive("statement", newest.statement, settled.basis.statement, version)
    was = settled.basis
    basis = Basis(statement, was.rule, was.rule_version, was.input_hash, was.data_version)
    return Issued(
        statement=statement, series=series.id, version=version, former=newest.statement, settled=settled,
        adjusting=tuple(adjustments(basis, newest.settled.lines, settled.lines)),
        due=_due(settled, series.agreed, series.shared()), service=paid.service, meters=paid.meters,
    )  # fmt: skip


def _due(settled: Settled, agreed: Decimal, was: Due) -> Due:
    """Return what changes hands so that all have what is right now."""
    right = settled.shares_of(settled.total + agreed)
    owners = {
        owner: right.owners.get(owner, NOTHING) - was.owners.get(owner, NOTHING)
        for owner in sorted({*right.owners, *was.owners})
    }
    return Due(
        settled.total + agreed - was.market, right.operator - was.operator,
        {owner: amount for owner, amount in owners.items() if amount}, right.undistributed - was.undistributed,
    )  # fmt: skip


def _paid_twice(book: StatementBook, settled: Settled, paid: Paid) -> Refusal | None:
    """Refuse what another event's statement that stands was paid for; what was taken back in whole is free."""
    mine = series_of(settled)
    others = (one for one in book.series.values() if one.id != mine and not is_taken_back(one.newest, one.agreed))
    return paid_twice(settled, paid, (one.newest for one in others))


def _overlap(book: StatementBook, settled: Settled) -> Refusal | None:
    """Refuse an event whose hours another one of the same program and market has: no kW is paid for twice."""
    for series in book.series.values():
        other = series.newest.settled
        if (other.program, other.market) != (settled.program, settled.market):
            continue
        if other.start_ns < settled.end_ns and settled.start_ns < other.end_ns:
            over = f"{iso(other.start_ns)} to {iso(other.end_ns)}"
            return Refusal(
                "another event of this program has some of these hours", "start", iso(settled.start_ns),
                f"give hours beside {over}", series.newest.statement,
            )  # fmt: skip
    return None


def _closed(book: StatementBook, series: Series, at_ns: int, dispute: str) -> Refusal | None:
    if dispute:
        return _not_upheld(book, series, dispute)
    if series.final:
        return Refusal(
            "the series is final", "statement", series.final, "give an upheld dispute of it", series.final, "finalised"
        )
    days = book.opened.resettle_days if book.opened else 0
    until_ns = series.issued[0][0] + days * DAY_NS
    if at_ns >= until_ns:
        return Refusal("too late to settle again", "at", iso(at_ns), f"until {iso(until_ns)}", rule="resettle_days")
    return None


def _not_upheld(book: StatementBook, series: Series, dispute: str) -> Refusal | None:
    known = book.disputes.get(dispute)
    if known is None or book.of[known.statement][0] is not series:
        return Refusal("no dispute of this series", "dispute", dispute or "none", "give one of its disputes")
    if not book.is_upheld(dispute):
        return Refusal("the dispute was not upheld", "dispute", dispute, "give one that was")
    return None


def raise_dispute(
    book: StatementBook, statement: str, line: str, party: str, says: str, wanted: Decimal, at_ns: int
) -> Disputed | Refusal | None:
    """Return a dispute about a line of a statement; None where the same one is raised already."""
    found = _newest(book, statement)
    if isinstance(found, Refusal):
        return found
    series, issued = found
    amounts = amounts_of(issued)
    if line not in amounts:
        return Refusal("no such line", "line", line, f"give a line of {statement}")
    if why := _no_amount("wanted", wanted):
        return why
    made = Disputed(
        dispute=derive("dispute", statement, line, party, str(wanted)), statement=statement, line=line, party=party,
        says=says, wanted=wanted,
    )  # fmt: skip
    if made.dispute in book.disputes:
        return None
    if wanted == amounts[line]:
        return Refusal("that is what the line says", "wanted", str(wanted), "give another amount")
    days = book.opened.dispute_days if book.opened else 0
    until_ns = next(at for at, one in series.issued if one is issued) + days * DAY_NS
    if at_ns >= until_ns:
        return Refusal("too late to dispute", "at", iso(at_ns), f"until {iso(until_ns)}", rule="dispute_days")
    for other in book.open_disputes(series.id):
        if (other.line, other.party) == (line, party):
            return Refusal("disputed already", "line", line, "wait for its answer, or withdraw it", other.dispute)
    return made


def amounts_of(issued: Issued) -> dict[str, Decimal]:
    """Return the amount of each line of a version, the owners' lines too."""
    found = {line.id: line.amount for line in issued.settled.lines}
    for lines in owner_lines(issued).values():
        found |= {line.id: line.amount for line in lines}
    return found


def _newest(book: StatementBook, statement: str) -> tuple[Series, Issued] | Refusal:
    if statement not in book.of:
        return Refusal("no such statement", "statement", statement, "give the id of one in the book")
    series, issued = book.of[statement]
    if issued is not series.newest:
        limit = f"give {series.newest.statement}"
        return Refusal(f"version {issued.version} was superseded", "statement", statement, limit)
    return series, issued


def _no_amount(name: str, amount: Decimal) -> Refusal | None:
    if not amount.is_finite() or abs(amount) > MOST_AMOUNT or amount != amount.quantize(CENT):
        limit = f"give -{MOST_AMOUNT} to {MOST_AMOUNT}, whole cents"
        return Refusal("not an amount of money", name, str(amount), limit)
    return None


def answer(book: StatementBook, dispute: str, says_it: Answer, party: str, says: str) -> Answered | Refusal | None:
    """Return what becomes of a dispute; who raised it may withdraw it and no more, others may do all but that."""
    known = book.disputes.get(dispute)
    if known is None:
        return Refusal("no such dispute", "dispute", dispute, "give the id of one in the book")
    made = Answered(dispute=dispute, answer=says_it, says=says)
    if (before := book.answers.get(dispute)) is not None:
        return None if before == made else Refusal("answered already", "answer", says_it, before.answer, dispute)
    if (says_it == "withdrawn") != (party == known.party):
        limit = "withdrawn by who raised it, upheld or rejected by another"
        return Refusal("not theirs to say", "answer", says_it, limit, known.party)
    return made


def adjust(
    book: StatementBook, statement: str, line: str, amount: Decimal, owner: str, says: str, dispute: str
) -> Adjusted | Refusal | None:
    """Return money moved by agreement on a line; None where the same was recorded already.

    Without `owner` the market pays it (negative: takes it) and it is shared as the event's money is; with one the
    operator pays it to that owner out of his own part.
    """
    found = _newest(book, statement)
    if isinstance(found, Refusal):
        return found
    series, issued = found
    settled = issued.settled
    if owner and owner not in settled.owner_kwh():
        return Refusal("no owner of this event", "owner", owner, "give one of its owners")
    mine = {each.id for each in (owner_lines(issued)[owner] if owner else settled.lines)}
    if line not in mine:
        whose = f"of {owner}'s" if owner else "of the market's"
        return Refusal("no such line", "line", line, f"give a line {whose}")
    if why := _no_amount("amount", amount):
        return why
    name = derive("adjustment", statement, line, str(amount), owner, dispute)
    if any(one.adjustment == name for one in series.adjusted):
        return None
    if amount == 0:
        return Refusal("nothing to adjust", "amount", str(amount), "give an amount other than 0")
    if (dispute or series.final) and (why := _not_upheld(book, series, dispute)):
        return why
    if owner:
        due = Due(NOTHING, -amount, {owner: amount}, NOTHING)
    else:
        due = _due(settled, series.agreed + amount, series.shared())
    return Adjusted(
        adjustment=name, statement=statement, line=line, amount=amount, owner=owner, says=says, dispute=dispute, due=due
    )


def finalise(book: StatementBook, statement: str) -> Finalised | Refusal | None:
    """Return the end of a series; None where it is closed already. Open disputes keep it open."""
    found = _newest(book, statement)
    if isinstance(found, Refusal):
        return found
    series, _ = found
    if series.final == statement:
        return None
    if waiting := book.open_disputes(series.id):
        return Refusal("disputes are open", "statement", statement, "answer them first", waiting[0].dispute)
    return Finalised(series=series.id, statement=statement)
