"""What the verbs that study baseline rules on meters are all asked: days, hours, rules and portfolios."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tieline.errors import ConfigError
from tieline.node.cli import SEED
from tieline.node.verb_words import FILE, JSON
from tieline.node.verbs_rules import RULES

if TYPE_CHECKING:
    from tieline.node.analysis_placebo import Asked

Act = Callable[["Asked", Path | None, str | None, Path | None, bool], None]
"""What a verb does: what was asked, meter file, zone, temperature file, and whether it answers as JSON."""


def study(temperature: str, hours: str, sizes: str) -> Callable[[Act], Callable[..., None]]:
    """Return a decorator that gives a verb the arguments of a study; the three texts are help of its own."""
    option = click.option
    options = (
        click.argument("meter_file", type=FILE, required=False),
        option("--timezone", "zone", help="With METER_FILE: on whose clock days begin, an IANA name."),
        option("--temperature", "temperature_file", type=FILE, help=temperature),
        option("--hours", default="16-20", show_default=True, help=hours),
        option("--from", "first", default="0001-01-01", help="From this day on; left out: the first."),
        option("--until", "last", default="9999-12-31", help="Up to this day, that included; left out: the last."),
        option("--day-type", type=click.Choice(["business", "other"]), default="business", show_default=True),
        option("--rule", "rules", multiple=True, help="A baseline rule; left out: all that say what a load would be."),
        RULES,
        option("--size", "sizes", multiple=True, type=int, help=sizes),
        option("--draws", default=20, show_default=True, type=click.IntRange(1, 1_000), help="Portfolios a size."),
        option("--seed", default=1, show_default=True, type=SEED, help="By which portfolios are drawn."),
        JSON,
    )  # fmt: skip

    def with_words(act: Act) -> Callable[..., None]:
        @wraps(act)
        def verb(
            meter_file: Path | None, zone: str | None, temperature_file: Path | None, as_json: bool, **said: Any
        ) -> None:
            act(_asked(**said), meter_file, zone, temperature_file, as_json)

        for each in reversed(options):
            verb = each(verb)
        return verb

    return with_words


def progress(as_json: bool) -> Callable[[str], None]:
    """Return what tells a person on standard error how far a study is; a program that asked for JSON hears nothing."""
    return (lambda line: None) if as_json else (lambda line: click.echo(line, err=True))


def _asked(
    hours: str,
    first: str,
    last: str,
    day_type: Literal["business", "other"],
    rules: tuple[str, ...],
    rules_file: Path | None,
    sizes: tuple[int, ...],
    draws: int,
    seed: int,
) -> Asked:
    from tieline.node.analysis_placebo import Asked
    from tieline.node.rule_files import rules_in

    days = _day("--from", first), _day("--until", last)
    return Asked(_hours(hours), *days, day_type, rules, sizes, draws, seed, rules_in(rules_file))


def _hours(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text, re.ASCII)
    if not found or not 0 <= int(found[1]) < int(found[2]) <= 24:
        raise ConfigError(f"--hours {text!r}: give two hours of a day such as 16-20")
    return int(found[1]), int(found[2])


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give a day such as 2024-06-01") from None
