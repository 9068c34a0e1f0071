"""Participation models as data: what a market takes as an offer, one file a market, each figure with source and mark.

A row of `rules/markets/NAME.toml` is one version of one model. A figure that a row does not have is not tested, and a
check says so; it never means that anything goes. Figures stand in the unit of their source (MW, kW, $/MWh, minutes),
as they are read beside it; `Model.watts` and the validator turn them into ours.
"""

from __future__ import annotations

import tomllib
from datetime import date, datetime, timedelta
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from tieline.errors import ConfigError
from tieline.market.rule_rows import require_span
from tieline.times import MINUTE_NS, Interval, from_ns, to_ns

Mark = Literal["V", "K"]
MARKS = {"V": "read in a public source", "K": "a published rule that was not read again"}
Direction = Literal["up", "down", "both"]
Curve = Literal["steps", "pairs", "single"]
HOUR_MIN = 60


class Number(Struct, frozen=True, forbid_unknown_fields=True):
    """A figure, its mark, and the key of its source."""

    value: float = field(name="is")
    mark: Mark
    source: str = field(name="from")


class Word(Struct, frozen=True, forbid_unknown_fields=True):
    """A word such as a time of day, its mark, and the key of its source."""

    value: str = field(name="is")
    mark: Mark
    source: str = field(name="from")


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """What is allowed, or must be shared; its mark, and the key of its source."""

    value: tuple[str, ...] = field(name="is")
    mark: Mark
    source: str = field(name="from")


Figure = Number | Word | Words


class Gate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When offers close: at a local time `days_before` the market day, or so many minutes before what is offered.

    `of_min` is on what whole minutes the latter counts: 60 before the hour that an interval begins in, 0 before the
    interval itself.
    """

    id: str
    days_before: int = 0
    closes: Word | None = None
    opens_days_before: int = 0
    opens: Word | None = None
    minutes_before: Number | None = None
    of_min: int = 0


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version of a participation model. A figure that is not given is not tested.

    `sells` says what its price is of: `energy` ($/MWh) or `capacity` ($ a MW and hour). Its market day begins at
    `day_begins` local time, `day_begins_before` days before the date that names it. `curve` is what forms an offer may
    have: `steps` (so much more at a price), `pairs` (points joined by lines) or a `single` quantity and price. `prices`
    is `rising` (never falling) or `strictly-rising`. `shared` is what all members must have in common.
    """

    id: str
    version: str
    name: str
    product: str
    sells: Literal["energy", "capacity"]
    gates: tuple[str, ...]
    directions: Words
    curve: Words
    prices: Words | None = None
    day_begins: str = "00:00"
    day_begins_before: int = 0
    effective_from: str = ""
    effective_to: str = ""
    min_mw: Number | None = None
    step_mw: Number | None = None
    max_mw: Number | None = None
    points_most: Number | None = None
    price_floor: Number | None = None
    price_cap: Number | None = None
    price_tick: Number | None = None
    interval_min: Number | None = None
    sustain_min: Number | None = None
    response_s: Number | None = None
    telemetry_s: Number | None = None
    telemetry_from_mw: Number | None = None
    member_least_kw: Number | None = None
    member_most_kw: Number | None = None
    shared: Words | None = None

    def holds_on(self, day: date) -> bool:
        """Return whether the version holds on a local day; an end that is not given is not tested."""
        told = day.isoformat()
        return (not self.effective_from or self.effective_from <= told) and (
            not self.effective_to or told <= self.effective_to
        )

    def figures(self) -> dict[str, Figure]:
        """Return every figure that the row has, by its key."""
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in pairs if isinstance(value, (Number, Word, Words))}

    def watts(self, key: str) -> float | None:
        """Return a size in W; None: the row has none. Keys end in `_mw` or `_kw`."""
        found: Number | None = getattr(self, key)
        return None if found is None else found.value * (1e6 if key.endswith("_mw") else 1e3)

    def number(self, key: str) -> float | None:
        """Return a figure as it stands; None: the row has none."""
        found: Number | None = getattr(self, key)
        return None if found is None else found.value


