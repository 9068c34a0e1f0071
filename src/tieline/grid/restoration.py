"""Restoration in stages: after an outage loads come back together and draw more than they did (cold load pickup).

A block that was off draws `pickup` times its usual power at first, and comes down to it with a time constant, as
heaters, coolers and chargers catch up. Each step lets in the next blocks that fit, by priority, with every voltage
and phase held by the power flow as those that came before still draw. Between two steps draw only falls, so that the
steps are the worst.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid.envelope_terms import Asked, EnvelopeTerms
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outage:
    """What was lost: each customer's usual draw (W, positive drawn; (c,)) and var, the block that switches it (0 to
    b-1), and how blocks come back: first draw as a multiple, its time constant, time between steps, and the most
    steps."""

    usual_w: Floats
    usual_var: Floats
    block: Ints
    pickup: float = 2.5
    decay_s: float = 1_800.0
    step_s: float = 300.0
    most_steps: int = 72


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """At which step each block comes back (-1: never; (b,)), what each customer draws at each step (W; (t, c)), and of
    blocks that never fit which limit stands against them."""

    step_of_block: Ints
    drawn_w: Floats
    left_off: dict[int, str]


def restore(flow: PhaseFlow, outage: Outage, terms: EnvelopeTerms, priority: Floats | None = None) -> Restoration:
    """Return the stages in which blocks come back.

    Args:
        flow: The feeder; the branches that it watches are those whose limits are kept.
        outage: What was lost, and how it comes back.
        terms: Limits and the source's voltage (one step); its powers are not read.
        priority: Of each block; the greatest comes first. Left out: the largest draw first.

    Raises:
        ConfigError: Shapes differ, or a figure makes no sense; the message names it.
    """
    blocks = _checked(flow, outage)
    usual_w = np.bincount(outage.block, outage.usual_w, blocks)
    rank = usual_w if priority is None else priority
    if rank.shape != (blocks,) or not np.isfinite(rank).all():
        raise ConfigError(f"priority has shape {rank.shape}: give ({blocks},) of finite numbers")
    order = np.argsort(-rank, kind="stable").tolist()
    case = _Case(flow, outage, terms)
    step_of, drawn = np.full(blocks, -1, np.int64), list[Floats]()
    for step in range(outage.most_steps):
        waiting = [block for block in order if step_of[block] < 0]
        while waiting:
            # All first so many of those that wait, at once: as many as fit. Then whoever fits beside them, one by one.
            fits = case.fits(step_of, step, [waiting[: k + 1] for k in range(len(waiting))])
            many = int(np.argmin(fits)) if not fits.all() else len(waiting)
            step_of[waiting[:many]] = step
            waiting = waiting[many + 1 :]
        drawn.append(case.drawn_w(step_of, step))
        if (step_of >= 0).all() or (step > 0 and case.is_cold(step_of, step)):
            break
    left_off = {block: case.stands_against(step_of, len(drawn), block) for block in order if step_of[block] < 0}
    return Restoration(step_of, np.array(drawn), left_off)


class _Case:
    def __init__(self, flow: PhaseFlow, outage: Outage, terms: EnvelopeTerms) -> None:
        self.outage, still = outage, -np.asarray(outage.usual_w, float)
        given = np.asarray(-outage.usual_var, float)
        self.asked = Asked(
            flow,
            EnvelopeTerms(still, still, terms.min_pu, terms.max_pu, terms.most_loading, given, 0.0, terms.source_pu),
            1,
        )
        self.rows = self.asked.rows()

    def _times(self, step_of: Ints, step: int) -> Floats:
        """Return each customer's draw as a multiple of its usual one, 0 where it is off."""
        since_s = (step - step_of) * self.outage.step_s
        times = 1.0 + (self.outage.pickup - 1.0) * np.exp(-since_s / self.outage.decay_s)
        on: Floats = np.where((step_of >= 0) & (step_of <= step), times, 0.0)[self.outage.block]
        return on

    def drawn_w(self, step_of: Ints, step: int) -> Floats:
        return self._times(step_of, step) * self.outage.usual_w

    def is_cold(self, step_of: Ints, step: int) -> bool:
        """Return whether all that is on draws its usual power, so that waiting on makes no more room."""
        newest = int(step_of.max(initial=-1))
        excess = (self.outage.pickup - 1.0) * np.exp(-(step - newest) * self.outage.step_s / self.outage.decay_s)
        return bool(newest >= 0 and excess < 0.01)

    def _values(self, tried: list[Ints], step: int) -> Floats:
        times = np.array([self._times(step_of, step) for step_of in tried])
        currents, load_pu, scale = self.asked.solved_at(
            -times * self.outage.usual_w, -times * self.outage.usual_var, np.zeros(len(tried), np.int64)
        )
        return self.rows.all_values(currents, load_pu, scale) - self.rows.limit

    def fits(self, step_of: Ints, step: int, sets: list[list[int]]) -> NDArray[np.bool_]:
        """Return whether all limits hold at a step with each of some sets of blocks let in beside those that are on."""
        tried = [np.where(np.isin(np.arange(len(step_of)), blocks), step, step_of) for blocks in sets]
        return np.asarray((self._values(tried, step) <= 0.0).all(axis=1), np.bool_)

    def stands_against(self, step_of: Ints, step: int, block: int) -> str:
        tried = np.where(np.arange(len(step_of)) == block, step, step_of)
        return self.rows.what[int(self._values([tried], step)[0].argmax())]


def _checked(flow: PhaseFlow, outage: Outage) -> int:
    count = len(flow.feeder.customer_name)
    for name in ("usual_w", "usual_var", "block"):
        column = getattr(outage, name)
        if column.shape != (count,) or not np.isfinite(column).all():
            raise ConfigError(f"{name} has shape {column.shape}: give ({count},) of finite numbers")
    if (outage.usual_w < 0).any():
        raise ConfigError(f"usual_w of customer {int((outage.usual_w < 0).argmax())} is below 0: give what is drawn")
    blocks = int(outage.block.max()) + 1
    if outage.block.min() < 0 or len(np.unique(outage.block)) != blocks:
        raise ConfigError(f"block has {len(np.unique(outage.block))} of {blocks} numbers: number blocks from 0 on")
    if outage.pickup < 1 or outage.decay_s <= 0 or outage.step_s <= 0 or outage.most_steps < 1:
        raise ConfigError(
            f"pickup {outage.pickup:g}, decay_s {outage.decay_s:g}, step_s {outage.step_s:g}, most_steps "
            f"{outage.most_steps}: give a pickup of 1 or more, times above 0 and at least one step"
        )
    return blocks
