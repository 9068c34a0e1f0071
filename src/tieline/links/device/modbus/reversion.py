"""What a function of a SunSpec device's controls holds once its timer has ended: what its owner had set, where known.

Theory of operation. As a reversion timer of model 704 ends, `Rvrt` and `EnaRvrt` of its function take the place of its
value and of its switch. A server that died, or a network that is away, can write nothing back: what then holds is what
was written there with the command. So where an owner's setting is kept it goes out with each command, as the setting to
revert to, and nothing that we told outlives its timer with a wider limit than his. Some devices keep the time that the
timer was told after its end, others show none: the first look as if ours still ran, and are written anew once it can't.

We tell powers in watts: an owner's in percent of WMax (`WSetMod` 0) is reverted to in watts, until it is written back
as he had set it. A device without these registers, or that doesn't take them, holds nothing after its timer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tieline.links.device.modbus.held import FUNCTIONS
from tieline.links.device.sunspec_models import model
from tieline.wire.sunspec.models import ModelError, integer, read_value, write_value

Words = tuple[int, ...]
After = Mapping[str, Words]
"""The registers of the points that say what holds after the timers, by point; empty: nothing does."""
NOTHING: After = {}
ON = (1,)
# Of each function (power, limit) in its registers: its value, what that reverts to, and the switch of that.
_VALUE = (slice(2, 4), slice(1, 2))
_RVRT = (slice(4, 6), slice(2, 3))
_ENA_RVRT = (8, 3)
_DEFAULTS = ((4, 5, 7, 8), (2, 3))
_MODE, _PERCENT = 1, 6
# ... and in their names.
_POINTS = (("WSet", "WSetRvrt", "WSetEnaRvrt"), ("WMaxLimPct", "WMaxLimPctRvrt", "WMaxLimPctEnaRvrt"))
POWER = 0


def power_w(words: Words, block: Sequence[int], full_w: float) -> float:
    """Return the power that an owner set (W; NaN: none, or none that can be read).

    Args:
        words: The registers of the function that sets a power, as he had set them; empty: none.
        block: All registers of model 704, for the scale factors.
        full_w: The device's own WMax (W), of which a power in percent is a share.
    """
    if not words:
        return math.nan
    image = laid(block, (words, ()))
    name, scale = ("WSetPct", full_w / 100.0) if _is_in_percent(words) else ("WSet", 1.0)
    try:
        value = read_value(model(704), name, image)
    except ModelError:
        return math.nan
    return value * scale if isinstance(value, (int, float)) else math.nan


def laid(block: Sequence[int], own: tuple[Words, Words]) -> Words:
    """Return a device's controls with an owner's settings laid in; what he had not set is switched off."""
    image = list(block)
    for (first, end), words in zip(FUNCTIONS, own, strict=True):
        image[first:end] = words or (0, *image[first + 1 : end])
    return tuple(image)


def after(block: Sequence[int], own: tuple[Words, Words], full_w: float) -> dict[str, Words]:
    """Return what is written, by point, so that an owner's settings hold once the timers have ended.

    Args:
        block: All registers of model 704, as last read: of what is not implemented there nothing is written.
        own: What he had set, in the registers of each function of `FUNCTIONS`; empty: nothing.
        full_w: The device's own WMax (W).
    """
    found: dict[str, Words] = {}
    for n, (words, names) in enumerate(zip(own, _POINTS, strict=True)):
        raw = _raw(n, words, block, full_w)
        if raw and all(_has(block, name) for name in names[1:]):
            found |= {names[1]: raw, names[2]: ON}
    return found


def _raw(n: int, words: Words, block: Sequence[int], full_w: float) -> Words:
    """Return the value to revert to; empty: none, or none that can be told."""
    if not words:
        return ()
    if n == POWER and _is_in_percent(words):
        watts = power_w(words, block, full_w)
        try:
            return () if math.isnan(watts) else write_value(model(704), "WSetRvrt", watts, block)
        except ModelError:
            return ()
    name = _POINTS[n][0]
    image = laid(block, (words, ()) if n == POWER else ((), words))
    return words[_VALUE[n]] if _has(image, name) else ()


def _is_in_percent(words: Words) -> bool:
    """Return whether an owner's power is a share of WMax; who implements no such point means watts."""
    return words[_MODE] == 0 and words[_PERCENT] != model(704).field("WSetPct").absent


def is_reverted(here: Words, own: Words, n: int) -> bool:
    """Return whether a function holds an owner's power as it was told to revert to, in another mode than he set it."""
    is_told = here[0] == 1 and here[_ENA_RVRT[n]] == 1 and here[_VALUE[n]] == here[_RVRT[n]]
    return n == POWER and bool(own) and own[_MODE] != here[_MODE] and is_told


def with_defaults(here: Words, own: Words, n: int) -> Words:
    """Return what an owner set anew, with his defaults for the end of a timer: there stand ours by now."""
    if not own:
        return here
    return tuple(own[at] if at in _DEFAULTS[n] else word for at, word in enumerate(here))


def keeps(block: Sequence[int], told: After) -> bool:
    """Return whether a device holds what it was told to revert to, by its controls as read back."""
    fields = ((model(704).field(name), raw) for name, raw in told.items())
    return all(tuple(block[field.offset : field.offset + field.size]) == raw for field, raw in fields)


def _has(block: Sequence[int], name: str) -> bool:
    return integer(model(704).field(name), block) is not None
