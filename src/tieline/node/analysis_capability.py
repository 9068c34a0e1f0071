"""What resources, pools and feeders can do, from a table of devices or a served folder; can they meet a request?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tieline.desk.envelopes import able
from tieline.errors import ConfigError
from tieline.fleet.capability import Capability, Envelopes, envelopes, follow, lacks_wh
from tieline.node.journals import Hears
from tieline.node.seen_folder import seen
from tieline.resource.identity import Kind
from tieline.store.meter_files import HEAD, read_instants, read_numbers, read_table
from tieline.store.meter_grid import STEPS_NS
from tieline.times import MINUTE_NS, SECOND_NS, iso

Floats = NDArray[np.float64]

NUMBERS = {
    "up_kw": 0.0, "down_kw": 0.0, "up_kwh": np.inf, "down_kwh": np.inf, "notice_s": 0.0, "ramp_kw_per_s": np.inf,
    "rebound_frac": 0.0, "reach_frac": 1.0,
}  # fmt: skip
"""Columns of a table of devices, and what an empty field or a missing column says."""
GROUPS = ("pool", "feeder")


def capability_of(
    device_file: Path, by: str, lasts_s: list[float], notices_s: list[float], request_file: Path | None
) -> dict[str, Any]:
    """Return the envelopes of each group both ways, as `tieline capability` prints them.

    Args:
        device_file: `resource` and any of `NUMBERS`, `pool` and `feeder`.
        by: `all`, `resource`, or a column of groups.
        lasts_s: How long power is to be held.
        notices_s: How much notice there is.
        request_file: `start,kw`, positive up: is it within what all can do together?

    Raises:
        ConfigError: A file, row or option is not what it should be; it is named.
    """
    names, columns, groups = _devices(device_file)
    if by in GROUPS and by not in groups:
        raise ConfigError(f"{device_file}: column {by} is missing: give it, or another --by")
    wanted = {"all": ["all"] * len(names), "resource": names}.get(by) or groups[by]
    keys = sorted({key for key in wanted if key})  # who is in no group counts nowhere
    if not keys:
        raise ConfigError(f"{device_file}: column {by} is empty: give groups, or another --by")
    place = {key: at for at, key in enumerate(keys)}
    of = np.array([place.get(key, -1) for key in wanted], np.int64)
    ways = {way: _way(device_file, columns, way) for way in ("up", "down")}
    found = {way: envelopes(can, of, len(keys), lasts_s, notices_s) for way, can in ways.items()}
    return _told(len(names), by, keys, found, ways, request_file)


def capability_of_folder(
    data: Path,
    by: str,
    lasts_s: list[float],
    notices_s: list[float],
    request_file: Path | None,
    say: Hears,
) -> dict[str, Any]:
    """Return the same of what a served folder's devices could be called for at its newest reading.

    Args:
        data: The folder; a server may run there.
        by: `all`, `resource`, `pool` or `feeder`.
        lasts_s, notices_s, request_file: As in `capability_of`.
        say: Hears what of the folder can't be read.

    Raises:
        ConfigError: It holds no journal, no readings, or no such groups.
    """
    state, at_ns = seen(data, say)
    fleet = state.fleet
    keys = {"all": ["all"], "resource": fleet.ids}.get(by) or [group.id for group in fleet.groups_of(Kind(by))]
    every = np.arange(len(fleet), dtype=np.int32)
    if by in GROUPS and not keys:
        raise ConfigError(f"{data}: holds no {by}: give another --by")
    members = [every] if by == "all" else [fleet.leaves(key) for key in keys]
    can = able(state, every, lasts_s, at_ns)
    ways = {"up": can.up[0], "down": can.down}
    told = _told(len(fleet), by, keys, can.of_groups(members, notices_s), ways, request_file)
    return {"at": iso(at_ns), "can_be_called": int(can.may_serve.sum()), "is_stopped": state.is_killed, **told}


def _told(
    count: int,
    by: str,
    keys: Sequence[str],
    found: Mapping[str, Envelopes],
    ways: Mapping[str, Capability],
    request_file: Path | None,
) -> dict[str, Any]:
    """Return what is printed; a request is held against the devices behind the envelopes."""
    notices = range(len(found["up"].notices_s))
    rows = [
        {"group": key, **{way: [_cell(each, k, m) for m in notices] for way, each in found.items()}}
        for k, key in enumerate(keys)
    ]
    answer: dict[str, Any] = {"resources": count, "by": by, "groups": rows}
    if request_file is not None:
        answer["request"] = _request(request_file, ways, float(found["up"].notices_s.max()))
    return answer


def _cell(found: Envelopes, group: int, notice: int) -> dict[str, Any]:
    at = (group, notice)
    rows = zip(found.lasts_s, found.power_w[at], found.firm_w[at], found.rebound_wh[at], strict=True)
    return {
        "notice_s": float(found.notices_s[notice]), "resources": int(found.resources[at]),
        "kwh": float(found.energy_wh[at] / 1e3), "ramped_s": float(found.ramped_s[at]),
        "held": [
            {"lasts_s": float(last_s), "kw": float(power / 1e3), "firm_kw": float(firm / 1e3),
             "rebound_kwh": float(back / 1e3)}
            for last_s, power, firm, back in rows
        ],
    }  # fmt: skip


def _devices(path: Path) -> tuple[list[str], dict[str, Floats], dict[str, list[str]]]:
    table = read_table(path, ("resource",), (*NUMBERS, *GROUPS), only=True)
    names = ["" if name is None else str(name) for name in table["resource"].to_pylist()]
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if not name.strip():
            raise ConfigError(f"{path}: row {row + HEAD}: resource = {name!r}: give the name of a device")
        if name in seen:
            raise ConfigError(
                f"{path}: row {row + HEAD}: resource = {name!r}: stands in row {seen[name]}, too: keep one"
            )
        seen[name] = row + HEAD
    if not names:
        raise ConfigError(f"{path}: holds no resource: give rows of resource,up_kw,down_kw")
    columns = {}
    for name, default in NUMBERS.items():
        there = name in table.column_names
        values = read_numbers(path, table[name], name) if there else np.full(len(names), np.nan)
        given = ~np.asarray(table[name].is_null()) if there else np.zeros(len(names), np.bool_)
        columns[name] = np.where(given, values, default)
    groups = {
        name: [x or "" for x in table[name].cast(pa.string()).to_pylist()]
        for name in GROUPS
        if name in table.column_names
    }
    return names, columns, groups


def _way(path: Path, columns: dict[str, Floats], way: str) -> Capability:
    limits = {"rebound_frac": 2.0, "reach_frac": 1.0}
    for name in (f"{way}_kw", f"{way}_kwh", "notice_s", "ramp_kw_per_s", "rebound_frac", "reach_frac"):
        odd = np.flatnonzero(~((columns[name] >= 0) & (columns[name] <= limits.get(name, np.inf))))
        if name == "ramp_kw_per_s" and not len(odd):
            odd = np.flatnonzero(columns[name] <= 0)
        if len(odd):
            most = f"0 to {limits[name]:g}" if name in limits else "more than 0" if "ramp" in name else "0 or more"
            raise ConfigError(f"{path}: row {odd[0] + HEAD}: {name} = {columns[name][odd[0]]:g}: give {most}")
    return Capability(
        columns[f"{way}_kw"] * 1e3, columns[f"{way}_kwh"] * 1e3, columns["notice_s"], columns["ramp_kw_per_s"] * 1e3,
        columns["rebound_frac"], columns["reach_frac"],
    )  # fmt: skip


def _request(path: Path, ways: Mapping[str, Capability], notice_s: float) -> dict[str, Any]:
    """Return whether a request of one direction can be met, by how much not, and who could give it."""
    table = read_table(path, ("start", "kw"), ())
    starts_ns, kw = read_instants(path, table["start"]), read_numbers(path, table["kw"], "kw")
    steps_ns = np.unique(np.diff(starts_ns))
    if len(kw) < 2 or len(steps_ns) != 1 or int(steps_ns[0]) not in STEPS_NS:
        minutes = ", ".join(str(step // MINUTE_NS) for step in STEPS_NS)
        raise ConfigError(f"{path}: start: give two or more rising starts, each {minutes} minutes after the last")
    if np.isnan(kw).any() or (kw.min() < 0 < kw.max()):
        bad = int(np.flatnonzero(np.isnan(kw) | (kw < 0))[0])
        raise ConfigError(f"{path}: row {bad + HEAD}: kw = {kw[bad]:g}: give numbers of one direction")
    way, step_s = ("down" if kw.min() < 0 else "up"), int(steps_ns[0]) / SECOND_NS
    can = ways[way]
    power_w = np.where(can.notice_s <= notice_s, can.power_w, 0.0)
    request_w = np.abs(kw) * 1e3
    lack_wh, given_w = (
        lacks_wh(request_w, step_s, power_w, can.energy_wh),
        follow(request_w, step_s, power_w, can.energy_wh),
    )
    total_kw = (given_w.sum(axis=0) / 1e3).tolist()
    return {
        "direction": way, "notice_s": notice_s, "can_be_met": lack_wh <= 1e-6, "lacks_kwh": lack_wh / 1e3,
        "resources_used": int((given_w > 0).any(axis=1).sum()),
        "given": [{"start": iso(int(at)), "kw": each} for at, each in zip(starts_ns, total_kw, strict=True)],
    }  # fmt: skip
