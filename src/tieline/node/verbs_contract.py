"""Verbs about contracts, programs and enrolments; all from files, none needs a server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import AT, FILE, JSON, instant

if TYPE_CHECKING:
    from tieline.contract.membership import EnrolmentBook
    from tieline.contract.party import Contracts
    from tieline.contract.program import AnyProgram

BOOK = click.option("--book", required=True, type=FILE, help="The book of enrolments, a JSON file; made if missing.")
PROGRAMS = click.option("--programs", "programs_file", type=FILE, help="Programs (TOML); left out: Tieline's own.")
CONTRACTS = click.option("--contracts", "contracts_file", required=True, type=FILE, help="Contracts (TOML).")


@main.command()
@click.argument("file", type=FILE)
@CONTRACTS
@BOOK
@PROGRAMS
@click.option("--promised", type=FILE, help="What is promised already: resource,product,start,end,up_w,rating_w.")
@click.option("--by", default="cli", show_default=True, help="Who sends it.")
@click.option("--dry-run", is_flag=True, help="Report only; the book stays as it is.")
@AT
@JSON
@click.pass_context
def enrol(
    ctx: click.Context,
    file: Path,
    contracts_file: Path,
    book: Path,
    programs_file: Path | None,
    promised: Path | None,
    by: str,
    dry_run: bool,
    at: str | None,
    as_json: bool,
) -> None:
    """Enrol every row of FILE (CSV or XLSX), or none: each row is reported with all that is wrong with it.

    Columns: location, resource, kind, power_w, program, contract, starts; and fuel, rating_w, ends, aggregation where
    they are needed. A row that is in the book already has no effect. Ends with code 1 where a row is refused.
    """
    from tieline.contract.admission import Promises
    from tieline.contract.bulk import enrol_rows
    from tieline.fleet.ledger import Ledger
    from tieline.store.enrolment_files import changing, read_promised, read_rows

    now_ns, rows = instant(at), read_rows(file)
    contracts, programs = _contracts(contracts_file), _programs(programs_file)
    ledger = Ledger() if promised is None else read_promised(promised)
    with changing(book) as (held, write):
        made = enrol_rows(rows, contracts, programs, held, Promises(ledger, now_ns), now_ns, by)
        if made.is_taken and made.book is not held and not dry_run:
            write(made.book)
    counts = {word: made.count(word) for word in ("added", "unchanged", "refused")}
    if as_json:
        report = [{"row": row.row, "outcome": row.outcome, "id": row.id, "state": row.state,
                   "faults": list(row.faults)} for row in made.rows]  # fmt: skip
        applied = made.is_taken and not dry_run
        show({"applied": applied, **counts, "notes": list(made.notes), "rows": report}, True)
    else:
        for row in made.rows:
            click.echo(f"row {row.row}: {row.outcome}{f', {row.state}' if row.state else ''}")
            for fault in row.faults:
                click.echo(f"  {fault}")
        for note in made.notes:
            click.echo(f"note: {note}")
        end = "" if made.is_taken else "; nothing was applied"
        click.echo(f"{counts['added']} added, {counts['unchanged']} unchanged, {counts['refused']} refused{end}")
    if not made.is_taken:
        ctx.exit(1)


@main.group()
def enrolments() -> None:
    """The book of enrolments: who stands where, reviews that wait, a utility's answer, what time has done."""


@enrolments.command(name="list")
@BOOK
@AT
@JSON
def list_enrolments(book: Path, at: str | None, as_json: bool) -> None:
    """List enrolments by state, and the utility reviews that wait with the days that they have left."""
    from tieline.store.enrolment_files import read_book

    if not book.exists():
        raise ConfigError(f"--book {book}: no such file")
    _tell(read_book(book), instant(at), as_json)


@enrolments.command()
@BOOK
@CONTRACTS
@PROGRAMS
@AT
@JSON
def advance(book: Path, contracts_file: Path, programs_file: Path | None, at: str | None, as_json: bool) -> None:
    """Take the steps that are due: begin, end, suspend where consent is gone, go on where it is back.

    Where somebody left an aggregation since its last review, a new one is opened.
    """
    from tieline.contract.membership import review_memberships
    from tieline.contract.progress import pass_time
    from tieline.store.enrolment_files import changing

    now_ns, contracts, programs = instant(at), _contracts(contracts_file), _programs(programs_file)
    if not book.exists():
        raise ConfigError(f"--book {book}: no such file")
    with changing(book) as (held, write):
        after = review_memberships(pass_time(held, contracts, now_ns), contracts, programs, now_ns)
        if after != held:
            write(after)
    _tell(after, now_ns, as_json)


