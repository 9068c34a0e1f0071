"""`tieline capability`: what resources, pools and feeders can do, for how long, at what notice, and how surely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import FILE, JSON
from tieline.node.verbs import Missing
from tieline.times import lengths_s

HOUR_S = 3600.0


@main.command()
@click.argument("device_file", type=FILE, required=False)
@click.option("--data", "data", type=FILE, help="A served folder, instead of a file.")
@click.option("--by", type=click.Choice(["all", "pool", "feeder", "resource"]), default="all", show_default=True)
@click.option("--lasts", "lasts", default="5m,15m,1h,2h,4h", show_default=True, help="How long power is to be held.")
@click.option("--notice", "notices", default="4s,10m,1d", show_default=True, help="How much notice there is.")
@click.option("--request", "request_file", type=FILE, help="start,kw of one direction: can all together meet it?")
@JSON
@click.pass_context
def capability(
    ctx: click.Context,
    device_file: Path | None,
    data: Path | None,
    by: str,
    lasts: str,
    notices: str,
    request_file: Path | None,
    as_json: bool,
) -> None:
    """Say what devices can do together: power by length and notice, the firm part, rebound; exact, not estimated.

    DEVICE_FILE is CSV or Parquet: resource with up_kw, down_kw, up_kwh, down_kwh, notice_s, ramp_kw_per_s,
    rebound_frac, reach_frac, pool, feeder; what is left out is no limit. Of a served folder (--data) it is what its
    devices can be called for at the newest reading. See docs/do/capability.md.
    """
    from tieline.node.analysis_capability import capability_of, capability_of_folder

    asked = (by, _lengths("--lasts", lasts), _lengths("--notice", notices), request_file)
    missing = Missing()
    if device_file is not None and data is None:
        found = capability_of(device_file, *asked)
    elif data is not None and device_file is None:
        found = capability_of_folder(data, *asked, missing)
    else:
        raise ConfigError("DEVICE_FILE, --data: give a table of devices or a served folder, one of the two")
    show(found, True) if as_json else _tell(found)
    missing.end(ctx)


def _tell(found: dict[str, Any]) -> None:
    if at := found.get("at"):
        word = ", none as the kill switch is pressed" if found["is_stopped"] else ""
        click.echo(f"{found['can_be_called']} of {found['resources']} devices can be called at {at}{word}")
    for row in found["groups"]:
        click.echo(f"{row['group']}")
        for way in ("up", "down"):
            for cell in row[way]:
                held = "  ".join(
                    f"{_told(one['lasts_s'])} {one['kw']:.1f} ({one['firm_kw']:.1f})" for one in cell["held"]
                )
                click.echo(f"  {way:4} at {_told(cell['notice_s']):>4}: {held} kW (firm)  of {cell['resources']}")
    if asked := found.get("request"):
        word = "can be met" if asked["can_be_met"] else f"lacks {asked['lacks_kwh']:.3f} kWh"
        click.echo(f"request {asked['direction']}: {word}, by {asked['resources_used']} resources")


def _lengths(option: str, text: str) -> list[float]:
    """Return lengths of time such as 4s, 15m, 1h, 1d in seconds, rising."""
    try:
        return lengths_s(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from None


def _told(seconds: float) -> str:
    for unit, size in (("d", 24 * HOUR_S), ("h", HOUR_S), ("m", 60.0)):
        if seconds >= size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
