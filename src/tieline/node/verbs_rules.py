"""`tieline rules`: rules of every kind by version, as data; and how a verb is told which."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.rule_kinds import BASELINE, KEYS, KINDS, PRODUCT

if TYPE_CHECKING:
    from tieline.market.product import ProductRule

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
RULES = click.option(
    "--rules",
    "rules_file",
    type=click.Path(path_type=Path),
    help="A file of your own (TOML): rules, and later versions of those that come with Tieline.",
)
KIND = click.option("--kind", type=click.Choice(KINDS), help="Rules of this kind alone; left out: of every kind.")
RULE_VERSION = click.option(
    "--rule-version", help="By this version, as RULE@VERSION; left out: the one in force on the event's local day."
)


@main.group()
def rules() -> None:
    """The rules of baselines, products, eligibility, programs, engines and places, as data: list, show, compare."""


@rules.command(name="list")
@KIND
@RULES
@JSON
def list_rules(kind: str | None, rules_file: Path | None, as_json: bool) -> None:
    """List every version of all rules: its days, certainty and source; of eligibility also what it says."""
    from tieline.node.rule_tables import rows

    asked = [one for one in KINDS if kind in (None, one)]
    tables = {BASELINE: lambda: _baselines(rules_file), PRODUCT: _product_rows}
    found = {one: tables[one]() if one in tables else [row.listed() for row in rows(one)] for one in asked}
    if as_json:
        show({KEYS[one]: listed for one, listed in found.items()}, True)
        return
    for each in (row for listed in found.values() for row in listed):
        span = f"{each['effective_from'] or '...'} to {each['effective_to'] or '...'}"
        certainty = str(each["certainty"])[:24]
        says = f"{each['says']} ({each['source']})" if each.get("says") else each["source"]
        click.echo(f"{each['rule']:38} {each['version']:8} {span:24} {certainty:24} {says}")


def _baselines(rules_file: Path | None) -> list[dict[str, Any]]:
    from tieline.node.rule_files import rules_in

    table = rules_in(rules_file)
    return [
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


def _product_rows() -> list[dict[str, Any]]:
    from tieline.market.product import product_rules

    return [
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


@rules.command(name="show")
@click.argument("rule")
@click.option("--on", "day", help="The version in force on this local day, such as 2024-07-31.")
@KIND
@RULES
@JSON
def show_rule(rule: str, day: str | None, kind: str | None, rules_file: Path | None, as_json: bool) -> None:
    """Show every parameter of RULE, or of RULE@VERSION; of eligibility with the cases that test it.

    Without --on and without a version it is the newest of a baseline, and every one of another kind.
    """
    import msgspec

    from tieline.node.rule_files import rules_in
    from tieline.node.rule_tables import found as rows_found

    at = None if day is None else _day(day)
    if rows := rows_found(rule, kind):
        if at is not None:
            raise ConfigError(f"--on {day}: {rows[0].id} is of {rows[0].kind}: give it for a baseline or a product")
        show({"rule": rows[0].id, "versions": [one.shown() for one in rows]}, as_json)
        return
    products = _products(rule, at) if kind in (None, PRODUCT) else []
    if products:
        show({"rule": products[0].id, "versions": [msgspec.to_builtins(one) for one in products]}, as_json)
        return
    _refuse_unknown(rule, kind)
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
@KIND
@RULES
@JSON
def diff_rules(
    one: str,
    other: str | None,
    first: str | None,
    last: str | None,
    kind: str | None,
    rules_file: Path | None,
    as_json: bool,
) -> None:
    """Show in which parameters two rules differ, or two versions of a rule: RULE@VERSION, or --from and --to."""
    one, other = _two(one, other, first, last)
    mine, theirs = _row(rules_file, one, kind), _row(rules_file, other, kind)
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


def _row(rules_file: Path | None, ref: str, kind: str | None) -> dict[str, Any]:
    import msgspec

    from tieline.node.rule_files import rules_in
    from tieline.node.rule_tables import one_row

    row = one_row(ref, kind)
    if row is not None:
        return row
    if kind in (None, PRODUCT) and (products := _products(ref, None)):
        return dict(msgspec.to_builtins(products[-1]))
    _refuse_unknown(ref, kind)
    table = rules_in(rules_file)
    rule = table.named(ref)
    first, last = table.span(rule)
    return {**rule.as_rows(), "effective_from": first, "effective_to": last}


def _refuse_unknown(ref: str, kind: str | None) -> None:
    """Refuse a name that no rule of a kind other than baselines has."""
    if kind not in (None, BASELINE):
        raise ConfigError(f"{kind} rule {ref!r} is unknown: `tieline rules list --kind {kind}` lists them")


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
