"""Writes the reference pages that follow from the code: settings, command line, records, links, DNP3, points."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec
from msgspec import NODEFAULT, Struct

from tieline.desk.facts import FACTS
from tieline.links.grid.dnp3 import page as dnp3
from tieline.links.grid.dnp3.binding import Binding
from tieline.market.accuracy import accuracy_tests
from tieline.market.participation import markets
from tieline.market.product import product_rules
from tieline.market.rule import BaselineRule, rule_table
from tieline.market.settlement import shortfall_causes
from tieline.node.cli import main
from tieline.node.config import Settings
from tieline.node.reference_markets import market_page
from tieline.node.reference_rules import eligibility_page, programs_page
from tieline.resource import command, point


def settings_page() -> str:
    """Return the page of the server's settings: each table, its keys, types and defaults."""
    lines = [
        "# Settings", "",
        "A server reads `tieline.toml` of its data folder. An unknown key, a wrong type or a value outside its limits",
        "refuses the start and names its path. A relative path counts from the data folder, and may lead out of it.",
        "The file is UTF-8, with or without a byte order mark.",
        "",
    ]  # fmt: skip
    todo: list[tuple[str, type[Struct]]] = [("(top)", Settings)]
    while todo:
        path, struct = todo.pop(0)
        lines += [f"## `{path}`", "", *_paragraph(struct), "| key | type | default |", "|---|---|---|"]
        hints = get_type_hints(struct)
        for field in msgspec.structs.fields(struct):
            shown = "" if path == "(top)" else f"{path}."
            inner = [(f"{shown}{field.encode_name}", one) for one in _structs(hints[field.name])]
            todo += inner
            default = _default(field) if not inner or field.required else "none" if field.default is None else "-"
            lines.append(f"| `{field.encode_name}` | {_type(hints[field.name])} | {default} |")
        lines.append("")
    return "\n".join(lines)


def _paragraph(struct: type[Struct]) -> list[str]:
    text = " ".join((struct.__doc__ or "").split())
    return [text, ""] if text else []


def _structs(hint: Any) -> list[type[Struct]]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        return [hint]
    return [one for part in get_args(hint) for one in _structs(part)]


def _type(hint: Any) -> str:
    names = [one.__name__ for one in _structs(hint)]
    word = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    for name in names:
        word = word.replace(f"{next(s for s in _structs(hint) if s.__name__ == name).__module__}.{name}", "table")
        word = word.replace(name, "table")
    word = word.replace("typing.", "").replace("NoneType", "None").replace(", ...", "")
    return word.replace("|", "or")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "**must be given**"
    value = field.default_factory() if field.default is NODEFAULT else field.default
    return "none" if value in (None, (), {}, "") else f"`{value}`"


def cli_page() -> str:
    """Return the page of the command line: each verb, its arguments and options."""
    lines = [
        "# Command line",
        "",
        "`tieline VERB --help` says the same. An error is one line and exit code 2.",
        "",
        "Exit code 0 says that all was done or answered; 1 that it was, but not well: a promise broke, a folder is not",
        "healthy, or records or readings are missing from the answer (with `--json` in `missing`).",
        "",
    ]
    verbs: dict[str, click.Command] = {}
    for name, verb in main.commands.items():
        below = verb.commands if isinstance(verb, click.Group) else {}
        verbs |= {f"{name} {each}": one for each, one in below.items()} or {name: verb}
    for name, verb in sorted(verbs.items()):
        arguments = [p.human_readable_name for p in verb.params if isinstance(p, click.Argument)]
        lines += [f"## `{' '.join(['tieline', name, *arguments])}`", "", verb.get_short_help_str(200), ""]
        options = [p for p in verb.params if isinstance(p, click.Option)]
        if options:
            lines += ["| option | default | what it does |", "|---|---|---|"]
        for option in options:
            value = option.to_info_dict()["default"]
            shown = "" if option.is_flag or not isinstance(value, (str, int, float, Path)) else f"`{value}`"
            lines.append(f"| `{', '.join(option.opts)}` | {shown} | {option.help or ''} |")
        lines.append("")
    return "\n".join(lines)


def records_page() -> str:
    """Return the page of the journal's records, as `tieline sql` and `tieline export` show them."""
    lines = [
        "# Records of the journal", "",
        "Every decision is one of these before anyone acts on it. `tieline export KIND FILE` writes all of a kind.", "",
        "| kind | what it records | fields |", "|---|---|---|",
    ]  # fmt: skip
    for fact in sorted(FACTS, key=lambda one: one.__name__):
        says = (fact.__doc__ or "").strip().splitlines()[0]
        names = ", ".join(f"`{name}`" for name in fact.__struct_fields__)
        lines.append(f"| `{fact.__name__}` | {says} | {names} |")
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """Return the page of a command's life."""
    return f"# The life of a command\n\n{command.__doc__}\n{command.markdown()}"


