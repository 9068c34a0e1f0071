"""The story of a day: award, dispatch, a DNO's override over DNP3, an opt-out, restore on cancel, settlement.

Everything in the result is computed from what happened; nothing is written down beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import Ask, Granted, Offer, Segment
from tieline.desk.state import LiveAsk
from tieline.errors import LinkDown, PeerError
from tieline.ids import derive
from tieline.node.crew import Crew, Disobeyed
from tieline.node.market_days import offered, offers_of, offers_told
from tieline.node.relief import PAUSE_S, TRIES, Dno, firmly, is_taken, loading_of
from tieline.node.stage import POOL, Stage
from tieline.node.timing import Timing
from tieline.node.works import LIMIT, REASON, Held, choose, grant_of, held_of, on_way_w, spare_of, taken_of, told_of
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, floor_ns

Rows = NDArray[np.int32]
LEAST_CALLED_W = 500.0
LOOKS = 8
"""So often, ten seconds apart, the DNO looks whether its points tell of all that report nothing: a beat and more."""
AWARDED_NS = 4 * MINUTE_NS
"""How long after an auction clears its awards are fetched and planned."""
_REPORTING, _TOTAL = 6, 15
"""AI of the binding's layout: how many devices of a group report, and how many there are."""
STEADY = (Kind.BATTERY, Kind.MECHANICAL_STORAGE, Kind.INTERRUPTIBLE_LOAD)
"""Kinds that go back to a known power when they are let go, likeliest first.

A store stands by, a load that owes nothing draws what it draws in the world left alone; a process line that waited is
at another step of its recipe than that one's.
"""


@dataclass
class Told:
    """What the storyteller saw, for the report."""

    offers: list[Offer] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    override: dict[str, Any] = field(default_factory=dict)
    opt_out: dict[str, Any] = field(default_factory=dict)
    restored: dict[str, Any] = field(default_factory=dict)
    says: list[str] = field(default_factory=list)
    spare: dict[str, Any] = field(default_factory=dict)
    spares: list[tuple[int, float, float]] = field(default_factory=list)
    """When, each minute under the limit, what nobody was asked for then though he could have given it, and what slow
    ones that are called have yet to give (W)."""
    unplayed: dict[str, str] = field(default_factory=dict)
    """Scenes that could not be played, and why."""
    disobeyed: dict[int, Disobeyed] = field(default_factory=dict)
    """Who was found to feed in though it took the limit, by row."""
    held: tuple[Held, Held, Held] | None = None
    """What held the devices under the override: before it came, under it, and after it was cancelled."""


