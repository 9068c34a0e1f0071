"""What an operator is told of one device: who holds it, what stops it, and where its meter says otherwise."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk.authority import decide_kill
from tieline.node.read_fleet import FAILED, SLOW, states
from tieline.node.read_resource import SETTLES_NS, resource_view
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import HELD, Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, iso


def told(stage: Stage1, resource: str = "r0"):
    return resource_view(stage.state, {}, resource, {0: "devices"}, stage.clock.ns)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"kind": ClaimKind.SET, "value": -4_000.0}, "Told -4.0 kW, measured 2.0 kW"),
        ({"kind": ClaimKind.LIMIT, "low": -5_000.0, "high": -4_000.0}, "Told -4.0 kW at most, measured 2.0 kW"),
        ({"kind": ClaimKind.LIMIT, "low": 4_000.0, "high": 5_000.0}, "Told 4.0 kW at least, measured 2.0 kW"),
        ({"kind": ClaimKind.LIMIT, "low": -5_000.0, "high": 2_000.0}, ""),
    ],
)
def test_a_device_that_read_its_command_back_and_does_not_follow_it_is_told_by_its_meter(ask: dict, words: str) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        fleet = stage.state.fleet
        fleet.power_w[:] = 2_000.0
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", **ask))
        await stage.desk.settle()
        stage.devices.report(stage.devices.batches[-1], Stage.DONE, -4_000.0)
        await stage.desk.flush()
        assert told(stage).mismatch == "", "it is given its time"
        stage.clock.ns += SETTLES_NS + 5 * SECOND_NS
        assert told(stage).mismatch == "", "a meter that was read before proves nothing"
        fleet.taken_at_ns[:] = stage.clock.ns
        assert told(stage).mismatch == words

    asyncio.run(play())


def test_who_limits_a_device_that_runs_by_itself_and_that_the_kill_switch_is_pressed_are_told() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        assert told(stage).controls == "Nobody commands it: it runs freely within its limits"
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", ClaimKind.LIMIT, low=-1_000.0, high=1_000.0))
        await stage.desk.settle()
        freely = "Nobody commands it: it runs freely within its limits, those of grid emergency (level 2)"
        assert told(stage).controls == freely
        entries, _ = decide_kill(stage.state, True, "ada", ("ada",), stage.clock.ns)
        await stage.desk.commit(entries)
        assert (
            told(stage).controls == freely + "; the kill switch is pressed: only what leads to the safe power is sent"
        )
        assert told(stage, "feeder-1").controls.endswith("only what leads to the safe power is sent")

    asyncio.run(play())


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (
            (2_500.0, 5_000.0),
            "Nobody names a power: it is told to give at least 2.5 kW, by operating envelope (level 3)",
        ),
        ((-5e3, -1_000.0), "Nobody names a power: it is told to draw at least 1.0 kW, by operating envelope (level 3)"),
    ],
)
def test_a_limit_that_makes_a_device_give_or_draw_does_not_read_as_running_freely(
    ends: tuple[float, float], words: str
) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        low_w, high_w = ends
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=low_w, high=high_w))
        assert told(stage).controls == words

    asyncio.run(play())


def test_the_target_of_a_device_is_what_holds_it_and_says_whose_it_is() -> None:
    """Held at -10 W by its limit it read "Target 500 W", its base, beside "held at -10 W"."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        stage.state.base_w[:] = 500.0
        free = told(stage).scada
        assert (free.target_w, free.target_of, free.mode) == (500.0, "its base: nobody names one", "free running")
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-4_900.0, high=5_000.0))
        await stage.desk.settle()
        stage.devices.report(stage.devices.batches[-1], Stage.DONE, -10.0, HELD)
        await stage.desk.flush()
        held = told(stage)
        assert "held drawing 10 W" in held.controls
        assert (held.scada.target_w, held.scada.target_of) == (-10.0, "its limit holds it there")
        assert held.scada.mode == "held by its limit"
        await stage.desk.ask(stage.ask("dso", Level.UTILITY, "r0", value=-4_000.0, program="q"))
        await stage.desk.settle()
        named, both = told(stage).scada, told(stage, "feeder-1").scada
        assert (named.target_w, named.target_of, named.mode) == (-4_000.0, "its command's", "dispatched")
        assert (both.target_w, both.target_of) == (-3_500.0, "1 of 2 devices by command, the others' base")

    asyncio.run(play())


@pytest.mark.parametrize("kind", [Kind.BATTERY, Kind.WATER_HEATER])
def test_a_device_that_its_limit_leaves_one_power_alone_does_not_read_as_running_freely(kind: Kind) -> None:
    """Its default lies within the limit and moves nothing, so that no limit holds a target back; it can't move."""

    async def play() -> None:
        stage = Stage1(fleet_of([kind]))
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-0.0, high=0.0))
        assert told(stage).controls == "Nobody names a power: it is held at 0.0 kW, by operating envelope (level 3)"

    asyncio.run(play())


