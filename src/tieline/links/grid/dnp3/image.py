"""What one master sees: the points of its groups as DNP3 objects, and the events that their changes make.

An integer count on the wire is the SI value over the point's resolution, so that a master scales by one documented
factor. A point that the snapshot doesn't hold is shown as 0 with RESTART and COMM_LOST: known to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from py1815.application import ObjectHeader, QualifierCode, object_header
from py1815.control import encode_analog_output_status, encode_binary_output_status
from py1815.events import EventBuffers, EventClass
from py1815.objects import AnalogPoint, AnalogVariation, BinaryPoint, BinaryQuality, encode_analog, encode_binary
from py1815.session import ParameterError, UnknownObject

from tieline.desk.ports import GroupView, Measured, Snapshot
from tieline.links.grid.dnp3.binding import Binding, Group, Input, Output
from tieline.links.grid.dnp3.words import UNKNOWN_FLAGS, analog_flags, binary_flags
from tieline.resource.quality import Quality

_BI, _BO, _AI, _AO, _CLASS = 1, 10, 30, 40, 60
_BLOCK_POINTS = 150
# Group -> its variations and the one sent when the master leaves the choice to us.
_VARIATIONS = {_BI: ({2}, 2), _BO: ({2}, 2), _AI: ({1, 2, 3, 4, 5}, 1), _AO: ({1, 2, 3, 4}, 1)}
_CLASSES = {1: EventClass.CLASS_1, 2: EventClass.CLASS_2, 3: EventClass.CLASS_3}
Outputs = dict[tuple[str, str], float]


class Image:
    """The four tables of one association; a `BlockReadProvider` of py1815."""

    def __init__(self, binding: Binding, groups: Sequence[Group], events: EventBuffers) -> None:
        self._binding = binding
        self._groups = tuple(groups)
        self._events = events
        self._primed = self._was_read = False
        self._tables: dict[int, dict[int, AnalogPoint | BinaryPoint]] = {_BI: {}, _BO: {}, _AI: {}, _AO: {}}
        # What is shown already, as most stands still for most beats: inputs by table and index, and outputs.
        self._seen: dict[tuple[int, int], tuple[float, Quality] | None] = {}
        self._outputs: Outputs | None = None
        self.show(None, {}, frozenset(), 0)

    def show(
        self,
        snapshot: Snapshot | None,
        outputs: Outputs,
        pending: frozenset[str],
        now_ns: int,
        lapsed: frozenset[str] = frozenset(),
    ) -> None:
        """Take a snapshot, the outputs in force (by group and what they set) and the groups that wait for a revision.

        `lapsed` are the groups of which this master holds something no more, as it was silent for a lease (R3).
        Each change beyond its deadband becomes an event at its source's time.
        """
        views = {view.resource: view for view in snapshot.groups} if snapshot else {}
        record, moved = self._primed or self._was_read, outputs != self._outputs
        for group in self._groups:
            marks = {"@pending": group.resource in pending, "@lapsed": group.resource in lapsed}
            self._show_inputs(group, snapshot, views.get(group.resource), marks, now_ns, record)
            if moved:
                self._show_outputs(group, outputs, now_ns, record)
        self._outputs = dict(outputs)
        # A master learns the first values from its integrity poll: no event tells of a change that never was. One that
        # polled before we knew them, as we had just begun, learns from events that what it saw as unknown is known.
        self._primed = self._primed or snapshot is not None

    def _show_inputs(
        self,
        group: Group,
        snapshot: Snapshot | None,
        view: GroupView | None,
        marks: dict[str, bool],
        now_ns: int,
        record: bool,
    ) -> None:
        revision = float((snapshot.revision if snapshot else 0) % 2**31)
        values = dict(view.values) if view else {}
        values |= {name: Measured(float(value), Quality.GOOD, now_ns) for name, value in marks.items()}
        values["@revision"] = Measured(revision, Quality.GOOD, now_ns)
        for point in self._binding.analog:
            index, seen = group.at + point.offset, values.get(point.shows)
            if not self._is_shown(_AI, index, seen):
                flags = analog_flags(seen.quality) if seen else UNKNOWN_FLAGS
                counts = seen.value / point.resolution if seen else 0.0
                self._set_analog(index, AnalogPoint(counts, flags), point, seen, now_ns, record)
        for point in self._binding.binary:
            index, seen = group.at + point.offset, values.get(point.shows)
            if not self._is_shown(_BI, index, seen):
                flags = binary_flags(seen.quality) if seen else UNKNOWN_FLAGS
                state = BinaryPoint(bool(seen and seen.value), flags)
                self._set_binary(index, state, point.event_class, seen, now_ns, record)

    def _is_shown(self, table: int, index: int, seen: Measured | None) -> bool:
        """Return whether a point shows this value and quality already, and note that from now on it does."""
        value = (seen.value, seen.quality) if seen else None
        if self._seen.get((table, index), ()) == value:
            return True
        self._seen[table, index] = value
        return False

    def _show_outputs(self, group: Group, outputs: Outputs, now_ns: int, record: bool) -> None:
        for output in self._binding.outputs:
            counts = outputs.get((group.resource, output.sets), resting(group, output)) / output.resolution
            point = AnalogPoint(counts)
            self._tables[_AO][group.at + output.offset] = point
            mirror = Input(output.mirror, "", output.resolution, 1)
            self._set_analog(group.at + output.mirror, point, mirror, None, now_ns, record)
        for switch in self._binding.switches:
            state = BinaryPoint(bool(outputs.get((group.resource, switch.does), 0.0)))
            self._tables[_BO][group.at + switch.offset] = state
            self._set_binary(group.at + switch.mirror, state, 1, None, now_ns, record)

    def _set_analog(
        self, index: int, point: AnalogPoint, of: Input, seen: Measured | None, now_ns: int, record: bool
    ) -> None:
        shown, self._tables[_AI][index] = self._tables[_AI].get(index), point
        if not of.event_class or point == shown:  # that was told, or is known: most points stand still for most beats
            return
        if not record:
            self._events.prime_analog(index, point)
            return
        self._events.record_analog(
            index,
            point,
            event_class=_CLASSES[of.event_class],
            deadband=of.deadband / of.resolution,
            timestamp_ms=(seen.taken_at_ns if seen else now_ns) // 1_000_000,
        )

    def _set_binary(
        self, index: int, point: BinaryPoint, event_class: int, seen: Measured | None, now_ns: int, record: bool
    ) -> None:
        shown, self._tables[_BI][index] = self._tables[_BI].get(index), point
        if not event_class or point == shown:
            return
        if not record:
            self._events.prime_binary(index, point)
            return
        at_ms = (seen.taken_at_ns if seen else now_ns) // 1_000_000
        self._events.record_binary(index, point, event_class=_CLASSES[event_class], timestamp_ms=at_ms)

    # --- py1815's read provider -------------------------------------------------------------------------------------

    def read(self, headers: Sequence[ObjectHeader]) -> bytes:
        """Return the objects that the headers name, with their headers."""
        return b"".join(self.read_blocks(headers))

    def read_blocks(self, headers: Sequence[ObjectHeader]) -> list[bytes]:
        """Return the objects that the headers name, in blocks that each fit a fragment.

        Raises:
            UnknownObject: A group or variation that we don't hold.
            ParameterError: A range in which we hold nothing.
        """
        self._was_read = True
        blocks: list[bytes] = []
        for header in headers:
            if header.group == _CLASS and header.variation == 1:
                for group, (_, default) in _VARIATIONS.items():
                    blocks += self._blocks(group, default, sorted(self._tables[group]))
            else:
                blocks += self._one(header)
        return blocks

    def _one(self, header: ObjectHeader) -> list[bytes]:
        if header.group not in _VARIATIONS:
            raise UnknownObject(f"group {header.group}")
        served, default = _VARIATIONS[header.group]
        if header.variation not in served | {0}:
            raise UnknownObject(f"group {header.group} variation {header.variation}")
        held = sorted(self._tables[header.group])
        if header.qualifier is not QualifierCode.ALL_OBJECTS:
            held = _within(header, held)
        return self._blocks(header.group, header.variation or default, held)

    def _blocks(self, group: int, variation: int, indices: Sequence[int]) -> list[bytes]:
        table = self._tables[group]
        return [
            object_header(group, variation, start=run[0], stop=run[-1])
            + b"".join(_encode(group, variation, table[index]) for index in run)
            for run in _runs(indices)
        ]


def resting(group: Group, output: Output) -> float:
    """Return what an output stands at while nobody has set it: no target, and limits as wide as the group."""
    low, high = -group.max_absorb_w, group.max_inject_w
    wmax = max(group.max_inject_w, group.max_absorb_w) or 1.0
    rest = {"target_w": 0.0, "low_w": low, "high_w": high, "low_frac": low / wmax, "high_frac": high / wmax}
    return rest[output.sets]


def _within(header: ObjectHeader, held: Sequence[int]) -> list[int]:
    if header.start is not None and header.stop is not None:
        inside = [index for index in held if header.start <= index <= header.stop]
    elif header.indices is not None:
        wanted = frozenset(header.indices)
        inside = [index for index in held if index in wanted]
    else:
        raise ParameterError(f"group {header.group}: qualifier {int(header.qualifier):#04x} selects no points")
    if not inside:
        raise ParameterError(f"group {header.group}: no point from {header.start} to {header.stop}")
    return inside


def _runs(indices: Iterable[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) < _BLOCK_POINTS:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _encode(group: int, variation: int, point: AnalogPoint | BinaryPoint) -> bytes:
    if isinstance(point, BinaryPoint):
        if group == _BO:
            return bytes(encode_binary_output_status(state=point.state, flags=BinaryQuality.ONLINE))
        return bytes(encode_binary(point))
    if group == _AO:
        return bytes(encode_analog_output_status(point.value, variation))
    return bytes(encode_analog(point, AnalogVariation(variation)))
