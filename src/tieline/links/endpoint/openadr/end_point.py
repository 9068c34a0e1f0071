"""One end-point of the link: whether it is there, the life of its command, and its readings.

Three states that are often taken for one are kept apart: **delivered** (the VEN read the event, or its callback took
it: SENT), **acknowledged** (the VEN reported on the event: ACCEPTED) and **observed** (its telemetry shows the power:
DONE). An event that was delivered and not acknowledged in time is withdrawn and ends UNCONFIRMED, so that it can't take
effect unnoticed later; one that was acknowledged and is not observed stays, and ends UNCONFIRMED too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tieline.desk.ports import Intake, LastHop, Session
from tieline.errors import PeerError
from tieline.links.endpoint.openadr.payloads import FAULTS, OPTED_OUT, read_values, taken_ns
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import TERMINAL, RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.times import SECOND_NS, Clock

Thing = dict[str, Any]
_NOT_LOST = ("is_local",)


@dataclass
class Live:
    """The newest command of a row."""

    batch: CommandBatch
    at: int
    stage: Stage = Stage.QUEUED
    event: str = ""
    setpoint_w: float = math.nan
    accepted_ns: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it has its terminal stage."""
        return self.stage in TERMINAL


class Carrier(Protocol):
    """The link, as one of its end-points sees it."""

    name: str
    speed: float
    clock: Clock
    intake: Intake
    last_hop: LastHop | None
    settings: OpenAdrSettings
    sent: int
    acknowledged: int
    observed: int
    unconfirmed: int
    rejected: int
    received: int
    unread: int
    delays_s: list[float]
    last_error: str

    def carry(self, end_point: EndPoint, live: Live) -> None:
        """Publish the event of a command, and withdraw the one before it."""
        ...

    def withdraw(self, event: str) -> None:
        """Delete an event."""
        ...

    def session_changed(self) -> None:
        """Look at all sessions again."""
        ...


