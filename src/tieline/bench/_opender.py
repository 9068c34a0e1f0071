"""EPRI's OpenDER beside our inverters: our settings under its names, and the process that runs its units."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tieline.grid.inverter.ridethrough import Category
from tieline.grid.inverter.settings import Settings
from tieline.resource.mode import Mode

ROOT = Path(__file__).parents[3]
PEER = Path(os.environ.get("TIELINE_PEERS_OPENDER", ROOT / ".venv-peers-opender")) / "bin" / "python"
RUNNER = ROOT / "tests" / "peers" / "opender_steps.py"
NAMEPLATE_VA = 100_000.0
_CATEGORIES = {1: "CAT_I", 2: "CAT_II", 3: "CAT_III"}
_MODES = {
    "CONST_PF": Mode.CONSTANT_POWER_FACTOR,
    "QV": Mode.VOLT_VAR,
    "QP": Mode.WATT_VAR,
    "CONST_Q": Mode.CONSTANT_VAR,
}


def is_there() -> bool:
    """Return whether the peer is installed (`make peers-opender`, in a checkout)."""
    return RUNNER.exists() and (PEER.parent.parent / ".one").exists()


def parameters(s: Settings) -> dict[str, Any]:
    """Return settings under OpenDER's names. Its own control lag is put out of the way."""
    rated_w = s.rated_frac * NAMEPLATE_VA
    made: dict[str, Any] = {
        "NP_VA_MAX": NAMEPLATE_VA, "NP_P_MAX": rated_w, "NP_Q_MAX_INJ": s.inject_frac * NAMEPLATE_VA,
        "NP_Q_MAX_ABS": s.absorb_frac * NAMEPLATE_VA,
        "NP_NORMAL_OP_CAT": "CAT_B" if s.required_frac[0] > 0.25 else "CAT_A",
        "NP_ABNORMAL_OP_CAT": _CATEGORIES[int(s.category)],
        "NP_PRIO_OUTSIDE_MIN_Q_REQ": "ACTIVE" if s.is_watt_first else "REACTIVE",
        "NP_Q_CAPABILITY_LOW_P": "REDUCED" if s.full_from_frac else "SAME",
        "NP_INV_DELAY": 0, "NP_CURRENT_PU": s.most_current_frac, "NP_RT_RAMP_UP_TIME": s.restore_s,
        "MC_RESP_T": s.momentary_s,
        "NP_CTE_RESP_T": s.ceased_s,
        "CONST_PF": s.power_factor, "CONST_PF_EXCITATION": "INJ" if s.injects else "ABS",
        "CONST_Q": s.constant_var_frac, "QV_VREF": s.reference_pu, "QV_VREF_AUTO_MODE": s.follows_reference,
        "QV_VREF_TIME": s.reference_s, "QV_VREF_MIN": s.reference_limits_pu[0], "QV_VREF_MAX": s.reference_limits_pu[1],
        "QV_OLRT": s.reactive_response_s, "QP_RT": s.reactive_response_s, "CONST_PF_RT": s.reactive_response_s,
        "CONST_Q_RT": s.reactive_response_s, "PV_MODE_ENABLE": s.is_volt_watt_on, "PV_OLRT": s.volt_watt_response_s,
        "PF_MODE_ENABLE": s.is_droop_on, "PF_DBOF": s.droop_over_hz, "PF_DBUF": s.droop_under_hz,
        "PF_KOF": s.droop_over_frac, "PF_KUF": s.droop_under_frac, "PF_OLRT": s.droop_response_s,
        "NP_P_MIN_PU": s.least_frac, "AP_RT": s.limit_response_s,
        "ES_V_LOW": s.enter_pu[0], "ES_V_HIGH": s.enter_pu[1], "ES_F_LOW": s.enter_hz[0], "ES_F_HIGH": s.enter_hz[1],
        "ES_DELAY": s.enter_delay_s, "ES_RAMP_RATE": s.enter_ramp_s, "ES_RANDOMIZED_DELAY": 0,
    }  # fmt: skip
    if s.charge_frac:
        made |= {"NP_P_MAX_CHARGE": s.charge_frac * NAMEPLATE_VA,
                 "NP_APPARENT_POWER_CHARGE_MAX": s.charge_va_frac * NAMEPLATE_VA}  # fmt: skip
    made |= {f"{name}_MODE_ENABLE": s.reactive_mode is mode for name, mode in _MODES.items()}
    for k in range(4):
        made |= {f"QV_CURVE_V{k + 1}": s.volt_var_pu[k], f"QV_CURVE_Q{k + 1}": s.volt_var_frac[k]}
    for k, name in enumerate(("3_LOAD", "2_LOAD", "1_LOAD", "1_GEN", "2_GEN", "3_GEN")):
        made |= {f"QP_CURVE_P{name}": s.watt_var_power_frac[k], f"QP_CURVE_Q{name}": s.watt_var_frac[k]}
    for k in range(2):
        made |= {f"PV_CURVE_V{k + 1}": s.volt_watt_pu[k], f"PV_CURVE_P{k + 1}": s.volt_watt_frac[k]}
    for name, steps, unit in (("OV", s.over_voltage, "V"), ("UV", s.under_voltage, "V"), ("OF", s.over_frequency, "F"),
                              ("UF", s.under_frequency, "F")):  # fmt: skip
        for number, (edge, clear_s) in zip((2, 1), steps, strict=True):
            made |= {f"{name}{number}_TRIP_{unit}": edge, f"{name}{number}_TRIP_T": clear_s}
    return made


