"""What an event's preview tells of whom enrolments, its program or contracts keep from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tieline.desk.agreed import first_of
from tieline.desk.engine_calls import engines_left_out
from tieline.desk.event_contracts import barred_by, left_out
from tieline.desk.programs import ProgramEvent
from tieline.desk.state import DeskState


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many devices are kept from an event by what, those aside whose owners opted out.

    `devices`: why, by device, of the first thousand of those that are `unenrolled` or `unfit`. `unagreed_why`: what
    bars most contracts.
    """

    unenrolled: int = 0
    unfit: int = 0
    unagreed: int = 0
    unagreed_why: str = ""
    devices: dict[str, str] = field(default_factory=dict)


NOBODY_LEFT_OUT = LeftOut()


def told_left_out(state: DeskState, event: ProgramEvent, now_ns: int) -> LeftOut:
    """Return whom enrolments, the kinds of its program and contracts keep from an event by what is known now."""
    barred, engines = barred_by(state, event, now_ns), engines_left_out(state, event, now_ns)
    if barred is None:
        return LeftOut(devices=engines) if engines else NOBODY_LEFT_OUT
    stays, why = ~state.opted_out[barred.rows], first_of(barred.refused)
    unenrolled, unfit, unagreed = (
        int((mask & stays).sum()) for mask in (barred.unenrolled, barred.unfit, barred.unagreed)
    )
    return LeftOut(
        unenrolled, unfit, unagreed, "" if why is None else f"{why.reason} ({why.rule})",
        {**engines, **{name: f"{one.reason} ({one.rule})" for name, one in left_out(state, event, barred, now_ns)}},
    )  # fmt: skip
