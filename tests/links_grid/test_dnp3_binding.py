"""The DNP3 binding as a setting: what is crooked is refused with its path; and what silence does to a session."""

import asyncio
import re
import tomllib
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import pytest
from dnp3_desk import START_NS, SmallDesk
from dnp3_room import BINDING, NORTH, Room, play
from hypothesis import given, settings
from hypothesis import strategies as st
from py1815 import link
from py1815.control import CommandStatus

from tieline.errors import ConfigError
from tieline.links.grid.dnp3.binding import Binding, Group, Peer, check_binding, load_binding
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.dnp3.words import analog_flags, binary_flags, status_of, word_of
from tieline.resource.admission import Principal, admit
from tieline.resource.claim import Claim, ClaimKind, Quantity, Refusal
from tieline.resource.command import RejectWord
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import SECOND_NS

TEXT = """
address = 10
keep_alive_s = 30
[[groups]]
resource = "pool:north"
at = 0
max_inject_w = 5e6
max_absorb_w = 4e6
[[peers]]
name = "dno"
address = 1
hosts = ["127.0.0.1"]
may_read = ["pool:north"]
may_operate = ["pool:north"]
ceiling = "GRID_EMERGENCY"
"""


def test_a_binding_is_read_from_toml_with_the_layout_that_it_leaves_out() -> None:
    binding = load_binding(TEXT)
    assert binding.groups == (Group("pool:north", 0, 5e6, 4e6),)
    assert binding.lease_s == 60  # 2 x keep-alive
    assert msgspec.structs.replace(binding, keep_alive_s=3600).lease_s == 900  # at most 15 min (rule R3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("address = 10", "adress = 10"), "adress"),
        (("address = 1\n", "address = 10\n"), r"\$\.peers\[0\]\.address = 10"),
        (("address = 1\n", "address = 65520\n"), "65520"),
        (('may_read = ["pool:north"]', 'may_read = ["pool:x"]'), "pool:x"),
        (("GRID_EMERGENCY", "SAFETY"), "SAFETY"),
        (("max_inject_w = 5e6", "max_inject_w = -1"), r"\$\.groups\[0\]"),
        (("keep_alive_s = 30", "keep_alive_s = 0"), "keep_alive_s"),
        (("at = 0", "at = 65530"), r"\$\.groups\[0\]\.at = 65530: pool:north would .* give 0 to 65520, or spread"),
        (("address = 10", "address ="), "dnp3 binding"),
    ],
)
def test_a_crooked_binding_is_refused_naming_what_is_wrong(change: tuple[str, str], words: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(ConfigError, match=words):
        load_binding(TEXT.replace(*change, 1))


def test_two_groups_on_the_same_indices_are_refused() -> None:
    groups = (Group("a", 0, 1.0, 1.0), Group("b", 3, 1.0, 1.0))
    with pytest.raises(ConfigError, match="share an index"):
        check_binding(Binding(address=10, groups=groups, peers=(Peer("dno", 1),)))


@pytest.mark.parametrize("quality", [*Quality, Quality.GOOD])
def test_online_is_shown_only_of_values_that_the_source_stands_for(quality: Quality) -> None:
    offline = Quality.INVALID | Quality.COMM_LOST | Quality.OUT_OF_SERVICE | Quality.BLOCKED
    assert bool(analog_flags(quality) & 1) is not bool(quality & offline)
    assert bool(binary_flags(quality) & 1) is not bool(quality & offline)
    assert analog_flags(quality) < 0x80 and binary_flags(quality) < 0x20


@given(st.text(max_size=60), st.text(max_size=10))
def test_every_refusal_has_a_word(reason: str, field: str) -> None:
    assert word_of(Refusal(reason, field)) is not RejectWord.NONE


def test_an_idle_master_is_asked_for_its_link_status_and_keeps_its_latch_by_answering() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        await asyncio.sleep(1800)  # the master asks nothing for half an hour, but its link layer answers
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6)
        assert room.outstation.health().peers == 1

    play(scene)


