"""Writes the reference pages of who may serve and of programs, as their tables say."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from tieline.contract.eligibility import CaseTested, EligibilityRule, Words, eligibility_rules
from tieline.contract.engine_hours import hour_rules
from tieline.contract.jurisdiction import jurisdictions
from tieline.contract.minimum import size_rules
from tieline.contract.program import AnyProgram, Budget, OptOut, Program, Trigger, Window
from tieline.contract.programs import sample_programs
from tieline.node.known_rules import known_jurisdictions
from tieline.node.program_words import MEANS
from tieline.node.rule_tables import tested_cases

MARKS = "V: read in a public source; K: a published rule that was not read again"


def eligibility_page() -> str:
    """Return the page of who may serve: places, each row of the tables with its cases, hours and least sizes."""
    lines = [
        "# Rules of eligibility", "",
        "Generated from `contract/rules/`.", f"{MARKS}. `tieline eligible` asks",
        "the decision tables from the top: the first row that fits decides, and what no row names is refused by",
        "`default-deny` (\"no rule allows it\"). `tieline rules show ID` prints a row, `tieline rules list --kind",
        "eligibility` all of them. How to ask: [who may serve](../do/eligible.md).",
        "", "## Places", "",
        "A place goes by its code of ISO 3166-1 or, within a country, of ISO 3166-2. An area that crosses states has a",
        "code of our own. A code that is not here, or that no row allows anybody in, lets nobody serve:",
        "`tieline doctor` and a server's start say so.",
        "", "| code | place | standard | who may serve | |", "|---|---|---|---|---|",
    ]  # fmt: skip
    known = known_jurisdictions()
    for place in jurisdictions().values():
        has = "by the rows below" if place.code in known else "nobody: no rule allows it"
        lines.append(f"| `{place.code}` | {place.name} | {place.standard} | {has} | {place.says} |")
    cases = tested_cases()
    for rule in eligibility_rules():
        lines += _row(rule, [one for one in cases if one.rule == rule.id])
    lines += ["", "## default-deny 1", "", 'No row fits: refused, "no rule allows it".', ""]
    lines += _cases([one for one in cases if one.rule == "default-deny"])
    return "\n".join([*lines, *_hours(), *_sizes(), ""])


def _row(rule: EligibilityRule, cases: list[CaseTested]) -> list[str]:
    verb = "allows" if rule.allow else "refuses"
    rest = [] if rule.pays_rest else ["While it ran nothing of its site is paid.", ""]
    lines = ["", f"## {rule.id} {rule.version}", "", f"{rule.source}. Certainty: {rule.certainty}.", ""]
    lines += [f"It {verb}: {rule.says}.", "", *rest, "| of | these |", "|---|---|"]
    for name in ("jurisdiction", "program", "kind", "fuel", "location", "event", "order"):
        lines.append(f"| {name} | {_words(getattr(rule, name))} |")
    return [*lines, "", *_cases(cases)]


def _words(words: Words) -> str:
    listed = (words,) if isinstance(words, str) else words
    return ", ".join({"*": "any", "": "none"}.get(word, f"`{word}`") for word in listed)


def _cases(cases: list[CaseTested]) -> list[str]:
    if not cases:
        return ["No case tests it."]
    lines = ["| tested: kind | fuel | jurisdiction | program | location | event | order | may |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for one in cases:
        words = (one.kind, one.fuel, one.jurisdiction, one.program, one.location, one.event, one.order)
        lines.append(f"| {' | '.join(words)} | {'yes' if one.may else 'no'} |")
    return lines


def _hours() -> list[str]:
    lines = ["", "## Hours of engines", "", "A use that no limit names is refused, but emergencies."]
    for rule in hour_rules().values():
        lines += ["", f"### {rule.id} {rule.version}", "", f"{rule.source}. Certainty: {rule.certainty}.", ""]
        lines += ["| uses together | hours a calendar year at most |", "|---|---|"]
        lines += [f"| {', '.join(limit.uses)} | {limit.hours:g} |" for limit in rule.limits]
    return lines


def _sizes() -> list[str]:
    lines = ["", "## Least sizes of aggregations", ""]
    lines += ["| rule | each at least | together at least | a premise at most | alike | source | certainty |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for rule in size_rules().values():
        powers = (rule.least_resource_w, rule.least_total_w, rule.most_location_w)
        shown = " | ".join("" if not power else f"{power / 1e3:g} kW" for power in powers)
        alike = ", ".join(rule.one_of)
        lines.append(f"| `{rule.id}` {rule.version} | {shown} | {alike} | {rule.source} | {rule.certainty} |")
    return lines


def programs_page() -> str:
    """Return the page of programs: what every type has, what each has by itself, and the samples of each."""
    lines = [
        "# Programs", "",
        "Generated from `contract/rules/programs.toml` and the types.", f"{MARKS};",
        "sample: values of our own. A file of your own (`[contracts] programs`) takes their place; `tieline rules list",
        "--kind program` lists the samples. How to: [contracts](../do/contracts.md).",
        "", "## What every program has", "", *_fields(Program), "", "## Triggers", "",
        "A program lists what calls it; none listed: a tariff, or a person by hand.", "",
        "| `by` | calls | fields |", "|---|---|---|",
    ]  # fmt: skip
    for trigger in get_args(Trigger):
        names = ", ".join(f"`{name}`: {MEANS[name]}" for name in trigger.__struct_fields__)
        lines.append(f"| `{trigger.__struct_config__.tag}` | {_first(trigger)} | {names} |")
    for title, part in (("Windows", Window), ("Budgets", Budget), ("Leaving a call", OptOut)):
        lines += ["", f"## {title}", "", _first(part), "", *_fields(part)]
    for form in get_args(AnyProgram):
        own = [name for name in form.__struct_fields__ if name not in Program.__struct_fields__]
        tag = form.__struct_config__.tag
        lines += ["", f"## Type {tag}", "", _first(form), "", *_fields(form, own)]
        lines += [line for one in sample_programs() if type(one) is form for line in _sample(one)]
    return "\n".join([*lines, ""])


def _first(form: type[Struct]) -> str:
    return " ".join((form.__doc__ or "").split())


def _fields(form: type[Struct], names: list[str] | None = None) -> list[str]:
    lines = ["| field | default | meaning |", "|---|---|---|"]
    hints = get_type_hints(form)
    for field in msgspec.structs.fields(form):
        if field.name in hints and (names is None or field.name in names):
            value = field.default
            if field.default_factory is not NODEFAULT:
                value = field.default_factory()
            shown = "**must be given**" if field.required else "none" if value in (None, (), "") else _value(value)
            lines.append(f"| `{field.name}` | {shown} | {MEANS[field.name]} |")
    return lines


def _value(value: Any) -> str:
    return _plain(msgspec.to_builtins(value))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, (list, tuple)):
        return ("; " if any(isinstance(one, dict) for one in value) else ", ").join(_plain(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _sample(program: Program) -> list[str]:
    ours = f" Values of our own: {', '.join(f'`{one}`' for one in program.ours)}." if program.ours else ""
    lines = ["", f"### {program.id} {program.version}", "", f"{program.says.capitalize()}.", ""]
    lines += [f"{program.source}. Certainty: {program.certainty}.{ours}", "", "| field | value |", "|---|---|"]
    told = {"id", "version", "type", "says", "source", "certainty", "ours"}
    given = msgspec.to_builtins(program)
    defaults = {one.name: one.default for one in msgspec.structs.fields(program)}
    for name, value in given.items():
        if name not in told and getattr(program, name, None) != defaults.get(name, NODEFAULT):
            lines.append(f"| `{name}` | {_plain(value) or 'none'} |")
    return lines
