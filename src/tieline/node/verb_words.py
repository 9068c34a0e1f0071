"""Options and words that the verbs over contracts, enrolments and books of statements share."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tieline.errors import ConfigError
from tieline.resource.claim import Refusal

if TYPE_CHECKING:
    from tieline.pool.statement_book import StatementBook

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
BOOK = click.option("--book", required=True, type=FILE, help="The folder of the book of statements.")
AT = click.option("--at", "at", help="When this is, ISO 8601 with an offset; left out: now.")
BY = click.option("--by", default="cli", show_default=True, help="Who does it; recorded.")
AS_READ = click.option(
    "--as-read",
    multiple=True,
    metavar="ROWS",
    help="Take these rows as they stand, though they are doubted: 1418, 1418-1441, awards:2; lines say so.",
)
Made = TypeVar("Made")


def granted(made: Made | Refusal) -> Made:
    """Return what was decided. Raises ConfigError with the field, its value and the limit where it was refused."""
    if isinstance(made, Refusal):
        more = "".join(f" ({word} {value})" for word, value in (("held by", made.holder), ("rule", made.rule)) if value)
        raise ConfigError(
            f"{made.reason}: {made.field} = {made.value or 'empty'!r}: {made.limit or 'not allowed'}{more}"
        )
    return made


def named(book: StatementBook, statement: str) -> str:
    """Return the id of a statement; `newest` is the last one that was issued."""
    return list(book.of)[-1] if statement == "newest" and book.of else statement


def decimal_of(option: str, text: str) -> Decimal:
    """Return an option's amount. Raises ConfigError naming the option where it is none."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ConfigError(f"{option} {text!r}: give a number such as 12.50") from None


def instant(text: str | None) -> int:
    """Return an option's instant (UTC ns), or now where it is left out. Raises ConfigError where it is none."""
    from tieline.rim.clock import SystemClock
    from tieline.times import parse_iso

    if text is None:
        return SystemClock().now_ns()
    try:
        return parse_iso(text)
    except (ValueError, OverflowError):
        raise ConfigError(f"--at {text!r}: give ISO 8601 with an offset, such as 2026-06-01T00:00:00-07:00") from None
