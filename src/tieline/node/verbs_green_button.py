"""`tieline green-button`: a customer's own download of meter data, made a meter file."""

from __future__ import annotations

from pathlib import Path

import click

from tieline.node.cli import main, show
from tieline.node.verb_words import FILE, JSON

SHOWN = 20


@main.command(name="green-button")
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, required=True, help="Meter file to write: CSV of start,kwh,meter.")
@JSON
def green_button(file: Path, out: Path, as_json: bool) -> None:
    """Read a Green Button file (ESPI XML): energy by usage point, used less given, with a word on every odd reading.

    What it writes is a meter file as `tieline baseline` takes it. Readings that are refused are named and left out;
    nothing is filled in.
    """
    from tieline.store.green_button import read_green_button
    from tieline.store.whole_file import whole
    from tieline.times import MINUTE_NS, iso

    found = read_green_button(file)
    rows = [
        f"{iso(start)},{kwh!r},{one.meter}\n"
        for one in found.meters
        for start, kwh in zip(one.starts_ns.tolist(), one.kwh.tolist(), strict=True)
    ]
    with whole(out) as part:
        part.write_text("start,kwh,meter\n" + "".join(rows), encoding="utf-8")
    told = [{"where": one.where, "taken": one.is_taken, "why": one.why} for one in found.told]
    meters = [
        {"meter": one.meter, "readings": len(one.kwh), "minutes": one.step_ns // MINUTE_NS,
         "kwh": float(one.kwh.sum()), "flags": list(one.flags)}
        for one in found.meters
    ]  # fmt: skip
    if as_json:
        show({"meters": meters, "taken": found.taken, "told": told, "file": str(out)}, True)
        return
    for one in found.meters:
        minutes = one.step_ns // MINUTE_NS
        click.echo(f"{one.meter}: {len(one.kwh)} readings of {minutes} minutes, {one.kwh.sum():.3f} kWh")
        for flag in one.flags:
            click.echo(f"  note: {flag}")
    for odd in found.told[:SHOWN]:
        click.echo(f"{'taken' if odd.is_taken else 'refused'}: {odd.where}: {odd.why}")
    if len(told) > SHOWN:
        click.echo(f"... and {len(told) - SHOWN} more: --json has them all")
