"""`tieline settle`: what each product comes to, from files; energy is the one that a rule's name alone asks for."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import click

from tieline.contract.eligibility import EventKind, Order
from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import AS_READ

FILE = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
OUT = click.option("--out", type=FILE, help="Write it, too: lines as CSV, or all of it as .html, .pdf or .xlsx.")
CURRENCY = click.option("--currency", default="", help="Of all prices, ISO 4217; left out: the rule's own.")


class Products(click.Group):
    """Products by name; what is no product is the baseline rule by which energy is settled."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `settle RULE ...` as `settle energy RULE ...`."""
        from tieline.market.rule import baseline_rules

        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            # What a file of one's own names is known once that is read.
            has_own = any(word == "--rules" or word.startswith("--rules=") for word in args)
            if not args[0].startswith("-") and not has_own and args[0].partition("@")[0] not in baseline_rules():
                names = ", ".join(sorted(self.commands))
                raise ConfigError(
                    f"product or baseline rule {args[0]!r} is unknown: give one of {names}, or a baseline rule's name"
                )
            args = ["energy", *args]
        return super().parse_args(ctx, args)


@main.group(cls=Products)
def settle() -> None:
    """Settle a product from files: energy (or a baseline rule's name), capacity, ladder, regulation, reserve, ..."""


def _tell(found: dict[str, Any], out: Path | None, as_json: bool, lists: str = "") -> None:
    """Print a statement: a JSON object, or its sums, what led to them and its flags."""
    if out is not None:
        write_out(found, out)
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['statement']} by {found['rule']}")
    for version in found["versions"]:
        click.echo(f"  {version['version']}: {version['source']} ({version['certainty'] or 'see its table'})")
    for row in found.get(lists, []):
        click.echo("  " + ", ".join(f"{name} {_word(value)}" for name, value in row.items() if value not in ("", {})))
    for kind, amount in found["by_kind"].items():
        click.echo(f"  {kind.replace('_', ' ')}: {amount} {found['currency']}")
    for cause, amount in found["by_cause"].items():
        click.echo(f"  of it by {cause.replace('_', ' ')}: {amount}")
    click.echo(f"total {found['total']} {found['currency']}")
    for flag in found["flags"]:
        click.echo(f"note: {flag}")


def write_out(found: dict[str, Any], out: Path) -> None:
    """Write a statement: as a document where the suffix asks for one, else its lines as CSV."""
    from tieline.node.analysis_settle import write_lines
    from tieline.node.product_document import is_paper, write_statement

    if is_paper(out):
        write_statement(found, out)
    else:
        write_lines(found["lines"], out)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, dict) else str(value)


@settle.command()
@click.argument("rule")
@click.argument("capacity_file", type=FILE)
@click.option("--net-cone", help="Net CONE ($/MW-day), for PJM's rules where the file has no column net_cone.")
@CURRENCY
@OUT
@JSON
def capacity(
    rule: str, capacity_file: Path, net_cone: str | None, currency: str, out: Path | None, as_json: bool
) -> None:
    """Settle a capacity obligation over scarce intervals: ISO-NE pay for performance, PJM shortfall, firm level."""
    from tieline.node.analysis_products import capacity_of

    try:
        cone = None if net_cone is None else Decimal(net_cone)
    except InvalidOperation:
        raise ConfigError(f"--net-cone {net_cone!r}: give 0 to 100000 $/MW-day") from None
    _tell(capacity_of(rule, capacity_file, cone, currency), out, as_json, "levels")


@settle.command()
@click.argument("rule")
@click.argument("ladder_file", type=FILE)
@CURRENCY
@OUT
@JSON
def ladder(rule: str, ladder_file: Path, currency: str, out: Path | None, as_json: bool) -> None:
    """Settle nominated capacity by a ladder of delivered over nominated."""
    from tieline.node.analysis_products import ladder_of

    _tell(ladder_of(rule, ladder_file, currency), out, as_json, "shares")


@settle.command()
@click.argument("rule")
@click.argument("samples_file", type=FILE)
@click.option("--hours", "hours_file", type=FILE, required=True, help="Sold and priced: start,mw,rmccp,rmpcp.")
@CURRENCY
@OUT
@JSON
def regulation(rule: str, samples_file: Path, hours_file: Path, currency: str, out: Path | None, as_json: bool) -> None:
    """Score a response against its signal and settle hours of regulation with mileage."""
    from tieline.node.analysis_reserve import regulation_of

    _tell(regulation_of(rule, samples_file, hours_file, currency), out, as_json, "hours")


