"""`tieline rules`: rules of baselines and other products by version, as data; and how a verb is told which."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show

if TYPE_CHECKING:
    from tieline.market.product import ProductRule
    from tieline.market.rule import RuleTable

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
RULES = click.option(
    "--rules",
    "rules_file",
    type=click.Path(path_type=Path),
    help="A file of your own (TOML): rules, and later versions of those that come with Tieline.",
)
RULE_VERSION = click.option(
    "--rule-version", help="By this version, as RULE@VERSION; left out: the one in force on the event's local day."
)


@main.group()
def rules() -> None:
    """The rules that baselines and products follow, as data: list them, show one, compare two."""


@rules.command(name="list")
@RULES
@JSON
def list_rules(rules_file: Path | None, as_json: bool) -> None:
    """List every version of all rules of baselines and other products: its days, certainty and source."""
    from tieline.market.product import product_rules
    from tieline.node.rule_files import rules_in

    table = rules_in(rules_file)
    found = [
        {
            "rule": rule.id,
            "version": rule.version,
            "effective_from": table.span(rule)[0] or None,
            "effective_to": table.span(rule)[1] or None,
            "certainty": rule.certainty,
            "level": rule.level,
            "source": rule.source,
        }
        for rule in table.every()
    ]
    products = [
        {
            "rule": one.id,
            "version": one.version,
            "effective_from": one.effective_from or None,
            "effective_to": one.effective_to or None,
            "certainty": one.certainty,
            "product": str(one.__struct_config__.tag),
            "source": one.source,
        }
        for one in sorted(product_rules(), key=lambda each: (each.id, each.version))
    ]
    if as_json:
        show({"rules": found, "products": products}, True)
        return
    for each in [*found, *products]:
        span = f"{each['effective_from'] or '...'} to {each['effective_to'] or '...'}"
        certainty = str(each["certainty"])[:24]
        click.echo(f"{each['rule']:38} {each['version']:8} {span:24} {certainty:24} {each['source']}")


@rules.command(name="show")
@click.argument("rule")
@click.option("--on", "day", help="The version in force on this local day, such as 2024-07-31.")
@RULES
@JSON
def show_rule(rule: str, day: str | None, rules_file: Path | None, as_json: bool) -> None:
    """Show every parameter of RULE, or of RULE@VERSION; of a product's rule every version.

    Without --on and without a version it is the newest one.
    """
    import msgspec

    from tieline.node.rule_files import rules_in

    at = None if day is None else _day(day)
    products = _products(rule, at)
    if products:
        show({"rule": products[0].id, "versions": [msgspec.to_builtins(one) for one in products]}, as_json)
        return
    table = rules_in(rules_file)
    found = table.named(rule) if at is None else table.on(rule, at).rule
    first, last = table.span(found)
    versions = [one.version for one in table.versions(found.id)]
    show(
        {**found.as_rows(), "effective_from": first, "effective_to": last, "versions": versions,
         "row_hash": found.row_hash},
        as_json,
    )  # fmt: skip


@rules.command(name="diff")
@click.argument("one")
@click.argument("other", required=False)
@click.option("--from", "first", help="With one RULE: this version of it ...")
@click.option("--to", "last", help="... beside this one.")
@RULES
@JSON
def diff_rules(
    one: str, other: str | None, first: str | None, last: str | None, rules_file: Path | None, as_json: bool
) -> None:
    """Show in which parameters two rules differ, or two versions of a rule: RULE@VERSION, or --from and --to."""
    from tieline.node.rule_files import rules_in

    one, other = _two(one, other, first, last)
    table = rules_in(rules_file)
    mine, theirs = _row(table, one), _row(table, other)
    differ: dict[str, Any] = {
        name: {one: mine.get(name), other: theirs.get(name)}
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    }
    if as_json:
        show({"differ": differ, "same": sorted(set(mine) - set(differ))}, True)
        return
    for name, values in differ.items():
        click.echo(f"{name}: {values[one]!r} / {values[other]!r}")


def _two(one: str, other: str | None, first: str | None, last: str | None) -> tuple[str, str]:
    """Return the two versions that are to be compared, each as it is pinned."""
    if other is None:
        if first is None or last is None:
            raise ConfigError(f"{one}: is one rule: give another, or --from VERSION and --to VERSION of it")
        if "@" in one:
            raise ConfigError(f"--from {first}: the rule is {one}: give its name alone")
        one, other = f"{one}@{first}", f"{one}@{last}"
    elif first is not None or last is not None:
        option = "--from" if first is not None else "--to"
        raise ConfigError(f"{option} {first or last}: two rules are given: pin versions as {one}@VERSION")
    if one == other:
        raise ConfigError(f"{one}: is given twice: give two rules, or two versions")
    return one, other


def _row(table: RuleTable, ref: str) -> dict[str, Any]:
    rule = table.named(ref)
    first, last = table.span(rule)
    return {**rule.as_rows(), "effective_from": first, "effective_to": last}


def _products(ref: str, day: date | None) -> list[ProductRule]:
    """Return the versions of a product's rule that are asked for; none: the name is no product's rule.

    Raises:
        ConfigError: It has no such version, or none on that day.
    """
    from tieline.market.product import product_rules

    name, is_pin, version = ref.partition("@")
    every = [one for one in product_rules() if one.id == name]
    found = [one for one in every if (not is_pin or one.version == version) and (day is None or one.holds_on(day))]
    if every and not found:
        known = ", ".join(f"{r.version} ({r.effective_from or '...'} to {r.effective_to or '...'})" for r in every)
        on = "" if day is None else f" on {day}"
        raise ConfigError(f"product rule {ref!r} has no such version{on}: versions are {known}")
    return found


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--on {text!r}: give a day such as 2024-06-01") from None