def test_a_master_gone_without_a_word_is_hung_up_on_after_its_lease() -> None:
    async def scene(room: Room) -> None:
        silent = await room.master()
        reader, writer = await asyncio.open_connection("tieline", 20000)
        writer.write(silent.sent[-1])  # takes the association over, then says nothing and answers nothing
        await asyncio.sleep(1)
        assert room.outstation.health().peers == 1
        await asyncio.sleep(130)
        assert room.outstation.health().peers == 0
        asked = link.FrameReader().feed(await reader.read())
        assert any(frame.function == 9 and frame.is_primary for frame in asked)  # 9: request link status

    play(scene)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=80), max_size=6), st.integers(0, 40), st.integers(0, 255))
def test_no_bytes_take_the_outstation_down(noise: list[bytes], at: int, value: int) -> None:
    """Noise bare and in good frames, and a request with a byte changed; a real master then still polls."""

    async def main(loop: VirtualLoop) -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            desk = SmallDesk()
            made = Dnp3Outstation(BINDING, desk, VirtualClock(loop, START_NS), supervisor)
            await made.start()
            await made.publish(desk.snapshot())
            room: Any = Room.__new__(Room)
            room.supervisor, room.outstation, room.desk = supervisor, made, desk
            first = await room.master()
            await first.limit(NORTH, -1e6, 1e6)
            asks = len(desk.asks)
            spoiled = bytearray(first.sent[-1])
            spoiled[at % len(spoiled)] ^= value or 1
            framed = [link.build(0xC4, 10, 1, b"\xc0" + chunk) for chunk in noise]
            for chunk in (*noise, bytes(spoiled), *framed):
                _, writer = await asyncio.open_connection("tieline", 20000)
                writer.write(chunk)
                await asyncio.sleep(0.2)
                writer.close()
            again = await room.master()
            assert again.analog(NORTH) == 1e6
            assert len(desk.asks) == asks
            assert re.fullmatch("|closed by the master|master .* is on no list", made.health().last_error)
            assert not supervisor.failures
            await made.stop()

    run_virtual(main)


CLAIM = Claim(
    id="c",
    source="dnp3:dno",
    principal="dno",
    program="limit",
    level=Level.ENVELOPE,
    resource="pool:north",
    quantity=Quantity.P,
    kind=ClaimKind.SET,
    start_ns=START_NS,
    created_ns=START_NS,
    because="a test",
    end_ns=START_NS + 60 * SECOND_NS,
)
DNO = Principal("dno", Level.ENVELOPE, frozenset({"pool:north"}), max_power_w=5e6)


@pytest.mark.parametrize(
    ("claim", "principal", "tagged_ns", "status"),
    [
        ({}, None, None, CommandStatus.NOT_AUTHORIZED),
        ({"level": Level.GRID_EMERGENCY}, DNO, None, CommandStatus.NOT_AUTHORIZED),
        ({"resource": "pool:south"}, DNO, None, CommandStatus.NOT_AUTHORIZED),
        ({"value": 9e6}, DNO, None, CommandStatus.OUT_OF_RANGE),
        ({"value": float("nan")}, DNO, None, CommandStatus.OUT_OF_RANGE),
        ({"kind": ClaimKind.LIMIT, "low": 2.0, "high": 1.0}, DNO, None, CommandStatus.OUT_OF_RANGE),
        ({}, DNO, START_NS - 31 * SECOND_NS, CommandStatus.TIMEOUT),
        ({"end_ns": START_NS + 1, "start_ns": START_NS - 9}, DNO, None, CommandStatus.TIMEOUT),
    ],
)
def test_refusals_of_admission_become_the_status_that_fits(
    claim: dict[str, Any], principal: Principal | None, tagged_ns: int | None, status: CommandStatus
) -> None:
    now_ns = START_NS + 5 if "end_ns" in claim else START_NS
    refusal = admit(
        msgspec.structs.replace(CLAIM, **claim), principal, now_ns=now_ns, last_version=0, tagged_ns=tagged_ns
    )
    assert refusal is not None
    assert status_of(refusal) is status


def test_the_layout_shows_points_of_the_catalogue() -> None:
    catalogue = tomllib.loads((files("tieline.resource") / "points.toml").read_text())
    shown = {point.shows for point in (*BINDING.analog, *BINDING.binary)}
    assert {key for key in shown if not key.startswith("@")} <= catalogue.keys()
