"""The coupled pool of the bench as one linear program for HiGHS."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tieline.plan.storage import Stores

Floats = NDArray[np.float64]


def coupled_program(stores: Stores, price: Floats, cap_w: float, slack: float, hours: float) -> Any:
    """Return HiGHS with the program loaded: what each takes, gives and holds, and two slacks a step.

    Columns are blocks of (n * T): takes, gives, holds; then slack above and below (T). Rows are the energy balances
    (n * T), then the band (T).
    """
    import highspy

    n, steps = len(stores.start_wh), len(price)
    size = n * steps
    each, at = np.arange(size), np.tile(np.arange(steps), n)
    low = np.repeat(stores.least_wh, steps)
    low[at == steps - 1] = np.maximum(stores.least_wh, stores.end_wh)
    held = [(each, each, 1.0), (each[at < steps - 1] + 1, each[at < steps - 1], -1.0)]
    entries = [
        (each, each, -np.repeat(stores.charge_frac, steps) * hours),
        (each, each + size, hours / np.repeat(stores.discharge_frac, steps)),
        *((rows, columns + 2 * size, np.full(len(rows), value)) for rows, columns, value in held),
        (size + at, each, np.full(size, -1.0)),
        (size + at, each + size, np.ones(size)),
        (size + np.arange(steps), 3 * size + np.arange(steps), np.full(steps, -1.0)),
        (size + np.arange(steps), 3 * size + steps + np.arange(steps), np.ones(steps)),
    ]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    order = np.lexsort((rows, columns))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = 3 * size + 2 * steps, size + steps
    energy, worn = np.tile(price, n) * hours, np.repeat(stores.wear_per_wh, steps) * hours
    lp.col_cost_ = np.concatenate([energy, worn - energy, np.zeros(size), np.full(2 * steps, slack * hours)])
    lp.col_lower_ = np.concatenate([np.zeros(2 * size), low, np.zeros(2 * steps)])
    most = [np.repeat(column, steps) for column in (stores.charge_w, stores.discharge_w, stores.most_wh)]
    lp.col_upper_ = np.concatenate([*most, np.full(2 * steps, highspy.kHighsInf)])
    start = np.where(at == 0, np.repeat(stores.start_wh, steps), 0.0)
    lp.row_lower_ = np.concatenate([start, np.full(steps, -cap_w)])
    lp.row_upper_ = np.concatenate([start, np.full(steps, cap_w)])
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=lp.num_col_))])
    lp.a_matrix_.index_, lp.a_matrix_.value_ = rows[order], values[order]
    solver: Any = cast(Any, highspy).Highs()
    solver.setOptionValue("output_flag", False)
    solver.passModel(lp)
    return solver
