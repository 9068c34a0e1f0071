"""One end-point of the link: whether it is there, the life of its command, and its readings.

Three states that are often taken for one are kept apart: **delivered** (the VEN read the event, or its callback took
it: SENT), **acknowledged** (the VEN reported on the event: ACCEPTED) and **observed** (its telemetry shows the power:
DONE). An event that was delivered and not acknowledged in time is withdrawn and ends UNCONFIRMED, so that it can't take
effect unnoticed later; one that was acknowledged and is not observed stays, and ends UNCONFIRMED too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tieline.desk.ports import Session
from tieline.errors import PeerError
from tieline.links import life
from tieline.links.endpoint.openadr.payloads import FAULTS, OPTED_OUT, STATES, read_values, taken_ns
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings
from tieline.links.life import KILLED, Course, Life
from tieline.resource.batch import CommandBatch, stands_ns
from tieline.resource.command import RejectWord, Stage
from tieline.resource.obedience import astray
from tieline.resource.quality import Quality
from tieline.times import SECOND_NS

Thing = dict[str, Any]
_NOT_LOST = ("is_local",)
_ROOM = ("available_up_w", "available_down_w")
Powers = tuple[float, float, float]
_NOTHING: Powers = (math.nan, -math.inf, math.inf)


@dataclass(eq=False)
class Live(Course):
    """The newest command of a row; `frame` is the event that carries it."""

    setpoint_w: float = math.nan


class Carrier(life.Carrier, Protocol):
    """The link, as one of its end-points sees it."""

    settings: OpenAdrSettings

    def carry(self, end_point: EndPoint, live: Live) -> None:
        """Publish the event of a command, and withdraw the one before it."""
        ...

    def withdraw(self, event: str) -> None:
        """Delete an event."""
        ...

    def owner_said(self, row: int, is_out: bool) -> None:
        """Pass on that its owner is out, or in again."""
        ...

    def session_changed(self) -> None:
        """Look at all sessions again."""
        ...


class EndPoint:
    """One row."""

    def __init__(self, row: int, name: EndPointName, carrier: Carrier) -> None:
        self.row, self.name = row, name
        self.session = Session.DOWN
        self.life = Life(row, name.ven, carrier)
        self.live: Live | None = None
        self._carrier = carrier
        self._last: dict[str, float] = {}
        self._taken_ns, self._stated_ns, self._heard_ns = 0, 0, 0
        self._room: dict[str, float] = {}  # what it said that it could give, whoever is out
        self._is_out: bool | None = None
        self._had, self._had_before, self._had_ns = _NOTHING, _NOTHING, 0
        """The powers (W) of the event that the VEN has, those before them, and since when it is to keep them."""

    # --- is it there? ----------------------------------------------------------------------------------------------

    def hear(self, at_least: Session) -> None:
        """Note that its client spoke, and how far its association has come by that."""
        self._heard_ns = self._carrier.clock.now_ns()
        if not self.life.is_waiting("lost"):
            self.life.later("lost", self._carrier.settings.lost_s, self._look)
        if self.session < at_least:
            self.session = at_least
            self._carrier.session_changed()

    def _look(self) -> None:
        """Say that it is lost once it was silent for too long; its points keep their last value and source time."""
        left_s = self._carrier.settings.lost_s - (self._carrier.clock.now_ns() - self._heard_ns) / SECOND_NS
        if left_s > 0.001:
            self.life.later("lost", left_s, self._look)
            return
        self.session = Session.DOWN
        lost = {key: value for key, value in self._last.items() if key not in _NOT_LOST}
        self._carrier.teller.bring(self.row, lost, Quality.COMM_LOST, self._taken_ns)
        self._carrier.session_changed()

    # --- commands ----------------------------------------------------------------------------------------------------

    def take(self, batch: CommandBatch, at: int) -> None:
        """Take the command in row `at` of a batch; an older (epoch, seq), or the same again, is passed over."""
        if not self.life.takes(batch):
            return
        self.life.cancel("over", "answer")
        if self.live is not None:
            self.life.displace(self.live)
        live = self.live = Live(batch, at)
        if self.life.left_s(live) <= 0:
            self.life.end(live, Stage.EXPIRED)
            return
        self.life.later("over", self.life.left_s(live), lambda: self._run_out(live))
        self._carrier.carry(self, live)

    def published(self, live: Live, event: str) -> None:
        """Note the event that carries a command."""
        live.frame = event

    def fail(self, live: Live, why: str) -> None:
        """End a command whose event could not be kept."""
        self._end(live, Stage.REJECTED, RejectWord.HARDWARE, why)

    def delivered(self, event: str) -> None:
        """Note that the VEN has an event: it read it, or its callback took it."""
        live = self.live
        if live is not None and live.frame == event and live.stage is Stage.QUEUED:
            self.life.sent(live)
            now_ns, begins_ns = self._carrier.clock.now_ns(), live.batch.valid_from_ns
            if not _is_same(live.powers_w, self._had):
                self._had_before, self._had, self._had_ns = self._had, live.powers_w, max(now_ns, begins_ns)
            until_s = max((begins_ns - now_ns) / SECOND_NS, 0.0)
            self.life.later("answer", until_s + self._carrier.settings.answer_s, lambda: self._unanswered(live))

    def barred(self) -> bool:
        """End a command that no VEN has yet where it may not leave any more, and take its event back."""
        live = self.live
        if live is None or live.stage is not Stage.QUEUED or self.life.may_leave(live):
            return False
        self.life.cancel("over")
        self._end(live, Stage.CANCELLED, RejectWord.BLOCKED, KILLED)
        if live.frame:
            self._carrier.withdraw(live.frame)
        return True

    def _run_out(self, live: Live) -> None:
        """Take the event back when its time is over."""
        if live.stage is Stage.QUEUED:
            self._end(live, Stage.EXPIRED)
        if live.frame:
            self._carrier.withdraw(live.frame)

    def _unanswered(self, live: Live) -> None:
        if live.is_over:
            return
        seen_w = self._last.get("power_w", math.nan)
        if live.stage is not Stage.SENT:
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, "telemetry does not show it", seen_w)
        elif self._shows(live, seen_w):
            self._end(live, Stage.DONE, observed_w=seen_w)
        else:  # without a power: whether it has heard is not known
            native = "the VEN did not report on the event, and telemetry does not show it"
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, native)

    def _shows(self, live: Live, power_w: float) -> bool:
        """Return whether telemetry alone shows a command: taken since the VEN has it, and no older than who is lost.

        Who is let go, or may do more than before, obeys with any power: that shows it only where the event before
        would not have it there.
        """
        now_ns, lost_ns = self._carrier.clock.now_ns(), int(self._carrier.settings.lost_s * SECOND_NS)
        if math.isnan(power_w) or self._taken_ns < max(self._had_ns, now_ns - lost_ns):
            return False
        (target_w, low_w, high_w), (was_w, was_low_w, was_high_w) = live.powers_w, self._had_before
        if not self._complies(live, power_w):
            return False
        held_w = (was_w, was_low_w if was_low_w > low_w else math.nan, was_high_w if was_high_w < high_w else math.nan)
        near_w = self._carrier.settings.near_w
        return math.isfinite(target_w) or not any(abs(power_w - each_w) <= near_w for each_w in held_w)

    # --- what the VEN says -------------------------------------------------------------------------------------------

    def report(self, event: str, said: Mapping[str, Any], units: Mapping[str, str]) -> None:
        """Take what a report says of our resource; `event` is the one that it is on."""
        now_ns = self._carrier.clock.now_ns()
        for interval, at_ns in zip(said["intervals"], taken_ns(said, now_ns), strict=True):
            try:
                values, quality = read_values(interval["payloads"], units)
            except (PeerError, ValueError) as error:
                self._carrier.counts.unread += 1
                self._carrier.counts.last_error = f"{self.name.ven}: {error}"
                continue
            words = {p["type"]: p["values"][0] for p in interval["payloads"] if p["values"]}
            state = str(words.get("OPERATING_STATE", ""))
            is_newest = bool(state) and stands_ns(at_ns, now_ns) >= self._stated_ns
            setpoint_w = values.pop("target_w", math.nan)
            self._learn(values, state if is_newest else "", quality, at_ns)
            # A late word may still say that an event was taken; that it was refused a newer one has answered already.
            is_late_no = not is_newest and state in (*OPTED_OUT, *FAULTS)
            if state and not is_late_no and self.live is not None and event == self.live.frame:
                self._acknowledge(self.live, state, setpoint_w)
        self._compare()

    def _learn(self, values: dict[str, float], state: str, quality: Quality, at_ns: int) -> None:
        """Take values that are no older than those before, and the state, which is the newest of all words on that.

        Who measures and who knows the owner may be two: each is late by itself, and neither overwrites the other.
        """
        stands = stands_ns(at_ns, self._carrier.clock.now_ns())
        if stands < self._taken_ns:
            values = {}
        elif values:
            self._taken_ns = stands
            self._room |= {key: values[key] for key in _ROOM if key in values}
        has_power = "power_w" in values
        if state:
            self._stated_ns = stands
            values |= self._state_points(state)
        if self._is_out and (state or not values.keys().isdisjoint(_ROOM)):
            values |= dict.fromkeys(_ROOM, 0.0)  # an owner who opted out offers nothing
        if not values:
            return
        self._last |= values
        self._carrier.counts.received += 1
        self._carrier.teller.bring(self.row, values, quality, at_ns if stands >= self._taken_ns else self._taken_ns)
        if has_power:
            self.hear(Session.LIVE)

    def _state_points(self, state: str) -> dict[str, float]:
        """Return what a state is as points, and say where its owner's word is another; who is in again offers.

        A private one, which sender and link agreed on, says nothing of its owner: what stood before stands.
        """
        if state not in STATES:
            return {}
        was_out, is_out = self._is_out, state in OPTED_OUT
        self._is_out = is_out
        if is_out is not was_out:
            self._carrier.owner_said(self.row, is_out)
        points = {"is_local": float(is_out)} | (self._room if was_out and not is_out else {})
        # points.toml: 1 standby, 2 running, 5 fault; NORMAL says that nothing is asked, not whether it runs.
        if state in FAULTS:
            points["operating_state"] = 5.0
        elif state.startswith(("RUNNING_", "IDLE_")):
            points["operating_state"] = 2.0 if state.startswith("RUNNING_") else 1.0
        return points

    def _acknowledge(self, live: Live, state: str, setpoint_w: float) -> None:
        if live.is_over:
            return
        if live.stage is Stage.QUEUED:
            self.delivered(live.frame)  # it reports on what it must have read
        # Who is out gives no power: a command that asks for none, as the one that lets it go, is kept by that.
        if state in FAULTS or (state in OPTED_OUT and math.isfinite(live.powers_w[0])):
            word = RejectWord.BLOCKED if state in OPTED_OUT else RejectWord.HARDWARE
            self._end(live, Stage.REJECTED, word, state)
            return
        live.setpoint_w = setpoint_w  # what its owner leaves of what was asked: that is what telemetry can show
        if live.stage is Stage.SENT:
            self.life.accepted(live)
            until_s = max((live.batch.valid_from_ns - live.accepted_ns) / SECOND_NS, 0.0)
            self.life.later("answer", until_s + self._carrier.settings.settle_s, lambda: self._unanswered(live))

    def _compare(self) -> None:
        """End a command DONE once telemetry, taken after it was acknowledged, shows what it asked for."""
        live = self.live
        if live is None or live.stage is not Stage.ACCEPTED:
            return
        power_w = self._last.get("power_w", math.nan)
        if self._taken_ns < max(live.accepted_ns, live.batch.valid_from_ns) or not self._complies(live, power_w):
            return
        self._end(live, Stage.DONE, observed_w=power_w)

    def _complies(self, live: Live, power_w: float) -> bool:
        """Return whether a power is what was asked, within what the end-point said that its owner allows."""
        settings = self._carrier.settings
        target_w, low_w, high_w = live.powers_w
        near_w = settings.near_w
        if math.isfinite(target_w):
            target_w = target_w if math.isnan(live.setpoint_w) else live.setpoint_w
            near_w += settings.near_frac * abs(target_w)
        return abs(astray(power_w, target_w, low_w, high_w)) <= near_w

    # --- small things ------------------------------------------------------------------------------------------------

    def _end(
        self,
        live: Live,
        stage: Stage,
        word: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
    ) -> None:
        self.life.cancel("answer")
        self.life.end(live, stage, word, native, observed_w)

    def stop(self) -> None:
        """Let all timers go."""
        self.life.stop()


def _is_same(one: Powers, other: Powers) -> bool:
    """Return whether two commands ask for the same; where both name no power (NaN) that is the same, too."""
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(one, other, strict=True))
