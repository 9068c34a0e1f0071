"""How long an ISO of 118 buses takes to commit a day and to dispatch five minutes, pandapower's optimum beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.bench import _pandapower
from tieline.simulate.clearing import Case, Dispatcher, Market, case118

Floats = NDArray[np.float64]

BAR = 5.0
UNIT = "s"
WHAT = (
    "unit commitment of the IEEE 118-bus case over 24 hours, to a proven gap of 0.2 %; dispatch of five minutes beside"
)
BAR_DISPATCH_S, BAR_GAP, BAR_OFF = 0.010, 2e-3, 1e-6
TURNS, MOVES_FRAC = 3, 0.01


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Commit a day, live it with loads that wander, and hold dispatch against pandapower's optimal flow."""
    case, took = case118(), []
    market = Market(case)
    for _ in range(1 if quick else TURNS):
        market = Market(case)
        began = time.perf_counter()
        ahead = market.day_ahead(gap=BAR_GAP)
        took.append(time.perf_counter() - began)
    value = float(np.median(took))
    progress(f"{len(market.offers)} plants, 24 hours: {value:.2f} s, gap {ahead.gap:.2%}")
    steps = _steps(market, case, seed, 24 if quick else 288)
    progress(f"five minutes: {1e3 * float(np.median(steps)):.2f} ms, at worst {1e3 * max(steps):.2f} ms")
    peer: dict[str, Any] = _beside(case, 2 if quick else 8, seed) if _pandapower.is_there() else {}
    if peer:
        progress(f"pandapower: {1e3 * peer['peer_value']:.0f} ms, {peer['off_peer']:.1e} apart")
    dispatch_s = float(np.median(steps))
    is_proven = ahead.gap <= BAR_GAP
    is_exact = peer.get("off_peer", 0.0) <= BAR_OFF
    return {
        "value": round(value, 3), "ok": bool(value <= BAR and dispatch_s <= BAR_DISPATCH_S and is_proven and is_exact),
        "gap": ahead.gap, "bar_gap": BAR_GAP, "plants": len(market.offers), "buses": len(case.load_mw), "hours": 24,
        "dispatch_s": round(dispatch_s, 6), "dispatch_worst_s": round(max(steps), 6), "bar_dispatch_s": BAR_DISPATCH_S,
        **peer,
    } | ({} if peer else {"peers_left_out": "pandapower: run `make peers-grid` in a checkout"})  # fmt: skip


def _steps(market: Market, case: Case, seed: int, count: int) -> list[float]:
    """Return how long each step of a day took, every bus's load off by a part of its own."""
    rng, took = np.random.default_rng(seed), []
    for k in range(count):
        drawn = case.at_mw((k + 0.5) / 12.0) * (1.0 + MOVES_FRAC * rng.standard_normal(len(case.load_mw)))
        began = time.perf_counter()
        market.step(drawn_mw=drawn)
        took.append(time.perf_counter() - began)
    return took


def _beside(case: Case, count: int, seed: int) -> dict[str, Any]:
    """Return pandapower's time for a dispatch, and how far cost and prices are apart, as a part of themselves."""
    rng = np.random.default_rng(seed)
    offers = [
        replace(offer, low_mw=0.0, steps=((offer.low_mw, offer.steps[0][1]), *offer.steps)) for offer in case.offers
    ]
    tight = replace(case, network=replace(case.network, rating_mw=0.7 * case.network.rating_mw))
    fracs = rng.uniform(0.9, 1.1, count)
    answers = _pandapower.answers([_pandapower.optimal(tight, offers, float(frac)) for frac in fracs])
    dispatcher, ours, off, full = Dispatcher(tight.network, offers), [], 0.0, 0
    for frac, answer in zip(fracs, answers, strict=True):
        began = time.perf_counter()
        cleared = dispatcher.clear(frac * case.load_mw)
        ours.append(time.perf_counter() - began)
        cost = [
            sum(offer.cost_per_h(mw) for offer, mw in zip(offers, powers, strict=True))
            for powers in (cleared.power_mw, [answer["given_mw"][offer.bus] for offer in offers])
        ]
        price = np.array([answer["price"][name] for name in tight.network.bus_name])
        off = max(off, abs(cost[0] - cost[1]) / cost[0], float(np.abs(price / cleared.price - 1.0).max()))
        full += int((cleared.branch_price > 1e-6).sum())
    peer_s = float(np.median([answer["seconds"] for answer in answers]))
    return {
        "peer": "pandapower 3.5.6, rundcopp", "peer_value": round(peer_s, 4), "peer_unit": "s a dispatch",
        "ratio": round(peer_s / float(np.median(ours)), 1), "off_peer": off, "full_branches": full,
    }  # fmt: skip
