"""`tieline placebo`: what baseline rules would pay on days on which nothing happened."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Literal

import click

from tieline.errors import ConfigError
from tieline.node.cli import SEED, main, show
from tieline.node.verb_words import FILE, JSON


@main.command()
@click.argument("meter_file", type=FILE, required=False)
@click.option("--timezone", "zone", help="With METER_FILE: on whose clock days begin, an IANA name.")
@click.option("--temperature", "temperature_file", type=FILE, help="start,celsius: for hot days and rules by weather.")
@click.option("--hours", default="16-20", show_default=True, help="Local hours of the events that never were.")
@click.option("--from", "first", default="0001-01-01", help="From this day on; left out: the first.")
@click.option("--until", "last", default="9999-12-31", help="Up to this day, that included; left out: the last.")
@click.option("--day-type", type=click.Choice(["business", "other"]), default="business", show_default=True)
@click.option("--rule", "rules", multiple=True, help="A baseline rule; left out: all that say what a load would be.")
@click.option("--size", "sizes", multiple=True, type=int, help="Portfolios of so many meters, too.")
@click.option("--draws", default=20, show_default=True, type=click.IntRange(1, 1_000), help="Portfolios a size.")
@click.option("--seed", default=1, show_default=True, type=SEED, help="By which portfolios are drawn.")
@JSON
def placebo(
    meter_file: Path | None,
    zone: str | None,
    temperature_file: Path | None,
    hours: str,
    first: str,
    last: str,
    day_type: Literal["business", "other"],
    rules: tuple[str, ...],
    sizes: tuple[int, ...],
    draws: int,
    seed: int,
    as_json: bool,
) -> None:
    """Settle days on which nothing happened, by each rule: what it pays then is its error.

    METER_FILE is as for a baseline; left out: the 17 homes that come with Tieline. Bias above 0 pays for nothing.
    """
    from tieline.node.analysis_placebo import Asked, placebo_of

    asked = Asked(
        read_hours(hours), read_day("--from", first), read_day("--until", last), day_type, rules, sizes, draws, seed
    )
    found = placebo_of(asked, meter_file, zone, temperature_file)
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['meters']} meters, {found['days']} days, hours {hours}")
    for row in [*found["trials"], *found["by_size"]]:
        if row["events"]:
            who = f"{row['rule']:28} {row['level']:12} {row['days']:4} {row['meters']:5} meters"
            told = f"bias {row['bias']:+7.1%}  error {row['rrmse']:6.1%}  losses forgiven {row['floored']:6.1%}"
            click.echo(f"{who} {row['events']:6} events  {told}")
    for level, rule in found["chosen"].items():
        click.echo(f"to take at {level} level: {rule or 'none'}")


def read_hours(text: str) -> tuple[int, int]:
    """Return two hours of a day. Raises ConfigError for what is none."""
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text, re.ASCII)
    if not found or not 0 <= int(found[1]) < int(found[2]) <= 24:
        raise ConfigError(f"--hours {text!r}: give two hours of a day such as 16-20")
    return int(found[1]), int(found[2])


def read_day(option: str, text: str) -> date:
    """Return a day. Raises ConfigError naming the option."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give a day such as 2024-06-01") from None
