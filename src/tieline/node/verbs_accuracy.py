"""`tieline accuracy`: which baseline rules meters may keep, and what a portfolio's settlement is wrong by."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tieline.node.cli import SEED, main, show
from tieline.node.verb_words import FILE, JSON
from tieline.node.verbs_placebo import read_day, read_hours


@main.command()
@click.argument("meter_file", type=FILE, required=False)
@click.option("--timezone", "zone", help="With METER_FILE: on whose clock days begin, an IANA name.")
@click.option("--temperature", "temperature_file", type=FILE, help="start,celsius: for rules that go by it.")
@click.option("--hours", default="16-20", show_default=True, help="Local hours of the simulated events.")
@click.option("--from", "first", default="0001-01-01", help="From this day on; left out: the first.")
@click.option("--until", "last", default="9999-12-31", help="Up to this day, that included; left out: the last.")
@click.option("--day-type", type=click.Choice(["business", "other"]), default="business", show_default=True)
@click.option("--rule", "rules", multiple=True, help="A baseline rule; left out: all that say what a load would be.")
@click.option("--size", "sizes", multiple=True, type=int, help="Portfolios of so many meters; beyond yours by a law.")
@click.option("--draws", default=20, show_default=True, type=click.IntRange(1, 1_000), help="Portfolios a size.")
@click.option("--seed", default=1, show_default=True, type=SEED, help="By which portfolios are drawn.")
@JSON
def accuracy(
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
    """Hold each rule against each meter on days without an event: RRMSE, bias, and which markets' tests it stands.

    With --size it says what a single event of a portfolio is to be settled wrong by. METER_FILE is as for a placebo.
    """
    from tieline.node.analysis_accuracy import accuracy_of
    from tieline.node.analysis_placebo import Asked

    asked = Asked(
        read_hours(hours), read_day("--from", first), read_day("--until", last), day_type, rules, sizes, draws, seed
    )
    found = accuracy_of(asked, meter_file, zone, temperature_file)
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['meters']} meters, {found['days']} days, hours {hours}")
    for row in found["rules"]:
        stood = ", ".join(f"{name} {count}" for name, count in row["holds"].items())
        median = "no day" if row["median_rrmse"] is None else f"median RRMSE {row['median_rrmse']:6.1%}"
        click.echo(f"{row['rule']:36} {row['meters']:5} meters  {median}  stand {stood}")
    for row in found["expected"]:
        for one in row["sizes"]:
            how = "by the law" if one["is_extrapolated"] else f"{one['events']} events"
            span = f"error {one['error']:6.1%}  95 % of events {one['low']:+7.1%} to {one['high']:+7.1%}"
            click.echo(f"{row['rule']:36} {one['meters']:7} meters  bias {one['bias']:+6.1%}  {span}  ({how})")
