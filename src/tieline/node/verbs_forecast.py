"""`tieline forecast`: the next day of some meters from files, what models are worth, what was known when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import SEED, main, show
from tieline.node.verb_words import FILE, JSON, instant
from tieline.node.verbs import Missing

MODEL = ("week", "day", "like", "ridge", "trees")


class Forecasts(click.Group):
    """Verbs by name; what is none is the meter file whose next day is forecast."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `forecast METER_FILE ...` as `forecast day METER_FILE ...`."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["day", *args]
        return super().parse_args(ctx, args)


@main.group(cls=Forecasts)
def forecast() -> None:
    """Forecast the next day of meters from files (METER_FILE or day), score models, look up what was known."""


def _files(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the files and terms of a forecast."""
    terms = [
        click.argument("meter_file", type=FILE, required=False),
        click.option("--data", "data", type=FILE, help="A served folder, instead of a file: what its devices drew."),
        click.option("--of", "of", multiple=True, help="With --data: a pool, feeder or device; left out: each pool."),
        click.option("--timezone", "zone", help="On whose clock days begin, an IANA name; left out: the folder's."),
        click.option("--temperature", "temperature_file", type=FILE, help="start,celsius; days to come as forecast."),
        click.option("--lead", default=1, show_default=True, help="Days after the last that is looked at, 1 to 14."),
        click.option("--level", type=click.Choice(["pool", "meter"]), default="pool", show_default=True),
        click.option("--holidays", type=click.Choice(["none", "nerc"]), default="none", show_default=True),
        click.option("--without", "without", multiple=True, help="A day unlike others, such as one with an event."),
        click.option("--model", "models", multiple=True, type=click.Choice(MODEL),
                     help="One to choose from beside week, the floor; left out: day, like and ridge."),
        JSON,
    ]  # fmt: skip
    for term in reversed(terms):
        function = term(function)
    return function


def _asked(terms: dict[str, Any], missing: Missing) -> Any:
    from tieline.node.analysis_forecast import Asked, zone_of

    models = ["week", *(name for name in MODEL[1:] if name in (terms["models"] or MODEL[1:4]))]
    without = [_day("--without", text) for text in terms["without"]]
    file, data, zone = terms["meter_file"], terms["data"], terms["zone"]
    if (file is None) == (data is None):
        raise ConfigError("METER_FILE, --data: give a file of meters or a served folder, one of the two")
    if data is None and terms["of"]:
        raise ConfigError(f"--of {terms['of'][0]!r}: belongs to --data: give a folder, too")
    if data is None and zone is None:
        raise ConfigError("--timezone: is missing: give an IANA name such as America/Los_Angeles")
    rest = (terms["temperature_file"], terms["lead"], terms["level"], terms["holidays"], without, models)
    if data is None:
        return Asked(file, zone, *rest)
    from tieline.node.kept_loads import folder_series
    from tieline.rim.clock import SystemClock

    meters, by = folder_series(data, terms["of"], None if zone is None else zone_of(zone), SystemClock(), missing)
    return Asked(data, by.key, *rest, meters)


@forecast.command("day")
@_files
@click.option("--day", "day", help="The local day; left out: the first that the readings and the lead allow.")
@click.option("--out", type=FILE, help="A folder: keep the forecast there as well, by when it was known.")
@click.option("--at", "at", help="With --out: when it became known, ISO 8601 with an offset; left out: now.")
def day_verb(day: str | None, out: Path | None, at: str | None, as_json: bool, **terms: Any) -> None:
    """Forecast a day: the mean for bids, and quantiles that hold what they say.

    METER_FILE is CSV or Parquet with start,kwh and meter where there are several; --data takes what the devices of a
    served folder drew instead. See docs/do/forecast.md.
    """
    from dataclasses import replace

    from tieline.node.analysis_forecast import forecast_of

    if at is not None and out is None:
        raise ConfigError(f"--at {at!r}: belongs to --out: give a folder, too")
    missing = Missing()
    found, issue = forecast_of(_asked(terms, missing), None if day is None else _day("--day", day))
    if out is not None:
        from tieline.store.forecast_files import keep

        found["kept"] = str(keep(out, replace(issue, known_at_ns=instant(at))))
    if as_json:
        show({**found, "missing": missing.told}, True)
        missing.end(click.get_current_context())
        return
    click.echo(f"{found['day']} {found['timezone']}, from readings until {found['readings_until']}")
    for one in found["series"]:
        lately = one["lately"]
        click.echo(f"{one['series']}: {one['total_kwh']:.2f} kWh by {one['model']}")
        told = ", ".join(f"{name} {_percent(value)}" for name, value in lately["wape"].items())
        held = one["coverage_90"]
        if held == held:  # else nothing is known of what bands held, nor of the skill
            click.echo(f"  lately: WAPE {told}; skill {lately['skill']:+.1%}; 90 % band held {held:.1%}")
        for row in one["intervals"]:
            band = f"  ({row['q05']:.4f} to {row['q95']:.4f})" if row["q05"] == row["q05"] else ""
            click.echo(f"  {row['start']}  {row['kwh']:10.4f} kWh{band}")
    for flag in found["flags"]:
        click.echo(f"note: {flag}")
    missing.end(click.get_current_context())


@forecast.command()
@_files
@click.option(
    "--days", "last_days", default=120, show_default=True, type=click.IntRange(14, 3_660), help="The last so many."
)
@click.option(
    "--weather-error",
    default=1.5,
    show_default=True,
    type=click.FloatRange(0.0, 20.0),
    help="Standard error (K) put onto temperatures of days ahead: measured ones are no forecast.",
)
@click.option("--seed", default=1, show_default=True, type=SEED, help="Of those errors.")
def score(last_days: int, weather_error: float, seed: int, as_json: bool, **terms: Any) -> None:
    """Score models on past days, each foretold from what was known then: WAPE, skill over the floor, coverage."""
    from tieline.node.analysis_forecast import score_of

    missing = Missing()
    found = score_of(_asked(terms, missing), last_days, weather_error, seed)
    if as_json:
        show({**found, "missing": missing.told}, True)
        missing.end(click.get_current_context())
        return
    click.echo(f"{found['meters']} meters, {found['days']} days from {found['from']} to {found['until']}")
    for name, value in found["wape"].items():
        click.echo(f"  {name:8} WAPE {_percent(value, '7.2%')}")
    click.echo(f"skill over the same day a week ago {found['skill']:+.1%}")
    since = found["since_choice"]
    if since["days"] < found["days"]:  # before that the floor spoke, for want of days that show who is better
        told = ", ".join(f"{name} {_percent(value)}" for name, value in since["wape"].items())
        click.echo(f"since {since['from']}, when a model could be chosen: WAPE {told}; skill {since['skill']:+.1%}")
    click.echo(f"bands: 90 % held {_percent(found['coverage_90'])}, 80 % held {_percent(found['coverage_80'])}")
    for flag in found["flags"]:
        click.echo(f"note: {flag}")
    missing.end(click.get_current_context())


@forecast.command()
@click.argument("output_file", type=FILE)
@click.option("--weather", "weather_file", type=FILE, required=True, help="start,celsius,direct,diffuse (or level).")
@click.option("--timezone", "zone", required=True, help="On whose clock days begin, an IANA name.")
@click.option("--latitude", type=float, required=True, help="Degrees, north positive.")
@click.option("--longitude", type=float, required=True, help="Degrees, east positive.")
@click.option("--day", "day", help="The local day; left out: the first after the output.")
@JSON
def pv(
    output_file: Path, weather_file: Path, zone: str, latitude: float, longitude: float, day: str | None, as_json: bool
) -> None:
    """Forecast PV plants from weather; how their roofs lie is learnt from what they gave.

    OUTPUT_FILE is CSV or Parquet with start,kwh and meter where there are several, output positive.
    """
    from tieline.node.analysis_pv import AskedPv, pv_of

    when = None if day is None else _day("--day", day)
    found = pv_of(AskedPv(output_file, weather_file, zone, latitude, longitude, when))
    if as_json:
        show(found, True)
        return
    lately = found["lately"]
    told = f"WAPE of {lately['days']} days {_percent(lately['wape'])}"
    told += f", of the day before {_percent(lately['wape_day_before'])}"
    click.echo(f"{found['day']}: {found['total_kwh']:.2f} kWh of {found['plants']} plants; {told}")
    for one in found["series"]:
        for row in one["intervals"]:
            if row["kwh"] > 0:
                click.echo(f"  {row['start']}  {one['series']}  {row['kwh']:8.4f} kWh")


@forecast.command()
@click.argument("folder", type=FILE)
@click.option("--at", "at", help="What was known at this instant, ISO 8601 with an offset; left out: now.")
@click.option("--series", help="This series alone; left out: all.")
@JSON
def known(folder: Path, at: str | None, series: str | None, as_json: bool) -> None:
    """Say what was known at an instant: of each series and interval the newest forecast then."""
    from tieline.store.forecast_files import as_known
    from tieline.times import iso

    at_ns = instant(at)
    rows = as_known(folder, at_ns, series).to_pylist()
    if series is not None and not rows:
        raise ConfigError(
            f"--series {series!r}: nothing was known of it at {iso(at_ns)}: give another, or a later --at"
        )
    told = [
        {"series": row["series"], "start": iso(row["start_ns"]), "known_at": iso(row["known_at_ns"]),
         "readings_until": iso(row["readings_until_ns"]), "model": row["model"], "unit": row["unit"],
         "mean": row["mean"],
         **{f"q{round(100 * level):02d}": value for level, value in zip(row["levels"], row["quantiles"], strict=True)}}
        for row in rows
    ]  # fmt: skip
    if as_json:
        show({"at": iso(at_ns), "forecasts": told}, True)
        return
    for row in told:
        value = f"{row['mean']:.4f} {row['unit']}"
        click.echo(f"{row['start']}  {row['series']}  {value}  by {row['model']}, known {row['known_at']}")
    click.echo(f"{len(told)} intervals known at {iso(at_ns)}")


@forecast.command()
@click.argument("folder", type=FILE)
@JSON
def sample(folder: Path, as_json: bool) -> None:
    """Write files to try it on: meters and a PV plant that come with Tieline, with their weather."""
    from tieline.node.forecast_sample import write_sample

    made = [str(path) for path in write_sample(folder)]
    if as_json:
        show({"files": made}, True)
        return
    for name in made:
        click.echo(name)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give a day such as 2024-06-01") from None


def _percent(share: float, form: str = ".1%") -> str:
    """Return a share in words; of readings that are all zero no error can be a share.

    >>> _percent(0.125), _percent(float("nan"))
    ('12.5%', 'unknown (nothing was used)')
    """
    return format(share, form) if share == share else "unknown (nothing was used)"
