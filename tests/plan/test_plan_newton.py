"""One step of the interior point, storage by storage, is the step of the whole system solved at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.plan import newton
from tieline.plan.interior import Program, shards, solve
from tieline.plan.newton import LOWER, NU, PARTS, UPPER


def random_state(seed: int, n: int, steps: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    width = rng.uniform(0.5, 2.0, (n, PARTS, steps))
    width[rng.random(width.shape) < 0.1] = 0.0
    state = np.zeros((n, 10, steps))
    state[:, :PARTS] = width * rng.uniform(0.05, 0.95, width.shape)
    state[:, LOWER : UPPER + PARTS] = np.where(np.tile(width, (1, 2, 1)) > 0, rng.uniform(0.01, 1, (n, 6, steps)), 0)
    state[:, NU] = rng.normal(0, 1, (n, steps))
    row = np.stack(
        [rng.uniform(0.8, 1, n), rng.uniform(1, 1.2, n), rng.uniform(0.8, 1, n), rng.random(n), rng.random(n) + 0.5], 1
    )
    return {
        "state": state, "width": width, "low": rng.uniform(0, 1, (n, steps)), "drift": rng.normal(0, 1, (n, steps)),
        "row": row, "price": rng.normal(0, 1, steps),
    }  # fmt: skip


def whole_system(state, width, low, drift, row, price):  # type: ignore[no-untyped-def]
    """Return the matrix of all rows, the variables, their widths and what the rows lack: the specification, dense."""
    n, _, steps = width.shape
    rows = np.zeros((n * steps + steps, n * PARTS * steps))
    right = np.zeros(n * steps)
    for i in range(n):
        for t in range(steps):
            here, c = i * steps + t, lambda part, t=t, i=i: (i * PARTS + part) * steps + t
            rows[here, c(0)], rows[here, c(1)], rows[here, c(2)] = -row[i, 0], row[i, 1], 1.0
            right[here] = drift[i, t] - low[i, t]
            if t:
                rows[here, c(2) - 1] = -row[i, 2]
                right[here] += row[i, 2] * low[i, t - 1]
            rows[n * steps + t, c(0)], rows[n * steps + t, c(1)] = -1.0, 1.0
    x = state[:, :PARTS].ravel()
    return rows, x, width.ravel(), right - rows[: n * steps] @ x


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6))
def test_what_storages_leave_on_the_pool_is_the_schur_complement_of_the_whole(seed: int, n: int, steps: int) -> None:
    given = random_state(seed, n, steps)
    rows, x, width, lacks = whole_system(**given)
    state, row = given["state"], given["row"]
    free = width > 0
    zl, zu = state[:, LOWER:UPPER].ravel(), state[:, UPPER:NU].ravel()
    inverse = np.zeros(len(x))
    inverse[free] = 1 / (zl[free] / x[free] + zu[free] / (width - x)[free])
    cost = np.zeros((n, PARTS, steps))
    cost[:, 1] = row[:, 3][:, None]
    dual = np.concatenate([state[:, NU].ravel(), given["price"]])
    reduced = cost.ravel() - rows.T @ dual
    normal = rows @ (inverse[:, None] * rows.T)
    full_right = np.concatenate([lacks, np.zeros(steps)]) + rows @ (inverse * reduced)
    own = n * steps
    alive = np.flatnonzero(np.diag(normal)[:own] > 0)  # a row whose every variable is fixed has no dual
    eliminated = np.linalg.solve(
        normal[np.ix_(alive, alive)], np.column_stack([normal[alive, own:], full_right[alive]])
    )
    expected = normal[own:, own:] - normal[own:, alive] @ eliminated[:, :-1]
    expected_right = full_right[own:] - normal[own:, alive] @ eliminated[:, -1]

    schur, right = np.zeros((steps, steps)), np.zeros(steps)
    worst, products = newton.eliminate(*given.values(), schur, right)
    assert np.triu(schur) == pytest.approx(np.triu(expected), abs=1e-9)
    assert right == pytest.approx(expected_right, abs=1e-8)
    assert worst == pytest.approx(np.abs(lacks).max(), abs=1e-12)
    assert products == pytest.approx(float((x * zl + (width - x) * zu)[free].sum()), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 6))
def test_a_whole_step_mends_every_row_and_every_reduced_cost(seed: int, n: int, steps: int) -> None:
    given = random_state(seed, n, steps)
    rows, _, width, lacks = whole_system(**given)
    move, sums = np.zeros_like(given["state"]), np.zeros(newton.SUMS)
    price_move = np.random.default_rng(seed).normal(0, 1, steps)
    newton.predict(*given.values(), price_move, move, sums, np.zeros((2, steps)))
    newton.correct(*given.values(), price_move, 0.1, move, np.zeros(newton.SUMS))
    own, free = n * steps, width > 0
    has_room = np.abs(rows[:own]) @ free > 0
    assert (rows[:own] @ move[:, :PARTS].ravel())[has_room] == pytest.approx(lacks[has_room], abs=1e-8)
    state, cost = given["state"], np.zeros((n, PARTS, steps))
    cost[:, 1] = given["row"][:, 3][:, None]
    bounds = (state + move)[:, LOWER:UPPER].ravel() - (state + move)[:, UPPER:NU].ravel()
    dual = np.concatenate([(state + move)[:, NU].ravel(), given["price"] + price_move])
    assert (cost.ravel() - rows.T @ dual - bounds)[free] == pytest.approx(0, abs=1e-7)


def test_shards_depend_on_the_number_of_storages_alone_and_leave_none_out() -> None:
    for count in (0, 1, 31, 32, 1_000, 100_000):
        assert [row for part in shards(count) for row in range(part.start, part.stop)] == list(range(count))


def test_a_pool_of_one_step_sells_as_much_as_its_segment_takes() -> None:
    one = np.ones((1, 1))
    program = Program(
        width=np.array([[[0.0], [1.0], [2.0]]]), low=0 * one, drift=2 * one, row=np.array([[1.0, 1.0, 1.0, 0.1, 1.0]]),
        target=np.zeros((1, 1)), lengths=np.array([[[0.4], [2.0]]]), rates=np.array([[[-1.0], [5.0]]]), offset=0.0,
        parent=np.array([-1]), ends=np.array([1]),
    )  # fmt: skip
    point = solve(program, 1e-9)
    assert point.state[0, 1, 0] == pytest.approx(0.4, abs=1e-7)
