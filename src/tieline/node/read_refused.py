"""The alarms of what a market asked that was refused: it may count on it, and somebody has to speak to it."""

from __future__ import annotations

from tieline.desk.refused import Refused
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.ids import derive
from tieline.node.alarm_names import is_acknowledged
from tieline.node.read_own_way import Found
from tieline.node.read_words import kw
from tieline.times import iso

SAYS = {
    "unread": "is declined by link {link}, which can't read it",
    "changed": "of link {link} came again with other contents, which are not followed",
}
TELLS = {
    "unread": (
        "Nothing of it is followed; the market may count on it all the same, and charge what lacks",
        "Tell the market's operator what can't be read; then acknowledge this",
    ),
    "changed": (
        "It is followed as it was answered; the market may count on what it says now, and charge what lacks",
        "Tell the market's operator that a correction needs a batch UID of its own; then acknowledge this",
    ),
}


def refused_by_us(state: DeskState, now_ns: int) -> Found:
    """Return an alarm for each batch and award of which something was refused and whose time is not over.

    What stands in its place ends it, and so does whoever acknowledges it: nothing is to be measured of it, and who
    spoke to the market has done all that is to be done.
    """
    found: Found = []
    for key, one in state.refused.items():
        name = derive("alarm", "refused", *key)
        if now_ns >= one.end_ns or now_ns < one.at_ns or is_acknowledged(name, one.at_ns, state.alarms):
            continue
        word, asked = ("Award", "award") if one.is_award else ("Dispatch batch", "instructions")
        alarm = AlarmView(
            name, 2, one.asked[0].pool, f"{word} {one.name} is refused: {_asks(one)}: {one.refusal}",
            "The market may count on it all the same, and charge what lacks",
            f"Tell the market's operator, or have the {asked} mended; then acknowledge this", 900, "/market", 1,
            one.at_ns,
        )  # fmt: skip
        found.append((alarm, 0))
    return found + _disputed_by_us(state, now_ns) + _unread_by_us(state, now_ns)


def _disputed_by_us(state: DeskState, now_ns: int) -> Found:
    """Return an alarm for each award that binds us at a price that our offer rules out.

    Its time being over doesn't end it, as it is settled after that: whoever acknowledges it does, or the market by
    telling the award at a price that the offer allows.
    """
    found: Found = []
    for name, one in state.disputed.items():
        alarm_id, award = derive("alarm", "disputed", name), one.asked[0]
        if now_ns < one.at_ns or is_acknowledged(alarm_id, one.at_ns, state.alarms):
            continue
        alarm = AlarmView(
            alarm_id, 2, award.pool, f"Award {name} is taken, its price disputed: {_asks(one)}: {one.refusal}",
            "It binds us all the same, and is settled at its price",
            f"Dispute it with the market's operator by its record {one.record}; then acknowledge this", 900, "/market",
            1, one.at_ns,
        )  # fmt: skip
        found.append((alarm, 0))
    return found


def _unread_by_us(state: DeskState, now_ns: int) -> Found:
    """Return an alarm for each batch that a link could not read, or that came again with other contents.

    It stands until it can be read, its time is over, or somebody acknowledges it.
    """
    found: Found = []
    for word, kept in (("unread", state.unread), ("changed", state.changed)):
        for (link, uid), one in kept.items():
            name, end_ns, why = derive("alarm", word, link, uid), one.fact.end_ns, one.fact.refusal
            if (end_ns and now_ns >= end_ns) or now_ns < one.at_ns or is_acknowledged(name, one.at_ns, state.alarms):
                continue
            title = f"Dispatch batch {uid} {SAYS[word].format(link=link)}: {why}"
            alarm = AlarmView(name, 2, link, title, *TELLS[word], 900, "/links", 1, one.at_ns)
            found.append((alarm, 0))
    return found


def _asks(one: Refused) -> str:
    first, more = one.asked[0], len(one.asked) - 1
    text = f"{kw(first.power_w)} of {first.product[:64]} from {iso(first.start_ns)} to {iso(first.end_ns)}"
    return f"{text} and {more} more" if more else text
