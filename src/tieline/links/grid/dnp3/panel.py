"""What a master's controls mean: a request becomes actions on functions of groups, all or none of each function.

A group has two functions, `target` and `limit`. Its AOs are values, its BO enables it. A value set while the function
is disabled only waits; enabling it asks the desk; a value set while it is enabled asks again; disabling (or the
cancel switch) withdraws, and whatever claim is next in force again. Pure: the link carries the actions out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from py1815.control import AnalogOutput, CommandStatus, ControlRelayOutputBlock, OperationType, TripCloseCode
from py1815.session import Control

from tieline.desk.ports import Ask
from tieline.links.grid.dnp3.binding import Binding, Function, Group, Output, Peer, Switch
from tieline.resource.level import Level

FUNCTIONS: tuple[Function, ...] = ("target", "limit")
Slot = tuple[str, Function]


@dataclass(frozen=True, slots=True)
class Latch:
    """Where one function of one group stands: its values (W) and whether it is enabled."""

    low_w: float
    high_w: float
    target_w: float = 0.0
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One change of a latch that a request makes, by the positions of the controls that make it."""

    slot: Slot
    does: Literal["stage", "ask", "withdraw"]
    latch: Latch
    controls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A request understood: a status for each control refused at once, and the actions for the others.

    `refused` tells for each function that was asked for in vain the status that says why.
    """

    statuses: dict[int, CommandStatus]
    refused: dict[Slot, CommandStatus]
    actions: tuple[Action, ...]


class Panel:
    """The latches of one master, and what it may do with them."""

    def __init__(self, binding: Binding, peer: Peer) -> None:
        self._peer = peer
        self.latches: dict[Slot, Latch] = {}
        self._points: dict[tuple[int, int], tuple[Group, Output | Switch]] = {}
        self._groups = {group.resource: group for group in binding.groups}
        for group in binding.groups:
            for function in FUNCTIONS:
                self.latches[group.resource, function] = Latch(-group.max_absorb_w, group.max_inject_w)
            for output in binding.outputs:
                self._points[41, group.at + output.offset] = group, output
            for switch in binding.switches:
                self._points[12, group.at + switch.offset] = group, switch

    def level(self, slot: Slot) -> Level:
        """Return the authority level of a function."""
        return self._groups[slot[0]].level(slot[1])

    def outputs(self) -> dict[tuple[str, str], float]:
        """Return where every output of the peer's groups stands, by group and what it sets."""
        shown: dict[tuple[str, str], float] = {}
        for (resource, function), latch in self.latches.items():
            if function == "target":
                shown[resource, "target_w"] = latch.target_w
                shown[resource, "enable_target"] = float(latch.enabled)
            else:
                wmax = self._wmax(resource)
                shown |= {(resource, "low_w"): latch.low_w, (resource, "high_w"): latch.high_w}
                shown |= {(resource, "low_frac"): latch.low_w / wmax, (resource, "high_frac"): latch.high_w / wmax}
                shown[resource, "enable_limit"] = float(latch.enabled)
        return shown

    def read(self, controls: Sequence[Control]) -> Reading:
        """Return what a request asks for, refusing what this master may not do, or what lies out of range."""
        statuses: dict[int, CommandStatus] = {}
        staged: dict[Slot, tuple[Latch, list[int]]] = {}
        switched: set[Slot] = set()
        failed: dict[Slot, CommandStatus] = {}
        for at, control in enumerate(controls):
            found = self._points.get((control.group, control.index))
            if found is None:
                statuses[at] = CommandStatus.NOT_SUPPORTED
                continue
            slots = _slots(*found)
            status = self._refuse(*found, slots, control)
            changed = {} if status else self._change(*found, slots, control, staged)
            if status or isinstance(changed, CommandStatus):
                statuses[at] = status or changed  # type: ignore[assignment]
                failed |= {slot: statuses[at] for slot in slots if slot not in failed}
                continue
            for slot, latch in changed.items():
                if isinstance(found[1], Switch):
                    switched.add(slot)
                staged[slot] = latch, [*(staged[slot][1] if slot in staged else []), at]
        actions = [_action(slot, *change, slot in switched) for slot, change in staged.items()]
        for action in actions:
            crossed = action.latch.low_w > action.latch.high_w
            if action.slot in failed or crossed:
                # All controls of one function act together or not at all: half a limit is another limit.
                reason = CommandStatus.OUT_OF_RANGE if crossed else CommandStatus.CANCELLED
                statuses |= dict.fromkeys(action.controls, reason)
                failed.setdefault(action.slot, reason)
        done = tuple(action for action in actions if not any(at in statuses for at in action.controls))
        return Reading(statuses, failed, done)

    def commit(self, action: Action) -> None:
        """Let an action that was granted stand."""
        self.latches[action.slot] = action.latch

    def take_up(self, slot: Slot, ask: Ask) -> None:
        """Set a function to what an ask of an earlier run stands for."""
        latch = self.latches[slot]
        if slot[1] == "limit":
            self.latches[slot] = replace(latch, low_w=ask.low, high_w=ask.high, enabled=True)
        else:
            self.latches[slot] = replace(latch, target_w=ask.value, enabled=True)

    def lapse(self, slot: Slot) -> None:
        """Disable a function whose lease ran out; its values stay as they were set."""
        self.latches[slot] = replace(self.latches[slot], enabled=False)

    def _wmax(self, resource: str) -> float:
        group = self._groups[resource]
        return max(group.max_inject_w, group.max_absorb_w) or 1.0

    def _refuse(
        self, group: Group, point: Output | Switch, slots: Sequence[Slot], control: Control
    ) -> CommandStatus | None:
        if group.resource not in self._peer.may_operate:
            return CommandStatus.NOT_AUTHORIZED
        # A lower number is a stronger level: the ceiling bounds how strong this master may be.
        if isinstance(point, Output) or point.does != "cancel":
            ceiling = Level[self._peer.ceiling]
            if any(self.level(slot) < ceiling for slot in slots):
                return CommandStatus.NOT_AUTHORIZED
        if isinstance(control.command, ControlRelayOutputBlock) and _switched(control.command) is None:
            return CommandStatus.NOT_SUPPORTED
        return None

    def _change(
        self,
        group: Group,
        point: Output | Switch,
        slots: Sequence[Slot],
        control: Control,
        staged: dict[Slot, tuple[Latch, list[int]]],
    ) -> dict[Slot, Latch] | CommandStatus:
        latches = {slot: staged[slot][0] if slot in staged else self.latches[slot] for slot in slots}
        if isinstance(point, Output):
            assert isinstance(control.command, AnalogOutput)
            scale = self._wmax(group.resource) if point.sets.endswith("_frac") else 1.0
            power_w = control.command.value * point.resolution * scale
            low, high = max(-group.max_absorb_w, self._peer.low_w), min(group.max_inject_w, self._peer.high_w)
            if not math.isfinite(power_w) or not low <= power_w <= high:
                return CommandStatus.OUT_OF_RANGE
            return {slot: _set(latch, point, power_w) for slot, latch in latches.items()}
        assert isinstance(control.command, ControlRelayOutputBlock)
        on = bool(_switched(control.command))
        if point.does == "cancel":
            return {slot: replace(latch, enabled=False) for slot, latch in latches.items()} if on else {}
        return {slot: replace(latch, enabled=on) for slot, latch in latches.items()}


