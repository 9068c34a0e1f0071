"""Readings of the event that the statements' tests settle."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta


def meter_rows(unread: str = "") -> str:
    """Return hourly readings of 61 days; meter c has no reading at 17:00 of the event day but where one is given."""
    rows = ["start,kwh,meter"]
    first = datetime(2024, 6, 1, 7, tzinfo=UTC)
    for meter, scale in (("a", 1.0), ("b", 2.0), ("c", 0.5)):
        for hour in range(61 * 24):
            at = first + timedelta(hours=hour)
            local = at - timedelta(hours=7)
            kwh: float | str = scale * (30 + local.hour + hour // 24 % 7)
            if local.date() == date(2024, 7, 31) and 16 <= local.hour < 20:
                kwh = float(kwh) - (0.0 if (meter, local.hour) == ("b", 18) else 8 * scale)
                kwh = unread if (meter, local.hour) == ("c", 17) else kwh
            rows.append(f"{at.isoformat()},{kwh},{meter}")
    return "\n".join(rows) + "\n"
