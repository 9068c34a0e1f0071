"""The verbs of a settlement analyst, who needs no server and no data folder: baseline, settle, eligible."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import AS_READ
from tieline.node.verbs_products import OUT, settle, write_out
from tieline.node.verbs_rules import RULE_VERSION, RULES

if TYPE_CHECKING:
    from tieline.contract.eligibility import EventKind, Order

FILE = click.Path(path_type=Path)
MOST_DAYS = 45
"""More days than that are told as a span; `--json` has them all."""
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@main.command()
@click.argument("rule")
@click.argument("meter_file", type=FILE)
@click.option("--event", "event_file", type=FILE, required=True, help="Event: TOML with timezone, start and end.")
@click.option(
    "--level",
    type=click.Choice(["meter", "registration", "resource"]),
    help="Each meter by itself, or their sum as one; left out: the rule's.",
)
@RULE_VERSION
@RULES
@JSON
def baseline(
    rule: str,
    meter_file: Path,
    event_file: Path,
    level: str | None,
    rule_version: str | None,
    rules_file: Path | None,
    as_json: bool,
) -> None:
    """Compute the baseline and performance of an event: which days stand for it and why, and what was gained.

    METER_FILE is CSV or Parquet with start,kwh and meter where there are several; see docs/do/baseline.md.
    """
    from tieline.node.analysis import baseline_of
    from tieline.node.rule_files import pinned, rules_in

    found = baseline_of(pinned(rule, rule_version), meter_file, event_file, level, rules_in(rules_file))
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['rule']} {found['version']} at {found['level']} level ({found['certainty']})")
    click.echo(f"  {found['source']}")
    click.echo(f"  {why_it_is(found['in_force'])}")
    for part in found.get("meters", [found]):
        if "meter" in part:
            click.echo(f"meter {part['meter']}: {part['total_kwh']:.4f} kWh")
        click.echo(f"  days used: {_days(part['days'])}")
        for left in part["excluded"]:
            click.echo(f"  not {left['day']}: {left['why']}")
        if model := part.get("model"):
            click.echo(f"  {_learnt(model)}")
        if met := part.get("comparison"):
            click.echo(
                f"  {met['called']} called beside {met['controls']} controls, compared on {met['days']} other days"
            )
            click.echo(
                f"  standard error {_or_none(met['error'])} kWh; on those days {_or_none(met['placebo_error'])} kWh"
            )
        word = "addend" if "addend" in part else "factor"
        click.echo(f"  {word} {part[word]:.7g}{', at its cap' if part['is_capped'] else ''}")
    for each in found["intervals"]:
        actual = "no reading" if each["actual_kwh"] is None else f"{each['actual_kwh']:.4f}"
        base, gained = f"baseline {each['baseline_kwh']:.4f}", f"gained {each['performance_kwh']:.4f}"
        click.echo(f"{each['start']}  {base}  actual {actual}  {gained}")
    for flag in found["flags"]:
        click.echo(f"note: {flag}")
    click.echo(f"total {found['total_kwh']:.4f} kWh")


def why_it_is(chosen: dict[str, str | None]) -> str:
    """Say why a version was taken, from what an answer tells of it."""
    span = " ".join(f"{word} {chosen[word]}" for word in ("from", "to") if chosen[word]) or "its days are not known"
    return f"pinned: {span}" if chosen["by"] == "pinned" else f"in force on {chosen['day']}: {span}"


def _days(days: list[str]) -> str:
    if len(days) > MOST_DAYS:
        return f"{len(days)} days from {min(days)} to {max(days)}"
    return ", ".join(days) or "none, the rule looks at the event day alone"


def _learnt(model: dict[str, Any]) -> str:
    """Say what a model learnt from, and how far off it is; a meter that used nothing has no such figures."""
    hours = f"learnt from {model['learnt_hours']} hours"
    if any(model[name] is None for name in ("coldest_c", "warmest_c", "cvrmse", "error")):
        return f"{hours}; how far off it is can't be said: the meter used nothing, or too few hours have a temperature"
    return (
        f"{hours}, {model['coldest_c']:g} to {model['warmest_c']:g} degC; CVRMSE {model['cvrmse']:.1%}; "
        f"off by {model['error']:.4f} kWh over these hours on its own days"
    )


def _or_none(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


@settle.command()
@click.argument("rule")
@click.argument("meter_file", type=FILE)
@click.option("--event", "event_file", type=FILE, required=True, help="Event: TOML with timezone, start and end.")
@click.option("--awards", "awards_file", type=FILE, required=True, help="Sold day-ahead: start,mw,price.")
@click.option("--prices", "prices_file", type=FILE, required=True, help="Real-time prices: start,price.")
@click.option("--operator-share", default="0", show_default=True, help="The operator's part of the total, 0 to 1.")
@click.option("--level", type=click.Choice(["meter", "registration", "resource"]), help="As for a baseline.")
@click.option("--currency", default="USD", show_default=True, help="Of both kinds of price: ISO 4217.")
@click.option("--causes", "causes_file", type=FILE, help="What is known of a lack: start,cause,kw; resource a meter.")
@AS_READ
@OUT
@click.option("--shares", "shares_file", type=FILE, help="Of a folder of day files: write meter,kwh,amount here.")
@RULE_VERSION
@RULES
@JSON
def energy(
    rule: str,
    meter_file: Path,
    event_file: Path,
    awards_file: Path,
    prices_file: Path,
    operator_share: str,
    level: str | None,
    currency: str,
    causes_file: Path | None,
    as_read: tuple[str, ...],
    out: Path | None,
    shares_file: Path | None,
    rule_version: str | None,
    rules_file: Path | None,
    as_json: bool,
) -> None:
    """Settle an event from files: baseline, two-settlement at each interval's own price, owners' shares to the cent.

    METER_FILE is CSV or Parquet, or a folder of day files for very many meters (`tieline settle pack`). The same files
    give the same statement, line by line; see docs/do/baseline.md.
    """
    from tieline.node.analysis_settle import EventFiles, settlement_of
    from tieline.node.rule_files import pinned, rules_in

    rule, table = pinned(rule, rule_version), rules_in(rules_file)
    try:
        share = Decimal(operator_share)
    except InvalidOperation:
        raise ConfigError(f"--operator-share {operator_share!r}: give 0 to 1") from None
    if meter_file.is_dir():
        from tieline.node.analysis_fleet import fleet_settlement_of

        if as_read:
            raise ConfigError(f"--as-read {','.join(as_read)}: give it to `tieline settle pack`, which reads rows")

        if level in ("registration", "resource"):
            raise ConfigError(f"--level {level}: a folder of day files is settled a meter at a time: leave it out")
        if causes_file is not None:
            raise ConfigError(f"--causes {causes_file}: a folder of day files is settled without it: give a meter file")
        found = fleet_settlement_of(
            rule, meter_file, event_file, awards_file, prices_file, share, currency, shares_file, table
        )
    elif shares_file is not None:
        raise ConfigError(
            f"--shares {shares_file}: give a folder of day files; --json tells the owners of a meter file"
        )
    else:
        files = EventFiles(meter_file, event_file, awards_file, prices_file, causes_file, as_read)
        found = settlement_of(rule, files, share, level, currency, table)
    if out is not None:
        write_out(found, out)
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['statement']} by {found['rule']} {found['version']} at {found['level']} level")
    click.echo(f"  {why_it_is(found['in_force'])}")
    click.echo(f"sold {found['awarded_kwh']:.3f} kWh, delivered {found['delivered_kwh']:.3f} kWh")
    for kind, amount in found["by_kind"].items():
        click.echo(f"  {kind.replace('_', ' ')}: {amount} {found['currency']}")
    for cause, amount in found["shortfall_by_cause"].items():
        click.echo(f"  of it by {cause.replace('_', ' ')}: {amount}")
    click.echo(f"total {found['total']}, operator {found['operator']}, undistributed {found['undistributed']}")
    for name, share_of in found.get("owners", {}).items():
        click.echo(f"  {name}: {share_of['amount']} for {share_of['kwh']:.3f} kWh")
    for flag in found["flags"]:
        click.echo(f"note: {flag}")


@main.command()
@click.argument("program")
@click.option("--jurisdiction", required=True, help="Where: US-CA, US-TX, GB, ...")
@click.option("--kind", default="", help="One resource: its kind, such as backup_generator.")
@click.option("--fuel", default="none", show_default=True, help="One resource: what it burns.")
@click.option("--devices", type=FILE, help="Or a device table, as `tieline import` takes it.")
@click.option("--location", type=click.Choice(["", "disadvantaged_community"]), default="", help="Where it stands.")
@click.option("--event", type=click.Choice(["market", "test", "emergency"]), default="market", show_default=True)
@click.option(
    "--order",
    type=click.Choice(["", "permits", "permits_disadvantaged"]),
    default="",
    help="What an order in force says.",
)
@JSON
def eligible(
    program: str,
    jurisdiction: str,
    kind: str,
    fuel: str,
    devices: Path | None,
    location: Literal["", "disadvantaged_community"],
    event: EventKind,
    order: Order,
    as_json: bool,
) -> None:
    """Say whether a resource, or each of a device table, may serve PROGRAM, and by which rule; deny by default.

    The same table decides at enrolment, in the reservation book, at dispatch and at settlement.
    """
    from tieline.node.analysis import eligible_devices, eligible_one

    where = {"location": location, "event": event, "order": order}
    if devices is None:
        found = eligible_one(kind, fuel, jurisdiction, program, **where)
    elif kind:
        raise ConfigError(f"--kind {kind} and --devices {devices}: give one of them")
    else:
        found = eligible_devices(devices, jurisdiction, program, **where)
    if as_json:
        show(found, True)
        return
    if "devices" not in found:
        click.echo(f"{'may' if found['eligible'] else 'may not'} serve {program}: {found['says']}")
        click.echo(f"  {found['rule']} {found['version']} ({found['source']})")
        return
    click.echo(f"{found['eligible']:,} of {found['total']:,} may serve {program}")
    for rule in found["refused"]:
        click.echo(f"  {rule['count']:,} not: {rule['says']} ({rule['rule']} {rule['version']}, {rule['source']})")
