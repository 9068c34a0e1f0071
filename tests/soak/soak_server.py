"""The server under the kill loop: takes asks and batches from standard input, answers each once it is durable."""

import asyncio
import sys
from pathlib import Path

import numpy as np

from tieline.desk.cycle import PoolDesk
from tieline.desk.ports import Ask, Award, DispatchBatch, Granted, Instruction, Offer, Segment
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.ledger import Capacity, Ledger
from tieline.ids import derive
from tieline.node.runtime import Node, replayed
from tieline.resource.admission import Principal
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, MINUTE_NS

ROWS = 20


def fleet() -> Fleet:
    ones = np.ones(ROWS)
    return Fleet(
        [f"battery-{n}" for n in range(ROWS)], np.full(ROWS, KIND_CODE[Kind.BATTERY], np.uint8), 5e3 * ones, 5e3 * ones,
        1e4 * ones, 0 * ones, 0 * ones, [Group("pool-1", Kind.POOL, Purpose.POOL, -1)],
        {Purpose.POOL: np.zeros(ROWS, np.int32)},
    )  # fmt: skip


async def main(folder: Path) -> None:
    journal = SqliteJournal(folder / "journal.db")
    things = fleet()
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(1e9, 1e9))
    state = replayed(things, ledger, journal)
    clock = SystemClock()
    async with Supervisor(np.random.default_rng(0)) as supervisor:
        pool = PoolDesk("pool-1", things.leaves("pool-1"), np.ones(ROWS), np.ones(ROWS, np.bool_), np.zeros(ROWS))
        node = Node(state, journal, clock, supervisor, {"dso": Principal("dso", Level.ENVELOPE)}, {"pool-1": pool})
        node.start()
        print("ready", state.claims.placed, flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            kind, number = line.split()
            n, now = int(number), clock.now_ns()
            if kind == "ask":
                ask = Ask(
                    "dso", "dso", "limit", Level.ENVELOPE, f"battery-{n % ROWS}", Quantity.P, ClaimKind.LIMIT, n, now,
                    now + HOUR_NS, low=-1_000.0, high=float(n % 1_000), frame=f"f{n}",
                )  # fmt: skip
                good = isinstance(await node.desk.ask(ask), Granted)
            else:
                start = (now // HOUR_NS + n) * HOUR_NS
                offer = Offer(f"o{n}", "pool-1", "ENERGY", start, start + HOUR_NS, (Segment(1e3, 10.0),))
                await node.desk.offer([offer])
                award = Award(f"a{n}", f"o{n}", "pool-1", "ENERGY", start, start + HOUR_NS, 1e3, 20.0)
                await node.desk.awards([award], f"f{n}")
                one = Instruction(f"i{n}", f"u{n}", "pool-1", "ENERGY", start, start + 5 * MINUTE_NS, 900.0, 20.0, 1)
                batch = DispatchBatch(f"u{n}", now, now, start + HOUR_NS, (one,), f"f{n}")
                good = len((await node.desk.dispatch(batch)).accepted) == 1
            print("done" if good else "refused", kind, n, derive("x", n), flush=True)


asyncio.run(main(Path(sys.argv[1])))
