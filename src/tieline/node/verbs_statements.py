"""`tieline statements`: a book of statements from files: issue, write, dispute, adjust, and make each again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import AS_READ, AT, BOOK, BY, FILE, JSON, decimal_of, granted, instant, named
from tieline.node.verbs import Missing
from tieline.node.verbs_rules import RULES

AUDIENCE = Literal["market", "program", "owner"]
ANSWER = Literal["upheld", "rejected", "withdrawn"]


@main.group()
def statements() -> None:
    """A book of statements: versions of each event for market, program and owners, disputes, adjustments."""


@statements.command(name="open")
@click.argument("book", type=FILE)
@click.option("--operator", required=True, help="Whose book it is: the party that sells and pays.")
@click.option("--currency", required=True, help="Of all its money: ISO 4217.")
@click.option("--dispute-days", default=30, show_default=True, type=click.IntRange(0, 3_650))
@click.option("--resettle-days", default=365, show_default=True, type=click.IntRange(0, 3_650))
@BY
@AT
@JSON
def open_book(
    book: Path,
    operator: str,
    currency: str,
    dispute_days: int,
    resettle_days: int,
    by: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Make a book in the folder BOOK, with how long a version can be disputed and an event settled again."""
    from decimal import Decimal

    from tieline.node.analysis_settle import require_money
    from tieline.pool.statement_facts import Opened
    from tieline.store.statement_files import changing_statements

    require_money(Decimal(0), currency)
    fact = Opened(operator=operator, currency=currency, dispute_days=dispute_days, resettle_days=resettle_days)
    with changing_statements(book, instant(at), by, is_new=True) as (_, append):
        append(fact)
    show({"book": str(book), "operator": operator, "currency": currency}, as_json)


