"""What tests of backtests share: small ones, played."""

from dataclasses import dataclass
from datetime import date
from functools import cache

import msgspec

from tieline.simulate.backtest.asked import Backtest, backtest
from tieline.simulate.backtest.energy import Run, run
from tieline.simulate.backtest.fleet import MixedFleet, mixed
from tieline.simulate.backtest.prices import DayAhead, Mind, day_ahead_of, foretold_from
from tieline.simulate.backtest.timeline import Timeline
from tieline.simulate.iso import prices as ercot
from tieline.times import HOUR_NS


@dataclass(frozen=True)
class Small:
    """A backtest with all that it is played with."""

    asked: Backtest
    fleet: MixedFleet
    line: Timeline
    prices: DayAhead

    def run(self, mind: Mind = "known", spot: dict[int, float] | None = None) -> Run:
        return run(self.asked, self.fleet, self.line, self.prices, mind, spot or {})

    def repriced(self, changes: dict[int, float]) -> "Small":
        """Return the same with other prices of some hours."""
        prices = foretold_from({**self.prices.of_hour, **changes}, ercot.ZONE, self.asked)
        return Small(self.asked, self.fleet, self.line, prices)


@cache
def small(first: date, last: date, devices: int = 400, seed: int = 1) -> Small:
    asked = msgspec.structs.replace(backtest("ercot-february-2021"), first=first, last=last, devices=devices, seed=seed)
    line = Timeline.of(ercot.ZONE, asked.first, asked.days, HOUR_NS)
    return Small(asked, mixed(devices, seed, line, asked.terms, cools=False), line, day_ahead_of(asked))
