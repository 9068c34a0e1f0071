"""`tieline placebo`: what baseline rules would pay on days on which nothing happened."""

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
    "start,celsius: for hot days and rules by weather.",
    "Local hours of the events that never were.",
    "Portfolios of so many meters, too.",
)
def placebo(
    asked: Asked, meter_file: Path | None, zone: str | None, temperature_file: Path | None, as_json: bool
) -> None:
    """Settle days on which nothing happened, by each rule: what it pays then is its error.

    METER_FILE is as for a baseline; left out: the 17 homes that come with Tieline. Bias above 0 pays for nothing.
    """
    from tieline.node.analysis_placebo import placebo_of

    found = placebo_of(asked, meter_file, zone, temperature_file, progress(as_json))
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['meters']} meters, {found['days']} days, hours {asked.hours[0]}-{asked.hours[1]}")
    for row in [*found["trials"], *found["by_size"]]:
        if row["events"]:
            who = f"{row['rule']:28} {row['version']:7} {row['level']:12} {row['days']:4} {row['meters']:5} meters"
            told = f"bias {row['bias']:+7.1%}  error {row['rrmse']:6.1%}  losses forgiven {row['floored']:6.1%}"
            click.echo(f"{who} {row['events']:6} events  {told}")
    for level, rule in found["chosen"].items():
        click.echo(f"to take at {level} level: {rule or 'none'}")
