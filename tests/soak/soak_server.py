"""The nest of the kill loop: it loads the product once and forks a real server for each `start` on standard input.

A child is a whole `tieline serve`: data folder, lock, replay, HTTP API, log of readings. Beside its API it opens a line
socket as the market's inlet, which a market link calls in production: each line is an offer, its award and a batch.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path

import structlog
import uvloop

from tieline.desk.ports import Award, DispatchBatch, Instruction, Offer, Segment
from tieline.node import serve
from tieline.node.runtime import Node
from tieline.times import HOUR_NS, MINUTE_NS


async def trade(node: Node, n: int) -> bool:
    """Offer, be awarded and be dispatched; the same number twice is the same message twice.

    To take power: nobody is heard here, and to give any such a pool can be counted on for less with each beat.
    """
    start = (1_900_000_000_000_000_000 // HOUR_NS + n) * HOUR_NS
    offer = Offer(f"o{n}", "pool-1", "ENERGY", start, start + HOUR_NS, (Segment(-1e3, 10.0),))
    await node.desk.offer([offer])
    award = Award(f"a{n}", f"o{n}", "pool-1", "ENERGY", start, start + HOUR_NS, -1e3, 20.0)
    await node.desk.awards([award], f"f{n}")
    one = Instruction(f"i{n}", f"u{n}", "pool-1", "ENERGY", start, start + 5 * MINUTE_NS, -900.0, 20.0, 1)
    batch = DispatchBatch(f"u{n}", node.clock.now_ns(), node.clock.now_ns(), start + HOUR_NS, (one,), f"f{n}")
    return len((await node.desk.dispatch(batch)).accepted) == 1


async def live(folder: Path) -> None:
    made: list[Node] = []
    make = serve.node_of

    def kept(*arguments: object) -> Node:
        made.append(make(*arguments))
        return made[-1]

    serve.node_of = kept  # only to get hold of the node; it is the server's own

    async def market(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            word = "done" if await trade(made[0], int(line)) else "refused"
            writer.write(f"{word} {int(line)}\n".encode())

    def say(line: str) -> None:
        if line.startswith("console at "):
            print("ready", os.getpid(), line.rpartition(":")[2], port, flush=True)

    server = await asyncio.start_server(market, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await serve.serve(folder, 0, say)


def main(folder: Path) -> None:
    import tieline.node.reader  # noqa: F401  all that a server loads is loaded before it is forked
    from tieline.store.names import Names

    Names(["battery-1"]).rows_of(b'["battery-1"]', 1)  # compiled once, not in each life

    # Standard output is the nest's own; at a full hour a server logs.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    gc.freeze()
    while sys.stdin.readline():
        child = os.fork()
        if child == 0:
            uvloop.run(live(folder))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


main(Path(sys.argv[1]))
