"""Alarms of devices that go their own way: beyond a limit, at what was taken back, or under somebody else's control.

A feeder's trouble is told where many of its devices have it. These are told of a single device as well: a limit that is
ignored is one that nobody keeps, and two controllers of one device end in a tug-of-war. Whether it acknowledged the
limit or never answered, its meter says that it doesn't keep it. Of what has no meter, as some plugs, nothing does: that
it never answered is told of a feeder with many such, and no limit counts on it. One that refused a limit said so
itself, and needs no meter for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.deaf import unlinked
from tieline.desk.disobedience import KEEPS_NS, beyond, holds_on, is_read_back, soon_ns
from tieline.desk.state import REFUSED, SILENT, TOOK, UNSAID, DeskState
from tieline.desk.views import AlarmView
from tieline.ids import derive
from tieline.node.members_since import Members
from tieline.node.read_alarms import Since
from tieline.node.read_fleet import FAILED, NORMAL, Order
from tieline.node.read_wait import is_unreleased
from tieline.resource.command import Stage
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS, iso

LASTS_NS = MINUTE_NS
NAMED = 3
_TOOK = (int(Stage.ACCEPTED), int(Stage.EXECUTING), int(Stage.DONE))
Found = list[tuple[AlarmView, int]]
Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Way:
    """A way in which devices go their own, in the operator's words."""

    key: str
    title: str
    consequence: str
    action: str


IGNORES = Way(
    "ignoring", "Beyond a limit that it took", "The limit is not kept there, though it was acknowledged",
    "Call the site, or have it switched off there",
)  # fmt: skip
UNANSWERED = Way(
    "unanswered", "Beyond a limit that it never confirmed", "The limit is not kept there, and its link has no answer",
    "See whether commands reach it, then call the site",
)  # fmt: skip
REFUSES = Way(
    "refusing", "Refuses a limit", "The limit is not kept there: its link answered that it was not taken",
    "See why in Links and at the device, or have it switched off there",
)  # fmt: skip
HOLDS_ON = Way(
    "holding", "Holds what was taken back", "It was let go, and its link reads our last setting there still",
    "See whether it lets go by its own timer, then release it at the site",
)  # fmt: skip
FOREIGN = Way(
    "foreign", "Does what somebody else set, or goes back by itself", "Our command does not hold there",
    "See who else writes to it, and which of you is to",
)  # fmt: skip


def own_way(
    state: DeskState,
    order: Order,
    cells: NDArray[np.uint8],
    told: Sequence[AlarmView],
    above: str,
    since: Since,
    now_ns: int,
    members: Members,
) -> Found:
    """Return an alarm for each way in which devices go their own, and for how long they must.

    It names those who have done so longest, and since when.

    Args:
        state: The desk's.
        order: Which feeder each row is of.
        cells: State of each row, without what a dead link explains.
        told: The alarms of devices that are told by feeder: whom those count is not told twice.
        above: The group over all feeders.
        since: When each standing alarm began, by id.
        now_ns: Now.
        members: Remembers since when each device goes which way.
    """
    ids = {alarm.id for alarm in told}
    is_told = np.array([derive("alarm", "failed", name) in ids for name in order.names], np.bool_)[order.group_of]
    is_told |= derive("alarm", "failed", above) in ids
    heard = (state.fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0
    alone = heard & ~(is_told & (cells == FAILED))
    ignores, unanswered, refuses = _ignoring(state, alone & (cells != NORMAL), now_ns)
    # An owner who opted out at the device is local too, and by right.
    foreign = state.claims.is_local & ~state.opted_out & heard & (state.commands.valid_until_ns > now_ns)
    # Its release runs out as every command does, and what it holds stays there.
    rows = np.arange(len(state.fleet), dtype=np.int32)
    holds = alone & (holds_on(state, rows) | is_unreleased(state, rows)) & ~foreign
    ways = (
        (IGNORES, ignores), (UNANSWERED, unanswered), (REFUSES, refuses), (HOLDS_ON, holds), (FOREIGN, foreign),
    )  # fmt: skip
    return [alarm for way, mask in ways for alarm in _told(state, way, mask, since, now_ns, members)]


def _ignoring(state: DeskState, among: Rows, now_ns: int) -> tuple[Rows, Rows, Rows]:
    """Return which rows of some took a limit and stand beyond it, which do without an answer, and which refused it.

    A limit binds those as well that don't respond to calls, or whose owner opted out of them. A command on its way says
    neither by itself: a share that moves is told anew at each beat, and what never answered is told again. But who had
    the time to keep a limit, and answered nothing of what it was told in that, never confirmed it: where each command
    takes the place of one on its way, or is offered to a peer that never fetches it, none ends without an answer.
    """
    rows = np.arange(len(state.fleet), dtype=np.int32)
    stands, answers = among & beyond(state, rows, now_ns), state.commands.answers(rows)
    waits = (state.commands.stage < int(Stage.ACCEPTED)) & (answers == UNSAID) & ~unlinked(state, rows)
    refuses = (answers == REFUSED) & (stands | (among & _unmetered(state, now_ns)))
    return stands & (answers == TOOK), stands & ((answers == SILENT) | waits), refuses


def _unmetered(state: DeskState, now_ns: int) -> Rows:
    """Return which rows were told a limit that holds still, and tell no power that would show that they keep it."""
    fleet, commands = state.fleet, state.commands
    binds = (commands.low_w > -fleet.max_absorb_w) | (commands.high_w < fleet.max_inject_w)
    mask: Rows = binds & (commands.valid_until_ns > now_ns) & np.isnan(fleet.power_w)
    return mask


def takes_and_ignores(state: DeskState, now_ns: int) -> Rows:
    """Return which rows acknowledged their command, as taken or read back as something else, and stand beyond it.

    What was measured before that, or sooner after it than a device of its kind follows, tells nothing of it: a command
    may be heard long after it was told, where it was lost once or its line is busy. A renewal is no time anew.
    """
    fleet, commands, rows = state.fleet, state.commands, np.arange(len(state.fleet), dtype=np.int32)
    took: Rows = np.isin(commands.stage, _TOOK) | is_read_back(state, rows)
    took_ns = np.where(commands.took_ns >= commands.since_ns, commands.took_ns, commands.at_ns)
    had_time = fleet.taken_at_ns - took_ns >= np.minimum(soon_ns(state, rows), KEEPS_NS)
    return took & had_time & beyond(state, rows, now_ns)


def _told(state: DeskState, way: Way, mask: Rows, since: Since, now_ns: int, members: Members) -> Found:
    name = derive("alarm", way.key)
    stands = members.look(name, np.flatnonzero(mask).tolist(), now_ns)
    if not stands:
        return []
    names = [state.fleet.id_of(row) for row in stands][:NAMED]
    more = f" and {len(stands) - NAMED} more" if len(stands) > NAMED else ""
    each = ", ".join(f"{one} since {iso(at_ns)}" for one, at_ns in zip(names, stands.values(), strict=False))
    alarm = AlarmView(
        name, 2, names[0], f"{way.title}: {', '.join(names)}{more}", f"{way.consequence}: {each}", way.action, 900,
        f"/resource/{names[0]}", len(stands), since.get(name, now_ns),
    )  # fmt: skip
    return [(alarm, LASTS_NS)]
