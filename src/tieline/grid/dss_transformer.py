"""Transformers of OpenDSS scripts: two windings of one or three phases, each with taps of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid import parts
from tieline.grid.dss_script import Thing, number, words
from tieline.grid.unbalanced import GROUND

Complexes = NDArray[np.inexact[Any]]
SplitBus = Callable[[Thing, str, int], tuple[str, list[int]]]
PER_WINDING = {"bus": "buses", "conn": "conns", "kv": "kvs", "kva": "kvas", "tap": "taps", "%r": "%rs"}
IS_NUMBER = frozenset(("kvs", "kvas", "taps", "%rs"))


@dataclass(frozen=True, slots=True)
class Wound:
    """A transformer as a branch: buses and rated voltages to ground of its ends, matrix, phases and ratings."""

    name: str
    buses: tuple[str, str]
    bus_v: tuple[float, float]
    matrix_s: Complexes
    has: tuple[tuple[int, ...], tuple[int, ...]]
    max_a: float
    rated_va: float


@dataclass(slots=True)
class _State:
    phases: int = 3
    at: int = 0
    xhl: float = 7.0
    idle_loss: float = 0.0
    idle_current: float = 0.0
    ppm: float = 1.0
    lags: bool = True
    buses: list[str] = field(default_factory=lambda: ["", ""])
    conns: list[str] = field(default_factory=lambda: ["wye", "wye"])
    kvs: list[float] = field(default_factory=lambda: [12.47, 12.47])
    kvas: list[float] = field(default_factory=lambda: [1000.0, 1000.0])
    taps: list[float] = field(default_factory=lambda: [1.0, 1.0])
    rs: list[float] = field(default_factory=lambda: [0.2, 0.2])


def read_transformer(thing: Thing, split_bus: SplitBus) -> Wound:
    """Return a transformer.

    Raises:
        ConfigError: It has more than two windings, or a property that is not read.
    """
    state = _State()
    for name, value in thing.given:
        try:
            _follow(state, name, value)
        except ConfigError as error:
            raise ConfigError(f"transformer.{thing.name}.{name}: {error}") from error
    if "" in state.buses:
        raise ConfigError(f"transformer.{thing.name}: it lacks a bus: give buses=[one two]")
    return _wound(thing, state, split_bus)


def _follow(state: _State, name: str, value: str) -> None:
    match name:
        case "windings" if number(value) != 2:
            raise ConfigError(f"{value} windings are not read: give 2")
        case "phases":
            state.phases = int(number(value))
            if state.phases not in (1, 3):
                raise ConfigError(f"{state.phases} phases are not read: give 1 or 3")
        case "wdg":
            state.at = int(number(value)) - 1
            if state.at not in (0, 1):
                raise ConfigError(f"winding {value} is not read: give 1 or 2")
        case "bus" | "conn" | "kv" | "kva" | "tap" | "%r":
            _put(state, PER_WINDING[name], state.at, value)
        case "buses" | "conns" | "kvs" | "kvas" | "taps" | "%rs":
            each = words(value)
            if len(each) > 2:
                raise ConfigError(f"{len(each)} values: give 2")
            for k, one in enumerate(each):
                _put(state, name, k, one)
        case "xhl" | "x12":
            state.xhl = number(value)
        case "%loadloss":
            state.rs = [number(value) / 2] * 2
        case "%noloadloss":
            state.idle_loss = number(value)
        case "%imag":
            state.idle_current = number(value)
        case "ppm_antifloat":
            state.ppm = number(value)
        case "leadlag":
            state.lags = value.lower() in ("lag", "ansi")
        case "xfmrcode" | "rneut" | "xneut" | "xscarray":
            raise ConfigError("is not read")


def _put(state: _State, name: str, at: int, value: str) -> None:
    column = getattr(state, name.lstrip("%"))
    column[at] = number(value) if name in IS_NUMBER else value.lower()
    if name == "kvas" and at == 0:  # the first winding's rating is the other's too until that is set
        state.kvas[1] = column[0]


def _wound(thing: Thing, state: _State, split_bus: SplitBus) -> Wound:
    delta = [conn[:1] in "dl" for conn in state.conns]
    single = state.phases == 1
    across = [
        kv * 1e3 / (1.0 if single or is_delta else np.sqrt(3.0)) for kv, is_delta in zip(state.kvs, delta, strict=True)
    ]
    # A delta's windings go from each phase to the next or the one before, so that the low voltage lags or leads by 30.
    high = int(state.kvs[1] > state.kvs[0])
    forward = delta[0] == delta[1] or (state.lags != delta[high])
    ends = [split_bus(thing, bus, state.phases) for bus in state.buses]
    joins = [
        _joins(stands, is_delta, state.phases, 1 if forward else 2)
        for (_, stands), is_delta in zip(ends, delta, strict=True)
    ]
    leg_va = state.kvas[0] * 1e3 / state.phases
    series = complex(sum(state.rs), state.xhl) / 100 * across[1] ** 2 / leg_va
    stray = complex(state.idle_loss, -state.idle_current) / 100 * leg_va / across[1] ** 2
    taps = (across[0] * state.taps[0], across[1] * state.taps[1])
    # Impedance is a share of rated voltage whatever the tap; seen from a tapped end it goes with the tap's square.
    on_tap = state.taps[1] ** 2
    matrix = parts.transformer((joins[0], joins[1]), taps, series * on_tap, (0.0, stray / on_tap))
    # OpenDSS ties each end of each winding to ground by half a millionth of its rating, so that none can float.
    for k, join in enumerate(joins):
        anchor = -0.5e-6j * state.ppm * (state.kvas[k] * 1e3 / state.phases) / across[k] ** 2
        part = slice(3 * k, 3 * k + 3)
        matrix[part, part] = matrix[part, part] + np.diag((join != 0).sum(axis=0)) * anchor
    has = [tuple(int(p) for p in np.flatnonzero((join != 0).any(axis=0))) for join in joins]
    bus_v = [v / (np.sqrt(3.0) if is_delta else 1.0) for v, is_delta in zip(across, delta, strict=True)]
    return Wound(
        thing.name, (ends[0][0], ends[1][0]), (bus_v[0], bus_v[1]), matrix, (has[0], has[1]),
        leg_va / across[1] * (np.sqrt(3.0) if delta[1] and not single else 1.0), state.kvas[0] * 1e3,
    )  # fmt: skip


def _joins(stands: list[int], is_delta: bool, phases: int, step: int) -> Complexes:
    join = np.zeros((phases, 3), np.complex128)
    for leg in range(phases):
        join[leg, stands[leg]] += 1.0
        if phases == 1:
            back = stands[1] if len(stands) > 1 else (1 if is_delta else GROUND)
        else:
            back = stands[(leg + step) % 3] if is_delta else GROUND
        if back != GROUND:
            join[leg, back] -= 1.0
    return join