@settle.command()
@click.argument("rule")
@click.argument("samples_file", type=FILE)
@click.option("--blocks", "blocks_file", type=FILE, required=True, help="Sold: start,minutes,mw,price.")
@CURRENCY
@OUT
@JSON
def reserve(rule: str, samples_file: Path, blocks_file: Path, currency: str, out: Path | None, as_json: bool) -> None:
    """Settle blocks of FCR, aFRR or Britain's dynamic services by what was delivered of what was called."""
    from tieline.node.analysis_reserve import reserve_of

    _tell(reserve_of(rule, samples_file, blocks_file, currency), out, as_json, "blocks")


@settle.command(name="net-benefits")
@click.argument("file", type=FILE)
@click.option("--rto", help="Whose months: CAISO, ISO-NE, MISO, NYISO, PJM or SPP.")
@click.option("--thresholds", "thresholds_file", type=FILE, help="Published thresholds: rto,month,price.")
@click.option("--curve", is_flag=True, help="FILE is a supply curve (price,mw): make the threshold price from it.")
@CURRENCY
@OUT
@JSON
def net_benefits(
    file: Path,
    rto: str | None,
    thresholds_file: Path | None,
    curve: bool,
    currency: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Pay reductions the LMP at or above a month's threshold (Order 745), or make a threshold from a supply curve."""
    from tieline.node.analysis_paid_once import net_benefits_of, threshold_of

    if curve:
        if rto or thresholds_file or out:
            raise ConfigError("--curve: give it without --rto, --thresholds and --out: FILE is a supply curve")
        show(threshold_of(file), as_json)
        return
    if rto is None or thresholds_file is None:
        raise ConfigError("--rto, --thresholds: give both, or --curve for a supply curve")
    _tell(net_benefits_of(rto, file, thresholds_file, currency), out, as_json)


@settle.command()
@click.argument("program")
@click.argument("performance_file", type=FILE)
@click.option("--jurisdiction", required=True, help="Where: US-CA, US-TX, GB, ...")
@click.option("--fuel", default="diesel", show_default=True, help="What the engine burns.")
@click.option("--location", type=click.Choice(["", "disadvantaged_community"]), default="", help="Where it stands.")
@click.option("--event", type=click.Choice(["market", "test", "emergency"]), default="market", show_default=True)
@click.option(
    "--order", type=click.Choice(["", "permits", "permits_disadvantaged"]), default="", help="An order in force."
)
@CURRENCY
@OUT
@JSON
def prohibited(
    program: str,
    performance_file: Path,
    jurisdiction: str,
    fuel: str,
    location: Literal["", "disadvantaged_community"],
    event: EventKind,
    order: Order,
    currency: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Pay a site's reduction less what an engine put out meanwhile, by the table that `tieline eligible` asks."""
    from tieline.node.analysis_paid_once import prohibited_of

    where = {"location": location, "event": event, "order": order}
    found = prohibited_of(performance_file, jurisdiction, program, fuel, currency, **where)
    _tell(found, out, as_json)


@settle.command()
@click.argument("claims_file", type=FILE)
@click.option("--out", type=FILE, help="Write what was granted to this CSV file, too.")
@JSON
def claims(claims_file: Path, out: Path | None, as_json: bool) -> None:
    """Say what each market may be paid for: never more over all of them than was delivered."""
    from tieline.node.analysis_paid_once import claims_of
    from tieline.node.analysis_settle import write_lines

    found = claims_of(claims_file)
    if out is not None:
        write_lines(found["lines"], out)
    if as_json:
        show(found, True)
        return
    for line in found["lines"]:
        why = f", {line['cause'].replace('_', ' ')}" if line["cause"] else ""
        who = f"{line['resource']} " if line["resource"] else ""
        told = f"{line['granted_kw']:g} of {line['wanted_kw']:g} kW{why}"
        click.echo(f"{line['start']} {who}{line['market']}: {told}")
    click.echo(f"granted {found['granted_kw']:g} kW of {found['delivered_kw']:g} kW delivered")


@settle.command()
@click.argument("meter_file", type=FILE)
@click.argument("folder", type=FILE)
@click.option("--timezone", "zone", required=True, help="On whose clock days begin: an IANA name.")
@AS_READ
@JSON
def pack(meter_file: Path, folder: Path, zone: str, as_read: tuple[str, ...], as_json: bool) -> None:
    """Write a meter file as day files, from which `tieline settle RULE FOLDER` settles very many meters fast."""
    from tieline.node.analysis_fleet import pack_days

    show(pack_days(meter_file, folder, zone, as_read), as_json)
