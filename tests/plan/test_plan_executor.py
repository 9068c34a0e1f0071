"""Threads, processes, Ray: the same job gives the same bits on all, and holds nothing afterwards."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from large_pools import large, reference

from sampled import some
from tieline.errors import ConfigError
from tieline.plan.executor import Here
from tieline.plan.pool import Course, PoolPlan
from tieline.plan.pool_pass import SHARD
from tieline.rim.executors import Processes, RayWorkers, Threads

ROOT = Path(__file__).parents[2]
RAY = ROOT / ".venv-peers-ray" / "bin" / "python"
COUNT = 2 * SHARD + 300
"""Three shards: more than there are workers, and the last is short."""
SAMPLE = 1_000


def bits(plan: PoolPlan) -> dict[str, str]:
    return {
        "cost": plan.cost.hex(), "bound": plan.bound.hex(),
        "bits": hashlib.sha256(plan.power_w.tobytes() + plan.stored_wh.tobytes()).hexdigest(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> dict[str, str]:
    return bits(large(reference(COUNT), 64, SAMPLE))


def total(columns: Mapping[str, np.ndarray], part: tuple[int, int]) -> float:
    return float(columns["a"][part[0] : part[1]].sum() + columns["b"].sum())


def slow_first(columns: Mapping[str, np.ndarray], shard: int) -> int:
    float(np.linalg.norm(np.random.default_rng(shard).random((1_500 if shard == 0 else 10, 1_500))))
    return shard


def failing(columns: Mapping[str, np.ndarray], shard: int) -> int:
    raise ValueError(f"shard {shard} of {len(columns['a'])}")


@pytest.mark.parametrize("workers", some([3, 1, 2]))
def test_threads_give_the_bits_that_the_callers_own_gives(alone: dict[str, str], workers: int) -> None:
    with Threads(workers) as executor:
        assert bits(large(reference(COUNT), 64, SAMPLE, executor=executor)) == alone


def test_two_processes_give_the_bits_that_the_callers_own_thread_gives(alone: dict[str, str]) -> None:
    with Processes(2) as executor:
        assert bits(large(reference(COUNT), 64, SAMPLE, executor=executor)) == alone


@pytest.mark.skipif(not RAY.exists(), reason="no Ray: run `make peers-ray`")
def test_two_workers_of_ray_give_the_bits_that_the_callers_own_thread_gives(alone: dict[str, str]) -> None:
    script = str(Path(__file__).parent / "ray_worker_run.py")
    done = subprocess.run(
        [RAY, script, str(COUNT), str(SAMPLE)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout.splitlines()[-1]) == alone


def test_columns_that_change_with_time_reach_processes_as_they_are() -> None:
    problem = reference(300)
    rng = np.random.default_rng(2)
    here = (rng.random((300, 96)) < 0.8) * problem.stores.charge_w[:, None]
    changing = type(problem)(problem.stores, problem.terms, 0.25, Course(charge_w=here, keep_frac=np.full(300, 0.999)))
    with Processes(2) as executor:
        assert bits(large(changing, 32, 128, executor=executor)) == bits(large(changing, 32, 128))


@pytest.mark.parametrize("kind", [Here, lambda: Threads(2), lambda: Processes(2)])
def test_results_come_in_the_order_of_the_shards_whoever_is_ready_first(kind) -> None:
    executor, columns = kind(), {"a": np.arange(10.0), "b": np.ones(3)}
    held = executor.put(columns)
    assert list(executor.over(slow_first, held, range(20))) == list(range(20))
    assert list(executor.over(total, held, [(0, 3), (3, 10), (0, 0)])) == [6.0, 45.0, 3.0]
    assert list(executor.over(total, held, [])) == []
    executor.drop(held)
    if not isinstance(executor, Here):
        executor.close()


@pytest.mark.parametrize("kind", [Threads, Processes])
def test_what_fails_in_a_worker_fails_at_the_caller_and_the_next_job_works(kind) -> None:
    with kind(2) as executor:
        held = executor.put({"a": np.arange(4.0), "b": np.zeros(1)})
        with pytest.raises(ValueError, match="shard 0 of 4"):
            list(executor.over(failing, held, range(8)))
        assert list(executor.over(total, held, [(0, 4)])) == [6.0]


def test_shared_memory_is_freed_when_dropped_and_at_the_end() -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("no /dev/shm to look into")
    before = set(shared.iterdir())
    with Processes(1) as executor:
        one, _two = executor.put({"a": np.zeros(1_000)}), executor.put({"a": np.zeros(1_000)})
        assert len({at.name for at in set(shared.iterdir()) - before if at.name.startswith("psm_")}) >= 2
        executor.drop(one)
        assert one.name.lstrip("/") not in {at.name for at in shared.iterdir()}
    assert _two.name.lstrip("/") not in {at.name for at in shared.iterdir()}


@pytest.mark.parametrize("kind", [Threads, Processes, RayWorkers])
def test_no_worker_at_all_is_refused(kind) -> None:
    with pytest.raises(ConfigError, match=r"workers = 0: give 1 or more|Ray is not installed"):
        kind(0)


def test_without_ray_its_executor_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"Ray is not installed: give `pip install 'tieline\[ray\]'`"):
        RayWorkers(2)
