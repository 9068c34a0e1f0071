"""`tieline accuracy`: which baseline rules meters may keep, and what a portfolio's settlement is wrong by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tieline.node.cli import main, show
from tieline.node.study_words import progress, study

if TYPE_CHECKING:
    from tieline.node.analysis_placebo import Asked


@main.command()
@study(
    "start,celsius: for rules that go by it.",
    "Local hours of the simulated events.",
    "Portfolios of so many meters; beyond yours by a law.",
)
def accuracy(
    asked: Asked, meter_file: Path | None, zone: str | None, temperature_file: Path | None, as_json: bool
) -> None:
    """Hold each rule against each meter on days without an event: RRMSE, bias, and which markets' tests it stands.

    With --size it says what a single event of a portfolio is to be settled wrong by. METER_FILE is as for a placebo.
    """
    from tieline.node.analysis_accuracy import accuracy_of

    found = accuracy_of(asked, meter_file, zone, temperature_file, progress(as_json))
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['meters']} meters, {found['days']} days, hours {asked.hours[0]}-{asked.hours[1]}")
    for row in found["rules"]:
        stood = ", ".join(f"{name} {count}" for name, count in row["holds"].items())
        median = "no day" if row["median_rrmse"] is None else f"median RRMSE {row['median_rrmse']:6.1%}"
        click.echo(f"{row['rule']:36} {row['version']:7} {row['meters']:5} meters  {median}  stand {stood}")
    for row in found["expected"]:
        for one in row["sizes"]:
            how = "by the law" if one["is_extrapolated"] else f"{one['events']} events"
            span = f"error {one['error']:6.1%}  95 % of events {one['low']:+7.1%} to {one['high']:+7.1%}"
            click.echo(f"{row['rule']:36} {one['meters']:7} meters  bias {one['bias']:+6.1%}  {span}  ({how})")
