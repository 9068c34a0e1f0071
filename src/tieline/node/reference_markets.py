"""Writes the reference page of a market: its gates and participation models, as its table says."""

from __future__ import annotations

from typing import Any

from tieline.market.participation import MARKS, Gate, Market, Model, as_rows


def market_page(market: Market) -> str:
    """Return the page of a market, each figure with its mark and source."""
    marks = "; ".join(f"{mark}: {says}" for mark, says in MARKS.items())
    lines = [
        f"# {market.name}", "",
        f"Generated from `rules/markets/{market.id}.toml`. {marks}. A figure that a model",
        "has not is not tested; by which rule each is held, [Offers](../do/offers.md) says.",
        "", f"Clock: {market.zone}. Prices in {market.currency}.", "", "## Gates", "",
        "| gate | closes | opens | mark | source |", "|---|---|---|---|---|",
        *(_gate(market, gate) for gate in market.gate),
    ]  # fmt: skip
    for model in market.model:
        lines += _model(market, model)
    return "\n".join([*lines, ""])


def _gate(market: Market, gate: Gate) -> str:
    day = {0: "the market day itself", 1: "the day before"}.get(gate.days_before, f"{gate.days_before} days before")
    figure = gate.closes or gate.minutes_before
    assert figure is not None  # a table with neither is refused
    closes = f"{_word(figure.value)} on {day}"
    if gate.minutes_before is not None:
        what = {0: "the interval", 60: "the hour"}.get(gate.of_min, f"the {gate.of_min} minutes")
        closes = f"{_word(figure.value)} minutes before {what} begins"
    opens = f"{gate.opens.value}, {gate.opens_days_before} days before" if gate.opens else "not in the table"
    return f"| `{gate.id}` | {closes} | {opens} | {figure.mark} | {market.sources[figure.source]} |"


def _model(market: Market, model: Model) -> list[str]:
    span = f"{model.effective_from or 'not known'} to {model.effective_to or 'not known'}"
    gates = ", ".join(f"`{name}`" for name in model.gates) or "none in the table"
    begins = ""
    if (model.day_begins, model.day_begins_before) != ("00:00", 0):
        begins = f" Its market day begins at {model.day_begins}" + " on the day before" * (model.day_begins_before == 1)
        begins += "."
    return [
        "", f"## {model.id} {model.version}", "",
        f"{model.name}. Sells {model.sells} as {model.product}.{begins}", "",
        f"In force: {span}. Gates: {gates}.", "", "| figure | value | mark | source |", "|---|---|---|---|",
        *(f"| `{row['figure']}` | {_word(row['value'])} | {row['mark']} | {row['source']} |"
          for row in as_rows(market, model)),
    ]  # fmt: skip


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
