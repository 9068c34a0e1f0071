"""A fleet as columns: a row a device, and groups (feeders, sites, pools, ...) as sets of rows.

What arbitration, availability and the screens read a thousand times a second lives in a column of its own; any other
point of `points.toml` gets a column when the first reading of it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.fleet.beneath import Beneath
from tieline.fleet.taking import take_in_order
from tieline.resource.batch import BEHIND_NS, Codes, Readings
from tieline.resource.hold import MIN_HOLD_S
from tieline.resource.identity import GROUP_KINDS, Fuel, Kind, Purpose
from tieline.resource.point import by_code, code, ends_by_code
from tieline.resource.quality import Quality

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
OUT_OF_RANGE = np.uint32(Quality.OUT_OF_RANGE)
RATING_FRAC, RATING_FLOOR_W = 1.2, 500.0
"""What is measured may be beyond a rating by a fifth, for overload and rounding, and by what small meters are off: more
is a slip of units, a wrong sign, or another device's."""
FEW = 16
"""Batches up to this size are taken reading by reading."""
KINDS: tuple[Kind, ...] = tuple(Kind)
KIND_CODE = {kind: index for index, kind in enumerate(KINDS)}
FUELS: tuple[str, ...] = (*(fuel.value for fuel in Fuel), "unknown")
FUEL_CODE = {fuel: index for index, fuel in enumerate(FUELS)}
"""`unknown` is what an engine burns of which nobody said: no rule allows that, so it is refused (deny by default)."""


def among(codes: Iterable[int], count: int = len(KINDS)) -> NDArray[np.bool_]:
    """Return a table that says of each of so many codes whether it is one of these: looked up, not searched.

    >>> among((0, 2), 4)[np.array([2, 1, 0])]
    array([ True, False,  True])
    """
    table = np.zeros(count, np.bool_)
    table[list(codes)] = True
    return table


def or_0(values: Floats) -> Floats:
    """Return values, of any shape, with 0 in place of each that nobody knows (NaN).

    >>> or_0(np.array([2.0, np.nan]))
    array([2., 0.])
    """
    return np.where(np.isnan(values), 0.0, values)


def first_true(masks: Sequence[NDArray[np.bool_]], values: Sequence[Any], otherwise: Any) -> NDArray[Any]:
    """Return of each place the value of the first mask that is true there, as `numpy.select`, which costs twice that.

    >>> first_true((np.array([True, False, False]), np.array([True, True, False])), (1, 2), 3)
    array([1, 2, 3])
    """
    found = otherwise
    for mask, value in zip(reversed(masks), reversed(values), strict=True):
        found = np.where(mask, value, found)
    return np.asarray(found)


