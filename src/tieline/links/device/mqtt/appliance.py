"""One device over MQTT, and the life of its command.

Three states that other stacks take for one are kept apart: **accepted by the broker** (its acknowledgement: SENT),
**acknowledged by the device** (its state echoes the settings: ACCEPTED) and **observed in telemetry** (its power shows
it: DONE). No echo: the device is asked once for its state, and without an answer the command ends UNCONFIRMED; it is
never sent again, but for a release where the device is seen to hold on (`letting_go`). When a command runs out, a
device without a timer of its own is handed back by us, and one that does not follow is named. Whose a setting is, as
echoes come late, `setting` tells. One that somebody else changes is contention: an occupant's hand stands, any other is
answered by one more write at most. Where it stands the device is in LOCAL for as long as what it overruled would have
lasted, or until it is told anything else.

What it was told before a restart of ours is remembered: its time is still ours to end, and its owner's setpoint, or
whether he had it on, is kept over it (`setpoints`), as nothing leaves before that would outlive us. Who had taken it
and is found apart from it was moved by somebody else meanwhile, and keeps that.
"""

from __future__ import annotations

import math

from tieline.device.profile import Profile
from tieline.device.told import Told, Unable, complies, told
from tieline.errors import LinkDown
from tieline.links.device.mqtt.carrier import BROKER, Carrier
from tieline.links.device.mqtt.contract import Bound
from tieline.links.device.mqtt.letting_go import LettingGo
from tieline.links.device.mqtt.live import Live, ended
from tieline.links.device.mqtt.telemetry import Telemetry
from tieline.links.device.mqtt.wording import settings_of
from tieline.links.life import Course, Life
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.resource.identity import Rating
from tieline.resource.quality import Quality


