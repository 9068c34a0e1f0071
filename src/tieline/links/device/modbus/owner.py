"""What a SunSpec device's owner or installer has set in its controls, and gets back when we let go.

Theory of operation. Registers don't say who set them, but all that we write bears a reversion timer. So what stands
there without one, on a device that keeps such timers, is its owner's and meant to last: it is kept, in the journal
before a command is written over it, and written anew, register by register, at a release, when a command has run out
(after the device's own timer has let go), and by the next server. What bears a timer ends by itself and is nobody's to
give back; what a device without timers holds can't be told apart from ours, and is not kept.

Two doubts are settled to the safe side, which is that nothing is given back. A device that was told something, perhaps
by a server before us, and was never seen to keep a timer may hold ours without one: nothing is learnt of it until it
is seen free. And who is found free in the middle of a command was rebooted, or freed by its owner: his setting is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace as over
from enum import IntEnum

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tieline.desk.entry import Recorder
from tieline.desk.facts import ControlsKept, Fact
from tieline.desk.packed import Packed
from tieline.flow.record import Records
from tieline.links.device.kept import Kept, Spawn
from tieline.links.device.modbus.held import FREE, FUNCTIONS, Held
from tieline.links.device.modbus.reversion import Words, after, is_reverted, laid, power_w, with_defaults
from tieline.links.device.modbus.unit import Unit
from tieline.times import Clock

TRIES = 3
"""So often a setting is written back to a device that does not take it, until it is left to people."""
# Of each function: the places, in its registers, of its timer and of what makes it this setting and no other.
_TIMER = (slice(9, 11), slice(4, 6))
_VALUE = ((0, 1, 2, 3, 6), (0, 1))
_ABSENT = (0xFFFF, 0xFFFF)


class Mark(IntEnum):
    """What a function of a device's controls holds, by its timer."""

    OFF = 0
    LASTING = 1
    TIMED = 2
    BARE = 3


class Own(Struct, frozen=True):
    """An owner's settings, as the registers of each function of `FUNCTIONS` (empty: none).

    `is_marked`: the device was seen to keep a timer, so that what has none is not ours. `is_owed`: something of ours
    may stand where he had set something.
    """

    words: tuple[Words, Words] = ((), ())
    is_marked: bool = False
    is_owed: bool = False

    @property
    def is_none(self) -> bool:
        """Whether nothing was set."""
        return not any(self.words)


