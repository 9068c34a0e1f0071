"""`tieline performance`: how the events of a book went, over a season, and what a peaker would have done."""

from __future__ import annotations

from pathlib import Path

import click

from tieline.market.settlement import without_noise
from tieline.node.cli import main, show
from tieline.node.verb_words import BOOK, FILE, JSON

LEAST_SHOWN_KWH = 0.05
"""Less reads as 0.0 here."""


@main.command()
@BOOK
@click.option("--from", "first", help="From this local day on (2024-06-01).")
@click.option("--until", "last", help="Up to this local day, that included.")
@click.option("--program", default="", help="Of this program alone.")
@click.option("--sites", "sites_file", type=FILE, help="Who could have been called: meter,owner,customer,...")
@click.option(
    "--telemetry", "telemetry_file", type=FILE, help="When readings were taken and at hand: start,received_at."
)
@click.option("--out", type=FILE, multiple=True, help="Write the report: .html, .pdf, .xlsx or .csv.")
@JSON
def performance(
    book: Path,
    first: str | None,
    last: str | None,
    program: str,
    sites_file: Path | None,
    telemetry_file: Path | None,
    out: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Report how the events of a book went: sold, baseline, delivered, causes, what came back, fairness, a scorecard.

    By event, program, feeder and customer. What counts is the newest version of each event.
    """
    from tieline.node.analysis_performance import season_of, season_told
    from tieline.store.document_files import write_document

    season = season_of(book, first, last, program, sites_file, telemetry_file)
    for path in out:
        write_document(season.document(), path)
    told = season_told(season)
    if as_json:
        show(told, True)
        return
    for row in [*told["events"], *told["by_program"], *told["by_feeder"], *told["by_customer"]]:
        part = (
            "nothing sold"
            if row["performance"] is None
            else f"{row['performance']:.1%} of {row['committed_kwh']:.1f} kWh"
        )
        lacks_kwh = without_noise(row["lacks_kwh"], LEAST_SHOWN_KWH)
        lacks = ", ".join(f"{cause.replace('_', ' ')} {kwh:.1f}" for cause, kwh in lacks_kwh.items())
        click.echo(f"{row['name'] or '(not told)'}: {part}{f', lacked {lacks}' if lacks else ''}")
    click.echo(f"Gini of called hours {told['gini']:.4f}")
    for mark in told["peaker"]:
        value = "not measured" if mark["value"] is None else f"{mark['value']:.3g} {mark['unit']}"
        met = {True: "met", False: "missed", None: "-"}[mark["met"]]
        click.echo(f"{met:7}{mark['mark']}: {value} (bar {mark['bar']:g}): {mark['says']}")
