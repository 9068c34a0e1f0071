"""The story of a day: award, dispatch, a DNO's override over DNP3, an opt-out, restore on cancel, settlement.

Everything in the result is computed from what happened; nothing is written down beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tieline.contract.eligibility import eligible
from tieline.desk.offering import TYPICAL_SHARE, day_ahead_offers
from tieline.desk.ports import Ask, Granted, Offer
from tieline.ids import derive
from tieline.node.relief import Dno, choose, firmly, loading_of
from tieline.node.stage import POOL, PRODUCT, Stage
from tieline.node.timing import Timing
from tieline.plan.forecast import like_days
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.simulate.iso.prices import ZONE, prices_of
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, market_day

OFFER_HOURS = 6
LEAST_CALLED_W = 500.0


@dataclass
class Told:
    """What the storyteller saw, for the report."""

    offers: list[Offer] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    override: dict[str, Any] = field(default_factory=dict)
    opt_out: dict[str, Any] = field(default_factory=dict)
    restored: dict[str, Any] = field(default_factory=dict)
    feeder_limit: list[tuple[int, float, float]] = field(default_factory=list)
    says: list[str] = field(default_factory=list)


class Story:
    """Plays the day on a stage."""

    def __init__(self, stage: Stage, timing: Timing, say: Callable[[str], None]) -> None:
        self.stage, self.timing, self.told = stage, timing, Told()
        self.dno = Dno(stage, (timing.override_ns - 15 * MINUTE_NS, timing.cancel_ns + 10 * MINUTE_NS))
        self._say = say

    async def play(self) -> Told:
        """Play to the end of its timing; scenes that lie after it are left out."""
        stage, when = self.stage, self.timing
        await stage.scada.connect()
        stage.node.start()
        stage.node.supervisor.keep("dno", self.dno.watch)
        scenes = [
            (when.offer_ns, self._offer),
            (when.disturb_ns, self._disturb),
            (when.override_ns, self._override),
            (when.opt_out_ns, self._opt_out),
            (when.cancel_ns, self._cancel),
            (when.calm_ns, self._calm),
        ]
        for instant_ns, scene in scenes:
            if instant_ns >= when.ends_ns:
                break
            await self._until(instant_ns)
            await scene()
        await self._until(when.ends_ns)
        await stage.node.beat()
        return self.told

    async def _until(self, instant_ns: int) -> None:
        wait_s = (instant_ns - self.stage.node.clock.now_ns()) / SECOND_NS
        if wait_s > 0:
            await self.stage.sleep(wait_s)

    def _note(self, text: str) -> None:
        self.told.says.append(text)
        self._say(text)

    # --- scenes ----------------------------------------------------------------------------------------------------

    async def _offer(self) -> None:
        """Offer the dearest hours of tomorrow by a forecast from past prices; then try to sell the same again."""
        stage = self.stage
        past = _past_prices(stage)
        forecast = like_days(past, 24)
        fleet, world = stage.territory.fleet, stage.world
        power_w = np.where(stage.eligible, _typical_up(stage), 0.0)
        energy_wh = np.where(fleet.energy_wh > 0, 0.0, np.inf)
        rows = np.concatenate(
            [world.rows[Kind.BATTERY], world.rows[Kind.MECHANICAL_STORAGE], world.rows[Kind.HYBRID_SITE]]
        )
        energy_wh[rows] = 0.8 * fleet.energy_wh[rows]
        day = market_day(stage.day, ZONE)
        hours = range(day.start_ns, day.end_ns, HOUR_NS)
        stage.node.cycle.pools[POOL].forecast = dict(zip(hours, forecast.tolist(), strict=False))
        price = stage.node.cycle.pools[POOL].price
        begins_ns = day.start_ns + HOUR_NS * np.arange(len(forecast))
        forecast = np.where(begins_ns < self.timing.sold_from_ns, -np.inf, forecast)
        offers = day_ahead_offers(POOL, PRODUCT, day, forecast, power_w, energy_wh, price, OFFER_HOURS)
        answers = await stage.node.desk.offer(offers)
        self.told.offers = [o for o, answer in zip(offers, answers, strict=True) if answer is None]
        watts = sum(s.power_w for s in offers[0].segments) if offers else 0.0
        self._note(f"offered {watts / 1e6:.2f} MW in {len(offers)} hours")
        await self._sell_twice(offers)
        await self._enrol_backup()

    async def _sell_twice(self, offers: list[Offer]) -> None:
        """Offer all that the pool has once more, as reserve: the book must refuse it, naming who holds it."""
        if not offers:
            return
        ledger, first = self.stage.node.state.ledger, offers[0]
        whole_w = ledger.capacities[POOL].up_w
        again = Offer(
            derive("offer-id", "again", first.id), POOL, "SPIN", first.start_ns, first.end_ns,
            (type(first.segments[0])(whole_w, 10.0),),
        )  # fmt: skip
        (answer,) = await self.stage.node.desk.offer([again])
        self._refusal("second sale", POOL, answer)

    async def _enrol_backup(self) -> None:
        """Ask whether a backup generator may serve: the rule of the jurisdiction answers."""
        t = self.stage.territory
        row = int(t.by_kind[Kind.BACKUP_GENERATOR][0])
        verdict = eligible(Kind.BACKUP_GENERATOR.value, str(t.fuel[row]), t.jurisdiction, "energy")
        answer = None
        if not verdict.is_eligible:
            answer = Refusal(
                verdict.says, "fuel", str(t.fuel[row]), verdict.source, rule=f"{verdict.rule} {verdict.version}"
            )
        self._refusal("backup generator", t.fleet.id_of(row), answer)

    def _refusal(self, what: str, subject: str, answer: Refusal | None) -> None:
        if answer is not None:
            self.told.refusals.append(
                {
                    "what": what, "subject": subject, "reason": answer.reason, "field": answer.field,
                    "value": answer.value, "limit": answer.limit, "holder": answer.holder, "rule": answer.rule,
                }
            )  # fmt: skip
            self._note(f"refused: {what}: {answer}")

    async def _disturb(self) -> None:
        count = self.stage.link.disturb(True)
        if count:
            self._note(f"{count} devices went out of reach")

    async def _calm(self) -> None:
        self.stage.link.disturb(False)

    async def _override(self) -> None:
        """The DNO limits the feeder that gives most for its size, over DNP3, select before operate."""
        stage = self.stage
        state, pool = stage.node.state, stage.node.cycle.pools[POOL]
        feeder, model = choose(stage, pool.share_w)
        rows = state.fleet.leaves(feeder)
        before_w = float(stage.world.power_w[rows].sum())
        share_w = float(pool.share_w[rows].sum())
        high_w = np.floor(min(before_w, float(state.base_w[rows].sum()) + 0.25 * share_w))
        low_w = -float(np.ceil(state.fleet.max_absorb_w[rows].sum()))
        target_w, bound_w = _asked(stage, rows), _limit(stage, rows)
        group = stage.group_at(feeder)
        at_ns, statuses = await firmly(stage, lambda: stage.scada.limit(group, low_w, high_w, select=True))
        self.told.override = {
            "who": "dno", "how": "DNP3 select before operate", "when_ns": at_ns, "feeder": feeder, "model": model,
            "loading_before": loading_of(self.dno, feeder, at_ns - 6 * MINUTE_NS, at_ns),
            "limit_high_w": high_w, "power_before_w": before_w, "pool_share_before_w": share_w,
            "answered_ns": stage.node.clock.now_ns(),
            "status": [status.name for status in statuses], "target_before_w": target_w, "bound_before_w": bound_w,
        }  # fmt: skip
        self.told.feeder_limit.append((at_ns, float(high_w), 0.0))
        self._note(f"the DNO limits {feeder} to {high_w / 1e3:.0f} kW over DNP3: {statuses[0].name}")

    async def _opt_out(self) -> None:
        """The owner whose battery is called most takes it out (another device where none is): free within 60 s."""
        stage = self.stage
        pool = stage.node.cycle.pools[POOL]
        stores = stage.world.rows[Kind.BATTERY]
        given_w = np.abs(pool.share_w[stores])
        called = stores if given_w.max(initial=0.0) > LEAST_CALLED_W else np.arange(len(pool.share_w))
        row = int(called[np.argmax(np.abs(pool.share_w[called]))])
        resource = stage.territory.fleet.id_of(row)
        now_ns = stage.node.clock.now_ns()
        ask = Ask(
            "owner:" + resource, "owner", "opt-out", Level.OWNER_NEED, resource, Quantity.CONNECT, ClaimKind.GATE, 1,
            now_ns, FOREVER_NS, because="the owner opted out",
        )  # fmt: skip
        before_w = float(stage.world.power_w[row])
        answer = await stage.node.desk.ask(ask)
        await stage.sleep(59)
        self.told.opt_out = {
            "resource": resource, "when_ns": now_ns, "granted": isinstance(answer, Granted), "power_before_w": before_w,
            "target_after_60s_w": float(stage.link.target_w[row]), "row": row,
            "device_was_in_reach": bool(~stage.link.is_lost[row] & ~stage.link.ignores[row]),
        }  # fmt: skip
        self._note(f"{resource} opted out")

    async def _cancel(self) -> None:
        """The DNO cancels; what held before holds again."""
        if not self.told.override:
            return
        stage, feeder = self.stage, self.told.override["feeder"]
        rows = stage.node.state.fleet.leaves(feeder)
        held = stage.node.state.claims.explain(int(rows[0]), stage.node.clock.now_ns())
        before = {"limit_high_w": _limit(stage, rows), "limits": len(held.limits), "target_w": _asked(stage, rows)}
        group = stage.group_at(feeder)
        at_ns, statuses = await firmly(stage, lambda: stage.scada.cancel(group))
        await stage.sleep(5)
        after = {
            "limit_high_w": _limit(stage, rows), "target_w": _asked(stage, rows),
            "limits_of_override": _limits_by(stage, feeder, "dnp3:dno"),
        }  # fmt: skip
        self.told.feeder_limit.append((at_ns, float("inf"), 0.0))
        since_ns = int(self.told.override["when_ns"]) + 6 * MINUTE_NS
        self.told.override["loading_held"] = loading_of(self.dno, feeder, since_ns, at_ns)
        self.told.restored = {
            "when_ns": at_ns, "status": [status.name for status in statuses], "before": before, "after": after,
            "held_before_override_w": self.told.override["target_before_w"],
            "bound_before_override_w": self.told.override["bound_before_w"], "feeder": feeder,
        }  # fmt: skip
        self._note(f"the DNO released {feeder}")


def _asked(stage: Stage, rows: np.ndarray[Any, np.dtype[np.int32]]) -> float:
    settled = stage.node.state.claims.arbitrate(stage.node.clock.now_ns(), rows)
    named = settled.winner >= 0
    return float(settled.target_w[named].sum())


def _limit(stage: Stage, rows: np.ndarray[Any, np.dtype[np.int32]]) -> float:
    _, high_w = stage.node.state.claims.bounds_above(rows, Level.MARKET, stage.node.clock.now_ns())
    return float(high_w.sum())


def _limits_by(stage: Stage, group: str, source: str) -> int:
    """Return how many live claims of a source stand on a group's devices for that group."""
    batches = stage.node.state.claims.batches()
    return sum(int(alive.sum()) for batch, alive in batches if batch.scope == group and batch.source == source)


def _past_prices(stage: Stage) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the hourly prices of the five days before the market day, oldest first: what was known at the gate."""
    from datetime import timedelta

    days = [stage.day - timedelta(days=back) for back in range(5, 0, -1)]
    return np.concatenate([list(prices_of("HB_NORTH", day).values())[:24] for day in days])


def _typical_up(stage: Stage) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what each row can be expected to give at the dear hours (W): ratings of stores, part of the loads'."""
    fleet, rows = stage.territory.fleet, stage.world.rows
    typical = np.zeros(len(fleet))
    for kind, share in TYPICAL_SHARE.items():
        typical[rows[kind]] = share * stage.territory.rated_w[rows[kind]]
    return typical
