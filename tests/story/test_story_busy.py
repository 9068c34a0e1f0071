"""An ISO that is busy as the story offers is asked again before its gate, and a desk that is late is waited for."""

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from sampled import some
from tieline.errors import LinkDown
from tieline.node.demo import quiet
from tieline.node.market_days import offered, offers_of
from tieline.node.stage import raise_stage, scenario
from tieline.node.story import Story
from tieline.node.timing import living, timing
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.prices import ZONE
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, from_ns

SCENES = ("disturb_ns", "override_ns", "opt_out_ns", "cancel_ns", "calm_ns")


@pytest.mark.parametrize(("busy_s", "is_sold"), [(0.0, True), (75.0, True), (1_000.0, False)])
def test_what_was_offered_to_a_busy_iso_is_offered_again_until_its_gate(
    tmp_path: Path, busy_s: float, is_sold: bool
) -> None:
    quiet()
    what = scenario("cloud")
    when = timing(date.fromisoformat(what.day), 90 * MINUTE_NS)

    async def main(loop: VirtualLoop) -> tuple[float, float, int]:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 40, 1, clock, supervisor, tmp_path)
            faults, plain = stage.iso._faults, stage.iso._faults.menu
            stage.node.start()
            gate_s = (stage.iso.gate_ns(stage.day) - clock.now_ns()) / SECOND_NS
            if busy_s:
                faults.menu = structs.replace(plain, busy=1.0)
                loop.call_later(busy_s, lambda: setattr(faults, "menu", plain))
            try:
                answers = await offered(stage, stage.day, offers_of(stage, stage.day, when.sold_from_ns))
                sold = sum(answer is None for answer in answers)
            except LinkDown:
                sold = 0
            return (clock.now_ns() - when.opens_ns) / SECOND_NS, gate_s, sold

    took_s, gate_s, sold = run_virtual(main, Network())
    assert took_s <= gate_s
    assert (sold > 0) is is_sold
    assert not is_sold or busy_s <= took_s <= busy_s + 40.0


@pytest.mark.parametrize(("late_min", "first_hour"), some([(17, 14), (90, 16), (0, 14), (25, 15)]))
def test_a_desk_that_is_ready_late_sells_the_hours_that_are_left_and_is_called_for_them(
    tmp_path: Path, late_min: int, first_hour: int
) -> None:
    """A busy machine raises the territory while the clock runs: the first auction was over, and its day without a call."""
    quiet()
    what, said = scenario("heatwave"), list[str]()
    when = replace(living(date.fromisoformat(what.day), 4 * HOUR_NS), **dict.fromkeys(SCENES, FOREVER_NS))

    async def main(loop: VirtualLoop) -> tuple[list[int], list[int], int]:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 40, 1, clock, supervisor, tmp_path, story_ns=when.opens_ns)
            await asyncio.sleep(60.0 * late_min)
            story = Story(stage, when, said.append)
            await story.play()
            called = sum(len(answer) for answer in stage.node.state.instructions.values())
            hours = [from_ns(offer.start_ns).astimezone(ZONE).hour for offer in story.told.offers]
            awards = [from_ns(award.start_ns).astimezone(ZONE).hour for award in stage.node.state.awards.values()]
            await stage.node.group.drained()
        return sorted(hours), sorted(awards), called

    offered_hours, awarded_hours, called = run_virtual(main)
    assert len(offered_hours) == 6 and min(offered_hours) == first_hour, said
    assert awarded_hours and set(awarded_hours) <= set(offered_hours)
    assert called > 0