class Controls:
    """What is kept of a link's devices by row: in memory alone, where no server would be started again."""

    def at(self, row: int) -> Own:
        """Return what was kept of a device before this start."""
        return Own()

    def is_kept(self, row: int, own: Own) -> bool:
        """Return whether this would be known after a start from now on."""
        return True

    def keep(self, row: int, own: Own, then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once that outlives us; the newest of a row holds."""
        if then is not None:
            then()


class KeptControls(Kept[Own], Controls):
    """Kept in the journal."""

    def __init__(self, link: str, recorder: Recorder, clock: Clock, spawn: Spawn) -> None:
        super().__init__(link, recorder, clock, spawn, "controls")

    def restore(self, journal: Records) -> None:
        """Take in what a journal holds of all links."""
        self.restore_from(journal, ControlsKept.__name__)

    def fact(self, kept: dict[int, Own]) -> Fact:
        """Return the record of what is kept of some rows."""
        return ControlsKept(
            self.link,
            Packed.of(np.array(list(kept), np.int32)),
            tuple(own.words[0] for own in kept.values()),
            tuple(own.words[1] for own in kept.values()),
            Packed.of(np.array([own.is_marked for own in kept.values()], np.bool_)),
            Packed.of(np.array([own.is_owed for own in kept.values()], np.bool_)),
        )

    def rows_of(self, fact: Fact | None) -> dict[int, Own]:
        """Return what a record keeps by row."""
        if not isinstance(fact, ControlsKept):
            return {}
        rows, marked = fact.rows.array().tolist(), fact.marked.array().tolist()
        owed = [True] * len(rows) if fact.owed is None else fact.owed.array().tolist()
        settings = zip(rows, fact.power, fact.limit, marked, owed, strict=True)
        return {row: Own((power, limit), is_marked, is_owed) for row, power, limit, is_marked, is_owed in settings}

    def at(self, row: int) -> Own:
        """Return what was kept of a device."""
        return self.kept(row) or Own()

    def is_kept(self, row: int, own: Own) -> bool:
        """Return whether the journal has it; that it keeps timers, or was given back, may be known later."""
        kept = self.kept(row)
        return kept is not None and kept.words == own.words and kept.is_owed >= own.is_owed

    def keep(self, row: int, own: Own, then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once the journal has it; the newest of a row holds."""
        self.ask(row, own, then)


def marks(block: Sequence[int]) -> tuple[Mark, Mark]:
    """Return what the functions of a device's controls (all of model 704) hold: power, and limit."""
    found = [_mark(block[first:end], timer) for (first, end), timer in zip(FUNCTIONS, _TIMER, strict=True)]
    return found[0], found[1]


def _mark(words: Sequence[int], timer: slice) -> Mark:
    if words[0] != 1:
        return Mark.OFF
    running = tuple(words[timer])
    if running == _ABSENT:
        return Mark.BARE
    return Mark.TIMED if any(running) else Mark.LASTING


class Owner:
    """The owner of one device."""

    def __init__(self, row: int, controls: Controls) -> None:
        self._row, self._controls = row, controls
        self.own = controls.at(row)
        self.tries = 0
        self.wake: Callable[[], None] = lambda: None  # called once the journal has what was to be kept
        self._is_sure = True  # what has no timer can't be ours
        self._drops = False
        self._marked: tuple[Sequence[int], tuple[Mark, Mark]] = (), (Mark.OFF, Mark.OFF)

    @property
    def is_owed(self) -> bool:
        """Whether something of ours may stand where he had set something."""
        return self.own.is_owed and not self.own.is_none

    # --- what is known ------------------------------------------------------------------------------------------------

    def is_clear(self, block: Sequence[int], is_told: bool) -> bool:
        """Return whether nothing of an owner's is kept, or was found when its controls were last read.

        `is_told`: it was told something, so that what bears no timer for want of one is taken for ours.
        """
        if not self.own.is_none:
            return False
        found = self._marks(block)
        return Mark.LASTING not in found and (is_told or Mark.BARE not in found)

    def held(self, unit: Unit) -> Held:
        """Return what his settings amount to; FREE: none."""
        return FREE if self.own.is_none else over(unit.held_by(laid(unit.seen, self.own.words)), revert_s=FREE.revert_s)

    def narrowed(self, unit: Unit, what: Held, full_w: float) -> Held:
        """Return what a device is told beside what its owner has set: of limits the narrower holds, and his power does.

        Who is told a limit alone goes on with the power that he set, which ends with no limit of ours. `full_w`: the
        device's own WMax (W).
        """
        if self.own.is_none:
            return what
        has_power = not math.isnan(what.target_w) or what.leaves_power
        target_w = what.target_w if has_power else power_w(self.own.words[0], unit.seen, full_w)
        return over(what, target_w=target_w, limit_frac=min(what.limit_frac, self.held(unit).limit_frac))

    def after(self, unit: Unit, what: Held, full_w: float) -> dict[str, Words]:
        """Return what is to hold once the timers of a command have ended, as `reversion.after` does."""
        if self.own.is_none:
            return {}
        power, limit = self.own.words
        told = () if math.isnan(what.target_w) else power, limit if what.limit_frac < 1.0 else ()
        return after(unit.seen, told, full_w)

    def is_back(self, unit: Unit, held: Held, full_w: float) -> bool:
        """Return whether a device holds what its owner had set and nothing else, whatever its timers say."""
        if self.own.is_none:
            return False
        own_w = power_w(self.own.words[0], unit.seen, full_w)
        return held.same(over(self.held(unit), target_w=own_w))

    def is_kept(self) -> bool:
        """Return whether it would outlive us that he is owed his settings; else have it kept, and `wake` once it is."""
        owed = replace(self.own, is_owed=True)
        if self.own.is_none or self._controls.is_kept(self._row, owed):
            return True
        self._controls.keep(self._row, owed, self.wake)
        return self._controls.is_kept(self._row, owed)

    def _marks(self, block: Sequence[int]) -> tuple[Mark, Mark]:
        """Return the `marks` of what was read; one answer is looked at more than once."""
        if block is not self._marked[0]:
            self._marked = block, marks(block)
        return self._marked[1]

    # --- what happens -------------------------------------------------------------------------------------------------

    def doubt(self) -> None:
        """Take that a server before us may have left something there that no release ended."""
        self._is_sure = False

    def told(self) -> None:
        """Take that something of ours goes out."""
        self._is_sure = False
        self.tries = 0
        self._become(replace(self.own, is_owed=True))

    def heard(self, asked: Held, held: Held, block: Sequence[int]) -> None:
        """Take what a device holds of what it was asked (its controls are `block`): whether it keeps a timer."""
        if not held.same(asked):
            return
        asks = not (asked.leaves_power or math.isnan(asked.target_w)), asked.limit_frac < 1.0
        for n, ((first, end), mark, is_asked) in enumerate(zip(FUNCTIONS, self._marks(block), asks, strict=True)):
            is_his = mark is not Mark.TIMED and _is_his(tuple(block[first:end]), self.own.words[n], n)
            if not is_asked or is_his:
                continue  # what looks like his own, and bears no timer, says nothing of ours
            if mark is Mark.LASTING:
                self._drops = True
            is_marked = not self._drops and (self.own.is_marked or mark is Mark.TIMED)
            self._become(replace(self.own, is_marked=is_marked))

    def see(self, block: Sequence[int]) -> None:
        """Take what a device's controls hold: what its owner has set by now."""
        found, before = self._marks(block), self.own.words
        is_sure = (self._is_sure or self.own.is_marked) and not self._drops
        words = list(before)
        for n, ((first, end), mark) in enumerate(zip(FUNCTIONS, found, strict=True)):
            here = tuple(block[first:end])
            if mark is Mark.LASTING and not _is_his(here, words[n], n):
                words[n] = with_defaults(here, words[n] if self.is_owed else (), n) if is_sure else ()
            elif mark is Mark.OFF and not self.is_owed:
                words[n] = ()
        functions = enumerate(zip(FUNCTIONS, found, words, strict=True))
        is_back = all(
            mark is Mark.LASTING and _is_same(tuple(block[first:end]), own, n)
            for n, ((first, end), mark, own) in functions
            if own
        )
        self._become(replace(self.own, words=(words[0], words[1]), is_owed=self.own.is_owed and not is_back))
        if found == (Mark.OFF, Mark.OFF) and not self._drops:
            self._is_sure = True

    def forget(self) -> None:
        """Take that it was freed, by its owner or by a reboot: there is nothing to give back."""
        self._become(replace(self.own, words=((), ()), is_owed=False))

    def forget_power(self) -> None:
        """Take that its owner ended the power that he had set, and nothing else."""
        words = (), self.own.words[1]
        self._become(replace(self.own, words=words, is_owed=self.own.is_owed and any(words)))

    def _become(self, own: Own) -> None:
        """Have what is known kept, where a record of his is to be mended; a write waits for it by `is_kept`."""
        if own != self.own:
            had = not self.own.is_none
            self.own = own
            if had or not own.is_none:
                self._controls.keep(self._row, own, self.wake)


def _is_same(here: Words, own: Words, n: int) -> bool:
    return bool(own) and all(here[at] == own[at] for at in _VALUE[n])


def _is_his(here: Words, own: Words, n: int) -> bool:
    return _is_same(here, own, n) or is_reverted(here, own, n)