def places(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as numpy indexes by them cheapest: it makes any others into these each time, at up to the price of
    six look-ups. What is kept or recorded stays `Rows`.

    >>> places(np.array([2, 0], np.int32)).dtype == np.intp
    True
    """
    return np.asarray(rows, np.intp)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of resources under one purpose; `parent` is the index of the group above, -1 at the top."""

    id: str
    kind: Kind
    purpose: Purpose
    parent: int
    name: str = ""


class Fleet:
    """All devices in columns of shape (n,), and all groups."""

    def __init__(
        self,
        ids: Sequence[str],
        kinds: NDArray[np.uint8],
        max_inject_w: Floats,
        max_absorb_w: Floats,
        energy_wh: Floats,
        default_w: Floats,
        safe_w: Floats,
        groups: Sequence[Group],
        parents: dict[Purpose, Rows],
    ) -> None:
        """Make a fleet.

        Args:
            ids: Ids of the devices, in row order.
            kinds: `KIND_CODE` of each.
            max_inject_w: Rating towards the grid (W, 0 or more).
            max_absorb_w: Rating from the grid (W, 0 or more).
            energy_wh: Stored energy when full (Wh; 0: no storage).
            default_w: Power that each holds by itself (W).
            safe_w: Power that is safe for each (W).
            groups: The groups; a parent stands before its children.
            parents: For each purpose the index in `groups` of each row's parent, -1 for none.

        `max_va` (VA), `q_priority`, `ramp_w_per_s` (inf: as fast as it likes), `min_hold_s` and `fuels` (`FUEL_CODE`)
        begin with what the rest implies, and are set afterwards where more is known.
        """
        self.ids = list(ids)
        self._rows = {name: row for row, name in enumerate(self.ids)}
        self.kinds, self.energy_wh = kinds, energy_wh
        self.max_inject_w, self.max_absorb_w = max_inject_w, max_absorb_w
        self.default_w, self.safe_w = default_w, safe_w
        self.groups = list(groups)
        self.parents = parents
        self._group_at = {group.id: index for index, group in enumerate(self.groups)}
        self._leaves: dict[int, Rows] = {}
        self._beneath: Beneath | None = None
        self._enrolled: dict[int, Rows] = {}
        count = len(self.ids)
        self.quality = np.full(count, int(Quality.NOT_TOPICAL), np.uint32)
        self.taken_at_ns = np.zeros(count, np.int64)
        self.received_at_ns = np.zeros(count, np.int64)
        self.heard_every_ns = np.zeros(count, np.int64)  # from the power before the newest to that; 0: not known
        self.max_va: Floats = np.maximum(max_inject_w, max_absorb_w)
        self.q_priority = np.zeros(count, np.bool_)
        self.ramp_w_per_s = np.full(count, np.inf)
        self.min_hold_s = np.array([MIN_HOLD_S.get(kind, 0.0) for kind in KINDS])[self.kinds]
        self.fuels = implied_fuels(kinds)
        self._columns: dict[int, Floats] = {}
        self._taken: dict[int, NDArray[np.int64]] = {}
        self.power_code = code("power_w")
        self.power_w = self.column("power_w")
        self.available_up_w = self.column("available_up_w")
        self.available_down_w = self.column("available_down_w")
        self.energy_available_wh = self.column("energy_available_wh")
        self.late = self.beyond = 0

    def __len__(self) -> int:
        return len(self.ids)

    # --- names ---------------------------------------------------------------------------------------------------

    def holds(self, resource: str) -> bool:
        """Return whether a device or group has this id."""
        return resource in self._rows or resource in self._group_at

    def row(self, resource: str) -> int:
        """Return the row of a device. Raises KeyError where there is none."""
        return self._rows[resource]

    def rated_w_of(self, row: int) -> float:
        """Return the most that a device is rated to give or to take (W), whichever is more; 0 where none is known."""
        return float(max(self.max_inject_w[row], self.max_absorb_w[row]))

    def rows_of(self, resources: Sequence[str]) -> Rows:
        """Return the rows of devices, -1 where an id is unknown."""
        find = self._rows.get
        return np.fromiter((find(name, -1) for name in resources), np.int32, len(resources))

    def id_of(self, row: int) -> str:
        """Return the id of a row's device."""
        return self.ids[row]

    def kind_of(self, resource: str) -> Kind:
        """Return the kind of a device or group. Raises KeyError where there is none."""
        row = self._rows.get(resource)
        return self.groups[self._group_at[resource]].kind if row is None else KINDS[self.kinds[row]]

    def group(self, resource: str) -> Group:
        """Return a group. Raises KeyError where there is none."""
        return self.groups[self._group_at[resource]]

    def groups_of(self, kind: Kind) -> list[Group]:
        """Return the groups of one kind, in order."""
        return [group for group in self.groups if group.kind is kind]

    def ancestors(self, row: int, purpose: Purpose) -> list[Group]:
        """Return the groups above a device for a purpose, the nearest first."""
        found: list[Group] = []
        at = int(self.parents[purpose][row]) if purpose in self.parents else -1
        while at >= 0:
            found.append(self.groups[at])
            at = self.groups[at].parent
        return found

    def leaves(self, resource: str) -> Rows:
        """Return the rows of all devices beneath a group, or the one row of a device.

        Raises:
            KeyError: There is no such resource.
        """
        if resource in self._rows:
            return np.array([self._rows[resource]], np.int32)
        index = self._group_at[resource]
        if index not in self._leaves:
            also = self._enrolled.get(index, np.zeros(0, np.int32))
            self._leaves[index] = np.union1d(self._find_leaves(index), also).astype(np.int32)
        return self._leaves[index]

    def enrol(self, group: str, rows: Rows) -> None:
        """Put devices into a program beside those that they are in: of programs a device may have many.

        Raises:
            KeyError: There is no such group.
            ValueError: The group is none of the purpose PROGRAM.
        """
        index = self._group_at[group]
        if self.groups[index].purpose is not Purpose.PROGRAM:
            raise ValueError(f"{group} is a group for {self.groups[index].purpose}: of those a device has one")
        self._enrolled[index] = np.union1d(self._enrolled.get(index, np.zeros(0, np.int32)), rows).astype(np.int32)
        self._leaves.pop(index, None)

    def programs_of(self, row: int) -> list[str]:
        """Return the programs that a device is in."""
        return [g.id for g in self.groups if g.purpose is Purpose.PROGRAM and row in self.leaves(g.id)]

    def _find_leaves(self, index: int) -> Rows:
        group = self.groups[index]
        if group.kind not in GROUP_KINDS or group.purpose not in self.parents:
            return np.zeros(0, np.int32)
        if self._beneath is None:
            self._beneath = Beneath([other.parent for other in self.groups], self.parents)
        return self._beneath.rows(index, group.purpose)

    # --- readings ------------------------------------------------------------------------------------------------

    def is_beyond_rating(self, rows: Rows, power_w: Floats) -> NDArray[np.bool_]:
        """Return which powers (W) are beyond what their device can do, slack allowed.

        A device without any rating is held against none: a registry may know of it by its name alone.
        """
        most_w, least_w = self.max_inject_w[rows], -self.max_absorb_w[rows]
        high = power_w > RATING_FRAC * most_w + RATING_FLOOR_W
        beyond = high | (power_w < RATING_FRAC * least_w - RATING_FLOOR_W)
        return beyond & (most_w > least_w) if np.count_nonzero(beyond) else beyond

    def checked(self, readings: Readings, ahead_ns: int) -> Readings:
        """Return the readings, marked where their time, their value or their device's rating make them doubtful."""
        if len(readings.rows) <= FEW and self._are_sound(readings):
            return readings
        return self.in_rating(readings.in_time(ahead_ns).in_range())

    def _are_sound(self, readings: Readings) -> bool:
        """Whether nothing about a handful is doubtful: most that come are so, and cost less looked at one by one."""
        low, high = ends_by_code()
        power_code = self.power_code
        for row, point, value, taken_ns, received_ns in zip(
            readings.rows.tolist(), readings.points.tolist(), readings.values.tolist(),
            readings.taken_at_ns.tolist(), readings.received_at_ns.tolist(), strict=True,
        ):  # fmt: skip
            if not received_ns - BEHIND_NS <= taken_ns <= received_ns or not low[point] <= value <= high[point]:
                return False
            if point == power_code and not -self.max_absorb_w[row] <= value <= self.max_inject_w[row]:
                return False  # perhaps within the slack, or without any rating: to be looked at in full
        return True

    def in_rating(self, readings: Readings) -> Readings:
        """Return the readings, marked OUT_OF_RANGE where a power is beyond the rating of its own device.

        It is kept and shown as its device's own, and neither dispatched nor settled by, nor counted in any sum that is
        shown (`known_power_w`); `beyond` counts such readings.
        """
        power = readings.points == self.power_code
        if not power.any():
            return readings
        beyond = power & self.is_beyond_rating(readings.rows, readings.values)
        if not beyond.any():
            return readings
        self.beyond += int(beyond.sum())
        return replace(readings, quality=np.where(beyond, readings.quality | OUT_OF_RANGE, readings.quality))

    def known_power_w(self, rows: Rows | None = None) -> Floats:
        """Return the power of devices as far as it can be true (W; NaN: never read, or marked OUT_OF_RANGE).

        What a person reads as the power of several, and what limits go by, is made of these: one reading of 1e9 W would
        be all of it.

        Args:
            rows: Which; None: all.
        """
        power_w, quality = (self.power_w, self.quality) if rows is None else (self.power_w[rows], self.quality[rows])
        wrong = (quality & OUT_OF_RANGE) != 0
        return np.where(wrong, np.nan, power_w) if np.count_nonzero(wrong) else power_w

    def power_or_0_w(self, rows: Rows | None = None) -> Floats:
        """Return what `known_power_w` does, with 0 where it has none (W): what a sum of several counts each at."""
        power_w, quality = (self.power_w, self.quality) if rows is None else (self.power_w[rows], self.quality[rows])
        return np.where(np.isnan(power_w) | ((quality & OUT_OF_RANGE) != 0), 0.0, power_w)

    def column(self, key: str) -> Floats:
        """Return the column of a point (SI; NaN: never read); made when first asked for."""
        return self._column(code(key))

    def _column(self, point: int) -> Floats:
        if point not in self._columns:
            if point not in by_code():
                raise KeyError(f"point code {point} is not in the catalogue")
            self._columns[point] = np.full(len(self.ids), np.nan)
            self._taken[point] = np.zeros(len(self.ids), np.int64)
        return self._columns[point]

    def take_readings(self, readings: Readings) -> int:
        """Take measurements; of each row and point the newest `taken_at_ns` stays. Returns how many came late.

        Power has a column of its quality beside it. Of any other point a value out of range is passed over: nothing
        would tell it from a good one.
        """
        if len(readings.rows) <= FEW:
            return self._take_few(readings)
        late = sum(self._take_of(point, readings) for point in _each(readings.points))
        self.late += late
        return late

    def _take_of(self, point: int, readings: Readings) -> int:
        mine = readings.points == point
        is_power = point == self.power_code
        if not is_power:
            mine &= (readings.quality & OUT_OF_RANGE) == 0
        if not mine.all():
            readings = readings.only(mine)
        when = readings.taken_at_ns
        if len(when) > 1 and (when[1:] < when[:-1]).any():
            readings = readings.only(np.argsort(when, kind="stable"))
        read = (readings.values, readings.taken_at_ns, readings.received_at_ns, readings.quality)
        beside = (self.taken_at_ns, self.received_at_ns, self.quality)
        column = self._column(point)
        return int(take_in_order(readings.rows, read, column, self._taken[point], beside, is_power))

    def _take_few(self, readings: Readings) -> int:
        """Take a handful, one by one: a device's own frame costs less so than by twenty numpy calls."""
        late = 0
        points, rows, when = readings.points.tolist(), readings.rows.tolist(), readings.taken_at_ns.tolist()
        received, flags, values = readings.received_at_ns.tolist(), readings.quality.tolist(), readings.values.tolist()
        for at in sorted(range(len(rows)), key=when.__getitem__):
            point, row = points[at], rows[at]
            if point != self.power_code and flags[at] & OUT_OF_RANGE:
                continue
            column, taken = self._column(point), self._taken[point]
            if when[at] < taken[row] <= received[at]:
                late += 1
                continue
            column[row] = values[at]
            taken[row] = when[at]
            if point == self.power_code:
                self.quality[row] = flags[at]
                self.taken_at_ns[row] = when[at]
                self.received_at_ns[row] = received[at]
        self.late += late
        return late

    def mark_stale(self, now_ns: int, after_ns: int) -> int:
        """Flag rows whose power is older than `after_ns` as NOT_TOPICAL, and return how many are."""
        stale = now_ns - self.taken_at_ns > after_ns
        self.quality[stale] |= np.uint32(int(Quality.NOT_TOPICAL))
        return int(stale.sum())

    def bytes_per_row(self) -> float:
        """Return how much memory the columns take for each device (bytes), ids left out."""
        arrays: list[NDArray[Any]] = [
            self.kinds, self.max_inject_w, self.max_absorb_w, self.energy_wh, self.default_w, self.safe_w,
            self.quality, self.taken_at_ns, self.received_at_ns,
            *self.parents.values(), *self._columns.values(), *self._taken.values(),
        ]  # fmt: skip
        return sum(array.nbytes for array in arrays) / max(len(self.ids), 1)


def _each(points: Codes) -> list[int]:
    """Return the points of a batch, nearly always one, each once."""
    first = int(points[0])
    return [first] if (points == first).all() else [int(point) for point in np.unique(points)]


def implied_fuels(kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `FUEL_CODE` of rows of which nobody said what they burn: nothing, unless their kind is an engine's.

    A biomass plant burns biomass; what a backup generator or a CHP unit burns doesn't follow from its kind.
    """
    of_kind = dict.fromkeys(KINDS, FUEL_CODE[Fuel.NONE])
    of_kind[Kind.BIOMASS] = FUEL_CODE[Fuel.BIOMASS]
    of_kind[Kind.BACKUP_GENERATOR] = of_kind[Kind.CHP] = FUEL_CODE["unknown"]
    return np.array(list(of_kind.values()), np.uint8)[kinds]
