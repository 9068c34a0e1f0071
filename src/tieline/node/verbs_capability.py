"""`tieline capability`: what resources, pools and feeders can do, for how long, at what notice, and how surely."""

from __future__ import annotations

from pathlib import Path

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import FILE, JSON

HOUR_S = 3600.0


@main.command()
@click.argument("device_file", type=FILE)
@click.option("--by", type=click.Choice(["all", "pool", "feeder", "resource"]), default="all", show_default=True)
@click.option("--lasts", "lasts", default="5m,15m,1h,2h,4h", show_default=True, help="How long power is to be held.")
@click.option("--notice", "notices", default="4s,10m,1d", show_default=True, help="How much notice there is.")
@click.option("--request", "request_file", type=FILE, help="start,kw of one direction: can all together meet it?")
@JSON
def capability(device_file: Path, by: str, lasts: str, notices: str, request_file: Path | None, as_json: bool) -> None:
    """Say what devices can do together: power by length and notice, the firm part, rebound; exact, not estimated.

    DEVICE_FILE is CSV or Parquet: resource with up_kw, down_kw, up_kwh, down_kwh, notice_s, ramp_kw_per_s,
    rebound_frac, reach_frac, pool, feeder; what is left out is no limit. See docs/do/capability.md.
    """
    from tieline.node.analysis_capability import capability_of

    found = capability_of(device_file, by, _lengths("--lasts", lasts), _lengths("--notice", notices), request_file)
    if as_json:
        show(found, True)
        return
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
    units = {"s": 1.0, "m": 60.0, "h": HOUR_S, "d": 24 * HOUR_S}
    found = []
    for word in text.split(","):
        try:
            found.append(float(word.strip()[:-1]) * units[word.strip()[-1:]])
        except (ValueError, KeyError):
            raise ConfigError(f"{option} {word!r}: give lengths such as 4s,15m,1h,1d") from None
        if not 0 < found[-1] <= 366 * units["d"]:
            raise ConfigError(f"{option} {word!r}: give more than 0 and at most a year")
    return sorted(set(found))


def _told(seconds: float) -> str:
    for unit, size in (("d", 24 * HOUR_S), ("h", HOUR_S), ("m", 60.0)):
        if seconds >= size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
