"""Feeders from pandapower: a net as it stands in memory, its JSON, or tables of SimBench in its units.

pandapower itself is not needed: a net is read by its tables. What its unbalanced flow has no values for (zero sequence
of lines) is never made up: give `zero_per_positive`, or the feeder is refused.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tieline.errors import ConfigError
from tieline.grid import parts
from tieline.grid.assemble import Assembly
from tieline.grid.unbalanced import Feeder

Row = dict[str, Any]
Tables = dict[str, list[Row]]
READ = (
    "bus",
    "line",
    "trafo",
    "switch",
    "ext_grid",
    "load",
    "sgen",
    "storage",
    "asymmetric_load",
    "asymmetric_sgen",
    "shunt",
)
WITH_FLOW = ("gen", "trafo3w", "impedance", "ward", "xward", "dcline", "motor", "svc", "tcsc", "ssc", "vsc", "line_dc",
             "bus_dc", "b2b_vsc", "bi_vsc", "load_dc", "source_dc")  # fmt: skip
"""Tables that change the flow and are not read: refused where they have a row in service."""
WINDINGS = {"D": "delta", "YN": "wye_n", "Y": "wye"}
SWITCH_OHM = 1e-6


def read_pandapower(net: Any, name: str, zero_per_positive: float | None = None) -> Feeder:
    """Return a feeder.

    Args:
        net: A pandapower net, its JSON text (`pandapower.to_json`), or SimBench tables as text.
        name: What the feeder is called.
        zero_per_positive: Impedance of a line's zero sequence as a multiple of its positive one (3 to 4 is usual of
            cables), where the net has none of its own.

    Raises:
        ConfigError: It is no net, lacks zero-sequence values, has parts that are not read, or it is no feeder.
    """
    try:
        tables = _tables(net)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"feeder {name}: {type(error).__name__} {error}: not a pandapower net") from error
    for table in WITH_FLOW:
        if any(row.get("in_service", True) for row in tables.get(table, ())):
            raise ConfigError(f"feeder {name}: table {table} is not read: leave it out")
    try:
        return _Net(tables, name, zero_per_positive).feeder()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(f"feeder {name}: {type(error).__name__} {error}: not a pandapower net") from error


def _tables(net: Any) -> Tables:
    if isinstance(net, str):
        whole = json.loads(net)
        whole = whole.get("_object", whole)
        tables = {table: _unwrapped(whole[table]) for table in (*READ, *WITH_FLOW) if table in whole}
        return tables | {"f_hz": [{"value": whole.get("f_hz", 50.0)}]}
    found = {}
    for table in (*READ, *WITH_FLOW):
        if table in net:
            frame = net[table]
            columns = {str(column): frame[column].tolist() for column in frame.columns}
            found[table] = _rows(columns, frame.index.tolist())
    return found | {"f_hz": [{"value": net.get("f_hz", 50.0)}]}


def _unwrapped(table: Any) -> list[Row]:
    """Return rows of a table in pandapower's JSON (a frame split in columns and rows), or of columns by name."""
    if "_object" in table:
        frame = json.loads(table["_object"]) if isinstance(table["_object"], str) else table["_object"]
        columns = {column: [row[k] for row in frame["data"]] for k, column in enumerate(frame["columns"])}
        return _rows(columns, frame["index"])
    index = table.get("index", range(len(next(iter(table.values()), ()))))
    return _rows({column: values for column, values in table.items() if column != "index"}, list(index))


def _rows(columns: dict[str, list[Any]], index: list[Any]) -> list[Row]:
    names = list(columns)
    return [
        {"index": at} | dict(zip(names, values, strict=True))
        for at, *values in zip(index, *columns.values(), strict=True)
    ]


def _number(row: Row, column: str, default: float | None = None) -> float:
    value = row.get(column)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        if default is None:
            raise ConfigError(f"row {row['index']} has no {column}")
        return default
    return float(value)


