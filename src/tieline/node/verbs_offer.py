"""The verbs of a trader who needs no server: what markets take, when gates close, and whether an offer may leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tieline.node.cli import main, show

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
AT = click.option("--at", help="An instant (ISO 8601 with an offset); left out: now.")


@main.group()
def markets() -> None:
    """Say what markets take as an offer, and when their gates close."""


@markets.command("list")
@JSON
def list_(as_json: bool) -> None:
    """Name every market and its participation models."""
    from tieline.node.analysis_offers import list_markets

    found = list_markets()
    if as_json:
        show(found, True)
        return
    for market in found["markets"]:
        click.echo(f"{market['market']}: {market['name']}, {market['zone']}, {market['currency']}")
        for model in market["models"]:
            click.echo(f"  {model['model']} {model['version']}: {model['name']} ({model['product']})")


@markets.command("show")
@click.argument("name")
@JSON
def show_(name: str, as_json: bool) -> None:
    """Show the figures of a market or of one participation model, each with its mark and source."""
    from tieline.node.analysis_offers import show_market

    found = show_market(name)
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['market']}: {found['name']}, {found['zone']}, {found['currency']}")
    click.echo("; ".join(f"{mark}: {says}" for mark, says in found["marks"].items()))
    for model in found["models"]:
        span = f"{model['effective_from'] or '...'} to {model['effective_to'] or '...'}"
        click.echo(f"{model['model']} {model['version']} ({span}): {model['name']}")
        click.echo(f"  gates: {', '.join(model['gates']) or 'none in the table'}")
        for row in model["figures"]:
            value = ", ".join(row["value"]) if isinstance(row["value"], list) else f"{row['value']:g}"
            click.echo(f"  {row['figure']} = {value} [{row['mark']}] {row['source']}")


@markets.command()
@click.argument("market", required=False)
@AT
@click.option("--ahead", default=1, show_default=True, type=click.IntRange(1, 300), help="How many closings a gate.")
@JSON
def gates(market: str | None, at: str | None, ahead: int, as_json: bool) -> None:
    """Count down to the next gates of a market (left out: of all), the nearest first."""
    from tieline.node.analysis_offers import gates_of
    from tieline.rim.clock import SystemClock

    found = gates_of(market, at, ahead, SystemClock().now_ns)
    if as_json:
        show(found, True)
        return
    for one in found["gates"]:
        of = f"{one['market']} {one['gate']} of {one['day']}"
        click.echo(f"in {_left(one['left_s'])}: {of} closes {one['closes']}, for {one['delivers']} on")


def _left(seconds: float) -> str:
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3_600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock


@main.group()
def offer() -> None:
    """Hold offers against what their market takes, before any of them leaves."""


@offer.command()
@click.argument("offer_file", type=FILE)
@click.option("--market", required=True, help="A market, or one of its participation models.")
@AT
@JSON
@click.pass_context
def check(ctx: click.Context, offer_file: Path, market: str, at: str | None, as_json: bool) -> None:
    """Say of each offer whether it may leave, and by which rules not: with field, value, limit and source.

    OFFER_FILE is TOML with [[offer]], or CSV with offer,start,end,power_mw,price, a row a step; see docs/do/offers.md.
    Ends with 1 where an offer may not leave.
    """
    from tieline.node.analysis_offers import check_file
    from tieline.rim.clock import SystemClock

    found = check_file(offer_file, market, at, SystemClock().now_ns)
    if as_json:
        show(found, True)
    else:
        _tell(found)
    if found["refused"]:
        ctx.exit(1)


def _tell(found: dict[str, Any]) -> None:
    for one in found["offers"]:
        gate = f", {one['gate']} closes {one['closes']}" if one["gate"] else ""
        word = "may leave" if one["ok"] else "refused"
        click.echo(f"{one['offer']}: {word} by {one['model']} {one['version']}{gate}")
        for no in one["refusals"]:
            mark = f" [{no['mark']}] {no['source']}" if no["source"] else ""
            click.echo(f"  {no['rule']}: {no['reason']}; {no['field']} = {no['value']}; limit {no['limit']}{mark}")
        if one["untested"]:
            click.echo(f"  not tested: {', '.join(one['untested'])}")
    click.echo(f"{len(found['offers']) - found['refused']} of {len(found['offers'])} may leave")