class EndPoint:
    """One row."""

    def __init__(self, row: int, name: EndPointName, carrier: Carrier) -> None:
        self.row, self.name = row, name
        self.session = Session.DOWN
        self.stamp = (-1, -1)
        self.live: Live | None = None
        self._carrier = carrier
        self._last: dict[str, float] = {}
        self._taken_ns, self._heard_ns = 0, 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- is it there? ----------------------------------------------------------------------------------------------

    def hear(self, at_least: Session) -> None:
        """Note that its client spoke, and how far its association has come by that."""
        self._heard_ns = self._carrier.clock.now_ns()
        if "lost" not in self._timers:
            self._after("lost", self._carrier.settings.lost_s, self._look)
        if self.session < at_least:
            self.session = at_least
            self._carrier.session_changed()

    def _look(self) -> None:
        """Say that it is lost once it was silent for too long; its points keep their last value and source time."""
        left_s = self._carrier.settings.lost_s - (self._carrier.clock.now_ns() - self._heard_ns) / SECOND_NS
        if left_s > 0.001:
            self._after("lost", left_s, self._look)
            return
        self.session = Session.DOWN
        lost = {key: value for key, value in self._last.items() if key not in _NOT_LOST}
        self._bring(lost, Quality.COMM_LOST, self._taken_ns)
        self._carrier.session_changed()

    # --- commands ----------------------------------------------------------------------------------------------------

    def take(self, batch: CommandBatch, at: int) -> None:
        """Take the command in row `at` of a batch; an older (epoch, seq), or the same again, is passed over."""
        stamp = (batch.epoch, batch.seq)
        if stamp <= self.stamp:
            return
        self.stamp = stamp
        self._displace()
        live = self.live = Live(batch, at)
        left_s = (batch.valid_until_ns - self._carrier.clock.now_ns()) / SECOND_NS
        if left_s <= 0:
            self._end(live, Stage.EXPIRED)
            return
        self._after("over", left_s, lambda: self._run_out(live))
        self._carrier.carry(self, live)

    def _displace(self) -> None:
        """End the command before: it was never delivered, or nobody will confirm it any more."""
        live = self.live
        for timer in ("over", "answer"):
            self._cancel(timer)
        if live is None or live.is_over:
            return
        if live.stage is Stage.SENT:
            self._end(live, Stage.UNCONFIRMED, RejectWord.NONE, "displaced before it was acknowledged")
        else:
            self._end(live, Stage.CANCELLED, RejectWord.NONE, "displaced")

    def published(self, live: Live, event: str) -> None:
        """Note the event that carries a command."""
        live.event = event

    def fail(self, live: Live, why: str) -> None:
        """End a command whose event could not be kept."""
        if not live.is_over:
            self._end(live, Stage.REJECTED, RejectWord.HARDWARE, why)

    def delivered(self, event: str) -> None:
        """Note that the VEN has an event: it read it, or its callback took it."""
        live = self.live
        if live is not None and live.event == event and live.stage is Stage.QUEUED:
            self._carrier.sent += 1
            live.stage = Stage.SENT
            self._tell(live)
            self._after("answer", self._carrier.settings.answer_s, lambda: self._unanswered(live))

    def barred(self) -> bool:
        """End a command that no VEN has yet where it may not leave any more, and take its event back."""
        live, last_hop = self.live, self._carrier.last_hop
        if live is None or live.is_over or live.stage is not Stage.QUEUED or last_hop is None:
            return False
        if last_hop.passes(live.batch.take(live.batch.rows == self.row)).all():
            return False
        self._cancel("over")
        self._end(live, Stage.CANCELLED, RejectWord.BLOCKED, "the kill switch is pressed")
        if live.event:
            self._carrier.withdraw(live.event)
        return True

    def _run_out(self, live: Live) -> None:
        """Take the event back when its time is over."""
        if live.stage is Stage.QUEUED:
            self._end(live, Stage.EXPIRED)
        if live.event:
            self._carrier.withdraw(live.event)

    def _unanswered(self, live: Live) -> None:
        if live.is_over:
            return
        if live.stage is Stage.SENT:
            self._carrier.withdraw(live.event)
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, "the VEN did not report on the event")
        else:
            seen_w = self._last.get("power_w", math.nan)
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, "telemetry does not show it", seen_w)

    # --- what the VEN says -------------------------------------------------------------------------------------------

    def report(self, event: str, said: Mapping[str, Any], units: Mapping[str, str | None]) -> None:
        """Take what a report says of our resource; `event` is the one that it is on."""
        now_ns = self._carrier.clock.now_ns()
        for interval in said["intervals"]:
            try:
                values, quality = read_values(interval["payloads"], units)
                at_ns = taken_ns(interval.get("intervalPeriod") or said.get("intervalPeriod"), now_ns)
            except (PeerError, ValueError) as error:
                self._carrier.unread += 1
                self._carrier.last_error = f"{self.name.ven}: {error}"
                continue
            words = {p["type"]: p["values"][0] for p in interval["payloads"] if p["values"]}
            state = str(words.get("OPERATING_STATE", ""))
            setpoint_w = values.pop("target_w", math.nan)
            if at_ns >= self._taken_ns:  # a late report never overwrites a newer one
                self._learn(values, state, quality, at_ns)
            if state and self.live is not None and event == self.live.event:
                self._acknowledge(self.live, state, setpoint_w)
        self._compare()

    def _learn(self, values: dict[str, float], state: str, quality: Quality, at_ns: int) -> None:
        if state:
            is_out = state in OPTED_OUT
            values["is_local"] = float(is_out)
            if is_out:  # an owner who opted out offers nothing
                values |= {"available_up_w": 0.0, "available_down_w": 0.0}
            # points.toml: 1 standby, 2 running, 5 fault; NORMAL says that nothing is asked, not whether it runs.
            if state in FAULTS:
                values["operating_state"] = 5.0
            elif state.startswith(("RUNNING_", "IDLE_")):
                values["operating_state"] = 2.0 if state.startswith("RUNNING_") else 1.0
        if not values:
            return
        self._last |= values
        self._taken_ns = at_ns
        self._carrier.received += 1
        self._bring(values, quality, at_ns)
        if "power_w" in values:
            self.hear(Session.LIVE)

    def _acknowledge(self, live: Live, state: str, setpoint_w: float) -> None:
        if live.is_over:
            return
        if live.stage is Stage.QUEUED:
            self.delivered(live.event)  # it reports on what it must have read
        if state in OPTED_OUT or state in FAULTS:
            word = RejectWord.BLOCKED if state in OPTED_OUT else RejectWord.HARDWARE
            self._end(live, Stage.REJECTED, word, state)
            return
        live.setpoint_w = setpoint_w  # what its owner leaves of what was asked: that is what telemetry can show
        if live.stage is Stage.SENT:
            now_ns = self._carrier.clock.now_ns()
            live.stage, live.accepted_ns = Stage.ACCEPTED, now_ns
            self._carrier.acknowledged += 1
            self._carrier.delays_s.append((now_ns - live.batch.issued_at_ns) / SECOND_NS)
            self._tell(live)
            until_s = max((live.batch.valid_from_ns - now_ns) / SECOND_NS, 0.0) + self._carrier.settings.settle_s
            self._after("answer", until_s, lambda: self._unanswered(live))

    def _compare(self) -> None:
        """End a command DONE once telemetry, taken after it was acknowledged, shows what it asked for."""
        live = self.live
        if live is None or live.stage is not Stage.ACCEPTED:
            return
        power_w = self._last.get("power_w", math.nan)
        if self._taken_ns < max(live.accepted_ns, live.batch.valid_from_ns) or not self._complies(live, power_w):
            return
        self._carrier.observed += 1
        self._end(live, Stage.DONE, observed_w=power_w)

    def _complies(self, live: Live, power_w: float) -> bool:
        """Return whether a power is what was asked, within what the end-point said that its owner allows."""
        settings, at = self._carrier.settings, live.at
        target_w = float(live.batch.target_w[at])
        low_w, high_w = float(live.batch.low_w[at]), float(live.batch.high_w[at])
        if math.isfinite(target_w):
            target_w = target_w if math.isnan(live.setpoint_w) else live.setpoint_w
            near_w = settings.near_w + settings.near_frac * abs(target_w)
            return abs(power_w - target_w) <= near_w
        slack_w = settings.near_w
        return (
            (math.isinf(low_w) and math.isinf(high_w)) or low_w - slack_w <= power_w <= high_w + slack_w
        )  # fmt: skip

    # --- small things ------------------------------------------------------------------------------------------------

    def _end(
        self,
        live: Live,
        stage: Stage,
        word: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
    ) -> None:
        carrier = self._carrier
        live.stage = stage
        self._cancel("answer")
        carrier.unconfirmed += stage is Stage.UNCONFIRMED
        carrier.rejected += stage is Stage.REJECTED
        if stage in (Stage.UNCONFIRMED, Stage.REJECTED):
            carrier.last_error = f"{self.name.ven}: {native}"
        self._tell(live, word, native, observed_w)

    def _tell(
        self, live: Live, word: RejectWord = RejectWord.NONE, native: str = "", observed_w: float = math.nan
    ) -> None:
        carrier = self._carrier
        carrier.intake.reports(
            CommandReports(
                live.batch.id, carrier.name, np.array([self.row], np.int32), np.array([live.stage], np.uint8),
                np.array([carrier.clock.now_ns()], np.int64), np.array([word], np.uint8), np.array([observed_w]),
                (native,) if native else (), (live.event,) if live.event else (),
            )
        )  # fmt: skip

    def _bring(self, values: Mapping[str, float], quality: Quality, at_ns: int) -> None:
        if not values:
            return
        count, now_ns = len(values), self._carrier.clock.now_ns()
        self._carrier.intake.readings(
            Readings(
                np.full(count, self.row, np.int32), np.array([code(key) for key in values], np.uint16),
                np.array(list(values.values())), np.full(count, int(quality), np.uint32),
                np.full(count, at_ns, np.int64), np.full(count, now_ns, np.int64), self._carrier.name,
            )
        )  # fmt: skip

    def _after(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Do something so many seconds of the clock from now; one timer a name."""
        self._cancel(name)

        def due() -> None:
            self._timers.pop(name, None)
            act()

        delay_s = min(seconds / self._carrier.speed, 10**8)
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, due)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """Let all timers go."""
        for name in list(self._timers):
            self._cancel(name)
