"""The market's keys of rows (mRIDs): `QSE.YYYYMMDD.KEY`, and `.HH` for one hour, where a repeated hour is `2R`.

>>> hour_suffix(2, False), hour_suffix(2, True), hour_suffix(14, False)
('02', '2R', '14')
"""

from __future__ import annotations

from base64 import b32encode
from datetime import date
from hashlib import blake2b

from tieline.wire.ews.messages import AsOffer, Cop, EnergyOnlyOffer, ThreePartOffer

Rowed = Cop | ThreePartOffer | AsOffer | EnergyOnlyOffer


def mrid(qse: str, day: date, row: Rowed) -> str:
    """Return the key of a row of a trading date; the same for every hour of it."""
    match row:
        case Cop():
            key = f"COP.{row.resource}"
        case ThreePartOffer():
            key = f"TPO.{row.resource}"
        case AsOffer():
            key = f"ASO.{row.resource}.{row.as_type}"
        case EnergyOnlyOffer():
            key = f"EOO.{row.sp}.{row.bid_id}"
    return f"{qse}.{day:%Y%m%d}.{key}"


def hour_suffix(hour_ending: int, repeated: bool) -> str:
    """Return how an hour is named at a key's end: two digits, or one and `R` for the hour that comes twice."""
    return f"{hour_ending}R" if repeated else f"{hour_ending:02d}"


def bid_id_of(text: str) -> str:
    """Return the bid id (2 to 12 letters and digits) that stands for a longer name; the same name, the same id."""
    return b32encode(blake2b(text.encode(), digest_size=7).digest()).decode().rstrip("=")[:12]
