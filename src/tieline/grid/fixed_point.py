"""The fixed point `u = u0 - Z i(u)` over all scenarios, compiled: what `phaseflow` spends its time in.

A block of scenarios goes through all its rounds while it is in the cache of a core. Products are written out, not left
to a library with threads of its own: bits don't depend on how many cores there are, and callers may share scenarios out
over threads themselves. The first rounds are in single precision, which takes half the time and starts well enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled, compiled_by

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
WIDE = 32
"""Scenarios in a block."""
COARSE_ROUNDS, MOST_ROUNDS = 3, 100
UNROLLED = 4
HOPELESS_ROUND, HOPELESS_STEP = 10, 0.2


@compiled_by(fastmath={"contract", "arcp", "nsz"}, inline="always")
def _currents(pr: Any, pi: Any, vr: Any, vi: Any, goes: Any, per_v: Any, bends: bool, cr: Any, ci: Any) -> None:
    """Set the currents that loads draw: conj(S / V), times |V| to the power that each goes with."""
    for i in range(pr.shape[0]):
        for k in range(WIDE):
            size = 1 / (vr[i, k] * vr[i, k] + vi[i, k] * vi[i, k])
            cr[i, k] = (pr[i, k] * vr[i, k] + pi[i, k] * vi[i, k]) * size
            ci[i, k] = (pr[i, k] * vi[i, k] - pi[i, k] * vr[i, k]) * size
        if bends and goes[i] != 0.0:
            for k in range(WIDE):
                bent = (np.sqrt(vr[i, k] * vr[i, k] + vi[i, k] * vi[i, k]) * per_v[i]) ** goes[i]
                cr[i, k] *= bent
                ci[i, k] *= bent


@compiled_by(fastmath={"contract", "nsz"}, inline="always")
def _dropped(zr: Any, zi: Any, i: int, cr: Any, ci: Any, dr: Any, di: Any) -> None:
    """Set `d` to row i of Z times the currents; columns are a multiple of four."""
    for k in range(WIDE):
        dr[k] = 0
        di[k] = 0
    for j in range(0, zr.shape[1], UNROLLED):
        ar, br, er, fr = zr[i, j], zr[i, j + 1], zr[i, j + 2], zr[i, j + 3]
        ai, bi, ei, fi = zi[i, j], zi[i, j + 1], zi[i, j + 2], zi[i, j + 3]
        for k in range(WIDE):
            real = dr[k] + ar * cr[j, k] - ai * ci[j, k]
            real += br * cr[j + 1, k] - bi * ci[j + 1, k]
            real += er * cr[j + 2, k] - ei * ci[j + 2, k]
            dr[k] = real + fr * cr[j + 3, k] - fi * ci[j + 3, k]
            imag = di[k] + ar * ci[j, k] + ai * cr[j, k]
            imag += br * ci[j + 1, k] + bi * cr[j + 1, k]
            imag += er * ci[j + 2, k] + ei * cr[j + 2, k]
            di[k] = imag + fr * ci[j + 3, k] + fi * cr[j + 3, k]


@compiled_by(fastmath={"contract", "nsz"})
def _coarse(
    zr: Any, zi: Any, pr: Any, pi: Any, sr: Any, si: Any, goes: Any, per_v: Any, bends: bool, vr: Any, vi: Any
) -> None:
    loads, wide = pr.shape[0], zr.shape[1]
    cr, ci = np.zeros((wide, WIDE), np.float32), np.zeros((wide, WIDE), np.float32)
    dr, di = np.empty(WIDE, np.float32), np.empty(WIDE, np.float32)
    for _ in range(COARSE_ROUNDS):
        _currents(pr, pi, vr, vi, goes, per_v, bends, cr, ci)
        for i in range(loads):
            _dropped(zr, zi, i, cr, ci, dr, di)
            for k in range(WIDE):
                vr[i, k] = sr[i, k] - dr[k]
                vi[i, k] = si[i, k] - di[k]


@compiled_by(fastmath={"contract", "nsz"})
def _fine(
    zr: Any, zi: Any, pr: Any, pi: Any, sr: Any, si: Any, goes: Any, load_per_v: Any, per_v: Any, bends: bool, vr: Any,
    vi: Any, tolerance: float, cr: Any, ci: Any, left: Any,
) -> None:  # fmt: skip
    loads = pr.shape[0]
    dr, di, step = np.empty(WIDE), np.empty(WIDE), np.empty(WIDE)
    before = np.full(WIDE, np.inf)
    for turn in range(MOST_ROUNDS):
        _currents(pr, pi, vr, vi, goes, load_per_v, bends, cr, ci)
        step[:] = 0.0
        for i in range(loads):
            _dropped(zr, zi, i, cr, ci, dr, di)
            for k in range(WIDE):
                nr, ni = sr[i, k] - dr[k], si[i, k] - di[k]
                moved = ((nr - vr[i, k]) ** 2 + (ni - vi[i, k]) ** 2) * per_v[i] * per_v[i]
                step[k] = max(step[k], moved)
                vr[i, k] = nr
                vi[i, k] = ni
        done = True
        for k in range(WIDE):
            # What is left after steps that shrink by a factor q: step x q / (1 - q).
            moved = np.sqrt(step[k])
            q = min(moved / before[k], 0.99) if before[k] < np.inf and before[k] > 0.0 else 0.2
            left[k] = moved * q / (1.0 - q)
            before[k] = moved
            # A scenario that still jumps about collapses: the others of its block don't wait for it.
            done = done and (left[k] <= tolerance or (turn >= HOPELESS_ROUND and moved > HOPELESS_STEP))
        if done:
            break


@compiled
def fixed_point(
    zr: Floats, zi: Floats, u0: Complexes, scale: Floats, drawn: Complexes, goes: Floats, load_per_v: Floats,
    per_v: Floats, tolerance: float, currents: Complexes, volts: Complexes, left: Floats,
) -> None:  # fmt: skip
    """Set currents and voltages of each load (k, n), and how far each scenario is from its fixed point (pu).

    Args:
        zr: Real part of Z (ohm), its columns filled up with zeros to a multiple of four.
        zi: Imaginary part.
        u0: Voltages without load (V); shape (n,).
        scale: Voltage of the source as a multiple, a scenario.
        drawn: Power drawn at rated voltage (VA); shape (k, n).
        goes: How each load's power goes with voltage.
        load_per_v: 1 over each load's own rated voltage.
        per_v: 1 over the rated voltage that steps are measured by.
        tolerance: How far voltages may be from the fixed point (pu).
        currents: Answer.
        volts: Answer.
        left: Answer.
    """
    count, loads = drawn.shape
    wide, bends = zr.shape[1], bool(goes.any())
    few_zr, few_zi = zr.astype(np.float32), zi.astype(np.float32)
    few_goes, few_per_v = goes.astype(np.float32), load_per_v.astype(np.float32)
    pr, pi, sr, si = np.zeros((loads, WIDE)), np.zeros((loads, WIDE)), np.empty((loads, WIDE)), np.empty((loads, WIDE))
    cr, ci = np.zeros((wide, WIDE)), np.zeros((wide, WIDE))
    own = np.empty(WIDE)
    for first in range(0, count, WIDE):
        many = min(WIDE, count - first)
        for k in range(WIDE):
            row = first + min(k, many - 1)  # a short block is filled up with its last scenario
            for i in range(loads):
                pr[i, k], pi[i, k] = drawn[row, i].real, drawn[row, i].imag
                sr[i, k], si[i, k] = u0[i].real * scale[row], u0[i].imag * scale[row]
        few_r, few_i = sr.astype(np.float32), si.astype(np.float32)
        _coarse(
            few_zr, few_zi, pr.astype(np.float32), pi.astype(np.float32), few_r.copy(), few_i.copy(), few_goes,
            few_per_v, bends, few_r, few_i,
        )  # fmt: skip
        vr, vi = few_r.astype(np.float64), few_i.astype(np.float64)
        _fine(zr, zi, pr, pi, sr, si, goes, load_per_v, per_v, bends, vr, vi, tolerance, cr, ci, own)
        for k in range(many):
            left[first + k] = own[k]
            for i in range(loads):
                currents[first + k, i] = complex(cr[i, k], ci[i, k])
                volts[first + k, i] = complex(vr[i, k], vi[i, k])


@compiled_by(fastmath={"contract", "reassoc", "nsz"})
def largest_share(reach: Complexes, idle: Complexes, scale: Floats, currents: Complexes) -> Floats:
    """Return the largest of `|idle scale + reach i|` over rows, of each scenario's load currents; shape (k,)."""
    largest = np.zeros(len(currents))
    for k in range(len(currents)):
        for row in range(len(reach)):
            real, imag = idle[row].real * scale[k], idle[row].imag * scale[k]
            for j in range(reach.shape[1]):
                one, two = reach[row, j], currents[k, j]
                real += one.real * two.real - one.imag * two.imag
                imag += one.real * two.imag + one.imag * two.real
            largest[k] = max(largest[k], np.sqrt(real * real + imag * imag))
    return largest