def test_a_device_that_may_draw_nothing_and_draws_is_told_nought_without_a_sign() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER]))
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-0.0, high=0.0, end_ns=stage.clock.ns + HOUR_NS)
        )
        await stage.desk.settle()
        stage.clock.ns += 10 * MINUTE_NS
        stage.state.fleet.power_w[:], stage.state.fleet.taken_at_ns[:] = -4_400.0, stage.clock.ns
        assert told(stage).mismatch == "Told 0.0 kW at least, measured -4.4 kW"

    asyncio.run(play())


def test_a_device_that_comes_back_in_turn_says_when_and_is_neither_failed_nor_at_odds_with_what_it_was_told() -> None:
    """One water heater of thirty draws again before its turn: no limit holds it any more."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * 30))
        fleet, state = stage.state.fleet, stage.state
        state.base_w[:] = -1_500.0
        end_ns = stage.clock.ns + 3 * HOUR_NS
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=0.0, high=9e9, end_ns=end_ns)
        )
        await stage.desk.settle()
        stage.devices.report(stage.devices.batches[-1], Stage.DONE)
        await stage.desk.flush()
        stage.clock.ns += 10 * MINUTE_NS
        fleet.power_w[:], fleet.taken_at_ns[:] = -4_400.0, stage.clock.ns
        assert (states(state, {}, stage.clock.ns) == FAILED).all()
        assert told(stage).mismatch == "Told 0.0 kW at least, measured -4.4 kW" and not told(stage).waits
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        await stage.desk.settle()
        stage.clock.ns += MINUTE_NS
        (waiting,) = np.nonzero(state.release_at_ns > stage.clock.ns)
        assert len(waiting) > 20
        for row in waiting.tolist():
            view = told(stage, f"r{row}")
            assert view.waits == f"it comes back in turn, at {iso(int(state.release_at_ns[row]))}"
            assert view.mismatch == ""
        assert not (states(state, {}, stage.clock.ns)[waiting] == FAILED).any()

    asyncio.run(play())


def test_a_device_that_does_not_respond_says_how_often_it_stood_still_and_until_when_that_counts() -> None:
    stage = Stage1(fleet_of([Kind.BATTERY] * 2))
    responses, last_ns = stage.state.responses, stage.clock.ns - 8 * HOUR_NS
    responses.strikes[:], responses.last_ns[:] = (2, 1), last_ns
    assert (states(stage.state, {}, stage.clock.ns) == SLOW).tolist() == [True, False]
    silent = told(stage).unresponsive
    assert silent is not None
    assert (silent.strikes, silent.last_ns, silent.until_ns) == (2, last_ns, last_ns + DAY_NS)
    assert told(stage, "r1").unresponsive is None
    stage.clock.ns = silent.until_ns
    assert told(stage).unresponsive is None


def test_a_device_that_a_limit_alone_holds_is_said_to_be_held_until_it_names_a_power_or_ends() -> None:
    async def play() -> None:
        stage, held_w = Stage1(fleet_of([Kind.BATTERY])), []

        async def limit(low: float, native: str, observed_w: float) -> str:
            ask = stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=low, high=9e9, end_ns=hour_ns)
            await stage.desk.ask(ask)
            await stage.desk.settle()
            if stage.devices.batches[-1] is not reported[-1]:
                reported.append(stage.devices.batches[-1])
                stage.devices.report(reported[-1], Stage.DONE, observed_w, native)
                await stage.desk.flush()
            held_w.append(float(stage.state.commands.held_now_w(stage.clock.ns)[0]))
            stage.clock.ns += 60 * SECOND_NS
            return told(stage).controls

        reported, hour_ns = [None], stage.clock.ns + HOUR_NS
        assert await limit(-4_000.0, HELD, 3_000.0) == (
            "Nobody names a power: it is held giving 3,000 W to keep its limit, as it can be told a power, but no limit "
            "on what it draws, that of operating envelope (level 3)"
        )
        assert stage.replayed(stage.ledger).commands.held_w.tolist() == [3_000.0]
        assert "to keep its limit" in await limit(-2_000.0, HELD, 3_000.0)
        await stage.desk.ask(
            stage.ask("market", Level.MARKET, "r0", value=500.0, end_ns=stage.clock.ns + 90 * SECOND_NS)
        )
        await limit(-2_000.0, "", 500.0)
        stage.clock.ns += 60 * SECOND_NS
        await limit(-2_000.0, HELD, 3_000.0)
        await limit(-9e9, "", np.nan)
        assert held_w == pytest.approx([3_000.0, 3_000.0, np.nan, 3_000.0, np.nan], nan_ok=True)
        assert told(stage).controls.startswith("Nobody commands it: it runs freely within its limits")

    asyncio.run(play())