@enrolments.command()
@click.argument("enrolment")
@click.argument("state")
@click.argument("why")
@BOOK
@click.option("--by", required=True, help="Who takes the step.")
@click.option("--says", default="", help="In their words.")
@AT
@JSON
def step(enrolment: str, state: str, why: str, book: Path, by: str, says: str, at: str | None, as_json: bool) -> None:
    """Take ENROLMENT (its id, or its resource's name) to STATE for the reason WHY, as the table of states allows."""
    from msgspec import structs

    from tieline.contract.enrolment import State, Why
    from tieline.contract.enrolment import step as take
    from tieline.resource.claim import Refusal
    from tieline.store.enrolment_files import changing

    now_ns = instant(at)
    for name, value, words in (("state", state, list(State)), ("why", why, list(Why))):
        if value not in words:
            raise ConfigError(f"{name} = {value!r}: give one of {', '.join(words)}")
    if not book.exists():
        raise ConfigError(f"--book {book}: no such file")
    with changing(book) as (held, write):
        fitting = [one for one in held.enrolments.values() if enrolment in (one.id, one.resource)]
        alive = [one for one in fitting if one.state is not State.ENDED] or fitting
        if len(alive) != 1:
            raise ConfigError(f"enrolment = {enrolment!r}: fits {len(alive)}: give the id of one, see enrolments list")
        after = take(alive[0], State(state), Why(why), by, now_ns, says)
        if isinstance(after, Refusal):
            raise ConfigError(f"{after.field} = {after.value!r}: {after}")
        made = structs.replace(held, enrolments={**held.enrolments, after.id: after})
        if made != held:
            write(made)
    _tell(made, now_ns, as_json)


