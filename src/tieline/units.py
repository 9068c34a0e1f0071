"""Unit parsing and formatting, at the rim only. Inside everything is SI without prefixes."""

from tieline.errors import ConfigError

_SCALES: dict[str, tuple[str, float]] = {
    "W": ("W", 1.0),
    "kW": ("W", 1e3),
    "MW": ("W", 1e6),
    "GW": ("W", 1e9),
    "Wh": ("Wh", 1.0),
    "kWh": ("Wh", 1e3),
    "MWh": ("Wh", 1e6),
    "var": ("var", 1.0),
    "kvar": ("var", 1e3),
    "Mvar": ("var", 1e6),
    "VA": ("VA", 1.0),
    "kVA": ("VA", 1e3),
    "MVA": ("VA", 1e6),
    "V": ("V", 1.0),
    "kV": ("V", 1e3),
    "%": ("1", 0.01),
    "s": ("s", 1.0),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "Hz": ("Hz", 1.0),
}


def parse_quantity(text: str, unit: str) -> float:
    """Return `text` such as `4.5 MW` in the SI `unit` that is wanted.

    Raises:
        ConfigError: No number, an unknown unit, or a unit of another quantity.

    >>> parse_quantity("4.5 MW", "W")
    4500000.0
    """
    number, _, suffix = text.strip().partition(" ")
    scale = _SCALES.get(suffix.strip())
    if scale is None or scale[0] != unit:
        fitting = ", ".join(name for name, (base, _) in _SCALES.items() if base == unit)
        raise ConfigError(f"{text!r}: give a number and one of {fitting}, such as `5 {fitting.split(',')[0]}`")
    try:
        return float(number) * scale[1]
    except ValueError:
        raise ConfigError(f"{text!r}: {number!r} is not a number") from None


def format_power(power_w: float) -> str:
    """Return a power with the prefix that a person would choose; a nought has no sign.

    >>> format_power(-4.5e6)
    '-4.500 MW'
    """
    size = abs(power_w)
    if size >= 1e6:
        return f"{power_w / 1e6:.3f} MW"
    if size >= 1e3:
        return f"{power_w / 1e3:.2f} kW"
    return f"{power_w:z.0f} W"