class OpenDer:
    """A process that runs OpenDER's units, one after another, until it is closed."""

    def __init__(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [str(PEER), str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it: its input ends."""
        self._process.communicate(timeout=60)

    def answer(self, case: dict[str, Any]) -> dict[str, Any]:
        """Return what a unit did."""
        assert self._process.stdin and self._process.stdout, "both are pipes"
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Courses:
    """What some units see: settings each, the step (s), and per step and unit (shape (t, n)) three phase voltages (pu;
    (t, n, 3)), frequency (Hz), wanted power and a limit told (shares of the rating; NaN: none)."""

    kinds: list[Settings]
    seconds: float
    volts_pu: Floats
    hz: Floats
    wanted_frac: Floats
    limit_frac: Floats
    is_storage: bool = False

    def run_by(self, peer: OpenDer) -> tuple[list[dict[str, Any]], float]:
        """Return each unit's answer, and OpenDER's processor time by unit and step (s)."""
        found = []
        for k, kind in enumerate(self.kinds):
            steps: list[dict[str, Any]] = []
            for t in range(len(self.hz)):
                step = {"volts": self.volts_pu[t, k].tolist(), "hz": self.hz[t, k], "power": self.wanted_frac[t, k]}
                told = self.limit_frac[t, k]
                if t == 0 or not np.array_equal(told, self.limit_frac[t - 1, k], equal_nan=True):
                    limit = {} if np.isnan(told) else {"AP_LIMIT": float(told)}
                    step["settings"] = {"AP_LIMIT_ENABLE": bool(not np.isnan(told)), **limit}
                steps.append(step)
            case = {"settings": parameters(kind), "storage": self.is_storage, "seconds": self.seconds, "steps": steps}
            found.append(peer.answer(case))
        return found, sum(each["seconds"] for each in found) / self.hz.size


def kinds_of(rng: np.random.Generator, count: int, **fixed: Any) -> list[Settings]:
    """Return settings drawn over all modes, both normal categories and the three abnormal ones."""
    made = []
    for k in range(count):
        base = Settings.of_category(is_b=bool(rng.random() < 0.7), abnormal=Category(1 + k % 3))
        settings = replace(
            base,
            rated_frac=float(rng.choice([0.9, 1.0])), reactive_mode=Mode(10 + k % 4),
            power_factor=float(rng.choice([0.8, 0.9, 0.97])), injects=bool(rng.random() < 0.5),
            constant_var_frac=float(rng.choice([-0.4, 0.2, 0.44])), is_watt_first=bool(rng.random() < 0.3),
            is_volt_watt_on=bool(rng.random() < 0.5), follows_reference=bool(rng.random() < 0.3),
            volt_watt_frac=(1.0, float(rng.choice([0.0, 0.2]))), reactive_response_s=float(rng.uniform(2, 10)),
            volt_watt_response_s=float(rng.uniform(2, 12)), droop_response_s=float(rng.uniform(1, 9)),
            enter_delay_s=20.0, enter_ramp_s=float(rng.choice([0.0, 30.0])),
            most_current_frac=10.0,  # OpenDER seeks its limit by steps of 1e-4
        )  # fmt: skip
        made.append(replace(settings, **fixed))
    return made


def held(rng: np.random.Generator, shape: tuple[int, int], odds: float, draw: Any) -> Floats:
    """Return values that stand until, at such odds a step, each is drawn anew."""
    value = draw(shape)
    is_kept = rng.random(shape) >= odds
    is_kept[0] = False
    at = np.maximum.accumulate(np.where(is_kept, 0, np.arange(shape[0])[:, None]), axis=0)
    result: Floats = np.take_along_axis(value, at, axis=0)
    return result


def in_service(rng: np.random.Generator, count: int, steps: int) -> Courses:
    """Return courses that keep units in service: voltage, frequency, sun and limits change, phases differ."""
    shape = (steps, count)
    volts = held(rng, shape, 0.1, lambda s: rng.uniform(0.9, 1.09, s))
    hz = held(rng, shape, 0.06, lambda s: rng.choice([60.0, 60.0, 58.7, 59.5, 60.1, 60.8, 61.1], s))
    limit = held(rng, shape, 0.03, lambda s: rng.choice([np.nan, np.nan, 0.3, 0.7], s))
    hz[:2] = 60.0
    return Courses(
        kinds_of(rng, count, restore_s=0.0), 1.0, volts[:, :, None] + rng.uniform(-0.005, 0.005, (*shape, 3)), hz,
        held(rng, shape, 0.15, lambda s: rng.uniform(0.0, 1.0, s)), limit,
    )  # fmt: skip