@enrolments.command()
@click.argument("case")
@click.argument("answer", type=click.Choice(["approved", "approved_with_conditions", "rejected"]))
@BOOK
@click.option("--by", required=True, help="Who answers for the utility.")
@click.option("--ground", default="", help="Of a no: one of the program's grounds, such as capacity.")
@click.option("--against", multiple=True, help="Of a no: the enrolments that it is about; left out: all that wait.")
@click.option("--condition", "conditions", multiple=True, help="Of a yes with conditions: each of them.")
@click.option("--says", default="", help="In the utility's words.")
@AT
@JSON
def review(
    case: str,
    answer: Literal["approved", "approved_with_conditions", "rejected"],
    book: Path,
    by: str,
    ground: str,
    against: tuple[str, ...],
    conditions: tuple[str, ...],
    says: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Answer review CASE (or the aggregation's name, where one review of it waits) for the utility."""
    from tieline.contract.progress import answer_review
    from tieline.resource.claim import Refusal
    from tieline.store.enrolment_files import changing

    now_ns = instant(at)
    if not book.exists():
        raise ConfigError(f"--book {book}: no such file")
    with changing(book) as (held, write):
        waiting = [one.id for one in held.reviews if one.aggregation == case and not one.answer]
        name = waiting[0] if len(waiting) == 1 else case
        after = answer_review(held, name, answer, by, now_ns, ground=ground, against=against, conditions=conditions,
                              says=says)  # fmt: skip
        if isinstance(after, Refusal):
            raise ConfigError(f"{after.field} = {after.value!r}: {after}")
        write(after)
    _tell(after, now_ns, as_json)


def _tell(book: EnrolmentBook, now_ns: int, as_json: bool) -> None:
    from tieline.times import FOREVER_NS, iso

    rows = [
        {"id": one.id, "resource": one.resource, "location": one.location, "program": one.program,
         "state": one.state.value, "why": one.steps[-1].why.value if one.steps else "", "power_w": one.power_w,
         "starts": iso(one.starts_ns), "ends": None if one.ends_ns == FOREVER_NS else iso(one.ends_ns)}
        for one in book.enrolments.values()
    ]  # fmt: skip
    waiting = [
        {"review": one.id, "aggregation": one.aggregation, "utility": one.utility, "members": len(one.members),
         "days_left": round(one.days_left(now_ns), 2), "is_overdue": one.is_overdue(now_ns)}
        for one in book.reviews if not one.answer
    ]  # fmt: skip
    states = dict(sorted(Counter(str(row["state"]) for row in rows).items()))
    if as_json:
        show({"states": states, "reviews": waiting, "enrolments": rows}, True)
        return
    for row in rows:
        click.echo(f"{row['resource']} at {row['location']} in {row['program']}: {row['state']} ({row['why']})")
    for one in waiting:
        late = "OVERDUE " if one["is_overdue"] else ""
        click.echo(f"{late}review of {one['aggregation']} by {one['utility']}: {one['members']} members, "
                   f"{one['days_left']} days left ({one['review']})")  # fmt: skip
    click.echo(", ".join(f"{count} {state}" for state, count in states.items()) or "nobody is enrolled")


@main.group()
def programs() -> None:
    """Programs as data: list those that come with Tieline, show one, check a file of yours."""


@programs.command(name="list")
@PROGRAMS
@JSON
def list_programs(programs_file: Path | None, as_json: bool) -> None:
    """List programs with type, jurisdiction, certainty and source."""
    rows = [
        {"program": one.id, "type": str(one.__struct_config__.tag), "version": one.version,
         "jurisdiction": one.jurisdiction, "certainty": one.certainty, "source": one.source}
        for one in _programs(programs_file)
    ]  # fmt: skip
    if as_json:
        show({"programs": rows}, True)
        return
    for row in rows:
        click.echo(f"{row['program']} {row['version']}: {row['type']}, {row['jurisdiction']}, {row['certainty']}")
        click.echo(f"  {row['source']}")


@programs.command(name="show")
@click.argument("program")
@PROGRAMS
@JSON
def show_program(program: str, programs_file: Path | None, as_json: bool) -> None:
    """Show every value of PROGRAM, and which of them are Tieline's own."""
    import msgspec

    every = _programs(programs_file)
    found = [one for one in every if one.id == program]
    if not found:
        raise ConfigError(f"program {program!r} is unknown: give one of {', '.join(sorted({one.id for one in every}))}")
    versions = [msgspec.to_builtins(one) for one in found]
    show({"program": program, "versions": versions} if as_json or len(found) > 1 else versions[0], as_json)


@programs.command(name="check")
@click.argument("file", type=FILE)
@JSON
def check_programs(file: Path, as_json: bool) -> None:
    """Check a FILE of programs (TOML): every fault with its path; baselines, ladders and minimums have to exist."""
    found = _programs(file)
    show({"file": str(file), "programs": len(found), "types": _types(found)}, as_json)


@main.group()
def contracts() -> None:
    """Contracts between owners and the DER Manager, with parties and locations, as data."""


@contracts.command(name="check")
@click.argument("file", type=FILE)
@AT
@JSON
def check_contracts(file: Path, at: str | None, as_json: bool) -> None:
    """Check a FILE of contracts (TOML): every fault with its path; and say which terms and consents hold."""
    now_ns, found = instant(at), _contracts(file)
    held = []
    for one in found.contracts.values():
        terms = one.terms_at(now_ns)
        products = () if terms is None else terms.products
        consented = [name for name in products if one.refusal(name, now_ns) is None]
        version = None if terms is None else terms.version
        held.append({"contract": one.id, "owner": one.owner, "manager": one.manager, "terms": version,
                     "products": list(products), "consented": consented})  # fmt: skip
    counts = {"parties": len(found.parties), "locations": len(found.locations), "contracts": len(held)}
    show({"file": str(file), **counts, "held": held}, as_json)


def _types(found: tuple[AnyProgram, ...]) -> dict[str, int]:
    return dict(sorted(Counter(str(one.__struct_config__.tag) for one in found).items()))


def _contracts(path: Path) -> Contracts:
    from tieline.node.contracting import contracts_in

    return contracts_in(path)


def _programs(path: Path | None) -> tuple[AnyProgram, ...]:
    from tieline.node.contracting import programs_in

    return programs_in(path)
