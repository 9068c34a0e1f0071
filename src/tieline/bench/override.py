"""From a control room's operate to the last of ten thousand device commands on the wire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import shared_memory
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tieline.bench._override_devices import RATED_W, STORES_WH, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieline.links.device.modbus.link import ModbusLink
    from tieline.node.runtime import Node
    from tieline.rim.supervise import Supervisor
    from tieline.simulate.scada import Scada

BAR = 1.0
UNIT = "s"
WHAT = "DNP3 operate -> arbitration of a 10,000-device feeder -> last SunSpec command at its device, p99; real sockets"
FEEDER = "feeder-1"
WAIT_S = 30.0


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Operate again and again; each time every device of the feeder gets a new limit."""
    import uvloop

    count, turns = (200, 3) if quick else (10_000, 40)
    with _devices(count) as (ports, written_ns), tempfile.TemporaryDirectory() as folder:
        progress(f"{count:,} SunSpec units behind {len(ports)} ports")
        found = uvloop.run(_measure(ports, written_ns, turns, seed, Path(folder), progress))
    answered, first, last = (np.array(column) for column in zip(*found, strict=True))
    value = float(np.quantile(last, 0.99, method="higher"))
    return {
        "value": round(value, 3), "ok": value <= BAR, "devices": count, "operates": turns,
        "p50_s": round(float(np.median(last)), 3), "first_p99_s": round(float(np.quantile(first, 0.99)), 4),
        "first_p50_s": round(float(np.median(first)), 4), "answered_p50_s": round(float(np.median(answered)), 4),
    }  # fmt: skip


@contextmanager
def _devices(count: int) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Yield the ports of the devices' process, and when each device was last written to (monotonic ns)."""
    shared = shared_memory.SharedMemory(create=True, size=8 * count)
    command = [sys.executable, "-m", "tieline.bench._override_devices", str(count), shared.name]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        ports = [int(word) for word in child.stdout.readline().split()]
        yield ports, np.ndarray((count,), np.int64, shared.buf)
    finally:
        child.kill()
        child.wait()
        shared.close()
        shared.unlink()


async def _measure(
    ports: list[int],
    written_ns: NDArray[np.int64],
    turns: int,
    seed: int,
    folder: Path,
    progress: Callable[[str], None],
) -> list[tuple[float, float, float]]:
    """Return of each operate: when the control room had its answer, the first and the last device its command (s)."""
    from tieline.rim.supervise import Supervisor

    count, found = len(written_ns), []
    async with Supervisor(np.random.default_rng(seed)) as supervisor:
        node, link, scada = await _raise(ports, count, seed, folder, supervisor)
        await _until(lambda: link.health().peers == count, f"{count:,} devices were not found")
        measured_w = node.state.fleet.power_w
        await _until(lambda: bool(np.isfinite(measured_w).all()), f"{count:,} devices were not measured")
        await scada.connect()
        progress("every device is found and measured")
        for turn in range(turns):
            began_ns = time.monotonic_ns()
            least_w = -count * (1_000.0 + 50.0 * (turn % 8))
            statuses = await scada.limit(0, least_w, count * RATED_W)
            answered_ns = time.monotonic_ns()
            if any(status != 0 for status in statuses):
                raise RuntimeError(f"the operate was answered {statuses}")
            await _until(lambda: bool((written_ns > began_ns).all()), "not every device was told")  # noqa: B023
            found.append(
                (
                    (answered_ns - began_ns) / 1e9,
                    (written_ns.min() - began_ns) / 1e9,
                    (written_ns.max() - began_ns) / 1e9,
                )
            )
            progress(f"operate {turn + 1}: last device after {found[-1][2]:.3f} s")
            done = turn
            await _until(lambda: link.counts.observed >= (done + 1) * count, "not every device read back its command")  # noqa: B023
    return found


async def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > end_s:
            raise RuntimeError(f"{otherwise} within {WAIT_S:g} s")
        await asyncio.sleep(0.005)


async def _raise(
    ports: list[int], count: int, seed: int, folder: Path, supervisor: Supervisor
) -> tuple[Node, ModbusLink, Scada]:
    """Return a desk as `tieline serve` builds it, its Modbus link, and a control room that is not yet connected."""
    from tieline.fleet.ledger import Ledger
    from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
    from tieline.links.grid.dnp3.binding import Binding, Group, Peer
    from tieline.links.grid.dnp3.outstation import Dnp3Outstation
    from tieline.node.runtime import Node, replayed
    from tieline.resource.admission import Principal
    from tieline.resource.level import Level
    from tieline.rim.clock import SystemClock
    from tieline.simulate.scada import Scada
    from tieline.store.journal import SqliteJournal

    clock, journal = SystemClock(), SqliteJournal(folder / "journal.db")
    state = replayed(_fleet(count), Ledger(), journal)
    principals = {"dno": Principal("dno", Level.ENVELOPE, frozenset({FEEDER}))}
    node = Node(state, journal, clock, supervisor, principals, {}, executor=ThreadPoolExecutor(1, "journal"))
    node.published = [FEEDER]
    addresses = {row: f"127.0.0.1:{ports[row // UNITS]}/{row % UNITS + 1}" for row in range(count)}
    settings = ModbusSettings(addresses, dict.fromkeys(addresses, RATED_W), poll_s=300.0)
    link = ModbusLink(settings, node.desk, clock, supervisor, np.random.default_rng(seed))
    node.desk.bind(link, "modbus", addresses)
    size_w = count * RATED_W
    peer = Peer("dno", 1, may_read=(FEEDER,), may_operate=(FEEDER,), ceiling="ENVELOPE")
    binding = Binding(10, (Group(FEEDER, 0, size_w, size_w),), (peer,), port=0, keep_alive_s=300.0, events=5_000)
    outstation = Dnp3Outstation(binding, node.desk, clock, supervisor, node.desk)
    await outstation.start()
    node.publishers.append(outstation)
    link.start()
    node.start()

    def spawn(work: Any) -> object:
        return supervisor.spawn(work, "scada")

    return node, link, Scada("127.0.0.1", outstation.port, master=1, outstation=10, spawn=spawn)


def _fleet(count: int) -> Any:
    """Return batteries on one feeder."""
    from tieline.fleet.columns import KIND_CODE, Fleet, Group
    from tieline.resource.identity import Kind, Purpose

    ones = np.ones(count)
    kinds = np.full(count, KIND_CODE[Kind.BATTERY], np.uint8)
    feeder = Group(FEEDER, Kind.FEEDER, Purpose.ELECTRICAL, -1)
    return Fleet(
        [f"battery-{n}" for n in range(count)], kinds, RATED_W * ones, RATED_W * ones, STORES_WH * ones, 0 * ones,
        0 * ones, [feeder], {Purpose.ELECTRICAL: np.zeros(count, np.int32)},
    )  # fmt: skip