class Market(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A market: its clock, its money, its gates and its participation models."""

    id: str
    name: str
    zone: str
    currency: str
    sources: dict[str, str]
    gate: tuple[Gate, ...]
    model: tuple[Model, ...]

    @cached_property
    def clock(self) -> ZoneInfo:
        """The zone on whose clock days and gates are counted."""
        return ZoneInfo(self.zone)

    def gate_of(self, name: str) -> Gate:
        """Return a gate. Raises ConfigError naming those that exist."""
        found = next((gate for gate in self.gate if gate.id == name), None)
        if found is None:
            known = ", ".join(gate.id for gate in self.gate) or "(none)"
            raise ConfigError(f"gate {name!r} of {self.id} is unknown: give one of {known}")
        return found

    def day_of(self, model: Model, instant_ns: int) -> date:
        """Return the market day that an instant lies in."""
        begins = _clock_time(model.day_begins)
        local = from_ns(instant_ns).astimezone(self.clock)
        day = local.date() + timedelta(days=model.day_begins_before)
        return day if (local.hour, local.minute) >= begins else day - timedelta(days=1)

    def day(self, model: Model, day: date) -> Interval:
        """Return a market day of a model: 23, 24 or 25 hours."""
        return _market_day(self.zone, _clock_time(model.day_begins), model.day_begins_before, day)

    def intervals(self, model: Model, day: date) -> tuple[Interval, ...]:
        """Return what may be offered for of a market day, in order; empty where the row has no interval.

        Intervals of an hour or less follow each other from the day's start, so that a day of 25 hours has one more
        hour. Longer blocks go by the clock: a block of four hours in which the clock is set is three or five hours.
        """
        minutes = model.number("interval_min")
        if minutes is None:
            return ()
        return _intervals(
            self.zone, _clock_time(model.day_begins), model.day_begins_before, round(minutes), day.toordinal()
        )


def _clock_time(text: str) -> tuple[int, int]:
    hour, _, minute = text.partition(":")
    return int(hour), int(minute)


def at_local(day: date, time: tuple[int, int], zone: ZoneInfo) -> int:
    """Return a local time of a day as UTC ns. Of a repeated hour it is the first pass; a skipped one is an hour on.

    >>> from tieline.times import iso
    >>> iso(at_local(date(2021, 3, 14), (10, 0), ZoneInfo("America/Chicago")))
    '2021-03-14T15:00:00Z'
    """
    return to_ns(datetime(day.year, day.month, day.day, *time, tzinfo=zone))


@lru_cache(maxsize=4_096)
def _market_day(zone: str, begins: tuple[int, int], before: int, day: date) -> Interval:
    clock, first = ZoneInfo(zone), day - timedelta(days=before)
    return Interval(at_local(first, begins, clock), at_local(first + timedelta(days=1), begins, clock))


@lru_cache(maxsize=1_024)
def _intervals(zone: str, begins: tuple[int, int], before: int, minutes: int, ordinal: int) -> tuple[Interval, ...]:
    day, clock = date.fromordinal(ordinal), ZoneInfo(zone)
    whole = _market_day(zone, begins, before, day)
    if minutes <= HOUR_MIN:
        return tuple(whole.steps(minutes * MINUTE_NS))
    midnight = datetime(day.year, day.month, day.day, *begins, tzinfo=clock) - timedelta(days=before)
    marks = [to_ns(midnight + timedelta(minutes=at)) for at in range(0, 24 * 60, minutes)]
    return tuple(Interval(a, b) for a, b in zip(marks, [*marks[1:], whole.end_ns], strict=True))


# --- the tables -------------------------------------------------------------------------------------------------------


def parse_market(text: str, name: str) -> Market:
    """Return the market of a file's text.

    Raises:
        ConfigError: A row does not fit, a figure names no source, a gate is not one, a day is none, or two versions of
            a model hold on one day; file and row are named.
    """
    try:
        market = msgspec.convert(tomllib.loads(text), Market)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{name}: {error}") from error
    for gate in market.gate:
        _check_gate(market, gate, name)
    for model in market.model:
        where = f"{name}: {model.id} {model.version}"
        for gate_id in model.gates:
            if gate_id not in {gate.id for gate in market.gate}:
                raise ConfigError(f"{where}: gates = {gate_id!r}: give one of {', '.join(g.id for g in market.gate)}")
        for key, figure in model.figures().items():
            _check_figure(market, where, key, figure)
        _check_words(where, model)
        _check_ends(where, model)
    _check_versions(market, name)
    return market


def _check_gate(market: Market, gate: Gate, name: str) -> None:
    where = f"{name}: gate {gate.id}"
    if (gate.closes is None) == (gate.minutes_before is None):
        raise ConfigError(f"{where}: give closes (a local time) or minutes_before, and not both")
    for key, figure in (("closes", gate.closes), ("opens", gate.opens), ("minutes_before", gate.minutes_before)):
        if figure is not None:
            _check_figure(market, where, key, figure)
        if isinstance(figure, Word):
            _check_time(where, key, figure.value)


def _check_time(where: str, key: str, text: str) -> None:
    try:
        datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - a time of day alone
    except ValueError:
        raise ConfigError(f"{where}: {key} = {text!r}: give a time of day such as 10:00") from None


def _check_figure(market: Market, where: str, key: str, figure: Figure) -> None:
    if figure.source not in market.sources:
        raise ConfigError(f"{where}: {key}: from = {figure.source!r}: give one of {', '.join(market.sources)}")
    # Zero minutes before is a gate (a rebid until dispatch); a price may be anything.
    if isinstance(figure, Number) and not key.startswith("price_f") and key != "minutes_before" and figure.value <= 0:
        raise ConfigError(f"{where}: {key} = {figure.value:g}: give over 0")


def _check_words(where: str, model: Model) -> None:
    allowed: dict[str, tuple[str, ...]] = {
        "directions": ("up", "down", "both"),
        "curve": ("steps", "pairs", "single"),
        "prices": ("rising", "strictly-rising"),
    }
    for key, known in allowed.items():
        figure: Words | None = getattr(model, key)
        for word in () if figure is None else figure.value:
            if word not in known:
                raise ConfigError(f"{where}: {key} = {word!r}: give one of {', '.join(known)}")
    _check_time(where, "day_begins", model.day_begins)
    minutes = model.number("interval_min")
    if minutes is not None and (minutes % 1 or 24 * 60 % minutes):
        raise ConfigError(f"{where}: interval_min = {minutes:g}: give whole minutes that divide a day")


def _check_ends(where: str, model: Model) -> None:
    pairs = (("min_mw", "max_mw"), ("price_floor", "price_cap"), ("member_least_kw", "member_most_kw"))
    for low, high in pairs:
        least, most = model.number(low), model.number(high)
        if least is not None and most is not None and least > most:
            raise ConfigError(f"{where}: {low} = {least:g}: give {most:g} ({high}) at most")


def _check_versions(market: Market, name: str) -> None:
    spans: dict[str, list[tuple[str, str, str]]] = {}
    for model in market.model:
        require_span(f"{name}: {model.id} {model.version}", model.effective_from, model.effective_to)
        first, last = model.effective_from or "0000", model.effective_to or "9999"
        for other, begin, end in spans.get(model.id, ()):
            if begin <= last and first <= end:
                where = f"{name}: {model.id} {model.version}"
                raise ConfigError(f"{where}: effective_from = {first}: version {other} holds from {begin} to {end}")
        spans.setdefault(model.id, []).append((model.version, first, last))


@cache
def markets() -> dict[str, Market]:
    """Return every market by id. Raises ConfigError naming the file and row that is wrong."""
    folder = files("tieline.market") / "rules" / "markets"
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".toml")}
    found = [parse_market(texts[name], name) for name in sorted(texts)]
    return {market.id: market for market in found}


def market_of(name: str) -> Market:
    """Return one market. Raises ConfigError naming those that exist."""
    known = markets()
    if name not in known:
        raise ConfigError(f"market {name!r} is unknown: give one of {', '.join(known)}")
    return known[name]


def model_names() -> tuple[str, ...]:
    """Return the ids of all models, in the order of the tables."""
    return tuple(dict.fromkeys(model.id for market in markets().values() for model in market.model))


def versions_of(name: str) -> tuple[Market, tuple[Model, ...]]:
    """Return the market of a model and the model's versions. Raises ConfigError naming the models that exist."""
    for market in markets().values():
        mine = tuple(model for model in market.model if model.id == name)
        if mine:
            return market, mine
    raise ConfigError(f"participation model {name!r} is unknown: give one of {', '.join(model_names())}")


def model_at(name: str, instant_ns: int) -> tuple[Market, Model]:
    """Return the version of a model that holds on the market day of an instant, and its market.

    Raises:
        ConfigError: There is no such model, or none of its versions holds on that day.
    """
    market, mine = versions_of(name)
    day = market.day_of(mine[0], instant_ns)
    holds = next((model for model in mine if model.holds_on(day)), None)
    if holds is None:
        spans = "; ".join(f"{m.version}: {m.effective_from or '...'} to {m.effective_to or '...'}" for m in mine)
        raise ConfigError(f"participation model {name!r} is not in force on {day}: its versions hold {spans}")
    return market, holds


def as_rows(market: Market, model: Model) -> list[dict[str, Any]]:
    """Return a model's figures with mark and the words of their source, for a page, a screen or a program."""
    return [
        {"figure": key, "value": list(one.value) if isinstance(one, Words) else one.value, "mark": one.mark,
         "source": market.sources[one.source]}
        for key, one in model.figures().items()
    ]  # fmt: skip
