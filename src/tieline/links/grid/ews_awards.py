"""The awards of a trading date as the market tells them, in our words: whose, of what, when, how much, at which price.

Rows of one key and hour are added up, as the market tells an award in blocks. An award has one name whatever it says,
made of the market's key and the hour: told again with another quantity it is the same award, and the first stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from tieline.links.grid.ews_settings import EwsPool
from tieline.times import HOUR_NS, to_ns
from tieline.wire.ads.errors import Malformed
from tieline.wire.ads.hours import hour_of
from tieline.wire.ews import messages as ews
from tieline.wire.ews.mrid import hour_suffix

Awarded = ews.AwardedEnergyOnlyOffer | ews.AwardedEnergyOffer | ews.AwardedAs
PRODUCT = {
    "ECRS": "ECRS", "ECRSS": "ECRS", "ECRSM": "ECRS", "OFFEC": "ECRS",
    "RRS": "RRS", "RRSUF": "RRS", "RRSPF": "RRS", "RRSFF": "RRS",
    "Non-Spin": "NSPIN", "Off-Non-Spin": "NSPIN", "On-Non-Spin": "NSPIN", "NSPNM": "NSPIN",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Won:
    """What one offer won in one hour, and whose it may be: pools can share a settlement point, not a resource.

    `price` is None where the market left it to the settlement point's own.
    """

    pools: tuple[str, ...]
    product: str
    key: str
    start_ns: int
    mw: float
    price: float | None
    sp: str
    bid_id: str = ""

    @property
    def end_ns(self) -> int:
        """Its hour's end."""
        return self.start_ns + HOUR_NS


def won(rows: ews.AwardSet, pools: Mapping[str, EwsPool], zone: ZoneInfo) -> tuple[list[Won], list[str]]:
    """Return what was won, and what is wrong with rows that are none of ours or no hour's."""
    found: dict[str, Won] = {}
    faults: list[str] = []
    every: list[Awarded] = [*rows.energy_only, *rows.three_part, *rows.reserves]
    for row in every:
        try:
            each = _won(row, pools, zone)
        except Malformed as error:
            faults.append(f"award of {rows.trading_date}: {error}")
            continue
        same = found.get(each.key)
        found[each.key] = each if same is None else replace(same, mw=round(same.mw + each.mw, 6))
    return [each for each in found.values() if each.mw > 0], faults


def _won(row: Awarded, pools: Mapping[str, EwsPool], zone: ZoneInfo) -> Won:
    start_ns, end_ns = to_ns(row.start_time), to_ns(row.end_time)
    day, hour_ending, repeated = hour_of(start_ns, zone)
    if end_ns - start_ns != HOUR_NS or day != row.trading_date:
        raise Malformed(f"{row.start_time.isoformat()} to {row.end_time.isoformat()} is no hour of {row.trading_date}")
    tail = hour_suffix(hour_ending, repeated)
    match row:
        case ews.AwardedEnergyOnlyOffer():
            names = _named(pools, "settlement_point", row.sp)
            key = f"{row.qse}.{day:%Y%m%d}.EOO.{row.sp}.{row.bid_id}.{tail}"
            return Won(names, "ENERGY", key, start_ns, row.awarded_mwh, row.spp, row.sp, row.bid_id)
        case ews.AwardedEnergyOffer():
            names = _named(pools, "resource", row.resource)
            key = f"{row.qse}.{day:%Y%m%d}.TPO.{row.resource}.{tail}"
            return Won(names, "ENERGY", key, start_ns, row.awarded_mwh, None, pools[names[0]].settlement_point)
        case ews.AwardedAs():
            names = _named(pools, "resource", row.resource)
            product = PRODUCT.get(row.as_type)
            if product is None:
                raise Malformed(f"asType = {row.as_type}: give one of {', '.join(PRODUCT)}")
            mw, price = _reserve(row)
            key = f"{row.qse}.{day:%Y%m%d}.ASO.{row.resource}.{row.as_type}.{tail}"
            return Won(names, product, key, start_ns, mw, price, pools[names[0]].settlement_point)


def _named(pools: Mapping[str, EwsPool], part: str, name: str) -> tuple[str, ...]:
    found = tuple(mine for mine, pool in pools.items() if getattr(pool, part) == name)
    if not found:
        raise Malformed(f"{part} = {name}: none of our pools")
    return found


def _reserve(row: ews.AwardedAs) -> tuple[float, float]:
    """Return (MW, $/MW) of an award of reserve: its blocks added up, and the one price that they name."""
    mw, prices = 0.0, set[float]()
    for curve in row.blocks:
        blocks: list[ews.OnLineReserves | ews.OffLineNonSpin] = [*curve.on_line, *curve.off_line]
        for block in blocks:
            mw += block.xvalue
            told = [getattr(block, name) for name in block.__struct_fields__ if name not in ("xvalue", "block")]
            prices |= {price for price in told if price is not None}
    if mw > 0 and len(prices) != 1:
        raise Malformed(f"awardedMW of {row.resource}: {len(prices)} clearing prices")
    return round(mw, 6), prices.pop() if prices else 0.0


def prices_of(rows: ews.Spps) -> dict[tuple[str, int], float]:
    """Return settlement point prices by point and the start of their hour (UTC ns)."""
    return {(row.sp, _hour(row.time)): row.value1 for row in rows.rows if row.value1 is not None}


def _hour(at: datetime) -> int:
    return to_ns(at.replace(minute=0, second=0, microsecond=0))
