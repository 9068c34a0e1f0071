"""What a backtest is asked: which days, where prices come from, how many devices, and on which terms."""

from __future__ import annotations

import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tieline.errors import ConfigError
from tieline.rim.texts import text_in

Frac = Annotated[float, Meta(ge=0, le=1)]
NAMES = ("ercot-february-2021", "sgip-august-2020")
MOST_DAYS = 400


class BacktestTerms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Terms that no data has: they are ours, told with every answer, and can be set otherwise.

    Attributes:
        operator_frac: The DER manager's part of what a statement comes to; the rest is the owners'.
        penalty_per_mwh: What a MWh that lacks costs on top of buying it back.
        fuel_per_mwh: What a MWh of gas-fired CHP costs, all days alike.
        offline_frac: How likely a device is out of reach on a day.
        opt_out_frac: How likely an owner takes a load out on a day.
        declared_frac: How much of a declared stay a charger counts on: drivers leave when they like.
        aversion: How much an offer minds its worst cases, as `market.curve` has it.
        price_cap: The market's cap on offers.
        jurisdiction: By whose rules who may serve.
    """

    operator_frac: Frac = 0.2
    penalty_per_mwh: Annotated[float, Meta(ge=0, le=1e6)] = 50.0
    fuel_per_mwh: Annotated[float, Meta(ge=0, le=1e6)] = 45.0
    offline_frac: Frac = 0.01
    opt_out_frac: Frac = 0.03
    declared_frac: Frac = 0.5
    aversion: Frac = 0.0
    price_cap: Annotated[float, Meta(gt=0, le=1e6)] = 9_000.0
    jurisdiction: str = "US-TX"


class Backtest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A backtest; `point` is a settlement point that comes along, `prices` a file of one's own in its place.

    `real_time` is a file of real-time prices; without one a deviation is priced as the day-ahead market priced its
    hour. Files are CSV with `start,price`, per MWh, ISO 8601 with an offset; they count from the folder of the TOML.
    """

    name: str
    of: Literal["energy", "carbon"]
    first: date
    last: date
    point: str = "LZ_HOUSTON"
    prices: str = ""
    real_time: str = ""
    zone: str = "America/Chicago"
    devices: Annotated[int, Meta(ge=0, le=100_000)] = 500
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 1
    terms: BacktestTerms = BacktestTerms()

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1


def backtest(name: str) -> Backtest:
    """Return a backtest by its name, or that of a TOML file.

    Raises:
        ConfigError: There is none of that name, or the file is not one; key and value are named.
    """
    if name in NAMES:
        return parse((files("tieline.simulate") / "backtest" / f"{name}.toml").read_text("utf-8"), name)
    path = Path(name)
    if path.suffix != ".toml":
        raise ConfigError(f"backtest {name!r} is unknown: give one of {', '.join(NAMES)}, or a .toml file")
    try:
        text = text_in(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    found = parse(text, str(path))
    beside = {key: str(path.parent / value) for key in ("prices", "real_time") if (value := getattr(found, key))}
    return msgspec.structs.replace(found, **beside)


def parse(text: str, name: str) -> Backtest:
    """Return the backtest that a TOML text says. Raises ConfigError naming what is wrong."""
    try:
        found = msgspec.convert(tomllib.loads(text), Backtest)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{name}: {error}") from error
    return checked(found)


def checked(asked: Backtest) -> Backtest:
    """Return a backtest whose days make sense. Raises ConfigError otherwise."""
    if not 1 <= asked.days <= MOST_DAYS:
        raise ConfigError(f"last = {asked.last}: give a day from {asked.first} on, within {MOST_DAYS} days")
    return asked