class Story:
    """Plays the day on a stage."""

    def __init__(self, stage: Stage, timing: Timing, say: Callable[[str], None]) -> None:
        self.stage, self.timing, self.told = stage, timing, Told()
        self.dno = Dno(stage, (timing.override_ns - 15 * MINUTE_NS, timing.cancel_ns + 10 * MINUTE_NS))
        self.crew = Crew(stage, self._note)
        self.told.disobeyed = self.crew.disobeyed
        self._held: Held | None = None
        self._say = say

    async def play(self) -> Told:
        """Play to the end of its timing; scenes that lie after it are left out."""
        stage, when = self.stage, self.timing
        await self._dial()
        stage.node.start()
        stage.node.supervisor.keep("dnp3 dno", stage.scada.attend)
        stage.node.supervisor.keep("dno", self.dno.watch)
        stage.node.after_beat.append(self.dno.prepare)
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
            try:
                await scene()
            except (LinkDown, PeerError) as error:  # one scene that fails takes none of the others with it
                self._unplayed(scene.__name__, str(error))
        await self._until(when.ends_ns)
        await stage.node.beat()
        return self.told

    async def _dial(self) -> None:
        """Let the control room call its outstation, again while a large territory is still busy with its start.

        Raises:
            LinkDown: It has no answer at the last try.
        """
        for turn in range(TRIES):
            try:
                await self.stage.scada.connect()
                return
            except LinkDown as error:
                if turn == TRIES - 1:
                    count = len(self.stage.node.state.fleet)
                    raise LinkDown(
                        f"the control room had no answer from its outstation in {TRIES} calls ({error}): this machine "
                        f"is too slow or too busy for {count:,} devices at this speed: give fewer, or a lower --speed"
                    ) from error
            await self.stage.sleep(PAUSE_S * self.stage.speed)

    async def _until(self, instant_ns: int) -> None:
        wait_s = (instant_ns - self.stage.node.clock.now_ns()) / SECOND_NS
        if wait_s > 0:
            await self.stage.sleep(wait_s)

    def _note(self, text: str) -> None:
        self.told.says.append(text)
        self._say(text)

    def _unplayed(self, scene: str, why: str) -> None:
        name = scene.removeprefix("_")
        self.told.unplayed[name] = why
        self._note(f"the scene {name} was not played: {why}")

    # --- scenes ----------------------------------------------------------------------------------------------------

    async def _offer(self) -> None:
        """Offer the dearest hours of tomorrow by a forecast from past prices; then try to sell the same again."""
        stage = self.stage
        # Of an auction that waited for a late desk no hour is left that begins before its awards are here.
        left_ns = -floor_ns(-(stage.iso.clears_ns(stage.day) + AWARDED_NS), HOUR_NS)
        offers = offers_of(stage, stage.day, max(self.timing.sold_from_ns, left_ns))
        answers = await offered(stage, stage.day, offers)
        self.told.offers = [o for o, answer in zip(offers, answers, strict=True) if answer is None]
        refused = [str(answer) for answer in answers if answer is not None]
        last = f"; {len(refused)} refused: {refused[0]}" if refused else ""
        self._note(f"{offers_told(self.told.offers)}{last}")
        await self._sell_twice(offers)
        await self._sell_backup()

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

    async def _sell_backup(self) -> None:
        """Offer the power of a backup generator as energy: the desk must refuse it by the rule of its jurisdiction."""
        t = self.stage.territory
        row = int(t.by_kind[Kind.BACKUP_GENERATOR][0])
        engine, start_ns = t.fleet.id_of(row), floor_ns(self.stage.node.clock.now_ns(), HOUR_NS) + HOUR_NS
        offer = Offer(
            derive("offer-id", "backup", engine), engine, "ENERGY", start_ns, start_ns + HOUR_NS,
            (Segment(float(t.fleet.max_inject_w[row]), 500.0),),
        )  # fmt: skip
        (answer,) = await self.stage.node.desk.offer([offer])
        self._refusal("backup generator", engine, answer)

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
        """The DNO holds a feeder's generation at 0 W for works on it, over DNP3, select before operate."""
        stage, pool = self.stage, self.stage.node.cycle.pools[POOL]
        site = choose(stage, pool.share_w)
        rows = stage.node.state.fleet.leaves(site.group)
        self._held = held_of(stage, rows)
        feeder_rows = stage.node.state.fleet.leaves(site.feeder)
        before_w, giving_w = float(stage.world.power_w[feeder_rows].sum()), _giving(stage, rows)
        share_w = float(np.maximum(pool.share_w[rows], 0.0).sum())
        group, absorb_w = stage.group_at(site.group), float(np.ceil(stage.node.state.fleet.max_absorb_w[rows].sum()))
        stage.watched = rows
        at_ns, statuses = await firmly(stage, lambda: stage.scada.limit(group, -absorb_w, 0.0, select=True))
        if not is_taken(statuses):
            stage.watched = None
            words = ", ".join(status.name for status in statuses)
            self._unplayed("override", f"the outstation answers the limit on {site.feeder} with {words}")
            return
        self.told.override = {
            "who": "dno", "how": "DNP3 select before operate", "when_ns": at_ns, "granted_ns": at_ns,
            "feeder": site.feeder, "group": site.group, "model": site.model, "reason": REASON, "limit": LIMIT,
            "limit_high_w": 0.0, "devices": len(rows), "power_before_w": before_w, "giving_before_w": giving_w,
            "pool_share_before_w": share_w, "loading_before": self._loading(site.feeder, at_ns - 6 * MINUTE_NS, at_ns),
            "loading_foreseen": site.loading_foreseen, "answered_ns": stage.node.clock.now_ns(),
            "status": [status.name for status in statuses],
        }  # fmt: skip
        if (live := self._live(site.group)) is not None:  # an operate before this one may have come through
            self.told.override["granted_ns"] = live.asked_ns
        self._note(f"the DNO lets nothing on {site.feeder} feed in, for works, over DNP3: {statuses[0].name}")
        await self._isolate(group, rows)
        self.crew.begin(rows)
        await self._spare(site.group)
        stage.node.after_beat.append(self._look)

    async def _isolate(self, group: int, rows: Rows) -> None:
        """Let the crew open the isolators of devices that nobody can reach, where the DNO's own points tell of some.

        No lease ever reached those, so only a hand holds what they do alone (R16); who is in reach is left to us.
        Crews make sure of every source behind them before they begin (EN 50110-1, 6.2). Points are as old as the last
        beat: where a device fell silent since, what the DNO is told waits for the next one; the hand does not.
        """
        stage = self.stage
        for _ in range(LOOKS):
            reporting, total = (stage.scada.analog(group + at) for at in (_REPORTING, _TOTAL))
            out = rows[(stage.node.state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0]
            silent = 0.0 if reporting is None or total is None else total - reporting
            out = out[:0] if silent <= 0.0 else out
            stage.link.isolate(out)
            if len(out) == silent:
                break
            await stage.sleep(max(10.0, 0.1 * stage.speed))
        self.told.override |= {
            "reporting": reporting, "reporting_of": total,
            "isolated": [stage.node.state.fleet.id_of(int(row)) for row in out],
        }  # fmt: skip
        if len(out):
            self._note(f"{len(out)} of {total:.0f} devices report nothing: the crew opens their isolators")

    async def _spare(self, group: str) -> None:
        """Note, once the desk has moved the pool's shares, what others could still have given then."""
        stage = self.stage
        live = self._live(group)
        if live is None:
            self._unplayed("spare", f"the limit on {group} was withdrawn before it could be followed")
            return
        _, granted = grant_of(stage.node.journal.of_kind("AskGranted"), group, live.asked_ns)
        for _ in range(100):
            if taken_of(stage, granted.claim) is not None:
                self.told.spare = spare_of(stage)
                return
            await stage.sleep(0.1 * stage.speed)  # of the wall's clock, as a machine takes its own time

    async def _look(self) -> None:
        """Note once a minute, until the limit is cancelled, what others could still give."""
        now_ns, seen = self.stage.node.clock.now_ns(), self.told.spares
        if not self.told.restored and (not seen or now_ns - seen[-1][0] >= MINUTE_NS):
            seen.append((now_ns, float(spare_of(self.stage)["spare_w"]), on_way_w(self.stage)))

    def _live(self, group: str) -> LiveAsk | None:
        return next((live for key, live in self.stage.node.state.asks.items() if key[2] == group), None)

    async def _opt_out(self) -> None:
        """An owner in reach whose device is called takes it out; a minute later its own meter is read.

        One of `STEADY` where one is called, as its base is known to the watt. Read at its terminals, as what has
        reached the desk of a device that is polled may be half a minute old.
        """
        stage, link = self.stage, self.stage.link
        pool, fleet, state = stage.node.cycle.pools[POOL], stage.territory.fleet, stage.node.state
        gives_w = np.abs(stage.world.power_w - state.base_w)
        reach = ~link.is_lost & ~link.ignores & ~state.opted_out & (gives_w > LEAST_CALLED_W)
        # A grid operator's limit goes on whatever the owner wishes: one that it presses would show nothing.
        rows = np.arange(len(fleet), dtype=np.int32)
        low_w, high_w = state.claims.limits_above(rows, Level.OWNER_NEED, stage.node.clock.now_ns())
        free = (low_w <= -fleet.max_absorb_w) & (high_w >= fleet.max_inject_w)
        reach &= free if (reach & free).any() else reach
        called_w = np.where(reach, np.abs(pool.share_w), 0.0)
        row = next(
            (
                int(rows[np.argmax(called_w[rows])])
                for rows in (stage.world.rows[kind] for kind in STEADY)
                if called_w[rows].max(initial=0.0) > LEAST_CALLED_W
            ),
            int(np.argmax(called_w if called_w.max(initial=0.0) > LEAST_CALLED_W else np.abs(pool.share_w))),
        )
        resource, now_ns = fleet.id_of(row), stage.node.clock.now_ns()
        ask = Ask(
            "owner:" + resource, "owner", "opt-out", Level.OWNER_NEED, resource, Quantity.CONNECT, ClaimKind.GATE, 1,
            now_ns, FOREVER_NS, because="the owner opted out",
        )  # fmt: skip
        before_w, base_w = float(stage.world.power_w[row]), float(state.base_w[row])
        answer = await stage.node.desk.ask(ask)
        # Over sockets a machine takes its own time: three seconds of the wall's clock, however fast the story runs.
        waited_s = 59.0 if stage.speed == 1.0 else max(59.0, 3.0 * stage.speed)
        await stage.sleep(waited_s)
        if stage.twin is not None:  # the desk's own base may have been learnt while nobody could reach the device
            base_w = float(stage.twin.power_w()[row])
        ends_w = state.claims.limits_above(np.array([row], np.int32), Level.OWNER_NEED, stage.node.clock.now_ns())
        base_w = float(np.clip(base_w, ends_w[0][0], ends_w[1][0]))
        is_steady = row in np.concatenate([stage.world.rows[kind] for kind in STEADY])
        self.told.opt_out = {
            "resource": resource, "when_ns": now_ns, "granted": isinstance(answer, Granted), "power_before_w": before_w,
            "base_w": base_w, "target_after_60s_w": float(link.target_w[row]),
            "power_after_60s_w": stage.power_now_w(row), "row": row,
            "rating_w": float(stage.territory.rated_w[row]),
            "waited_s": waited_s,
            "was_called": bool(called_w[row] > LEAST_CALLED_W), "is_steady": bool(is_steady),
            "device_was_in_reach": bool(~link.is_lost[row] & ~link.ignores[row]),
        }  # fmt: skip
        self._note(f"{resource} opted out")

    async def _cancel(self) -> None:
        """The DNO cancels; what held before holds again."""
        if not self.told.override:
            return
        stage, feeder, group = self.stage, self.told.override["feeder"], self.told.override["group"]
        rows = stage.node.state.fleet.leaves(group)
        under, giving_w = held_of(stage, rows), _giving(stage, rows)
        at = stage.group_at(group)
        try:
            at_ns, statuses = await firmly(stage, lambda: stage.scada.cancel(at))
        finally:
            self.crew.end()  # crews close their isolators, whatever the line does
        await stage.sleep(5)
        assert self._held is not None
        self.told.held = (self._held, under, held_of(stage, rows))
        since_ns = int(self.told.override["when_ns"]) + 6 * MINUTE_NS
        self.told.override |= {
            "loading_held": self._loading(feeder, since_ns, at_ns), "giving_held_w": giving_w,
            "loading_without_pool": loading_of(self.dno, feeder, since_ns, at_ns, alone=True),
            "disobeyed": [each.told() for each in self.crew.disobeyed.values()],
        }  # fmt: skip
        self.told.restored = {
            "when_ns": at_ns, "status": [status.name for status in statuses], "feeder": feeder, "group": group,
            "limits_of_override": _limits_by(stage, group, "dnp3:dno"),
            **{name: told_of(held) for name, held in zip(("before", "under", "after"), self.told.held, strict=True)},
        }  # fmt: skip
        self._note(f"the DNO released {feeder}")

    def _loading(self, feeder: str, begins_ns: int, ends_ns: int) -> float | None:
        return loading_of(self.dno, feeder, begins_ns, ends_ns)


def _giving(stage: Stage, rows: Rows) -> float:
    """Return what rows feed in now (W); what another takes makes none of it good."""
    return float(np.maximum(stage.world.power_w[rows], 0.0).sum())


def _limits_by(stage: Stage, group: str, source: str) -> int:
    """Return how many live claims of a source stand on a group's devices for that group."""
    batches = stage.node.state.claims.batches()
    return sum(int(alive.sum()) for batch, alive in batches if batch.scope == group and batch.source == source)
