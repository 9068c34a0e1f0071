"""Feeders from power-grid-model's own JSON: one data set of the type `input`, in SI units.

Its schema: nodes with `u_rated` between phases, lines with the values of the whole length, transformers with short-
circuit and no-load tests, symmetric and asymmetric loads and generators.
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
KNOWN = {"node", "line", "transformer", "source", "sym_load", "sym_gen", "asym_load", "asym_gen", "shunt", "link"}
WITHOUT_FLOW = {"sym_voltage_sensor", "asym_voltage_sensor", "sym_power_sensor", "asym_power_sensor", "fault",
                "sym_current_sensor", "asym_current_sensor"}  # fmt: skip
WINDINGS = {0: "wye", 1: "wye_n", 2: "delta"}
POWER_OF_U = {0: 0.0, 1: 2.0, 2: 1.0}
LINK_S = 1e6
"""Admittance of a link (no impedance of its own); small enough to leave digits to what stands beside it."""


def read_pgm(text: str, name: str, hertz: float = 50.0) -> Feeder:
    """Return a feeder from power-grid-model JSON.

    Raises:
        ConfigError: It is no such data set, a part of it is of a kind that is not read, or it is no feeder.
    """
    try:
        whole = json.loads(text)
        rows = whole["data"]
        if whole.get("type") != "input" or whole.get("is_batch"):
            raise ConfigError(f"feeder {name}: type is {whole.get('type')!r}: give a single data set of type 'input'")
        rows = {kind: _as_rows(table, whole.get("attributes", {}).get(kind)) for kind, table in rows.items() if table}
        unknown = set(rows) - KNOWN - WITHOUT_FLOW
        if unknown:
            raise ConfigError(f"feeder {name}: {', '.join(sorted(unknown))} are not read: leave them out")
        return _feeder(rows, name, hertz)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(f"feeder {name}: {type(error).__name__} {error}: not power-grid-model JSON") from error


def _as_rows(table: list[Any], attributes: list[str] | None) -> list[Row]:
    """Return rows as dictionaries; the compact form gives lists in the order of the data set's `attributes`."""
    return [row if isinstance(row, dict) else dict(zip(attributes or (), row, strict=True)) for row in table]


def _feeder(rows: dict[str, list[Row]], name: str, hertz: float) -> Feeder:
    made = Assembly(name, hertz)
    for row in rows["node"]:
        made.bus(str(row["id"]), row["u_rated"] / np.sqrt(3.0))
    for row in rows.get("line", ()):
        _line(made, row, hertz)
    for row in rows.get("link", ()):
        if row.get("from_status", 1) and row.get("to_status", 1):
            series = np.eye(3) / LINK_S
            made.line(str(row["id"]), str(row["from_node"]), str(row["to_node"]), series, np.zeros((3, 3)))
    for row in rows.get("transformer", ()):
        _transformer(made, row)
    _source(made, [row for row in rows.get("source", ()) if row.get("status", 1)])
    for kind in ("sym_load", "sym_gen", "asym_load", "asym_gen"):
        for row in rows.get(kind, ()):
            _load(made, row, -1.0 if kind.endswith("gen") else 1.0)
    for row in rows.get("shunt", ()):
        if row.get("status", 1):
            y1 = complex(row["g1"], row["b1"])
            y0 = complex(row["g0"], row["b0"]) if "g0" in row else y1
            made.shunt(str(row["node"]), parts.phase_matrix(y1, y0))
    return made.feeder()


def _line(made: Assembly, row: Row, hertz: float) -> None:
    for key in ("r0", "x0"):
        if row.get(key) is None:
            raise ConfigError(f"feeder {made.name}: line {row['id']} has no {key}: unbalanced flow needs r0, x0, c0")
    series = parts.phase_matrix(complex(row["r1"], row["x1"]), complex(row["r0"], row["x0"]))
    omega = 2 * np.pi * hertz
    y1, y0 = (omega * float(row.get(f"c{n}", 0.0)) * complex(row.get(f"tan{n}", 0.0), 1.0) for n in (1, 0))
    made.line(
        str(row["id"]), str(row["from_node"]), str(row["to_node"]), series, parts.phase_matrix(y1, y0),
        max_a=row.get("i_n") or np.inf, closed=(bool(row.get("from_status", 1)), bool(row.get("to_status", 1))),
    )  # fmt: skip


def _transformer(made: Assembly, row: Row) -> None:
    if not (row.get("from_status", 1) and row.get("to_status", 1)):
        return
    sides = WINDINGS.get(row["winding_from"]), WINDINGS.get(row["winding_to"])
    if None in sides:
        raise ConfigError(f"feeder {made.name}: transformer {row['id']} has a zigzag winding: not read yet")
    volts = [row["u1"], row["u2"]]
    side = row.get("tap_side", 0)
    rest = int(row.get("tap_nom") or 0)
    away = int(row.get("tap_pos", rest)) - rest
    if row.get("tap_max", 0) < row.get("tap_min", 0):
        away = -away
    volts[side] += away * (row.get("tap_size", 0.0) or 0.0)
    loss, uk = row["pk"] / row["sn"], row["uk"]
    idle = complex(row["p0"] / row["sn"], -np.sqrt(max(row["i0"] ** 2 - (row["p0"] / row["sn"]) ** 2, 0.0)))
    made.transformer(
        str(row["id"]), str(row["from_node"]), str(row["to_node"]), row["sn"],
        (sides[0] or "", sides[1] or ""), int(row["clock"]), (volts[0], volts[1]),
        complex(loss, np.sqrt(max(uk**2 - loss**2, 0.0))), idle,
    )  # fmt: skip


def _source(made: Assembly, rows: list[Row]) -> None:
    if len(rows) != 1:
        raise ConfigError(f"feeder {made.name}: {len(rows)} sources: give one")
    row = rows[0]
    line_v = made.bus_v(str(row["node"])) * np.sqrt(3.0)
    size = line_v**2 / (row.get("sk") or 1e10)
    ratio = row.get("rx_ratio", 0.1)
    positive = size * complex(ratio, 1.0) / np.hypot(ratio, 1.0)
    zero = positive * row.get("z01_ratio", 1.0)
    made.source(str(row["node"]), row["u_ref"], row.get("u_ref_angle", 0.0), parts.phase_matrix(positive, zero))


def _load(made: Assembly, row: Row, sign: float) -> None:
    if not row.get("status", 1):
        return
    drawn_w, drawn_var = row.get("p_specified", 0.0), row.get("q_specified", 0.0)
    if isinstance(drawn_w, list):
        drawn = np.array(drawn_w, float) + 1j * np.array(drawn_var, float)
    else:
        drawn = np.full(3, complex(drawn_w, drawn_var) / 3)
    made.load(str(row["id"]), str(row["node"]), sign * drawn, POWER_OF_U[row.get("type", 0)])