def _action(slot: Slot, latch: Latch, controls: list[int], switched: bool) -> Action:
    if latch.enabled:
        return Action(slot, "ask", latch, tuple(controls))
    # Switched off always withdraws: the desk may hold a claim that this panel knows nothing of.
    return Action(slot, "withdraw" if switched else "stage", latch, tuple(controls))


def _set(latch: Latch, output: Output, power_w: float) -> Latch:
    match output.sets:
        case "target_w":
            return replace(latch, target_w=power_w)
        case "low_w" | "low_frac":
            return replace(latch, low_w=power_w)
        case "high_w" | "high_frac":
            return replace(latch, high_w=power_w)


def _slots(group: Group, point: Output | Switch) -> tuple[Slot, ...]:
    if isinstance(point, Output):
        return ((group.resource, point.function),)
    if point.does == "cancel":
        return tuple((group.resource, function) for function in FUNCTIONS)
    return ((group.resource, "target" if point.does == "enable_target" else "limit"),)


def _switched(block: ControlRelayOutputBlock) -> bool | None:
    """Return on or off for a relay block that a latch can follow, else None (IEEE 1815-2012, A.8.1)."""
    if block.count != 1 or block.queued or block.clear:
        return None
    match block.operation, block.trip_close:
        case (OperationType.LATCH_ON, TripCloseCode.NUL) | (OperationType.PULSE_ON, TripCloseCode.CLOSE):
            return True
        case (OperationType.LATCH_OFF, TripCloseCode.NUL) | (OperationType.PULSE_ON, TripCloseCode.TRIP):
            return False
        case (OperationType.PULSE_ON, TripCloseCode.NUL):
            return True
        case _:
            return None