class _Net:
    def __init__(self, tables: Tables, name: str, zero_per_positive: float | None) -> None:
        self.tables, self.name, self.zero = tables, name, zero_per_positive
        self.hertz = float(tables["f_hz"][0]["value"])
        self.made = Assembly(name, self.hertz)
        switches = [row for row in tables.get("switch", ()) if not row["closed"] and row["et"] != "b"]
        self.open_at = {(row["et"], row["element"], row["bus"]) for row in switches}

    def feeder(self) -> Feeder:
        for row in self._rows("bus"):
            volts = _number(row, "vn_kv") * 1e3 / np.sqrt(3.0)
            self.made.bus(str(row["index"]), volts, _number(row, "min_vm_pu", 0.0), _number(row, "max_vm_pu", np.inf))
        for row in self._rows("line"):
            self._each("line", row, self._line)
        for row in self._rows("trafo"):
            if not any(("t", row["index"]) == at[:2] for at in self.open_at):
                self._each("trafo", row, self._transformer)
        for row in self.tables.get("switch", ()):
            if row["et"] == "b" and row["closed"]:
                series = np.eye(3) * (_number(row, "z_ohm", 0.0) or SWITCH_OHM)
                ends = str(row["bus"]), str(row["element"])
                self.made.line(
                    f"switch {row['index']}", *ends, series.astype(np.complex128), np.zeros((3, 3), np.complex128)
                )
        self._source()
        for table, sign in (("load", 1.0), ("sgen", -1.0), ("storage", 1.0)):
            for row in self._rows(table):
                self._even(table, row, sign)
        for table, sign in (("asymmetric_load", 1.0), ("asymmetric_sgen", -1.0)):
            for row in self._rows(table):
                self._uneven(table, row, sign)
        for row in self._rows("shunt"):
            drawn = complex(_number(row, "p_mw"), -_number(row, "q_mvar")) * 1e6 * _number(row, "step", 1.0)
            line_v = _number(row, "vn_kv") * 1e3
            self.made.shunt(str(row["bus"]), np.eye(3) * drawn / line_v**2)
        return self.made.feeder()

    def _rows(self, table: str) -> list[Row]:
        return [row for row in self.tables.get(table, ()) if row.get("in_service", True)]

    def _each(self, table: str, row: Row, read: Any) -> None:
        try:
            read(row)
        except ConfigError as error:
            said = str(error)
            raise ConfigError(said if said.startswith("feeder") else f"feeder {self.name}: {table}: {said}") from error

    def _line(self, row: Row) -> None:
        long, times = _number(row, "length_km"), _number(row, "parallel", 1.0)
        z1 = complex(_number(row, "r_ohm_per_km"), _number(row, "x_ohm_per_km")) * long / times
        if _number(row, "r0_ohm_per_km", np.nan) == _number(row, "r0_ohm_per_km", np.nan):
            z0 = complex(_number(row, "r0_ohm_per_km"), _number(row, "x0_ohm_per_km")) * long / times
        elif self.zero is not None:
            z0 = self.zero * z1
        else:
            raise ConfigError(
                f"row {row['index']} has no r0_ohm_per_km: give it, or zero_per_positive (3 to 4 is usual of cables)"
            )
        omega = 2 * np.pi * self.hertz
        y1 = (
            complex(_number(row, "g_us_per_km", 0.0) * 1e-6, omega * _number(row, "c_nf_per_km", 0.0) * 1e-9)
            * long
            * times
        )
        y0 = 1j * omega * _number(row, "c0_nf_per_km", _number(row, "c_nf_per_km", 0.0)) * 1e-9 * long * times
        max_a = _number(row, "max_i_ka", np.inf) * 1e3 * times * _number(row, "df", 1.0)
        ends = str(row["from_bus"]), str(row["to_bus"])
        closed = [("l", row["index"], row[end]) not in self.open_at for end in ("from_bus", "to_bus")]
        self.made.line(
            f"line {row['index']}", *ends, parts.phase_matrix(z1, z0), parts.phase_matrix(y1, y0), max_a=max_a,
            closed=(closed[0], closed[1]),
        )  # fmt: skip

    def _transformer(self, row: Row) -> None:
        shift = _number(row, "shift_degree", 0.0)
        clock = round(shift / 30.0)
        if abs(shift - 30.0 * clock) > 0.5:
            raise ConfigError(f"row {row['index']} has shift_degree {shift:g}: give a multiple of 30")
        sides = _sides(row, clock)
        volts = [_number(row, "vn_hv_kv") * 1e3, _number(row, "vn_lv_kv") * 1e3]
        away = _number(row, "tap_pos", 0.0) - _number(row, "tap_neutral", 0.0)
        tapped = int(row.get("tap_side") == "lv")
        volts[tapped] *= 1 + away * _number(row, "tap_step_percent", 0.0) / 100
        resists, whole = (_number(row, column) / 100 for column in ("vkr_percent", "vk_percent"))
        rated_va = _number(row, "sn_mva") * 1e6
        loss, current = _number(row, "pfe_kw", 0.0) * 1e3 / rated_va, _number(row, "i0_percent", 0.0) / 100
        idle = complex(loss, -np.sqrt(max(current**2 - loss**2, 0.0)))
        ends = str(row["hv_bus"]), str(row["lv_bus"])
        self.made.transformer(
            f"trafo {row['index']}", *ends, rated_va, sides, clock % 12, (volts[0], volts[1]),
            complex(resists, np.sqrt(max(whole**2 - resists**2, 0.0))), idle, int(_number(row, "parallel", 1.0)),
        )  # fmt: skip

    def _source(self) -> None:
        rows = self._rows("ext_grid")
        if len(rows) != 1:
            raise ConfigError(f"feeder {self.name}: table ext_grid has {len(rows)} rows in service: give one")
        row = rows[0]
        bus, series = str(row["bus"]), None
        power = _number(row, "s_sc_max_mva", 0.0) * 1e6
        if power:
            size, ratio = (self.made.bus_v(bus) * np.sqrt(3.0)) ** 2 / power, _number(row, "rx_max", 0.1)
            z1 = size * complex(ratio, 1.0) / np.hypot(ratio, 1.0)
            reacts = z1.imag * _number(row, "x0x_max", 1.0)
            series = parts.phase_matrix(z1, complex(reacts * _number(row, "r0x0_max", ratio), reacts))
        self.made.source(bus, _number(row, "vm_pu", 1.0), np.radians(_number(row, "va_degree", 0.0)), series)

    def _even(self, table: str, row: Row, sign: float) -> None:
        """Add a load in three even phases, its parts of constant impedance and current as loads of their own."""
        drawn = sign * complex(_number(row, "p_mw"), _number(row, "q_mvar", 0.0)) * 1e6 * _number(row, "scaling", 1.0)
        name = f"{table} {row['index']}"
        part_of = {what: _share(row, what) for what in ("z", "i")}
        rest = 1.0 - sum(part_of.values())
        for suffix, part, power_of_u in (("", rest, 0.0), (".i", part_of["i"], 1.0), (".z", part_of["z"], 2.0)):
            if part or (not suffix and not any(part_of.values())):
                self.made.load(name + suffix, str(row["bus"]), np.full(3, part * drawn / 3), power_of_u)

    def _uneven(self, table: str, row: Row, sign: float) -> None:
        name, scale = f"{table} {row['index']}", sign * 1e6 * _number(row, "scaling", 1.0)
        drawn = np.array([complex(_number(row, f"p_{c}_mw"), _number(row, f"q_{c}_mvar", 0.0)) * scale for c in "abc"])
        if row.get("type") != "delta":
            self.made.load(name, str(row["bus"]), drawn)
            return
        for phase in np.flatnonzero(drawn):
            one, two = int(phase), (int(phase) + 1) % 3
            self.made.pairs(f"{name}.{'abc'[one]}{'abc'[two]}", str(row["bus"]), [(one, two)], drawn[phase])


def _share(row: Row, what: str) -> float:
    """Return the share of constant impedance (z) or current (i); newer nets give it apart for active power."""
    return _number(row, f"const_{what}_p_percent", _number(row, f"const_{what}_percent", 0.0)) / 100


def _sides(row: Row, clock: int) -> tuple[str, str]:
    """Return how a transformer is wound; where the net doesn't say, an odd clock is Dyn and an even one YNyn."""
    group = row.get("vector_group")
    if not isinstance(group, str) or not group:
        return ("delta", "wye_n") if clock % 2 else ("wye_n", "wye_n")
    letters = "".join(c for c in group if c.isalpha())
    cut = next((k for k, c in enumerate(letters) if c.islower()), len(letters))
    high, low = letters[:cut], letters[cut:].upper()
    if high not in WINDINGS or low not in WINDINGS:
        raise ConfigError(f"row {row['index']} has vector_group {group}: give one of D, Y and YN at each side")
    return WINDINGS[high], WINDINGS[low]
