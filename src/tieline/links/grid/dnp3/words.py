"""Our words in DNP3's: quality to flags, and refusals to control statuses."""

from __future__ import annotations

from functools import cache

from py1815.control import CommandStatus
from py1815.objects import AnalogQuality

from tieline.resource.claim import Refusal
from tieline.resource.command import RejectWord
from tieline.resource.quality import Quality

_FLAGS = (
    (Quality.RESTART, AnalogQuality.RESTART),
    (Quality.COMM_LOST | Quality.NOT_TOPICAL, AnalogQuality.COMM_LOST),
    (Quality.REMOTE_FORCED | Quality.SUBSTITUTED, AnalogQuality.REMOTE_FORCED),
    (Quality.LOCAL_FORCED, AnalogQuality.LOCAL_FORCED),
)
_OFFLINE = Quality.INVALID | Quality.COMM_LOST | Quality.OUT_OF_SERVICE | Quality.BLOCKED
UNKNOWN_FLAGS = int(AnalogQuality.RESTART | AnalogQuality.COMM_LOST)

STATUS_OF: dict[RejectWord, CommandStatus] = {
    RejectWord.NONE: CommandStatus.SUCCESS,
    RejectWord.NOT_SELECTED: CommandStatus.NO_SELECT,
    RejectWord.ALREADY_SELECTED: CommandStatus.BLOCKED_OTHER_MASTER,
    RejectWord.INTERLOCK: CommandStatus.AUTOMATION_INHIBIT,
    RejectWord.LOCAL_MODE: CommandStatus.LOCAL,
    RejectWord.RANGE: CommandStatus.OUT_OF_RANGE,
    RejectWord.BLOCKED: CommandStatus.BLOCKED,
    RejectWord.NOT_AUTHORISED: CommandStatus.NOT_AUTHORIZED,
    RejectWord.NOT_SUPPORTED: CommandStatus.NOT_SUPPORTED,
    RejectWord.BUSY: CommandStatus.TOO_MANY_OPS,
    RejectWord.TIMEOUT: CommandStatus.TIMEOUT,
    RejectWord.HARDWARE: CommandStatus.HARDWARE_ERROR,
    RejectWord.TEST_ONLY: CommandStatus.NON_PARTICIPATING,
}
# Words that appear in a refusal's reason, most telling first.
_REASONS = (
    (("authori", "authenti", "ceiling", "principal", "level", "physics"), RejectWord.NOT_AUTHORISED),
    (("stale", "too old", "expired", "is over", "lease"), RejectWord.TIMEOUT),
    (("local",), RejectWord.LOCAL_MODE),
    (("select",), RejectWord.ALREADY_SELECTED),
    (("range", "finite", "beyond", "exceed", "above", "below", "empty"), RejectWord.RANGE),
    (("unknown", "no such", "support"), RejectWord.NOT_SUPPORTED),
    (("busy", "rate", "limiter", "too many"), RejectWord.BUSY),
)


@cache
def analog_flags(quality: Quality) -> int:
    """Return the DNP3 flag octet of an analog value of this quality (IEEE 1815-2012, 11.6)."""
    flags = _common_flags(quality)
    if quality & (Quality.OVERFLOW | Quality.OUT_OF_RANGE):
        flags |= AnalogQuality.OVER_RANGE
    if quality & Quality.INVALID:
        flags |= AnalogQuality.REFERENCE_ERR
    return flags


@cache
def binary_flags(quality: Quality) -> int:
    """Return the DNP3 flag octet of a binary value of this quality, without its state bit."""
    return _common_flags(quality)


def _common_flags(quality: Quality) -> int:
    flags = 0 if quality & _OFFLINE else int(AnalogQuality.ONLINE)
    for ours, theirs in _FLAGS:
        if quality & ours:
            flags |= int(theirs)
    return flags


def word_of(refusal: Refusal) -> RejectWord:
    """Return the reject word that fits a refusal; BLOCKED where its reason tells nothing."""
    if refusal.field in ("low", "high", "value", "low, high"):
        return RejectWord.RANGE
    reason = f"{refusal.reason} {refusal.field}".lower()
    for words, word in _REASONS:
        if any(each in reason for each in words):
            return word
    return RejectWord.BLOCKED


def status_of(refusal: Refusal) -> CommandStatus:
    """Return the control status that tells a DNP3 master of a refusal (IEEE 1815-2012, table 11-7)."""
    return STATUS_OF[word_of(refusal)]
