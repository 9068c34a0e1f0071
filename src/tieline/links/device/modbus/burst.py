"""One batch for many devices at once: every write goes out before anything is read back.

Theory of operation. A limit must be on the wire first: that it was taken may be known a moment later. So the rows of a
batch whose devices are at rest are told together. Their registers are laid out in columns, each connection gets its
requests in one go, and what happens next happens in the callbacks of their answers, without a task that wakes for each.
A device whose functions are all written waits with its read-back until the whole burst is written, as long as that goes
on: until nothing was answered for `PATIENCE_S`, or `MOST_S` in all. One silent device must not keep the others from
being confirmed. Every end is judged by `commanded`, as for a single
command; a device that refuses a function in one request goes back to its own task, which tells it value by value.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tieline.device.profile import Profile
from tieline.errors import PeerError
from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.columns import asked_of_rows, bound_rows, laid, requests
from tieline.links.device.modbus.device import Device
from tieline.links.device.modbus.held import Held
from tieline.links.device.modbus.line import Answer, Failure, Question
from tieline.links.device.modbus.live import Carrier, Live
from tieline.links.device.modbus.unit import NO_BLOCKS, Rejected, Unit
from tieline.links.device.sunspec_models import model
from tieline.links.life import KILLED, leaving
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.times import SECOND_NS
from tieline.wire.modbus.pdu import MOST_READ, Read, Refused

PATIENCE_S = 0.25
MOST_S = 1.0


def tell(carrier: Carrier, batch: CommandBatch, rows: Sequence[tuple[Device, int]]) -> list[tuple[Device, int]]:
    """Tell devices at rest, each the row of the batch beside it; returns those that this is not for.

    These have more to say than a function in one request: another kind of profile, a value that does not fit.
    """
    left_s = (batch.valid_until_ns - carrier.clock.now_ns()) / SECOND_NS
    if left_s <= 0 or not rows:
        return list(rows)
    rows = _leaving(carrier, batch, rows)
    burst, others = Burst(carrier, batch), []
    for profile, members in _by_profile(rows).items():
        if profile.told_by == "power":
            others += _lay_out(burst, profile, members, left_s)
        else:
            others += members
    burst.begin()
    return others


def _leaving(carrier: Carrier, batch: CommandBatch, rows: Sequence[tuple[Device, int]]) -> list[tuple[Device, int]]:
    """Return the devices whose commands may still leave; those of the others end here."""
    passes = leaving(carrier.last_hop, batch, [at for _, at in rows])
    for (device, _), may in zip(rows, passes.tolist(), strict=True):
        if not may:
            commanded = device.commanded
            commanded.life.end(commanded.begun(), Stage.CANCELLED, RejectWord.BLOCKED, KILLED)
    return [one for one, may in zip(rows, passes.tolist(), strict=True) if may]


def _by_profile(rows: Sequence[tuple[Device, int]]) -> dict[Profile, list[tuple[Device, int]]]:
    found: dict[str, tuple[Profile, list[tuple[Device, int]]]] = {}
    for device, at in rows:
        found.setdefault(device.profile.name, (device.profile, []))[1].append((device, at))
    return dict(found.values())


def _lay_out(burst: Burst, profile: Profile, rows: list[tuple[Device, int]], left_s: float) -> list[tuple[Device, int]]:
    """Add the devices of one profile to a burst; returns those that it is not for."""
    size, batch = model(704).size, burst.batch
    good: list[tuple[Device, int]] = []
    others: list[tuple[Device, int]] = []
    for device, at in rows:
        unit = device.unit
        is_for = unit is not None and size <= len(unit.seen) <= MOST_READ
        (good if is_for else others).append((device, at))
    if not good:
        return others
    units = [device.unit for device, _ in good]
    seen = np.array([unit.seen[:size] for unit in units if unit is not None], np.uint16)
    start = np.array([unit.models[704][0] for unit in units if unit is not None], np.int64)
    ats = [at for _, at in good]
    inject_w = np.array([device.rating.max_inject_w for device, _ in good], np.float64)
    absorb_w = np.array([device.rating.max_absorb_w for device, _ in good], np.float64)
    full_w = np.array([device.commanded.full_w for device, _ in good], np.float64)
    powers = batch.target_w[ats], batch.low_w[ats], batch.high_w[ats]
    bound = bound_rows(profile, inject_w, absorb_w, *powers[1:])
    held = bound & np.isnan(powers[0])
    own_w = np.full(len(good), math.nan)
    for n in np.flatnonzero(bound).tolist():
        own_w[n] = good[n][0].commanded.own_w()
    wished, is_sane = asked_of_rows(profile, inject_w, absorb_w, full_w, *powers, own_w)
    image, told, fits = laid(seen, wished, max(round(left_s), 1))
    pdus = requests(start, seen, image)
    values = zip(*(one.tolist() for one in told), strict=True)
    # One that a limit is to hold at what it does is measured first, where that is not known.
    can_be = is_sane & fits & ~(held & np.isnan(own_w))
    of_limits = zip(held.tolist(), bound.tolist(), own_w.tolist(), strict=True)
    for (device, at), (target_w, low_w, high_w, share), is_for_it, of_device, of_limit in zip(
        good, values, can_be.tolist(), pdus, of_limits, strict=True
    ):
        if is_for_it:
            live = burst.add(device, Held(target_w, share, left_s, low_w, high_w), of_device)
            device.commanded.holds(live, *of_limit)
        else:
            others.append((device, at))
    return others


class Burst:
    """The devices that are told together, until each has ended."""

    def __init__(self, carrier: Carrier, batch: CommandBatch) -> None:
        self.carrier, self.batch = carrier, batch
        self._told: list[_Told] = []
        self._unwritten = 0
        self._waiting: list[_Told] = []
        self._is_patient = True
        self._timer: asyncio.TimerHandle | None = None
        self._written_s = self._end_s = 0.0  # s of the loop

    def add(self, device: Device, asked: Held, pdus: list[bytes]) -> Live:
        """Take a device in, and return its command."""
        assert device.unit is not None
        device.lend()
        live = device.commanded.begun()
        # All are told SENT at once in `begin`: one call for ten thousand rows, not one each.
        live.held = live.wish = asked
        live.stage, live.is_release = Stage.SENT, asked.is_free
        if not live.is_release:
            device.commanded.owner.told()
        self._told.append(_Told(self, device, device.unit, live, pdus))
        return live

    def begin(self) -> None:
        """Put every write."""
        told, self._told = self._told, []
        if not told:
            return
        self._unwritten = len(told)
        loop = asyncio.get_running_loop()
        self._written_s, self._end_s = loop.time(), loop.time() + MOST_S
        self._timer = loop.call_later(PATIENCE_S, self._look)
        self.carrier.counts.stages[Stage.SENT] += len(told)
        self.carrier.teller.stages(self.batch.id, [one.device.row for one in told], Stage.SENT)
        # One write a connection for all of its devices: a call a device would cost ten thousand turns of the loop.
        by_client: defaultdict[Client, list[_Told]] = defaultdict(list)
        for one in told:
            if one.pdus:
                by_client[one.unit.client].append(one)
            else:  # both functions are off and stay off
                one.wrote((), b"")
        for client, mine in by_client.items():
            client.ask([one.write() for one in mine])

    def written(self, told: _Told | None) -> None:
        """Take that a device is written and waits to be read back, or (None) that one has ended without."""
        self._unwritten -= 1
        if told is not None:
            if not self._is_patient:
                told.unit.client.ask((told.read(),))
                return
            self._waiting.append(told)
            self._written_s = asyncio.get_running_loop().time()
        if not self._unwritten:
            self._read_back()

    def _look(self) -> None:
        """Read back what is written, unless writes are still being answered."""
        loop = asyncio.get_running_loop()
        due_s = min(self._written_s + PATIENCE_S, self._end_s)
        if loop.time() < due_s:
            self._timer = loop.call_at(due_s, self._look)
        else:
            self._read_back()

    def _read_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_patient = False
        waiting, self._waiting = self._waiting, []
        by_client: defaultdict[Client, list[Question]] = defaultdict(list)
        for one in waiting:
            by_client[one.unit.client].append(one.read())
        for client, questions in by_client.items():
            client.ask(questions)


class _Told:
    """One device of a burst: what is still to be written, and what its answers mean."""

    __slots__ = ("burst", "device", "live", "pdus", "unit")

    def __init__(self, burst: Burst, device: Device, unit: Unit, live: Live, pdus: list[bytes]) -> None:
        self.burst, self.device, self.unit, self.live, self.pdus = burst, device, unit, live, pdus

    def write(self) -> Question:
        """Return the next write."""
        return Question(self.unit.number, self.pdus.pop(0), None, self.wrote)

    def wrote(self, answer: Answer | Failure, frame: bytes) -> None:
        """Take the answer to a write: the next one, the read-back, or an end."""
        commanded = self.device.commanded
        # That it takes no function in one request is a trait of the device; the command goes on by steps.
        if isinstance(answer, Refused) and answer.code in NO_BLOCKS:
            self.unit.takes_blocks = False
            commanded.resume(self.live)
            self.device.hand_back()
            self.burst.written(None)
            return
        failure = _failure(self.unit, answer)
        if failure is None and self.pdus:
            self.unit.client.ask((self.write(),))
        elif failure is None:
            self.unit.frame = frame
            commanded.heard(self.live, self.live.held.revert_s)
            commanded.life.accepted(self.live, frame.hex())
            self.burst.written(self)
        elif commanded.refused(self.live, failure):
            self.device.hand_back()
            self.burst.written(None)
        else:
            self.burst.written(self)

    def read(self) -> Question:
        """Return the question what it holds now."""
        start, size = self.unit.models[704]
        request = Read(start, size)
        return Question(self.unit.number, request.octets(), request, self.was_read)

    def was_read(self, answer: Answer | Failure, frame: bytes) -> None:
        """Take what it holds: its command has ended."""
        held: Held | Failure
        failure = _failure(self.unit, answer)
        if failure is None:
            assert isinstance(answer, tuple)
            self.unit.seen = answer
            try:
                held = self.unit.held(answer)
                self.device.commanded.seen(self.live, held, self.unit)
            except PeerError as error:
                held = failure = error
        else:
            held = failure
        self.device.commanded.confirmed(self.live, held)
        self.device.hand_back(failure)


def _failure(unit: Unit, answer: Answer | Failure) -> Failure | None:
    if isinstance(answer, Refused):
        return Rejected(answer.code, f"unit {unit.number}")
    return answer if isinstance(answer, Exception) else None