def links_page() -> str:
    """Return the page of the links: what each has proved, by the tests that its quality table names."""
    lines = [
        "# Links and what is proved of them", "",
        "Each link declares its tier (works, survives, operable, proved) and the tests that hold it to that.", "",
        "| link | role | tier | proofs |", "|---|---|---|---|",
    ]  # fmt: skip
    root = Path(str(files("tieline.links")))
    found: list[str] = []
    for path in sorted(root.rglob("*.quality.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        tests = sum(
            len(v) for part in table.values() if isinstance(part, dict) for v in part.values() if isinstance(v, list)
        )
        protocol = table.get("protocol", path.name.removesuffix(".quality.toml"))
        found.append(f"| {protocol} | {table.get('role', '')} | {table.get('tier', '')} | {tests} tests |")
    return "\n".join([*lines, *found, ""])


def baselines_page() -> str:
    """Return the page of baseline rules: each one as its data say, with source and certainty."""
    lines = [
        "# Baseline rules", "",
        "Generated from `rules/baselines.toml`. V: read in a public source; K: a published rule that was not",
        "read again. Hours count from the event's start (before) or end (after). `tieline rules diff` compares two.",
        "The local day of an event chooses the version in force; `RULE@VERSION` pins one.",
    ]  # fmt: skip
    table = rule_table()
    for name, versions in sorted(table.rules.items()):
        lines += ["", f"## {name}"]
        for rule in versions:
            first, last = table.span(rule)
            if len(versions) > 1:
                lines += ["", f"### {rule.ref}", "", f"In force from {first or 'days not known'} to {last or 'now'}."]
            lines += ["", f"{rule.source}. Certainty: {rule.certainty}.", "", *_parameters(rule)]
    lines += ["", "## Tests of a meter's baseline", "", "`tieline accuracy` holds each meter against them.", ""]
    lines += ["| test | RRMSE at most | bias at most | source | certainty |", "|---|---|---|---|---|"]
    for test in accuracy_tests():
        bias = "not asked" if test.most_bias == float("inf") else f"{test.most_bias:.0%}"
        lines.append(f"| `{test.id}` | {test.most_rrmse:.0%} | {bias} | {test.source} | {test.certainty} |")
    return "\n".join([*lines, ""])


def _parameters(rule: BaselineRule) -> list[str]:
    lines = ["| parameter | value |", "|---|---|"]
    for field, value in rule.as_rows().items():
        if field not in ("id", "source", "certainty") and value not in (None, "", 0.0, ()):
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            lines.append(f"| `{field}` | {shown} |")
    return lines


def products_page() -> str:
    """Return the page of product rules, every version with its days and certainty, and of the causes of a lack."""
    lines = [
        "# Product rules", "",
        "Generated from `rules/products.toml`. V: read in a public source; K: a published rule that was not",
        "read again. The local day of what is settled chooses the version.",
    ]  # fmt: skip
    for rule in sorted(product_rules(), key=lambda one: (one.id, one.version)):
        span = f"{rule.effective_from or 'not known'} to {rule.effective_to or 'not known'}"
        lines += ["", f"## {rule.id} {rule.version}", "", f"{rule.source}. Certainty: {rule.certainty}.", ""]
        lines += ["| parameter | value |", "|---|---|", f"| in force | {span} |"]
        for field, value in msgspec.to_builtins(rule).items():
            if field not in ("id", "version", "source", "certainty", "effective_from", "effective_to"):
                rows = value if isinstance(value, (list, tuple)) else [value]
                shown = "; ".join(_plain(row) for row in rows)
                lines.append(f"| `{field}` | {shown or 'none'} |")
    lines += ["", "## Causes of a lack", "", "| cause | excused | what it says | source |", "|---|---|---|---|"]
    for name, cause in shortfall_causes().items():
        lines.append(f"| `{name}` | {'yes' if cause.excused else 'no'} | {cause.says} | {cause.source} |")
    return "\n".join([*lines, ""])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if one is not None)
    return ", ".join(str(one) for one in value) if isinstance(value, (list, tuple)) else str(value)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "records.md": records_page,
    "commands.md": commands_page,
    "links.md": links_page,
    "baselines.md": baselines_page,
    "products.md": products_page,
    "eligibility.md": eligibility_page,
    "programs.md": programs_page,
    "dnp3.md": lambda: dnp3.markdown(Binding(0, (), ())),
    "points.md": lambda: point.markdown(),
    **{f"market-{market.id}.md": partial(market_page, market) for market in markets().values()},
}


def write_pages(folder: Path) -> None:
    """Write every generated page."""
    for name, page in PAGES.items():
        path = folder / name
        head = ""
        if name == "points.md" and path.exists():  # what stands before its table is written by hand
            head = path.read_text(encoding="utf-8").partition("| point |")[0]
        path.write_text(head + page(), encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
