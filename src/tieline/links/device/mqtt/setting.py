"""One setting of a device, which its owner and we both write: what it holds, and whose that is.

Theory of operation. What a device says of a setting is old by the time it is heard: our last writes may be on their way
yet. So each write that has not come back is kept, in order. What the device says is then one of five things:

- what it said before: it may be older than our writes, so that it takes none of them for done;
- one of the writes on their way: it and all before it have landed (what a device reports in one go is its last);
- what it made of one that it can't hold: it lies within a step of it, or between the owner's setting and it. Should
  that very write come back later, then this was its owner's hand after all;
- what was ours or its owner's before: an old word, which teaches nothing;
- anything else: its owner's hand, at once, whatever of ours is on its way. `is_turned` says that a write of ours may
  yet land over it.

What it left shortly before, or what its broker had kept, may come again: it is doubted for as long as an echo is waited
for, and is void if the device says again what it holds. So is the echo of a hand-back shortly after the call, as what
its owner had before looks the same: the device is asked, and its next word tells. A write that does not come back by
`LATE` waits is given up.
What we may have written is forgotten (`is_free`) only where nothing of it may land any more: all has come back, or a
long time has passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import Struct

from tieline.links.device.mqtt.setpoints import Owned

LATE = 6
"""So many waits for an echo until a write that has not come back is given up."""
LONG = 10 * LATE
"""So many until one that was given up lands no more."""
MOST_ON_WAY = 64


class _Write(Struct, frozen=True):
    """A write that has not come back; `own`: what its owner had set as it left."""

    value: float
    own: float


class Setting:
    """A setting by its writers. Times are seconds of a clock that only goes on."""

    def __init__(self, kept: Owned, slack: float, step: float, ack_s: float, is_owned: bool) -> None:
        """Begin with what was kept of it.

        Args:
            kept: What its owner had, and what we may have written over it.
            slack: How far an echo may lie from a value and still be it.
            step: The step in which it is told.
            ack_s: So long an echo is waited for (s).
            is_owned: It is its owner's to set; where not, nothing is learnt of an owner.
        """
        self.own, self.ours = kept.own, kept.ours
        self.held, self._held_s = math.nan, -math.inf
        self.is_turned = False
        self._slack, self._step, self._ack_s, self._is_owned = slack, step, ack_s, is_owned
        self._on_way: list[_Write] = []
        self._wrote_s = self._said_s = -math.inf
        self._unsure_until_s = -math.inf
        self._version = math.nan
        self._left: list[tuple[float, float]] = []
        self._doubted, self._doubted_s = math.nan, math.inf
        self._is_asked = self._is_answered = False

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether no write of ours is on its way."""
        return not self._on_way

    @property
    def is_doubted(self) -> bool:
        """Whether its last word may be an old one: `judge` it in a while."""
        return not math.isnan(self._doubted)

    @property
    def wants_answer(self) -> bool:
        """Whether its last word is a hand-back's echo, or what its owner had before the call, and it was not asked."""
        return self.is_doubted and not self._is_asked and bool(self._echoed(self._doubted))

    @property
    def holds_ours(self) -> bool:
        """Whether what it holds is something that we may have written."""
        return self._is_ours(self.held)

    def is_at(self, told: float) -> bool:
        """Return whether it holds what we told it: `told` where it is nobody's to set, else all that may be ours."""
        return self.holds_ours if self._is_owned else self._is_near(self.held, told)

    def holds_on(self, told: float, now_s: float) -> bool:
        """Return whether it said, an echo's time after our last write, that it holds what we told it (`is_at`)."""
        return self.is_at(told) and self._is_since(now_s)

    @property
    def is_overwritten(self) -> bool:
        """Whether a write of ours landed over what its owner set while it was on its way."""
        return self.is_turned and self.is_settled and not self._is_near(self.held, self.own)

    def shows(self, value: float, now_s: float) -> bool:
        """Return whether it holds a value that it was told, and is not about to leave it by an earlier write.

        Where it held that before, too, no word of it tells one from the other: after an echo's time it counts.
        """
        if not self._is_near(self.held, value):
            return False
        if all(self._is_near(write.value, value) for write in self._on_way):
            return True
        return self._is_near(self._on_way[-1].value, value) and self._is_since(now_s)

    def _is_since(self, now_s: float) -> bool:
        """Return whether it spoke since our last write, and an echo's time has passed."""
        return self._said_s > self._wrote_s and now_s - self._wrote_s >= self._ack_s - 1e-3

    def is_free(self, now_s: float) -> bool:
        """Return whether all that may have been ours is gone for good, so that an old word of it can't come, either."""
        return now_s - self._held_s >= self._ack_s - 1e-3 and self.is_back(now_s)

    def is_back(self, now_s: float) -> bool:
        """Return whether nothing of ours is left at the device or on its way."""
        is_sure = not (math.isnan(self.held) or self._may_land(now_s))
        return bool(self.ours) and is_sure and not self.holds_ours

    def _may_land(self, now_s: float) -> bool:
        return bool(self._on_way) or now_s < self._unsure_until_s

    def _is_near(self, value: float, other: float) -> bool:
        return abs(value - other) <= self._slack

    def _is_ours(self, value: float) -> bool:
        return any(self._is_near(value, one) for one in self.ours)

    # --- what happens -------------------------------------------------------------------------------------------------

    def wrote(self, value: float, now_s: float) -> None:
        """Note that a value went out."""
        self._on_way = [*self._on_way, _Write(value, self.own)][-MOST_ON_WAY:]
        self._wrote_s, self.is_turned = now_s, False

    def hear(self, value: float, now_s: float, is_retained: bool = False) -> None:
        """Take what the device says of it; `is_retained`: its broker had kept that, for who knows how long."""
        if math.isnan(self.held) and self.ours and not self._on_way:  # after a start
            self._unsure_until_s = now_s + LATE * self._ack_s
        if not is_retained:
            self._said_s = now_s
        if self._is_near(value, self.held):
            self._doubted = math.nan
            if self._is_since(now_s) and all(self._is_near(write.value, value) for write in self._on_way):
                self._land(len(self._on_way) - 1)  # it held that before, and no echo need come
            if not self.ours and self.is_settled and self._is_owned:
                self.own = value
        elif not self._is_old(value, now_s, is_retained):
            self._believe(value, now_s)
        if self._on_way and not is_retained and now_s - self._wrote_s >= LATE * self._ack_s:
            self._on_way, self._version = [], math.nan
            self._unsure_until_s = now_s + LONG * self._ack_s

    def asks(self) -> Callable[[], None]:
        """Note that it is asked; call what is returned once its broker has that: words from then on are new."""
        self._is_asked, doubted_s = True, self._doubted_s

        def is_there() -> None:
            self._is_answered = self._doubted_s == doubted_s

        return is_there

    def judge(self, now_s: float, can_ask: bool = True) -> None:
        """Believe what was doubted and not taken back since; at once where nothing asks the device."""
        if self.is_doubted and (not can_ask or now_s - self._doubted_s >= self._ack_s - 1e-3):
            self._believe(math.nan, now_s)

    def disown(self) -> None:
        """Note that nothing which we wrote is left at the device: what it holds from now on is its owner's."""
        self.ours, self.is_turned = (), False

    def _is_old(self, value: float, now_s: float, is_retained: bool) -> bool:
        """Return whether a word may be an old one that came again or late; it is kept as doubted."""
        echoed = self._echoed(value)
        # A hand-back's echo is what its owner had, as is a word from before the call: the device is asked.
        if math.isnan(self.held) or not all(self._is_near(write.value, write.own) for write in echoed):
            return False
        self._left = [(left, left_s) for left, left_s in self._left if now_s - left_s < LATE * self._ack_s]
        if not is_retained and not any(self._is_near(value, left) for left, _ in self._left):
            return False
        if not self._is_near(value, self._doubted):
            self._doubted, self._doubted_s = value, now_s
            self._is_asked = self._is_answered = False
        return now_s - self._doubted_s < self._ack_s and not (echoed and self._is_answered)

    def _echoed(self, value: float) -> list[_Write]:
        """Return the writes on their way of which a word would be the echo."""
        return [write for write in self._on_way if self._is_near(value, write.value)]

    def _believe(self, value: float, now_s: float) -> None:
        """Take a new word (NaN: none), and before it the one that was doubted, as the device did not take it back."""
        doubted, self._doubted = self._doubted, math.nan
        for word in (doubted, value):
            if not math.isnan(word) and not self._is_near(word, self.held):
                is_first = math.isnan(self.held)  # it may be older than all that is on its way
                self._left.append((self.held, now_s))
                self.held, self._held_s = word, now_s
                if is_first or not self._lands(word):
                    self._attribute(word, now_s)

    def _lands(self, value: float) -> bool:
        """Return whether a value that it holds from now on is a write of ours on its way; that is then done."""
        for at, write in enumerate(self._on_way):
            if self._is_near(value, write.value):
                self._land(at)
                return True
        return False

    def _attribute(self, value: float, now_s: float) -> None:
        """Tell whose a value is that it holds from now on, where it is no write on its way."""
        if not self._is_owned or self._is_ours(value) or (self.ours and self._is_near(value, self.own)):
            return
        if any(self._is_version(value, write) for write in self._on_way):
            self._version, self.ours = value, (*self.ours, value)
            return
        self._own(value, now_s)

    def _land(self, at: int) -> None:
        """Take a write for done, and all before it."""
        if not self._on_way:
            return
        write, self._on_way = self._on_way[at], self._on_way[at + 1 :]
        version, self._version = self._version, math.nan
        if not math.isnan(version) and self._is_version(version, write):
            self.ours = tuple(one for one in self.ours if one != version)
            self.own, self.is_turned = version, True
        if not self._on_way:
            self._unsure_until_s = -math.inf

    def _is_version(self, value: float, write: _Write) -> bool:
        """Return whether a value may be what a device made of a write: rounded, or cut short at its own limit."""
        if self._is_near(write.value, write.own):  # it has held what its owner had
            return False
        low, high = min(write.own, write.value), max(write.own, write.value)
        return abs(value - write.value) <= self._step + 1e-3 or low < value < high

    def _own(self, value: float, now_s: float) -> None:
        """Take its owner's hand."""
        before, self.own = self.own, value
        if self._may_land(now_s):
            self.is_turned = True
            lost = () if now_s >= self._unsure_until_s or math.isnan(before) else (before,)
            for may_land in (*(write.value for write in self._on_way), *lost):  # what was his before may land as ours
                if not self._is_near(may_land, value) and not self._is_ours(may_land):
                    self.ours = (*self.ours, may_land)