@statements.command()
@click.argument("rule")
@click.argument("meter_file", type=FILE)
@click.option("--event", "event_file", type=FILE, required=True, help="Event: TOML with timezone, start and end.")
@click.option("--awards", "awards_file", type=FILE, required=True, help="Sold day-ahead: start,mw,price.")
@click.option("--prices", "prices_file", type=FILE, required=True, help="Real-time prices: start,price.")
@click.option("--causes", "causes_file", type=FILE, help="What is known of a lack: start,cause,kw; resource a meter.")
@AS_READ
@click.option("--sites", "sites_file", type=FILE, help="meter,owner,customer,feeder,committed_kw,rating_kw.")
@click.option("--contracts", "contracts_file", type=FILE, help="Contracts (TOML): owners' shares, pay and penalties.")
@click.option("--enrolments", "enrolments_file", type=FILE, help="Book of enrolments: meters not in it are refused.")
@click.option("--program", required=True, help="Under which program the event was called.")
@click.option("--market", required=True, help="Who buys.")
@click.option("--service", default="energy", show_default=True, help="What is sold; none is paid twice: capacity, ...")
@click.option("--operator-share", default="0", show_default=True, help="The operator's part of the total, 0 to 1.")
@click.option("--level", type=click.Choice(["meter", "registration", "resource"]), help="As for a baseline.")
@click.option("--dispute", default="", help="An upheld dispute by which a closed event is settled again.")
@click.option(
    "--rule-version",
    help="By this version, as RULE@VERSION; left out: as in the former statement, or the one in force on the day.",
)
@RULES
@BOOK
@BY
@AT
@JSON
def issue(
    rule: str,
    meter_file: Path,
    event_file: Path,
    awards_file: Path,
    prices_file: Path,
    causes_file: Path | None,
    as_read: tuple[str, ...],
    sites_file: Path | None,
    contracts_file: Path | None,
    enrolments_file: Path | None,
    program: str,
    market: str,
    service: str,
    operator_share: str,
    level: str | None,
    dispute: str,
    rule_version: str | None,
    rules_file: Path | None,
    book: Path,
    by: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Settle an event from files and issue its statement: version 1, or the next where anything changed since.

    The same files give no new version. All files are kept in the book, so that each version can be made again; an event
    that is settled again keeps the version of its rule, whatever came into force since.
    """
    from tieline.market.services import require_service
    from tieline.node.analysis_settle import EventFiles
    from tieline.node.analysis_statement import Asked, keep_inputs, meters_of, settled_of
    from tieline.node.event_terms import left_open
    from tieline.node.rule_files import pinned, rules_in
    from tieline.node.rule_kept import kept_or_in_force
    from tieline.pool import statement_book
    from tieline.pool.paid_claims import Paid
    from tieline.store.statement_files import changing_statements, read_statements

    known = read_statements(book)
    opened = known.opened
    if opened is None:
        raise ConfigError(f"--book {book}: was not opened: make one with `tieline statements open`")
    chosen = kept_or_in_force(known, pinned(rule, rule_version), rules_in(rules_file), program, market, event_file)
    files = EventFiles(meter_file, event_file, awards_file, prices_file, causes_file, as_read)
    share = decimal_of("--operator-share", operator_share)
    asked = Asked(chosen.rule, program, market, opened.operator, opened.currency, share, level, files,
                  sites=sites_file, contracts=contracts_file, enrolments=enrolments_file)  # fmt: skip
    require_service(service)
    settled, now_ns = settled_of(asked), instant(at)
    notes = left_open(contracts_file, settled.terms, settled.by_owner(), program, settled.start_ns, share)
    with changing_statements(book, now_ns, by) as (held, append):
        made = granted(statement_book.issue(held, settled, now_ns, dispute, Paid(service, meters_of(meter_file))))
        if made is not None:
            keep_inputs(book, asked)
            append(made)
        newest = made or held.series[statement_book.series_of(settled)].newest
    told = {
        "statement": newest.statement, "version": newest.version, "is_new": made is not None, "former": newest.former,
        "total": str(newest.settled.total), "currency": newest.settled.currency,
        "due": {"market": str(newest.due.market), "operator": str(newest.due.operator),
                "owners": {owner: str(amount) for owner, amount in newest.due.owners.items()},
                "undistributed": str(newest.due.undistributed)},
        "changed_lines": len(newest.adjusting), "rule": chosen.rule.id, "rule_version": chosen.rule.version,
        "in_force": chosen.told(), "row_hash": chosen.rule.row_hash,
        "flags": [*settled.flags, *chosen.flags, *notes],
    }  # fmt: skip
    show(told, as_json)


@statements.command(name="list")
@BOOK
@JSON
def list_statements(book: Path, as_json: bool) -> None:
    """List every version of every event with its total, what it changed, and disputes that wait."""
    from tieline.store.statement_files import read_statements
    from tieline.times import iso

    held = read_statements(book)
    rows: list[dict[str, Any]] = []
    for series in held.series.values():
        for at_ns, one in series.issued:
            stands = "final" if series.final == one.statement else "stands" if one is series.newest else "superseded"
            settled = one.settled
            rows.append(
                {"statement": one.statement, "program": settled.program, "market": settled.market,
                 "start": iso(settled.start_ns), "version": one.version, "state": stands, "issued": iso(at_ns),
                 "total": str(settled.total), "agreed": str(series.agreed), "due": str(one.due.market)}
            )  # fmt: skip
    waiting = [
        {"dispute": one.dispute, "statement": one.statement, "line": one.line, "party": one.party,
         "wanted": str(one.wanted), "says": one.says}
        for series in held.series.values() for one in held.open_disputes(series.id)
    ]  # fmt: skip
    if as_json:
        show({"statements": rows, "disputes": waiting}, True)
        return
    for row in rows:
        told = f"{row['program']} {row['start']} version {row['version']} {row['state']}: {row['total']}"
        click.echo(f"{row['statement']} {told}, due with it {row['due']}")
    for each in waiting:
        click.echo(f"open {each['dispute']}: {each['party']} wants {each['wanted']} for {each['line']}: {each['says']}")
    click.echo(f"{len(rows)} statements, {len(waiting)} open disputes")


def one_or_each(audience: AUDIENCE, owner: str, out: Path) -> bool:
    """Return whether every owner's statement is meant. Raises ConfigError where neither one nor all are named."""
    each = "{owner}" in out.name
    if (audience == "owner") == (bool(owner) or each) and not (owner and each):
        return each
    if audience == "owner":
        raise ConfigError(f"--for owner: give --owner NAME, or for everybody {{owner}} in the name of --out, not {out}")
    raise ConfigError(f"--for {audience}: --owner and {{owner}} in --out go with --for owner alone")


@statements.command()
@click.argument("statement")
@BOOK
@click.option("--for", "audience", type=click.Choice(get_args(AUDIENCE)), default="market", show_default=True)
@click.option("--owner", default="", help="Whose, with --for owner; left out: everybody's, {owner} in --out.")
@click.option("--out", type=FILE, required=True, help="Where to: .html, .pdf, .xlsx or .csv says in which form.")
@JSON
def write(statement: str, book: Path, audience: AUDIENCE, owner: str, out: Path, as_json: bool) -> None:
    """Write STATEMENT (an id, or `newest`) for the market, the program or one owner, with the days used and why."""
    from tieline.node.analysis_statement import write_owners
    from tieline.pool.statement import market_statement, owner_statement, program_statement
    from tieline.store.document_files import write_document
    from tieline.store.statement_files import read_statements

    held = read_statements(book)
    statement = named(held, statement)
    if statement not in held.of:
        raise ConfigError(f"statement = {statement!r}: give the id of one in the book (`tieline statements list`)")
    each = one_or_each(audience, owner, out)
    series, issued = held.of[statement]
    if each:
        count = write_owners(series, issued, out)
        show({"statement": statement, "for": "owners", "out": str(out), "written": count}, as_json)
        return
    if audience == "owner":
        document = owner_statement(series, issued, owner)
    else:
        document = (market_statement if audience == "market" else program_statement)(series, issued)
    write_document(document, out)
    show({"statement": statement, "for": owner or audience, "out": str(out), **dict(document.head[-1:])}, as_json)


@statements.command()
@BOOK
@click.option("--statement", default="", help="This one alone; left out: all.")
@JSON
@click.pass_context
def again(ctx: click.Context, book: Path, statement: str, as_json: bool) -> None:
    """Make statements again from the files that the book kept, and compare byte by byte; code 1 where one differs."""
    from tieline.node.analysis_statement import made_again
    from tieline.store.statement_files import encode_settled, read_statements

    held = read_statements(book)
    statement = named(held, statement)
    if statement and statement not in held.of:
        raise ConfigError(f"--statement {statement!r}: give the id of one in the book")
    rows: list[dict[str, Any]] = []
    for name, (_, issued) in held.of.items():
        if statement in ("", name):
            was, now = encode_settled(issued.settled), encode_settled(made_again(book, issued.settled))
            rows.append({"statement": name, "is_same": was == now, "bytes": len(was)})
    if as_json:
        show({"statements": rows, "all_same": all(row["is_same"] for row in rows)}, True)
    else:
        for row in rows:
            click.echo(f"{row['statement']}: {'the same' if row['is_same'] else 'DIFFERS'}, {row['bytes']:,} bytes")
    if not all(row["is_same"] for row in rows):
        ctx.exit(1)


@statements.command()
@click.argument("statement")
@click.argument("line")
@click.option("--wanted", required=True, help="What the line should come to.")
@click.option("--party", required=True, help="Who says so.")
@click.option("--says", required=True, help="Why, in their words.")
@BOOK
@BY
@AT
@JSON
def dispute(
    statement: str, line: str, wanted: str, party: str, says: str, book: Path, by: str, at: str | None, as_json: bool
) -> None:
    """Dispute LINE of STATEMENT, the newest of its event, within the book's days."""
    from tieline.pool.statement_book import raise_dispute
    from tieline.store.statement_files import changing_statements

    now_ns, amount = instant(at), decimal_of("--wanted", wanted)
    with changing_statements(book, now_ns, by) as (held, append):
        made = granted(raise_dispute(held, named(held, statement), line, party, says, amount, now_ns))
        if made is not None:
            append(made)
    show({"dispute": made.dispute if made else "", "is_new": made is not None}, as_json)


@statements.command()
@click.argument("dispute")
@click.argument("answer", type=click.Choice(get_args(ANSWER)))
@click.option("--party", required=True, help="Who answers; only who raised it may withdraw it.")
@click.option("--says", default="", help="In their words.")
@BOOK
@BY
@AT
@JSON
def answer(
    dispute: str, answer: ANSWER, party: str, says: str, book: Path, by: str, at: str | None, as_json: bool
) -> None:
    """Answer DISPUTE; one that is upheld lets its line be adjusted, or its event be settled again."""
    from tieline.pool import statement_book
    from tieline.store.statement_files import changing_statements

    with changing_statements(book, instant(at), by) as (held, append):
        made = granted(statement_book.answer(held, dispute, answer, party, says))
        if made is not None:
            append(made)
    show({"dispute": dispute, "answer": answer, "is_new": made is not None}, as_json)


@statements.command()
@click.argument("statement")
@click.argument("line")
@click.argument("amount")
@click.option("--owner", default="", help="The operator pays this owner; left out: the market pays, and all share it.")
@click.option("--says", required=True, help="Why.")
@click.option("--dispute", default="", help="The upheld dispute that it follows from.")
@BOOK
@BY
@AT
@JSON
def adjust(
    statement: str, line: str, amount: str, owner: str, says: str, dispute: str, book: Path, by: str, at: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Move AMOUNT on LINE of STATEMENT by agreement; a resettlement never takes it back."""
    from tieline.pool import statement_book
    from tieline.store.statement_files import changing_statements

    wanted = decimal_of("AMOUNT", amount)
    with changing_statements(book, instant(at), by) as (held, append):
        made = granted(statement_book.adjust(held, named(held, statement), line, wanted, owner, says, dispute))
        if made is not None:
            append(made)
    show({"adjustment": made.adjustment if made else "", "is_new": made is not None}, as_json)


@statements.command()
@click.argument("statement")
@BOOK
@BY
@AT
@JSON
def finalise(statement: str, book: Path, by: str, at: str | None, as_json: bool) -> None:
    """Close the event of STATEMENT, its newest version; open disputes keep it open."""
    from tieline.pool import statement_book
    from tieline.store.statement_files import changing_statements

    with changing_statements(book, instant(at), by) as (held, append):
        made = granted(statement_book.finalise(held, named(held, statement)))
        if made is not None:
            append(made)
    show({"statement": statement, "state": "final", "is_new": made is not None}, as_json)


@statements.command()
@click.argument("statement", default="newest")
@click.option("--data", type=FILE, required=True, help="The data folder of a server, or of `tieline demo --data`.")
@click.option("--for", "audience", type=click.Choice(get_args(AUDIENCE)), default="market", show_default=True)
@click.option("--owner", default="", help="Whose, with --for owner; left out: everybody's, {owner} in --out.")
@click.option("--out", type=FILE, required=True, help="Where to: .html, .pdf, .xlsx or .csv says in which form.")
@JSON
@click.pass_context
def served(
    ctx: click.Context, statement: str, data: Path, audience: AUDIENCE, owner: str, out: Path, as_json: bool
) -> None:
    """Write a statement that a server settled: `newest`, that of a day, or of an id; its journal is only read.

    Where a record was changed or is gone that is said (with --json in `missing`), and the exit code is 1: what is
    written can't be trusted then.
    """
    from tieline.node.analysis_statement import write_each
    from tieline.node.journals import tell_cut
    from tieline.node.served_documents import Served, require_day_or_id
    from tieline.store.document_files import write_document

    each = one_or_each(audience, owner, out)
    require_day_or_id(statement)
    missing = Missing()
    tell_cut(data, missing)
    held = Served(data)
    made = held.find(statement)
    told: dict[str, Any] = {"statement": made.statement, "for": owner or audience, "out": str(out)}
    if each:
        told |= {"for": "owners", "written": write_each(held.owners(made), out)}
    else:
        document = held.document(made, audience, owner)
        write_document(document, out)
        told |= dict(document.head[-1:])
    show({**told, **({"missing": missing.told} if as_json else {})}, as_json)
    missing.end(ctx)
