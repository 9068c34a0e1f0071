"""A feeder that stands within both ends of a limit as it comes stays there, whoever obeys; others come within."""

from __future__ import annotations

import asyncio
import random

import pytest
from strays_stage import IGNORES, OBEYS, One, Street

from sampled import rare, some
from tieline.resource.identity import Kind

KINDS = (Kind.BATTERY, Kind.BATTERY, Kind.PV, Kind.INTERRUPTIBLE_LOAD, Kind.EV_CHARGER, Kind.THERMOSTAT)
SPANS = {
    Kind.BATTERY: (-50, 50), Kind.PV: (0, 50), Kind.INTERRUPTIBLE_LOAD: (-50, 0), Kind.EV_CHARGER: (-50, -14),
    Kind.THERMOSTAT: (-50, -50),
}  # fmt: skip
BEATS = 40


def drawn_ones(drawn: random.Random, hows: tuple[str, ...]) -> list[One]:
    """Return batteries, and devices of all kinds, that do anything; each obeys, or not, as drawn."""
    kinds = [Kind.BATTERY] * drawn.randint(1, 5) + drawn.choices(KINDS, k=drawn.randint(1, 7))
    return [One(kind, drawn.choice(hows), 100.0 * drawn.randint(*SPANS[kind])) for kind in kinds]


def slack_w(street: Street) -> float:
    """Return what a limit may be broken by: 3 W, and half a per cent of what devices are rated."""
    fleet = street.state.fleet
    return 3.0 + 0.005 * float((fleet.max_inject_w + fleet.max_absorb_w).sum())


@pytest.mark.parametrize("seed", [*some(range(120), 60), *(173, 264, 334, 387), *(rare(s) for s in range(400, 600))])
def test_who_stands_within_both_ends_as_a_limit_comes_stays_within_from_the_first_beat_on(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        street = Street(drawn_ones(drawn, (OBEYS, OBEYS, IGNORES)))
        stands_w = float(street.does_w.sum())
        room_w = 100.0 * drawn.randint(6, 60), 100.0 * drawn.randint(6, 60)
        low_w, high_w = stands_w - drawn.choice([0.0, 1.0, 1.0]) * room_w[0], stands_w + room_w[1]
        if drawn.random() < 0.5:
            low_w, high_w = stands_w - room_w[0], stands_w + drawn.choice([0.0, 1.0]) * room_w[1]
        await street.limit(low_w, high_w)
        net_w = await street.play(BEATS)
        slack = slack_w(street)
        assert low_w - slack <= min(net_w), (low_w, high_w, net_w)
        assert max(net_w) <= high_w + slack, (low_w, high_w, net_w)

    asyncio.run(play())


def test_batteries_are_not_told_to_draw_beside_loads_that_draw_what_they_would_draw_alone() -> None:
    """A feeder at -8 kW between -12 and -8 kW went to -22.9 kW at once, as its stores were told to draw 8 by themselves."""

    async def play() -> None:
        batteries = [
            One(Kind.BATTERY, how, wish_w) for how, wish_w in ((OBEYS, -700.0), (IGNORES, 0.0), (OBEYS, -300.0))
        ]
        loads = [One(Kind.INTERRUPTIBLE_LOAD, OBEYS, -2_000.0), One(Kind.INTERRUPTIBLE_LOAD, IGNORES, -5_000.0)]
        street = Street(batteries + loads)
        await street.limit(-12_000.0, -8_000.0)
        net_w = await street.play(BEATS)
        assert -12_000.0 - slack_w(street) <= min(net_w)
        assert max(net_w) <= -8_000.0 + slack_w(street)

    asyncio.run(play())
