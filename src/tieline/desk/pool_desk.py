"""What the desk's beat keeps of each pool from one beat to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.desk import redispatch, tracking
from tieline.desk.obligation import Obligation
from tieline.desk.planned import Planned
from tieline.desk.trim import NOTHING, Learnt
from tieline.pool.availability import Available
from tieline.times import FOREVER_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@dataclass
class PoolDesk:
    """What the beat keeps of one pool between beats."""

    pool: str
    rows: Rows
    price: Floats
    eligible: NDArray[np.bool_]
    share_w: Floats
    tally: tracking.Tally | None = None
    obligation: Obligation | None = None
    trim_w: float = 0.0
    """What of `learnt` is asked beside the owed."""
    learnt: Learnt = NOTHING
    back_w: float = 0.0
    """What is asked beside the owed for what rows pay back now: it goes when that goes, as no trim would."""
    ends_back_w: float = 0.0
    """What of that its last split did not ask, as it calls those who would pay it back."""
    gives_w: float = 0.0
    """What rows that wait for their turn to come back give beside those that are called (W)."""
    short_w: float = 0.0
    """What the last split could not share out (W)."""
    split_ns: int = 0  # when it was split last
    over_w: float = 0.0
    """What of `gives_w` is beyond what is asked: those who were let go are not back yet (W, 0 or more)."""
    frees_ns: int = FOREVER_NS
    """When a share of what is owed is let go that rows are held to give by their own timers; `FOREVER_NS`: never."""
    settles_ns: int = 0
    """Until when devices are on their way as it moved so far: what they lack till then teaches no trim."""
    available: tuple[float, float] = (0.0, 0.0)
    causes: list[str] = field(default_factory=list)
    undeclared: str = ""
    differs: int = 0
    """For how many beats that has not been so."""
    forecast: dict[int, float] = field(default_factory=dict)
    feeder_of: Rows | None = None
    feeders: tuple[str, ...] = ()
    by_feeder: Available | None = None
    lost: tuple[redispatch.LostW, ...] = ()
    passed: tuple[redispatch.LostW, ...] = ()
    lost_until_ns: int = 0
    """What took headroom away at the ends of the last two intervals that were owed in a row, the most that each cause
    took within them, and the end of the last of them."""
    is_scheduled: bool = False
    """Whether its awards go by schedules that are made beside the beat."""
    holds: tracking.Holds | None = None
    """What holds its rows since the last beat: what ends meanwhile is gone from the state when that is counted."""
    lost_now: redispatch.LostW = field(default_factory=dict)
    """And what that took away of its headroom."""
    out_now: redispatch.LostW = field(default_factory=dict)
    """That with what waits for its own timers: what a lack may come of."""
    made_up: redispatch.LostW = field(default_factory=dict)
    """What of that was lost already as nothing lacked: others make up for it."""
    by_program: NDArray[np.bool_] | None = None
    """Which of its rows a program event moves since the last beat: what they give is counted for that."""
    planned: Planned | None = None
    """The schedule that its awards are given by; None: by merit."""
    following: Planned | None = None
    """The one that takes its place once it is to be followed."""
    heard: int = 0
    """How many of the causes that wait this pool was split by."""