class Appliance:
    """One device behind a broker."""

    def __init__(self, row: int, name: str, profile: Profile, rating: Rating, bound: Bound, carrier: Carrier) -> None:
        self.row, self.name, self.profile, self.rating, self.bound = row, name, profile, rating, bound
        self.telemetry = Telemetry(row, bound, profile, rating, carrier)
        self._carrier = carrier
        self.life = Life(row, name, carrier)
        self._letting_go = LettingGo(name, self.telemetry, self.life, carrier)
        self._pending: Course | None = None
        self._live: Live | None = None
        self._release_due = False
        self._local_until_ns = 0

    # --- towards the device ------------------------------------------------------------------------------------------

    def take(self, batch: CommandBatch, at: int) -> None:
        """Take the command in row `at` of a batch; an older (epoch, seq), or the same again, is passed over."""
        if not self.life.takes(batch):
            return
        if self._pending is not None:
            self.life.displace(self._pending)
        if self._live is not None:
            if self._live.stage is Stage.QUEUED:  # written to the stream, though the broker never said so
                self.life.sent(self._live)
            self._displace(self._live)
        self._pending = Course(batch, at)
        self.life.later("expire", self.life.left_s(self._pending), self._expire)
        self.go()

    def _displace(self, live: Live) -> None:
        self.life.cancel("ack", "settle")
        self.life.displace(live)

    def back(self) -> None:
        """Go on as its broker is back."""
        self._letting_go.anew()
        self.go()

    def go(self) -> None:
        """Queue what waits, if the device can be reached and its own least times on and off allow."""
        if not (self._release_due or self._pending) or not self._carrier.is_live:
            return
        if self.telemetry.is_available is not False and self._is_known() and self._is_safe():
            self._carrier.queue(self.row, self._speak)

    def _is_known(self) -> bool:
        """Return whether it said since our start what it holds: its owner may have changed it while we were away."""
        live = self._live
        if self._pending is None and live is not None and live.is_remembered:
            return all(key in self.telemetry.values for key in live.settings)
        return self.telemetry.is_own_heard

    def _is_safe(self) -> bool:
        """Return whether its owner's setting would outlive us if what waits went out now; else have it kept first."""
        course = self._pending
        what = None if course is None else told(self.profile, self.rating, *course.powers_w, self.telemetry.own)
        if what is None or isinstance(what, Unable):
            return True
        value = self._settings(what).get(self.telemetry.key)
        if value is None or self.telemetry.is_kept(value):
            return True
        self.telemetry.keep(value, self.go)
        return False

    def _speak(self) -> None:
        course = self._pending
        if course is None:
            if self._release_due:
                self._release()
            return
        if not self._is_safe():  # its owner turned it while it waited for its turn
            return
        what = told(self.profile, self.rating, *course.powers_w, self.telemetry.own)
        settings = {} if isinstance(what, Unable) else self._settings(what)
        if not self.life.begins(course):
            pass
        elif isinstance(what, Unable):
            self.life.end(course, Stage.REJECTED, RejectWord.BLOCKED, what.why)
        elif not settings:
            why = f"no topic tells it by {self.profile.told_by}"
            self.life.end(course, Stage.REJECTED, RejectWord.NOT_SUPPORTED, why)
        elif (hold_s := self.telemetry.hold_s(what.is_on)) > 0:
            # Rule R12: the least times on and off of the device outrank whoever asks.
            self.life.later("hold", hold_s, self.go)
            return
        else:
            self._release_due = False
            ends = ended(self._live) if what.is_release else {}
            self._send(Live(course.batch, course.at, what=what, settings=settings, ends=ends))
        self._pending = None
        self.life.cancel("expire")

    def _send(self, live: Live) -> None:
        self._live, self._local_until_ns = live, 0
        self._letting_go.see(live)
        messages = self.bound.write(live.settings)
        live.waits_for = len(messages)
        try:
            frames = [self._carrier.publish(topic, payload, lambda: self._passed(live)) for topic, payload in messages]
        except LinkDown as error:
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, str(error))
            return
        live.frame = " ".join(frames)
        self.telemetry.wrote(live.settings)
        self.life.wait("ack", self._carrier.ack_s, self._unheard)
        self.life.later("until", self.life.left_s(live), self._over)

    def _passed(self, live: Live) -> None:
        """The broker has a message: it is on its way, which says nothing about the device."""
        live.waits_for -= 1
        if live.waits_for == 0 and live.stage is Stage.QUEUED:
            self._carrier.counts.accepted_by_broker += 1
            self.life.sent(live)
            self._check()

    def ask(self) -> None:
        """Ask the device for its state, where its contract has a topic for that."""
        self.telemetry.ask()

    # --- from the device --------------------------------------------------------------------------------------------

    def hear(self, topic: str, payload: bytes, is_retained: bool = False) -> None:
        """Take a message of the device, or one that its broker had kept.

        Raises PeerError where it can't be read; nothing of it is then taken.
        """
        heard, telemetry = self.bound.read(topic, payload), self.telemetry
        if heard.is_available is not None:
            if heard.is_available and telemetry.is_available is False:
                self._letting_go.anew()
            telemetry.is_available = heard.is_available
            if not heard.is_available:
                telemetry.flag(Quality.COMM_LOST)
        if heard.values:
            telemetry.learn(heard.values, self._is_local, is_retained)
            self._check()
            if telemetry.setting.is_doubted and not self.life.is_waiting("doubt"):
                self.life.wait("doubt", self._carrier.ack_s, self._judge)
            self._letting_go.see(self._live)
            if not self.life.is_waiting("ack"):
                self._tell_again()
        self.go()

    def _judge(self) -> None:
        self.telemetry.judge()
        self._check()

    def _check(self) -> None:
        """Move the command on by what the device last said."""
        live, telemetry = self._live, self.telemetry
        if telemetry.setting.is_overwritten:
            self._give_back()
        elif live is not None and live.is_remembered:
            self._recall(live)
        elif live is not None:
            self._follow(live)
        if (live := self._live) is None or live.is_contended or live.what.is_release:
            telemetry.disown(live is not None and live.what.is_release)

    def _follow(self, live: Live) -> None:
        echoes = self.telemetry.shows(live.settings)
        if live.stage is Stage.SENT and echoes:
            self.life.accepted(live)
            self.life.later("settle", self.profile.hold.settle_s, self._unseen)
        power_w = self.telemetry.power_w
        is_blind = "power_w" not in self.bound.fields
        if live.stage is Stage.ACCEPTED and (is_blind or complies(self.profile, self.rating, live.what, power_w)):
            self._end(live, Stage.DONE, observed_w=power_w)
        elif not echoes and not live.what.is_release and self._is_changed(live):
            self._contend(live)
        if echoes and not live.is_echoed:
            live.is_echoed = True
            self.life.cancel("ack")
            self._carrier.counts.released += live.is_hand_back

    def _is_changed(self, live: Live) -> bool:
        """Return whether the device left what it was told, and not by a write of ours that is on its way."""
        setting, is_taken = self.telemetry.setting, live.is_over or live.stage is Stage.ACCEPTED
        return is_taken and setting.is_settled and (live.is_echoed or setting.is_turned)

    def _contend(self, live: Live) -> None:
        """Somebody else changed what we set: say so, write once more where the profile allows, and leave it then."""
        if live.is_contended:
            return
        self._name_other(self.telemetry.said(live.settings))
        if live.retries >= self.profile.retries:
            if not live.is_over:
                self._end(live, Stage.UNCONFIRMED, native="set by somebody else", observed_w=self.telemetry.power_w)
            self._yield(live)
            return
        live.retries, live.is_echoed = live.retries + 1, False
        if self.life.may_leave(live):
            self._write(live.settings)

    def _name_other(self, said: str) -> None:
        self._carrier.counts.contended += 1
        self._carrier.alarm(f"{self.name}: {said} was set by somebody else")

    def _yield(self, live: Live) -> None:
        """Leave a device to whoever set it: what it holds now is its owner's wish, to be kept when the command ends."""
        live.is_contended, self._local_until_ns = True, live.batch.valid_until_ns
        self.life.later("local", self.life.left_s(live), lambda: self.telemetry.learn({}, self._is_local))
        self.telemetry.learn({}, self._is_local)

    @property
    def _is_local(self) -> bool:
        """Whether somebody else's hand stands there."""
        return self._carrier.clock.now_ns() < self._local_until_ns

    def _give_back(self) -> None:
        """Write what its owner set while ours was on its way, as ours then landed over it: his hand stands."""
        live, own = self._live, self.telemetry.own
        self._name_other(f"{self.telemetry.key} = {own:g}")
        if live is not None and not live.what.is_release:
            if not live.is_over:
                self._end(live, Stage.UNCONFIRMED, native=f"its owner set {own:g} meanwhile")
            self._yield(live)
        elif live is not None:
            live.settings = {self.telemetry.key: own}
        self._write({self.telemetry.key: own})

    # --- after a restart of ours --------------------------------------------------------------------------------------

    def remember(self, batch: CommandBatch, at: int, is_taken: bool) -> None:
        """Take up what it was told before a restart of ours: where nothing follows, its time is ours to end.

        `is_taken`: it had taken it; else that may be on its way yet, or never have come.
        """
        course, telemetry = Course(batch, at), self.telemetry
        what = told(self.profile, self.rating, *course.powers_w, telemetry.own)
        if isinstance(what, Unable) or what.is_release:
            return
        # What was kept says that all is its owner's; of a switch told by an older version nothing was.
        is_own = self.profile.told_by == "temperature" or (telemetry.key and not math.isnan(telemetry.own))
        is_owed = not is_own or bool(telemetry.ours)
        settings = self._settings(what)
        if telemetry.key in settings and not telemetry.ours and is_owed:
            telemetry.hold_for_ours(settings[telemetry.key])
        self._live = Live(
            batch, at, Stage.DONE, what=what, settings=settings, is_remembered=True, is_taken=is_taken, is_owed=is_owed
        )
        if not is_taken and telemetry.key in settings and is_owed:
            telemetry.recall(settings[telemetry.key])
        self.life.later("until", self.life.left_s(course), self._over)

    def _recall(self, live: Live) -> None:
        """Hold what was told before a restart against what the device says; its owner may have turned it meanwhile."""
        telemetry, setting = self.telemetry, self.telemetry.setting
        if not all(key in telemetry.values for key in live.settings):
            return
        if telemetry.shows(live.settings):
            live.is_remembered, live.is_echoed = False, True  # from now on it is as any other
        elif live.is_taken and self.life.left_s(live) > 0.0:
            live.is_remembered = False
            self._name_other(telemetry.said(live.settings))
            self._yield(live)
        elif setting.is_turned or not telemetry.ours or (live.is_taken and not setting.holds_ours):
            self._live = None  # it is its owner's by now, or never took what we told it
            self.life.cancel("until")

    # --- when time passes -------------------------------------------------------------------------------------------

    def _unheard(self) -> None:
        """No echo came in time: ask once, then give up. Nothing but a release is sent again."""
        self._check()
        live = self._live
        if live is None or not (live.stage in (Stage.QUEUED, Stage.SENT) or live.is_unheard_release):
            return
        if not live.is_asked:
            live.is_asked = True
            self.life.wait("ack", self._carrier.ack_s, self._unheard)
            self.ask()
            return
        self._letting_go.name(live)
        if not self._tell_again() and not live.is_over:
            passed = "the broker has it" if live.stage is Stage.SENT else "the broker did not acknowledge it"
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, f"no echo of the device; {passed}")

    def _tell_again(self) -> bool:
        """Tell the device its release again, where it is seen to hold on; False: that is not to be done now."""
        live = self._live
        if live is None or not self._letting_go.is_due(live):
            return False
        live.is_asked = False
        self.life.wait("ack", self._letting_go.wait_s(), self._unheard)
        self._write(live.settings)
        return True

    def _unseen(self) -> None:
        """The device said yes, but its power does not show it."""
        live = self._live
        if live is not None and live.stage is Stage.ACCEPTED:
            power_w = self.telemetry.power_w
            self._end(live, Stage.UNCONFIRMED, RejectWord.NONE, f"still at {power_w:g} W", power_w)

    def _expire(self) -> None:
        course, self._pending = self._pending, None
        if course is not None:
            self.life.end(course, Stage.EXPIRED)

    def _over(self) -> None:
        """The command has run out: hand the device back, as it has no timer to do so by itself."""
        live = self._live
        if live is None or live.what.is_release or self.profile.hold.timer == "device":
            return
        if not live.is_over:
            self._end(live, Stage.UNCONFIRMED, RejectWord.TIMEOUT, "its time ran out before it was seen")
        if not live.is_owed:
            self._live = None
            return
        self._release_due = True
        self.go()

    def _release(self) -> None:
        """Write the owner's own settings: absolute, so that twice does no harm."""
        self._release_due = False
        live = self._live
        if live is None or (live.is_contended and not self.telemetry.setting.holds_ours):
            return  # what it holds is already its owner's
        free = told(self.profile, self.rating, math.nan, -math.inf, math.inf, self.telemetry.own)
        if isinstance(free, Unable):
            return
        self._live = Live(
            live.batch,
            live.at,
            Stage.DONE,
            what=free,
            settings=self._settings(free),
            ends=ended(self._live),
            is_hand_back=True,
        )
        self._write(self._live.settings)
        self.life.wait("ack", self._carrier.ack_s, self._unheard)

    def stop(self) -> None:
        """Let all timers go."""
        self.life.stop()

    # --- small things -----------------------------------------------------------------------------------------------

    def _settings(self, what: Told) -> dict[str, float]:
        return settings_of(self.profile, self.rating, self.bound, self.telemetry.own, what)

    def _write(self, settings: dict[str, float]) -> None:
        try:
            for topic, payload in self.bound.write(settings):
                self._carrier.publish(topic, payload)
            self.telemetry.wrote(settings)
        except LinkDown as error:
            self._carrier.counts.trouble(BROKER, str(error))

    def _end(
        self,
        live: Live,
        stage: Stage,
        word: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
    ) -> None:
        self.life.cancel("ack", "settle")
        self.life.end(live, stage, word, native, observed_w)
