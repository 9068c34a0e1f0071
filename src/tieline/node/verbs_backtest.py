"""`tieline backtest`: what a mixed fleet would have earned, or avoided, on days that were."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from tieline.node.cli import SEED, main, show
from tieline.node.verb_words import JSON

DAY = click.DateTime(formats=["%Y-%m-%d"])


@main.command()
@click.argument("name")
@click.option("--devices", type=click.IntRange(0, 100_000), help="How many; left out: as the backtest says.")
@click.option("--from", "first", type=DAY, help="The first day; left out: as the backtest says.")
@click.option("--to", "last", type=DAY, help="The last day, that included; left out: as the backtest says.")
@click.option("--seed", type=SEED, help="By which fleet, outages and opt-outs are drawn.")
@JSON
def backtest(
    name: str, devices: int | None, first: datetime | None, last: datetime | None, seed: int | None, as_json: bool
) -> None:
    """Play a mixed fleet through days that were, offered by what was known then: profit, or carbon avoided.

    NAME is ercot-february-2021, sgip-august-2020, or a TOML file of one's own; see docs/do/backtest.md.
    """
    from tieline.node.analysis_backtest import backtest_of

    found = backtest_of(name, devices, first.date() if first else None, last.date() if last else None, seed)
    if as_json:
        show(found, True)
        return
    serving = ", ".join(f"{count} {kind}" for kind, count in found["serving"].items()) or "nobody"
    click.echo(f"{found['name']}, {found['from']} to {found['to']}, seed {found['seed']}: {serving}")
    for rule, count in found["refused"].items():
        click.echo(f"{count} may not serve: {rule}")
    _tell_energy(found) if found["of"] == "energy" else _tell_carbon(found)


def _tell_energy(found: dict[str, Any]) -> None:
    click.echo(f"{'':12}{'price':>10}{'awarded':>10}{'delivered':>10}" + _money_words())
    for day in found["days"]:
        told = f"{day['mean_price']:10.2f}{day['awarded_mwh']:10.3f}{day['delivered_mwh']:10.3f}"
        click.echo(f"{day['day']:12}{told}" + _money(day))
    click.echo(f"{'all':42}" + _money(found["whole"]))
    for one in found["beside"]:
        click.echo(f"{'by ' + one['by']:42}" + _money(one))
    kinds = ", ".join(f"{kind} {worth:,.0f}" for kind, worth in found["by_kind"].items())
    click.echo(f"worth at the day-ahead price, fuel not taken off: {kinds or 'nothing'}")
    before = f"{float(found['before_owners']):,.2f}"
    click.echo(f"before owners: {before}; no run can beat {found['bound_before_owners']:,.2f}")
    lacks = ", ".join(f"{cause} {mwh:.3f} MWh" for cause, mwh in found["lacks_mwh"].items())
    click.echo(f"lacked: {lacks or 'nothing'}; cars left without {found['missed_kwh']:.1f} kWh")
    click.echo(f"real-time prices: {found['real_time_prices']}")


def _money_words() -> str:
    words = ("day-ahead", "real time", "penalties", "fuel", "owner pay", "margin")
    return "".join(f"{word:>13}" for word in words)


def _money(row: dict[str, Any]) -> str:
    names = ("day_ahead", "real_time", "penalties", "fuel", "owner_pay", "margin")
    return "".join(f"{float(row[name]):13,.2f}" for name in names)


def _tell_carbon(found: dict[str, Any]) -> None:
    for day in found["days"]:
        told = f"avoided {day['avoided_kg']:9.1f} kg  by moving {day['shifted_kwh']:9.1f} kWh"
        click.echo(f"{day['day']}  {told}  with foresight {day['foresight_kg']:9.1f} kg")
    click.echo(f"avoided {found['avoided_tonnes']:.3f} t; doing nothing causes {found['own_way_tonnes']:.3f} t")
    kinds = ", ".join(f"{kind} {tonnes:.3f}" for kind, tonnes in found["by_kind_tonnes"].items())
    click.echo(f"of it, before what cars and stores lacked: {kinds or 'nothing'}")
    for one in found["beside"]:
        click.echo(f"by {one['by']}: {one['avoided_tonnes']:.3f} t")
    click.echo(f"no run can beat {found['bound_tonnes']:.3f} t; cars left without {found['missed_kwh']:.1f} kWh")
