"""The awards of market days as an ISO tells them: what each row means to us, and which rows were brought to the desk.

A day that is cleared is read again until its delivery is over: an ISO corrects its awards, and what it sold of ours in
the second reading is owed as well. Only rows that the reading before had not are brought to the desk. One that was
taken and has another power or price by now is such a row: the desk has no correction of what was sold, and refuses it
by name; and so is one that reads again as it did before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from zoneinfo import ZoneInfo

from tieline.desk.ports import Award
from tieline.wire.ads.errors import Malformed
from tieline.wire.ads.hours import hour_ns
from tieline.wire.ads.messages import AwardRow, AwardRows

_W_PER_MW = 1e6


class AwardDays:
    """What this link remembers of market days that are cleared."""

    def __init__(self, pools: Mapping[str, str], zone: ZoneInfo) -> None:
        """Make an empty memory; `pools` are ours and what the ISO calls them."""
        self._pool_of, self._zone = {theirs: ours for ours, theirs in pools.items()}, zone
        self._read: dict[date, frozenset[AwardRow]] = {}

    def is_read(self, day: date) -> bool:
        """Whether a day was cleared when it was read, and its rows were brought to the desk."""
        return day in self._read

    def unread(self, rows: AwardRows) -> tuple[list[Award], list[str]]:
        """Return the awards that the last reading of their day had not, and what is wrong with its other new rows."""
        known = self._read.get(rows.market_date, frozenset())
        awards, faults = list[Award](), list[str]()
        for row in rows.awards:
            if row in known:
                continue
            try:
                awards.append(self._award(row))
            except Malformed as error:
                faults.append(f"award {row.award_uid}: {error}")
        return awards, faults

    def note(self, rows: AwardRows, today: date) -> None:
        """Remember that these rows were brought to the desk; days that are over are forgotten."""
        self._read[rows.market_date] = frozenset(rows.awards)
        self._read = {day: seen for day, seen in self._read.items() if day >= today}

    def _award(self, row: AwardRow) -> Award:
        """Return what a row means, in W and UTC. Raises Malformed for an hour or a resource that there isn't."""
        start_ns, end_ns = hour_ns(row.market_date, row.hour_ending, row.repeated_hour, self._zone)
        pool = self._pool_of.get(row.resource)
        if pool is None:
            raise Malformed(f"unknown resource {row.resource}")
        power_w = row.mw * _W_PER_MW
        return Award(row.award_uid, row.bid_uid, pool, row.product, start_ns, end_ns, power_w, row.price)
