"""The page of DNP3 indices says what the wire does: its indices, its sequence, its statuses; and the desk fills them."""

import re
from collections.abc import Iterator
from pathlib import Path

from dnp3_room import NORTH, OK, Room, play
from py1815.control import CommandStatus
from py1815.master.controls import analog, binary
from test_grid_desk import START_NS, batteries

from tieline.fleet.grouped import Groups
from tieline.links.grid.dnp3 import association, panel
from tieline.links.grid.dnp3.binding import Binding
from tieline.links.grid.dnp3.page import STATUSES, markdown
from tieline.links.grid.dnp3.words import STATUS_OF
from tieline.node.snapshot import snapshot_of

PAGE = markdown(Binding(0, (), ()))


def indices(kind: str) -> set[int]:
    """Return the first column of a table of the page."""
    return {int(row[1]) for row in re.finditer(r"^\| (\d+) \|", section(f"({kind})\n"), re.MULTILINE)}


def section(head: str) -> str:
    return PAGE.split(head, 1)[1].split("\n## ", 1)[0]


def test_the_inputs_of_the_page_are_those_that_a_poll_finds_and_no_others() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.poll()
        assert {at for at in range(50) if dno.analog(NORTH + at) is not None} == indices("AI")
        assert {at for at in range(50) if dno.binary(NORTH + at) is not None} == indices("BI")

    play(scene)


def test_the_outputs_of_the_page_are_those_that_can_be_operated_and_no_others() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        for kind, control in (("AO", lambda at: analog(at, 0)), ("BO", lambda at: binary(at, False))):
            known = {at for at in range(50) if await dno.operate([control(at)]) != [CommandStatus.NOT_SUPPORTED]}
            assert known == indices(kind)

    play(scene)


def test_an_analog_output_alone_answers_success_and_limits_nothing_until_its_switch_is_on() -> None:
    low, high = (int(at) for at in re.findall(r"AO (\d+) \(low\) and AO (\d+) \(high\)", PAGE)[0])
    (switch,) = (int(at) for at in re.findall(r"^2\. BO (\d+) LATCH_ON", PAGE, re.MULTILINE))

    async def scene(room: Room) -> None:
        dno = await room.master()
        assert await dno.operate([analog(NORTH + low, -1e6), analog(NORTH + high, 2e6)]) == [OK, OK]
        assert room.desk.asks == []
        assert await dno.operate([binary(NORTH + switch, True)]) == [OK]
        assert [(ask.low, ask.high) for ask in room.desk.asks] == [(-1e6, 2e6)]

    play(scene)


def test_every_status_that_an_answer_can_carry_is_explained() -> None:
    def named() -> Iterator[str]:
        for module in (association, panel):
            yield from re.findall(r"CommandStatus\.([A-Z_]+)", Path(str(module.__file__)).read_text(encoding="utf-8"))

    assert {CommandStatus[name] for name in named()} | set(STATUS_OF.values()) <= set(STATUSES)
    assert all(f"| {status.value} | `{status.name}` |" in PAGE for status in STATUSES)


def test_the_desk_fills_every_point_that_the_layout_shows() -> None:
    """A point that no snapshot holds would be 0 with COMM_LOST for ever, whatever the page says of it."""
    state = batteries()
    (view,) = snapshot_of(state, Groups(state.fleet, ["pool:north"]), START_NS).groups
    shown = {one.shows for one in (*Binding(0, (), ()).analog, *Binding(0, (), ()).binary)}
    assert {key for key in shown if not key.startswith("@")} <= view.values.keys()
